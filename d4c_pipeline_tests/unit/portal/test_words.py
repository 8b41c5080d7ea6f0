"""The words of the portal: the same in both languages, and values as each language writes them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from d4c_pipeline.model import differences
from d4c_pipeline.model.reasons import CODES, Reason
from d4c_pipeline.portal.words import Words
from d4c_pipeline.processing.checks.run import CHECKS

ENGLISH, FRENCH = Words.of("en"), Words.of("fr")
# English needs no names of Arrow's types; plural forms are the language's own.
OWN = {"types"}
PLURALS = {"one", "other", "many"}


def leaves(texts: Any, path: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(texts, dict):
        if "other" in texts and texts.keys() <= PLURALS:
            yield path, texts["other"]
            return
        for key, value in texts.items():
            assert isinstance(key, str), f"{path}.{key!r}: YAML reads this key as no text"
            if path or key not in OWN:
                yield from leaves(value, f"{path}.{key}")
    elif isinstance(texts, list):
        for place, value in enumerate(texts):
            yield from leaves(value, f"{path}[{place}]")
    else:
        yield path, texts


def test_both_languages_have_the_same_texts_with_the_same_places() -> None:
    english, french = dict(leaves(ENGLISH.texts)), dict(leaves(FRENCH.texts))
    assert french.keys() == english.keys()
    for key, text in english.items():
        assert isinstance(text, str), key
        assert text, key
        assert sorted(re.findall(r"\{\w+\}", french[key])) == sorted(re.findall(r"\{\w+\}", text)), key


def test_every_plural_form_of_the_language_has_a_text() -> None:
    for words in (ENGLISH, FRENCH):
        for noun in words["counts"]:
            for value in (0, 1, 2, 1_000_000):
                assert words.number(value) in words.count(noun, value)
    assert FRENCH.count("rows", 1_000_000).endswith("d’enregistrements")
    assert (FRENCH.count("rows", 0), ENGLISH.count("rows", 0)) == ("0 enregistrement", "0 rows")


def test_values_are_written_as_the_language_does() -> None:
    assert (ENGLISH.number(7972.5), FRENCH.number(7972.5)) == ("7,972.5", "7\u00a0972,5")
    sizes = [(words.size(999), words.size(592_300), words.size(58_500_000)) for words in (ENGLISH, FRENCH)]
    assert sizes[0] == ("999\u00a0B", "592\u00a0kB", "58.5\u00a0MB")
    assert sizes[1] == ("999\u00a0o", "592\u00a0ko", "58,5\u00a0Mo")
    day = datetime(2026, 12, 1, 23, tzinfo=UTC)
    assert (ENGLISH.date(day), FRENCH.date(day)) == ("December 1, 2026", "1 décembre 2026")
    assert (ENGLISH.share(0.318), FRENCH.share(0.318)) == ("31.8%", "31,8\u00a0%")
    assert ENGLISH.share(0.00001) == "<\u00a00.1%"


@pytest.mark.parametrize(
    ("reason", "english", "french"),
    [
        (differences.NothingPublished(), "first version", "première version"),
        (differences.ColumnRetyped("a", "int32", "double"), None, "type de la colonne a changé de int32 à double"),
        (differences.CrsChanged("EPSG:3347", None), None, "projection changée de EPSG:3347 à aucune"),
        (differences.KeyChanged(("a", "b"), ()), None, "colonnes de la clé changées de a, b à aucune"),
        (differences.RowsRemoved(1, "3"), None, "1 enregistrement retiré, par exemple la clé 3"),
        (differences.RowsAdded(1234), "1,234 rows added", "1\u00a0234 enregistrements ajoutés"),
        (differences.RowsAdded(1_000_000), "1,000,000 rows added", "1\u00a0000\u00a0000 d’enregistrements ajoutés"),
        (
            differences.ValuesChanged("née", 2, "{id}"),
            "2 values of née changed, e.g. key {id}",
            "2 valeurs de née changées, par exemple la clé {id}",
        ),
        (differences.PartitionChanged(None, 1), "data in one file again", "données de nouveau dans un seul fichier"),
        (
            differences.BumpRaised("MAJOR"),
            "raised to major by the operator",
            "changement porté à majeure par l’opérateur",
        ),
        (differences.Stated("a new kind of reason"), "a new kind of reason", "a new kind of reason"),
    ],
)
def test_reasons_are_worded_in_both_languages(reason: Reason, english: str | None, french: str) -> None:
    assert FRENCH.reason(reason) == french
    assert ENGLISH.reason(reason) == (english or str(reason))


def test_every_code_has_words() -> None:
    for words in (ENGLISH, FRENCH):
        assert words["reasons"].keys() == CODES.keys() | {"partition_removed"}


def test_every_check_has_words_in_both_languages() -> None:
    for words in (ENGLISH, FRENCH):
        assert words["checks"].keys() == {check.name for check in CHECKS}
