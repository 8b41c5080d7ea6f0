"""Withdrawals of published releases in the ledger: the present state with the release, the decisions with the reviews.

A withdrawal changes no file and no address. What readers see of it belongs to `upkeep.withdrawal`.
"""

from __future__ import annotations

from sqlalchemy import ColumnElement, Connection, Engine, insert, select, update

from d4c_pipeline.ledger import schema
from d4c_pipeline.ledger.changes import mark_changed
from d4c_pipeline.ledger.database import reading
from d4c_pipeline.ledger.events import append, now
from d4c_pipeline.model.release import PublishedRelease, ReleaseState

WITHDRAWN = "withdrawn"
REINSTATED = "reinstated"


class Withdrawals:
    """Withdrawals in the ledger. Each method is one transaction."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def withdraw(self, release: PublishedRelease, *, who: str, reason: str) -> bool:
        """Record a withdrawal, or another reason of it; return whether the ledger changed."""
        table = schema.release
        with self._engine.begin() as connection:
            moment = now()
            first = connection.execute(
                update(table)
                .where(_published(release), table.c.withdrawn_at.is_(None))
                .values(withdrawn_at=moment, withdrawn_reason=reason)
            ).rowcount
            changed = (
                first
                or connection.execute(
                    update(table)
                    .where(_published(release), table.c.withdrawn_reason != reason)
                    .values(withdrawn_reason=reason)
                ).rowcount
            )
            if changed:
                _decided(connection, release, WITHDRAWN, who, reason)
            return bool(changed)

    def reinstate(self, release: PublishedRelease, *, who: str, reason: str) -> bool:
        """Record the end of a withdrawal; return whether the release was withdrawn."""
        table = schema.release
        with self._engine.begin() as connection:
            changed = connection.execute(
                update(table)
                .where(_published(release), table.c.withdrawn_at.is_not(None))
                .values(withdrawn_at=None, withdrawn_reason=None)
            ).rowcount
            if changed:
                _decided(connection, release, REINSTATED, who, reason)
            return bool(changed)

    def served(self) -> tuple[int, ...]:
        """Return the ids of withdrawn releases whose data `/processed/` still serves, after an interrupted run."""
        table, latest = schema.release, schema.latest
        query = select(table.c.id).join(latest, latest.c.release_id == table.c.id)
        query = query.where(table.c.withdrawn_at.is_not(None), latest.c.switched_at < table.c.withdrawn_at)
        with reading(self._engine) as connection:
            return tuple(sorted(set(connection.execute(query).scalars())))


def _published(release: PublishedRelease) -> ColumnElement[bool]:
    table = schema.release
    return (table.c.id == release.id) & (table.c.state == ReleaseState.PUBLISHED.value)


def _decided(connection: Connection, release: PublishedRelease, decision: str, who: str, reason: str) -> None:
    """Append the decision to the reviews and the events, and mark the release for the catalogue."""
    connection.execute(
        insert(schema.review).values(release_id=release.id, decision=decision, who=who, reason=reason, at=now())
    )
    mark_changed(connection, release.id)
    append(
        connection,
        f"release {decision}",
        dataset=release.dataset,
        vintage=str(release.vintage),
        release_id=release.id,
        who=who,
        reason=reason,
    )
