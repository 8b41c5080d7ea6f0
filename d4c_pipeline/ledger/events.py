"""The event log. An event is appended in the transaction of the change that it records."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Engine, insert, select

from d4c_pipeline.ledger import schema
from d4c_pipeline.ledger.database import reading

ANNOUNCED = "breaking change announced"
"""The kind of the event that announces a planned breaking change (`announcements`)."""


def now() -> datetime:
    """Return the present time in UTC."""
    return datetime.now(UTC)


@dataclass(frozen=True)
class Event:
    """An entry of the log. `detail` is JSON and contains no secret."""

    at: datetime
    kind: str
    dataset: str | None
    vintage: str | None
    release_id: int | None
    detail: dict[str, Any]


def append(
    connection: Connection,
    kind: str,
    *,
    dataset: str | None = None,
    vintage: str | None = None,
    release_id: int | None = None,
    **detail: Any,
) -> None:
    """Append an event within the caller's transaction."""
    connection.execute(
        insert(schema.event).values(
            at=now(), kind=kind, dataset=dataset, vintage=vintage, release_id=release_id, detail=detail
        )
    )


class Events:
    """Events in the ledger."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def of(self, dataset: str, vintage: str | None = None) -> tuple[Event, ...]:
        """Return the events of a dataset (and vintage), oldest first."""
        query = select(schema.event).where(schema.event.c.dataset == dataset).order_by(schema.event.c.id)
        if vintage is not None:
            query = query.where(schema.event.c.vintage == vintage)
        with reading(self._engine) as connection:
            rows = connection.execute(query).mappings()
            return tuple(Event(**{key: row[key] for key in Event.__dataclass_fields__}) for row in rows)
