"""Edits of a definition's YAML: only the edited value changes, comments and order stay."""

from __future__ import annotations

import difflib
from typing import Any

import pytest

from d4c_pipeline.drafting.editing import edited, value_at
from d4c_pipeline.model.errors import DefinitionError
from d4c_pipeline.services.submissions.definition_forms import applied, values_of
from d4c_pipeline.workspace.datasets import SHIPPED
from d4c_pipeline_tests.support.metadata_face import TREES


def difference(new: str, old: str = TREES) -> list[str]:
    lines = difflib.unified_diff(old.splitlines(), new.splitlines(), n=0, lineterm="")
    return [line for line in lines if line[:1] in "+-" and not line.startswith(("+++", "---"))]


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        (("title", "en"), "Trees: all # of them", [
            "-    en: Street trees # as the city says it", "+    en: 'Trees: all # of them' # as the city says it"]),
        (("description", "en"), "Short", [
            "-    en: >-", "-      Position and species of every street tree of the city,",
            "-      from the inventory of 2025.", "+    en: Short"]),
        (("description", "fr"), "un\n\n  deux: #3", [
            "-    fr: Position et essence de chaque arbre de rue de la ville, selon l'inventaire de 2025.",
            "+    fr: |-", "+      un", "+", "+        deux: #3"]),
        (("keywords", "en"), ["trees", "yes"], ["-      - Canada", "+      - 'yes'"]),
        (("keywords", "fr"), ["arbres", "a, b"], ["-    fr: [arbres, Canada]", "+    fr: [arbres, 'a, b']"]),
        (("languages",), ["eng"], ["+  languages: [eng]"]),
        (("attribution", "fr"), "Ville", ["+  attribution:", "+    fr: Ville"]),
        (("creators", 0, "url"), None, [
            '-    - {name: City of Example, url: "https://example.ca"}', "+    - {name: City of Example}"]),
        (("creators", 1), {"name": "Roy, Ana"}, ["+    - {name: 'Roy, Ana'}"]),
        (("processing", "columns", "id", "description", "en"), "Number", [
            "-      id: {source: ID, type: integer}",
            "+      id: {source: ID, type: integer, description: {en: Number}}"]),
        (("source", "homepage"), "https://example.ca/", ["+    homepage: 'https://example.ca/'"]),
    ],
)  # fmt: skip
def test_one_value_changes(path: tuple[str | int, ...], value: Any, expected: list[str]) -> None:
    changed = edited(TREES, path, value, before=("keywords", "languages", "attribution"))
    assert difference(changed) == expected
    assert value_at(changed, path) == value


@pytest.mark.parametrize(
    "text",
    ["<img src=x>", "- a", "{x}", "null", "2025", "~", "x" * 10_000, "word " * 2_000 + "end", "a\tb", "é\u2028b",
     "'\"\\", "%TAG", "a  b " * 40 + "c", "\u202ebidi", "\x07", "line\n# no comment\n...\n---\nend"],
)  # fmt: skip
def test_any_text_comes_back_and_changes_nothing_else(text: str) -> None:
    changed = edited(TREES, ("title", "fr"), text)
    assert value_at(changed, ("title", "fr")) == text
    assert edited(changed, ("title", "fr"), "Arbres de rue") == TREES


def test_a_comment_beside_a_value_moves_to_the_mark_of_a_long_text_and_back() -> None:
    long = edited(TREES, ("title", "en"), "tree " * 40 + "end")
    assert difference(long)[1] == "+    en: >- # as the city says it"
    assert edited(long, ("title", "en"), "Street trees") == TREES


@pytest.mark.parametrize("file", sorted(SHIPPED.rglob("defs.yaml")), ids=lambda file: file.parent.name)
def test_a_form_sent_back_unchanged_changes_no_byte(file: Any) -> None:
    text = file.read_text("utf-8")
    assert applied(text, values_of(text)) == text


def test_an_edit_that_would_reach_another_value_is_refused() -> None:
    # A party that YAML shares stands at one place only: with another address there, both would have it.
    city = '- {name: City of Example, url: "https://example.ca"}'
    shared = TREES.replace(city, f"{city.replace('{', '&city {')}\n  providers:\n    - *city")
    assert value_at(shared, ("providers", 0, "url")) == "https://example.ca"
    with pytest.raises(DefinitionError, match="can't be edited where it stands"):
        edited(shared, ("providers", 0, "url"), "https://example.org")


def test_a_form_edits_parties_columns_and_place() -> None:
    values = values_of(TREES) | {
        "creators.0.name": "", "creators.1.name": "Roy, Ana", "creators.1.type": "person",
        "column.0.fr": "Numéro", "extent.west": "-75,9",
    }  # fmt: skip
    assert difference(applied(TREES, values)) == [
        '-    - {name: City of Example, url: "https://example.ca"}',
        "+    - {name: 'Roy, Ana', type: person}",
        "+  extent:",
        "+    west: -75.9",
        "-      id: {source: ID, type: integer}",
        "+      id: {source: ID, type: integer, description: {fr: Numéro}}",
    ]
