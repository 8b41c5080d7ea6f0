"""Paused sources: a person's decision that nothing is requested from a source for now, with its reason.

What a pause stops belongs to `watch.pauses`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Engine, delete, select

from d4c_pipeline.ledger import schema
from d4c_pipeline.ledger.database import reading, upsert
from d4c_pipeline.ledger.events import append, now


@dataclass(frozen=True)
class Pause:
    """The pause of the source of a dataset or family."""

    subject: str
    reason: str
    who: str
    paused_at: datetime

    def __str__(self) -> str:
        return f"The source of {self.subject} is paused since {self.paused_at:%Y-%m-%d} by {self.who}: {self.reason}"


class Pauses:
    """Pauses in the ledger."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def of(self, subject: str) -> Pause | None:
        """Return the pause of a dataset or family, None without one."""
        table = schema.pause
        with reading(self._engine) as connection:
            row = connection.execute(select(table).where(table.c.subject == subject)).mappings().first()
        return None if row is None else Pause(**row)

    def all(self) -> tuple[Pause, ...]:
        """Return every pause, by subject."""
        table = schema.pause
        with reading(self._engine) as connection:
            return tuple(Pause(**row) for row in connection.execute(select(table).order_by(table.c.subject)).mappings())

    def pause(self, subject: str, *, who: str, reason: str) -> None:
        """Record a pause; another reason replaces the earlier one."""
        with self._engine.begin() as connection:
            row = {"subject": subject, "reason": reason, "who": who, "paused_at": now()}
            upsert(connection, schema.pause, [row])
            append(connection, "source paused", dataset=subject, who=who, reason=reason)

    def resume(self, subject: str, *, who: str) -> bool:
        """Delete a pause; return whether there was one."""
        table = schema.pause
        with self._engine.begin() as connection:
            ended = connection.execute(delete(table).where(table.c.subject == subject)).rowcount
            if ended:
                append(connection, "source resumed", dataset=subject, who=who)
            return bool(ended)
