"""The catalogue as its readers see it: DuckDB, geopandas, rustac, pystac, stac-validator; all without a network."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import duckdb
import duckdb_extension_spatial
import geopandas
import pyarrow.parquet as pq
import pystac
import pytest
import rustac
from pystac.errors import DeprecatedWarning
from stac_geoparquet.arrow import stac_table_to_items

from d4c_pipeline.catalogue.stac_geoparquet import write_catalogue
from d4c_pipeline.catalogue.stac_item import item_bytes
from d4c_pipeline.catalogue.static_stac import static_tree
from d4c_pipeline.catalogue.validation import schema_map
from d4c_pipeline.model.errors import DataError, StorageError
from d4c_pipeline_tests.support.releases import PROVINCES, RATES, published

OFFLINE: dict[str, str | bool | int | float | list[str]] = {
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
}
ITEMS = [
    published(PROVINCES, "2021", "0.10.0-beta", previous="0.9.0-beta"),
    published(RATES, "2025-06-04", "1.0.0"),
    published(PROVINCES, "2021", "0.9.0-beta", after="0.10.0-beta"),
]
# Dataset first, then SemVer: 0.9.0 comes before 0.10.0, which text order turns round.
MOMENTS = ("created", "published", "start_datetime", "end_datetime")
ORDER = [("exchange_rates", "1.0.0"), ("provinces", "0.9.0-beta"), ("provinces", "0.10.0-beta")]


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """A look-up of any host fails the test."""

    def refuse(*address: object, **_: object) -> None:
        raise AssertionError(f"asked the network for {address}")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture
def catalogue(tmp_path: Path) -> Path:
    path = tmp_path / "catalogue" / "stac.parquet"
    write_catalogue(ITEMS, path)
    return path


def read_with_rustac(path: Path) -> dict[str, Any]:
    async def read() -> dict[str, Any]:
        return await rustac.read(str(path))

    return asyncio.run(read())


def in_another_process(program: str, path: Path, **settings: str) -> str:
    root = Path(__file__).parents[3]
    environment = {**os.environ, "PYTHONPATH": str(root), **settings}
    done = subprocess.run(
        [sys.executable, "-c", program, str(path)], check=True, cwd=root.anchor, env=environment, stdout=subprocess.PIPE
    )
    return done.stdout.decode()


def query(path: Path, sql: str, *, spatial: bool = False) -> list[tuple[Any, ...]]:
    """Run `sql` over the table `catalogue` in a DuckDB that may load nothing by itself."""
    with duckdb.connect(config=OFFLINE) as connection:
        if spatial:
            extension = next(Path(duckdb_extension_spatial.__file__).parent.rglob("spatial.duckdb_extension"))
            connection.load_extension(str(extension))
        connection.read_parquet(str(path)).create_view("catalogue")
        return connection.sql(sql).fetchall()


def test_plain_duckdb_finds_versions_and_dois(catalogue: Path) -> None:
    rows = query(
        catalogue,
        'SELECT collection, version, doi, "table:row_count", assets.data."file:size", deprecated FROM catalogue',
    )
    first = [row[0] for row in query(catalogue, "DESCRIBE catalogue")][:4]
    assert [row[:2] for row in rows] == ORDER
    assert rows[1][2:] == ("10.5072/d4c.2021.0.9.0-beta", 13, 1004, True)
    assert rows[0][3] == 90_086
    assert first == ["dataset", "vintage", "version", "is_latest"]
    facts = query(catalogue, "SELECT doi, rows, bytes, data_urls[1], licence, title_fr FROM catalogue WHERE is_latest")
    assert facts[1][:3] == ("10.5072/d4c.2021.0.10.0-beta", 13, 1004)
    assert facts[1][3].endswith("_v0.10.0-beta.parquet")
    assert facts[1][4:] == ("OGL-Canada-2.0", "Provinces et territoires, Québec compris, 2021, v0.10.0-beta")


def test_duckdb_spatial_finds_what_covers_a_place(catalogue: Path) -> None:
    covers = "SELECT version FROM catalogue WHERE ST_Contains(geometry, ST_Point(-79.38, 43.65))"
    assert query(catalogue, covers, spatial=True) == [("1.0.0",), ("0.9.0-beta",), ("0.10.0-beta",)]
    nowhere = "SELECT collection FROM catalogue WHERE bbox IS NULL OR ST_IsEmpty(geometry)"
    assert query(catalogue, nowhere, spatial=True) == []


def test_geopandas_reads_values_and_filters_by_the_covering(catalogue: Path) -> None:
    frame = geopandas.read_parquet(catalogue)
    assert list(zip(frame["collection"], frame["version"], strict=True)) == ORDER
    assert frame.crs is not None
    assert frame.crs.to_epsg() == 4326
    assert frame.total_bounds.tolist() == [-141.03, 41.66, -52.6, 83.15]
    assert frame["published"].dt.strftime("%Y-%m-%dT%H:%M:%S%z").tolist() == ["2026-11-22T01:02:03+0000"] * 3
    assert frame.loc[2, "d4c:title_fr"] == "Provinces et territoires, Québec compris, 2021, v0.10.0-beta"
    assert len(geopandas.read_parquet(catalogue, bbox=(-80, 43, -79, 44))) == 3
    assert len(geopandas.read_parquet(catalogue, bbox=(0, 43, 1, 44))) == 0


def test_rustac_reads_items_back(catalogue: Path) -> None:
    features = read_with_rustac(catalogue)["features"]
    assert [(item["collection"], item["properties"]["version"]) for item in features] == ORDER
    newest = features[2]
    assert newest["geometry"] == ITEMS[0]["geometry"]
    assert newest["properties"]["table:columns"] == ITEMS[0]["properties"]["table:columns"]
    assert without_nulls(newest["assets"]) == ITEMS[0]["assets"]
    assert newest["properties"]["d4c:latest"] is True
    assert "d4c:attribution" not in newest["properties"]


def without_nulls(value: Any) -> Any:
    """Fields of structs that a row lacks are null in Parquet, and structs without any are empty."""
    if isinstance(value, dict):
        kept = {name: without_nulls(each) for name, each in value.items() if each is not None}
        return {name: each for name, each in kept.items() if each != {}}
    return [without_nulls(each) for each in value] if isinstance(value, list) else value


def test_stac_geoparquet_reads_items_back(catalogue: Path) -> None:
    table = pq.read_table(catalogue).filter([False, False, True])
    (item,) = stac_table_to_items(table)
    assert item["bbox"] == ITEMS[0]["bbox"]
    assert without_nulls(item["assets"]) == ITEMS[0]["assets"]
    moments = {name: f"{value[:-1]}.000Z" for name, value in ITEMS[0]["properties"].items() if name in MOMENTS}
    known = {name: value for name, value in ITEMS[0]["properties"].items() if value is not None}
    assert without_nulls(item["properties"]) == known | moments
    assert without_nulls(
        {name: item[name] for name in ("id", "collection", "geometry", "bbox", "stac_extensions")}
    ) == {name: ITEMS[0][name] for name in ("id", "collection", "geometry", "bbox", "stac_extensions")}


@pytest.mark.parametrize("items", [[], [ITEMS[1]], [ITEMS[0]]], ids=["none", "only a table", "only a map"])
def test_every_reader_takes_a_catalogue_of_one_kind(tmp_path: Path, items: list[dict[str, Any]]) -> None:
    path = tmp_path / "stac.parquet"
    write_catalogue(items, path)
    ids = [item["id"] for item in items]
    assert [row[0] for row in query(path, "SELECT id, version, doi FROM catalogue")] == ids
    assert geopandas.read_parquet(path)["id"].tolist() == ids
    assert [item["id"] for item in read_with_rustac(path)["features"]] == ids


def test_the_schema_does_not_depend_on_what_is_published(tmp_path: Path) -> None:
    write_catalogue([], tmp_path / "none.parquet")
    write_catalogue(ITEMS, tmp_path / "some.parquet")
    none, some = (pq.read_schema(tmp_path / name) for name in ("none.parquet", "some.parquet"))
    assert none.equals(some)
    assert not [field.name for field in some if str(field.type) == "null"]


def test_points_and_polygons_share_a_file_and_what_has_no_column_is_left_out(tmp_path: Path) -> None:
    point = json.loads(item_bytes(ITEMS[0]))
    point |= {"geometry": {"type": "Point", "coordinates": [-79.4, 43.7]}, "bbox": [-79.4, 43.7, -79.4, 43.7]}
    point["properties"]["d4c:later"] = {"new": [1, 2]}
    point["assets"]["tiles"] = {"href": "http://127.0.0.1/t.pmtiles", "file:size": 5}
    point["assets"]["hologram"] = {"href": "http://127.0.0.1/t.holo"}
    path = tmp_path / "stac.parquet"
    write_catalogue([ITEMS[1], ITEMS[2], point], path)
    features = read_with_rustac(path)["features"]
    assert [item["geometry"]["type"] for item in features] == ["Polygon", "Polygon", "Point"]
    assert [sorted(item["assets"])[-1] for item in features] == ["torrent", "torrent", "torrent"]
    assert features[2]["assets"]["tiles"]["file:size"] == 5
    assert "tiles" not in features[1]["assets"]
    columns = {row[0] for row in query(path, "DESCRIBE catalogue")}
    assert "d4c:later" not in columns
    assert "hologram" not in features[2]["assets"]
    geo = json.loads(pq.read_schema(path).metadata[b"geo"])
    assert geo["version"] == "1.1.0"
    assert geo["columns"]["geometry"]["geometry_types"] == ["Point", "Polygon"]
    assert geo["columns"]["geometry"]["bbox"] == [-141.03, 41.66, -52.6, 83.15]
    assert geo["columns"]["geometry"]["covering"]["bbox"]["xmin"] == ["bbox", "xmin"]


_WRITE_ELSEWHERE = """
import sys
from pathlib import Path
from d4c_pipeline.catalogue.stac_geoparquet import write_catalogue
from d4c_pipeline_tests.support.releases import PROVINCES, RATES, published
write_catalogue([
    published(RATES, "2025-06-04", "1.0.0"),
    published(PROVINCES, "2021", "0.9.0-beta", after="0.10.0-beta"),
    published(PROVINCES, "2021", "0.10.0-beta", previous="0.9.0-beta"),
], Path(sys.argv[1]))
"""


def test_bytes_are_the_same_in_another_process_order_time_zone_and_hash_seed(catalogue: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere" / "other.parquet"
    in_another_process(
        _WRITE_ELSEWHERE, elsewhere, PYTHONHASHSEED="7", TZ="Asia/Tokyo", LC_ALL="C", OMP_NUM_THREADS="1"
    )
    assert elsewhere.read_bytes() == catalogue.read_bytes()


def test_a_failed_write_leaves_the_catalogue_of_before(catalogue: Path) -> None:
    before = catalogue.read_bytes()
    differing = json.loads(item_bytes(ITEMS[0]))
    differing["properties"]["d4c:vintage"] = "2022"
    differing["properties"]["table:row_count"] = "many"
    differing["id"] = "another"
    with pytest.raises(DataError, match="don't fit into one table"):
        write_catalogue([*ITEMS, differing], catalogue)
    with pytest.raises(DataError, match=r"would list ca_statcan_.* twice"):
        write_catalogue([*ITEMS, ITEMS[0]], catalogue)
    assert catalogue.read_bytes() == before
    with pytest.raises(StorageError, match=r"stac\.parquet can't be written"):
        write_catalogue(ITEMS, catalogue / "stac.parquet")
    assert [path.name for path in catalogue.parent.iterdir()] == ["stac.parquet"]


_WRITE_WITH_LITTLE_ROOM = """
import resource, sys
from pathlib import Path
from d4c_pipeline.catalogue.stac_geoparquet import write_catalogue
from d4c_pipeline.model.errors import StorageError
from d4c_pipeline_tests.support.releases import RATES, published
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
try:
    write_catalogue([published(RATES, "2025-06-04", "1.0.0")], Path(sys.argv[1]))
except StorageError as error:
    print(error)
"""


def test_no_room_for_the_file_is_a_storage_error_and_leaves_nothing_half_written(catalogue: Path) -> None:
    before = catalogue.read_bytes()
    told = in_another_process(_WRITE_WITH_LITTLE_ROOM, catalogue)
    assert told.strip() == "The catalogue stac.parquet can't be written: File too large. Free space on the disk."
    assert catalogue.read_bytes() == before
    assert [path.name for path in catalogue.parent.iterdir()] == ["stac.parquet"]


@pytest.fixture(params=[None, "http://127.0.0.1:8763"], ids=["relative", "absolute"])
def tree(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    for address, content in static_tree([PROVINCES, RATES], ITEMS, request.param).items():
        path = tmp_path / address
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return tmp_path


def test_pystac_walks_the_static_tree(tree: Path) -> None:
    catalog = pystac.Catalog.from_file(str(tree / "catalogue" / "catalog.json"))
    with pytest.warns(DeprecatedWarning):
        items = list(catalog.get_items(recursive=True))
    newest_first = [("exchange_rates", "1.0.0"), ("provinces", "0.10.0-beta"), ("provinces", "0.9.0-beta")]
    assert [(item.collection_id, item.properties["version"]) for item in items] == newest_first
    collection = items[1].get_collection()
    assert collection is not None
    assert collection.title == "Provinces and territories"
    assert items[2].get_single_link("latest-version") is not None
    assert items[1].get_single_link("latest-version") is None
    previous = items[1].get_single_link("predecessor-version")
    assert previous is not None
    assert str(previous.get_absolute_href()).endswith("/catalogue/provinces/2021/0.9.0-beta.json")


def independently_valid(path: Path) -> bool:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # importing it warns that the package has another name now
        from stac_validator.stac_validator import StacValidate

        return bool(StacValidate(str(path), schema_map=schema_map()).run())


def test_stac_validator_agrees_offline(tree: Path) -> None:
    documents = sorted((tree / "catalogue").rglob("*.json"))
    assert len(documents) == 8
    assert [path.name for path in documents if not independently_valid(path)] == []
    path = tree / "catalogue" / "provinces" / "2021" / "0.9.0-beta.json"
    item = json.loads(path.read_bytes())
    item["assets"]["data"]["file:size"] = "large"
    path.write_bytes(item_bytes(item))
    assert not independently_valid(path)
