"""Tables of descriptions: versions of controlled vocabularies and their terms."""

from __future__ import annotations

from sqlalchemy import JSON, Column, ForeignKeyConstraint, Index, Integer, String, Table, Text

from d4c_pipeline.ledger.schema.naming import metadata
from d4c_pipeline.ledger.utc_datetime import UtcDateTime

vocabulary = Table(
    "vocabulary",
    metadata,
    Column("name", String(120), primary_key=True),
    Column("version", String(60), primary_key=True),
    # Rises with every import: the greatest is the newest version, since versions of keepers have no common order.
    Column("number", Integer, nullable=False),
    Column("title", Text, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("who", Text, nullable=False),
    Column("imported_at", UtcDateTime, nullable=False),
)

vocabulary_term = Table(
    "vocabulary_term",
    metadata,
    Column("name", String(120), primary_key=True),
    Column("version", String(60), primary_key=True),
    Column("id", String(300), primary_key=True),
    Column("en", Text),
    Column("fr", Text),
    Column("others", JSON, nullable=False),
    Column("path", JSON, nullable=False),
    ForeignKeyConstraint(["name", "version"], ["vocabulary.name", "vocabulary.version"]),
    Index("ix_vocabulary_term_en", "name", "version", "en"),
)
