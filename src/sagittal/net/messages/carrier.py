"""What the halves of an association need of the connection that carries it: `net.link` is one, tests make others.

Sending, invoking and performing know this and each other in that order, never the link: imports go one way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Coroutine, Sequence
from typing import Any, Protocol

from sagittal.dimse.exchange import Buffer
from sagittal.dimse.service import AssociationInfo
from sagittal.limits import NetLimits


class Carrier(Protocol):
    """One connection with an association on it. `over` once no more messages can pass; `reason` says why."""

    loop: asyncio.AbstractEventLoop
    limits: NetLimits
    info: AssociationInfo
    over: bool
    reason: str
    active_at: float  # something came or went
    write_waiter: asyncio.Future[None] | None  # set while the transport takes no more

    def write(self, parts: Sequence[Buffer]) -> None:
        """P-DATA request; dropped when the association is over."""

    def hold(self) -> None:
        """Read no more until as many `unhold` calls."""

    def unhold(self) -> None:
        """Take one `hold` back."""

    def hold_until(self, ready: Awaitable[object]) -> None:
        """Read on when `ready` is done."""

    def run(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Start a task that is kept until it is done."""

    def abort(self, text: str) -> None:
        """A-ABORT from this side."""

    def log(self, level: int, what: str, **fields: object) -> None:
        """One line of the log."""
