"""Bringing a database to this gkmd's schema, and refusing those that it cannot read."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import sqlalchemy as sa

from gkmd.core.errors import StoreError

REVISIONS: Final = ("v0001", "v0002")  # oldest first, as in migrations/versions
APPLICATION_ID: Final = 0x676B6D64  # "gkmd", at octet 68 of the file


def upgrade(connection: sa.Connection, path: Path) -> None:
    """Migrate to the newest schema within the connection's transaction. StoreError for a file of another
    program or of a newer gkmd.
    """
    application = connection.exec_driver_sql("PRAGMA application_id").scalar_one()
    tables = set(sa.inspect(connection).get_table_names())
    if application != APPLICATION_ID and (application != 0 or tables):
        raise StoreError(f"{path} is a database, but no journal of gkmd: name another file")
    found = None
    if "alembic_version" in tables:
        found = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar_one_or_none()
    if found == REVISIONS[-1]:
        return
    if found is not None and found not in REVISIONS:
        raise StoreError(
            f"journal {path} has schema {found}, written by a newer gkmd; this one reads up to "
            f"{REVISIONS[-1]}: install that gkmd again, or move the journal away and let all members "
            "register again"
        )
    # Imported here: most starts have nothing to migrate, and Alembic costs more than all the rest of opening.
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
    connection.exec_driver_sql(f"PRAGMA application_id = {APPLICATION_ID}")
