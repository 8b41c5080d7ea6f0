"""Submissions in Chromium: by keyboard alone and without a script, in both languages, accessible by axe."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from d4c_pipeline.appraisal.history import History
from d4c_pipeline.appraisal.history_sources import Version
from d4c_pipeline.model.submission import SubmissionState
from d4c_pipeline.services.access import SESSION_COOKIE
from d4c_pipeline_tests.support.chromium import CHROMIUM, PHONE, Watched, accessibility, watching
from d4c_pipeline_tests.support.submission_face import Face, faced

S = SubmissionState
VERSIONS = (
    Version("2023", "t_2023.csv", "t_2023.csv", 1_200),
    Version("2024", "<b>t</b>", "<i>t</i>", 2_000, change_en="+800 bytes", change_fr="+800 octets"),
)

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        not CHROMIUM.exists() and "CI" not in os.environ, reason="Debian's chromium is not installed (CI installs it)"
    ),
]


@pytest.fixture
def face(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Face]:
    monkeypatch.setenv("D4C_SUBMISSIONS", "1")
    with faced(tmp_path) as opened:
        yield opened


@pytest.fixture
def watched(face: Face) -> Iterator[Watched]:
    with watching(face.url) as opened:
        yield opened


def typed(page: Any, fields: dict[str, str], most: int = 60) -> None:
    """Fill fields and press the button by keyboard alone: Tab to each, text or Space, Enter at the button."""
    left = dict(fields)
    for _ in range(most):
        page.keyboard.press("Tab")
        focused = page.evaluate("[document.activeElement.id, document.activeElement.type]")
        if focused[0] in left:
            text = left.pop(focused[0])
            page.keyboard.press("Space") if focused[1] in ("checkbox", "radio") else page.keyboard.insert_text(text)
        elif focused[1] == "submit" and not left:
            with page.expect_navigation():
                page.keyboard.press("Enter")
            return
    raise AssertionError(f"not reached by keyboard: {left}")


def test_a_submission_goes_from_the_form_to_a_decision_by_keyboard(face: Face, watched: Watched) -> None:
    fields = {
        "name": "Ana Roy", "email": "ana@example.ca", "title": "<img src=x onerror=alert(1)>",
        "description": "Trees", "licence": "CC BY 4.0", "sources": "http://10.0.0.1/trees.csv",
        "reason": "Heat maps", "terms": " ",
    }  # fmt: skip
    page = watched.open(f"{face.url}/submit?lang=en")
    assert accessibility(page) == []
    typed(page, fields)
    # A private address: the page names the field, keeps the rest, and a link leads to it.
    (told,) = page.locator(".wrong a").all_inner_texts()
    assert told.startswith("Enter at least one public address (https://...)")
    assert page.input_value("#title") == fields["title"]
    assert accessibility(page) == []
    page.locator(".wrong a").focus()
    page.keyboard.press("Enter")
    assert page.evaluate("location.hash") == "#sources"
    page.fill("#sources", "https://data.example.ca/trees.csv")
    page.focus("#reason")
    typed(page, {"terms": " "})
    assert "/submission/" in page.url
    assert page.locator("h1").inner_text() == "Submission 1: <img src=x onerror=alert(1)>"
    assert page.locator("img").count() == 0
    assert accessibility(page) == []
    page.locator("header a[hreflang=fr]").click()
    assert page.locator(".state strong").inner_text() == "État: Soumis"
    assert accessibility(page) == []
    page.set_viewport_size(PHONE)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")

    face.ledger.submissions.move(1, S.ASSESSING, who="assessment")
    criteria = [{"criterion": "scope", "verdict": "failure", "sentence": "Far.", "sentence_fr": "Loin."}]
    parts = [{"name": "t.csv", "rows": 2, "columns": ["a"]}]
    bounds = [-75.9, 45.2, -75.4, 45.5]
    assessment = {
        "bounds": bounds,
        "policy": "2026-12",
        "criteria": criteria,
        "files": [{"name": "t.csv", "parts": parts}],
        "history": [History("https://data.example.ca/t_2024.csv", VERSIONS, "Two.", "Deux.").document()],
    }
    face.ledger.submissions.move(1, S.IN_APPRAISAL, who="assessment", assessment=assessment)

    manager = watched.open(f"{face.url}/submit")
    manager.context.add_cookies([{"name": SESSION_COOKIE, "value": face.session, "url": face.url}])
    for address in ("/submissions?lang=en", "/submissions?lang=fr", "/submissions/1?lang=fr", "/submissions/1?lang=en"):
        manager.goto(f"{face.url}{address}")
        assert accessibility(manager) == [], address
    assert manager.locator("[aria-labelledby=changes-1] tbody").inner_text().split("\n") == [
        "2023\tt_2023.csv\t1.2 kB\t",
        "2024\t<b>t</b>\t2.0 kB\t+800 bytes",
    ]
    # Ottawa is a rectangle in the south-east of the picture.
    box = manager.locator("rect.extent").bounding_box()
    picture = manager.locator("svg").bounding_box()
    assert 0.7 < (box["x"] - picture["x"]) / picture["width"] < 0.76
    assert 0.83 < (box["y"] - picture["y"]) / picture["height"] < 0.88
    manager.check("#decision-decline")
    manager.fill("#reason", "No part of Canada")
    manager.locator("button").first.focus()
    with manager.expect_navigation():
        manager.keyboard.press("Enter")
    event = face.ledger.submissions.events(1)[-1]
    assert (event.state, event.who, event.reason) == (S.DECLINED, "mia@example.ca", "No part of Canada")
    page.reload()
    # The page of the submitter is in French.
    assert "Changements à la source" in page.locator("main h2").all_inner_texts()
    assert page.locator("[aria-labelledby=changes-1] tr").last.inner_text() == "2024\t<i>t</i>\t2,0 ko\t+800 octets"
    assert "No part of Canada" in page.locator(".state").inner_text()
    assert page.locator("a[href='https://zenodo.org']").count() == 1
    assert accessibility(page) == []
