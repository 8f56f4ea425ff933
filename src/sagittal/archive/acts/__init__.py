"""Acts: each changes what is held, in one transaction on the clerk's thread, together with its row of the audit log.

Here: how `Archive.act` is called. Deliberately not here: objects coming in (`ingest`), SQL (`index`).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from sagittal.archive.index.writer import AuditRow


class Act(Protocol):
    """`Archive.act`: runs a function of the writing connection in a transaction, which commits the `audit` row, too."""

    def __call__(self, run: Callable[[sqlite3.Connection], Any], audit: AuditRow | None = None) -> Awaitable[Any]: ...
