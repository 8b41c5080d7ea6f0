"""Who made, keeps and paid for the data, where and of when they are, what they mean, where they can be had.

In the words of all three archives; those of DataCite are judged by the XML schema 4.6 too.
"""

from __future__ import annotations

import importlib.util
import json
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from datacite import schema45
from lxml import etree
from pydantic import ValidationError

from d4c_pipeline.archives.edits import LastSent, merge
from d4c_pipeline.archives.invenio.metadata import to_invenio
from d4c_pipeline.metadata.datacite import require_valid, to_datacite
from d4c_pipeline.metadata.record import RecordMetadata, RelatedIdentifier, record_metadata
from d4c_pipeline.model.credits import Contributor, Funding, Party
from d4c_pipeline.model.errors import PermanentError
from d4c_pipeline.model.licences import DeclaredLicence
from d4c_pipeline.model.release import Change, Column, DataSummary, PlannedRelease
from d4c_pipeline.model.version import Bump, Version
from d4c_pipeline_tests.fakes.deposits import DATASET, SUMMARY, VINTAGE, make_metadata

ROR, ORCID = "052gg0110", "0000-0002-1825-0097"


def described(
    summary: DataSummary = SUMMARY, *, elsewhere: tuple[RelatedIdentifier, ...] = (), **changes: Any
) -> RecordMetadata:
    dataset = DATASET.model_copy(update=changes)
    made = make_metadata()
    release = PlannedRelease(
        1,
        dataset.id,
        VINTAGE,
        Version.read("0.1.0"),
        "name",
        made.identifier.rpartition(":")[2],
        Change(Bump.PATCH, ()),
        summary,
        (),
        planned_at=datetime(2026, 12, 31, tzinfo=UTC),
    )
    return require_valid(record_metadata(dataset, release, [], published_on=date(2027, 1, 1), elsewhere=elsewhere))


def creators(*parties: dict[str, Any]) -> tuple[list[Any], list[Any]]:
    said = described(creators=tuple(Party(**party) for party in parties))
    return to_invenio(said)["metadata"]["creators"], to_datacite(said)["creators"]


def test_a_person_is_declared_or_told_by_an_orcid() -> None:
    invenio, datacite = creators(
        {"name": "Tremblay, Jean", "type": "person"},
        {"name": "Roy, Anne", "orcid": ORCID, "ror": ROR, "affiliation": "University of Oxford"},
        {"name": "Statistics Canada"},
        {"name": "Parks, Recreation and Culture", "type": "organization", "ror": ROR},
    )
    kinds = [(one["person_or_org"]["type"], one.get("affiliations")) for one in invenio]
    assert kinds == [
        ("personal", None),
        ("personal", [{"name": "University of Oxford"}]),
        ("organizational", None),
        ("organizational", None),
    ]
    assert [one["nameType"] for one in datacite] == ["Personal", "Personal", "Organizational", "Organizational"]
    assert datacite[1]["affiliation"][0]["affiliationIdentifier"] == f"https://ror.org/{ROR}"
    assert [one["nameIdentifierScheme"] for one in datacite[1]["nameIdentifiers"]] == ["ORCID"]
    assert [one["nameIdentifierScheme"] for one in datacite[3]["nameIdentifiers"]] == ["ROR"]


def test_a_name_that_may_be_either_is_not_guessed() -> None:
    with pytest.raises(PermanentError, match=r"'Tremblay, Jean' may be a person .*type: person"):
        creators({"name": "Tremblay, Jean"})
    with pytest.raises(ValidationError, match="is an organization"):
        Party(name="Example", type="organization", orcid=ORCID)


def test_place_date_format_and_size_are_said() -> None:
    said = described(replace(SUMMARY, bounds=(-141.0, 41.7, -52.6, 83.1)))
    invenio, datacite = to_invenio(said)["metadata"], to_datacite(said)
    assert invenio["locations"]["features"][0]["geometry"]["coordinates"][0][2] == [-52.6, 83.1]
    assert datacite["geoLocations"][0]["geoLocationBox"]["westBoundLongitude"] == -141.0
    assert invenio["dates"] == [{"date": "2021", "type": {"id": "valid"}}]
    assert (invenio["sizes"], datacite["sizes"]) == (["13 rows", "0 bytes"], ["13 rows", "0 bytes"])
    assert (invenio["publication_date"], datacite["publicationYear"]) == ("2027-01-01", "2027")


def test_addresses_in_a_description_are_links_and_the_source_has_a_page() -> None:
    text = DATASET.description.model_copy(update={"en": "See https://example.org/a?b=1&c=2 (or http://x.ca/y)."})
    source = DATASET.source.model_copy(update={"homepage": "https://example.org/page"})
    said = described(description=text, source=source)
    assert (
        '<a href="https://example.org/a?b=1&amp;c=2">https://example.org/a?b=1&amp;c=2</a> (or' in said.description.en
    )
    assert 'href="http://x.ca/y">http://x.ca/y</a>).' in said.description.en
    assert [(one.identifier, one.relation) for one in said.related] == [("https://example.org/page", "isderivedfrom")]


NSERC = "01h531d29"
FULL: dict[str, Any] = {
    "contributors": (
        Contributor(name="Roy, Anne", type="person", affiliation="Université Laval", role="ContactPerson"),
        Contributor(name="Example Host", ror=f"https://ror.org/{ROR}", role="hostinginstitution"),
        Contributor(name="Data for Canada", role="distributor"),
    ),
    "providers": (Party(name="Data for Canada"),),
    "funding": (
        Funding(
            funder="NSERC",
            ror=f"https://ror.org/{NSERC}",
            number="RGPIN-2021-01234",
            title={"en": "Rivers", "fr": "Rivières"},
            url="https://example.org/grants/1",
        ),
        Funding(funder="City of Example"),
    ),
    "languages": ("fra", "iku"),
    "license": DeclaredLicence(
        title={"en": "Open Licence - Example City", "fr": "Licence ouverte : Ville d'Exemple"},
        url="https://example.org/licence",
        text="You may.",
    ),
}
COLUMNS = (
    Column("name", "string", "NAME", "Name of the <place>", "Nom du lieu"),
    Column("area", "double", None, "Square kilometres", None),
    Column("code", "string"),
)
ELSEWHERE = (
    RelatedIdentifier(f"urn:btih:{'ab' * 20}", "isidenticalto", "dataset"),
    RelatedIdentifier("https://data.example.org/releases/a.parquet", "isidenticalto", "dataset"),
    RelatedIdentifier("https://data.example.org/torrents/a.torrent", "hasmetadata"),
)


@pytest.fixture
def full() -> RecordMetadata:
    return described(replace(SUMMARY, columns=COLUMNS), elsewhere=ELSEWHERE, **FULL)


def test_an_invenio_record_says_all_of_it(full: RecordMetadata) -> None:
    said = to_invenio(full, funders={NSERC})["metadata"]
    assert [(one["person_or_org"]["type"], one["role"]["id"]) for one in said["contributors"]] == [
        ("organizational", "distributor"),
        ("personal", "contactperson"),
        ("organizational", "hostinginstitution"),
    ], "a provider that is declared as distributor too stands there once"
    assert said["contributors"][1]["affiliations"] == [{"name": "Université Laval"}]
    assert said["funding"] == [
        {
            "funder": {"id": NSERC},
            "award": {
                "number": "RGPIN-2021-01234",
                "title": {"en": "Rivers", "fr": "Rivières"},
                "identifiers": [{"identifier": "https://example.org/grants/1", "scheme": "url"}],
            },
        },
        {"funder": {"name": "City of Example"}},
    ]
    assert to_invenio(full)["metadata"]["funding"][0]["funder"] == {"name": "NSERC"}
    assert said["languages"] == [{"id": "fra"}, {"id": "iku"}]
    assert said["rights"] == [
        {
            "title": {"en": "Open Licence - Example City"},
            "link": "https://example.org/licence",
            "description": {"en": "The text of the licence is the file LICENSE of this record."},
        }
    ]
    assert [
        (one["scheme"], one["relation_type"]["id"], one.get("resource_type")) for one in said["related_identifiers"]
    ] == [
        ("urn", "isidenticalto", {"id": "dataset"}),
        ("url", "isidenticalto", {"id": "dataset"}),
        ("url", "hasmetadata", None),
    ]
    assert [(one["type"]["id"], one["lang"]["id"]) for one in said["additional_descriptions"]] == [
        ("abstract", "fra"),
        ("technical-info", "eng"),
        ("technical-info", "fra"),
    ]
    assert said["additional_descriptions"][1]["description"].splitlines() == [
        "<p>Columns:</p>",
        "<p>name (string): Name of the &lt;place&gt;</p>",
        "<p>area (double): Square kilometres</p>",
    ]
    assert "Licence : Licence ouverte : Ville d&#x27;Exemple." in said["additional_descriptions"][0]["description"]


def test_datacite_says_all_of_it_by_its_newest_schema(full: RecordMetadata) -> None:
    said = to_datacite(full)
    assert [one["contributorType"] for one in said["contributors"]] == [
        "Distributor",
        "ContactPerson",
        "HostingInstitution",
    ]
    assert said["fundingReferences"] == [
        {
            "funderName": "NSERC",
            "funderIdentifier": f"https://ror.org/{NSERC}",
            "funderIdentifierType": "ROR",
            "awardNumber": "RGPIN-2021-01234",
            "awardUri": "https://example.org/grants/1",
            "awardTitle": "Rivers",
        },
        {"funderName": "City of Example"},
    ]
    assert said["language"] == "fr", "the main one; BCP 47 has two letters for it"
    assert to_datacite(replace(full, languages=("crg",)))["language"] == "crg"
    assert said["rightsList"] == [
        {"rights": "Open Licence - Example City", "rightsUri": "https://example.org/licence", "lang": "en"},
        {"rights": "Licence ouverte : Ville d'Exemple", "rightsUri": "https://example.org/licence", "lang": "fr"},
    ]
    assert [(one["relatedIdentifierType"], one["relationType"]) for one in said["relatedIdentifiers"]] == [
        ("URN", "IsIdenticalTo"),
        ("URL", "IsIdenticalTo"),
        ("URL", "HasMetadata"),
    ]
    technical = [one for one in said["descriptions"] if one["descriptionType"] == "TechnicalInfo"]
    assert [(one["lang"], one["description"].split("\n\n")[1]) for one in technical] == [
        ("en", "name (string): Name of the <place>"),
        ("fr", "name (string): Nom du lieu"),
    ]
    assert schema46().validate(etree.fromstring(schema45.tostring({**said, "doi": "10.5072/x"}).encode())), (
        schema46().error_log
    )


def schema46() -> etree.XMLSchema:
    spec = importlib.util.find_spec("validator")
    assert spec is not None
    assert spec.submodule_search_locations
    return etree.XMLSchema(etree.parse(str(Path(spec.submodule_search_locations[0]) / "schema" / "metadata.xsd")))


def test_the_local_record_says_all_of_it(full: RecordMetadata) -> None:
    said = json.loads(json.dumps(replace(full, bounds=(-75.0, 45.0, -74.0, 46.0)).to_json()))
    assert said["licence"] == {
        "id": "declared",
        "title": "Open Licence - Example City",
        "title_fr": "Licence ouverte : Ville d'Exemple",
        "url": "https://example.org/licence",
        "file": "LICENSE",
    }
    assert (said["languages"], said["bounds"], said["valid"]) == (["fra", "iku"], [-75.0, 45.0, -74.0, 46.0], "2021")
    assert said["sizes"] == ["13 rows", "0 bytes"]
    assert said["funding"][0]["title"] == {"en": "Rivers", "fr": "Rivières"}
    assert said["funding"][1] == {"funder": "City of Example"}
    assert [one["role"] for one in said["contributors"]] == ["distributor", "contactperson", "hostinginstitution"]
    assert set(said["columns"]) == {"en", "fr"}
    assert [one["relation"] for one in said["related"]] == ["isidenticalto", "isidenticalto", "hasmetadata"]


def test_of_many_columns_the_first_are_named_and_the_others_counted() -> None:
    columns = tuple(Column(f"c{number}", "int8", None, "A count", None) for number in range(203))
    said = described(replace(SUMMARY, columns=columns)).columns
    assert list(said) == ["en"], "nothing is known in French"
    assert said["en"].splitlines()[-1] == "<p>README.md has 3 more.</p>"
    assert len(said["en"].splitlines()) == 202


@pytest.mark.parametrize(
    ("model", "fields", "message"),
    [
        (Contributor, {"name": "A", "role": "boss"}, "contactperson"),
        (Contributor, {"name": "A", "role": "contactperson", "email": "a at b"}, "is not an address of mail"),
        (Funding, {"funder": "A", "ror": "https://ror.org/xyz"}, "is not a ROR id"),
        (Funding, {"funder": "A", "url": "https://example.org/"}, "wants its number"),
        (DeclaredLicence, {"title": {"en": "A", "fr": "B"}, "url": "https://example.org/"}, "either text or text_file"),
        (
            DeclaredLicence,
            {"title": {"en": "A", "fr": "B"}, "url": "https://example.org/", "text_file": "../LICENSE"},
            "a file in the dataset's own folder",
        ),
    ],
)
def test_what_no_record_can_say_is_refused_in_the_definition(model: Any, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        model.model_validate(fields)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("fre", "write fra"),
        ("en", "write eng"),
        ("English", "write eng"),
        ("xxx", "is not a language of ISO 639-3"),
        ("ath", "a language, not a group"),
    ],
)
def test_a_language_goes_by_its_code_of_iso_639_3(code: str, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        DATASET.model_validate(DATASET.model_dump() | {"languages": [code]})


def test_a_language_is_listed_once() -> None:
    with pytest.raises(ValidationError, match="one is listed twice"):
        DATASET.model_validate(DATASET.model_dump() | {"languages": ["eng", "eng"]})


@pytest.mark.parametrize(
    ("name", "copy", "page"),
    [
        ("related", {"relation": "isidenticalto"}, {"relation": "isdocumentedby"}),
        ("relatedIdentifiers", {"relationType": "IsIdenticalTo"}, {"relationType": "IsDocumentedBy"}),
        (
            "metadata.related_identifiers",
            {"relation_type": {"id": "hasmetadata", "title": {"en": "Has metadata"}}},
            {"relation_type": {"id": "isdocumentedby"}},
        ),
    ],
)
def test_a_version_does_not_inherit_the_copies_of_the_one_before(
    name: str, copy: dict[str, Any], page: dict[str, Any]
) -> None:
    """Of a record that was adopted nothing is noted, and its next version begins with all that it says."""
    there = {name: [copy, page], "subjects": ["a curator's"]}
    assert merge(LastSent(), there, {}, own=()).keep == {name: [page], "subjects": ["a curator's"]}
    assert merge(LastSent(), {name: [copy]}, {}, own=()).keep == {}
