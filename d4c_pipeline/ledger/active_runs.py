"""Active runs: the partitions that each run of Dagster works on, and whether its process is alive.

The heartbeat of a run is a lease of its own (`lease_keys.of_run`). Ending a dead run belongs to `orchestration`.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Engine, delete, insert, select, update
from sqlalchemy.exc import SQLAlchemyError

from d4c_pipeline.ledger import lease_keys, schema
from d4c_pipeline.ledger.database import reading
from d4c_pipeline.ledger.events import now
from d4c_pipeline.ledger.leases import Leases
from d4c_pipeline.model.errors import D4CError

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ActiveRun:
    """A run's work on one partition of a dataset or family; `step` is the last started step, empty before the first."""

    run: str
    subject: str
    partition: str
    step: str
    started_at: datetime


class ActiveRuns:
    """Active runs in the ledger."""

    def __init__(self, engine: Engine, leases: Leases) -> None:
        self._engine, self._leases = engine, leases

    @contextmanager
    def hold(self, run: str, subjects: Collection[str], partition: str) -> Generator[None]:
        """Record that this process executes a run, until the end of the context; a killed process leaves its record.

        Raises BusyError when another process executes the same run.
        """
        table = schema.active_run
        with self._leases.hold(lease_keys.of_run(run), wait=0):
            if subjects:
                rows = [
                    {"run": run, "subject": subject, "partition": partition, "step": "", "started_at": now()}
                    for subject in subjects
                ]
                with self._engine.begin() as connection:
                    connection.execute(delete(table).where(table.c.run == run))
                    connection.execute(insert(table), rows)
            try:
                yield
            finally:
                if subjects:
                    self._remove(run)

    def _remove(self, run: str) -> None:
        table = schema.active_run
        try:
            with self._engine.begin() as connection:
                connection.execute(delete(table).where(table.c.run == run))
        except (D4CError, SQLAlchemyError) as error:
            # The work is done or has raised its own error; the record is removed when dead runs are ended.
            _log.warning("The record of the run %s could not be removed yet: %s", run, error)

    def record_step(self, run: str, subject: str, step: str) -> None:
        """Record that a run starts a step; a run that is not recorded stays so."""
        table = schema.active_run
        with self._engine.begin() as connection:
            connection.execute(update(table).where(table.c.run == run, table.c.subject == subject).values(step=step))

    def alive(self, runs: Collection[str]) -> dict[str, bool]:
        """Return for each of `runs` with a heartbeat whether its process is alive; others are absent."""
        alive = self._leases.alive([lease_keys.of_run(run) for run in runs])
        return {run: alive[key] for run in runs if (key := lease_keys.of_run(run)) in alive}

    def dead(self) -> tuple[ActiveRun, ...]:
        """Return the work of runs whose process has ended without removing its record, oldest first."""
        table = schema.active_run
        with reading(self._engine) as connection:
            rows = connection.execute(select(table).order_by(table.c.started_at, table.c.subject)).mappings().all()
        alive = self.alive({row["run"] for row in rows})
        return tuple(
            ActiveRun(**{name: row[name] for name in ActiveRun.__dataclass_fields__})
            for row in rows
            if not alive.get(row["run"], False)
        )

    def forget(self, run: str) -> None:
        """Remove the record and the heartbeat of a run that has ended."""
        with self._engine.begin() as connection:
            connection.execute(delete(schema.active_run).where(schema.active_run.c.run == run))
            connection.execute(delete(schema.lease).where(schema.lease.c.key == lease_keys.of_run(run)))
