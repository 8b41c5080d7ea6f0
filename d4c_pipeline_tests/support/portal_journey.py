"""What a reader does on the portal from search to download, by mouse and by keyboard alone, in either language.

The home is that of the portal's tests: four museums in two versions, and a table of 5,000 measurements.
"""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from typing import Any

from d4c_pipeline_tests.support.chromium import until

GROUPS = "SELECT kind, count(*) AS n FROM data WHERE id < 300 GROUP BY kind ORDER BY kind"
ENDLESS = "SELECT count(*) AS n FROM data a JOIN data b ON a.value < b.value"


def point(feature: int) -> str:
    """Return the script that finds where the map shows the point with this id, in the page's pixels."""
    return f"""(() => {{
  const f = portalMap.queryRenderedFeatures({{layers: ['data-point']}}).find(f => f.id === {feature})
  const p = portalMap.project(f.geometry.coordinates), b = portalMap.getCanvas().getBoundingClientRect()
  return [p.x + b.x, p.y + b.y]
}})()"""


def by_mouse(page: Any, language: str) -> None:
    """Search from the home page on, open, copy a citation, use map and table, query, stop, download."""
    page.fill("#q", "musees")
    page.locator(".hits a").first.click()
    page.wait_for_url(f"**/{language}/datasets/places/")
    page.locator("#tab-bibtex").click()
    page.locator("#cite-bibtex button").click()
    until(page, "navigator.clipboard.readText().then(text => text.startsWith('@misc{'))")
    features(page)
    download(page)
    switch(page)
    page.goto(page.url.replace("/places/", "/measurements/"))
    query(page)


def features(page: Any) -> None:
    """A click on a feature selects its row, and a click on a row its feature."""
    page.locator("#explore").scroll_into_view_if_needed()  # the panel is hidden until then
    page.locator("#map").scroll_into_view_if_needed()
    until(page, "document.querySelector('.explore').dataset.drawn === '4'")
    until(page, "portalMap.loaded() && portalMap.queryRenderedFeatures({layers: ['data-point']}).length === 4")
    assert page.locator("#panel-table tbody tr").count() == 4
    page.mouse.click(*page.evaluate(point(3)))
    row = page.locator("#panel-table tr[aria-selected=true]")
    row.wait_for()
    assert row.get_attribute("data-row") == "2"
    page.locator("#panel-table tbody tr").first.click()
    states = "[1, 3].map(id => portalMap.getFeatureState({source: 'data', id}).on === true)"
    assert page.evaluate(states) == [True, False]


def query(page: Any) -> None:
    """A query answers, stands in the address, and another is stopped."""
    page.locator("#explore").scroll_into_view_if_needed()
    page.locator("#tab-sql").click()
    run = page.locator("[data-run]")
    label = run.inner_text()
    page.fill("#sql", GROUPS)
    run.click()
    page.locator("#panel-sql tbody tr").first.wait_for()
    assert page.locator("#panel-sql tbody td").all_inner_texts() == ["a", "100", "b", "100", "c", "100"]
    assert "sql=SELECT" in page.url
    page.fill("#sql", ENDLESS)
    run.click()
    until(page, f"document.querySelector('[data-run]').innerText !== {label!r}")
    run.click()
    until(page, f"document.querySelector('[data-run]').innerText === {label!r}")
    assert page.locator("#panel-sql .hint").inner_text() in ("The query was stopped.", "La requête a été arrêtée.")


def download(page: Any) -> None:
    """The file that the first button gives has the checksum of the page."""
    with page.expect_download() as started:
        page.locator(".actions a.primary").click()
    content = Path(started.value.path()).read_bytes()
    page.locator(".downloads summary").first.click()
    assert sha256(content).hexdigest() == page.locator(".downloads code.long").first.inner_text()


def switch(page: Any) -> None:
    """Code follows the switch; lines with checksums belong to the version."""
    page.locator("#tab-curl").click()
    code = page.locator("#code-curl code")
    before = code.inner_text()
    page.locator("input[value=latest]").check()
    after = code.inner_text()
    assert ("sha256sum" in before, "/releases/" in before) == (True, True)
    assert ("sha256sum" in after, "/processed/" in after) == (False, True)
    page.locator("input[value=version]").check()
    assert code.inner_text() == before


def by_keyboard(page: Any) -> None:
    """From the page of a dataset: skip link, search, open, tabs, and a query, without a mouse."""
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("/")
    page.keyboard.type("mesures")
    page.locator(".hits a").first.wait_for()
    _tab_to(page, "document.activeElement.closest('.hits') !== null")
    page.keyboard.press("Enter")
    page.wait_for_url("**/datasets/measurements/")
    _tab_to(page, "document.activeElement.id === 'tab-table'")
    page.keyboard.press("ArrowRight")
    assert page.evaluate("document.activeElement.id") == "tab-sql"
    _tab_to(page, "document.activeElement.id === 'sql'")
    page.keyboard.press("Control+a")
    page.keyboard.type(GROUPS)
    _tab_to(page, "document.activeElement.matches('[data-run]')")
    page.keyboard.press("Enter")
    page.locator("#panel-sql tbody tr").first.wait_for()
    _tab_to(page, "document.activeElement.id === 'tab-duckdb'")
    page.keyboard.press("ArrowRight")
    assert page.evaluate("document.activeElement.id") == "tab-python"
    assert page.locator("#code-python").is_visible()
    assert not page.locator("#code-duckdb").is_visible()


def _tab_to(page: Any, reached: str) -> None:
    for _ in range(80):
        page.keyboard.press("Tab")
        if page.evaluate(reached):
            return
    raise AssertionError(f"80 times Tab don't lead to: {reached}")
