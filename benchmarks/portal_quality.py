"""Measures the portal in Chromium: weight of pages, axe, links, first rows and SQL of a large file, Lighthouse.

A home is published and served: places with geometry, and a table of 1.5 million rows. Prints one line of JSON. Sizes
are kilobytes (1,000 bytes) as transferred. `performance`, `accessibility`, `best_practices` and `seo` are the least
scores of home and release page by Lighthouse (on a phone, its default), which npm installs into a temporary folder;
null with --quick and where npm's registry can't be reached.
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
from axe_playwright_python.sync_playwright import Axe
from lxml import html
from playwright.sync_api import Page, sync_playwright

from d4c_pipeline.chain.portal import build
from d4c_pipeline.model.settings import Settings
from d4c_pipeline.model.vintage import Vintage
from d4c_pipeline.portal.make_bundle import node_and_npm
from d4c_pipeline.services.embedded import mounts
from d4c_pipeline.services.file_server import serving
from d4c_pipeline.workspace.datasets import load_datasets
from d4c_pipeline.workspace.deployment import Deployment
from d4c_pipeline_tests.support.ports import free_port
from d4c_pipeline_tests.support.samples import HOST, Origin, define, geojson
from d4c_pipeline_tests.support.steps import STEPS

CHROMIUM = "/usr/bin/chromium"
FLAGS = [
    *("--headless", "--no-sandbox", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
    *("--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"),
]
LIGHTHOUSE = "13.5.0"
CATEGORIES = ("performance", "accessibility", "best-practices", "seo")
KINDS = (
    "",
    "en/",
    "fr/datasets/",
    "en/datasets/places/",
    "fr/datasets/large/",
    "en/torrents/",
    "fr/use/",
    "en/status/",
)
QUERY = "SELECT province, count(*) AS n FROM data GROUP BY province ORDER BY province"


def publish(folder: Path, rows: int) -> Settings:
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


def findings(context: Any, url: str) -> int:
    count = 0
    for kind in KINDS:
        page = context.new_page()
        page.goto(f"{url}/{kind}")
        count += len(Axe().run(page).response["violations"])
        page.close()
    return count


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
    environment = os.environ | {"CHROME_PATH": CHROMIUM, "PATH": f"{Path(node).parent}:{os.environ['PATH']}"}
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
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        settings = publish(folder, 50_000 if options.quick else options.rows)
        with serving(mounts(settings), port=settings.port) as url, sync_playwright() as driver:
            browser = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
            context = browser.new_context(viewport={"width": 1280, "height": 900})
            measured: dict[str, Any] = {"axe": findings(context, url)}
            context.close()
            context = browser.new_context(viewport={"width": 1280, "height": 400})  # Explore is out of view
            measured |= {"home_kb": weigh(context, f"{url}/en/")}
            context.close()
            context = browser.new_context(viewport={"width": 1280, "height": 400})
            measured |= {"release_kb": weigh(context, f"{url}/en/datasets/places/"), **explore(context, url)}
            browser.close()
            measured |= {"broken_links": broken_links(settings.home / "portal", url)}
            measured |= dict.fromkeys(each.replace("-", "_") for each in CATEGORIES)
            if not options.quick:
                (folder / "lighthouse").mkdir()
                measured |= lighthouse(folder / "lighthouse", url)
    print(json.dumps(measured))


if __name__ == "__main__":
    main()
