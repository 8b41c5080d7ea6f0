"""What is noticed at the sources, the members of families, and failures that nobody mended yet."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Create the tables of noticing and of failures."""
    op.create_table(
        "observation",
        sa.Column("subject", sa.String(length=120), nullable=False),
        sa.Column("partition", sa.String(length=60), nullable=False),
        sa.Column("seen", sa.String(length=64), nullable=True),
        sa.Column("retained", sa.String(length=64), nullable=True),
        sa.Column("settled", sa.String(length=64), nullable=True),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("subject", "partition", name=op.f("pk_observation")),
    )
    op.create_table(
        "listing",
        sa.Column("subject", sa.String(length=120), nullable=False),
        sa.Column("entries", sa.JSON(), nullable=False),
        sa.Column("listed_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("subject", name=op.f("pk_listing")),
    )
    op.create_table(
        "member",
        sa.Column("family", sa.String(length=120), nullable=False),
        sa.Column("key", sa.String(length=60), nullable=False),
        sa.Column("facts", sa.JSON(), nullable=False),
        sa.Column("listed_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("family", "key", name=op.f("pk_member")),
    )
    op.create_table(
        "source_description",
        sa.Column("dataset", sa.String(length=120), nullable=False),
        sa.Column("vintage", sa.String(length=20), nullable=False),
        sa.Column("said", sa.JSON(), nullable=False),
        sa.Column("said_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("dataset", "vintage", name=op.f("pk_source_description")),
    )
    op.create_table(
        "failure",
        sa.Column("subject", sa.String(length=120), nullable=False),
        sa.Column("partition", sa.String(length=60), nullable=False),
        sa.Column("step", sa.String(length=20), nullable=False),
        sa.Column("kind", sa.String(length=60), nullable=False),
        sa.Column("transient", sa.Boolean(), nullable=False),
        sa.Column("cause", sa.Text(), nullable=False),
        sa.Column("remedy", sa.Text(), nullable=False),
        sa.Column("run", sa.String(length=60), nullable=True),
        sa.Column("times", sa.Integer(), nullable=False),
        sa.Column("first_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("subject", "partition", "step", name=op.f("pk_failure")),
    )
