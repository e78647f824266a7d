"""Alembic's entry: it migrates the connection that ``gkmd.store.schema`` hands over, in its transaction."""

from __future__ import annotations

from alembic import context

from gkmd.store.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,  # SQLite alters tables by copying them
)
context.run_migrations()
