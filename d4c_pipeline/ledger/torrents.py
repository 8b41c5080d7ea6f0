"""Reissued torrents of releases, and the snapshots of the catalogue with their torrents.

Making torrents belongs to `torrents.torrent_files`, choosing their web seeds to `chain`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from sqlalchemy import Engine, delete, func, insert, select

from d4c_pipeline.ledger import schema
from d4c_pipeline.ledger.changes import mark_changed
from d4c_pipeline.ledger.database import reading
from d4c_pipeline.ledger.events import append, now
from d4c_pipeline.model.release import PublishedRelease, Snapshot, Torrent


class Torrents:
    """Torrents of releases and snapshots of the catalogue."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def reissue(self, release: PublishedRelease, artifact: str, torrent: Torrent) -> None:
        """Record the reissued torrent of a data artifact: the same info hash with other addresses."""
        table = schema.torrent
        mine = (table.c.release_id == release.id) & (table.c.artifact == artifact)
        with self._engine.begin() as connection:
            before = connection.execute(select(table.c.web_seeds).where(mine)).scalar_one()
            connection.execute(delete(table).where(mine))
            connection.execute(insert(table).values(release_id=release.id, artifact=artifact, **_values(torrent)))
            mark_changed(connection, release.id)
            append(
                connection,
                "torrent reissued",
                dataset=release.dataset,
                vintage=str(release.vintage),
                release_id=release.id,
                artifact=artifact,
                before=before,
                after=list(torrent.web_seeds),
            )

    def record_snapshot(self, *, sha256: str, size: int, address: str, torrent: Torrent) -> None:
        """Record a snapshot of the catalogue as the newest; recording it again makes it the newest again."""
        table = schema.catalogue_snapshot
        with self._engine.begin() as connection:
            # Later than every other snapshot even if the clock was set back, because older snapshots are deleted.
            last = connection.execute(select(func.max(table.c.made_at))).scalar()
            moment = max(now(), last + timedelta(microseconds=1)) if last is not None else now()
            connection.execute(delete(table).where(table.c.sha256 == sha256))
            connection.execute(
                insert(table).values(
                    sha256=sha256, size=size, address=address, torrent=_values(torrent), made_at=moment
                )
            )

    def snapshots(self) -> tuple[Snapshot, ...]:
        """Return the snapshots of the catalogue in the stores, newest first."""
        table = schema.catalogue_snapshot
        with reading(self._engine) as connection:
            rows = connection.execute(select(table).order_by(table.c.made_at.desc())).mappings().all()
        return tuple(
            Snapshot(row["sha256"], row["size"], row["address"], _torrent(row["torrent"]), row["made_at"])
            for row in rows
        )

    def forget_snapshot(self, snapshot: Snapshot) -> None:
        """Forget a snapshot whose files were deleted."""
        table = schema.catalogue_snapshot
        with self._engine.begin() as connection:
            connection.execute(delete(table).where(table.c.sha256 == snapshot.sha256))


def _values(torrent: Torrent) -> dict[str, Any]:
    return {**vars(torrent), "web_seeds": list(torrent.web_seeds)}


def _torrent(value: Mapping[str, Any]) -> Torrent:
    fields: dict[str, Any] = {**value, "web_seeds": tuple(value["web_seeds"])}
    return Torrent(**fields)
