"""The metadata of a record: what of a dataset and a release stands in it, and what is refused before any call."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

import pytest
from pydantic import ValidationError

from d4c_pipeline.archives.port import check_files
from d4c_pipeline.metadata.record import Creator, RecordMetadata, RelatedIdentifier, record_metadata
from d4c_pipeline.model.credits import is_valid_orcid
from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.declared import Bilingual
from d4c_pipeline.model.errors import PermanentError
from d4c_pipeline.model.release import Change, DataSummary, PlannedRelease
from d4c_pipeline.model.version import Bump, Version
from d4c_pipeline.model.vintage import Vintage
from d4c_pipeline_tests.support.declarations import a_dataset

NATIVE = "https://example.org/odcaf.zip"


def dataset(**changes: Any) -> Dataset:
    fields: dict[str, Any] = {
        "name": {"source": "statcan", "package": "d4c-datapkg-culture", "theme": None},
        "title": {"en": "Cultural facilities", "fr": "Installations culturelles"},
        "description": {"en": "Museums & more.\n\nSecond <b>part</b>.", "fr": "Musées\n  et plus."},
        "attribution": {"en": "Adapted from Statistics Canada", "fr": "Adapté de Statistique Canada"},
        "creators": [
            {"name": "Statistics Canada", "ror": "https://ror.org/04cpxjv19"},
            {"name": "Carberry, Josiah", "orcid": "0000-0002-1825-0097"},
        ],
        "providers": [{"name": "Data for Canada"}],
        "keywords": {"en": ["museums", "art"], "fr": ["musées", "art"]},
        "vintages": ["2020"],
        "source": {"kind": "http", "urls": [NATIVE]},
        "processing": {"kind": "table"},
    }
    return a_dataset("odcaf", **(fields | changes))


RELEASE = PlannedRelease(
    id=1,
    dataset="odcaf",
    vintage=Vintage.parse("2020"),
    version=Version.read("0.1.0-beta"),
    name="name",
    key="a" * 64,
    change=Change(Bump.MINOR, ()),
    summary=DataSummary(8041, (), (), None, None, (), {}),
    artifacts=(),
    planned_at=datetime(2026, 11, 28, 23, 30, tzinfo=UTC),
)


def made(**changes: Any) -> RecordMetadata:
    return record_metadata(dataset(**changes), RELEASE, [NATIVE])


def test_what_stands_in_a_record() -> None:
    metadata = record_metadata(
        dataset(),
        RELEASE,
        [NATIVE, NATIVE],
        code_url="https://example.org/code",
        previous_vintage_doi="10.5072/d4c-local.k7x2m-9qf4t",
        page_url="https://data.example.org/odcaf",
    )
    value = json.loads(json.dumps(metadata.to_json()))

    assert value == {
        "identifier": "urn:d4c:" + "a" * 64,
        "title": {"en": "Cultural facilities (2020)", "fr": "Installations culturelles (2020)"},
        "description": {"en": metadata.description.en, "fr": metadata.description.fr},
        "creators": [
            {"name": "Statistics Canada", "orcid": None, "ror": "04cpxjv19"},
            {"name": "Carberry, Josiah", "orcid": "0000-0002-1825-0097", "ror": None},
        ],
        "contributors": [{"name": "Data for Canada", "orcid": None, "ror": None, "role": "distributor"}],
        "licence": {
            "id": "ogl-canada-2.0",
            "title": "Open Government Licence - Canada 2.0",
            "url": "https://open.canada.ca/en/open-government-licence-canada",
        },
        "publisher": "Data for Canada",
        "version": "0.1.0-beta",
        "publication_date": "2026-11-28",
        "subjects": ["museums", "art", "musées"],
        "related": [
            {"identifier": NATIVE, "scheme": "url", "relation": "isderivedfrom"},
            {"identifier": "https://example.org/code", "scheme": "url", "relation": "iscompiledby"},
            {"identifier": "10.5072/d4c-local.k7x2m-9qf4t", "scheme": "doi", "relation": "continues"},
            {"identifier": "https://data.example.org/odcaf", "scheme": "url", "relation": "isdocumentedby"},
        ],
        "resource_type": "dataset",
        "sizes": ["8041 rows", "0 bytes"],
        "valid": "2020",
    }


def test_the_description_is_in_both_languages_and_has_no_foreign_markup() -> None:
    assert made().description.en.splitlines() == [
        "<p>Museums &amp; more.</p>",
        "<p>Second &lt;b&gt;part&lt;/b&gt;.</p>",
        "<p>Data of 2020, version 0.1.0-beta: 8041 rows. Licence: Open Government Licence - Canada 2.0.</p>",
        "<p>Adapted from Statistics Canada</p>",
    ]
    assert made().description.fr.splitlines() == [
        "<p>Musées et plus.</p>",
        (
            "<p>Données de 2020, version 0.1.0-beta : 8041 enregistrements. "
            "Licence : Open Government Licence - Canada 2.0.</p>"
        ),
        "<p>Adapté de Statistique Canada</p>",
    ]


def test_a_script_in_a_yaml_does_not_reach_the_record() -> None:
    description = made(description={"en": "<script>alert(1)</script>", "fr": "<img src=x onerror=y>"}).description

    assert "<script" not in description.en
    assert "<img" not in description.fr


def test_a_title_that_names_its_vintage_stays() -> None:
    assert made(title={"en": "Census 2020", "fr": "Recensement"}).title.model_dump() == {
        "en": "Census 2020",
        "fr": "Recensement (2020)",
    }


def test_a_secret_in_an_address_does_not_reach_the_record() -> None:
    metadata = record_metadata(dataset(), RELEASE, ["https://me:s3cr3t@example.org/a.zip?token=s3cr3t&v=1"])

    assert metadata.related == (
        RelatedIdentifier("https://example.org/a.zip?token=***&v=1", "isderivedfrom", "dataset"),
    )


def test_the_same_release_gives_the_same_metadata() -> None:
    assert made() == made()


def test_a_wrong_check_digit_is_refused() -> None:
    with pytest.raises(ValidationError, match="'0000-0002-1825-0098' is not an ORCID: its last character"):
        made(creators=[{"name": "Jo", "orcid": "0000-0002-1825-0098"}])
    with pytest.raises(ValidationError, match="'05k71ja78' is not a ROR id: its last two digits"):
        made(creators=[{"name": "Jo", "ror": "05k71ja78"}])


@pytest.mark.parametrize("orcid", ["0000-0002-1825-0097", "0000-0001-5109-3700", "0000-0002-1694-233X"])
def test_real_orcids_are_valid(orcid: str) -> None:
    assert is_valid_orcid(orcid)
    assert not is_valid_orcid(orcid[:-1] + ("0" if orcid[-1] != "0" else "1"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"creators": ()}, "needs at least one creator"),
        ({"identifier": "doi:10.1/x"}, "is not our identifier"),
        ({"publisher": " "}, "Set D4C_PUBLISHER"),
        ({"title": Bilingual(en="Cultural", fr="ab")}, "Correct 'title.fr' in the YAML"),
        ({"creators": (Creator("Jo"), Creator(" "))}, "Correct 'creators.1' in the YAML"),
        ({"contributors": (Creator("Jo", ror="05k71jaXX"),)}, "ROR id 05k71jaXX of Jo is malformed"),
        ({"related": (RelatedIdentifier("ftp://example.org", "isderivedfrom"),)}, "neither a DOI nor an http"),
    ],
)
def test_what_an_archive_would_refuse_is_refused_here(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(PermanentError, match=message):
        replace(made(), **changes)


def test_the_date_is_that_of_the_plan() -> None:
    assert made().publication_date == date(2026, 11, 28)


def test_the_limits_of_a_record() -> None:
    check_files({f"{n}": 1 for n in range(100)})
    check_files({"a": 50 * 10**9})
    for sizes, message in (
        ({f"{n}": 1 for n in range(101)}, "101 files are more than the 100"),
        ({"a": 25 * 10**9, "b": 25 * 10**9 + 1}, "are more than the 50.0 GB"),
        ({"a": 0}, "The file a is empty"),
        ({"a/b": 1}, "can't be the name"),
    ):
        with pytest.raises(PermanentError, match=message):
            check_files(sizes)
