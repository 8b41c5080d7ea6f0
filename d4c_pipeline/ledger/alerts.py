"""Alerts in the ledger: which cause was told to which address on which day, and addresses that failed.

An address is stored as its label, which holds no secret. What needs an alert belongs to `upkeep.alerts`.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy import Engine, select

from d4c_pipeline.ledger import schema
from d4c_pipeline.ledger.database import reading, upsert
from d4c_pipeline.ledger.events import now


@dataclass(frozen=True)
class FailedAddress:
    """An address whose last alert could not be delivered: its label, the time, and the cause."""

    address: str
    at: datetime
    cause: str


class Alerts:
    """Alerts, one row per cause, day and address."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def sent(self, day: date) -> set[tuple[str, str]]:
        """Return the pairs of cause and address that were delivered on a day."""
        table = schema.alert
        query = select(table.c.cause, table.c.address).where(table.c.day == day.isoformat(), table.c.error.is_(None))
        with reading(self._engine) as connection:
            return {(row.cause, row.address) for row in connection.execute(query)}

    def record(self, cause: str, day: date, address: str, *, error: str | None) -> None:
        """Record a delivery, or with `error` a failed one, which the next call of `sent` leaves out."""
        row = {"cause": cause, "day": day.isoformat(), "address": address, "at": now(), "error": error}
        with self._engine.begin() as connection:
            upsert(connection, schema.alert, [row])

    def failing(self, addresses: Collection[str]) -> tuple[FailedAddress, ...]:
        """Return those of `addresses` whose last alert failed."""
        table = schema.alert
        query = select(table).where(table.c.address.in_(addresses)).order_by(table.c.at)
        with reading(self._engine) as connection:
            last = {row.address: row for row in connection.execute(query)}
        return tuple(FailedAddress(row.address, row.at, row.error) for row in last.values() if row.error is not None)
