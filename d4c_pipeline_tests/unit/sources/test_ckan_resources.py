"""Resources of CKAN as portals fill them in: formats, languages and addresses in all their forms."""

from __future__ import annotations

from typing import Any

import pytest

from d4c_pipeline.sources.ckan_resources import Resource, file_format, language, resources_of

PORTAL = "https://data.example.ca/portal"


def resource(**fields: Any) -> Resource:
    (found,) = resources_of({"resources": [{"id": "r1", "url": "https://x.ca/a.csv", **fields}]}, PORTAL)
    return found


@pytest.mark.parametrize(
    ("said", "languages"),
    [
        (["en", "fr"], {"en", "fr"}),
        ("en", {"en"}),
        ("eng,fra", {"en", "fr"}),
        ("eng; CAN", {"en", "can"}),
        ('["en", "fr"]', {"en", "fr"}),
        (["en-CA"], {"en"}),
        ("fr_CA", {"fr"}),
        ("English", {"en"}),
        ("Français", {"fr"}),
        ("[broken", {"[broken"}),
        (None, set()),
        ("", set()),
        ([None, ""], set()),
        (7, set()),
    ],
)
def test_a_language_is_the_same_in_all_its_spellings(said: Any, languages: set[str]) -> None:
    assert resource(language=said).languages == languages
    assert {language("eng"), language("EN-ca"), language(" english ")} == {"en"}


@pytest.mark.parametrize(
    ("said", "formats"),
    [("CSV", {"csv"}), (".csv", {"csv"}), ("text/csv; charset=utf-8", {"csv"}), (None, {"csv"}), (" ", {"csv"})],
)
def test_a_format_is_the_same_in_all_its_spellings(said: Any, formats: set[str]) -> None:
    assert resource(format=said).formats == formats
    assert file_format("application/x-zip") == "zip"


@pytest.mark.parametrize(
    ("fields", "url"),
    [
        ({"url": "/files/a.csv"}, "https://data.example.ca/files/a.csv"),
        ({"url": "files/a.csv"}, "https://data.example.ca/portal/files/a.csv"),
        ({"url": "//other.ca/a.csv"}, "https://other.ca/a.csv"),
        ({"url": " https://x.ca/a.csv\n"}, "https://x.ca/a.csv"),
        ({"url": "https://x.ca/a.csv#top"}, "https://x.ca/a.csv"),
        ({"url": "www.x.ca/a.csv"}, "http://www.x.ca/a.csv"),
        ({"url": "_datastore_only_resource"}, "https://data.example.ca/portal/datastore/dump/r1"),
        ({"url": None, "datastore_active": True}, "https://data.example.ca/portal/datastore/dump/r1"),
        ({"url": ""}, ""),
        ({"url": None}, ""),
    ],
)
def test_an_address_is_whole_whatever_the_portal_wrote(fields: dict[str, Any], url: str) -> None:
    assert resource(**fields).url == url


def test_what_a_portal_took_back_is_told_apart() -> None:
    assert resource(state="deleted").label == "r1 (CSV), withdrawn"
    assert (resource(state="deleted").active, resource(state=None).active, resource(state="active").active) == (
        False,
        True,
        True,
    )


def test_a_package_without_resources_has_none() -> None:
    for package in ({}, {"resources": None}, {"resources": []}, {"resources": [None, "x"]}):
        assert resources_of(package, PORTAL) == ()
