"""The counts of changes in words: one wording for README, portal, feeds and Dagster's UI, in both languages."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import feedparser

from d4c_pipeline.catalogue import feeds
from d4c_pipeline.metadata.changes import in_words
from d4c_pipeline.metadata.published_json import dumped, loaded
from d4c_pipeline.orchestration.metadata import changes_table
from d4c_pipeline_tests.support.pages import release_pages, some_facts
from d4c_pipeline_tests.support.published import SITE, a_published

COUNTS = {
    "since": "places_2021_v1.0.0",
    "kind": {"added": 2, "modified": 1203},
    "column": {"population": 1200, "name": 3},
    "province": {"": 5, "24": 1100, "59": 100},
    "carried": False,
}


def test_kinds_columns_and_provinces_in_both_languages() -> None:
    english, french = (in_words(COUNTS, language) for language in ("en", "fr"))
    assert english.heading == "Changes since places_2021_v1.0.0"
    assert english.lines("`{}`".format) == (
        "rows added: 2",
        "rows with other values: 1203",
        "changed values by column: `population` 1200, `name` 3",
        "changed rows by province: Quebec 1100, British Columbia 100, in no province 5",
    )
    assert french.lines()[2:] == (
        "valeurs changées par colonne : population 1200, name 3",
        "enregistrements changés par province : Québec 1100, Colombie-Britannique 100, hors des provinces 5",
    )


def test_a_release_of_before_the_provinces_and_one_without_changed_rows() -> None:
    older = {name: value for name, value in COUNTS.items() if name != "province"}
    assert len(in_words(older, "en").lines()) == 3
    same = {"since": "a", "kind": {}, "column": {}, "carried": True}
    assert in_words(same, "fr").sentence() == "Changements depuis a : aucun enregistrement ne diffère."


def test_a_sentence_names_the_columns_that_changed_most() -> None:
    many = COUNTS | {"column": {f"c{number}": number for number in range(1, 31)}, "province": {}}
    assert in_words(many, "en").sentence(most=2).endswith("changed values by column: c30 30, c29 29 and 28 more.")


def test_feed_page_and_interface_show_them(tmp_path: Path) -> None:
    published = replace(a_published(), counts=COUNTS)
    assert loaded(dumped(published)) == published
    made = dict(feeds.documents([published], SITE))
    for language, text in (("en", "Quebec 1100, British Columbia 100"), ("fr", "Québec 1100, Colombie-Britannique")):
        (entry,) = feedparser.parse(made[f"catalogue/releases.{language}.atom"]).entries
        (item,) = json.loads(made[f"catalogue/releases.{language}.json"])["items"]
        assert text in entry.summary
        assert text in item["content_text"]
    shown = {
        file.split("/")[0]: document.xpath("//section[@id='versions']//details//text()")
        for file, document, _ in release_pages(some_facts(published), tmp_path)
    }
    assert shown["en"][:2] == ["Changes since places_2021_v1.0.0", "rows added: 2"]
    assert shown["fr"][1] == "enregistrements ajoutés : 2"
    table = changes_table(COUNTS).splitlines()
    assert table[0] == "Changes since places_2021_v1.0.0"
    assert "| by kind | rows with other values | 1,203 |" in table
    assert "| by column | `population` | 1,200 |" in table
    assert "| by province | Quebec | 1,100 |" in table
    assert changes_table(None) == "not compared with an earlier release"
