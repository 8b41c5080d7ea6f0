"""Finished builds: the one build of a vintage that `checksums` plans a release from.

The files of a build lie in staging or in the primary store (`workspace.builds`); this room records which build counts,
so that every home on the ledger uses the same one.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Engine, RowMapping, delete, select, update

from d4c_pipeline.ledger import schema
from d4c_pipeline.ledger.database import reading, upsert
from d4c_pipeline.ledger.events import now
from d4c_pipeline.model.release import LivingRelease
from d4c_pipeline.model.vintage import Vintage


@dataclass(frozen=True)
class Build:
    """A finished build. `sha256` (hex) is the checksum of its `build.json`, which lists its files.

    `release_id`: the release that it was planned as or equals; None until `checksums` compared it.
    """

    dataset: str
    vintage: Vintage
    sha256: str
    release_id: int | None
    built_at: datetime


class Builds:
    """Finished builds in the ledger, at most one for each vintage."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def record(self, dataset: str, vintage: Vintage, sha256: str) -> None:
        """Record a finished build, which replaces the previous build of the vintage."""
        row = {
            "dataset": dataset,
            "vintage": str(vintage),
            "sha256": sha256,
            "release_id": None,
            "built_at": now(),
        }
        with self._engine.begin() as connection:
            upsert(connection, schema.build, [row])

    def settle(self, dataset: str, vintage: Vintage, release: LivingRelease) -> None:
        """Record the release that the present build of a vintage was planned as, or equals."""
        table = schema.build
        with self._engine.begin() as connection:
            connection.execute(
                update(table)
                .where(table.c.dataset == dataset, table.c.vintage == str(vintage))
                .values(release_id=release.id)
            )

    def current(self, dataset: str, vintage: Vintage) -> Build | None:
        """Return the finished build of a vintage, None if there is none."""
        table = schema.build
        with reading(self._engine) as connection:
            row = (
                connection.execute(select(table).where(table.c.dataset == dataset, table.c.vintage == str(vintage)))
                .mappings()
                .first()
            )
        return None if row is None else _build(row)

    def uncompared(self) -> tuple[Build, ...]:
        """Return the builds that no `checksums` compared yet, the oldest first."""
        table = schema.build
        query = select(table).where(table.c.release_id.is_(None)).order_by(table.c.built_at, table.c.dataset)
        with reading(self._engine) as connection:
            rows = connection.execute(query).mappings().all()
        return tuple(map(_build, rows))

    def forget(self, dataset: str, vintage: Vintage) -> None:
        """Forget the build of a vintage: its files are about to be replaced or deleted."""
        table = schema.build
        with self._engine.begin() as connection:
            connection.execute(delete(table).where(table.c.dataset == dataset, table.c.vintage == str(vintage)))


def _build(row: RowMapping) -> Build:
    return Build(row["dataset"], Vintage.parse(row["vintage"]), row["sha256"], row["release_id"], row["built_at"])
