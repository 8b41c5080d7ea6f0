"""Versions of vocabularies in the ledger, and the keywords that a newer version dropped."""

from __future__ import annotations

import hashlib

import pytest

from d4c_pipeline.drafting.vocabularies import dropped_keywords
from d4c_pipeline.ledger import Ledger
from d4c_pipeline.model.dataset import BilingualKeywords
from d4c_pipeline.model.errors import DataError, UnknownNameError
from d4c_pipeline.model.vocabulary import Dropped, Term, Vocabulary
from d4c_pipeline_tests.support.declarations import a_dataset

WATER = Term("#Water", "Water", "Eau")
OLD, NEW = "CST2016", "CST2020"


def vocabulary(version: str, *terms: Term) -> Vocabulary:
    digest = hashlib.sha256(f"{version}{terms}".encode()).hexdigest()
    return Vocabulary("subjects", version, "Subjects", digest, terms)


def test_a_version_is_kept_once_with_its_terms(ledger: Ledger) -> None:
    first = vocabulary(OLD, WATER, Term("#Ice", "ICE_1%", "Glace", ("Frozen",), ("Water",)))
    assert ledger.vocabularies.add(first, who="ana") is True
    assert ledger.vocabularies.add(first, who="ana") is False
    with pytest.raises(DataError, match="imported with another content"):
        ledger.vocabularies.add(vocabulary(OLD, WATER), who="ana")
    (kept,) = ledger.vocabularies.all()
    assert (kept.name, kept.version, kept.terms, kept.who) == ("subjects", OLD, 2, "ana")
    assert ledger.vocabularies.search("subjects", "GLA")[0] == first.terms[1]
    assert ledger.vocabularies.search("subjects", "_") == (first.terms[1],)  # no wildcard
    with pytest.raises(UnknownNameError, match="no vocabulary gcmd \\(subjects\\)"):
        ledger.vocabularies.search("gcmd", "x")


def test_a_dropped_term_is_reported_in_either_language_until_it_returns(ledger: Ledger) -> None:
    dataset = a_dataset().model_copy(
        update={"keywords": BilingualKeywords(en=("water", "Canals", "own word"), fr=("Eau", "CANAL"))}
    )
    ledger.vocabularies.add(vocabulary(OLD, WATER, Term("#Canals", "Canals", "Canal")), who="ana")
    assert dropped_keywords(ledger, [dataset]) == ()
    ledger.vocabularies.add(vocabulary(NEW, WATER), who="ana")
    assert dropped_keywords(ledger, [dataset]) == (
        Dropped(dataset.id, "fr", "CANAL", "subjects", OLD, NEW),
        Dropped(dataset.id, "en", "Canals", "subjects", OLD, NEW),
    )
    ledger.vocabularies.add(vocabulary("CST2024", WATER, Term("#Canals", "Canals", "Canal")), who="ana")
    assert dropped_keywords(ledger, [dataset]) == ()
