"""Whether desktop readers open the published items: QGIS, R's sf, and STAC Browser in Chromium.

Run `.venv/bin/python benchmarks/readers.py [--browser DIST] [--screenshots FOLDER]` where Debian's `python3-qgis` and
`qgis-providers` or `r-cran-sf` are installed (230 packages, which CI does not install); a missing reader is named and
skipped. `DIST` is a built STAC Browser:

    npm pack @radiantearth/stac-browser && tar xzf radiantearth-stac-browser-*.tgz && cd package
    npm install && npm install ol-stac@1.1.0 && npm run build:minimal   # 4.0.1 does not build with a later ol-stac

Each reader opens every item of a home with a table without geometry, data in parts and a superseded release; with
D4C_FIXTURES also of a home with real data. A case passes when the reader finds one feature with the version and the box
of the item, or, in STAC Browser, the item's title, and a notice of deprecation for the superseded release alone. The
last line is one JSON object: cases tried, passed.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

from playwright.sync_api import sync_playwright

from d4c_pipeline.model.settings import Settings
from d4c_pipeline_tests.support.home_of_releases import publish_all, publish_real
from d4c_pipeline_tests.support.ports import free_port

CHROMIUM = Path("/usr/bin/chromium")
SYSTEM_PYTHON = Path("/usr/bin/python3")  # QGIS's bindings are Debian's
QGIS = """
import json, sys
from qgis.core import Qgis, QgsApplication, QgsVectorLayer

def read(path):
    layer = QgsVectorLayer(path, "item", "ogr")
    box = layer.extent()
    features = list(layer.getFeatures())
    return {
        "valid": layer.isValid(),
        "features": len(features),
        "version": str(features[0]["version"]) if features else None,
        "named": "title" in [field.name() for field in layer.fields()],
        "box": [box.xMinimum(), box.yMinimum(), box.xMaximum(), box.yMaximum()],
    }

application = QgsApplication([], False)
application.initQgis()
print(json.dumps({"version": Qgis.QGIS_VERSION, "found": {path: read(path) for path in sys.argv[1:]}}))
application.exitQgis()  # layers must be gone by now
"""
SF = """
suppressMessages(library(sf))
quoted <- function(text) paste0('"', text, '"')
rows <- vapply(commandArgs(trailingOnly = TRUE), function(path) {
  item <- st_read(path, quiet = TRUE)
  box <- paste(format(as.numeric(st_bbox(item)), digits = 17), collapse = ",")
  sprintf('%s: {"valid": %s, "features": %d, "version": %s, "named": %s, "box": [%s]}', quoted(path),
          tolower(all(st_is_valid(item))), nrow(item), quoted(item$version[1]), tolower("title" %in% names(item)), box)
}, "")
cat(sprintf('{"version": "%s", "found": {%s}}\\n', packageVersion("sf"), paste(rows, collapse = ",")))
"""


def items_of(settings: Settings) -> dict[Path, dict[str, Any]]:
    """The documents of items of a home, by path."""
    folder = settings.home / "store" / "catalogue"
    return {path: json.loads(path.read_bytes()) for path in sorted(folder.glob("*/*/[0-9]*.json"))}


def answers(command: list[str], paths: list[Path], **environment: str) -> Mapping[str, Any] | None:
    """What a reader found in the files; None, with its words, where it is missing or broke."""
    done = subprocess.run(
        [*command, *map(str, paths)],
        capture_output=True,
        text=True,
        env={"PATH": "/usr/bin:/bin", "HOME": tempfile.gettempdir(), **environment},
        timeout=120,
        check=False,
    )
    if done.returncode:
        print(f"  not run: {' '.join(done.stderr.split())[-200:]}")
        return None
    return json.loads(done.stdout.splitlines()[-1])


def is_right(found: Mapping[str, Any], item: Mapping[str, Any]) -> bool:
    """Whether a reader found the one feature of an item."""
    near = all(abs(ours - theirs) < 1e-9 for ours, theirs in zip(item["bbox"], found["box"], strict=True))
    version = item["properties"]["version"]
    return bool(found["valid"] and found["features"] == 1 and found["named"] and found["version"] == version and near)


def desktop(items: Mapping[Path, Mapping[str, Any]]) -> Iterator[tuple[str, bool]]:
    """Yield a case per item and desktop reader that is installed."""
    readers: dict[str, tuple[list[str], dict[str, str]]] = {
        "QGIS": ([str(SYSTEM_PYTHON), "-c", QGIS], {"QT_QPA_PLATFORM": "offscreen"}),
        "sf": (["Rscript", "-e", SF], {}),
    }
    for name, (command, environment) in readers.items():
        print(name)
        said = answers(command, list(items), **environment) if shutil.which(command[0]) else None
        if said is None:
            continue
        print(f"  version {said['version']}")
        for path, item in items.items():
            yield f"{name} {item['id']}", is_right(said["found"][str(path)], item)


class _Served(SimpleHTTPRequestHandler):
    """Files of a folder, readable from pages of another address, as `d4c serve` serves them."""

    def end_headers(self) -> None:
        self.send_header("Access-Control-Allow-Origin", "*")
        super().end_headers()

    def log_message(self, *_: object) -> None: ...


class _Page(_Served):
    """The files of STAC Browser; any other path is its page, which reads the path itself."""

    def translate_path(self, path: str) -> str:
        found = super().translate_path(path)
        return found if Path(found).exists() else super().translate_path("/index.html")


@contextmanager
def served(folder: Path, handler: type[_Served] = _Served) -> Iterator[str]:
    """Serve a folder on the loopback."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(folder)))
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def browser(
    items: Mapping[Path, Mapping[str, Any]], settings: Settings, dist: Path, screenshots: Path | None
) -> Iterator[tuple[str, bool]]:
    """Yield a case per item that STAC Browser shows: its title, and a notice where it is superseded."""
    store = settings.home / "store"
    with served(dist, _Page) as page_address, served(store) as store_address, sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        page = chromium.new_page(viewport={"width": 1200, "height": 1400})
        for path, item in items.items():
            place = f"{store_address}/{path.relative_to(store).as_posix()}"
            page.goto(f"http://{page_address}/external/http:/{place}")
            title = item["properties"]["title"]
            page.get_by_role("heading", name=title).first.wait_for(timeout=30_000)
            page.wait_for_timeout(1_000)
            notices = page.locator(".deprecation h3").all_inner_texts()
            if screenshots is not None:
                screenshots.mkdir(parents=True, exist_ok=True)
                page.screenshot(path=screenshots / f"{item['collection']}-{item['properties']['version']}.png")
            # "Outdated" or "Deprecated" on a newest release would be wrong; that it has a predecessor is not.
            allowed = [["Deprecated"]] if item["properties"]["deprecated"] else [[], ["Other Versions available"]]
            yield f"STAC Browser {item['id']}", notices in allowed
        chromium.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="without the real data")
    parser.add_argument("--browser", type=Path, help="folder of a built STAC Browser")
    parser.add_argument("--screenshots", type=Path, help="folder for pictures of STAC Browser")
    chosen = parser.parse_args()
    fixtures = os.environ.get("D4C_FIXTURES")
    cases: list[tuple[str, bool]] = []
    with tempfile.TemporaryDirectory() as folder:
        homes = [publish_all(Path(folder) / "samples", free_port())]
        if fixtures and not chosen.quick:
            homes.append(publish_real(Path(folder) / "real", free_port(), Path(fixtures)))
        for settings in homes:
            items = items_of(settings)
            cases += desktop(items)
            if chosen.browser is not None:
                cases += browser(items, settings, chosen.browser, chosen.screenshots)
    for name, passed in cases:
        print(f"{'passed' if passed else 'FAILED'}  {name}")
    print(json.dumps({"cases": len(cases), "passed": sum(passed for _, passed in cases)}))


if __name__ == "__main__":
    main()
