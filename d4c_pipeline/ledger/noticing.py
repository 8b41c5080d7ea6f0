"""What is noticed at the sources: fingerprints of partitions, listings, and the members of families.

A partition is a vintage of a dataset or a member of a family, its subject the id of that dataset or family. Deciding
what to do about a change belongs to the chain and to Dagster's automation.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Engine, or_, select, update

from d4c_pipeline.ledger import schema
from d4c_pipeline.ledger.database import reading, upsert
from d4c_pipeline.ledger.events import append, now


@dataclass(frozen=True)
class Observation:
    """The fingerprints of one partition: `seen` last, `retained` by the last fetch, `settled` when all was published.

    `changed_at` is when the source was first seen to say what it says now.
    """

    partition: str
    seen: str | None
    retained: str | None
    settled: str | None
    seen_at: datetime | None
    changed_at: datetime | None


@dataclass(frozen=True)
class Listing:
    """The partitions that a source listed when it was last believed."""

    entries: tuple[str, ...]
    listed_at: datetime


class Observations:
    """Fingerprints in the ledger."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def of(self, subject: str) -> dict[str, Observation]:
        """Return what is known of the partitions of a dataset or family."""
        table = schema.observation
        with reading(self._engine) as connection:
            rows = connection.execute(select(table).where(table.c.subject == subject).order_by(table.c.partition))
            return {row.partition: _observation(row) for row in rows}

    def get(self, subject: str, partition: str) -> Observation | None:
        """Return what is known of one partition."""
        table = schema.observation
        with reading(self._engine) as connection:
            row = connection.execute(
                select(table).where(table.c.subject == subject, table.c.partition == partition)
            ).first()
        return None if row is None else _observation(row)

    def due(self, subject: str, *, fetched_before: bool = False) -> dict[str, Observation]:
        """Return the partitions whose source says something else than what was published of them, or was never used.

        `fetched_before`: only those of which something was retained; of a family these may be few of very many.
        """
        table = schema.observation
        wanted = [table.c.retained.is_not(None)] if fetched_before else []
        with reading(self._engine) as connection:
            rows = connection.execute(
                select(table)
                .where(
                    table.c.subject == subject,
                    table.c.seen.is_not(None),
                    or_(table.c.settled.is_(None), table.c.settled != table.c.seen),
                    *wanted,
                )
                .order_by(table.c.changed_at, table.c.partition)
            )
            return {row.partition: _observation(row) for row in rows}

    def record_seen(self, subject: str, fingerprints: Mapping[str, str]) -> frozenset[str]:
        """Record what a source says now of several partitions; return those of which it said something else before."""
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
        """Record that 'raw' fetched what the source called `fingerprint`; `before` is what was `seen` when it began.

        What a sensor saw meanwhile is newer and stays.
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
        """Record that the chain went all the way with what 'raw' fetched last."""
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
        """Return the listing that was last believed."""
        table = schema.listing
        with reading(self._engine) as connection:
            row = connection.execute(select(table).where(table.c.subject == subject)).first()
        return None if row is None else Listing(tuple(row.entries), row.listed_at)

    def record(self, subject: str, entries: Iterable[str]) -> None:
        """Record a listing that is believed."""
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
    """The members of families in the ledger, with what their source says of each."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def of(self, family: str, key: str) -> Mapping[str, Any] | None:
        """Return what is known of a member."""
        table = schema.member
        with reading(self._engine) as connection:
            return connection.execute(
                select(table.c.facts).where(table.c.family == family, table.c.key == key)
            ).scalar()

    def keys(self, family: str) -> tuple[str, ...]:
        """Return the keys of all members that were ever listed."""
        table = schema.member
        with reading(self._engine) as connection:
            return tuple(
                connection.execute(select(table.c.key).where(table.c.family == family).order_by(table.c.key)).scalars()
            )

    def record(self, family: str, members: Mapping[str, Mapping[str, Any]]) -> None:
        """Record what the source says of members; others stay as they are."""
        table = schema.member
        moment = now()
        with self._engine.begin() as connection:
            rows = connection.execute(select(table.c.key, table.c.facts).where(table.c.family == family))
            known = {row.key: row.facts for row in rows}
            # Thousands are listed each day and few differ.
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
