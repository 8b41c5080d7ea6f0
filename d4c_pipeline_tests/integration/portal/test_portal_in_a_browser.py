"""The portal in Chromium: search, facets, map, table, SQL, copying and keyboard, with nothing loaded from elsewhere."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from d4c_pipeline.portal.bundle import Bundle
from d4c_pipeline_tests.integration.portal.conftest import Portal

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
]
PLACES = "/en/datasets/places/"
MEASUREMENTS = "/en/datasets/measurements/"
DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}

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
    contexts: list[Any] = []
    trouble: list[str] = []

    def opened(address: str, *, viewport: dict[str, int] = DESKTOP, script: str = "", **options: Any) -> Any:
        context = browser.new_context(viewport=viewport, permissions=["clipboard-read", "clipboard-write"], **options)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: message.type in ("error", "warning") and trouble.append(message.text))
        page.on("pageerror", lambda error: trouble.append(f"{error}"))
        allowed = (portal.url, "data:", "blob:")
        page.on("request", lambda asked: asked.url.startswith(allowed) or trouble.append(f"elsewhere: {asked.url}"))
        page.add_init_script(
            "addEventListener('securitypolicyviolation', e => console.error('policy', e.violatedDirective));" + script
        )
        page.goto(portal.url + address)
        return page

    yield opened
    for context in contexts:
        context.close()
    # The software renderer of a test machine reports its own slowness.
    assert [each for each in trouble if "GPU stall" not in each and "WebGL" not in each] == []


def texts(page: Any, selector: str) -> list[str]:
    return page.locator(selector).all_inner_texts()


def until(page: Any, expression: str) -> None:
    """Wait until an expression is true. Playwright's own waiting needs `eval` in the page, which the policy refuses."""
    deadline = time.monotonic() + 20
    while not page.evaluate(expression):
        assert time.monotonic() < deadline, expression
        page.wait_for_timeout(50)


@pytest.mark.parametrize("word", ["musees", "musées", "MUSÉ", "museums", "musems"])
def test_the_search_folds_accents_and_forgives(visit: Open, word: str) -> None:
    page = visit("/en/")
    page.fill("#q", word)
    page.locator(".hits a").first.wait_for()
    assert texts(page, ".hits b") == ["Museums and places"]
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


def test_a_citation_is_copied(visit: Open) -> None:
    page = visit(PLACES)
    page.locator("#tab-bibtex").click()
    page.locator("#cite-bibtex button").click()
    page.locator("#cite-bibtex button", has_text="Copied").wait_for()
    assert page.evaluate("navigator.clipboard.readText()").startswith("@misc{")


def test_a_feature_selects_its_row_and_a_row_its_feature(visit: Open) -> None:
    page = visit(PLACES)
    page.locator("#explore").scroll_into_view_if_needed()
    until(page, "document.querySelector('.explore').dataset.drawn === '4'")
    drawn = "portalMap.queryRenderedFeatures({layers: ['data-point']})"
    until(page, f"portalMap.loaded() && {drawn}.length === 4")
    assert len(texts(page, "#panel-table tbody tr")) == 4
    place = page.evaluate(
        "(() => {const f = portalMap.queryRenderedFeatures({layers: ['data-point']}).find(f => f.id === 3);"
        " const p = portalMap.project(f.geometry.coordinates); const b = portalMap.getCanvas().getBoundingClientRect();"
        " return [p.x + b.x, p.y + b.y]})()"
    )
    page.mouse.click(*place)
    row = page.locator("#panel-table tr[aria-selected=true]")
    row.wait_for()
    assert row.get_attribute("data-row") == "2"
    page.locator("#panel-table tbody tr").first.click()
    states = "[1, 3].map(id => portalMap.getFeatureState({source: 'data', id}).on === true)"
    assert page.evaluate(states) == [True, False]


def test_sql_answers_is_stopped_and_stands_in_the_address(visit: Open) -> None:
    page = visit(MEASUREMENTS)
    page.locator("#explore").scroll_into_view_if_needed()
    page.locator("#tab-sql").click()
    page.fill("#sql", "SELECT kind, count(*) AS n FROM data WHERE id < 300 GROUP BY kind ORDER BY kind")
    page.locator("[data-run]").click()
    page.locator("#panel-sql tbody tr").first.wait_for()
    assert texts(page, "#panel-sql tbody td") == ["a", "100", "b", "100", "c", "100"]
    assert "sql=SELECT" in page.url
    page.fill("#sql", "SELECT count(*) AS n FROM data a JOIN data b ON a.value < b.value")
    page.locator("[data-run]").click()
    page.locator("[data-run]", has_text="Stop").click()
    page.locator("[data-run]", has_text="Run").wait_for()
    assert texts(page, "#panel-sql .hint") == ["The query was stopped."]
    page.fill("#sql", "SELEC nothing")
    page.locator("[data-run]").click()
    page.locator(".hint.err").wait_for()


def test_the_switch_changes_the_code_and_leaves_checksums_to_the_version(visit: Open) -> None:
    page = visit(PLACES)
    page.locator("#tab-curl").click()
    before = page.locator("#code-curl code").inner_text()
    page.locator("input[value=latest]").check()
    after = page.locator("#code-curl code").inner_text()
    assert "sha256sum" in before
    assert "/releases/" in before
    assert "sha256sum" not in after
    assert "/processed/" in after
    page.locator("input[value=version]").check()
    assert page.locator("#code-curl code").inner_text() == before


def test_the_keyboard_alone_reaches_search_and_tabs(visit: Open) -> None:
    page = visit(PLACES)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("/")
    page.keyboard.type("mesures")
    page.locator(".hits a").first.wait_for()
    page.keyboard.press("Escape")  # Chromium: the first clears the words, the second closes the box
    page.keyboard.press("Escape")
    page.locator("#tab-duckdb").focus()
    page.keyboard.press("ArrowRight")
    assert page.evaluate("document.activeElement.id") == "tab-python"
    assert page.locator("#code-python").is_visible()
    assert not page.locator("#code-duckdb").is_visible()


@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
@pytest.mark.parametrize("address", ["/", "/en/", "/fr/datasets/", PLACES, "/fr/datasets/wide/", "/en/status/"])
def test_no_page_scrolls_sideways(visit: Open, address: str, viewport: dict[str, int]) -> None:
    page = visit(address, viewport=viewport)
    assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]


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


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        ("gone", "The file can't be read from here now."),
        ("cut", "The file can't be read from here now."),
    ],
)
def test_a_file_that_fails_gives_a_sentence_and_the_page_goes_on(
    browser: Any, portal: Portal, fault: str, sentence: str
) -> None:
    context = browser.new_context()
    page = context.new_page()

    def answer(route: Any) -> None:
        if fault == "gone":
            route.fulfill(status=404, body="")
        else:
            route.fulfill(status=206, body=b"PAR1")

    page.route("**/releases/**/*.parquet", answer)
    page.goto(portal.url + MEASUREMENTS)
    page.locator("#explore").scroll_into_view_if_needed()
    page.locator("#panel-table .note").wait_for()
    assert page.locator("#panel-table .note").inner_text().startswith(sentence)
    page.locator("#tab-python").click()
    assert page.locator("#code-python").is_visible()
    context.close()


def test_without_webgl_the_map_gives_a_sentence_and_the_table_works(visit: Open) -> None:
    page = visit(PLACES, script="HTMLCanvasElement.prototype.getContext = () => null;")
    page.locator("#explore").scroll_into_view_if_needed()
    page.locator("#map .note").wait_for()
    assert texts(page, "#map .note") == ["This browser has no WebGL, which the map needs."]
    page.locator("#panel-table tbody tr").first.wait_for()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_axe_finds_nothing(visit: Open, scheme: str, viewport: dict[str, int]) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    found: dict[str, list[str]] = {}
    kinds = ["/", "/en/", "/fr/datasets/", PLACES, "/fr/datasets/parts/", "/en/datasets/places/versions/"]
    for address in [*kinds, "/en/torrents/", "/fr/use/", "/en/status/", "/fr/404.html"]:
        page = visit(address, viewport=viewport, color_scheme=scheme)
        results = axe.run(page).response
        if results["violations"]:
            found[address] = [f"{each['id']}: {each['nodes'][0]['html'][:150]}" for each in results["violations"]]
        page.close()
    assert found == {}
