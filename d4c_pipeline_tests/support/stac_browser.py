"""STAC Browser over a store, in Debian's Chromium: built from the lock in `stac_browser/`, served beside the store."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

from d4c_pipeline_tests.support.chromium import CHROMIUM, FLAGS, Watched
from d4c_pipeline_tests.support.npm import Installed

_PAGE = "/browser/"
_MILLISECONDS = 30_000
_QUIET_SECONDS = 0.5


def build(folder: Path) -> Path:
    """Install and build STAC Browser below `folder`; return the folder of its page."""
    installed = Installed.of("stac_browser", folder)
    done = installed.run("build.mjs", str(folder / "built"))
    assert done.returncode == 0, done.stderr
    return folder / "built"


class _Files(SimpleHTTPRequestHandler):
    """The files of a store; below /browser/ the page of STAC Browser and its settings for this store."""

    built: Path

    def log_message(self, *_: object) -> None: ...

    def translate_path(self, path: str) -> str:
        return str(self.built / path.removeprefix(_PAGE)) if path.startswith(_PAGE) else super().translate_path(path)

    def do_GET(self) -> None:
        if self.path != f"{_PAGE}config.js":
            super().do_GET()
            return
        host = f"http://{self.headers['Host']}"
        # Cards in the order of the catalogue's links: by default STAC Browser sorts them by title.
        options = {
            "catalogUrl": f"{host}/catalogue/catalog.json",
            "catalogTitle": "STAC Browser",
            "historyMode": "hash",
            "cardViewSort": None,
        }
        content = f"window.STAC_BROWSER_CONFIG = {json.dumps(options)};".encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/javascript")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


class Shown:
    """A page of STAC Browser, which loads its own parts and the documents one after another."""

    def __init__(self, page: Any) -> None:
        self.page = page
        self._last = time.monotonic()
        for event in ("request", "requestfinished", "requestfailed"):
            page.on(event, self._loads)

    def texts(self, selector: str) -> list[str]:
        """Return the texts of the elements, without blanks around."""
        found: list[str] = self.page.locator(selector).all_inner_texts()
        return [text.strip() for text in found]

    def follow(self, selector: str, title: str) -> None:
        """Click a link and wait for the page with this title."""
        self._last = time.monotonic()
        self.page.locator(selector).first.click()
        self.wait(title)

    def go(self, title: str, address: str) -> None:
        """Open the page of another document, as `Browser.open`, where the present page is."""
        self._last = time.monotonic()
        self.page.goto(f"{self.page.url.partition('#')[0]}#/{address}")
        self.wait(title)

    def wait(self, title: str) -> None:
        """Wait until the page has this title and its metadata, and has requested nothing for a while."""
        self.page.locator("h1", has_text=title).wait_for(timeout=_MILLISECONDS)
        self.page.locator(".metadata .value").first.wait_for(state="attached", timeout=_MILLISECONDS)
        while time.monotonic() - self._last < _QUIET_SECONDS or self.page.locator("[role=status]").count():
            self.page.wait_for_timeout(50)

    def _loads(self, _: object) -> None:
        self._last = time.monotonic()


@dataclass(frozen=True)
class Browser:
    """STAC Browser over one store."""

    watched: Watched
    url: str

    def open(self, title: str, address: str = "", *, locale: str = "en-CA") -> Shown:
        """Open the page of a document, whose address is relative to the catalogue's root, and wait for its title."""
        shown = Shown(self.watched.open(f"{self.url}{_PAGE}index.html#/{address}", locale=locale))
        shown.wait(title)
        return shown


@contextmanager
def browsing(store: Path, built: Path) -> Iterator[Browser]:
    """Yield STAC Browser over a store; assert that no page logged anything or made a request to another server."""
    from playwright.sync_api import sync_playwright

    handler = type("Handler", (_Files,), {"built": built})
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(store)))
    Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    try:
        with sync_playwright() as driver:
            browser = driver.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
            watched = Watched(browser, url)
            yield Browser(watched, url)
            trouble = watched.close()
            browser.close()
            assert trouble == []
    finally:
        server.shutdown()
        server.server_close()
