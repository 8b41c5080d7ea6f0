"""A dataset's declaration: what is taken, and what every wrong field is told."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from pydantic import ValidationError

from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.errors import UnknownNameError
from d4c_pipeline.model.version import Version
from d4c_pipeline.model.vintage import Vintage
from d4c_pipeline_tests.support.declarations import declaration

DECLARED = declaration(
    "statcan_provinces",
    name={"source": "statcan", "package": "d4c-datapkg-statistical", "theme": "provinces_territories_digital"},
    title={"en": "Provinces", "fr": "Provinces"},
    description={"en": "Thirteen.", "fr": "Treize."},
    license="OGL-Canada-2.0",
    creators=[{"name": "Statistics Canada", "ror": "https://ror.org/04cpxjv19"}],
    vintages=[2021, "2016"],
    source={"kind": "http", "urls": ["https://example.org/lpr_000{vintage:yy}a.zip"]},
    processing={"kind": "vector", "key": ["pruid"]},
)


def declared(**changes: Any) -> dict[str, Any]:
    """The declaration with changes; a key `a__b` is field b of a, the value ... removes it."""
    value = copy.deepcopy(DECLARED)
    for key, new in changes.items():
        *path, last = key.split("__")
        place = value
        for step in path:
            place = place.setdefault(step, {})
        if new is ...:
            del place[last]
        else:
            place[last] = new
    return value


def test_a_right_one_is_taken() -> None:
    dataset = Dataset.model_validate(declared())

    assert dataset.license == "ogl-canada-2.0"
    assert dataset.vintages == ("2021", "2016")
    assert [str(vintage) for vintage in dataset.fixed_vintages or ()] == ["2016", "2021"]
    assert dataset.source.addresses(Vintage.parse("2016")) == ("https://example.org/lpr_00016a.zip",)
    assert (dataset.series, dataset.publication.stage, dataset.publication.initial_version) == (
        "editions",
        "beta",
        "0.1.0",
    )
    assert str(dataset.release_name(Vintage.parse("2016"), Version.read("0.1.0-beta"))) == (
        "ca_statcan_2021A000011124_d4c-datapkg-statistical_provinces_territories_digital_2016_v0.1.0-beta"
    )


@pytest.mark.parametrize(
    ("changes", "field", "message"),
    [
        ({"id": "Provinces"}, "id", "'Provinces' is not an identifier"),
        ({"id": "../x"}, "id", "is not an identifier"),
        ({"id": ...}, "id", "Field required"),
        ({"colour": "red"}, "colour", "Extra inputs are not permitted"),
        ({"name__region": "Canada"}, "name.region", "'Canada' is not a region"),
        ({"name__source": "Stat Can"}, "name.source", "is not a naming part"),
        ({"name__dguid": "2019A000556001009"}, "name.dguid", "is not a well-formed DGUID"),
        ({"name__package": "statistical"}, "name.package", "'statistical' is not a package"),
        ({"name__theme": "a__b"}, "name.theme", "is not a naming part"),
        ({"name__variant": "a_b"}, "name.variant", "is not a variant"),
        ({"title__fr": ...}, "title.fr", "Field required"),
        ({"title__fr": ""}, "title.fr", "at least 1 character"),
        ({"description": "Thirteen."}, "description", "valid dictionary"),
        ({"license": "WTFPL"}, "license", "'WTFPL' is not a known licence"),
        ({"creators": []}, "creators", "at least 1 item"),
        ({"creators": [{"name": "A", "ror": "abc"}]}, "creators.0.ror", "'abc' is not a ROR id"),
        ({"creators": [{"name": "A", "orcid": "1234"}]}, "creators.0.orcid", "'1234' is not an ORCID"),
        ({"series": "weekly"}, "series", "'editions' or 'rolling'"),
        ({"vintages": []}, "", "list at least one"),
        ({"vintages": ["2021", 2021]}, "", "one is listed twice"),
        ({"vintages": "discovered"}, "", "addresses name a {vintage}"),
        ({"source__urls": ["https://example.org/a.zip"]}, "", "several vintages need {vintage}"),
        ({"source__kind": "ftp"}, "source", "'http', 'statcan_table', 'ckan', 'arcgis', 's3', 'folder'"),
        ({"source__urls": ["ftp://example.org/a"]}, "source.http.urls.0.[address]", "is not an http(s) address"),
        ({"source__urls": ["https://example.org/{year}"]}, "source.http.urls.0.[address]", "is not a template"),
        ({"source__urls": ["https://example.org/{vintage:YY}"]}, "source.http.urls.0.[address]", "is not a template"),
        ({"source__urls": []}, "source.http", "declare urls, at least one, or mirror_list"),
        ({"processing__kind": "raster"}, "processing", "'vector', 'table'"),
        ({"processing__layers": "a"}, "processing.vector.layers", "Extra inputs are not permitted"),
        ({"processing__longitude": "x"}, "processing.vector", "both longitude and latitude"),
        ({"processing__override_crs": True}, "processing.vector", "override_crs wants crs"),
        ({"processing__sql": "../transform.sql"}, "processing.vector.sql", "name a file in the dataset's own folder"),
        ({"processing__sql": "/etc/passwd"}, "processing.vector.sql", "name a file in the dataset's own folder"),
        (
            {"processing__columns": {"a": {"type": "text"}}},
            "processing.vector.columns.a.type",
            "'string', 'integer', 'float'",
        ),
        ({"publication__stage": "gamma"}, "publication.stage", "'alpha', 'beta', 'rc' or 'stable'"),
        ({"publication__initial_version": "1"}, "publication.initial_version", "'1' is not a semantic version"),
        ({"publication__initial_version": "0.1.0-beta"}, "publication.initial_version", "carries a tag"),
        ({"publication__retention": {"primary": 3}}, "publication.retention", "the primary store keeps every release"),
        (
            {"publication__retention": {"west": 0}},
            "publication.retention.west",
            "'0' is neither a number of releases from 1 on",
        ),
        ({"publication__retention": {"west": "some"}}, "publication.retention.west", "nor 'all'"),
        (
            {"publication__retention": {"West Coast": 2}},
            "publication.retention.West Coast.[key]",
            "'West Coast' is not a name",
        ),
        ({"publication__policy": "always"}, "publication.policy", "'automatic'"),
    ],
)
def test_every_wrong_field_is_named(changes: dict[str, Any], field: str, message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Dataset.model_validate(declared(**changes))

    found = [(".".join(map(str, error["loc"])), error["msg"]) for error in caught.value.errors()]
    # Of a list, pydantic also says that nothing right was left in it.
    told = [error for error in found if not error[1].endswith("after validation, not 0")] or found
    assert [(place, message in text) for place, text in told] == [(field, True)]


def test_a_wrong_vintage_is_told() -> None:
    with pytest.raises(ValidationError, match="'last year' is not a vintage"):
        Dataset.model_validate(declared(vintages=["2021", "last year"]))


def test_all_wrong_fields_are_told_at_once() -> None:
    with pytest.raises(ValidationError) as caught:
        Dataset.model_validate(declared(id="X", license="WTFPL", title__en=""))

    assert {error["loc"][0] for error in caught.value.errors()} == {"id", "license", "title"}


def test_a_vintage_that_is_not_declared_is_refused_with_the_choice() -> None:
    dataset = Dataset.model_validate(declared())

    assert dataset.vintage("2016") == Vintage.parse("2016")
    with pytest.raises(UnknownNameError, match=r"has no vintage 2011\. Choose one of 2016, 2021"):
        dataset.vintage("2011")


def test_discovered_vintages_are_any() -> None:
    dataset = Dataset.model_validate(declared(vintages="discovered", source__urls=["https://example.org/a.zip"]))

    assert dataset.fixed_vintages is None
    assert str(dataset.vintage("2025-04-15")) == "2025-04-15"


def test_a_dataset_can_not_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Dataset.model_validate(declared()).id = "other"  # pyright: ignore[reportAttributeAccessIssue]


def test_a_mirror_keeps_what_is_said_of_it_and_all_otherwise() -> None:
    publication = Dataset.model_validate(declared(publication__retention={"west": 3, "east": "all"})).publication
    assert [publication.keeps(mirror) for mirror in ("west", "east", "north", "primary")] == [3, None, None, None]
