"""Vocabularies in the formats of their keepers, real ones where they are at hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from d4c_pipeline.drafting.vocabularies import read_vocabulary
from d4c_pipeline.model.errors import DataError
from d4c_pipeline.model.vocabulary import Term
from d4c_pipeline_tests.support.schemas import standards

CF = """<?xml version="1.0"?><standard_name_table><version_number>85</version_number>
<entry id="air_temperature"><canonical_units>K</canonical_units></entry>
<alias id="temperature_of_air"><entry_id>air_temperature</entry_id></alias></standard_name_table>"""


def test_the_core_subject_thesaurus_in_both_languages() -> None:
    read = read_vocabulary(standards() / "vocabularies" / "GC_Core_Subject.rdf")
    assert (read.name, read.version) == ("government_of_canada_core_subject_thesaurus", "CST20201211")
    assert len(read.terms) == 2294
    (abortion,) = [term for term in read.terms if term.en == "Abortion"]
    assert abortion == Term(
        "http://www.thesaurus.gc.ca/concept/#Abortion",
        "Abortion",
        "Avortement",
        ("Pregnancy termination", "Therapeutic abortion"),
    )


def test_keywords_of_gcmd_know_their_broader_terms() -> None:
    read = read_vocabulary(standards() / "vocabularies" / "gcmd_sciencekeywords_full.csv")
    assert (read.name, read.version, len(read.terms)) == ("gcmd_sciencekeywords", "23.6", 3766)
    by_id = {term.id: term for term in read.terms}
    aquatic = by_id["ca227ff0-4742-4e51-a763-4582fa28291c"]
    assert (aquatic.en, aquatic.path) == ("AGRICULTURAL AQUATIC SCIENCES", ("EARTH SCIENCE", "AGRICULTURE"))


@pytest.mark.parametrize(
    ("file", "name", "count"),
    [
        ("gcmd_isotopiccategory_full.csv", "gcmd_isotopiccategory", 21),
        ("GC_OG_Subject.rdf", "government_of_canada_open_government_subject", 19),
        ("GC_Open_Licenses.rdf", "gc_open_license", 7),
    ],
)
def test_short_lists(file: str, name: str, count: int) -> None:
    read = read_vocabulary(standards() / "vocabularies" / file)
    assert (read.name, len(read.terms)) == (name, count)


def test_standard_names_of_cf_with_their_aliases(tmp_path: Path) -> None:
    (tmp_path / "cf.xml").write_text(CF)
    read = read_vocabulary(tmp_path / "cf.xml")
    assert (read.name, read.version) == ("cf_standard_names", "85")
    assert read.terms == (Term("air_temperature", "air_temperature", others=("temperature_of_air",)),)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("a,b\n1,2\n", "its header has no version"),
        ("<html><body/></html>", "its root is html"),
        ("<a", "not well-formed"),
        ("<standard_name_table><version_number>1</version_number></standard_name_table>", "has no terms"),
        (CF.replace("<version_number>85</version_number>", ""), "states no version"),
        (CF.replace("</standard_name_table>", '<entry id="air_temperature"/></standard_name_table>'), "one identifier"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, content: str, words: str) -> None:
    (tmp_path / "file").write_text(content)
    with pytest.raises(DataError, match=words):
        read_vocabulary(tmp_path / "file")


def test_an_entity_is_not_resolved(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("mallory")
    entity = f'<!DOCTYPE t [<!ENTITY x SYSTEM "file://{tmp_path}/secret">]>'
    (tmp_path / "cf.xml").write_text(CF.replace("?>", f"?>{entity}").replace("85", "85&x;"))
    assert read_vocabulary(tmp_path / "cf.xml").version == "85"
