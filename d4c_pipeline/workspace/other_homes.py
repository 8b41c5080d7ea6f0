"""Finds the releases of another home: a store's catalogue lists them, and this ledger does not know them.

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

_COLUMNS = ["id", "collection", "doi", "sci:doi", "assets", "d4c:parts"]
_NAMED = 3  # releases in a message


@dataclass(frozen=True)
class Listed:
    """A release in a store's catalogue. `checksums`: the checksums of its files, as multihashes."""

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
            several = len({each.dataset for each in unknown}) > 1
            command = "catalogue rebuild --from-archive" if several else f"archive adopt {unknown[0].dataset}"
            raise ForeignBytesError(
                f"The catalogue in store {store.name} lists releases that this ledger does not know: {names}{more}",
                f"If the ledger is new or was restored from a backup, run 'd4c {command}', "
                "which takes over what the archive has published. If another home publishes into this store, publish "
                "there, or name another store (D4C_STORES, D4C_HOME). Then run again",
            )


@lru_cache(maxsize=4)
def _listed(content: bytes) -> tuple[Listed, ...]:
    try:
        file = pq.ParquetFile(io.BytesIO(content))
        names = set(file.schema_arrow.names)
        table: Any = file.read(columns=[name for name in _COLUMNS if name in names])
    except (pa.ArrowException, OSError):
        return ()  # damaged; the next rebuild replaces it
    return tuple(
        Listed(row["id"], row["collection"], doi, frozenset(_checksums(row)))
        for row in table.to_pylist()
        # A catalogue of an earlier form has the extension's column alone.
        if (doi := row.get("doi") or row.get("sci:doi"))
    )


def _checksums(row: dict[str, Any]) -> list[str]:
    listed = [asset for asset in (row["assets"] or {}).values() if asset and asset.get("file:checksum")]
    # A catalogue of an earlier form has the parts of the data among the assets.
    parts = [multihash_sha256(part["sha256"]) for part in row.get("d4c:parts") or ()]
    return [str(asset["file:checksum"]) for asset in listed] + parts
