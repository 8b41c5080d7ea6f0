"""Alembic's entry: runs the migrations on the connection that `database.py` holds, inside its transaction."""

from __future__ import annotations

from alembic import context

from d4c_pipeline.ledger.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
)
context.run_migrations()
