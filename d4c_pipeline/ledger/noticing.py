"""Observations of sources: fingerprints of partitions, listings, and the members of families.

A partition is a vintage of a dataset or a member of a family; its subject is the id of the dataset or family. Acting on
a change belongs to the chain and to Dagster's automation.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Engine, and_, or_, select, update

from d4c_pipeline.ledger import schema
from d4c_pipeline.ledger.database import reading, upsert
from d4c_pipeline.ledger.events import append, now

_IS_DUE = and_(
    schema.observation.c.seen.is_not(None),
    or_(schema.observation.c.settled.is_(None), schema.observation.c.settled != schema.observation.c.seen),
)


@dataclass(frozen=True)
class Observation:
    """The fingerprints of a partition: `seen` last, `retained` by the last fetch, `settled` by the last publication.

    `changed_at`: the time at which `seen` last changed.
    """

    partition: str
    seen: str | None
    retained: str | None
    settled: str | None
    seen_at: datetime | None
    changed_at: datetime | None


@dataclass(frozen=True)
class Listing:
    """The partitions in the last accepted listing of a source."""

    entries: tuple[str, ...]
    listed_at: datetime


class Observations:
    """Fingerprints in the ledger."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def of(self, subject: str) -> dict[str, Observation]:
        """Return the observations of the partitions of a dataset or family."""
        table = schema.observation
        with reading(self._engine) as connection:
            rows = connection.execute(select(table).where(table.c.subject == subject).order_by(table.c.partition))
            return {row.partition: _observation(row) for row in rows}

    def get(self, subject: str, partition: str) -> Observation | None:
        """Return the observation of a partition."""
        table = schema.observation
        with reading(self._engine) as connection:
            row = connection.execute(
                select(table).where(table.c.subject == subject, table.c.partition == partition)
            ).first()
        return None if row is None else _observation(row)

    def due(self, subject: str, *, fetched_before: bool = False) -> dict[str, Observation]:
        """Return the partitions whose source differs from their last publication, or that were not published yet.

        `fetched_before`: only partitions with retained files, which may be few of a family's thousands.
        """
        table = schema.observation
        wanted = [table.c.retained.is_not(None)] if fetched_before else []
        with reading(self._engine) as connection:
            rows = connection.execute(
                select(table)
                .where(table.c.subject == subject, _IS_DUE, *wanted)
                .order_by(table.c.changed_at, table.c.partition)
            )
            return {row.partition: _observation(row) for row in rows}

    def subjects_due(self) -> tuple[str, ...]:
        """Return the datasets and families that have a partition in `due`."""
        table = schema.observation
        with reading(self._engine) as connection:
            rows = connection.execute(select(table.c.subject).where(_IS_DUE).distinct().order_by(table.c.subject))
            return tuple(rows.scalars())

    def record_seen(self, subject: str, fingerprints: Mapping[str, str]) -> frozenset[str]:
        """Record the present fingerprints of partitions; return the partitions whose fingerprint changed."""
        table = schema.observation
        moment = now()
        with self._engine.begin() as connection:
            rows = connection.execute(select(table.c.partition, table.c.seen).where(table.c.subject == subject))
            known = {row.partition: row.seen for row in rows}
            changed = {partition for partition, seen in fingerprints.items() if known.get(partition) != seen}
            upsert(
                connection,
                table,
                [
                    {"subject": subject, "partition": partition, "seen": fingerprints[partition], "seen_at": moment}
                    | {"changed_at": moment}
                    for partition in sorted(changed)
                ],
            )
            upsert(
                connection,
                table,
                [
                    {"subject": subject, "partition": partition, "seen_at": moment}
                    for partition in sorted(fingerprints.keys() - changed)
                ],
            )
        return frozenset(changed)

    def record_retained(self, subject: str, partition: str, fingerprint: str, before: str | None) -> None:
        """Record that 'raw' fetched the state `fingerprint`; `before` is the value of `seen` when it began.

        A value that a sensor recorded meanwhile is newer and stays.
        """
        table = schema.observation
        here = (table.c.subject == subject) & (table.c.partition == partition)
        moment = now()
        with self._engine.begin() as connection:
            upsert(connection, table, [{"subject": subject, "partition": partition, "retained": fingerprint}])
            if fingerprint != before:
                connection.execute(
                    update(table)
                    .where(here, table.c.seen.is_(None) if before is None else table.c.seen == before)
                    .values(seen=fingerprint, seen_at=moment, changed_at=moment)
                )

    def record_settled(self, subject: str, partition: str) -> None:
        """Record that the chain completed with the files that 'raw' fetched last."""
        table = schema.observation
        with self._engine.begin() as connection:
            connection.execute(
                update(table)
                .where(table.c.subject == subject, table.c.partition == partition)
                .values(settled=table.c.retained)
            )


class Listings:
    """Listings of sources in the ledger."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def of(self, subject: str) -> Listing | None:
        """Return the last accepted listing."""
        table = schema.listing
        with reading(self._engine) as connection:
            row = connection.execute(select(table).where(table.c.subject == subject)).first()
        return None if row is None else Listing(tuple(row.entries), row.listed_at)

    def record(self, subject: str, entries: Iterable[str]) -> None:
        """Record an accepted listing."""
        table = schema.listing
        found = list(entries)
        with self._engine.begin() as connection:
            known = connection.execute(select(table.c.entries).where(table.c.subject == subject)).scalar()
            upsert(connection, table, [{"subject": subject, "entries": found, "listed_at": now()}])
            added, gone = sorted(set(found) - set(known or ())), sorted(set(known or ()) - set(found))
            if added or gone:
                append(
                    connection,
                    "listing changed",
                    dataset=subject,
                    added=added[:20],
                    gone=gone[:20],
                    listed=len(found),
                )


class Members:
    """The members of families in the ledger, with the source's facts about each."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def of(self, family: str, key: str) -> Mapping[str, Any] | None:
        """Return the facts about a member."""
        table = schema.member
        with reading(self._engine) as connection:
            return connection.execute(
                select(table.c.facts).where(table.c.family == family, table.c.key == key)
            ).scalar()

    def keys(self, family: str) -> tuple[str, ...]:
        """Return the keys of all members that the source has listed."""
        table = schema.member
        with reading(self._engine) as connection:
            return tuple(
                connection.execute(select(table.c.key).where(table.c.family == family).order_by(table.c.key)).scalars()
            )

    def record(self, family: str, members: Mapping[str, Mapping[str, Any]]) -> None:
        """Record the source's facts about members; other members stay unchanged."""
        table = schema.member
        moment = now()
        with self._engine.begin() as connection:
            rows = connection.execute(select(table.c.key, table.c.facts).where(table.c.family == family))
            known = {row.key: row.facts for row in rows}
            # The source lists thousands each day, of which few differ.
            upsert(
                connection,
                table,
                [
                    {"family": family, "key": key, "facts": dict(facts), "listed_at": moment}
                    for key, facts in sorted(members.items())
                    if known.get(key) != dict(facts)
                ],
            )


def _observation(row: Any) -> Observation:
    return Observation(**{name: getattr(row, name) for name in Observation.__dataclass_fields__})
