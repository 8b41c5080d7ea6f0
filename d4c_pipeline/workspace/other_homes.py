"""Finds the releases in a store's catalogue that this ledger does not know: another home published them.

A ledger restored from a backup lacks releases in the same way. Nothing is changed here.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from d4c_pipeline.catalogue.item_assets import multihash_sha256
from d4c_pipeline.model.addresses import CATALOGUE_PARQUET
from d4c_pipeline.stores.port import Store
from d4c_pipeline.workspace.deployment import Deployment
from d4c_pipeline.workspace.placing import ForeignBytesError

_COLUMNS = ["id", "collection", "sci:doi", "assets"]
_NAMED = 3  # releases in a message


@dataclass(frozen=True)
class Listed:
    """A release in a store's catalogue. `checksums` are those of its files, as multihashes."""

    name: str
    dataset: str
    doi: str
    checksums: frozenset[str]


def unknown_releases(deployment: Deployment, store: Store) -> tuple[Listed, ...]:
    """Return the releases in a store's catalogue that this ledger has not published under that name and DOI."""
    facts = store.facts(CATALOGUE_PARQUET)
    if facts is None:
        return ()
    ours = deployment.ledger.placements.at(store.name, CATALOGUE_PARQUET)
    if any(each.etag is not None and (each.etag, each.size) == (facts.etag, facts.size) for each in ours):
        return ()
    releases = {release.id: release.name for release in deployment.ledger.releases.published()}
    known = {(releases.get(each.release_id), each.doi) for each in deployment.ledger.deposits.all()}
    return tuple(each for each in _listed(store.read_bytes(CATALOGUE_PARQUET)) if (each.name, each.doi) not in known)


def is_of_another_home(deployment: Deployment, store: Store, sha256: str) -> bool:
    """Return whether a file with that sha256 belongs to a release that another home published into the store."""
    return any(multihash_sha256(sha256) in each.checksums for each in unknown_releases(deployment, store))


def refuse_unknown_releases(deployment: Deployment, stores: Sequence[Store]) -> None:
    """Raise ForeignBytesError when the catalogue in a store lists releases that this ledger does not know."""
    for store in stores:
        if unknown := unknown_releases(deployment, store):
            names = ", ".join(f"{each.name} ({each.doi})" for each in unknown[:_NAMED])
            more = f" and {len(unknown) - _NAMED} more" if len(unknown) > _NAMED else ""
            raise ForeignBytesError(
                f"The catalogue in store {store.name} lists releases that this ledger does not know: {names}{more}",
                f"If the ledger is new or was restored from a backup, run 'd4c archive adopt {unknown[0].dataset}', "
                "which takes over what the archive has published. If another home publishes into this store, publish "
                "there, or name another store (D4C_STORES, D4C_HOME). Then run again",
            )


@lru_cache(maxsize=4)
def _listed(content: bytes) -> tuple[Listed, ...]:
    try:
        table: Any = pq.read_table(io.BytesIO(content), columns=_COLUMNS)
    except (pa.ArrowException, OSError):
        return ()  # damaged; the next rebuild replaces it
    return tuple(
        Listed(row["id"], row["collection"], str(row["sci:doi"]), frozenset(_checksums(row["assets"])))
        for row in table.to_pylist()
        if row["sci:doi"]
    )


def _checksums(assets: dict[str, Any] | None) -> list[str]:
    return [str(each["file:checksum"]) for each in (assets or {}).values() if each and each.get("file:checksum")]
