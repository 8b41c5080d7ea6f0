"""Addresses as people paste them, and the declarations they become."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from d4c_pipeline.drafting import vintages
from d4c_pipeline.drafting.licences import licence_of
from d4c_pipeline.drafting.recognise import recognise
from d4c_pipeline.model.errors import PermanentError
from d4c_pipeline.model.gaps import TO_FILL

TABLE = {"kind": "statcan_table", "table": "33100036"}
PACKAGE = {"kind": "ckan", "portal": "https://open.canada.ca/data", "package": "e27c6eba-3c5d-4051-9db2-082dc6411c2c"}


@pytest.mark.parametrize(
    ("address", "declared"),
    [
        ("33-10-0036-01", TABLE),
        ("33100036", TABLE),
        ("https://www150.statcan.gc.ca/t1/tbl1/en/tv.action?pid=3310003601", TABLE),
        ("https://www150.statcan.gc.ca/n1/tbl/csv/33100036-eng.zip", TABLE),
        ("https://open.canada.ca/data/en/dataset/e27c6eba-3c5d-4051-9db2-082dc6411c2c", PACKAGE),
        (
            "https://open.canada.ca/data/api/3/action/package_show?id=e27c6eba-3c5d-4051-9db2-082dc6411c2c",
            PACKAGE,
        ),
        (
            "https://maps.example.ca/arcgis/rest/services/A/MapServer/11/query?where=1%3D1",
            {"kind": "arcgis", "layer": "https://maps.example.ca/arcgis/rest/services/A/MapServer/11"},
        ),
        ("s3://msc-open/nwp/2024/", {"kind": "s3", "bucket": "msc-open", "prefix": "nwp/2024/"}),
        (
            "https://msc-open.s3.ca-central-1.amazonaws.com/nwp/",
            {"kind": "s3", "bucket": "msc-open", "prefix": "nwp/", "region": "ca-central-1"},
        ),
        # A file in a bucket is a file; a brace in an address is no template.
        (
            "https://b.s3.amazonaws.com/a{1}.csv",
            {"kind": "http", "urls": ["https://b.s3.amazonaws.com/a{{1}}.csv"]},
        ),
    ],
)
def test_an_address_becomes_its_declaration(address: str, declared: dict[str, Any]) -> None:
    assert recognise(address).declared == declared


def test_a_resource_of_a_package_is_remembered() -> None:
    page = "https://open.canada.ca/data/fr/dataset/abc/resource/02a92b0f-b26d-4fbd-9601-d27651703715"
    assert recognise(page).resource == "02a92b0f-b26d-4fbd-9601-d27651703715"


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("https://maps.example.ca/arcgis/rest/services/A/FeatureServer", "Add the number of a layer"),
        ("ftp://ftp.example.ca/a.zip", "neither http"),
        ("no/such/file.csv", "There is no file"),
    ],
)
def test_other_addresses_are_refused(address: str, words: str) -> None:
    with pytest.raises(PermanentError, match=words):
        recognise(address)


def test_parts_of_a_shapefile_are_read_together(tmp_path: Path) -> None:
    (tmp_path / "roads[1].shp").touch()
    declared = recognise(tmp_path / "roads[1].shp").declared
    assert declared == {"kind": "folder", "path": str(tmp_path), "pattern": "roads[[]1].*"}


def test_a_licence_of_its_own_keeps_title_and_address_and_lacks_its_text() -> None:
    found = licence_of("read_me.txt", "GeoNB Open Data Licence", "http://geonb.snb.ca/odl.pdf")
    assert found is not None
    assert found.value == {
        "title": {"en": "GeoNB Open Data Licence", "fr": "to translate: GeoNB Open Data Licence"},
        "url": "http://geonb.snb.ca/odl.pdf",
        "text": TO_FILL,
    }
    assert licence_of("license_title", "License not specified") is None


@pytest.mark.parametrize(
    ("name", "vintage"),
    [
        ("lfsa000b21a_e.dbf", "2021"),
        ("lpr_000b16a_e.zip", "2016"),
        ("geonb_2024_ped_cep_shp.zip", "2024"),
        ("addresses-2024-06-03.csv", "2024-06-03"),
        ("federal_2013_representation_2021.zip", None),  # two years: a person decides
        ("33100036-eng.zip", None),
    ],
)
def test_a_vintage_is_read_out_of_a_name(name: str, vintage: str | None) -> None:
    found = vintages.of_name(name)
    assert (found.value if found is not None else None) == vintage
