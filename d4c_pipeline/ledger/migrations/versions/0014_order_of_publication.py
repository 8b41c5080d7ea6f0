"""The order of publication, which feeds follow, as an index; the French titles of catalogued datasets."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    """Add the index and the column."""
    op.create_index("ix_release_published_at_name", "release", ["published_at", "name"])
    op.add_column("catalogue_dataset", sa.Column("title_fr", sa.Text(), nullable=False, server_default=""))
