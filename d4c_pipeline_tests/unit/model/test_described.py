"""What a source says of its data stands in the description of the dataset, in the language it was said in."""

from __future__ import annotations

import pytest

from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.described import Described, source_words, with_source_words
from d4c_pipeline.workspace.datasets import load_datasets
from d4c_pipeline_tests.support.declarations import a_dataset


@pytest.fixture
def dataset() -> Dataset:
    return load_datasets([])["natural_earth_countries"]


def test_title_text_and_keywords_of_the_source_are_added(dataset: Dataset) -> None:
    said = Described(
        ("National  Road\nNetwork", "Réseau routier national"),
        ("All roads.", ""),
        (("Roads", dataset.keywords.en[0].upper()), ("routes",)),
    )
    told = with_source_words(dataset, said)
    added = "As the source describes it: National Road Network. All roads."
    assert told.description.en == f"{dataset.description.en.strip()}\n\n{added}"
    assert told.description.fr.endswith("\n\nSelon la source : Réseau routier national.")
    assert told.keywords.en == (*dataset.keywords.en, "Roads")
    assert told.keywords.fr == (*dataset.keywords.fr, "routes")
    assert (told.id, told.title) == (dataset.id, dataset.title)


def test_where_nothing_is_said_nothing_is_added(dataset: Dataset) -> None:
    assert with_source_words(dataset, None) is dataset
    assert with_source_words(dataset, Described(("", ""), ("", ""), ((), ()))) is dataset
    same = Described((dataset.title.en, dataset.title.fr), ("", ""), ((), ()))
    assert with_source_words(dataset, same).description == dataset.description


def test_a_novel_is_cut_between_words(dataset: Dataset) -> None:
    told = with_source_words(dataset, Described(("", ""), ("word " * 2000, ""), ((), ())))
    paragraph = told.description.en.rpartition("\n\n")[2]
    assert paragraph.startswith("As the source describes it: word word")
    assert paragraph.endswith("word …")
    assert len(paragraph) < 4050
    assert told.description.fr == dataset.description.fr


@pytest.mark.parametrize(
    "said",
    [
        Described(("Roads", "Routes"), ("All roads. Since 1990", "Toutes les routes"), (("road", "Own"), ("route",))),
        Described(("", ""), ("Only English", ""), ((), ())),
        Described(("", "Titre"), ("word " * 2000, "mot"), (("a", "b"), ())),
    ],
    ids=["both", "one language", "shortened"],
)
def test_the_words_of_the_source_are_found_again_in_an_item(said: Described) -> None:
    dataset = a_dataset(keywords={"en": ["own"], "fr": ["propre"]}, description={"en": "Ours.", "fr": "À nous."})
    told = with_source_words(dataset, said)
    properties = {
        "description": told.description.en,
        "d4c:description_fr": told.description.fr,
        "keywords": list(told.keywords.en),
        "d4c:keywords_fr": list(told.keywords.fr),
    }
    found = source_words(dataset, properties)
    assert found is not None
    again = with_source_words(dataset, found)
    assert (again.description, again.keywords) == (told.description, told.keywords)


def test_an_item_without_words_of_a_source_has_none() -> None:
    dataset = a_dataset()
    assert source_words(dataset, {"description": dataset.description.en, "keywords": ["roads"]}) is None
