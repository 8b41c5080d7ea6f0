"""Bad data through the chain: one sentence with the remedy, clean staging, an earlier release that stays as it is."""

from __future__ import annotations

import json
import os
import re
import zipfile
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import geopandas
import pytest
import shapely

from d4c_pipeline.model.errors import D4CError, DataError, DefinitionError
from d4c_pipeline_tests.integration.chain.conftest import Chain
from d4c_pipeline_tests.support.inspection import published
from d4c_pipeline_tests.support.samples import DAY, PLACES, PLACES_URL, define, geojson

LATER = DAY + timedelta(days=1)
Make = Callable[[Path], tuple[str, bytes]]


def frame() -> geopandas.GeoDataFrame:
    points = shapely.points([place[3] for place in PLACES], [place[4] for place in PLACES])
    columns = {"id": [place[0] for place in PLACES], "name": [place[1] for place in PLACES]}
    return geopandas.GeoDataFrame(columns, geometry=points, crs=4326)


def shapefile(folder: Path, *, without: str = "", encoding: str = "utf-8", cut: str = "") -> tuple[str, bytes]:
    places = frame()
    places["name"] = places["name"].str.split(" / ").str[0]
    places.to_file(folder / "places.shp", encoding=encoding)
    if encoding != "utf-8":
        (folder / "places.cpg").write_text("UTF-8")
    if cut:
        os.truncate(folder / f"places{cut}", (folder / f"places{cut}").stat().st_size - 20)
    packed = folder / "places.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        for part in sorted(folder.glob("places.*")):
            if part.suffix not in (".zip", without):
                archive.write(part, part.name)
    return "places.zip", packed.read_bytes()


def geopackage(folder: Path, rows: slice = slice(None), layers: tuple[str, ...] = ("places",)) -> tuple[str, bytes]:
    for layer in layers:
        frame().iloc[rows].to_file(folder / "places.gpkg", layer=layer)
    return "places.gpkg", (folder / "places.gpkg").read_bytes()


def collection(**changes: Any) -> tuple[str, bytes]:
    return "places.geojson", json.dumps(json.loads(geojson()) | changes, ensure_ascii=False).encode()


def swapped(_: Path) -> tuple[str, bytes]:
    # Latitude first: Vancouver's longitude is no latitude.
    return "places.geojson", geojson([(number, name, people, y, x) for number, name, people, x, y in PLACES])


# What is wrong: the file that the source delivers, what is declared besides, the cause and the remedy that are told.
FAULTS: dict[str, tuple[Make, dict[str, Any], str, str]] = {
    "half a GeoPackage": (
        lambda folder: (geopackage(folder)[0], geopackage(folder)[1][:20_000]),
        {}, "places.gpkg can't be read", "[Ff]etch the vintage again",
    ),
    "half a GeoJSON": (
        lambda _: ("places.geojson", geojson()[:-40]),
        {}, "places.geojson can't be read", "[Ff]etch the vintage again",
    ),
    "a cut .shp": (lambda folder: shapefile(folder, cut=".shp"), {}, "places.shp is truncated", "[Ff]etch the vintage"),
    "a cut .dbf": (lambda folder: shapefile(folder, cut=".dbf"), {}, "places.dbf is truncated", "[Ff]etch the vintage"),
    "a damaged zip": (
        lambda folder: ("places.zip", shapefile(folder)[1][:600] + b"\0" * 200 + shapefile(folder)[1][800:]),
        {}, "places.zip is a broken zip", "Fetch it again",
    ),
    "an empty layer": (lambda folder: geopackage(folder, slice(0)), {}, "places.gpkg has no rows", "Check what"),
    "an empty collection": (lambda _: collection(features=[]), {}, "places.geojson has no", "Check what"),
    "no such layer": (
        geopackage, {"layer": "lakes"}, "places.gpkg has no layer lakes; it has places", "Correct processing.layer",
    ),
    "two layers": (
        lambda folder: geopackage(folder, layers=("places", "roads")),
        {}, "places.gpkg has 2 layers: places, roads", "Declare the layer to read",
    ),
    "a wrong encoding": (
        lambda folder: shapefile(folder, encoding="cp1252"),
        {}, "Column name of places.shp is not utf-8 text: .*Qu", "Declare processing.encoding",
    ),
    "no CRS": (
        lambda folder: shapefile(folder, without=".prj"),
        {}, "places.shp does not say its coordinate reference system", "Declare processing.crs",
    ),
    "an unknown CRS": (
        lambda folder: shapefile(folder, without=".prj"), {"crs": "EPSG:999999"}, "EPSG:999999", "[Dd]eclare",
    ),
    "swapped coordinates": (
        swapped, {}, r"are no longitude and latitude, for example \(49\.28, -123", "Declare the right processing.crs",
    ),
    "not a number": (
        lambda _: ("places.csv", b"id,name,x,y\n1,a,NaN,45\n2,b,inf,45\n"),
        {"longitude": "x", "latitude": "y"}, "not numbers|no longitude|neither a number", "[Dd]eclare|[Dd]rop",
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_what_can_not_be_processed(chain: Chain, definitions: Path, tmp_path: Path, fault: str) -> None:
    chain.run()
    before = published(chain.home)
    make, processing, cause, remedy = FAULTS[fault]
    work = tmp_path / "make"
    work.mkdir()
    name, content = make(work)
    url = f"{PLACES_URL.rpartition('/')[0]}/{name}"
    define(
        definitions,
        source={"kind": "http", "urls": [url]},
        processing={"kind": "vector", "key": ["id"], **processing},
    )
    chain.origin.put(url, content, LATER)
    with pytest.raises(D4CError) as refusal:
        chain.run("raw", "processed")
    told = refusal.value
    assert isinstance(told, DataError | DefinitionError)
    assert told.remedy
    assert "\n" not in str(told)
    assert str(tmp_path) not in str(told)
    assert re.search(cause, told.cause), str(told)
    assert re.search(remedy, told.remedy), str(told)
    staging = chain.home / "staging" / "places" / "2021"
    assert not list(staging.rglob(".processing-*"))
    assert not (staging / "build" / "build.json").exists()
    assert published(chain.home) == before
    # The cause gone, the chain goes on where it was.
    define(definitions)
    assert chain.run("raw", "processed").summary.rows == len(PLACES)
