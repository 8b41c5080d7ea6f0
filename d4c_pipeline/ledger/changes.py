"""Marks of releases whose catalogue entry is out of date: set in the transaction that changes a fact of a release.

Reading and deleting the marks belongs to `catalogue`.
"""

from __future__ import annotations

from secrets import randbits

from sqlalchemy import Connection

from d4c_pipeline.ledger import schema
from d4c_pipeline.ledger.database import upsert


def mark_changed(connection: Connection, release_id: int) -> None:
    """Mark a release as changed, with a new mark each time: a rebuild in progress deletes only marks that it read."""
    upsert(connection, schema.catalogue_change, [{"release_id": release_id, "mark": randbits(62)}])
