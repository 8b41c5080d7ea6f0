"""The metadata manager in Chromium: both languages, by keyboard alone and without a script, accessible by axe."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from d4c_pipeline.services.access import SESSION_COOKIE
from d4c_pipeline_tests.support.chromium import CHROMIUM, PHONE, Watched, accessibility, watching
from d4c_pipeline_tests.support.metadata_face import MetadataFace, git, metadata_faced, repository

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        not CHROMIUM.exists() and "CI" not in os.environ, reason="Debian's chromium is not installed (CI installs it)"
    ),
]


@pytest.fixture
def face(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MetadataFace]:
    monkeypatch.setenv("D4C_METADATA_MANAGER", "1")
    repository(tmp_path / "defs")
    with metadata_faced(tmp_path / "home", tmp_path / "defs") as opened:
        yield opened


@pytest.fixture
def watched(face: MetadataFace) -> Iterator[Watched]:
    with watching(face.url) as opened:
        yield opened


def typed(page: Any, fields: dict[str, str], button: str) -> None:
    """Fill fields and press a button, by keyboard alone."""
    left = dict(fields)
    for _ in range(90):
        page.keyboard.press("Tab")
        name, kind, text = page.evaluate("(e => [e.id, e.type, e.innerText])(document.activeElement)")
        if name in left:
            page.keyboard.press("Control+A")
            page.keyboard.insert_text(left.pop(name))
        elif kind == "submit" and not left and text == button:
            with page.expect_navigation():
                page.keyboard.press("Enter")
            return
    raise AssertionError(f"not reached by keyboard: {left}, {button}")


def test_metadata_are_edited_checked_and_committed_by_keyboard(face: MetadataFace, watched: Watched) -> None:
    page = watched.open(f"{face.url}/metadata/trees?lang=en")
    page.context.add_cookies([{"name": SESSION_COOKIE, "value": face.session, "url": face.url}])
    page.goto(f"{face.url}/metadata?lang=en")
    assert accessibility(page) == []
    page.goto(f"{face.url}/metadata/trees?lang=en")
    assert accessibility(page) == []
    typed(page, {"title.en": "Trees", "title.fr": "Arbres", "creators.0.ror": "05k71ja88"}, "Check and preview")
    assert page.locator("[id='creators.0.ror-error']").inner_text().startswith("'05k71ja88' is not a ROR id")
    assert page.input_value("[id='title.fr']") == "Arbres"
    assert accessibility(page) == []
    page.locator(".wrong a").focus()
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "creators.0.ror"
    page.keyboard.press("Control+A")
    page.keyboard.insert_text("05k71ja87")
    # A headless Chromium draws no list of completions: the offered terms are read, then one is typed.
    page.focus("#add")
    page.keyboard.type("urban forests")
    assert page.get_attribute("#add", "list") == "terms"
    assert page.evaluate("[...document.querySelectorAll('#terms option')].map(e => e.value)") == [
        "Forests", "Urban forests", "Wind speed",
    ]  # fmt: skip
    typed(page, {}, "Check and preview")
    assert page.input_value("[id='keywords.fr']").splitlines() == ["arbres", "Canada", "Forêt urbaine"]
    typed(page, {}, "Check and preview")
    assert page.locator("h1").inner_text() == "Check of trees"
    assert "+    fr: Arbres" in page.locator("pre.difference").inner_text()
    assert accessibility(page) == []
    page.locator("#record-datacite summary").focus()
    page.keyboard.press("Enter")
    assert '"Forêt urbaine"' in page.locator("#record-datacite pre").inner_text()
    assert accessibility(page) == []
    page.locator("header a[hreflang=fr]").focus()
    typed(page, {"message": "Titres plus courts"}, "Commit")
    assert page.locator("[role=status]").inner_text().startswith("Committed as ")
    assert git(face.file.parent, "log", "-1", "--format=%an %s") == "bo Titres plus courts"

    page.goto(f"{face.url}/metadata/trees?lang=fr")
    assert page.locator("h1").inner_text() == "Métadonnées de trees"
    page.fill("#find", "forêt")
    page.click("button[value=search]")
    assert page.locator("input[name=chosen]").count() == 2
    assert accessibility(page) == []
    page.check("#found-1")
    page.click("button[value=edit]")
    assert page.input_value("[id='keywords.en']").splitlines()[-1] == "Forests"
    page.fill("[id='title.fr']", "")
    page.locator("main button").first.click()
    assert page.locator("[id='title.fr-error']").inner_text() == "Ce champ est obligatoire."
    assert accessibility(page) == []
    page.fill("[id='title.fr']", "Les arbres")
    page.locator("main button").first.click()
    assert page.locator("h1").inner_text() == "Vérification de trees"
    assert accessibility(page) == []
    page.set_viewport_size(PHONE)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
