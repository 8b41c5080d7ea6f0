"""Who made the data, where and of when they are, how large, and where they come from: in both archives' words."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

import pytest
from pydantic import ValidationError

from d4c_pipeline.archives.datacite_metadata import require_valid, to_datacite
from d4c_pipeline.archives.invenio_metadata import to_invenio
from d4c_pipeline.archives.metadata import RecordMetadata, record_metadata
from d4c_pipeline.model.dataset import Party
from d4c_pipeline.model.errors import PermanentError
from d4c_pipeline.model.release import Change, DataSummary, Release, ReleaseState
from d4c_pipeline.model.version import Bump, Version
from d4c_pipeline_tests.fakes.deposits import DATASET, SUMMARY, VINTAGE, make_metadata

ROR, ORCID = "052gg0110", "0000-0002-1825-0097"


def described(summary: DataSummary = SUMMARY, **changes: Any) -> RecordMetadata:
    dataset = DATASET.model_copy(update=changes)
    made = make_metadata()
    release = Release(
        1,
        dataset.id,
        VINTAGE,
        Version.read("0.1.0"),
        "name",
        ReleaseState.PLANNED,
        made.identifier.rpartition(":")[2],
        Change(Bump.PATCH, ()),
        summary,
        (),
        planned_at=datetime(2026, 12, 31, tzinfo=UTC),
        published_at=None,
    )
    return require_valid(record_metadata(dataset, release, [], published_on=date(2027, 1, 1)))


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
