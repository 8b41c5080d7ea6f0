"""A submission in Chromium from its form to its DOI: a real upload, assessment, decision, draft, metadata form."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest

from d4c_pipeline.drafting.editing import edited, value_at
from d4c_pipeline.model.gaps import TO_FILL, TO_TRANSLATE, is_marked
from d4c_pipeline.services.access import SESSION_COOKIE
from d4c_pipeline_tests.support.chromium import CHROMIUM, FLAGS, Watched, accessibility
from d4c_pipeline_tests.support.commands import D4C
from d4c_pipeline_tests.support.mail_server import mail_server, text_of
from d4c_pipeline_tests.support.metadata_face import git, metadata_faced, repository
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
NAME = {"region": "ca", "source": "statcan", "dguid": "2021A000011124", "package": "d4c-datapkg-statistical"}


def named(draft: str) -> str:
    """The YAML of a draft with the parts of its name, which no form has."""
    for part, value in NAME.items():
        if value_at(draft, ("name", part)) == TO_FILL:
            draft = edited(draft, ("name", part), value)
    # A file of a folder counts as complete a minute after its last change, which a test does not wait for.
    return edited(draft, ("source", "stable_seconds"), 0)


def marked(page: Any) -> dict[str, str]:
    """The fields of a form whose value is a mark."""
    fields = page.evaluate(
        "[...document.querySelectorAll('main input:not([type=hidden]), main textarea')].map(e => [e.id, e.value])"
    )
    return {name: value for name, value in fields if is_marked(value)}


def corrected(page: Any, by: dict[str, str]) -> list[str]:
    """Fill the marked fields of the form, translate the others, check and commit; return the filled fields."""
    found = marked(page)
    assert accessibility(page) == []
    for name, value in found.items():
        page.fill(f"[id='{name}']", by[name] if value == TO_FILL else f"Lieux : {value.removeprefix(TO_TRANSLATE)}")
    with page.expect_navigation():
        page.locator("main button[value=check]").first.click()
    page.fill("#message", "Texts in French")
    with page.expect_navigation():
        page.click("button[value=commit]")
    assert page.locator("[role=status]").inner_text().startswith("Committed as ")
    assert marked(page) == {}
    return list(found)


def submitted(page: Any, form: dict[str, str], file: Path) -> None:
    """Fill the form, upload a file, and say that all files are there."""
    for name, text in form.items():
        page.fill(f"#{name}", text)
    page.check("#upload")
    page.check("#terms")
    with page.expect_navigation():
        page.click("main button")
    page.set_input_files("#files-chosen", file)
    with page.expect_navigation():
        page.click("form[enctype] button")
    assert page.locator("main li").all_inner_texts() == [file.name]
    assert accessibility(page) == []
    with page.expect_navigation():
        page.click("form[action*=complete] button")


def test_from_the_form_to_the_doi_in_the_mail(
    d4c: D4C, fixtures: Path, definitions: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    playwright = pytest.importorskip("playwright.sync_api")
    monkeypatch.setenv("D4C_SUBMISSIONS", "1")
    monkeypatch.setenv("D4C_METADATA_MANAGER", "1")
    data = fixtures / "07_statcan_odcaf" / "ODCAF_v1.0.csv"
    with (
        mail_server() as (address, received),
        faced(d4c.home) as face,
        metadata_faced(d4c.home, definitions) as forms,
        playwright.sync_playwright() as driver,
    ):
        mail = {"D4C_SUBMISSIONS_MAIL": address}
        browser = driver.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
        watched = Watched(browser, face.url, forms.url)
        page = watched.open(f"{face.url}/submit?lang=en")
        submitted(page, FORM, data)
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
        repository(definitions, named(Path(made["definition"]).read_text("utf-8")), made["dataset"])
        specialist = watched.open(f"{forms.url}/metadata/style.css")
        specialist.context.add_cookies([{"name": SESSION_COOKIE, "value": forms.session, "url": forms.url}])
        specialist.goto(f"{forms.url}/metadata/{made['dataset']}?lang=en")
        filled = corrected(specialist, {"creators.0.name": "Statistics Canada"})
        assert {"title.fr", "description.fr", "creators.0.name"} <= set(filled)
        assert git(definitions, "log", "--format=%an %s").splitlines()[0] == "bo Texts in French"
        d4c.ok("submissions", "ready", "1")
        published = d4c.ok("publish", made["dataset"], env={"D4C_SUBMISSIONS": "1"})
        told = d4c.ok("submissions", "tell", env=mail)
        assert (told["published"], told["failed"]) == ([1], 0)
        page.reload()
        assert page.locator(".state strong").inner_text() == "State: Published"
        (told_doi,) = [mail for mail in received if "Published" in mail["Subject"]]

        # Somebody else sends the same data, by the link of the portal: known already, so a manager declines it.
        home = (d4c.home / "portal" / "fr" / "index.html").read_text("utf-8")
        assert re.findall(r'href="([^"]*)"[^>]*>Proposer un jeu de données<', home) == ["/submit?lang=fr"]
        other = watched.open(f"{face.url}/submit?lang=fr")
        submitted(other, FORM | {"name": "Luc Côté", "email": "luc@example.ca", "title": "Musées"}, data)
        (assessed,) = d4c.ok("submissions", "assess")
        assert assessed["uniqueness"].startswith("FAILURE: The dataset cultural_art_facilities (")
        manager.goto(f"{face.url}/submissions/2?lang=en")
        manager.check("#decision-decline")
        manager.fill("#reason", "Nous avons déjà ces données.")
        with manager.expect_navigation():
            manager.click("form[action*=decision] button")
        other.reload()
        assert other.locator(".state strong").inner_text() == "État: Refusé"
        assert "Nous avons déjà ces données." in other.locator(".state").inner_text()
        assert other.locator("main a[href='https://open.canada.ca']").count() == 1
        assert accessibility(other) == []
        assert d4c.ok("submissions", "tell", env=mail)["failed"] == 0
        trouble = watched.close()
        browser.close()
    assert trouble == []
    assert told_doi["Subject"] == "Submission 1: Published: Cultural and art facilities"
    assert told_doi["To"] == "ana@example.ca"
    assert f"https://doi.org/{published['doi']}" in text_of(told_doi)
    (declined,) = [mail for mail in received if "Refusé" in mail["Subject"]]
    assert (declined["To"], "Musées" in declined["Subject"]) == ("luc@example.ca", True)
    assert "Nous avons déjà ces données." in text_of(declined)
    assert "https://open.canada.ca" in text_of(declined)
