"""Where Alembic starts: runs the migrations on the connection that `index.schema` names. No offline mode."""

from __future__ import annotations

from alembic import context
from sqlalchemy import create_engine

from sagittal.archive.index.transcoding.tables import schema

url = context.config.get_main_option("sqlalchemy.url")
assert url is not None
with create_engine(url).connect() as connection:
    context.configure(connection=connection, target_metadata=schema, transactional_ddl=True)
    with context.begin_transaction():
        context.run_migrations()
    connection.commit()
