"""The metadata of deposits as they were sent last, so that what people change at the archive is seen."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Add the column; of deposits of before nothing is known."""
    with op.batch_alter_table("deposit") as deposit:
        deposit.add_column(sa.Column("described", sa.JSON(), nullable=True))
