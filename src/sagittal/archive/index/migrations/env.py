"""Where Alembic starts: runs the migrations on the index that `index.schema` names. No offline mode."""

from __future__ import annotations

from alembic import context
from sqlalchemy import URL, create_engine

from sagittal.archive.index.transcoding.tables import schema

index = str(context.config.attributes["index"])
with create_engine(URL.create("sqlite", database=index)).connect() as connection:
    context.configure(connection=connection, target_metadata=schema, transactional_ddl=True)
    with context.begin_transaction():
        context.run_migrations()
    connection.commit()
