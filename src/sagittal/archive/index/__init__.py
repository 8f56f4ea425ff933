"""The index: the only SQL of the archive. These few numbers stand here so that ingest can do without SQLAlchemy."""

from __future__ import annotations

import time
from functools import lru_cache

MAIN_STORE, MAIN = 1, "main"  # the store of whoever names none
STORE = ":store"  # stands for the number of a store in statements that are kept once made; see `in_store`
SCHEMA_REVISION = "0007"
READER_VERSION = 4  # raised when the reader gives other rows or metadata for the same object

# instance.state
OTHER, CURRENT, DELETED = 0, 1, 2
DELETED_OTHER = 3  # deleted when it was not current
PURGING = 4  # deleted for good, its bytes are about to go


def clock() -> int:
    """Microseconds UTC, as the index has every time of its own."""
    return time.time_ns() // 1000


@lru_cache(maxsize=1024)
def in_store(statement: str, store: int) -> str:
    """A statement for one store. As text and not bound, so that it can stand anywhere in it."""
    return statement.replace(STORE, f"{store:d}")
