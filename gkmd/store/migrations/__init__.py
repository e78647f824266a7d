"""Schema migrations, run by Alembic when a journal is opened."""
