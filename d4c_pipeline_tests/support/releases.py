"""Releases as the ledger would hand them over, with the facts of real Statistics Canada products."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from d4c_pipeline.catalogue.item_assets import Addresses
from d4c_pipeline.catalogue.item_links import Line
from d4c_pipeline.catalogue.stac_item import build_item, finalise_item
from d4c_pipeline.model.dataset import Dataset, Extent
from d4c_pipeline.model.differences import ColumnAdded
from d4c_pipeline.model.release import (
    Artifact,
    ArtifactRole,
    Change,
    Column,
    DataSummary,
    Deposit,
    DepositState,
    PlannedRelease,
    PublishedRelease,
    Release,
    Torrent,
    release_key,
)
from d4c_pipeline.model.version import Bump, Version
from d4c_pipeline.model.vintage import Vintage
from d4c_pipeline_tests.support.declarations import a_dataset

STORE = "http://127.0.0.1:8763"
PROVINCES = a_dataset(
    "provinces",
    name={"source": "statcan", "package": "d4c-datapkg-statistical", "theme": "provinces_territories_digital"},
    title={"en": "Provinces and territories", "fr": "Provinces et territoires, Québec compris"},
    description={"en": "Digital boundaries.", "fr": "Limites numériques."},
    creators=[{"name": "Statistics Canada", "ror": "05k71ja87"}],
    providers=[{"name": "Government of Canada", "url": "https://open.canada.ca/"}],
    keywords={"en": ["boundaries"], "fr": ["limites"]},
    vintages=["2016", "2021"],
    source={
        "kind": "http",
        "urls": ["https://www12.statcan.gc.ca/lpr_000a{vintage:yy}a_e.zip"],
        "homepage": "https://www12.statcan.gc.ca/",
    },
    processing={"kind": "vector", "key": ["pruid"]},
)
RATES = a_dataset(
    "exchange_rates",
    name={"source": "statcan", "package": "d4c-datapkg-statistical"},
    title={"en": "Daily exchange rates", "fr": "Taux de change quotidiens"},
    description={"en": "Table 33-10-0036.", "fr": "Tableau 33-10-0036."},
    license="statcan-open-licence",
    attribution={"en": "Adapted from Statistics Canada", "fr": "Adapté de Statistique Canada"},
    creators=[{"name": "Statistics Canada"}],
    series="rolling",
    vintages=["2025-06-04"],
    source={"kind": "http", "urls": ["https://www150.statcan.gc.ca/n1/tbl/csv/33100036-eng.zip"]},
    processing={"kind": "table", "key": ["ref_date", "vector"]},
)
_COLUMNS = {
    "provinces": (
        Column("dguid", "string"),
        Column("prname", "string", "PRNAME", "Name", "Nom"),
        Column("geometry", "binary"),
    ),
    "exchange_rates": (Column("ref_date", "date32[day]", "REF_DATE"), Column("value", "double", "VALUE")),
}
_ROLES = {
    ArtifactRole.DATA: (".parquet", "application/vnd.apache.parquet"),
    ArtifactRole.MANIFEST: (".manifest.json", "application/json"),
    ArtifactRole.CHECKSUMS: (".sha256", "text/plain"),
    ArtifactRole.PROFILE: (".profile.json", "application/json"),
    ArtifactRole.TORRENT: (".parquet.torrent", "application/x-bittorrent"),
}


def a_release(
    dataset: Dataset,
    vintage: str,
    version: str,
    *,
    bounds: tuple[float, float, float, float] | None = (-141.02, 41.68, -52.62, 83.14),
    roles: Sequence[ArtifactRole] = tuple(_ROLES),
) -> PlannedRelease:
    """A planned release of `dataset`: 13 rows where it has geometry, 90,086 where it is a table."""
    when, what = Vintage.parse(vintage), Version.read(version)
    name = str(dataset.release_name(when, what))
    artifacts = tuple(
        Artifact(
            name=name + _ROLES[role][0],
            role=role,
            size=1000 + len(role),
            md5=hashlib.md5(f"{name}{role}".encode(), usedforsecurity=False).hexdigest(),
            sha256=hashlib.sha256(f"{name}{role}".encode()).hexdigest(),
            media_type=_ROLES[role][1],
        )
        for role in roles
    )
    spatial = dataset.processing.kind == "vector"
    return PlannedRelease(
        id=1,
        dataset=dataset.id,
        vintage=when,
        version=what,
        name=name,
        key=release_key(dataset.id, when, what, artifacts),
        change=Change(Bump.MINOR, (ColumnAdded("area"),)),
        summary=DataSummary(
            rows=13 if spatial else 90_086,
            columns=_COLUMNS[dataset.id],
            key=dataset.processing.key,
            crs="EPSG:4326" if spatial else None,
            bounds=bounds if spatial else None,
            geometry_types=("MultiPolygon", "Polygon") if spatial else (),
            report={},
        ),
        artifacts=artifacts,
        planned_at=datetime(2026, 11, 21, 20, 30, 15, 123456, tzinfo=UTC),
    )


def a_deposit(release: Release, *, test: bool = True) -> Deposit:
    """A deposit whose DOI is reserved."""
    doi = f"10.5072/d4c.{release.vintage}.{release.version}"
    return Deposit(
        release_id=release.id,
        archive="local",
        state=DepositState.DOI_RESERVED,
        record_id="7",
        concept_id="6",
        doi=doi,
        concept_doi=f"10.5072/d4c.{release.vintage}",
        test=test,
        url=f"{STORE}/archive/records/7",
        files={release.data_files[0].name: f"{STORE}/archive/records/7/files/{release.data_files[0].name}"},
    )


def torrents(release: Release) -> dict[str, Torrent]:
    """A v1 torrent of each data artifact."""
    made: dict[str, Torrent] = {}
    for artifact in release.data_files:
        info_hash = hashlib.sha1(artifact.name.encode(), usedforsecurity=False).hexdigest()
        magnet = f"magnet:?xt=urn:btih:{info_hash}"
        made[artifact.name] = Torrent(info_hash, None, magnet, 4 << 20, (), f"torrents/{artifact.name}.torrent")
    return made


def urls(release: Release) -> dict[str, str]:
    """The immutable addresses of a release's artifacts in the primary store."""
    folder = f"{STORE}/releases/{release.dataset}/{release.vintage}/v{release.version}"
    return {artifact.name: f"{folder}/{artifact.name}" for artifact in release.artifacts}


def an_item(dataset: Dataset, release: Release, *, test: bool = True) -> dict[str, Any]:
    """The item of a release as the asset `stac_item` builds it."""
    return build_item(
        dataset, release, a_deposit(release, test=test), torrents(release), asset_urls=urls(release), base_url=STORE
    )


def published(
    dataset: Dataset,
    vintage: str,
    version: str,
    *,
    previous: str | None = None,
    after: str | None = None,
    dataset_extent: Extent | None = None,
) -> dict[str, Any]:
    """The finalised item of a release; `previous` and `after` are versions of the same vintage."""
    dataset = dataset.model_copy(update={"extent": dataset_extent}) if dataset_extent else dataset
    published_at = datetime(2026, 11, 22, 1, 2, 3, tzinfo=UTC)
    release = PublishedRelease(**vars(a_release(dataset, vintage, version)), published_at=published_at)
    deposit = replace(a_deposit(release), state=DepositState.PUBLISHED)

    def other(text: str | None) -> Release | None:
        return a_release(dataset, vintage, text) if text else None

    return finalise_item(
        an_item(dataset, release),
        release,
        deposit,
        torrents(release),
        addresses=Addresses(urls(release), torrents=torrent_urls(release)),
        line=Line(after is None, dataset.series == "rolling", other(previous), other(after)),
    )


def torrent_urls(release: Release) -> dict[str, str]:
    """The addresses of today's torrents, by the names of the data artifacts."""
    return {name: f"{STORE}/{torrent.address}" for name, torrent in torrents(release).items()}
