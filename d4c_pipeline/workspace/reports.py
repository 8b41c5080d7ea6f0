"""Describes releases and vintages in the stable keys of the command line's `--json`."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from d4c_pipeline.model.addresses import CATALOGUE_PARQUET, release_address
from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.parts import MANIFEST_NAME
from d4c_pipeline.model.release import DepositState, LivingRelease, PlannedRelease, PublishedRelease
from d4c_pipeline.model.vintage import Vintage
from d4c_pipeline.workspace.deployment import Deployment
from d4c_pipeline.workspace.staging import release_folder

KEYS = (
    "dataset",
    "vintage",
    "version",
    "state",
    "doi",
    "concept_doi",
    "info_hash",
    "sha256",
    "size",
    "rows",
    "path",
    "url",
)


def describe_release(deployment: Deployment, release: LivingRelease) -> dict[str, Any]:
    """Return a release in the stable keys: its identity, the place of its data, its citation.

    `state` is `published`, or the state of a planned release's deposit. `files` are the data artifacts. For a single
    file, `path`, `url` and `info_hash` belong to the file. For several files, `path` is their folder, `url` is that of
    the manifest, `info_hash` is None and `sha256` is over all of them (`model.parts.set_digest`). `path` is None where
    the primary store has no local folder. For a planned release, `path` is in staging and `url` is None.
    """
    deposit = deployment.ledger.deposits.of(release)
    files = _files(deployment, release)
    first = files[0]
    whole = len(files) == 1
    public = isinstance(release, PublishedRelease)
    manifest = release_address(release.dataset, release.vintage, release.version, MANIFEST_NAME)
    path = first["path"] if whole or first["path"] is None else str(Path(first["path"]).parent)
    state: str = release.state.value
    if not public and deposit is not None:
        state = deposit.state.value
    return {
        "dataset": release.dataset,
        "vintage": str(release.vintage),
        "version": str(release.version),
        "state": state,
        "doi": deposit.doi if deposit else None,
        "concept_doi": deposit.concept_doi if deposit else None,
        "test_doi": deposit.test if deposit else None,
        "info_hash": first["info_hash"] if whole else None,
        "sha256": release.data_sha256,
        "size": sum(file["size"] for file in files),
        "rows": release.summary.rows,
        "path": path,
        "url": first["url"] if whole or not public else deployment.primary.url(manifest),
        "files": files,
        "name": release.name,
        "change": release.change.bump.name.lower(),
        "reasons": list(release.change.reasons),
        "withdrawn": release.withdrawn.reason if public and release.withdrawn else None,
    }


def _files(deployment: Deployment, release: LivingRelease) -> list[dict[str, Any]]:
    torrents = deployment.ledger.publications.torrents(release)
    rows = {part.name: part.rows for part in release.summary.parts}
    found: list[dict[str, Any]] = []
    planned = isinstance(release, PlannedRelease)
    staged = release_folder(deployment, release.name, release.dataset, str(release.vintage))
    for artifact in release.data_files:
        address = release_address(release.dataset, release.vintage, release.version, artifact.name)
        path, torrent = deployment.primary.local_path(address), torrents.get(artifact.name)
        if planned:
            path = staged / artifact.name if (staged / artifact.name).is_file() else None
        found.append(
            {
                "name": artifact.name,
                "part": release.part(artifact),
                "info_hash": torrent.info_hash if torrent else None,
                "sha256": artifact.sha256,
                "size": artifact.size,
                "rows": rows.get(release.part(artifact), release.summary.rows),
                "path": str(path) if path else None,
                "url": None if planned else deployment.primary.url(address),
            }
        )
    return found


def describe_vintages(deployment: Deployment, datasets: Iterable[Dataset]) -> list[dict[str, Any]]:
    """Return one row per declared or known vintage: its newest release, or its state without a release.

    Each row has the `title` (English) of its dataset, because the id of a member of a family says little. Without a
    release, `state` is `declared` or, when native files are retained, `raw`.
    """
    rows: list[dict[str, Any]] = []
    for dataset in datasets:
        retained = deployment.ledger.natives.vintages(dataset.id)
        living = deployment.ledger.releases.living(dataset.id)
        vintages = {*(dataset.fixed_vintages or ()), *retained, *(release.vintage for release in living)}
        for vintage in sorted(vintages):
            releases = [release for release in living if release.vintage == vintage]
            row = (
                describe_release(deployment, releases[-1])
                if releases
                else _without_release(dataset, vintage, "raw" if vintage in retained else "declared")
            )
            rows.append({**row, "title": dataset.title.en})
    return rows


def _without_release(dataset: Dataset, vintage: Vintage, state: str) -> dict[str, Any]:
    row: dict[str, Any] = dict.fromkeys(KEYS)
    return {**row, "dataset": dataset.id, "vintage": str(vintage), "state": state}


def catalogue_query(place: str) -> str:
    """Return a DuckDB query over the catalogue at a path or URL, for people to paste."""
    return f'SELECT id, version, doi FROM "{place}"'  # noqa: S608


def describe_catalogue(deployment: Deployment) -> dict[str, Any]:
    """Return the place of the catalogue, its number of releases, and a query that works when pasted."""
    path = deployment.primary.local_path(CATALOGUE_PARQUET)
    url = deployment.primary.url(CATALOGUE_PARQUET)
    code = f'import duckdb; duckdb.sql("""{catalogue_query(str(path or url))} """).show()'
    return {
        "path": str(path) if path else None,
        "url": url,
        "query": f"{sys.executable} -c {shlex.quote(code)}",
        "releases": [describe_release(deployment, release) for release in deployment.ledger.releases.published()],
    }


def collection_numbers(deployment: Deployment) -> dict[str, int]:
    """Return the state of the collection in numbers by name: counts, and `bytes` of all published artifacts."""
    releases, deposits = deployment.ledger.releases.published(), deployment.ledger.deposits.all()
    return {
        "releases": len(releases),
        "datasets": len({release.dataset for release in releases}),
        "bytes": sum(artifact.size for release in releases for artifact in release.artifacts),
        "pending_reviews": sum(deposit.state is DepositState.AWAITING_REVIEW for deposit in deposits),
        "failed_partitions": len({(each.subject, each.partition) for each in deployment.ledger.failures.standing()}),
    }
