"""Backfills by command: which vintages are processed again, why, and the outcome of each.

The ledger keeps them so that another process continues an interrupted backfill. Processing belongs to
`orchestration.backfilling`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from sqlalchemy import Engine, RowMapping, func, insert, select, update

from d4c_pipeline.ledger import schema
from d4c_pipeline.ledger.database import reading
from d4c_pipeline.ledger.events import append, now
from d4c_pipeline.model.vintage import Vintage


class BackfillState(StrEnum):
    """The state of a backfill. A running backfill may have no process, after a crash."""

    RUNNING = "running"
    CANCELLED = "cancelled"
    DONE = "done"


class BackfillOutcome(StrEnum):
    """The outcome of a vintage in a backfill."""

    PUBLISHED = "published"
    UNCHANGED = "unchanged"
    REVIEW = "review waits"
    FAILED = "failed"


@dataclass(frozen=True)
class Backfill:
    """A backfill. `scope`: the package or dataset; `outcomes`: number of vintages by outcome, `left` of those to do."""

    id: int
    scope: str
    reason: str
    who: str
    state: BackfillState
    begun_at: datetime
    ended_at: datetime | None
    left: int
    outcomes: Counter[str] = field(default_factory=Counter[str])


class Backfills:
    """Backfills in the ledger."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def begin(self, scope: str, parts: Iterable[tuple[str, Vintage]], *, reason: str, who: str) -> Backfill:
        """Record a new backfill of `parts` (dataset id and vintage)."""
        with self._engine.begin() as connection:
            number = connection.execute(
                insert(schema.backfill)
                .values(scope=scope, reason=reason, who=who, state=BackfillState.RUNNING.value, begun_at=now())
                .returning(schema.backfill.c.id)
            ).scalar_one()
            rows = [
                {"backfill_id": number, "dataset": dataset, "vintage": str(vintage), "outcome": "", "detail": ""}
                for dataset, vintage in parts
            ]
            connection.execute(insert(schema.backfill_part), rows)
            append(
                connection,
                "backfill begun",
                backfill=number,
                scope=scope,
                vintages=len(rows),
                reason=reason,
                who=who,
            )
        return self.get(number)

    def get(self, number: int) -> Backfill:
        """Return a backfill. Raises LookupError for an unknown number."""
        with reading(self._engine) as connection:
            row = connection.execute(select(schema.backfill).where(schema.backfill.c.id == number)).mappings().first()
        if row is None:
            raise LookupError(number)
        return self._read(row)

    def all(self) -> tuple[Backfill, ...]:
        """Return every backfill, the newest first."""
        with reading(self._engine) as connection:
            rows = connection.execute(select(schema.backfill).order_by(schema.backfill.c.id.desc())).mappings().all()
        return tuple(map(self._read, rows))

    def left(self, number: int) -> tuple[tuple[str, Vintage], ...]:
        """Return the vintages without an outcome, and those that failed, sorted."""
        table = schema.backfill_part
        query = select(table.c.dataset, table.c.vintage).where(
            table.c.backfill_id == number, table.c.outcome.in_(["", BackfillOutcome.FAILED.value])
        )
        with reading(self._engine) as connection:
            found = [(row.dataset, Vintage.parse(row.vintage)) for row in connection.execute(query)]
        return tuple(sorted(found))

    def failed(self, number: int) -> tuple[tuple[str, str, str], ...]:
        """Return dataset, vintage and cause of the vintages that failed, sorted."""
        table = schema.backfill_part
        query = select(table.c.dataset, table.c.vintage, table.c.detail).where(
            table.c.backfill_id == number, table.c.outcome == BackfillOutcome.FAILED.value
        )
        with reading(self._engine) as connection:
            return tuple(sorted((row[0], row[1], row[2]) for row in connection.execute(query)))

    def record(self, number: int, dataset: str, vintage: Vintage, outcome: BackfillOutcome, detail: str) -> None:
        """Record the outcome of a vintage. `detail`: the release, or the cause of a failure."""
        table = schema.backfill_part
        with self._engine.begin() as connection:
            connection.execute(
                update(table)
                .where(table.c.backfill_id == number, table.c.dataset == dataset, table.c.vintage == str(vintage))
                .values(outcome=outcome.value, detail=detail, ended_at=now())
            )

    def set_state(self, number: int, state: BackfillState) -> None:
        """Record that a backfill is cancelled, continues or is done."""
        table = schema.backfill
        with self._engine.begin() as connection:
            ended = None if state is BackfillState.RUNNING else now()
            changed = connection.execute(
                update(table)
                .where(table.c.id == number, table.c.state != state.value)
                .values(state=state.value, ended_at=ended)
            ).rowcount
            if changed:
                append(connection, f"backfill {state.value}", backfill=number)

    def _read(self, row: RowMapping) -> Backfill:
        table = schema.backfill_part
        query = select(table.c.outcome, func.count()).where(table.c.backfill_id == row["id"]).group_by(table.c.outcome)
        with reading(self._engine) as connection:
            outcomes = Counter({str(each[0]): int(each[1]) for each in connection.execute(query)})
        left = outcomes.pop("", 0)
        facts = {name: row[name] for name in ("id", "scope", "reason", "who", "begun_at", "ended_at")}
        return Backfill(**facts, state=BackfillState(row["state"]), left=left, outcomes=outcomes)
