"""What retention took from a store."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Create the table of pruned copies."""
    op.create_table(
        "pruned_copy",
        sa.Column("release_id", sa.Integer(), nullable=False),
        sa.Column("artifact", sa.String(length=255), nullable=False),
        sa.Column("store", sa.String(length=60), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("given_up_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["release_id"], ["release.id"], name=op.f("fk_pruned_copy_release_id_release")),
        sa.PrimaryKeyConstraint("release_id", "artifact", "store", name=op.f("pk_pruned_copy")),
    )
