"""Measures the portal in Chromium: weight of pages, rows and SQL of a large file, axe, journeys, links, Lighthouse.

Two homes are published and served: that of the tests, and a table of 1.5 million rows. Prints one line of JSON. Sizes
are kilobytes (1,000 bytes) as transferred. Counts of faults: `axe` over each page kind in both languages, themes and
widths; `sideways`, pages among them that scroll sideways; `journeys`, readers (both languages, themes and widths, and
pages on another origin than the store) that could not search, see, query, download or copy, or met an error;
`sql_wrong`, of 220 queries with pruning and without, those not answered as DuckDB does; `html`, by html-validate;
`broken_links`. `performance`, `accessibility`, `best_practices` and `seo` are the least scores of home and release page
by Lighthouse (on a phone, its default), which npm installs into a temporary folder; null with --quick and where npm's
registry can't be reached.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

import duckdb
import httpx
from lxml import html
from playwright.sync_api import Error as PlaywrightError
from playwright.sync_api import Page, sync_playwright

from d4c_pipeline.chain.portal import build
from d4c_pipeline.metadata.published import TONGUES
from d4c_pipeline.model.settings import Settings
from d4c_pipeline.model.vintage import Vintage
from d4c_pipeline.portal.make_bundle import node_and_npm
from d4c_pipeline.services.embedded import mounts
from d4c_pipeline.services.file_server import serving
from d4c_pipeline.workspace.datasets import load_datasets
from d4c_pipeline.workspace.deployment import Deployment
from d4c_pipeline_tests.support import portal_journey
from d4c_pipeline_tests.support.chromium import CHROMIUM, DESKTOP, FLAGS, PHONE, Watched, accessibility
from d4c_pipeline_tests.support.html_validate import html_faults
from d4c_pipeline_tests.support.portal_home import Portal, on_another_origin, published
from d4c_pipeline_tests.support.portal_sql import QUERIES, differences, queries
from d4c_pipeline_tests.support.ports import free_port
from d4c_pipeline_tests.support.samples import HOST, Origin, define, geojson
from d4c_pipeline_tests.support.steps import STEPS

LIGHTHOUSE = "13.5.0"
CATEGORIES = ("performance", "accessibility", "best-practices", "seo")
KINDS = (
    "",
    "datasets/",
    "datasets/places/",
    "datasets/places/2021/0.1.0-beta/",
    "datasets/places/versions/",
    "datasets/measurements/",
    "datasets/wide/",
    "datasets/parts/",
    "torrents/",
    "use/",
    "status/",
    "404.html",
)
LOOKS = [(language, scheme, size) for language in TONGUES for scheme in ("light", "dark") for size in (DESKTOP, PHONE)]
QUERY = "SELECT province, count(*) AS n FROM data GROUP BY province ORDER BY province"


def publish(folder: Path, rows: int) -> Settings:
    folder.mkdir()
    origin = Origin(folder / "origin")
    origin.put(f"{HOST}/places_2021.geojson", geojson())
    source = folder / "large.csv"
    made = duckdb.sql(
        "SELECT i AS id, 'P' || (hash(i // 500) % 13) AS province, hash(i) % 5000 AS place,"
        " round(random() * 1000, 3) AS value, md5(i::VARCHAR)[:16] AS label FROM range($rows) t(i)",
        params={"rows": rows},
    )
    made.write_csv(str(source))
    origin.put(f"{HOST}/large_2021.csv", source)
    define(folder / "definitions", "places")
    define(
        folder / "definitions",
        "large",
        name={"source": "example", "package": "d4c-datapkg-statistical", "theme": "large"},
        title={"en": "A large table", "fr": "Un grand tableau"},
        source={"kind": "http", "urls": [f"{HOST}/large_{{vintage}}.csv"]},
        processing={"kind": "table", "key": ["id"], "columns": {"id": {"type": "integer"}}},
    )
    settings = Settings(
        home=folder / "home", definitions=(folder / "definitions",), origins=origin.origins, port=free_port()
    )
    datasets = [each for name, each in load_datasets(settings.definitions).items() if name in ("places", "large")]
    with Deployment.open(settings) as opened:
        for dataset in datasets:
            for step in STEPS:
                STEPS[step](opened, dataset, Vintage.parse("2021"))
        build(opened, datasets)
    origin.close()
    return settings


class Weight:
    """The bytes that a page transfers."""

    def __init__(self, page: Page) -> None:
        self.bytes = 0
        session = page.context.new_cdp_session(page)
        session.send("Network.enable")
        session.on("Network.loadingFinished", self._add)

    def _add(self, event: dict[str, Any]) -> None:
        self.bytes += event["encodedDataLength"]

    @property
    def kb(self) -> int:
        """Kilobytes so far."""
        return round(self.bytes / 1000)


def weigh(context: Any, url: str) -> int:
    page = context.new_page()
    weight = Weight(page)
    page.goto(url, wait_until="networkidle")
    page.close()
    return weight.kb


def until(page: Page, selector: str) -> None:
    page.locator(selector).first.wait_for(timeout=60_000)


def kilobytes(page: Page) -> float:
    """What the meter of the panel shows as read, in kB."""
    text = page.locator(".meter").inner_text().partition(" of ")[0].replace(",", "")
    amount, unit = text.replace("\u00a0", " ").split()
    return float(amount) * {"byte": 0.001, "B": 0.001, "kB": 1, "MB": 1000}[unit]


def explore(context: Any, url: str) -> dict[str, float]:
    page = context.new_page()
    page.goto(f"{url}/en/datasets/large/")
    page.locator("#explore").scroll_into_view_if_needed()
    until(page, "#panel-table tbody tr:nth-child(50)")
    rows = kilobytes(page)
    page.locator("#tab-sql").click()
    page.fill("#sql", QUERY)
    begun = time.perf_counter()
    page.locator("[data-run]").click()
    until(page, "#panel-sql tbody tr")
    seconds = time.perf_counter() - begun
    query = kilobytes(page)
    page.close()
    page = context.new_page()
    page.goto(f"{url}/en/datasets/places/")
    begun = time.perf_counter()
    page.locator("#explore").scroll_into_view_if_needed()
    while not page.evaluate("globalThis.portalMap?.queryRenderedFeatures({layers: ['data-point']}).length > 0"):
        page.wait_for_timeout(20)
    drawn = time.perf_counter() - begun
    page.close()
    return {
        "first_rows_kb": round(rows),
        "group_by_kb": round(query),
        "group_by_s": round(seconds, 2),
        "map_ms": round(drawn * 1000),
    }


def looks(browser: Any, portal: Portal) -> dict[str, int]:
    """Faults of axe and pages that scroll sideways, over all page kinds, languages, themes and widths."""
    found = {"axe": 0, "sideways": 0}
    for language, scheme, size in LOOKS:
        watched = Watched(browser, portal.url)
        for kind in ("../", *KINDS):
            page = watched.open(f"{portal.url}/{language}/{kind}", viewport=size, color_scheme=scheme)
            faults = accessibility(page)
            wide = page.evaluate("document.documentElement.scrollWidth") > size["width"]
            if faults or wide:
                print(language, scheme, size["width"], kind, faults, wide, file=sys.stderr)
            found["axe"] += len(faults)
            found["sideways"] += wide
            page.context.close()
        assert watched.close() == []
    return found


def journeys(browser: Any, portal: Portal) -> int:
    """The readers that did not reach the end, or met an error on the way."""
    failed = 0
    with on_another_origin(portal) as elsewhere:
        for language, scheme, size in LOOKS:
            for url in (portal.url, elsewhere):
                watched = Watched(browser, portal.url, url)
                try:
                    page = watched.open(f"{url}/{language}/", viewport=size, color_scheme=scheme)
                    portal_journey.by_mouse(page, language)
                    page.goto(f"{url}/{language}/datasets/places/")
                    portal_journey.by_keyboard(page)
                    trouble = watched.close()
                except (AssertionError, PlaywrightError) as error:
                    trouble = [str(error)]
                    watched.close()
                if trouble:
                    print(language, scheme, size["width"], url, trouble, file=sys.stderr)
                failed += bool(trouble)
    return failed


def sql_wrong(browser: Any, portal: Portal) -> int:
    """Queries that are not answered as DuckDB does, with pruning and without."""
    script = portal.script("en/datasets/measurements")
    path = portal.settings.home / "store" / script["files"][0]["url"].removeprefix(f"{portal.url}/")
    page = browser.new_context().new_page()
    page.goto(f"{portal.url}/en/use/")
    wrong = [
        each for prune in (True, False) for each in differences(page, script, path, [*queries(QUERIES)], prune=prune)
    ]
    print(*wrong, sep="\n", end="", file=sys.stderr)
    return len(wrong)


def broken_links(folder: Path, url: str) -> int:
    """Links of all pages below the server's address that answer neither 200 nor a part."""
    links = {
        link.partition("#")[0].partition("?")[0]
        for page in folder.rglob("*.html")
        for link in html.document_fromstring(page.read_bytes()).xpath("//a/@href | //link/@href | //*/@src")
    }
    own = sorted(f"{url}{link}" if link.startswith("/") else link for link in links if link.startswith(("/", url)))
    with httpx.Client(trust_env=False) as client:
        return sum(client.head(link).status_code != 200 for link in own)


def lighthouse(folder: Path, url: str) -> dict[str, int | None]:
    node, npm = node_and_npm()
    names = {category.replace("-", "_"): None for category in CATEGORIES}
    environment = os.environ | {"CHROME_PATH": str(CHROMIUM), "PATH": f"{Path(node).parent}:{os.environ['PATH']}"}
    (folder / "package.json").write_text("{}", "utf-8")
    install = [node, npm, "install", "--no-audit", "--no-fund", "--ignore-scripts", f"lighthouse@{LIGHTHOUSE}"]
    if subprocess.run(install, cwd=folder, env=environment, capture_output=True, check=False).returncode:
        return names
    least: dict[str, int] = {}
    for page in ("/en/", "/en/datasets/places/"):
        program = folder / "node_modules" / "lighthouse" / "cli" / "index.js"
        flags = f"--chrome-flags={' '.join(FLAGS)}"
        wanted = f"--only-categories={','.join(CATEGORIES)}"
        command = [node, program, url + page, "--quiet", "--output=json", flags, wanted]
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=True)
        for category, found in json.loads(done.stdout)["categories"].items():
            name, score = category.replace("-", "_"), round((found["score"] or 0) * 100)
            least[name] = min(score, least.get(name, 100))
    return {**names, **least}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_500_000)
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    measured: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name, sync_playwright() as driver:
        folder = Path(name)
        browser = driver.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
        with published(folder / "tests") as portal:
            measured |= looks(browser, portal)
            measured |= {"journeys": journeys(browser, portal), "sql_wrong": sql_wrong(browser, portal)}
            pages = sorted(portal.folder.rglob("*.html"))
            measured |= {"pages": len(pages), "html": len(html_faults(pages, folder))}
            measured |= {"broken_links": broken_links(portal.folder, portal.url)}
        settings = publish(folder / "large", 50_000 if options.quick else options.rows)
        with serving(mounts(settings), port=settings.port) as url:
            context = browser.new_context(viewport={"width": 1280, "height": 400})  # Explore is out of view
            measured |= {"home_kb": weigh(context, f"{url}/en/")}
            context.close()
            context = browser.new_context(viewport={"width": 1280, "height": 400})
            measured |= {"release_kb": weigh(context, f"{url}/en/datasets/places/"), **explore(context, url)}
            browser.close()
            measured |= dict.fromkeys(each.replace("-", "_") for each in CATEGORIES)
            if not options.quick:
                (folder / "lighthouse").mkdir()
                measured |= lighthouse(folder / "lighthouse", url)
    print(json.dumps(measured))


if __name__ == "__main__":
    main()
