"""When to give up on a peer: ARTIM, idleness, the progress floor inside a message, a stalled receiver, an admission
that does not stand any more.

One look at every link a second or so, instead of timers that each read would have to move. The clock comes in as `now`.
"""

from __future__ import annotations

from functools import partial

from sagittal.lasting import guarded
from sagittal.limits import NetLimits
from sagittal.net.link import LOGGER, Link
from sagittal.net.unsent import untaken


def interval(limits: NetLimits) -> float:
    """Seconds between two looks: a quarter of the shortest limit, one second at the most."""
    shortest = min(
        limits.artim_seconds,
        limits.idle_seconds_max,
        limits.progress_window_seconds,
        limits.send_stall_seconds_max,
        limits.response_seconds_max,
    )
    return max(0.01, min(1.0, shortest / 4))


class Watch:
    """What was seen of one link before."""

    __slots__ = ("_bytes", "_since", "_taken_at", "_untaken")

    def __init__(self) -> None:
        self._since: float | None = None  # a message is incomplete, and we read
        self._bytes = 0
        self._taken_at = 0.0  # when less, or more, was seen to wait for the peer
        self._untaken = 0

    def look(self, link: Link, now: float) -> None:
        """Abort or close what has exceeded a limit, or can't be looked at."""
        give_up = partial(link.drop, "looking after it failed")
        guarded(partial(self._judge, link, now), give_up, "looking after a connection", LOGGER)

    def _judge(self, link: Link, now: float) -> None:
        machine, limits = link.machine, link.limits
        if machine.deadline is not None and now >= machine.deadline:
            machine.expired(now)
            link.settle()
            if link.transport is not None and link.transport.get_write_buffer_size():
                link.transport.abort()  # a close would wait for a peer that takes nothing
        elif link.over:
            return
        elif not link.stands():
            link.abort("who opened it is not let in as such any more")
        elif self._stalled(link, now):
            # An abort couldn't be sent either.
            link.drop(f"the peer took no data for {limits.send_stall_seconds_max:g} s")
        elif self._too_slow(link, now):
            floor = f"{limits.receive_bytes_per_second_min} bytes/s over {limits.progress_window_seconds:g} s"
            link.abort(f"inside a message the peer sent less than {floor}")
        elif link.invoker.awaited and now - max(link.active_at, self._taken_at) > (patience := link.invoker.patience):
            link.abort(f"no response within {patience:g} s")
        elif machine.state != 2 and self._idle(link) and now - link.active_at > limits.idle_seconds_max:
            link.abort(f"no traffic for {limits.idle_seconds_max:g} s")

    @staticmethod
    def _idle(link: Link) -> bool:
        return not link.performer.working and not link.invoker.waiting and not link.holds and link.machine.state != 3

    def _too_slow(self, link: Link, now: float) -> bool:
        inside = link.machine.established and (link.exchange.inside or link.machine.inside_pdu) and not link.holds
        if not inside:
            self._since = None
            return False
        if self._since is None:
            self._since, self._bytes = now, link.received_bytes
            return False
        window = link.limits.progress_window_seconds
        if now - self._since < window:
            return False
        least = link.limits.receive_bytes_per_second_min * (now - self._since)
        slow = link.received_bytes - self._bytes < least
        self._since, self._bytes = now, link.received_bytes
        return slow

    def _stalled(self, link: Link, now: float) -> bool:
        transport = link.transport
        if transport is None:
            return False
        left = untaken(transport)
        if left != self._untaken:
            self._untaken, self._taken_at = left, now
        waits = transport.get_write_buffer_size() > 0  # not with the kernel: there it hinders nobody
        return waits and now - self._taken_at > link.limits.send_stall_seconds_max
