"""What the catalogue remembers: changed releases, documents in stores, datasets, and requests for rebuilds."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    """Add the tables and the index of names."""
    op.create_table(
        "catalogue_change",
        sa.Column("release_id", sa.Integer(), nullable=False),
        sa.Column("mark", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["release_id"], ["release.id"], name=op.f("fk_catalogue_change_release_id_release")),
        sa.PrimaryKeyConstraint("release_id", name=op.f("pk_catalogue_change")),
    )
    op.create_table(
        "catalogue_document",
        sa.Column("store", sa.String(length=60), nullable=False),
        sa.Column("address", sa.String(length=400), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("store", "address", name=op.f("pk_catalogue_document")),
    )
    op.create_table(
        "catalogue_dataset",
        sa.Column("dataset", sa.String(length=120), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("releases", sa.Integer(), nullable=False),
        sa.Column("words", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("dataset", name=op.f("pk_catalogue_dataset")),
    )
    op.create_table(
        "catalogue_state",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("requested", sa.Integer(), nullable=False),
        sa.Column("satisfied", sa.Integer(), nullable=False),
        sa.Column("form", sa.String(length=64), nullable=False),
        sa.Column("local", sa.Text(), nullable=False),
        sa.Column("result", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_catalogue_state")),
    )
    op.create_index(op.f("ix_release_name"), "release", ["name"])
