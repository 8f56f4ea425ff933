"""The index: the only SQL of the archive. These few numbers stand here so that ingest can do without SQLAlchemy."""

from __future__ import annotations

MAIN_STORE = 1
SCHEMA_REVISION = "0004"
READER_VERSION = 1  # raised when the reader gives other rows or metadata for the same object

# instance.state
OTHER, CURRENT, DELETED = 0, 1, 2
DELETED_OTHER = 3  # deleted when it was not current
PURGING = 4  # deleted for good, its bytes are about to go
