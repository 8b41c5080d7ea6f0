"""A submission goes the whole way: form and upload of a real file in Chromium, assessment, decision, draft, DOI."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from d4c_pipeline.model.gaps import TO_FILL, TO_TRANSLATE
from d4c_pipeline.services.access import SESSION_COOKIE
from d4c_pipeline_tests.support.chromium import CHROMIUM, FLAGS, Watched, accessibility
from d4c_pipeline_tests.support.commands import D4C
from d4c_pipeline_tests.support.mail_server import mail_server, text_of
from d4c_pipeline_tests.support.submission_face import faced

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        not CHROMIUM.exists() and "CI" not in os.environ, reason="Debian's chromium is not installed (CI installs it)"
    ),
]
FORM = {
    "name": "Ana Roy", "email": "ana@example.ca", "title": "Cultural and art facilities",
    "description": "Places of culture and art in Canada.", "licence": "Open Government Licence - Canada",
    "reason": "Access to culture is compared between cities.",
}  # fmt: skip


def completed(value: Any, by: dict[str, str], path: str = "") -> Any:
    """The document of a draft as a specialist completes it: marks filled by field, texts translated."""
    if isinstance(value, dict):
        return {name: completed(each, by, f"{path}.{name}".strip(".")) for name, each in value.items()}
    if isinstance(value, list):
        return [completed(each, by, path) for each in value]
    if value == TO_FILL:
        return by[path]
    return f"Lieux : {value.removeprefix(TO_TRANSLATE)}" if str(value).startswith(TO_TRANSLATE) else value


def test_from_the_form_to_the_doi_in_the_mail(
    d4c: D4C, fixtures: Path, definitions: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    playwright = pytest.importorskip("playwright.sync_api")
    monkeypatch.setenv("D4C_SUBMISSIONS", "1")
    with mail_server() as (address, received), faced(d4c.home) as face, playwright.sync_playwright() as driver:
        mail = {"D4C_SUBMISSIONS_MAIL": address}
        browser = driver.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
        watched = Watched(browser, face.url)
        page = watched.open(f"{face.url}/submit?lang=en")
        for name, text in FORM.items():
            page.fill(f"#{name}", text)
        page.check("#upload")
        page.check("#terms")
        with page.expect_navigation():
            page.click("main button")
        page.set_input_files("#files-chosen", fixtures / "07_statcan_odcaf" / "ODCAF_v1.0.csv")
        with page.expect_navigation():
            page.click("form[enctype] button")
        assert page.locator("main li").all_inner_texts() == ["ODCAF_v1.0.csv"]
        assert accessibility(page) == []
        with page.expect_navigation():
            page.click("form[action*=complete] button")
        (assessed,) = d4c.ok("submissions", "assess")
        assert assessed["quality"] == "PASS: 7972 rows and 17 columns were read in 1 tables or layers."
        assert assessed["rights"] == "PASS: The licence is Open Government Licence - Canada 2.0."
        page.reload()
        assert "7972 rows" in page.inner_text("main")
        assert accessibility(page) == []

        manager = watched.open(f"{face.url}/submit")
        manager.context.add_cookies([{"name": SESSION_COOKIE, "value": face.session, "url": face.url}])
        manager.goto(f"{face.url}/submissions/1?lang=en")
        manager.check("#decision-accept")
        manager.fill("#reason", "of national interest")
        with manager.expect_navigation():
            manager.click("form[action*=decision] button")
        made = d4c.ok("submissions", "draft", "1")
        assert (made["state"], made["dataset"]) == ("drafted", "cultural_art_facilities")
        draft = yaml.safe_load(Path(made["definition"]).read_text("utf-8"))
        by = {
            "attributes.name.region": "ca", "attributes.name.source": "statcan", "attributes.creators.name": "StatCan",
            "attributes.name.dguid": "2021A000011124", "attributes.name.package": "d4c-datapkg-statistical",
        }  # fmt: skip
        # A file of a folder counts as complete a minute after its last change, which a test does not wait for.
        draft["attributes"]["source"]["stable_seconds"] = 0
        (definitions / made["dataset"]).mkdir()
        whole = yaml.safe_dump(completed(draft, by), allow_unicode=True, sort_keys=False)
        (definitions / made["dataset"] / "defs.yaml").write_text(whole, "utf-8")
        d4c.ok("submissions", "ready", "1")
        published = d4c.ok("publish", made["dataset"])
        told = d4c.ok("submissions", "tell", env=mail)
        assert (told["published"], told["failed"]) == ([1], 0)
        page.reload()
        assert page.locator(".state strong").inner_text() == "State: Published"
        trouble = watched.close()
        browser.close()
    assert trouble == []
    doi = published["doi"] if isinstance(published, dict) else published[0]["doi"]
    assert received[-1]["Subject"] == "Submission 1: Published: Cultural and art facilities"
    assert received[-1]["To"] == "ana@example.ca"
    assert f"https://doi.org/{doi}" in text_of(received[-1])
