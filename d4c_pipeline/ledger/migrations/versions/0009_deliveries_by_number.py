"""Deliveries of native files by number: which is the newest no longer depends on clocks."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Add the column; what was seen at one moment was one delivery, numbered in the order of the moments."""
    op.add_column("native_file", sa.Column("delivery", sa.Integer(), nullable=False, server_default=sa.text("0")))
    op.execute(
        "UPDATE native_file SET delivery = (SELECT count(DISTINCT other.seen_at) FROM native_file AS other"
        " WHERE other.dataset = native_file.dataset AND other.vintage = native_file.vintage"
        " AND other.seen_at <= native_file.seen_at)"
    )
