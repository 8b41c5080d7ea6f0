"""The same metadata in the words of InvenioRDM and of DataCite, the latter judged by the schema of its own package."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from datacite import schema45

from d4c_pipeline.archives.invenio.metadata import identifier_of, to_invenio
from d4c_pipeline.metadata.datacite import require_valid, to_datacite
from d4c_pipeline.metadata.record import RecordMetadata, RelatedIdentifier, record_metadata
from d4c_pipeline.model.errors import PermanentError
from d4c_pipeline_tests.unit.metadata.test_record_metadata import NATIVE, RELEASE, dataset


def metadata(**changes: Any) -> RecordMetadata:
    return record_metadata(
        dataset(**changes),
        RELEASE,
        [NATIVE],
        publisher="Data for All",
        code_url="https://example.org/code",
        previous_vintage_doi="10.5072/zenodo.3",
        page_url="https://data.example.org/odcaf",
    )


def test_the_body_for_invenio() -> None:
    body = to_invenio(metadata())

    assert body["access"] == {"record": "public", "files": "public"}
    assert body["files"] == {"enabled": True}
    assert "pids" not in body, "an empty one would drop the reserved DOI"
    said = body["metadata"]
    assert said["title"] == "Cultural facilities (2020)"
    assert said["additional_titles"] == [
        {"title": "Installations culturelles (2020)", "type": {"id": "translated-title"}, "lang": {"id": "fra"}}
    ]
    assert said["description"].startswith("<p>Museums &amp; more.</p>")
    assert said["additional_descriptions"][0]["description"].startswith("<p>Musées et plus.</p>")
    assert said["creators"] == [
        {
            "person_or_org": {
                "type": "organizational",
                "name": "Statistics Canada",
                "identifiers": [{"identifier": "04cpxjv19", "scheme": "ror"}],
            }
        },
        {
            "person_or_org": {
                "type": "personal",
                "family_name": "Carberry",
                "given_name": "Josiah",
                "identifiers": [{"identifier": "0000-0002-1825-0097", "scheme": "orcid"}],
            }
        },
    ]
    assert said["contributors"] == [
        {"person_or_org": {"type": "organizational", "name": "Data for Canada"}, "role": {"id": "distributor"}}
    ]
    assert (said["publisher"], said["version"]) == ("Data for All", "0.1.0-beta")
    assert said["publication_date"] == "2026-11-28"
    assert said["languages"] == [], "the record is bilingual, of the data nothing is declared"
    assert [entry["relation_type"]["id"] for entry in said["related_identifiers"]] == [
        "isderivedfrom",
        "iscompiledby",
        "continues",
        "isdocumentedby",
    ]
    assert said["related_identifiers"][2] == {
        "identifier": "10.5072/zenodo.3",
        "scheme": "doi",
        "relation_type": {"id": "continues"},
        "resource_type": {"id": "dataset"},
    }


@pytest.mark.parametrize(
    ("licence", "known", "rights"),
    [
        ("ogl-canada-2.0", True, {"id": "ogl-canada-2.0"}),
        (
            "ogl-canada-2.0",
            False,
            {
                "title": {"en": "Open Government Licence - Canada 2.0"},
                "link": "https://open.canada.ca/en/open-government-licence-canada",
            },
        ),
        (
            "statcan-open-licence",
            True,
            {
                "title": {"en": "Statistics Canada Open Licence"},
                "link": "https://www.statcan.gc.ca/en/terms-conditions/open-licence",
            },
        ),
    ],
)
def test_a_licence_goes_by_id_or_by_title_never_by_both(licence: str, known: bool, rights: dict[str, Any]) -> None:
    assert to_invenio(metadata(license=licence), licence_known=known)["metadata"]["rights"] == [rights]


def test_our_identifier_is_read_back() -> None:
    body = to_invenio(metadata())
    body["metadata"]["identifiers"].insert(0, {"identifier": "https://example.org", "scheme": "url"})

    assert identifier_of(body) == "urn:d4c:" + "a" * 64
    assert identifier_of({"metadata": {"title": "somebody else's"}}) is None
    assert identifier_of({}) is None


def test_the_attributes_for_datacite_are_valid_and_become_xml() -> None:
    attributes = to_datacite(require_valid(metadata(license="statcan-open-licence")))

    assert schema45.validate(attributes)
    assert attributes["publicationYear"] == "2026"
    assert attributes["titles"][1] == {
        "title": "Installations culturelles (2020)",
        "lang": "fr",
        "titleType": "TranslatedTitle",
    }
    assert attributes["descriptions"][0]["description"].split("\n\n")[:2] == ["Museums & more.", "Second <b>part</b>."]
    assert attributes["relatedIdentifiers"][1] == {
        "relatedIdentifier": "https://example.org/code",
        "relatedIdentifierType": "URL",
        "relationType": "IsCompiledBy",
        "resourceTypeGeneral": "Software",
    }
    xml = schema45.tostring({**attributes, "doi": "10.5072/x"})
    assert "<publisher>Data for All</publisher>" in xml
    assert 'alternateIdentifierType="URN"' in xml


def test_what_datacite_refuses_is_told_with_the_key_to_change() -> None:
    wrong = replace(
        metadata(), subjects=("art", "art"), related=(RelatedIdentifier("https://example.org/x", "eats", "dataset"),)
    )

    with pytest.raises(PermanentError) as refused:
        require_valid(wrong)

    assert "relatedIdentifiers.0.relationType: 'eats' is not one of" in refused.value.cause
    assert "subjects: " in refused.value.cause
    assert "'source' in the dataset's YAML" in refused.value.remedy
    assert "'keywords' in the dataset's YAML" in refused.value.remedy
