"""What this home put where: written down before a file goes to a store, so that only its own bytes ever give way.

Which bytes may be replaced or deleted is decided by `workspace.placing`; what a store holds intact is told by `copy`.
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
    """Bytes that were about to be put at an address of a store. `size` in bytes, `sha256` in hexadecimal.

    `etag`: the store's tag of them once they lay there, None while that is not known. `unpublished`: they belong to a
    release that is planned or abandoned.
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
        """Record, before it is done, that bytes are put at an address for a release (None: for the catalogue)."""
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
        """Record that these bytes lie at an address now, with the store's tag, and that no earlier ones do."""
        table = schema.placement
        here = (table.c.store == store) & (table.c.address == address)
        with self._engine.begin() as connection:
            connection.execute(delete(table).where(here, table.c.sha256 != sha256))
            connection.execute(update(table).where(here).values(etag=etag))

    def forget(self, store: str, address: str) -> None:
        """Strike an address of a store: nothing of ours lies there."""
        table = schema.placement
        with self._engine.begin() as connection:
            connection.execute(delete(table).where(table.c.store == store, table.c.address == address))

    def at(self, store: str, address: str) -> tuple[Placement, ...]:
        """Return what was put, or was about to be put, at an address of a store."""
        return self._find(store=store, address=address)

    def of(self, release: Release) -> tuple[Placement, ...]:
        """Return what was put for a release, by address and store."""
        return self._find(release_id=release.id)

    def abandoned(self, dataset: str, vintage: Vintage) -> tuple[Placement, ...]:
        """Return what abandoned plans of a vintage put at hidden addresses, such as in a mirror that was down then."""
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
