"""Withdrawn releases: the time and the public reason of a standing withdrawal."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    """Add the columns."""
    op.add_column("release", sa.Column("withdrawn_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("release", sa.Column("withdrawn_reason", sa.Text(), nullable=True))
