"""Cards and the pages over all datasets: what stays of a release, and what the search is given."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from jinja2 import Environment
from lxml import html

from d4c_pipeline.portal.pages import Pages
from d4c_pipeline.portal.views.overview import PAGE, Card, card, documents, newest, numbers, status, titled
from d4c_pipeline.portal.words import Words
from d4c_pipeline_tests.support.pages import SITE, built_bundle, some_facts
from d4c_pipeline_tests.support.published import HOSTILE_TEXT, a_published

BOTH = [Words.of("en"), Words.of("fr")]


def many(count: int) -> list[Card]:
    first = card(some_facts(a_published()))
    titles = [f"Measurements number {number} of region {number % 97}" for number in range(count)]
    return [
        replace(
            first,
            dataset=f"dataset_{number:05}",
            title=(title, f"Mesures {number}"),
            published_at=f"2026-01-{number % 28 + 1:02}",
        )
        for number, title in enumerate(titles)
    ]


def test_a_card_survives_its_storage() -> None:
    made = card(some_facts(a_published()))
    assert Card.from_json(json.loads(json.dumps(made.to_json()))) == made
    assert (made.copies, made.copies_intact, made.checks, made.checks_wrong) == (9, 9, 1, 0)


def test_a_title_of_one_language_stands_for_both() -> None:
    made = replace(card(some_facts(a_published())), title=("", "Lieux"))
    assert [titled(made, words) for words in BOTH] == ["Lieux", "Lieux"]
    assert titled(replace(made, title=("", "")), BOTH[0]) == made.dataset


def test_the_search_has_both_languages_once() -> None:
    cards = many(3)
    found = documents([cards[0], replace(cards[1], title=("Same", "Same")), cards[2]], BOTH)
    assert [entry[1] for entry in found["datasets"]] == [cards[0].title[0], "Same", cards[2].title[0]]
    assert [entry[2] for entry in found["datasets"]] == ["Mesures 0", "", "Mesures 2"]
    assert found["providers"] == [cards[0].provider[0]]
    assert found["labels"]["regions"] == {"en": ["Canada"], "fr": ["Canada"]}
    assert found["datasets"][2][4:8] == [0, 0, 0, 0]


def test_publisher_and_provider_have_a_name_in_each_language(tmp_path: Path) -> None:
    site = replace(SITE, publisher_fr="Données pour le Canada")
    made = replace(many(1)[0], provider=("Statistics Canada", "Statistique Canada"))
    pages = dict(Pages(site, built_bundle(tmp_path)).home([made]))
    english, french = (html.document_fromstring(pages[f"{each}/index.html"]) for each in ("en", "fr"))
    names = [(each.findtext(".//title"), each.xpath("//a[@class='mark']/span/text()")[0]) for each in (english, french)]
    assert names == [("Data for Canada · Data for Canada", "Data for Canada"), (names[1][0], "Données pour le Canada")]
    assert [each.xpath("//li[@class='card']//p[@class='meta']/bdi/text()")[0] for each in (english, french)] == [
        "Statistics Canada",
        "Statistique Canada",
    ]
    choice = html.document_fromstring(pages["index.html"]).xpath("//h1/span")
    assert [(each.get("lang"), each.text) for each in choice] == [
        ("en", "Data for Canada"),
        ("fr", "Données pour le Canada"),
    ]
    found = documents([made], BOTH)
    assert (found["providers"], found["labels"]["providers"]) == (["Statistics Canada"], {"fr": ["Statistique Canada"]})
    assert "providers" not in documents(many(2), BOTH)["labels"]


def test_documents_of_a_thousand_datasets_are_small() -> None:
    packed = gzip.compress(json.dumps(documents(many(1000), BOTH), separators=(",", ":")).encode())
    assert len(packed) < 50_000


def test_the_home_page_counts_and_shows_the_newest() -> None:
    cards = many(40)
    assert [number for number, _ in numbers(cards, BOTH[0])][:2] == ["40", "40"]
    days = [each.published_at[-2:] for each in newest(cards)]
    assert days == ["28", "27", "26", "25", "24", "23"]


def test_lists_are_cut_into_pages_that_lead_to_each_other(tmp_path: Path) -> None:
    made = Pages(SITE, built_bundle(tmp_path)).long_lists(many(PAGE * 2 + 1))
    pages = {page.file: page.render() for page in made}
    assert {"en/datasets/index.html", "en/pages/2/index.html", "fr/pages/3/index.html"} <= pages.keys()
    assert "en/pages/4/index.html" not in pages
    second = html.document_fromstring(pages["en/pages/2/index.html"])
    assert second.xpath("//nav[@class='pages']//@href") == ["/en/datasets/", "/en/pages/3/"]
    assert len(second.xpath("//li[@class='card']")) == PAGE


def test_the_status_page_names_what_is_wrong() -> None:
    good = card(some_facts(a_published()))
    bad = replace(good, dataset="bad", checks_wrong=2, copies_intact=8)
    found = status([good, bad], BOTH[0])
    assert [(dataset, line) for _, line, dataset in found["wrong"]] == [("bad", "2 checks need attention")]
    assert (found["intact"], found["copies"], found["good"]) == ("17", "18", False)
    assert found["audit"] == "Oldest verification of a copy: November 25, 2026. Newest: November 25, 2026."


def test_hostile_titles_stay_text_in_lists(tmp_path: Path) -> None:
    made = replace(
        card(some_facts(a_published())), title=(HOSTILE_TEXT, HOSTILE_TEXT), provider=(HOSTILE_TEXT, HOSTILE_TEXT)
    )
    pages = Pages(SITE, built_bundle(tmp_path))
    for file, content in [*pages.lists([made]), *pages.home([made])]:
        document = html.document_fromstring(content)
        assert not document.xpath("//script[contains(., 'alert')] | //b[text()='bold']"), file


def test_templates_are_compiled_once_for_all_builds_of_a_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled: list[str | None] = []
    original = Environment.compile

    def counting(environment: Environment, source: str, name: str | None = None, *rest: Any) -> Any:
        compiled.append(name)
        return original(environment, source, name, *rest)

    bundle, cards = built_bundle(tmp_path), many(2)
    first = dict(Pages(SITE, bundle).home(cards))
    monkeypatch.setattr(Environment, "compile", counting)
    again = dict(Pages(replace(SITE, publisher="Somebody else"), bundle).home(cards))
    assert compiled == []
    assert all(b"Somebody else" in again[name] for name in again if name.endswith(".html"))
    assert first.keys() == again.keys()
