"""A ledger full of published releases, written in bulk: for tests of the catalogue and for its benchmark.

Datasets have `VERSIONS` versions of `VINTAGES` vintages each; every tenth release lies in parts; one may be rolling.
From the second dataset on they are copies of the first with names, places, checksums and DOIs of their own.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
from sqlalchemy import Engine, func, insert, select

from d4c_pipeline.catalogue.item_assets import Addresses
from d4c_pipeline.catalogue.stac_item import build_item
from d4c_pipeline.ledger import Ledger, schema
from d4c_pipeline.ledger.changes import mark_changed
from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.parts import Part
from d4c_pipeline.model.reasons import to_json
from d4c_pipeline.model.release import ArtifactRole, Release
from d4c_pipeline_tests.support.releases import PROVINCES, RATES, a_deposit, a_release, torrents, urls

VINTAGES, VERSIONS = 5, 4
ROLLING = "daily"
_FIRST = "set_000000"
_BOUNDS = (-91.1111, 51.1111, -90.1111, 52.1111)
# What differs between the first dataset and its copies, in the ledger's texts.
_OWN = re.compile(rf"({_FIRST}|10\.5072/d4c\.\d+|\b[0-9a-f]{{32,64}}\b|-?\d\d\.1111)")
_TABLES = ("release", "artifact", "copy", "deposit", "torrent", "stac_item")
_SINCE = datetime(2026, 1, 1, tzinfo=UTC)


def fill(ledger: Ledger, count: int, *, rolling: int = 0) -> None:
    """Publish `count` releases in an empty ledger, `rolling` of them as vintages of one rolling dataset."""
    made = min(count, rolling + VINTAGES * VERSIONS)
    rows: dict[str, list[dict[str, Any]]] = {}
    for number, (dataset, vintage, version) in enumerate(_named(made, rolling), 1):
        for table, row in rows_of_release(number, dataset, vintage, version):
            rows.setdefault(table, []).append(row)
        if number % 2_000 == 0:
            _insert(engine_of(ledger), rows)
            rows = {}
    _insert(engine_of(ledger), rows)
    _copy_first(engine_of(ledger), rolling + 1, made, count)


def publish(ledger: Ledger, number: int, dataset: str, vintage: str, version: str) -> None:
    """Publish one more release, as the chain does: with the mark of a change."""
    write(ledger, number, prepared(number, dataset, vintage, version))


def prepared(number: int, dataset: str, vintage: str, version: str) -> dict[str, list[dict[str, Any]]]:
    """Return the rows of a release by table, to write them later."""
    rows: dict[str, list[dict[str, Any]]] = {}
    for table, row in rows_of_release(number, dataset, vintage, version):
        rows.setdefault(table, []).append(row)
    return rows


def write(ledger: Ledger, number: int, rows: dict[str, list[dict[str, Any]]]) -> None:
    """Write the rows of a release, with the mark of a change."""
    _insert(engine_of(ledger), rows)
    with engine_of(ledger).begin() as connection:
        mark_changed(connection, number)


def last_release(ledger: Ledger) -> int:
    """Return the id of the newest release."""
    with engine_of(ledger).connect() as connection:
        return connection.execute(select(func.max(schema.release.c.id))).scalar_one()


def engine_of(ledger: Ledger) -> Engine:
    """The engine of a ledger, to write past its methods."""
    return ledger._engine  # pyright: ignore[reportPrivateUsage]


def rows_of_release(number: int, dataset_id: str, vintage: str, version: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The rows of a published release, with the tables that they belong to."""
    table = number % 5 == 0 or dataset_id == ROLLING
    dataset = _dataset(dataset_id, table=table)
    yield from rows_of(number, dataset, _release(dataset, vintage, version, table=table, parted=number % 10 == 1))


def publish_as(ledger: Ledger, number: int, dataset: Dataset, release: Release, **texts: Any) -> None:
    """Publish a release of a dataset of any form; `texts` replace properties of its item."""
    rows: dict[str, list[dict[str, Any]]] = {}
    for table, row in rows_of(number, dataset, release):
        if table == "stac_item":
            row["item"]["properties"] |= texts
        rows.setdefault(table, []).append(row)
    _insert(engine_of(ledger), rows, {dataset.id: dataset})
    with engine_of(ledger).begin() as connection:
        mark_changed(connection, number)


def rows_of(number: int, dataset: Dataset, release: Release) -> Iterator[tuple[str, dict[str, Any]]]:
    """The rows of a published release of a dataset, with the tables that they belong to."""
    dataset_id, vintage, version = dataset.id, str(release.vintage), str(release.version)
    deposit = replace(a_deposit(release), record_id=str(number), doi=f"10.5072/d4c.{number}", files={})
    made = torrents(release)
    item = build_item(dataset, release, deposit, made, asset_urls=Addresses(urls(release)).primary)
    moment = _SINCE + timedelta(seconds=number)
    yield (
        "release",
        {
            "id": number,
            "dataset": dataset_id,
            "vintage": vintage,
            "version": version,
            "name": release.name,
            "state": "published",
            "key": f"{number:064x}",
            "bump": 2,
            "reasons": to_json(release.change.differences),
            "summary": release.summary.to_json(),
            "planned_at": moment,
            "published_at": moment,
            "token": None,
        },
    )
    for artifact in release.artifacts:
        yield "artifact", {"release_id": number, **vars(artifact), "role": artifact.role.value}
        copied = {"release_id": number, "artifact": artifact.name, "store": "primary", "size": artifact.size}
        place = f"releases/{dataset_id}/{vintage}/v{version}/{artifact.name}"
        yield "copy", {**copied, "address": place, "sha256": artifact.sha256, "verified_at": moment, "intact": True}
    kept = {key: value for key, value in asdict(deposit).items() if key not in ("state", "release_id", "registered_at")}
    yield "deposit", {**kept, "release_id": number, "state": "published", "updated_at": moment}
    for name, torrent in made.items():
        yield "torrent", {"release_id": number, "artifact": name, **vars(torrent), "web_seeds": list(torrent.web_seeds)}
    yield "stac_item", {"release_id": number, "item": json.loads(json.dumps(item))}


def _named(count: int, rolling: int) -> Iterator[tuple[str, str, str]]:
    for day in range(rolling):
        yield ROLLING, (datetime(1990, 1, 1, tzinfo=UTC) + timedelta(days=day)).strftime("%Y-%m-%d"), "1.0.0"
    each = VINTAGES * VERSIONS
    for number in range(count - rolling):
        dataset, place = divmod(number, each)
        vintage, version = divmod(place, VERSIONS)
        yield f"set_{dataset:06}", str(2001 + 5 * vintage), f"1.{version}.0"


def _dataset(dataset_id: str, *, table: bool) -> Dataset:
    base = RATES if table else PROVINCES
    name = base.name.model_copy(update={"theme": dataset_id})
    series = "rolling" if dataset_id == ROLLING else "editions"
    return base.model_copy(update={"id": dataset_id, "name": name, "series": series})


def _release(dataset: Dataset, vintage: str, version: str, *, table: bool, parted: bool) -> Release:
    base = RATES if table else PROVINCES
    release = a_release(base.model_copy(update={"name": dataset.name}), vintage, version, bounds=_BOUNDS)
    release = replace(release, dataset=dataset.id)
    if not parted:
        return release
    data, others = release.data_files[0], [each for each in release.artifacts if each.role not in ("data", "torrent")]
    parts = tuple(Part(f"pruid-{code}", 1, (-79.8, 45.0, -57.1, 62.6)) for code in (10, 24, 35))
    files = [replace(data, name=f"{release.name}_{part.name}.parquet") for part in parts]
    seeds = [replace(file, name=f"{file.name}.torrent", role=ArtifactRole.TORRENT) for file in files]
    return replace(
        release,
        summary=replace(release.summary, parts=parts, partition="by pruid"),
        artifacts=(*others, *files, *seeds),
    )


def _insert(
    engine: Engine, rows: dict[str, list[dict[str, Any]]], known_as: Mapping[str, Dataset] | None = None
) -> None:
    if not rows:
        return
    declared = {row["dataset"] for row in rows["release"]}
    with engine.begin() as connection:
        known = set(connection.execute(schema.dataset.select()).scalars())
        for dataset in sorted(declared - known):
            stated = ((known_as or {}).get(dataset) or _dataset(dataset, table=False)).model_dump(mode="json")
            connection.execute(insert(schema.dataset).values(id=dataset, declared=stated, updated_at=_SINCE))
        for table in _TABLES:
            if rows.get(table):
                connection.execute(insert(schema.metadata.tables[table]), rows[table])


def _copy_first(engine: Engine, first: int, made: int, count: int) -> None:
    """Copy the releases `first` to `made`, of one dataset, until the ledger (SQLite) has `count` releases."""
    if made >= count:
        return
    connection = engine.raw_connection()
    cursor = connection.cursor()
    columns = {table: [column.name for column in schema.metadata.tables[table].columns] for table in _TABLES}
    keys = {table: "id" if table == "release" else "release_id" for table in _TABLES}
    pieces: list[list[str]] = []
    for number in range(first, made + 1):
        rows: dict[str, list[Any]] = {}
        for table in _TABLES:
            query = f"SELECT {', '.join(columns[table])} FROM {table} WHERE {keys[table]} = ?"
            rows[table] = cursor.execute(query, (number,)).fetchall()
        pieces.append(_OWN.split(json.dumps(rows)))
    places = {table: columns[table].index(keys[table]) for table in _TABLES}
    inserts = {
        table: f"INSERT INTO {table} ({', '.join(columns[table])}) VALUES ({', '.join('?' * len(columns[table]))})"
        for table in _TABLES
    }
    (declared,) = cursor.execute("SELECT declared FROM dataset WHERE id = ?", (_FIRST,)).fetchone()
    each = made - first + 1
    cursor.execute("BEGIN")
    for number in range(made + 1, count + 1):
        dataset, which = divmod(number - first, each)
        name = f"set_{dataset:06}"
        if which == 0:
            values = (name, declared.replace(_FIRST, name), str(_SINCE.replace(tzinfo=None)))
            cursor.execute("INSERT INTO dataset (id, declared, updated_at) VALUES (?, ?, ?)", values)
        renewed = {own: _renewed(own, dataset, number) for own in pieces[which][1::2]}
        rows = orjson.loads("".join([renewed.get(piece, piece) for piece in pieces[which]]))
        for table in _TABLES:
            for row in rows[table]:
                row[places[table]] = number
            cursor.executemany(inserts[table], rows[table])
    cursor.execute("COMMIT")
    connection.close()


def _renewed(own: str, dataset: int, number: int) -> str:
    if own == _FIRST:
        return f"set_{dataset:06}"
    if own.startswith("10.5072/"):
        return f"10.5072/d4c.{number}"
    if "." not in own:
        return hashlib.sha256(f"{own}{dataset}".encode()).hexdigest()[: len(own)]
    degrees = float(own)
    return (
        f"{degrees - 45 + dataset * 7919 % 8000 / 100:.4f}"
        if degrees < 0
        else f"{degrees - 8 + dataset * 4093 % 2800 / 100:.4f}"
    )
