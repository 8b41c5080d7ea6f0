"""Citations as files: each is read back by a program of its format with the same texts."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace
from functools import cache
from typing import Any

import bibtexparser
import pytest
import rispy
import yaml
from cffconvert import Citation
from hypothesis import given, settings
from hypothesis import strategies as st

from d4c_pipeline.metadata.datacite import require_valid
from d4c_pipeline.metadata.published import PublishedMetadata
from d4c_pipeline.metadata.records.citation_files import one_line
from d4c_pipeline.metadata.records.registry import record_format
from d4c_pipeline.model.credits import Party
from d4c_pipeline.model.dataset import BilingualKeywords
from d4c_pipeline.model.declared import Bilingual
from d4c_pipeline.model.licences import DeclaredLicence
from d4c_pipeline_tests.support.published import HOSTILE_TEXT, a_published, hostile

COMMANDS = {
    r"\textbackslash{}": "\\",
    r"\textbraceleft{}": "{",
    r"\textbraceright{}": "}",
    r"\textasciitilde{}": "~",
    r"\textasciicircum{}": "^",
    **{f"\\{character}": character for character in "&%$#_"},
}
NASTY = 'He said "{x}} \\alpha & 50 % of $5_000 #1 ~^" @misc{a,\n\ntitle = {b}}\r\nER  - \r\nTY  - JOUR: - [x] é'
CREATORS = (
    Party(name="Curie, Marie", orcid="0000-0002-1825-0097", affiliation="Université de Paris"),
    Party(name="Research and Development {Canada}", ror="05k71ja87", type="organization"),
    Party(name="Doe, Jane, Jr", type="person"),
    Party(name="Plato", type="person"),
)


@cache
def _cases() -> dict[str, PublishedMetadata]:
    city = DeclaredLicence(
        title=Bilingual(en="City's own", fr="De la ville"), url="https://city.example.ca/l", text="x"
    )
    nasty = Bilingual(en=NASTY, fr=f"{NASTY} fr")
    return {
        "plain": a_published(),
        "nasty": a_published(
            title=nasty,
            description=nasty,
            creators=CREATORS,
            keywords=BilingualKeywords(en=("a: b", NASTY), fr=("c",)),
            languages=("fra", "iku"),
        ),
        "licence of a city": a_published(license=city),
        **hostile(),
    }


def _rendered(name: str, case: str) -> str:
    return record_format(name).render(_cases()[case]).decode()


def _bibtex(text: str) -> dict[str, str]:
    """The only entry of a file, LaTeX commands as the characters that they print."""
    parser = bibtexparser.bparser.BibTexParser(common_strings=True)
    (entry,) = bibtexparser.loads(text, parser).entries
    pattern = re.compile("|".join(map(re.escape, sorted(COMMANDS, key=len, reverse=True))))
    return {name: pattern.sub(lambda found: COMMANDS[found[0]], value) for name, value in entry.items()}


def _ris(text: str) -> dict[str, Any]:
    (reference,) = rispy.loads(text)
    return reference


@pytest.mark.parametrize("case", list(_cases()))
def test_bibtex_is_read_back(case: str) -> None:
    published, entry = _cases()[case], _bibtex(_rendered("bibtex", case))
    assert entry["ENTRYTYPE"] == "misc"
    assert entry["ID"] == published.name
    assert entry["title"] == f"{{{one_line(published.record.title.en)}}}"
    assert entry["abstract"] == one_line(published.description.en)
    assert entry["month"] == "November"
    assert entry.get("doi") == (None if published.test_doi else published.doi)


@pytest.mark.parametrize("case", list(_cases()))
def test_ris_is_read_back(case: str) -> None:
    published, reference = _cases()[case], _ris(_rendered("ris", case))
    assert reference["type_of_reference"] == "DATA"
    assert reference["title"] == one_line(published.record.title.en)
    assert reference["abstract"] == one_line(published.description.en)
    assert reference["date"] == "2026/11/22"
    assert reference["authors"] == [one_line(party.name) for party in published.creators]


@pytest.mark.parametrize("case", list(_cases()))
def test_cffconvert_finds_the_citation_valid(case: str) -> None:
    published, text = _cases()[case], _rendered("cff", case)
    citation = Citation(text)
    citation.validate()
    content = yaml.safe_load(text)
    assert content["title"] == one_line(published.record.title.en)
    assert content["version"] == str(published.version)
    assert content.get("doi") == (None if published.test_doi else published.doi)
    assert str(published.published_at.year) in citation.as_bibtex()


@pytest.mark.parametrize("case", list(_cases()))
def test_csl_has_the_same_facts(case: str) -> None:
    published = _cases()[case]
    (item,) = json.loads(_rendered("csl", case))
    assert item["title"] == one_line(published.record.title.en)
    assert item["issued"] == {"date-parts": [[2026, 11, 22]]}
    assert item["type"] == "dataset"
    assert item["URL"] == published.landing_page


def test_people_and_organisations_are_named_as_each_format_does() -> None:
    assert _bibtex(_rendered("bibtex", "nasty"))["author"] == (
        "Curie, Marie and {Research and Development {Canada}} and {Doe, Jane, Jr} and {Plato}"
    )
    (item,) = json.loads(_rendered("csl", "nasty"))
    assert item["author"] == [
        {"family": "Curie", "given": "Marie"},
        {"literal": "Research and Development {Canada}"},
        {"literal": "Doe, Jane, Jr"},
        {"literal": "Plato"},
    ]
    assert yaml.safe_load(_rendered("cff", "nasty"))["authors"] == [
        {
            "family-names": "Curie",
            "given-names": "Marie",
            "affiliation": "Université de Paris",
            "orcid": "https://orcid.org/0000-0002-1825-0097",
        },
        {"name": "Research and Development {Canada}", "website": "https://ror.org/05k71ja87"},
        {"family-names": "Doe", "given-names": "Jane, Jr"},
        {"name": "Plato"},
    ]


def test_titles_in_french_and_languages_stand_where_a_format_has_a_field() -> None:
    reference = _ris(_rendered("ris", "plain"))
    assert reference["translated_title"] == "Provinces et territoires, Québec compris (2021)"
    assert _ris(_rendered("ris", "nasty"))["keywords"] == [one_line(word) for word in ("a: b", NASTY, "c")]
    assert _bibtex(_rendered("bibtex", "nasty"))["language"] == "fr, iu"
    assert "TT  - " not in _rendered("ris", "french missing")


def test_a_licence_is_an_spdx_id_or_an_address() -> None:
    assert yaml.safe_load(_rendered("cff", "plain"))["license"] == "OGL-Canada-2.0"
    city = yaml.safe_load(_rendered("cff", "licence of a city"))
    assert "license" not in city
    assert city["license-url"] == "https://city.example.ca/l"


def test_a_test_doi_is_cited_nowhere_as_a_doi() -> None:
    for name in ("bibtex", "ris", "csl", "cff"):
        text = _rendered(name, "test DOI")
        assert "doi.org" not in text
        assert "10.5072" not in text


@settings(max_examples=100)
@given(st.text(max_size=80))
def test_any_title_comes_back(text: str) -> None:
    published = _cases()["plain"]
    titled = Bilingual(en=f"Title {text}", fr="Titre")
    published = replace(published, record=replace(published.record, title=titled))
    expected = one_line(titled.en)
    assert _bibtex(record_format("bibtex").render(published).decode())["title"] == f"{{{expected}}}"
    assert _ris(record_format("ris").render(published).decode())["title"] == expected
    assert yaml.safe_load(record_format("cff").render(published))["title"] == expected


def test_datacite_xml_imports_no_http_client_and_the_package_stays_whole() -> None:
    program = """
import sys
from d4c_pipeline.metadata.records import datacite
made = datacite._schema()
assert "<resourceType resourceTypeGeneral=" in made.tostring({"types": {"resourceTypeGeneral": "Dataset"}})
print(sorted({"requests", "idutils", "datacite"} & sys.modules.keys()))
import datacite.schema45
print(datacite.DataCiteRESTClient.__name__, datacite.schema45.ns == made.ns)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["[]", "DataCiteRESTClient True"]


@pytest.mark.parametrize("case", list(_cases()))
def test_datacite_json_is_valid_and_holds_no_markup(case: str) -> None:
    from datacite import schema45

    published = _cases()[case]
    content = record_format("datacite").render(published)
    document = json.loads(content)
    assert list(schema45.validator.iter_errors(document)) == []
    assert require_valid(published.record)
    assert document["doi"] == published.doi
    assert document["url"] == published.landing_page
    assert "alert(1)" not in json.dumps(document)
    assert HOSTILE_TEXT not in json.dumps(document)
