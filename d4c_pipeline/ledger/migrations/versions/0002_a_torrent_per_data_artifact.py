"""A release may have several data artifacts, each with a torrent of its own."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Make the table of torrents anew, keyed by release and artifact; until now a release had one data artifact."""
    known = (
        op.get_bind()
        .execute(
            sa.text(
                "SELECT torrent.release_id, artifact.name AS artifact, info_hash, info_hash_v2, magnet, piece_size,"
                " web_seeds, address FROM torrent JOIN artifact ON artifact.release_id = torrent.release_id"
                " WHERE artifact.role = 'data'"
            ).columns(web_seeds=sa.JSON())
        )
        .mappings()
        .all()
    )
    op.drop_table("torrent")
    table = op.create_table(
        "torrent",
        sa.Column("release_id", sa.Integer(), nullable=False),
        sa.Column("artifact", sa.String(length=255), nullable=False),
        sa.Column("info_hash", sa.String(length=40), nullable=False),
        sa.Column("info_hash_v2", sa.String(length=64), nullable=True),
        sa.Column("magnet", sa.Text(), nullable=False),
        sa.Column("piece_size", sa.Integer(), nullable=False),
        sa.Column("web_seeds", sa.JSON(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["release_id"], ["release.id"], name=op.f("fk_torrent_release_id_release")),
        sa.PrimaryKeyConstraint("release_id", "artifact", name=op.f("pk_torrent")),
    )
    if known:
        op.bulk_insert(table, [dict(row) for row in known])
