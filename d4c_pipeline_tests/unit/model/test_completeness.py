"""Completeness of declarations: what counts as filled, and that its formats exist."""

from __future__ import annotations

from d4c_pipeline.metadata.records.registry import record_formats
from d4c_pipeline.model.completeness import WANTED, completeness_of
from d4c_pipeline.workspace.datasets import load_datasets


def test_the_formats_that_ask_for_a_field_exist() -> None:
    assert {name for wanted in WANTED for name in wanted.formats} <= set(record_formats())


def test_a_shipped_dataset_lacks_what_it_lacks() -> None:
    facilities = load_datasets([])["statcan_open_database_of_cultural_and_art_facilities"]
    found = completeness_of(facilities)
    assert [wanted.field for wanted in found.missing] == ["contributors", "publication.frequency"]
    assert found.words == "82 %, without contributors, publication.frequency"


def test_a_mark_is_not_filled() -> None:
    facilities = load_datasets([])["statcan_open_database_of_cultural_and_art_facilities"]
    marked = facilities.model_copy(
        update={"keywords": facilities.keywords.model_copy(update={"fr": ("to translate: a", "b", "c")})}
    )
    assert "keywords" in [wanted.field for wanted in completeness_of(marked).missing]
