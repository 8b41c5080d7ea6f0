"""The token of a plan: its files lie below it, hidden, until the release may be public."""

from __future__ import annotations

from secrets import token_hex

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    """Add the column; plans that are on their way get a token for what they are still to put."""
    op.add_column("release", sa.Column("token", sa.String(length=64), nullable=True))
    release = sa.table("release", sa.column("id"), sa.column("state"), sa.column("token"))
    connection = op.get_bind()
    for number in connection.execute(sa.select(release.c.id).where(release.c.state == "planned")).scalars().all():
        connection.execute(sa.update(release).where(release.c.id == number).values(token=token_hex(16)))
