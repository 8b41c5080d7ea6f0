"""Copies that retention pruned: recorded as given up first, so that nothing links to them, then deleted.

Choosing them belongs to `upkeep.retention`; the copies that stores hold belong to `publications`.
"""

from __future__ import annotations

from sqlalchemy import Engine, delete, insert, select, update

from d4c_pipeline.ledger import schema
from d4c_pipeline.ledger.changes import mark_changed
from d4c_pipeline.ledger.database import reading
from d4c_pipeline.ledger.events import append, now
from d4c_pipeline.model.release import PrunedCopy, PublishedRelease, Release

_PUSHED, _FOLLOWED = "mirrors pushed to", "mirrors followed by catalogue"


class Pruning:
    """Pruned copies in the ledger. A copy is a row of `copy` or of `pruned_copy`, not of both."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def give_up(self, release: PublishedRelease, store: str) -> None:
        """Record that the copies of a release in a store are about to be deleted."""
        copy, pruned = schema.copy, schema.pruned_copy
        here = (copy.c.release_id == release.id, copy.c.store == store)
        shared = [column.name for column in pruned.columns if column.name in copy.columns]
        with self._engine.begin() as connection:
            rows = connection.execute(select(*(copy.c[name] for name in shared)).where(*here)).mappings().all()
            moment = now()
            for row in rows:
                # Replaces the row of an earlier pruning, if a step put the file back since.
                connection.execute(
                    delete(pruned).where(
                        pruned.c.release_id == release.id,
                        pruned.c.store == store,
                        pruned.c.artifact == row["artifact"],
                    )
                )
                connection.execute(insert(pruned).values(**row, given_up_at=moment))
            connection.execute(delete(copy).where(*here))
            mark_changed(connection, release.id)
            if rows:
                append(
                    connection,
                    "copies given up",
                    dataset=release.dataset,
                    vintage=str(release.vintage),
                    release_id=release.id,
                    store=store,
                    artifacts=sorted(row["artifact"] for row in rows),
                )

    def record_deleted(self, release: PublishedRelease, copy: PrunedCopy) -> None:
        """Record the deletion of a copy that was given up."""
        table = schema.pruned_copy
        with self._engine.begin() as connection:
            connection.execute(
                update(table)
                .where(table.c.release_id == release.id, table.c.artifact == copy.artifact, table.c.store == copy.store)
                .values(deleted_at=now())
            )

    def want_again(self, release: PublishedRelease, store: str) -> None:
        """Record that a store retains a pruned release again; a no-op if no copy of it was pruned there."""
        table = schema.pruned_copy
        with self._engine.begin() as connection:
            gone = connection.execute(
                delete(table).where(table.c.release_id == release.id, table.c.store == store)
            ).rowcount
            if gone:
                append(
                    connection,
                    "copies wanted again",
                    dataset=release.dataset,
                    vintage=str(release.vintage),
                    release_id=release.id,
                    store=store,
                )

    def record_push(self) -> None:
        """Record that releases are about to be pushed to mirrors, which torrents and catalogue do not list yet."""
        self._append(_PUSHED)

    def record_followed(self) -> None:
        """Record that torrents and catalogue list the copies in the mirrors."""
        self._append(_FOLLOWED)

    def to_follow(self) -> bool:
        """Return whether torrents and catalogue do not list a recorded push yet, because its run was killed."""
        events = schema.event
        newest = select(events.c.kind).where(events.c.kind.in_((_PUSHED, _FOLLOWED))).order_by(events.c.id.desc())
        with reading(self._engine) as connection:
            return connection.execute(newest.limit(1)).scalar() == _PUSHED

    def _append(self, kind: str) -> None:
        with self._engine.begin() as connection:
            append(connection, kind)

    def of(self, release: Release) -> tuple[PrunedCopy, ...]:
        """Return the pruned copies of a release, by artifact and store."""
        table = schema.pruned_copy
        with reading(self._engine) as connection:
            rows = connection.execute(
                select(table).where(table.c.release_id == release.id).order_by(table.c.artifact, table.c.store)
            ).mappings()
            return tuple(PrunedCopy(**{key: row[key] for key in PrunedCopy.__dataclass_fields__}) for row in rows)
