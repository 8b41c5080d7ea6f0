"""Placements: the bytes that this home put at an address of a store, recorded before the file is written.

`workspace.placing` replaces and deletes only recorded bytes. The table `copy` records the intact copies.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import ColumnElement, Engine, delete, select, update

from d4c_pipeline.ledger import schema
from d4c_pipeline.ledger.database import reading, upsert
from d4c_pipeline.ledger.events import now
from d4c_pipeline.model.addresses import HIDDEN
from d4c_pipeline.model.release import LivingRelease, Release, ReleaseState
from d4c_pipeline.model.vintage import Vintage


@dataclass(frozen=True)
class Placement:
    """Bytes that this home put, or was about to put, at an address of a store. `size` in bytes, `sha256` in hex.

    `etag`: the store's tag of these bytes, None until it is known. `unpublished`: the release is planned or abandoned.
    """

    store: str
    address: str
    sha256: str
    size: int
    etag: str | None
    unpublished: bool


class Placements:
    """Placements in the ledger."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def intend(self, store: str, address: str, *, sha256: str, size: int, release: LivingRelease | None = None) -> None:
        """Record the bytes of a release (None: of the catalogue) before they are written to an address."""
        row = {
            "store": store,
            "address": address,
            "sha256": sha256,
            "size": size,
            "etag": None,
            "release_id": None if release is None else release.id,
            "put_at": now(),
        }
        with self._engine.begin() as connection:
            upsert(connection, schema.placement, [row])

    def settle(self, store: str, address: str, *, sha256: str, etag: str | None) -> None:
        """Record that an address holds these bytes, with the store's tag, and forget earlier bytes there."""
        table = schema.placement
        here = (table.c.store == store) & (table.c.address == address)
        with self._engine.begin() as connection:
            connection.execute(delete(table).where(here, table.c.sha256 != sha256))
            connection.execute(update(table).where(here).values(etag=etag))

    def forget(self, store: str, address: str) -> None:
        """Forget an address of a store that holds no bytes of this home."""
        table = schema.placement
        with self._engine.begin() as connection:
            connection.execute(delete(table).where(table.c.store == store, table.c.address == address))

    def at(self, store: str, address: str) -> tuple[Placement, ...]:
        """Return the placements at an address of a store."""
        return self._find(store=store, address=address)

    def of(self, release: Release) -> tuple[Placement, ...]:
        """Return the placements of a release, by address and store."""
        return self._find(release_id=release.id)

    def below(self, store: str, prefix: str) -> tuple[Placement, ...]:
        """Return the placements of a store at the addresses that start with `prefix`, by address."""
        table = schema.placement
        return self._found(table.c.store == store, table.c.address.startswith(prefix, autoescape=True))

    def abandoned(self, dataset: str, vintage: Vintage) -> tuple[Placement, ...]:
        """Return the placements of abandoned plans at hidden addresses, such as in a mirror that was unreachable."""
        release = schema.release
        return self._found(
            release.c.dataset == dataset,
            release.c.vintage == str(vintage),
            release.c.state == ReleaseState.ABANDONED.value,
            schema.placement.c.address.startswith(HIDDEN, autoescape=True),
        )

    def _find(self, **wanted: str | int) -> tuple[Placement, ...]:
        return self._found(*(schema.placement.c[name] == value for name, value in wanted.items()))

    def _found(self, *wanted: ColumnElement[bool]) -> tuple[Placement, ...]:
        table, release = schema.placement, schema.release
        query = (
            select(table, release.c.state)
            .outerjoin(release, release.c.id == table.c.release_id)
            .where(*wanted)
            .order_by(table.c.address, table.c.store)
        )
        with reading(self._engine) as connection:
            rows = connection.execute(query).mappings().all()
        return tuple(
            Placement(
                row["store"],
                row["address"],
                row["sha256"],
                row["size"],
                row["etag"],
                unpublished=row["state"] not in (None, ReleaseState.PUBLISHED.value),
            )
            for row in rows
        )
