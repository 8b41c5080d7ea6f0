"""What a release's item says, before and after publication."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from d4c_pipeline.catalogue.item_assets import Addresses
from d4c_pipeline.catalogue.item_links import Line
from d4c_pipeline.catalogue.places import bounds_geometry
from d4c_pipeline.catalogue.stac_item import build_item, finalise_item, item_bytes, utc_text
from d4c_pipeline.catalogue.validation import validate_item
from d4c_pipeline.metadata.citation import citation
from d4c_pipeline.model.dataset import Extent
from d4c_pipeline.model.errors import DataError, IntegrityError, PermanentError
from d4c_pipeline.model.parts import Part
from d4c_pipeline.model.release import Artifact, ArtifactRole, Deposit, DepositState, PublishedRelease, Release
from d4c_pipeline_tests.support.releases import (
    PROVINCES,
    RATES,
    STORE,
    a_deposit,
    a_release,
    an_item,
    published,
    torrents,
    urls,
)

NAME = "ca_statcan_2021A000011124_d4c-datapkg-statistical_provinces_territories_digital_2021_v0.1.0-beta"


def test_item_says_what_the_release_is() -> None:
    release = a_release(PROVINCES, "2021", "0.1.0-beta")
    item = an_item(PROVINCES, release)
    properties = item["properties"]
    assert item["id"] == NAME
    assert item["collection"] == "provinces"
    assert item["bbox"] == [-141.02, 41.68, -52.62, 83.14]
    assert item["geometry"]["coordinates"][0][:3] == [[-141.02, 41.68], [-52.62, 41.68], [-52.62, 83.14]]
    assert properties["datetime"] is None
    assert (properties["start_datetime"], properties["end_datetime"]) == (
        "2021-01-01T00:00:00Z",
        "2021-12-31T23:59:59Z",
    )
    assert properties["title"] == "Provinces and territories, 2021, v0.1.0-beta"
    assert properties["d4c:title_fr"] == "Provinces et territoires, Québec compris, 2021, v0.1.0-beta"
    assert properties["d4c:place"] == "data"
    assert properties["license"] == "OGL-Canada-2.0"
    assert properties["created"] == "2026-11-21T20:30:15Z"
    assert (properties["version"], properties["experimental"], properties["deprecated"]) == ("0.1.0-beta", True, False)
    assert (properties["sci:doi"], properties["d4c:test_doi"]) == ("10.5072/d4c.2021.0.1.0-beta", True)
    assert properties["proj:code"] == "EPSG:4326"
    assert (properties["table:row_count"], properties["table:primary_geometry"]) == (13, "geometry")
    assert properties["table:columns"][1] == {
        "name": "prname",
        "type": "string",
        "description": "Name",
        "d4c:description_fr": "Nom",
        "d4c:source": "PRNAME",
    }
    (torrent,) = torrents(release).values()
    assert properties["d4c:info_hash"] == torrent.info_hash
    assert properties["providers"] == [
        {"name": "Statistics Canada", "roles": ["producer"], "url": "https://ror.org/05k71ja87"},
        {"name": "Government of Canada", "roles": ["licensor"], "url": "https://open.canada.ca/"},
    ]


def test_assets_carry_address_size_and_multihash() -> None:
    release = a_release(PROVINCES, "2021", "0.1.0-beta")
    assets = an_item(PROVINCES, release)["assets"]
    assert set(assets) == {"data", "manifest", "checksums", "profile", "torrent"}
    data = assets["data"]
    assert data["href"] == f"{STORE}/releases/provinces/2021/v0.1.0-beta/{NAME}.parquet"
    assert data["file:checksum"] == "1220" + release.data_files[0].sha256
    assert data["file:size"] == release.data_files[0].size
    assert data["type"] == "application/vnd.apache.parquet"
    assert data["roles"] == ["data"]
    assert (data["title"], data["d4c:title_fr"]) == ("Data, GeoParquet", "Données, GeoParquet")
    assert data["alternate"]["archive"]["href"].endswith(f"/records/7/files/{NAME}.parquet")
    assert "alternate" not in assets["manifest"]


def test_data_in_parts_has_an_asset_for_each_and_desktop_files_one_by_format() -> None:
    release = a_release(PROVINCES, "2021", "0.1.0-beta")
    data = release.data_files[0]
    others = [artifact for artifact in release.artifacts if artifact.role not in ("data", "torrent")]
    parts = (Part("pruid-24", 1, (-79.8, 45.0, -57.1, 62.6)), Part("pruid-null", 2, None))
    files = [replace(data, name=f"{NAME}_{part.name}.parquet") for part in parts]
    seeds = [replace(data, name=f"{file.name}.torrent", role=ArtifactRole.TORRENT) for file in files]
    desktop = [replace(data, name=NAME + suffix, role=ArtifactRole.DESKTOP) for suffix in (".gpkg", ".fgb", ".csv.gz")]
    summary = replace(release.summary, parts=parts, partition="by pruid")
    release = replace(release, summary=summary, artifacts=(*desktop, *seeds, *reversed(files), *others))

    item = an_item(PROVINCES, release)

    validate_item(item)
    assert {key: asset["href"].partition(NAME)[2] for key, asset in item["assets"].items()} == {
        "data-pruid-24": "_pruid-24.parquet",
        "data-pruid-null": "_pruid-null.parquet",
        "torrent-pruid-24": "_pruid-24.parquet.torrent",
        "torrent-pruid-null": "_pruid-null.parquet.torrent",
        "geopackage": ".gpkg",
        "flatgeobuf": ".fgb",
        "csv": ".csv.gz",
        **{artifact.role.value: artifact.name.removeprefix(NAME) for artifact in others},
    }
    quebec, nowhere = (item["assets"][f"data-{part.name}"] for part in parts)
    assert (quebec["d4c:part"], quebec["d4c:rows"]) == ("pruid-24", 1)
    assert quebec["d4c:bounds"] == [-79.8, 45.0, -57.1, 62.6]
    assert (nowhere["d4c:rows"], "d4c:bounds" in nowhere) == (2, False)
    # No torrent stands for the whole release, so the item names none.
    known = torrents(release)
    assert quebec["d4c:info_hash"] == known[files[0].name].info_hash
    assert nowhere["d4c:magnet"] == known[files[1].name].magnet
    assert not item["properties"].keys() & {"d4c:info_hash", "d4c:magnet"}
    assert item["properties"]["d4c:partition"] == "by pruid"


def test_test_doi_is_not_linked_to_the_resolver_and_a_real_one_is() -> None:
    release = a_release(PROVINCES, "2021", "0.1.0")
    links = {test: an_item(PROVINCES, release, test=test)["links"] for test in (True, False)}
    assert [link["href"] for link in links[False] if link["rel"] == "cite-as"] == [
        "https://doi.org/10.5072/d4c.2021.0.1.0"
    ]
    assert not [link for link in links[True] if link["rel"] == "cite-as"]


def test_table_without_extent_lies_in_the_geography_of_its_dguid_and_has_no_projection() -> None:
    item = an_item(RATES, a_release(RATES, "2025-06-04", "1.0.0"))
    assert item["geometry"]["type"] == "Polygon"
    assert item["bbox"] == [-141.03, 41.66, -52.6, 83.15]
    assert item["properties"]["d4c:place"] == "dguid"
    assert item["assets"]["data"]["title"] == "Data, Parquet"
    assert "proj:code" not in item["properties"]
    assert not [uri for uri in item["stac_extensions"] if "projection" in uri]
    assert item["properties"]["license"] == "other"
    assert item["properties"]["end_datetime"] == "2025-06-04T23:59:59Z"
    assert item["properties"]["d4c:attribution_fr"] == "Adapté de Statistique Canada"


def test_table_with_declared_extent_lies_there() -> None:
    canada = RATES.model_copy(update={"extent": Extent(west=-141.0, south=41.0, east=-52.0, north=84.0)})
    item = an_item(canada, a_release(canada, "2025-06-04", "1.0.0"))
    assert item["bbox"] == [-141.0, 41.0, -52.0, 84.0]
    assert item["properties"]["d4c:place"] == "declared"


def test_building_again_after_publication_gives_the_same_bytes() -> None:
    release = a_release(PROVINCES, "2021", "0.1.0-beta")
    before = item_bytes(an_item(PROVINCES, release))
    own = Artifact(f"{release.name}.json", ArtifactRole.METADATA, 9, "0" * 32, "0" * 64, "application/geo+json")
    facts = {**vars(release), "artifacts": (*reversed(release.artifacts), own)}
    later = PublishedRelease(**facts, published_at=datetime(2027, 1, 1, tzinfo=UTC))
    assert item_bytes(an_item(PROVINCES, later)) == before


def test_canonical_bytes_keep_accents_and_sort_keys_after_the_type() -> None:
    assert item_bytes({"b": 1, "type": "Feature", "a": 2}) == b'{\n  "type": "Feature",\n  "a": 2,\n  "b": 1\n}\n'
    assert item_bytes({"b": "é", "a": 1}) == '{\n  "a": 1,\n  "b": "é"\n}\n'.encode()
    with pytest.raises(ValueError, match="Out of range"):
        item_bytes({"a": math.nan})


def test_without_a_base_the_collection_is_found_from_the_place_of_the_release() -> None:
    release = a_release(PROVINCES, "2021", "0.1.0-beta")
    item = build_item(PROVINCES, release, a_deposit(release), torrents(release), asset_urls=urls(release))
    link = next(link for link in item["links"] if link["rel"] == "collection")
    # releases/provinces/2021/v0.1.0-beta/ -> four steps up is the root of the store
    assert link["href"] == "../../../../catalogue/provinces/collection.json"


def test_missing_address_and_missing_doi_are_refused() -> None:
    release = a_release(PROVINCES, "2021", "0.1.0")
    some = {name: url for name, url in urls(release).items() if not name.endswith(".torrent")}
    with pytest.raises(DataError, match=r"No address is known for .*\.torrent"):
        build_item(PROVINCES, release, a_deposit(release), torrents(release), asset_urls=some)
    unreserved = replace(a_deposit(release), doi=None)
    with pytest.raises(PermanentError, match="has no DOI yet"):
        build_item(PROVINCES, release, unreserved, torrents(release), asset_urls=urls(release))


@pytest.mark.parametrize(
    ("bounds", "kind"),
    [
        ((-79.5, 43.6, -79.3, 43.8), "Polygon"),
        ((-79.5, 43.6, -79.3, 43.6), "LineString"),
        ((-79.5, 43.6, -79.5, 43.6), "Point"),
    ],
)
def test_flat_boxes_are_lines_and_points(bounds: tuple[float, float, float, float], kind: str) -> None:
    assert bounds_geometry(bounds)["type"] == kind


@pytest.mark.parametrize(
    "bounds", [(3_000_000.0, 600_000.0, 9_000_000.0, 4_000_000.0), (10.0, 1.0, 20.0, 0.0), (math.nan, 0.0, 1.0, 1.0)]
)
def test_bounds_that_are_not_degrees_are_refused(bounds: tuple[float, float, float, float]) -> None:
    with pytest.raises(DataError, match="not west, south, east, north in degrees"):
        bounds_geometry(bounds)


def test_times_are_written_in_utc() -> None:
    toronto = datetime(2026, 11, 21, 19, 0, 0, 999, tzinfo=timezone(timedelta(hours=-5)))
    assert utc_text(toronto) == "2026-11-22T00:00:00Z"
    assert utc_text(datetime(2026, 11, 21, 19, 0)) == "2026-11-21T19:00:00Z"  # noqa: DTZ001 - naive is the case


def test_publication_adds_concept_doi_dates_and_version_links() -> None:
    old = published(PROVINCES, "2021", "0.9.0-beta", previous="0.8.0-beta", after="0.10.0-beta")
    properties = old["properties"]
    assert (properties["d4c:latest"], properties["is_latest"], properties["deprecated"]) == (False, False, True)
    assert properties["d4c:concept_doi"] == "10.5072/d4c.2021"
    assert properties["published"] == "2026-11-22T01:02:03Z"
    assert {link["rel"]: link["href"] for link in old["links"] if link["rel"].endswith("-version")} == {
        "predecessor-version": "./0.8.0-beta.json",
        "successor-version": "./0.10.0-beta.json",
        "latest-version": "./latest.json",
    }
    assert "latest-version" not in {link["rel"] for link in published(PROVINCES, "2021", "0.10.0-beta")["links"]}


def finalised(item: dict[str, Any], release: Release, deposit: Deposit, **addresses: Any) -> dict[str, Any]:
    known = Addresses(**{"primary": urls(release), **addresses})
    published_at = datetime(2026, 11, 22, 1, 2, 3, tzinfo=UTC)
    release = PublishedRelease(**vars(release), published_at=published_at)
    return finalise_item(item, release, deposit, torrents(release), addresses=known, line=Line(latest=True))


def test_finalising_twice_changes_nothing_more_and_leaves_the_built_item_alone() -> None:
    release = a_release(PROVINCES, "2021", "0.1.0")
    built = an_item(PROVINCES, release)
    before = item_bytes(built)
    deposit = replace(a_deposit(release), state=DepositState.PUBLISHED)
    once = finalised(built, release, deposit)
    assert finalised(once, release, deposit) == once
    assert item_bytes(built) == before


@pytest.mark.parametrize(("test", "cited"), [(True, None), (False, "10.5072/d4c.2021.0.1.0")])
def test_readers_get_no_test_doi_to_make_a_link_of(test: bool, cited: str | None) -> None:
    release = a_release(PROVINCES, "2021", "0.1.0")
    item = finalised(an_item(PROVINCES, release), release, a_deposit(release, test=test))
    validate_item(item)
    assert item["properties"].get("sci:doi") == cited
    assert item["properties"]["doi"] == "10.5072/d4c.2021.0.1.0"
    assert "10.5072/d4c.2021.0.1.0" in item["properties"]["sci:citation"]


def test_addresses_are_those_of_todays_stores_and_others_are_alternates() -> None:
    release = a_release(PROVINCES, "2021", "0.1.0")
    moved = {name: url.replace(STORE, "https://data.example.ca") for name, url in urls(release).items()}
    file = release.data_files[0].name
    mirrors = {file: ["https://mirror.example.org/a.parquet", "https://other.example.org/a.parquet"]}
    item = finalised(an_item(PROVINCES, release), release, a_deposit(release), primary=moved, mirrors=mirrors)
    validate_item(item)
    data = item["assets"]["data"]
    assert data["href"] == f"https://data.example.ca/releases/provinces/2021/v0.1.0/{file}"
    assert {key: value["href"] for key, value in data["alternate"].items()} == {
        "archive": f"{STORE}/archive/records/7/files/{file}",
        "mirror": "https://mirror.example.org/a.parquet",
        "mirror-2": "https://other.example.org/a.parquet",
    }
    assert item["properties"]["data_urls"] == [data["href"]]


def test_an_item_that_was_deposited_without_a_place_gets_one() -> None:
    release = a_release(RATES, "2025-06-04", "1.0.0")
    early = an_item(RATES, release) | {"geometry": None}
    del early["bbox"], early["properties"]["d4c:place"]
    early["properties"]["title"] = "Daily exchange rates"
    item = finalised(early, release, a_deposit(release))
    assert (item["bbox"], item["properties"]["d4c:place"]) == ([-141.03, 41.66, -52.6, 83.15], "dguid")
    assert item["properties"]["title"] == "Daily exchange rates, 2025-06-04, v1.0.0"


def test_an_extent_across_the_antimeridian_is_two_polygons_and_keeps_its_place() -> None:
    pacific = RATES.model_copy(update={"extent": Extent(west=170.0, south=40.0, east=-120.0, north=60.0)})
    release = a_release(pacific, "2025-06-04", "1.0.0")
    built = an_item(pacific, release)
    validate_item(built)
    assert built["bbox"] == [-180.0, 40.0, 180.0, 60.0]
    assert built["geometry"]["type"] == "MultiPolygon"
    assert [half[0][0][0] for half in built["geometry"]["coordinates"]] == [170.0, -180.0]
    item = finalised(built, release, a_deposit(release))
    assert (item["geometry"], item["properties"]["d4c:place"]) == (built["geometry"], "declared")


def test_another_doi_than_the_deposits_is_refused() -> None:
    release = a_release(PROVINCES, "2021", "0.1.0")
    other = replace(a_deposit(release), doi="10.5072/other")
    with pytest.raises(IntegrityError, match=r"its deposit has 10\.5072/other"):
        finalised(an_item(PROVINCES, release), release, other)


def test_citation_is_datacites_and_marks_test_dois() -> None:
    release = a_release(PROVINCES, "2021", "0.1.0")
    assert citation(PROVINCES, release, a_deposit(release, test=False)) == (
        "Statistics Canada (2026). Provinces and territories, 2021 (Version 0.1.0) [Data set]. Data for Canada. "
        "https://doi.org/10.5072/d4c.2021.0.1.0"
    )
    assert citation(PROVINCES, release, a_deposit(release)).endswith(
        "doi:10.5072/d4c.2021.0.1.0 (a test DOI, it does not resolve)"
    )


def test_items_are_plain_json() -> None:
    item = published(PROVINCES, "2021", "0.1.0")
    assert json.loads(item_bytes(item)) == item
