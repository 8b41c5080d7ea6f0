"""Pages in Debian's Chromium, watched: no error in the console, no breach of the policy, no request elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = [
    *("--headless", "--no-sandbox", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
    *("--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"),
]
DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
_WATCH = "addEventListener('securitypolicyviolation', e => console.error('policy', e.violatedDirective));"
_SECONDS = 20


class Watched:
    """Contexts of a browser whose pages may load from the `origins` only; `trouble` has what went wrong."""

    def __init__(self, browser: Any, *origins: str) -> None:
        self._browser, self._allowed = browser, (*origins, "data:", "blob:")
        self._contexts: list[Any] = []
        self._trouble: list[str] = []

    def open(self, url: str, *, viewport: dict[str, int] = DESKTOP, script: str = "", **options: Any) -> Any:
        """Open a page in a context of its own; `script` runs before those of the page."""
        permissions = ["clipboard-read", "clipboard-write"]
        context = self._browser.new_context(viewport=viewport, permissions=permissions, **options)
        self._contexts.append(context)
        page = context.new_page()
        page.on("console", self._said)
        page.on("pageerror", lambda error: self._trouble.append(f"{error}"))
        page.on(
            "request",
            lambda asked: asked.url.startswith(self._allowed) or self._trouble.append(f"elsewhere: {asked.url}"),
        )
        page.add_init_script(_WATCH + script)
        page.goto(url)
        return page

    def _said(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            # "Failed to load resource" does not name the resource.
            self._trouble.append(f"{message.text} ({message.location.get('url', '')})")

    def close(self) -> list[str]:
        """Close all pages and return what went wrong in them."""
        for context in self._contexts:
            context.close()
        # The software renderer of a test machine reports its own slowness.
        return [each for each in self._trouble if "GPU stall" not in each and "WebGL" not in each]


@contextmanager
def watching(url: str) -> Iterator[Watched]:
    """Yield a watched browser for pages of `url`; assert at its end that nothing went wrong in them.

    Refusals (409, 422) are pages too: Chromium logs their status as an error.
    """
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
        opened = Watched(browser, url)
        yield opened
        trouble = [each for each in opened.close() if "status of 4" not in each]
        browser.close()
        assert trouble == []


def until(page: Any, expression: str) -> None:
    """Wait until an expression is true. Playwright's own waiting needs `eval` in the page, which the policy refuses."""
    deadline = time.monotonic() + _SECONDS
    while not page.evaluate(expression):
        assert time.monotonic() < deadline, expression
        page.wait_for_timeout(50)


def accessibility(page: Any) -> list[str]:
    """What axe finds on a page: the rule and the first element."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page).response["violations"]
    return [f"{each['id']}: {each['nodes'][0]['html'][:150]}" for each in found]
