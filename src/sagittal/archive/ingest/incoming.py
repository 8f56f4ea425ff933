"""An arrival between `submit` and its answer: what came, what was decided about it, and how far its file is.

Deliberately not here: who decides (`batch`), and who names the file (`naming`).
"""

from __future__ import annotations

import asyncio
from concurrent.futures import wait
from dataclasses import dataclass

from sagittal.archive.index.arrival import Arrival
from sagittal.archive.index.writer import Held
from sagittal.archive.ingest import Outcome
from sagittal.archive.ingest.spool import Spool
from sagittal.archive.ingest.staging import Pen
from sagittal.archive.ingest.versions import Plan, Verdict


@dataclass(slots=True, eq=False)
class Incoming:
    """An arrival before its answer."""

    arrival: Arrival
    pen: Pen
    spool: Spool
    policy: str
    answer: asyncio.Future[Outcome]
    verdict: Verdict | None = None
    plan: Plan = Plan.NEW
    held: Held | None = None  # the version that is current, when there is one
    beside: Held | None = None  # a version of just this file that is not
    adopted: bool = False

    def discard(self) -> None:
        """Forget the bytes; waits for a sync thread that still holds the file."""
        if self.pen.synced is not None:
            wait((self.pen.synced,))
        self.pen.discard()
        self.spool.discard()
