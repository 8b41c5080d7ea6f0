"""One test per foreign reader of the catalogue, with a table without geometry, data in parts and a superseded release.

Each reads a small catalogue made of samples, and the catalogue of a home that published real data. Readers of one file
have `test_catalogue_readers`; here the static tree and both Parquet files are read together.
"""

from __future__ import annotations

import asyncio
import csv
import json
import os
import re
import socket
import subprocess
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
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
import feedparser
import geopandas
import polars
import pyarrow.parquet as pq
import pyogrio
import pystac
import pytest
import rustac
import shapely

from d4c_pipeline.catalogue.arrow_schema import rows_of
from d4c_pipeline.catalogue.item_assets import KINDS, Addresses
from d4c_pipeline.catalogue.item_links import Line
from d4c_pipeline.catalogue.stac_geoparquet import dataset_file, write_catalogue
from d4c_pipeline.catalogue.stac_item import build_item, finalise_item, item_place
from d4c_pipeline.catalogue.static_stac import static_tree
from d4c_pipeline.catalogue.validation import schema_map
from d4c_pipeline.model.addresses import catalogue_item_address
from d4c_pipeline.model.release import DepositState, PublishedRelease
from d4c_pipeline.model.settings import Settings
from d4c_pipeline.portal.bundle import Bundle
from d4c_pipeline_tests.support.chromium import CHROMIUM
from d4c_pipeline_tests.support.home_of_releases import REAL, publish_real
from d4c_pipeline_tests.support.inspection import is_valid_stac
from d4c_pipeline_tests.support.ports import free_port
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
from d4c_pipeline_tests.support.stac_browser import browsing
from d4c_pipeline_tests.support.stac_browser import build as build_stac_browser

SAMPLES = {"exchange_rates": RATES, "provinces": PROVINCES}
"""A dataset of each kind; `provinces` has a superseded release and one in parts."""
SUPPORT = Path(__file__).parents[2] / "support"
SF, QGIS = Path("/usr/lib/R/site-library/sf"), Path("/usr/lib/python3/dist-packages/qgis/core")
TORONTO, ATLANTIC = (-80.0, 43.0, -79.0, 44.0), (-40.0, 43.0, -39.0, 44.0)


@dataclass(frozen=True)
class Published:
    """A store with a catalogue: the tree, the file of all datasets and the file of each dataset.

    `items`: the documents of the tree, by dataset, vintage and version. `one`: the dataset with a superseded release.
    """

    store: Path
    datasets: tuple[str, ...]
    items: tuple[dict[str, Any], ...]
    one: str

    @property
    def everything(self) -> str:
        return str(self.store / "catalogue" / "stac.parquet")

    @property
    def ids(self) -> list[str]:
        return [item["id"] for item in self.items]

    def of(self, dataset: str) -> list[dict[str, Any]]:
        return [item for item in self.items if item["collection"] == dataset]

    def within(self, box: tuple[float, float, float, float]) -> list[str]:
        return [item["id"] for item in self.items if shapely.box(*box).intersects(shapely.box(*item["bbox"]))]


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


def samples(folder: Path) -> Published:
    """A catalogue of samples."""
    items = (
        published(RATES, "2025-06-04", "1.0.0"),
        _in_parts(),
        published(PROVINCES, "2021", "1.0.0", after="1.1.0"),
        published(PROVINCES, "2021", "1.1.0", previous="1.0.0"),
    )
    tree = static_tree(list(SAMPLES.values()), items)
    for address, content in tree.items():
        path = folder / address
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    write_catalogue(items, folder / "catalogue" / "stac.parquet")
    for dataset in SAMPLES:
        address = f"catalogue/{dataset}/items.parquet"
        document = json.loads(tree[f"catalogue/{dataset}/collection.json"])
        rows = rows_of([item for item in items if item["collection"] == dataset], address, None)
        (folder / address).write_bytes(dataset_file(rows, document))
    return Published(folder, tuple(SAMPLES), items, "provinces")


def real(folder: Path, fixtures: Path) -> Published:
    """The catalogue of a home with real data."""
    store = publish_real(folder, free_port(), fixtures).home / "store"
    found = [json.loads(path.read_bytes()) for path in (store / "catalogue").glob("*/*/[0-9]*.json")]
    return Published(store, tuple(sorted(REAL)), tuple(sorted(found, key=item_place)), "stops")


@pytest.fixture(scope="module", params=["samples", "real"])
def catalogue(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Published:
    folder = tmp_path_factory.mktemp("published")
    return samples(folder) if request.param == "samples" else real(folder, request.getfixturevalue("fixtures"))


@pytest.fixture(scope="module")
def built_stac_browser(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_stac_browser(tmp_path_factory.mktemp("stac_browser"))


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
def served(catalogue: Published) -> Iterator[tuple[str, Counter[str]]]:
    """The address of the store over HTTP and what was requested of it."""
    counted: Counter[str] = Counter()
    handler = type("Handler", (_Counted,), {"requests": counted})
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(catalogue.store)))
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", counted
    server.shutdown()
    server.server_close()


async def _read(path: str) -> dict[str, Any]:
    return await rustac.read(path)


def documents(store: Path) -> list[Path]:
    """The STAC documents of a store."""
    found = sorted((store / "catalogue").rglob("*.json"))
    return [path for path in found if "stac_version" in json.loads(path.read_bytes())]


def test_stac_check_finds_no_error_and_only_the_lints_that_names_and_periods_make(
    catalogue: Published, monkeypatch: pytest.MonkeyPatch, no_network: None
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
    for path in documents(catalogue.store):
        linter = lint.Linter(str(path))
        assert linter.valid_stac, (path, linter.error_msg)
        messages = [text for text in linter.best_practices_msg if text]
        if path.name in ("catalog.json", "collection.json"):
            # Without a public address of the store no document has `self`.
            assert [text for text in messages[1:] if "self" not in text] == [], path
        assert [text for text in messages if not any(word in text for word in known) and "self" not in text] == []


def test_stac_validator_finds_every_document_valid(catalogue: Published, no_network: None) -> None:
    found = documents(catalogue.store)
    assert len(found) > len(catalogue.items) + len(catalogue.datasets)
    assert [path for path in found if not is_valid_stac(path)] == []


def test_pystac_walks_validates_and_copies(catalogue: Published, tmp_path: Path, no_network: None) -> None:
    catalog = pystac.Catalog.from_file(str(catalogue.store / "catalogue" / "catalog.json"))
    found = [item.id for _, _, items in catalog.walk() for item in items]
    assert sorted(found) == sorted(catalogue.ids)
    validator = pystac.validation.stac_validator.JsonSchemaSTACValidator()
    validator.schema_cache = {address: json.loads(Path(path).read_bytes()) for address, path in schema_map().items()}
    for item in catalog.get_items(recursive=True):
        assert item.validate(validator)
    copied = catalog.full_copy()
    copied.normalize_and_save(str(tmp_path / "copy"), catalog_type=pystac.CatalogType.SELF_CONTAINED)
    again = pystac.Catalog.from_file(str(tmp_path / "copy" / "catalog.json"))
    assert sorted(item.id for item in again.get_items(recursive=True)) == sorted(catalogue.ids)


def test_pystac_client_opens_the_static_catalogue(catalogue: Published, served: tuple[str, Counter[str]]) -> None:
    from pystac_client import Client

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a static catalogue states no conformance class
        opened = Client.open(f"{served[0]}/catalogue/catalog.json")
        assert [collection.id for collection in opened.get_collections()] == list(catalogue.datasets)
        items = list(opened.get_items(recursive=True))
    assert sorted(item.id for item in items) == sorted(catalogue.ids)


def test_rustac_reads_searches_and_lists_collections(catalogue: Published, client: rustac.DuckdbClient) -> None:
    everything, one = catalogue.everything, catalogue.of(catalogue.one)
    features = asyncio.run(_read(everything))["features"]
    assert [item["id"] for item in features] == catalogue.ids
    found = client.search(everything, collections=[catalogue.one])
    assert [item["id"] for item in found] == [item["id"] for item in one]
    assert [item["id"] for item in client.search(everything, bbox=list(TORONTO))] == catalogue.within(TORONTO) != []
    assert client.search(everything, bbox=list(ATLANTIC)) == []
    latest = [item["id"] for item in one if item["properties"]["is_latest"]]
    asked = f"dataset = '{catalogue.one}' AND is_latest"
    assert [item["id"] for item in client.search(everything, filter=asked)] == latest
    assert len(latest) == len(one) - 1
    (collection,) = client.get_collections(str(catalogue.store / "catalogue" / catalogue.one / "items.parquet"))
    assert collection["id"] == catalogue.one
    assert {each["id"] for each in client.get_collections(everything)} == set(catalogue.datasets)


def test_stac_geoparquet_gives_the_items_of_the_tree_back(catalogue: Published) -> None:
    from stac_geoparquet.arrow import stac_table_to_items

    table = pq.read_table(catalogue.store / "catalogue" / catalogue.one / "items.parquet")
    items, originals = list(stac_table_to_items(table)), catalogue.of(catalogue.one)
    assert [item["id"] for item in items] == [item["id"] for item in originals]
    for item, original in zip(items, originals, strict=True):
        # A field that another row has is null; times have milliseconds; a list takes the place of the parts' assets.
        properties = _without_nulls(item["properties"])
        parts = [asset for asset in original["assets"].values() if "d4c:part" in asset]
        assert [part["href"] for part in properties.pop("d4c:parts", [])] == [part["href"] for part in parts]
        stated = {name: _moment(name, value) for name, value in original["properties"].items()}
        assert properties == {name: value for name, value in _without_nulls(stated).items() if value is not None}
        named = {key: asset for key, asset in original["assets"].items() if key in KINDS}
        assert _without_nulls(item["assets"]) == named
        assert len(named) == len(original["assets"]) - 2 * len(parts)
        own = {name for name in original if name not in ("properties", "assets", "links")}
        assert {name: item[name] for name in own} == {name: original[name] for name in own}
        relations = [link["rel"] for link in original["links"] if link["rel"] != "self"]
        assert [link["rel"] for link in item["links"]] == ["self", *relations]


def _moment(name: str, value: Any) -> Any:
    is_moment = name in ("start_datetime", "end_datetime", "datetime", "created", "published") and value
    return f"{value[:-1]}.000Z" if is_moment and "." not in value else value


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        kept = {name: _without_nulls(each) for name, each in value.items() if each is not None}
        return {name: each for name, each in kept.items() if each != {}}
    return [_without_nulls(each) for each in value] if isinstance(value, list) else value


def test_stac_fastapi_geoparquet_answers_a_search_by_collection_with_that_collection(
    catalogue: Published, client: rustac.DuckdbClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
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
    folder = catalogue.store / "catalogue"
    listed = [json.loads((folder / name / "collection.json").read_bytes()) for name in catalogue.datasets]
    for collection in listed:
        for asset in collection["assets"].values():
            asset["href"] = str((folder / collection["id"] / asset["href"]).resolve())
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
        assert [each["id"] for each in http.get("/collections").json()["collections"]] == list(catalogue.datasets)
        for dataset in catalogue.datasets:
            found = http.get("/search", params={"collections": dataset, "limit": 100}).json()
            assert [item["id"] for item in found["features"]] == [item["id"] for item in catalogue.of(dataset)]
        first = catalogue.of(catalogue.one)[0]
        one = http.get(f"/collections/{catalogue.one}/items/{first['id']}").json()
        assert one["properties"]["version"] == first["properties"]["version"]


def test_geopandas_and_pyogrio_read_parquet_and_items(catalogue: Published) -> None:
    frame = geopandas.read_parquet(catalogue.everything)
    assert frame["id"].tolist() == catalogue.ids
    assert not frame.geometry.is_empty.any()
    assert frame.geometry.notna().all()
    for expected in catalogue.items:
        path = catalogue.store / catalogue_item_address(*item_place(expected))
        assert pyogrio.read_info(path)["driver"] == "GeoJSON"
        item = pyogrio.read_dataframe(path)
        assert len(item) == 1
        assert item.geometry[0].bounds == pytest.approx(expected["bbox"])
        assert item["version"].tolist() == [expected["properties"]["version"]]


def test_duckdb_reads_little_over_http(catalogue: Published, served: tuple[str, Counter[str]]) -> None:
    address, counted = served
    extension = next(Path(duckdb_extension_httpfs.__file__).parent.rglob("httpfs.duckdb_extension"))
    with duckdb.connect(config={"autoinstall_known_extensions": False}) as connection:
        connection.load_extension(str(extension))
        found = connection.sql(
            f"SELECT vintage, version, doi, data_urls FROM '{address}/catalogue/stac.parquet' "
            "WHERE dataset = 'provinces' AND is_latest"
        ).fetchall()
    latest = [item["properties"] for item in catalogue.of("provinces") if item["properties"]["is_latest"]]
    assert [row[:2] for row in found] == [(each["vintage"], each["version"]) for each in latest]
    assert [len(row[3]) for row in found] == [len(each["data_urls"]) for each in latest]
    assert len(found[0][3]) > 1  # in parts
    assert counted["requests"] <= 8, counted


def test_polars_reads_the_columns_for_sql(catalogue: Published) -> None:
    frame = polars.read_parquet(catalogue.everything)
    stated = [item["properties"] for item in catalogue.items]
    columns = ("dataset", "vintage", "version", "is_latest", "doi", "rows", "bytes")
    assert frame.select(columns).rows() == [tuple(each[name] for name in columns) for each in stated]
    assert frame["data_urls"].list.len().to_list() == [len(each["data_urls"]) for each in stated]
    assert sum(frame["is_latest"]) == len(stated) - 1


def test_feedparser_reads_the_feeds_of_a_home(published_home: Settings) -> None:
    feeds = [path for end in ("atom", "rss") for path in (published_home.home / "store/catalogue").rglob(f"*.{end}")]
    assert len(feeds) >= 2
    for path in feeds:
        read = feedparser.parse(path.read_bytes())
        assert (bool(read.bozo), len(read.entries) > 0) == (False, True), path
    torrents_of = feedparser.parse((published_home.home / "store/catalogue/torrents.atom").read_bytes())
    # An entry per release (the parts, two vintages and two versions of the places, the table), a torrent per data file.
    enclosed = [
        link.href for entry in torrents_of.entries for link in entry.links if link.type == "application/x-bittorrent"
    ]
    assert (len(torrents_of.entries), len(set(enclosed))) == (5, 8)


@pytest.mark.parametrize("name", ["stac.parquet", "provinces/items.parquet"])
def test_gpio_finds_the_files_right(catalogue: Published, name: str) -> None:
    import geoparquet_io as gpio

    result = gpio.read(str(catalogue.store / "catalogue" / name)).check()
    assert (result.failures(), result.warnings()) == ([], [])
    assert result.passed()


@pytest.mark.skipif(not SF.exists() and "CI" not in os.environ, reason="Debian's r-cran-sf is not installed")
def test_sf_reads_the_items_into_one_frame_and_searches_it(catalogue: Published) -> None:
    files = [str(catalogue.store / catalogue_item_address(*item_place(item))) for item in catalogue.items]
    command = ["Rscript", str(SUPPORT / "read_by_sf.R"), ",".join(map(str, TORONTO)), *files]
    environment = os.environ | {"LC_ALL": "C.UTF-8"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    rows = list(csv.DictReader(done.stdout.splitlines()))
    for row, item in zip(rows, catalogue.items, strict=True):
        properties = item["properties"]
        named = ("dataset", "vintage", "version", "doi", "title", "title_fr")
        assert [row["id"], *(row[name] for name in named)] == [item["id"], *(properties[name] for name in named)]
        assert [row[name] for name in ("is_latest", "deprecated")] == [
            str(properties[name]).upper() for name in ("is_latest", "deprecated")
        ]
        assert [int(row[name]) for name in ("rows", "bytes")] == [properties["rows"], properties["bytes"]]
        assert (int(row["urls"]), row["epsg"]) == (len(properties["data_urls"]), "4326")
        assert [float(row[side]) for side in ("west", "south", "east", "north")] == pytest.approx(item["bbox"])
    assert [row["id"] for row in rows if row["found"] == "TRUE"] == catalogue.within(TORONTO)


@pytest.mark.skipif(not QGIS.exists() and "CI" not in os.environ, reason="Debian's python3-qgis is not installed")
def test_qgis_opens_items_as_layers_with_their_extent_and_attributes(
    catalogue: Published, served: tuple[str, Counter[str]], tmp_path: Path
) -> None:
    places = [catalogue_item_address(*item_place(item)) for item in catalogue.items]
    remote = [f"/vsicurl/{served[0]}/{place}" for place in places[-1:]]
    files = [str(catalogue.store / place) for place in places]
    environment = {"PATH": "/usr/bin:/bin", "QT_QPA_PLATFORM": "offscreen", "HOME": str(tmp_path)}
    done = subprocess.run(
        ["/usr/bin/python3", str(SUPPORT / "read_by_qgis.py"), *files, *remote],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for layer, item in zip(json.loads(done.stdout), [*catalogue.items, catalogue.items[-1]], strict=True):
        stated = {"id": item["id"], **item["properties"]}
        assert layer["values"] == {name: stated[name] for name in layer["values"]}
        assert len(layer["values"]) == 11
        assert layer["urls"] == stated["data_urls"]
        assert layer["crs"] == "EPSG:4326"
        assert layer["box"] == pytest.approx(item["bbox"])


@pytest.mark.browser
@pytest.mark.timeout(600)
@pytest.mark.skipif(not CHROMIUM.exists() and "CI" not in os.environ, reason="Debian's chromium is not installed")
@pytest.mark.skipif(not Bundle.read().is_built, reason="npm's registry can't be reached: there is no bundle either")
def test_stac_browser_lists_the_newest_first_and_calls_superseded_releases_alone_deprecated(
    catalogue: Published, built_stac_browser: Path
) -> None:
    folder, one = catalogue.store / "catalogue", catalogue.of(catalogue.one)
    read = {name: json.loads((folder / name / "collection.json").read_bytes()) for name in catalogue.datasets}
    titles = [item["properties"]["title"] for item in one]
    old, new = ((each["title"], each["title_fr"]) for each in (item["properties"] for item in one[-2:]))
    with browsing(catalogue.store, built_stac_browser) as browser:
        shown = browser.open("Catalogue of published releases")
        assert shown.texts(".catalogs .card-title") == [each["title"] for each in read.values()]
        assert "Catalogue des versions publiées" in shown.texts(".metadata .value")
        links = shown.texts(".links a")
        assert len(links) == len(set(links)) >= 1

        shown.go(read[catalogue.one]["title"], f"{catalogue.one}/collection.json")
        assert shown.texts(".item-card .card-title") == titles[::-1]
        assert shown.texts(".item-card:has(.deprecated) .card-title") == [old[0]]
        shown.follow(".item-card .card-title a", new[0])
        assert shown.texts(".deprecation h3") == ["Other Versions available"]
        assert shown.texts(".deprecation .predecessor a") == [old[0].removeprefix(f"{read[catalogue.one]['title']}, ")]
        assert new[1] in shown.texts(".metadata .value")
        assert shown.texts("a[href*='doi.org']") == []  # a test DOI leads nowhere
        assert {
            "Build manifest", "Checksums, SHA-256", "Data, GeoParquet", "Profile of the columns", "Torrent of the data"
        } <= set(shown.texts(".asset .title"))  # fmt: skip
        for item in one[:-2] + [each for each in catalogue.items if each["collection"] != catalogue.one]:
            # Data in parts and a table without a place of its own, each without another version.
            shown.go(item["properties"]["title"], _below_the_root(item))
            assert shown.texts(".deprecation h3") == []
            assert len(shown.texts(".asset .title")) == len(item["assets"])

        shown = browser.open(old[0], _below_the_root(one[-2]), locale="fr-CA")
        assert shown.texts(".deprecation h3") == ["Déprécié"]
        shown.follow(".deprecation .latest a", new[0])
        assert shown.texts(".deprecation h3") == ["Autres versions disponibles"]


def _below_the_root(item: dict[str, Any]) -> str:
    return catalogue_item_address(*item_place(item)).removeprefix("catalogue/")
