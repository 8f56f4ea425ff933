"""Acts: what changes what is held, in one transaction on the clerk's thread with its row for the audit log.

What it says here: what an act is given to. Deliberately not here: objects coming in (`ingest`), SQL (`index`).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from sagittal.archive.index.writer import AuditRow


class Act(Protocol):
    """`Archive.act`: a function of the writing connection, in a transaction, with the row for the audit log."""

    def __call__(self, run: Callable[[sqlite3.Connection], Any], audit: AuditRow | None = None) -> Awaitable[Any]: ...
