"""When the facts in the records of a release changed last, for harvesters that fetch what is new."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"


def upgrade() -> None:
    """Add the table."""
    op.create_table(
        "catalogue_record",
        sa.Column("release_id", sa.Integer(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("modified_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["release_id"], ["release.id"], name=op.f("fk_catalogue_record_release_id_release")),
        sa.PrimaryKeyConstraint("release_id", name=op.f("pk_catalogue_record")),
    )
