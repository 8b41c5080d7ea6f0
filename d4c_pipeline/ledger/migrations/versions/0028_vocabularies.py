"""Versions of controlled vocabularies and their terms."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0028"
down_revision = "0027"


def upgrade() -> None:
    """Add the tables."""
    op.create_table(
        "vocabulary",
        sa.Column("name", sa.String(length=120), nullable=False),
        sa.Column("version", sa.String(length=60), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("imported_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name", "version", name=op.f("pk_vocabulary")),
    )
    op.create_table(
        "vocabulary_term",
        sa.Column("name", sa.String(length=120), nullable=False),
        sa.Column("version", sa.String(length=60), nullable=False),
        sa.Column("id", sa.String(length=300), nullable=False),
        sa.Column("en", sa.Text(), nullable=True),
        sa.Column("fr", sa.Text(), nullable=True),
        sa.Column("others", sa.JSON(), nullable=False),
        sa.Column("path", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(
            ["name", "version"],
            ["vocabulary.name", "vocabulary.version"],
            name=op.f("fk_vocabulary_term_name_vocabulary"),
        ),
        sa.PrimaryKeyConstraint("name", "version", "id", name=op.f("pk_vocabulary_term")),
    )
    op.create_index("ix_vocabulary_term_en", "vocabulary_term", ["name", "version", "en"])
