"""Vintages of which the source served what was retained of another one."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    """Add the table."""
    op.create_table(
        "same_vintage",
        sa.Column("dataset", sa.String(length=120), nullable=False),
        sa.Column("vintage", sa.String(length=20), nullable=False),
        sa.Column("same_as", sa.String(length=20), nullable=False),
        sa.Column("noted_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("dataset", "vintage", name=op.f("pk_same_vintage")),
    )
