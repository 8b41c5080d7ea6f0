"""Coordinate reference systems: which are one and the same, what a change between two costs, and what has no way."""

from __future__ import annotations

import pyarrow as pa
import pyproj
import pytest
import shapely

from d4c_pipeline.geometry import cleaning, projection
from d4c_pipeline.geometry.shapes import Rules
from d4c_pipeline.geometry.stream import UnfitError
from d4c_pipeline.model.errors import DataError, DefinitionError

WGS84 = projection.Target.of("EPSG:4326")
ESRI_WGS84 = (
    'GEOGCS["GCS_WGS_1984",DATUM["D_WGS_1984",SPHEROID["WGS_1984",6378137.0,298.257223563]],'
    'PRIMEM["Greenwich",0.0],UNIT["Degree",0.0174532925199433]]'
)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("OGC:CRS84", "EPSG:4326", True),
        ("OGC:CRS83", "EPSG:4269", True),
        ("http://www.opengis.net/def/crs/OGC/1.3/CRS84", "urn:ogc:def:crs:EPSG::4326", True),
        (ESRI_WGS84, "OGC:CRS84", True),
        ("+proj=utm +zone=18 +datum=NAD83", "EPSG:26918", True),
        ("ESRI:102100", "EPSG:3857", True),
        ("EPSG:4326", "EPSG:4269", False),
        ("EPSG:26918", "EPSG:2959", False),
        ("EPSG:26917", "EPSG:26918", False),
        ("EPSG:4326", "EPSG:3857", False),
    ],
)
def test_which_systems_are_one(one: str, other: str, same: bool) -> None:
    assert projection.same_crs(pyproj.CRS(one), pyproj.CRS(other)) is same
    assert projection.same_crs(pyproj.CRS(other), pyproj.CRS(one)) is same


def test_a_shift_that_a_grid_would_do_better_is_told_with_both_accuracies() -> None:
    operation = projection.operation(pyproj.CRS("EPSG:4267"), WGS84)  # NAD27
    assert operation is not None
    report = operation.report()
    assert report["operation_accuracy_m"] == 20.0
    assert report["operation_better_with_grid"]["accuracy_m"] <= 2.0
    assert report["operation_better_with_grid"]["grids"]
    exact = projection.operation(pyproj.CRS("EPSG:4617"), WGS84)
    assert exact is not None
    assert exact.report()["operation_accuracy_m"] == 1.0
    assert "operation_better_with_grid" not in exact.report()


def test_heights_have_no_part_in_where_a_place_is() -> None:
    ellipsoidal, with_geoid = pyproj.CRS("EPSG:4979"), pyproj.CRS("EPSG:9518")
    assert projection.operation(ellipsoidal, WGS84) is None
    assert projection.operation(with_geoid, WGS84) is None
    assert projection.vertical_name(ellipsoidal) == "ellipsoid"
    assert projection.vertical_name(with_geoid) == "EGM2008 height"
    assert projection.vertical_name(pyproj.CRS("EPSG:4326")) is None
    compound = projection.operation(pyproj.CRS("EPSG:6649"), WGS84)
    assert compound is not None
    assert compound.accuracy == 1.0


def test_without_its_grid_there_is_no_way_and_the_grid_is_named() -> None:
    with pytest.raises(DataError, match=r"No operation is known from NAD27\(CGQ77\).*grid file \(ca_que_mern_cq77na83"):
        projection.operation(pyproj.CRS("EPSG:2031"), WGS84)


@pytest.mark.parametrize("crs", ["EPSG:4978", "EPSG:5773"])
def test_only_systems_of_maps_are_published(crs: str) -> None:
    with pytest.raises(DefinitionError, match="not a CRS of maps"):
        projection.Target.of(crs)


def geocentric(*shapes: shapely.Geometry, keep_z: bool = False) -> list[shapely.Geometry]:
    operation = projection.operation(pyproj.CRS("EPSG:4978"), WGS84)
    wkb = pa.array(shapely.to_wkb(list(shapes)), pa.binary())
    cleaned = cleaning.clean(wkb, operation, Rules(WGS84, keep_z=keep_z))
    return list(shapely.from_wkb(cleaned.wkb.to_pylist()))


def test_geocentric_coordinates_are_transformed_in_three_dimensions() -> None:
    to_geocentric = pyproj.Transformer.from_crs("EPSG:4979", "EPSG:4978", always_xy=True)
    places = [(-75.0, 45.0, 100.0), (-60.5, 80.25, 0.0), (170.0, -30.0, 2000.0)]
    moved = [to_geocentric.transform(*place) for place in places]
    flat = geocentric(*(shapely.Point(xyz) for xyz in moved))
    assert not any(shapely.has_z(flat))
    assert shapely.get_coordinates(flat).ravel() == pytest.approx([c for place in places for c in place[:2]], abs=1e-9)
    line = geocentric(shapely.LineString(moved[:2]), keep_z=True)[0]
    assert shapely.get_coordinates(line, include_z=True).ravel() == pytest.approx(
        [c for place in places[:2] for c in place], abs=1e-6
    )


def test_two_coordinates_are_no_geocentric_place() -> None:
    with pytest.raises(UnfitError, match="two coordinates, and a geocentric CRS has three") as raised:
        geocentric(shapely.Point(1169000, -4363000, 4487000), shapely.Point(1169000, -4363000))
    assert raised.value.rows.tolist() == [1]
