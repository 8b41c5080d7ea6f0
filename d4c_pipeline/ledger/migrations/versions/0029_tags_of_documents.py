"""The tags of the catalogue's documents in stores, so that a document is replaced without a look at it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0029"
down_revision = "0028"


def upgrade() -> None:
    """Add the column; the tags of documents that are there already stay unknown until they change."""
    op.add_column("catalogue_document", sa.Column("etag", sa.Text(), nullable=True))
