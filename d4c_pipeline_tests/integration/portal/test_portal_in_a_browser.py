"""The portal in Chromium: search, facets, map, table, SQL, copying and keyboard, with nothing loaded from elsewhere."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pyarrow.parquet as pq
import pytest

from d4c_pipeline.portal.bundle import Bundle
from d4c_pipeline.portal.words import Words
from d4c_pipeline_tests.support import portal_journey
from d4c_pipeline_tests.support.chromium import CHROMIUM, DESKTOP, FLAGS, PHONE, Watched, accessibility, until
from d4c_pipeline_tests.support.portal_home import TILED, Portal, published
from d4c_pipeline_tests.support.portal_sql import QUERIES, differences, queries

PLACES = "/en/datasets/places/"
MEASUREMENTS = "/en/datasets/measurements/"

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        not CHROMIUM.exists() and "CI" not in os.environ, reason="Debian's chromium is not installed (CI installs it)"
    ),
    pytest.mark.skipif(not Bundle.read().is_built, reason="the bundle is not built: make web"),
]
Open = Callable[..., Any]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as driver:
        running = driver.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
        yield running
        running.close()


@pytest.fixture
def visit(browser: Any, portal: Portal) -> Iterator[Open]:
    """Open an address; afterwards no page logged an error, broke the policy or loaded anything from elsewhere."""
    watched = Watched(browser, portal.url)

    def opened(address: str, **options: Any) -> Any:
        return watched.open(portal.url + address, **options)

    yield opened
    assert watched.close() == []


def texts(page: Any, selector: str) -> list[str]:
    return page.locator(selector).all_inner_texts()


def test_the_search_folds_accents_and_forgives(visit: Open) -> None:
    page = visit("/en/")
    page.fill("#q", "musees")  # opens the box with this word
    for word in ("musees", "musées", "MUSÉ", "museums", "musems"):
        page.fill(".searchbox input", "")
        page.fill(".searchbox input", word)
        page.locator(".hits a").first.wait_for()
        assert texts(page, ".hits b") == ["Museums and places"], word
    page.locator(".hits a").first.click()
    page.wait_for_url("**/en/datasets/places/")


def test_facets_choose_and_stand_in_the_address(visit: Open) -> None:
    page = visit("/fr/datasets/")
    page.locator("select[name=format] option", has_text="GeoParquet").wait_for(state="attached")
    assert len(texts(page, ".card")) == 4
    page.select_option("select[name=format]", label="GeoParquet")
    page.locator(".found", has_text="1").wait_for()
    assert texts(page, ".card h2") == ["Musées et lieux"]
    address = page.url
    assert address.endswith("?format=GeoParquet")
    again = visit(address.removeprefix(page.url.partition("/fr/")[0]))
    again.locator(".found", has_text="1").wait_for()
    assert texts(again, ".card h2") == ["Musées et lieux"]


def test_a_reader_on_another_origin_finds_sees_queries_and_downloads(
    browser: Any, elsewhere: tuple[Portal, str]
) -> None:
    portal, url = elsewhere
    watched = Watched(browser, portal.url, url)
    page = watched.open(f"{url}/fr/", viewport=PHONE, color_scheme="dark", locale="fr-CA")
    portal_journey.by_mouse(page, "fr")
    assert watched.close() == []


def test_the_keyboard_alone_is_enough(visit: Open) -> None:
    # On a narrow screen, as a large zoom makes of any: what is out of view must be reached as well.
    portal_journey.by_keyboard(visit(PLACES, viewport=PHONE))


def test_an_older_version_leads_to_the_newest(visit: Open) -> None:
    page = visit(f"{PLACES}2021/0.1.0-beta/")
    assert page.locator("input[value=latest]").count() == 0
    page.locator(".notice a").click()
    page.wait_for_url("**/2021/0.1.1-beta/")
    assert page.locator("input[value=latest]").count() == 1


def test_a_wrong_query_in_the_address_gives_its_fault(visit: Open) -> None:
    page = visit(f"{MEASUREMENTS}#sql=SELEC%20nothing")
    page.locator("#explore").scroll_into_view_if_needed()
    page.locator("#panel-sql .hint.err").wait_for()
    assert page.locator("#sql").input_value() == "SELEC nothing"


def test_without_javascript_everything_but_the_panel_is_there(browser: Any, portal: Portal) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(portal.url + PLACES)
    assert page.locator("#get a.dl").first.is_visible()
    assert page.locator("#cite-apa").is_visible()
    assert page.locator("table.columns tbody tr").first.is_visible()
    assert page.locator("noscript").count() == 1
    assert not page.locator(".explore").is_visible()
    context.close()


@pytest.fixture(scope="module")
def without_cors(portal: Portal) -> Iterator[str]:
    """The store behind a server that sends neither CORS headers nor parts. (Playwright adds CORS to its answers.)"""
    handler = partial(SimpleHTTPRequestHandler, directory=str(portal.settings.home / "store"))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("fault", ["gone", "cut", "no ranges", "no CORS"])
def test_a_file_that_fails_gives_a_sentence_and_the_page_goes_on(
    browser: Any, portal: Portal, elsewhere: tuple[Portal, str], without_cors: str, fault: str
) -> None:
    context = browser.new_context()
    page = context.new_page()

    def answer(route: Any) -> None:
        if fault == "gone":
            route.fulfill(status=404, body="")
        elif fault == "cut":
            route.fulfill(status=206, body=b"PAR1")
        elif fault == "no CORS":
            route.continue_(url=route.request.url.replace(portal.url, without_cors))
        else:
            route.fulfill(status=200, body=b"PAR1" + bytes(100))

    page.route("**/releases/**/*.parquet", answer)
    if fault == "no ranges":  # matters for large files only: this one becomes large

        def grown(route: Any) -> None:
            found = route.fetch()
            route.fulfill(response=found, body=re.sub(r'("size": ?)\d+', r"\g<1>9000000", found.text()))

        page.route(f"**{MEASUREMENTS}", grown)
    page.goto((elsewhere[1] if fault == "no CORS" else portal.url) + MEASUREMENTS)
    page.locator("#explore").scroll_into_view_if_needed()
    page.locator("#panel-table .note").wait_for()
    words = Words.of("en")["explore"]
    sentence = words["no_ranges" if fault == "no ranges" else "unreadable"]
    assert page.locator("#panel-table .note").inner_text().startswith(sentence.partition("{")[0])
    page.locator("#tab-python").click()
    assert page.locator("#code-python").is_visible()
    context.close()


def test_a_click_in_the_tiles_of_data_in_parts_selects_the_row_of_its_part(browser: Any, tmp_path: Path) -> None:
    with published(tmp_path, TILED) as portal:
        watched = Watched(browser, portal.url)
        page = watched.open(f"{portal.url}/en/datasets/tiled/")
        page.locator("#map").scroll_into_view_if_needed()
        drawn = "portalMap.queryRenderedFeatures({layers: ['data-point']})"
        until(page, f"window.portalMap?.loaded() && new Set({drawn}.map(each => each.id)).size === 12")
        parts = sorted((portal.settings.home / "store" / "releases" / "tiled").rglob("*.parquet"))
        ids = [number for part in parts for number in pq.read_table(part).column("id").to_pylist()]
        assert [len(parts), sorted(ids)] == [2, list(range(1, 13))]
        west = page.evaluate(f"{drawn}.find(each => each.id === 8).geometry.coordinates[0]")
        assert round((west + 80) * 10) == ids[7]  # the second row of the second part
        page.mouse.click(*page.evaluate(portal_journey.point(8)))
        row = page.locator("#panel-table tr[aria-selected=true]")
        row.wait_for()
        assert row.get_attribute("data-row") == "1"
        assert row.locator("td").first.inner_text() == str(ids[7])
        page.locator("#panel-table tbody tr").first.click()
        until(page, "portalMap.getFeatureState({source: 'data', sourceLayer: 'tiled', id: 7}).on === true")
        assert watched.close() == []


def test_without_webgl_the_map_gives_a_sentence_and_the_table_works(visit: Open) -> None:
    page = visit(PLACES, script="HTMLCanvasElement.prototype.getContext = () => null;")
    page.locator("#explore").scroll_into_view_if_needed()
    page.locator("#map .note").wait_for()
    assert texts(page, "#map .note") == ["This browser has no WebGL, which the map needs."]
    page.locator("#panel-table tbody tr").first.wait_for()


# Each page kind once, with a theme and a width in turn; benchmarks/portal_quality.py visits all combinations.
@pytest.mark.parametrize(
    ("address", "scheme", "viewport"),
    [
        (address, ("light", "dark")[place % 2], (PHONE, DESKTOP)[place // 2 % 2])
        for place, address in enumerate(
            [
                *("/fr/datasets/parts/", "/fr/datasets/wide/", PLACES, "/en/", "/", "/fr/datasets/"),
                *("/en/datasets/places/versions/", "/en/torrents/", "/fr/use/", "/en/status/", "/fr/404.html"),
            ]
        )
    ],
)
def test_axe_finds_nothing_and_no_page_scrolls_sideways(
    visit: Open, address: str, scheme: str, viewport: dict[str, int]
) -> None:
    page = visit(address, viewport=viewport, color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
    if "wide" not in address:  # axe takes ten seconds for 300 columns: the benchmark waits for it
        assert accessibility(page) == []


# Each query once, in CI; benchmarks/portal_quality.py has 220 with pruning and without.
@pytest.mark.parametrize("prune", [True, False], ids=["pruning", "without"])
def test_generated_queries_answer_as_duckdb_does(visit: Open, portal: Portal, prune: bool) -> None:
    script = portal.script("en/datasets/measurements")
    path = portal.settings.home / "store" / script["files"][0]["url"].removeprefix(f"{portal.url}/")
    asked = list(queries(QUERIES))[:: 5 if prune else -5]
    assert len(asked) == 44
    assert differences(visit("/en/use/"), script, path, asked, prune=prune) == []
