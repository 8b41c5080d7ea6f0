"""One test per foreign reader of the catalogue, with a table without geometry, data in parts and a superseded release.

`test_catalogue_readers` has the readers of one file; here the static tree and both Parquet files are read together.
"""

from __future__ import annotations

import asyncio
import json
import re
import socket
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import duckdb
import duckdb_extension_httpfs
import duckdb_extension_icu
import duckdb_extension_parquet
import duckdb_extension_spatial
import geopandas
import polars
import pyarrow.parquet as pq
import pyogrio
import pystac
import pytest
import rustac

from d4c_pipeline.catalogue.arrow_schema import rows_of
from d4c_pipeline.catalogue.item_assets import Addresses
from d4c_pipeline.catalogue.item_links import Line
from d4c_pipeline.catalogue.stac_geoparquet import dataset_file, write_catalogue
from d4c_pipeline.catalogue.stac_item import build_item, finalise_item
from d4c_pipeline.catalogue.static_stac import static_tree
from d4c_pipeline.catalogue.validation import schema_map
from d4c_pipeline.model.release import DepositState, PublishedRelease
from d4c_pipeline_tests.support.published import PUBLISHED_AT, in_parts
from d4c_pipeline_tests.support.releases import (
    PROVINCES,
    RATES,
    STORE,
    a_deposit,
    a_release,
    published,
    torrent_urls,
    torrents,
    urls,
)

DATASETS = {"exchange_rates": RATES, "provinces": PROVINCES}
"""A dataset of each kind; `provinces` has a superseded release and one in parts."""


def _in_parts() -> dict[str, Any]:
    release = PublishedRelease(**vars(in_parts(a_release(PROVINCES, "2016", "1.0.0"), 3)), published_at=PUBLISHED_AT)
    deposit = replace(a_deposit(release), state=DepositState.PUBLISHED)
    made = torrents(release)
    item = build_item(PROVINCES, release, deposit, made, asset_urls=urls(release), base_url=STORE)
    return finalise_item(
        item,
        release,
        deposit,
        made,
        addresses=Addresses(urls(release), torrents=torrent_urls(release)),
        line=Line(True, False, None, None),
    )


ITEMS = (
    published(RATES, "2025-06-04", "1.0.0"),
    _in_parts(),
    published(PROVINCES, "2021", "1.0.0", after="1.1.0"),
    published(PROVINCES, "2021", "1.1.0", previous="1.0.0"),
)
VERSIONS = [(item["collection"], item["properties"]["d4c:vintage"], item["properties"]["version"]) for item in ITEMS]
IDS = [item["id"] for item in ITEMS]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with the catalogue: the tree, the file of all datasets and the file of each dataset."""
    folder = tmp_path_factory.mktemp("store")
    tree = static_tree(list(DATASETS.values()), ITEMS)
    for address, content in tree.items():
        path = folder / address
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    write_catalogue(ITEMS, folder / "catalogue" / "stac.parquet")
    for dataset in DATASETS:
        address = f"catalogue/{dataset}/items.parquet"
        document = json.loads(tree[f"catalogue/{dataset}/collection.json"])
        rows = rows_of([item for item in ITEMS if item["collection"] == dataset], address, None)
        (folder / address).write_bytes(dataset_file(rows, document))
    return folder


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """A look-up of any host fails the test."""

    def refuse(*address: object, **_: object) -> None:
        raise AssertionError(f"asked the network for {address}")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture
def client(tmp_path: Path) -> rustac.DuckdbClient:
    """Rustac's DuckDB with the extensions of their packages, in the layout that DuckDB looks for."""
    with duckdb.connect() as connection:
        ((platform,),) = connection.sql("PRAGMA platform").fetchall()
    for package in (duckdb_extension_icu, duckdb_extension_parquet, duckdb_extension_spatial):
        (found,) = Path(package.__file__).parent.rglob("*.duckdb_extension")
        there = tmp_path / "extensions" / found.parent.name / platform
        there.mkdir(parents=True, exist_ok=True)
        (there / found.name).symlink_to(found)
    return rustac.DuckdbClient(extension_directory=tmp_path / "extensions", install_extensions=False)


class _Counted(SimpleHTTPRequestHandler):
    """Files with ranges of bytes; each request and its bytes are counted."""

    requests: Counter[str]

    def log_message(self, *_: object) -> None: ...

    def do_GET(self) -> None:
        self._send(body=True)

    def do_HEAD(self) -> None:
        self._send(body=False)

    def _send(self, *, body: bool) -> None:
        path = Path(self.translate_path(self.path))
        if not path.is_file():
            self.send_error(404)
            return
        content = path.read_bytes()
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        start, end = (int(asked[1]), min(int(asked[2] or len(content)), len(content) - 1)) if asked else (0, None)
        part = content[start : end + 1] if end is not None else content
        self.send_response(206 if asked else 200)
        self.send_header("Content-Length", str(len(part)))
        self.send_header("Accept-Ranges", "bytes")
        if asked:
            self.send_header("Content-Range", f"bytes {start}-{end}/{len(content)}")
        self.end_headers()
        if body:
            self.wfile.write(part)
        self.requests["requests"] += 1
        self.requests["bytes"] += len(part) if body else 0


@pytest.fixture
def served(store: Path) -> Iterator[tuple[str, Counter[str]]]:
    """The address of the store over HTTP and what was requested of it."""
    counted: Counter[str] = Counter()
    handler = type("Handler", (_Counted,), {"requests": counted})
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(store)))
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", counted
    server.shutdown()
    server.server_close()


async def _read(path: str) -> dict[str, Any]:
    return await rustac.read(path)


def documents(store: Path) -> list[Path]:
    return sorted((store / "catalogue").rglob("*.json"))


def test_stac_check_finds_no_error_and_only_the_lints_that_names_and_periods_make(
    store: Path, monkeypatch: pytest.MonkeyPatch, no_network: None
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from stac_check import lint
    validate = lint.StacValidate
    monkeypatch.setattr(
        lint, "StacValidate", lambda *given, **named: validate(*given, **named, schema_map=schema_map())
    )
    known = (
        "STAC Best Practices",
        "Item name '",  # release names have capitals and dots, and stay what they are
        "Identifiers should consist",
        "Item file names should match",  # a file is called by its version
        "Please avoid setting the datetime field to null",  # a vintage is a period
        "properties. Please consider using links",
    )
    for path in documents(store):
        linter = lint.Linter(str(path))
        assert linter.valid_stac, (path, linter.error_msg)
        messages = [text for text in linter.best_practices_msg if text]
        if path.name in ("catalog.json", "collection.json"):
            # Without a public address of the store no document has `self`.
            assert [text for text in messages[1:] if "self" not in text] == [], path
        assert [text for text in messages if not any(word in text for word in known) and "self" not in text] == []


def test_pystac_walks_validates_and_copies(store: Path, tmp_path: Path, no_network: None) -> None:
    catalog = pystac.Catalog.from_file(str(store / "catalogue" / "catalog.json"))
    found = [item.id for _, _, items in catalog.walk() for item in items]
    assert sorted(found) == sorted(IDS)
    validator = pystac.validation.stac_validator.JsonSchemaSTACValidator()
    validator.schema_cache = {address: json.loads(Path(path).read_bytes()) for address, path in schema_map().items()}
    for item in catalog.get_items(recursive=True):
        assert item.validate(validator)
    copied = catalog.full_copy()
    copied.normalize_and_save(str(tmp_path / "copy"), catalog_type=pystac.CatalogType.SELF_CONTAINED)
    again = pystac.Catalog.from_file(str(tmp_path / "copy" / "catalog.json"))
    assert sorted(item.id for item in again.get_items(recursive=True)) == sorted(IDS)


def test_pystac_client_opens_the_static_catalogue(served: tuple[str, Counter[str]]) -> None:
    from pystac_client import Client

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a static catalogue states no conformance class
        opened = Client.open(f"{served[0]}/catalogue/catalog.json")
        assert [collection.id for collection in opened.get_collections()] == list(DATASETS)
        items = list(opened.get_items(recursive=True))
    assert sorted(item.id for item in items) == sorted(IDS)


def test_rustac_reads_searches_and_lists_collections(store: Path, client: rustac.DuckdbClient) -> None:
    everything = str(store / "catalogue" / "stac.parquet")
    features = asyncio.run(_read(everything))["features"]
    assert [item["id"] for item in features] == IDS
    assert [item["id"] for item in client.search(everything, collections=["provinces"])] == IDS[1:]
    assert [item["id"] for item in client.search(everything, bbox=[-80, 43, -79, 44])] == IDS
    assert client.search(everything, bbox=[0, 43, 1, 44]) == []
    assert [item["id"] for item in client.search(everything, filter="dataset = 'provinces' AND is_latest")] == [
        IDS[1],
        IDS[3],
    ]
    (collection,) = client.get_collections(str(store / "catalogue" / "provinces" / "items.parquet"))
    assert collection["id"] == "provinces"
    assert {each["id"] for each in client.get_collections(everything)} == set(DATASETS)


def test_stac_geoparquet_gives_the_items_of_the_tree_back(store: Path) -> None:
    from stac_geoparquet.arrow import stac_table_to_items

    table = pq.read_table(store / "catalogue" / "provinces" / "items.parquet")
    items = list(stac_table_to_items(table))
    assert [item["id"] for item in items] == IDS[1:]
    for item, original in zip(items, ITEMS[1:], strict=True):
        assert item["geometry"] == original["geometry"]
        assert item["bbox"] == original["bbox"]
        assert item["properties"]["title"] == original["properties"]["title"]


def test_stac_fastapi_geoparquet_answers_a_search_by_collection_with_that_collection(
    store: Path, client: rustac.DuckdbClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fastapi

    class WithSettings(fastapi.FastAPI):
        """An older FastAPI, which kept what it did not know; the reader states no upper limit."""

        def __init__(self, settings: Any, collections: Any, duckdb_client: Any, **known: Any) -> None:
            super().__init__(**known)
            self.extra = {"settings": settings, "collections": collections, "duckdb_client": duckdb_client}

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from stac_fastapi.geoparquet import api as reader
        from stac_fastapi.geoparquet.settings import Settings
        from starlette.testclient import TestClient
    monkeypatch.setattr(reader, "FastAPI", WithSettings)
    listed = [json.loads((store / "catalogue" / name / "collection.json").read_bytes()) for name in DATASETS]
    for collection in listed:
        for asset in collection["assets"].values():
            asset["href"] = str((store / "catalogue" / collection["id"] / asset["href"]).resolve())
    collections = tmp_path / "collections.json"
    collections.write_text(json.dumps(listed))
    api = reader.create(
        Settings(
            stac_fastapi_landing_id="catalogue",
            stac_fastapi_title="Catalogue",
            stac_fastapi_description="Catalogue",
            stac_fastapi_collections_href=str(collections),
        ),
        client,
    )
    with TestClient(api.app) as http:
        assert [each["id"] for each in http.get("/collections").json()["collections"]] == list(DATASETS)
        for dataset in DATASETS:
            found = http.get("/search", params={"collections": dataset, "limit": 100}).json()
            assert [item["id"] for item in found["features"]] == [
                item["id"] for item in ITEMS if item["collection"] == dataset
            ]
        one = http.get(f"/collections/provinces/items/{IDS[1]}").json()
        assert one["properties"]["version"] == "1.0.0"


def test_geopandas_and_pyogrio_read_parquet_and_items(store: Path) -> None:
    frame = geopandas.read_parquet(store / "catalogue" / "stac.parquet")
    assert frame["id"].tolist() == IDS
    assert not frame.geometry.is_empty.any()
    assert frame.geometry.notna().all()
    path = store / "catalogue" / "provinces" / "2021" / "1.1.0.json"
    assert pyogrio.read_info(path)["driver"] == "GeoJSON"
    item = pyogrio.read_dataframe(path)
    assert len(item) == 1
    assert item.geometry[0].bounds == pytest.approx(ITEMS[3]["bbox"])
    assert item["version"].tolist() == ["1.1.0"]


def test_duckdb_reads_little_over_http(served: tuple[str, Counter[str]]) -> None:
    address, counted = served
    extension = next(Path(duckdb_extension_httpfs.__file__).parent.rglob("httpfs.duckdb_extension"))
    with duckdb.connect(config={"autoinstall_known_extensions": False}) as connection:
        connection.load_extension(str(extension))
        found = connection.sql(
            f"SELECT vintage, version, doi, data_urls FROM '{address}/catalogue/stac.parquet' "
            "WHERE dataset = 'provinces' AND is_latest"
        ).fetchall()
    assert [row[:2] for row in found] == [("2016", "1.0.0"), ("2021", "1.1.0")]
    assert [len(row[3]) for row in found] == [3, 1]
    assert counted["requests"] <= 8, counted


def test_polars_reads_the_columns_for_sql(store: Path) -> None:
    frame = polars.read_parquet(store / "catalogue" / "stac.parquet")
    assert frame.select("dataset", "vintage", "version").rows() == VERSIONS
    assert frame["data_urls"].list.len().to_list() == [1, 3, 1, 1]
    assert frame.filter(polars.col("is_latest"))["version"].to_list() == ["1.0.0", "1.0.0", "1.1.0"]


@pytest.mark.parametrize("name", ["stac.parquet", "provinces/items.parquet"])
def test_gpio_finds_the_files_right(store: Path, name: str) -> None:
    import geoparquet_io as gpio

    result = gpio.read(str(store / "catalogue" / name)).check()
    assert (result.failures(), result.warnings()) == ([], [])
    assert result.passed()
