"""Geometry as text: conversion of every spelling to WKB, and refusals that name text that is not geometry."""

from __future__ import annotations

import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from d4c_pipeline.geometry import curves
from d4c_pipeline.readers.geometry_text import GeometryTextError, to_wkb

POINT = shapely.Point(-75, 45)


@pytest.mark.parametrize(
    "text",
    [
        "POINT (-75 45)",
        "SRID=4326;POINT(-75 45)",
        "srid = 4326 ; POINT(-75 45)",
        POINT.wkb_hex,
        shapely.to_wkb(POINT, hex=True, byte_order=0),
        shapely.to_wkb(POINT, hex=True).lower(),
        shapely.to_wkb(shapely.set_srid(POINT, 4326), hex=True, include_srid=True),
        shapely.to_wkb(shapely.set_srid(POINT, 4326), hex=True, include_srid=True, byte_order=0),
        "\\x" + shapely.to_wkb(POINT, hex=True),
        "0x" + shapely.to_wkb(POINT, hex=True),
        f"SRID=4326;{POINT.wkb_hex}",
        '{"type": "Point", "coordinates": [-75, 45]}',
    ],
)
def test_spellings_of_one_point(text: str) -> None:
    (wkb,) = to_wkb([text], "4326")
    assert wkb is not None
    assert shapely.from_wkb(wkb) == POINT


def test_nulls_blanks_and_several_spellings_in_one_column() -> None:
    made = to_wkb([None, " ", POINT.wkb_hex, "POINT Z (1 2 3)"], "4326")
    assert [None if wkb is None else shapely.from_wkb(wkb).wkt for wkb in made] == [
        None, None, "POINT (-75 45)", "POINT Z (1 2 3)",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "text",
    ["SRID=3347;POINT (1 2)", shapely.to_wkb(shapely.set_srid(POINT, 3347), hex=True, include_srid=True)],
)
def test_another_reference_system_is_refused(text: str) -> None:
    with pytest.raises(GeometryTextError) as raised:
        to_wkb([POINT.wkb_hex, text], "4326")
    assert raised.value.srid == 3347


@pytest.mark.parametrize(
    ("text", "wkt"),
    [
        ("CIRCULARSTRING (0 0, 1 0, 2 0)", "LINESTRING (0 0, 1 0, 2 0)"),
        ("COMPOUNDCURVE ((0 0, 1 0), CIRCULARSTRING (1 0, 2 0, 3 0))", "LINESTRING (0 0, 1 0, 2 0, 3 0)"),
        ("CURVEPOLYGON ((0 0, 1 0, 1 1, 0 0))", "POLYGON ((0 0, 1 0, 1 1, 0 0))"),
        ("MULTICURVE ((0 0, 1 0), CIRCULARSTRING (1 0, 2 0, 3 0))", "MULTILINESTRING ((0 0, 1 0), (1 0, 2 0, 3 0))"),
        (
            "MULTISURFACE (((0 0, 1 0, 1 1, 0 0)), CURVEPOLYGON (CIRCULARSTRING (5 5, 6 5, 5 5)))",
            None,
        ),
        ("TIN Z (((0 0 1, 1 0 1, 1 1 1, 0 0 1)))", "POLYGON ((1 1, 1 0, 0 0, 1 1))"),
        ("POLYHEDRALSURFACE Z (((0 0 1, 1 0 1, 1 1 1, 0 0 1)))", "POLYGON ((1 1, 1 0, 0 0, 1 1))"),
        ("TRIANGLE ((0 0, 1 0, 1 1, 0 0))", "POLYGON ((0 0, 1 0, 1 1, 0 0))"),
        ("CIRCULARSTRINGZ (0 0 5, 1 0 5, 2 0 5)", "LINESTRING Z (0 0 5, 1 0 5, 2 0 5)"),
        ("CURVEPOLYGON EMPTY", "POLYGON EMPTY"),
        ("GEOMETRYCOLLECTION (POINT (1 2), CIRCULARSTRING (0 0, 1 0, 2 0))",
         "GEOMETRYCOLLECTION (POINT (1 2), LINESTRING (0 0, 1 0, 2 0))"),
    ],
)  # fmt: skip
def test_types_that_geos_does_not_read(text: str, wkt: str | None) -> None:
    (wkb,) = to_wkb([text], "4326")
    assert wkb is not None
    made = curves.Reading(0.01, footprint=True).geometry(wkb)
    if wkt is None:
        assert made.geom_type == "MultiPolygon"
        assert len(made.geoms) == 2
    else:
        assert made.normalize().equals(shapely.from_wkt(wkt).normalize())
        assert made.geom_type == shapely.from_wkt(wkt).geom_type


@pytest.mark.parametrize(
    "text",
    [
        "nowhere",
        "POINT (1)",
        "CIRCULARSTRING (0 0, 1",
        "CIRCULARSTRING (0 0) x",
        "0101",
        "{}",
        "CURVEPOLYGON (1 2)",
        "(1 2)",
    ],
)
def test_text_that_is_not_geometry_is_named(text: str) -> None:
    with pytest.raises(GeometryTextError) as raised:
        to_wkb(["POINT (1 2)", text], "4326")
    assert str(raised.value) == text
    assert raised.value.srid is None


@given(st.text(alphabet="CIRCULARSTNGPOYZME (),.0123456789-;={}x", max_size=40))
def test_no_text_is_a_bug(text: str) -> None:
    try:
        to_wkb([text], "4326")
    except GeometryTextError:
        return
