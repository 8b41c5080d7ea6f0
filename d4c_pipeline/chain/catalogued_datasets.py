"""A dataset in the catalogue: its rows and documents, recomputed from the ledger for changed releases.

Here belong the order of versions, the items to compute, and the documents of a dataset. Row groups, stores and the
lease belong to `catalogue`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pyarrow as pa

from d4c_pipeline.catalogue.arrow_schema import SCHEMA, entries_of, rows_of, rows_of_dataset
from d4c_pipeline.catalogue.item_assets import Addresses
from d4c_pipeline.catalogue.item_links import Line
from d4c_pipeline.catalogue.stac_geoparquet import dataset_file
from d4c_pipeline.catalogue.stac_item import finalise_item, item_bytes
from d4c_pipeline.catalogue.static_stac import collection, documents
from d4c_pipeline.chain.catalogued_facts import AT_ONCE, FactsReader
from d4c_pipeline.chain.latest import rank
from d4c_pipeline.ledger.catalogue import Facts, Listed
from d4c_pipeline.model.addresses import (
    CATALOGUE_PARQUET,
    catalogue_collection_address,
    catalogue_items_address,
    release_address,
)
from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.errors import IntegrityError, UnknownNameError
from d4c_pipeline.model.release import DepositState
from d4c_pipeline.workspace.deployment import Deployment


@dataclass
class Piece:
    """A recomputed dataset: its rows for the file of all datasets, its documents, its title."""

    dataset: str
    rows: pa.Table
    title: str
    documents: dict[str, bytes] = field(default_factory=dict[str, bytes])


def versions(dataset: Dataset, listed: Sequence[Listed]) -> dict[int, Line]:
    """Return the place of each release among the versions of its product, by the ledger's id."""
    rolling = dataset.series == "rolling"
    products: defaultdict[str, list[Listed]] = defaultdict(list)
    for entry in listed:
        products["" if rolling else str(entry.vintage)].append(entry)
    lines: dict[int, Line] = {}
    for product in products.values():
        product.sort(key=partial(rank, dataset))
        for place, entry in enumerate(product):
            lines[entry.id] = Line(
                latest=place + 1 == len(product),
                rolling=rolling,
                predecessor=product[place - 1] if place else None,
                successor=product[place + 1] if place + 1 < len(product) else None,
            )
    return lines


def computed(
    deployment: Deployment,
    reader: FactsReader,
    dataset: Dataset | None,
    listed: Sequence[Listed],
    changed: Collection[int],
    before: pa.Table | None,
) -> Iterator[Piece | dict[str, bytes]]:
    """Yield the documents of a dataset's items in batches, and last the piece with its rows.

    `changed`: the releases whose facts changed; the neighbouring versions change with them. `before`: the catalogued
    rows of the dataset, None to compute all. Raises PermanentError or IntegrityError when a release can't be
    catalogued.
    """
    dataset_id = listed[0].dataset
    if dataset is None:
        raise IntegrityError(f"The ledger has no declaration of {dataset_id}", rerun="checksums")
    ordered = sorted(listed, key=lambda entry: (entry.vintage, entry.version))
    lines = versions(dataset, ordered)
    newest = next((entry for entry in reversed(ordered) if lines[entry.id].latest), ordered[-1])
    known: dict[str, int] = {} if before is None else _places(before)
    wanted = {newest.id} | {entry.id for entry in ordered if entry.name not in known}
    for number in set(changed) & lines.keys() if before is not None else lines.keys():
        wanted |= {number, *(other.id for other in _neighbours(lines[number]))}
    base_url, tables, fresh = deployment.settings.store_url, [], list[str]()
    last: Mapping[str, Any] = {}
    pending = [entry for entry in ordered if entry.id in wanted]
    for start in range(0, len(pending), AT_ONCE):
        some = pending[start : start + AT_ONCE]
        facts = reader.of(some)
        items = [_item(deployment, facts[entry.id], lines[entry.id]) for entry in some]
        last = next((item for item in items if item["id"] == newest.name), last)
        tables.append(rows_of(items, CATALOGUE_PARQUET, base_url))
        fresh += [item["id"] for item in items]
        found: dict[str, bytes] = {}
        for item in items:
            found |= documents(item, base_url)
        yield found
    rows = _merged(ordered, tables, fresh, before, known)
    document = collection(dataset_id, entries_of(rows), last, dataset, base_url)
    table = rows if base_url else rows_of_dataset(rows, dataset_id)
    yield Piece(
        dataset_id,
        rows,
        document["title"],
        {
            catalogue_items_address(dataset_id): dataset_file(table, document),
            catalogue_collection_address(dataset_id): item_bytes(document),
        },
    )


def _places(rows: pa.Table) -> dict[str, int]:
    return {name: place for place, name in enumerate(rows.column("id").to_pylist())}


def _neighbours(line: Line) -> Iterator[Listed]:
    for other in (line.predecessor, line.successor):
        if isinstance(other, Listed):
            yield other


def _merged(
    ordered: Sequence[Listed], tables: Sequence[pa.Table], fresh: Sequence[str], before: pa.Table | None, known: Any
) -> pa.Table:
    """Return the rows of a dataset in order: recomputed rows, else the previous rows."""
    if [entry.name for entry in ordered] == list(fresh):
        return pa.concat_tables(tables)
    together = pa.concat_tables([*tables, *([] if before is None else [before])])
    places = {name: len(fresh) + place for name, place in known.items()}
    places |= {name: place for place, name in enumerate(fresh)}
    return together.take([places[entry.name] for entry in ordered]).combine_chunks().select(SCHEMA.names)


def _item(deployment: Deployment, facts: Facts, line: Line) -> dict[str, Any]:
    release, deposit = facts.release, facts.deposit
    if facts.item is None:
        raise IntegrityError(
            f"The ledger has no catalogue item of the published release {release.name}", rerun="stac_item"
        )
    begun = deposit is not None and (deposit.record_id is not None or deposit.state is DepositState.PUBLISHED)
    if deposit is None or deposit.doi is None or not begun:
        raise UnknownNameError(f"No DOI is reserved for {release.name}", rerun="doi")
    places = {
        artifact.name: release_address(release.dataset, release.vintage, release.version, artifact.name)
        for artifact in release.artifacts
    }
    primary, *mirrors = deployment.stores
    addresses = Addresses(
        {name: primary.url(place) for name, place in places.items()},
        {
            name: [store.url(place) for store in mirrors if (name, store.name) in facts.copies]
            for name, place in places.items()
        },
        {name: primary.url(torrent.address) for name, torrent in facts.torrents.items()},
    )
    return finalise_item(facts.item, release, deposit, facts.torrents, addresses=addresses, line=line)
