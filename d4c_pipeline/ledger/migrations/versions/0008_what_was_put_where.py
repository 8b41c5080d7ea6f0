"""What this home put where, so that only its own bytes are ever replaced or deleted."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Add the table; the copies of plans that are on their way are what those plans put."""
    op.create_table(
        "placement",
        sa.Column("store", sa.String(length=60), nullable=False),
        sa.Column("address", sa.String(length=400), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("etag", sa.Text(), nullable=True),
        sa.Column("release_id", sa.Integer(), nullable=True),
        sa.Column("put_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["release_id"], ["release.id"], name=op.f("fk_placement_release_id_release")),
        sa.PrimaryKeyConstraint("store", "address", "sha256", name=op.f("pk_placement")),
    )
    op.create_index(op.f("ix_placement_release_id"), "placement", ["release_id"])
    op.execute(
        "INSERT INTO placement (store, address, sha256, size, release_id, put_at) "
        "SELECT copy.store, copy.address, copy.sha256, copy.size, copy.release_id, copy.verified_at "
        "FROM copy JOIN release ON release.id = copy.release_id WHERE release.state = 'planned'"
    )
