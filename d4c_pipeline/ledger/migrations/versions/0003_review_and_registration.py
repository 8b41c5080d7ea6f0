"""Overrides of failed checks, and when a DOI was seen to be registered."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add the table and the two columns."""
    op.create_table(
        "check_override",
        sa.Column("data_sha256", sa.String(length=64), nullable=False),
        sa.Column("check", sa.String(length=80), nullable=False),
        sa.Column("dataset", sa.String(length=120), nullable=False),
        sa.Column("vintage", sa.String(length=20), nullable=False),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("data_sha256", "check", name=op.f("pk_check_override")),
    )
    with op.batch_alter_table("deposit") as deposit:
        deposit.add_column(sa.Column("registered_at", sa.DateTime(timezone=True), nullable=True))
        deposit.add_column(sa.Column("registration_checked_at", sa.DateTime(timezone=True), nullable=True))
