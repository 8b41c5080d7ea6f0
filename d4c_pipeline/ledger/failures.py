"""Present failures: one row per step of a partition, which the next success of the step deletes.

The kinds of failures belong to `model.errors`; retries belong to Dagster and to the sensors.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Engine, delete, select

from d4c_pipeline.ledger import schema
from d4c_pipeline.ledger.database import reading, upsert
from d4c_pipeline.ledger.events import append, now


@dataclass(frozen=True)
class Failed:
    """A present failure of a step of a partition: cause, number of failures in a row, and the last run.

    `partition` is empty for the listing of a source. `transient`: a retry may succeed.
    """

    subject: str
    partition: str
    step: str
    kind: str
    transient: bool
    cause: str
    remedy: str
    run: str | None
    times: int
    first_at: datetime
    last_at: datetime


class Failures:
    """Failures in the ledger."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def record(
        self,
        subject: str,
        partition: str,
        step: str,
        *,
        kind: str,
        transient: bool,
        cause: str,
        remedy: str,
        run: str | None = None,
    ) -> None:
        """Record a failure of a step; a run counts once, because a retried step may report it several times."""
        table = schema.failure
        moment = now()
        with self._engine.begin() as connection:
            known = connection.execute(select(table).where(_here(subject, partition, step)).with_for_update()).first()
            again = known is not None and known.run is not None and known.run == run
            upsert(
                connection,
                table,
                [
                    {
                        "subject": subject,
                        "partition": partition,
                        "step": step,
                        "kind": kind,
                        "transient": transient,
                        "cause": cause,
                        "remedy": remedy,
                        "run": run,
                        "times": 1 if known is None else known.times + (not again),
                        "first_at": moment if known is None else known.first_at,
                        "last_at": moment,
                    }
                ],
            )
            if known is None or known.cause != cause:
                append(connection, "step failed", dataset=subject, vintage=partition or None, step=step, cause=cause)

    def settle(self, subject: str, partition: str, step: str) -> None:
        """Record that a step succeeded: its failure is deleted, and the history has its end."""
        with self._engine.begin() as connection:
            settled = connection.execute(delete(schema.failure).where(_here(subject, partition, step))).rowcount
            if settled:
                append(connection, "step recovered", dataset=subject, vintage=partition or None, step=step)

    def standing(self, subject: str | None = None) -> tuple[Failed, ...]:
        """Return the present failures, oldest first."""
        table = schema.failure
        query = select(table).order_by(table.c.first_at, table.c.subject, table.c.partition)
        if subject is not None:
            query = query.where(table.c.subject == subject)
        with reading(self._engine) as connection:
            return tuple(
                Failed(**{name: row[name] for name in Failed.__dataclass_fields__})
                for row in connection.execute(query).mappings()
            )


def _here(subject: str, partition: str, step: str) -> Any:
    table = schema.failure
    return (table.c.subject == subject) & (table.c.partition == partition) & (table.c.step == step)
