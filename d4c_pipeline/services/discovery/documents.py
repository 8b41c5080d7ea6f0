"""Items, collections and facts of the catalogue for answers, from the rows of the index: no request reads the store.

Links lead to documents in the store; each protocol puts its own addresses in their place.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any
from urllib.parse import urljoin

import duckdb

from d4c_pipeline.catalogue.arrow_schema import entries_of
from d4c_pipeline.catalogue.items_of_rows import items_of
from d4c_pipeline.catalogue.static_stac import collection
from d4c_pipeline.metadata.published import PublishedMetadata
from d4c_pipeline.model.addresses import CATALOGUE_PARQUET, catalogue_collection_address
from d4c_pipeline.services import record_port
from d4c_pipeline.services.catalogue_index import RELEASES
from d4c_pipeline.services.discovery.entries import ENTRIES
from d4c_pipeline.services.discovery.selection import Selection
from d4c_pipeline.stores.port import Store

_FACTS = 'dataset, id, title, vintage, version, is_latest, bbox, start_datetime, end_datetime, "proj:code"'


def items(cursor: duckdb.DuckDBPyConnection, positions: Sequence[int], store: Store) -> list[dict[str, Any]]:
    """Return the items of the rows at `positions`, in their order, with absolute links to documents in `store`."""
    if not positions:
        return []
    query = f"SELECT * FROM {RELEASES} WHERE position IN (SELECT unnest(?))"  # noqa: S608
    rows = cursor.execute(query, [list(positions)]).to_arrow_table()
    numbers = rows.column("position").to_pylist()
    files = record_port.files(cursor, rows.column("id").to_pylist())
    found = items_of(rows.drop_columns(["position"]), store.url(CATALOGUE_PARQUET), files)
    by_position = dict(zip(numbers, found, strict=True))
    return [by_position[position] for position in positions]


def published(cursor: duckdb.DuckDBPyConnection, positions: Sequence[int]) -> list[PublishedMetadata]:
    """Return the facts of the rows at `positions`, in their order; a release without a record is left out."""
    if not positions:
        return []
    query = f"SELECT position, id FROM {ENTRIES} WHERE position IN (SELECT unnest(?))"  # noqa: S608
    names = dict(cursor.execute(query, [list(positions)]).fetchall())
    facts = record_port.named(cursor, list(names.values()))
    return [facts[names[position]] for position in positions if names[position] in facts]


def position_of(cursor: duckdb.DuckDBPyConnection, name: str, dataset: str | None = None) -> int | None:
    """Return the row of the release `name`, None when there is none (in `dataset`)."""
    condition, values = ("", [name]) if dataset is None else (" AND dataset = ?", [name, dataset])
    query = f"SELECT position FROM {ENTRIES} WHERE id = ?{condition}"  # noqa: S608
    found = cursor.execute(query, values).fetchone()
    return None if found is None else int(found[0])


def has_dataset(cursor: duckdb.DuckDBPyConnection, dataset: str) -> bool:
    """Return whether a release of the dataset is in the catalogue."""
    query = f"SELECT 1 FROM {ENTRIES} WHERE dataset = ? LIMIT 1"  # noqa: S608
    return cursor.execute(query, [dataset]).fetchone() is not None


def datasets(
    cursor: duckdb.DuckDBPyConnection, selection: Selection, limit: int, after: str = ""
) -> tuple[list[str], int, str | None]:
    """Return a page of the datasets with a release of a selection: their names in order, how many there are in all, and
    the last name of the page if more follow. `after`: the last name of the page before.
    """
    chosen = selection.statement()
    source = f"(SELECT DISTINCT dataset FROM {ENTRIES} JOIN ({chosen.sql}) USING (position))"  # noqa: S608
    (total,) = cursor.execute(f"SELECT count(*) FROM {source}", list(chosen.parameters)).fetchall()[0]  # noqa: S608
    query = f"SELECT dataset FROM {source} WHERE dataset > ? ORDER BY dataset LIMIT ?"  # noqa: S608
    names = [name for (name,) in cursor.execute(query, [*chosen.parameters, after, limit + 1]).fetchall()]
    return names[:limit], total, names[limit - 1] if len(names) > limit else None


def collections(cursor: duckdb.DuckDBPyConnection, names: Sequence[str], store: Store) -> list[dict[str, Any]]:
    """Return the collections of datasets by name, without links to items; unknown datasets are left out.

    The words are those of the newest item. `self` and relative addresses lead to documents in `store`.
    """
    if not names:
        return []
    query = f"SELECT {_FACTS}, position FROM {RELEASES} WHERE dataset IN (SELECT unnest(?)) ORDER BY position"  # noqa: S608
    rows = cursor.execute(query, [list(names)]).to_arrow_table()
    facts = zip(
        rows.column("dataset").to_pylist(),
        entries_of(rows),
        rows.column("position").to_pylist(),
        strict=True,
    )
    members = {dataset: list(own) for dataset, own in groupby(facts, key=itemgetter(0))}
    newest = {
        dataset: next((position for _, entry, position in reversed(own) if entry.latest), own[-1][2])
        for dataset, own in members.items()
    }
    described = dict(zip(newest, items(cursor, list(newest.values()), store), strict=True))
    return [
        _placed(collection(dataset, [entry for _, entry, _ in own], described[dataset], None, None), dataset, store)
        for dataset, own in members.items()
    ]


def _placed(document: dict[str, Any], dataset: str, store: Store) -> dict[str, Any]:
    own = store.url(catalogue_collection_address(dataset))
    kept = [each for each in document["links"] if each["rel"] not in ("item", "root", "parent")]
    self_link = {"rel": "self", "href": own, "type": "application/json"}
    document["links"] = [self_link, *({**each, "href": urljoin(own, each["href"])} for each in kept)]
    for asset in document["assets"].values():
        asset["href"] = urljoin(own, asset["href"])
    return document
