"""Where Alembic starts: runs the migrations on the index that `index.schema` names, all or none. No offline mode."""

from __future__ import annotations

from alembic import context
from sqlalchemy import URL, create_engine

from sagittal.archive.index.transcoding.tables import schema

index = str(context.config.attributes["index"])
# Left to itself, the driver of Python would open the transaction with the first row, and commit each table before that.
by_hand = {"isolation_level": None}
with create_engine(URL.create("sqlite", database=index), connect_args=by_hand).connect() as connection:
    context.configure(connection=connection, target_metadata=schema, transactional_ddl=True)
    with context.begin_transaction():
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        context.run_migrations()
    connection.commit()
