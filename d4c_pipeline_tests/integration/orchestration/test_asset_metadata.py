"""What an operator sees of each asset after a run: the metadata of its materialization, value by value."""

from __future__ import annotations

import base64
import hashlib
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from PIL import Image

from d4c_pipeline.model.release import Release
from d4c_pipeline.model.settings import Settings
from d4c_pipeline.workspace.deployment import Deployment
from d4c_pipeline_tests.integration.orchestration.conftest import Project, Shown, new_project
from d4c_pipeline_tests.support.samples import HOST, PLACES, declared, define, geojson

NAME = "ca_example_2021A000011124_d4c-datapkg-foundation_places_2021_v0.1.0-beta"
COLUMNS = {
    "id": {"description": {"en": "Number", "fr": "Numéro"}},
    "name": {"source": "name", "description": {"en": "Name", "fr": "Nom"}},
}


def values(metadata: dict[str, dg.MetadataValue]) -> dict[str, Any]:
    return {key: value.value for key, value in metadata.items()}


def rows(value: dg.MetadataValue) -> list[dict[str, Any]]:
    assert isinstance(value, dg.TableMetadataValue)
    return [dict(record.data) for record in value.records]


def prepare(project: Project) -> None:
    define(project.definitions, processing={"kind": "vector", "key": ["id"], "columns": COLUMNS})
    project.origin.put(f"{HOST}/places_2021.geojson", geojson())


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Project, dg.ExecuteInProcessResult]]:
    with new_project(tmp_path_factory.mktemp("published")) as project:
        prepare(project)
        run = project.materialize("places", "2021", catalogue=True)
        assert run.success
        yield project, run


@pytest.fixture
def published(done: tuple[Project, dg.ExecuteInProcessResult]) -> dg.ExecuteInProcessResult:
    """The finished run of the whole chain; tests only look at it."""
    return done[1]


@pytest.fixture
def home(done: tuple[Project, dg.ExecuteInProcessResult]) -> Path:
    return done[0].home


@pytest.fixture
def release(done: tuple[Project, dg.ExecuteInProcessResult]) -> Iterator[tuple[Deployment, Release]]:
    """The release that came of it, as the ledger has it."""
    settings = Settings(home=done[0].home)
    with Deployment.open(settings) as deployment:
        (only,) = deployment.ledger.releases.published()
        yield deployment, only


def test_every_asset_of_the_chain_and_the_catalogue_is_materialized_once(published: dg.ExecuteInProcessResult) -> None:
    order = [event.asset_key.path[-1] for event in published.get_asset_materialization_events() if event.asset_key]
    assert order == [
        "raw",
        "processed",
        "checksums",
        "doi",
        "copies",
        "torrent",
        "stac_item",
        "deposit",
        "latest",
        "catalogue",
    ]


def test_raw_shows_the_native_files(home: Path, published: dg.ExecuteInProcessResult, shown: Shown) -> None:
    metadata = shown(published, "places/raw")
    (file,) = rows(metadata["files"])
    sha256 = hashlib.sha256(geojson()).hexdigest()
    assert file == {
        "name": "places_2021.geojson",
        "url": f"{HOST}/places_2021.geojson",
        "size": len(geojson()),
        "sha256": sha256,
        "last_modified": "Mon, 06 May 2024 07:08:09 GMT",
        "retained_at": f"raw/places/2021/{sha256[:12]}/places_2021.geojson",
    }
    assert (home / "store" / file["retained_at"]).read_bytes() == geojson()
    assert (values(metadata)["fetched"], values(metadata)["bytes_fetched"]) == (1, len(geojson()))
    assert values(metadata)["size"] == len(geojson())


def test_processed_shows_the_data(home: Path, published: dg.ExecuteInProcessResult, shown: Shown) -> None:
    metadata = shown(published, "places/processed")
    said = values(metadata)
    assert said["path"] == str(home / "staging" / "places" / "2021" / "build" / "data.parquet")
    # Staging is removed after the publication: the release has the same bytes.
    (data,) = (home / "store" / "releases" / "places" / "2021").glob("*/*.parquet")
    assert said["dagster/row_count"] == 4
    assert said["size"] == data.stat().st_size
    assert said["sha256"] == hashlib.sha256(data.read_bytes()).hexdigest()
    assert said["crs"] == "EPSG:4326"
    assert said["geometry_types"] == "Point"
    assert said["bounds"] == {"west": -123.12, "south": 46.343, "east": -68.519, "north": 63.747}
    assert (said["report"]["key_nulls"], said["report"]["key_duplicates"]) == (0, 0)
    # Numbers that the UI plots over time.
    assert (said["checks_failed"], said["checks_warned"], said["null_share"]) == (0, 0, 0.0)
    # What is looked at first stands first.
    assert list(said)[:4] == ["dagster/row_count", "dagster/column_schema", "map", "bounds"]


def test_processed_shows_the_schema_with_meaning_and_source(published: dg.ExecuteInProcessResult, shown: Shown) -> None:
    schema = shown(published, "places/processed")["dagster/column_schema"]
    assert isinstance(schema, dg.TableSchemaMetadataValue)
    columns = {column.name: (column.type, column.description, dict(column.tags)) for column in schema.schema.columns}
    assert columns["id"][1] == "Number"
    assert columns["name"] == ("string", "Name", {"source": "name"})
    assert columns["population"][0].startswith("int")
    assert "geometry" in columns


def test_processed_shows_a_preview_in_markdown(published: dg.ExecuteInProcessResult, shown: Shown) -> None:
    lines = str(shown(published, "places/processed")["preview"].value).splitlines()
    assert re.fullmatch(r"\| id \| name \| population \| geometry \|", lines[0])
    assert len(lines) == 2 + len(PLACES)
    assert "| 2 | Trois-Rivières | 139163 | Point, 1 vertex |" in lines
    assert any("Iqaluit / ᐃᖃᓗᐃᑦ" in line for line in lines)


@pytest.mark.parametrize(("name", "kind", "width"), [("map", "webp", 320), ("map_large", "png", 360)])
def test_processed_shows_a_map_that_opens(
    published: dg.ExecuteInProcessResult, shown: Shown, name: str, kind: str, width: int
) -> None:
    value = shown(published, "places/processed")[name]
    assert isinstance(value, dg.MarkdownMetadataValue)
    # The UI shows Markdown of less than 1,000 characters without a click.
    assert name != "map" or len(value.md_str) < 1_000
    match = re.fullmatch(rf"!\[map of the geometry\]\(data:image/{kind};base64,([A-Za-z0-9+/=]+)\)", value.md_str)
    assert match is not None
    with Image.open(io.BytesIO(base64.b64decode(match[1]))) as picture:
        picture.load()
        assert picture.format == kind.upper()
        assert picture.width == width
        colours = picture.convert("RGB").getcolors(1 << 16) or []
    assert len(colours) > 1, "the picture is blank"


def test_checksums_shows_the_version_and_why(published: dg.ExecuteInProcessResult, shown: Shown) -> None:
    said = values(shown(published, "places/checksums"))
    assert said["release"] == NAME
    assert (said["version"], said["outcome"], said["change"]) == ("0.1.0-beta", "planned", "MINOR")
    assert said["reasons"] == "- first release"
    assert said["dagster/row_count"] == 4


def test_doi_and_deposit_tell_a_test_doi_from_a_real_one(
    release: tuple[Deployment, Release], published: dg.ExecuteInProcessResult, shown: Shown
) -> None:
    deployment, planned = release
    deposit = deployment.ledger.deposits.of(planned)
    assert deposit is not None
    reserved, deposited = shown(published, "places/doi"), shown(published, "places/deposit")
    assert reserved["doi"].value == f"{deposit.doi} (test DOI, does not resolve)"
    assert reserved["state"].value == "doi_reserved"
    assert deposited["doi"].value == f"{deposit.doi} (test DOI, does not resolve)"
    assert deposited["concept_doi"].value == f"{deposit.concept_doi} (test DOI, does not resolve)"
    assert deposited["record"] == dg.MetadataValue.url(str(deposit.url))
    assert deposited["release"].value == NAME
    assert set(values(deposited)["files"]) == {artifact.name for artifact in planned.artifacts}


def test_copies_shows_each_file_verified(home: Path, published: dg.ExecuteInProcessResult, shown: Shown) -> None:
    copies = rows(shown(published, "places/copies")["copies"])
    assert {copy["artifact"] for copy in copies} == {
        f"{NAME}.parquet",
        "profile.json",
        "manifest.json",
        "checksums.sha256",
        "code.zip",
    }
    for copy in copies:
        assert copy["intact"] is True
        # Hidden until `deposit`, which has moved it since; whoever reads the page is not told the token.
        assert copy["address"] == f"hidden/***/{copy['artifact']}"
        there = home / "store" / "releases/places/2021/v0.1.0-beta" / copy["artifact"]
        assert there.stat().st_size == copy["size"]


def test_torrent_shows_info_hash_magnet_and_seeds(
    release: tuple[Deployment, Release], published: dg.ExecuteInProcessResult, shown: Shown
) -> None:
    said = values(shown(published, "places/torrent"))
    (torrent,) = release[0].ledger.publications.torrents(release[1]).values()
    assert re.fullmatch(r"[0-9a-f]{40}", said["info_hash"])
    assert said["info_hash"] == torrent.info_hash
    assert said["magnet"].startswith(f"magnet:?xt=urn:btih:{torrent.info_hash}")
    assert len(torrent.web_seeds) == 2, "the store and the archive"
    assert said["web_seeds"] == "\n".join(f"- <{url}>" for url in torrent.web_seeds)
    assert said["left_out"] == "none"


def test_stac_item_latest_and_catalogue(home: Path, published: dg.ExecuteInProcessResult, shown: Shown) -> None:
    item = values(shown(published, "places/stac_item"))
    assert item["id"] == NAME
    assert item["item"]["properties"]["version"] == "0.1.0-beta"
    latest = values(shown(published, "places/latest"))
    address = "processed/ca_example_2021A000011124_d4c-datapkg-foundation_places_2021.parquet"
    assert latest["url"].endswith(f"/{address}")
    assert (latest["serves"], latest["switched"]) == (NAME, True)
    assert hashlib.sha256((home / "store" / address).read_bytes()).hexdigest() == latest["sha256"]
    catalogue = values(shown(published, "catalogue"))
    assert (catalogue["dagster/row_count"], catalogue["datasets"]) == (1, 1)
    assert str(home / "store" / "catalogue" / "stac.parquet") in catalogue["query"]


def test_the_data_versions_are_those_of_the_content(
    release: tuple[Deployment, Release], published: dg.ExecuteInProcessResult
) -> None:
    versions = {
        event.asset_key.path[-1]: (event.materialization.tags or {}).get("dagster/data_version")
        for event in published.get_asset_materialization_events()
        if event.asset_key
    }
    assert versions["raw"] == hashlib.sha256(geojson()).hexdigest()
    assert versions["processed"] == release[1].data_sha256
    assert versions["checksums"] == release[1].key


def test_a_table_has_no_map_and_no_bounds(project: Project, shown: Shown) -> None:
    attributes = declared("rates", processing={"kind": "table", "key": ["day"]})
    attributes["source"] = {"kind": "http", "urls": [f"{HOST}/rates_{{vintage}}.csv"]}
    define(project.definitions, "rates", processing=attributes["processing"], source=attributes["source"])
    project.origin.put(f"{HOST}/rates_2021.csv", b"day,rate\n2021-01-02,1.2\n2021-01-01,1.1\n")
    run = project.materialize("rates", "2021")
    assert run.success
    said = values(shown(run, "rates/processed"))
    assert said["dagster/row_count"] == 2
    assert not {"map", "bounds", "crs", "geometry_types"} & set(said)
    assert said["preview"].splitlines()[2].startswith("| 2021-01-01 | 1.1")


def test_unchanged_and_raised_by_the_operator(project: Project, shown: Shown) -> None:
    prepare(project)
    assert project.materialize("places", "2021").success
    again = project.materialize("places", "2021")
    assert again.success
    said = values(shown(again, "places/checksums"))
    assert (said["outcome"], said["change"], said["reasons"]) == ("unchanged", "NONE", "no change")
    raw = values(shown(again, "places/raw"))
    assert (raw["fetched"], raw["bytes_fetched"]) == (0, 0)
    assert values(shown(again, "places/latest"))["switched"] is False
    run = project.materialize("places", "2021", config={"places__checksums": {"config": {"at_least": "MAJOR"}}})
    assert run.success
    said = values(shown(run, "places/checksums"))
    assert (said["version"], said["change"]) == ("1.0.0-beta", "MAJOR")
    assert said["reasons"] == "- raised to MAJOR by the operator"
