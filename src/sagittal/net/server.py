"""The DIMSE listener: acceptor of associations on asyncio, one for all services, with caps on what peers may hold open.

Who may come in is decided by `admit`; what is accepted follows from the services.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import ssl
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from sagittal.dicom.sopclasses import WELL_KNOWN
from sagittal.dimse.service import Service
from sagittal.lasting import lasting
from sagittal.limits import NetLimits
from sagittal.net import watch
from sagittal.net.acceptor import Acceptor
from sagittal.net.admission import Admit
from sagittal.ul.negotiation import DEFAULT_ORDER
from sagittal.ul.pdu import CommonExtended

_BACKLOG = 1024
_ACCEPT_PAUSE_SECONDS = 0.1
log = logging.getLogger("sagittal.net")


class DimseServer:
    """Accepts associations for `services`. `associations` and `connections` tell how many there are, `accepted` and
    `rejections` how many there were.
    """

    def __init__(
        self,
        services: Sequence[Service],
        admit: Admit,
        limits: NetLimits,
        aet: str,
        tls: Callable[[], ssl.SSLContext] | None = None,
        syntax_order: tuple[str, ...] = DEFAULT_ORDER,
    ) -> None:
        self.services = tuple(services)
        self.aet = aet
        self.port = 0  # the bound port, once started
        self.admit = admit
        self.limits = limits
        self.syntax_order = syntax_order
        self.draining = False
        self.associations: set[Acceptor] = set()
        self.accepted = 0
        self.rejections: Counter[str] = Counter()  # by result/source/reason of PS3.8 Table 9-21
        self._tls = tls
        self._links: dict[Acceptor, watch.Watch] = {}
        self._unassociated: dict[Acceptor, None] = {}  # oldest first
        self._addresses: Counter[str] = Counter()
        self._tasks: set[asyncio.Task[None]] = set()
        self._offers: dict[str, Service | None] = {}
        self._server: asyncio.Server | None = None
        self._accepting: list[asyncio.Task[None]] = []
        self._watching: asyncio.Task[None] | None = None

    @property
    def connections(self) -> int:
        """All open connections, associations included."""
        return len(self._links)

    async def start(self, host: str, port: int) -> None:
        """Listen; port 0 takes a free one. OSError if the address is taken."""
        loop = asyncio.get_running_loop()
        buffer = memoryview(bytearray(self.limits.receive_buffer_bytes))  # one for all links: see `link`
        plain = self._tls is None
        where: dict[str, Any] = {"host": host, "port": port}
        try:
            if host == "::" and socket.has_dualstack_ipv6():  # the loop would leave out IPv4, which HTTP takes there
                where = {"sock": socket.create_server((host, port), family=socket.AF_INET6, dualstack_ipv6=True)}
            self._server = await loop.create_server(
                lambda: Acceptor(self, buffer, self._tasks), **where, backlog=_BACKLOG, start_serving=plain
            )
        except OSError as error:
            if isinstance(error, socket.gaierror) or not error.errno:
                raise
            raise OSError(error.errno, f"{os.strerror(error.errno)} (port {port})") from None
        self.port = self._server.sockets[0].getsockname()[1]
        if self._tls is not None:
            for bound in self._server.sockets:
                listening = socket.socket(fileno=os.dup(bound.fileno()))
                listening.setblocking(False)
                listening.listen(_BACKLOG)
                self._accepting.append(loop.create_task(self._accept(listening, buffer, self._tls)))
        self._watching = loop.create_task(lasting(self._watch, "looking after connections", log))

    async def _accept(self, listening: socket.socket, buffer: memoryview, tls: Callable[[], ssl.SSLContext]) -> None:
        """Accept for TLS: asyncio would not tell of a connection before its handshake, and those have to count too."""
        loop = asyncio.get_running_loop()

        async def step() -> bool:
            try:
                accepted, _ = await loop.sock_accept(listening)
            except OSError as error:  # it was reset before, or no descriptor is left
                log.warning("a connection could not be accepted: %s", error)
                await asyncio.sleep(_ACCEPT_PAUSE_SECONDS)
            else:
                Acceptor(self, buffer, self._tasks).secure(accepted, tls())
            return True

        with listening:
            await lasting(step, "accepting connections", log)

    async def stop(self, drain_seconds: float) -> None:
        """Take no more associations, let running operations end for at most `drain_seconds`, then abort the rest."""
        self.draining = True
        if self._server is not None:
            self._server.close()
        for each in self._accepting:
            each.cancel()
        loop, why = asyncio.get_running_loop(), "the archive is shutting down"
        deadline, is_late = loop.time() + drain_seconds, False
        while (self._links or self._tasks) and not is_late:
            is_late = loop.time() >= deadline
            for link in [*self._links]:
                if is_late or link.over or link.quiet:
                    link.leave(why)
            await asyncio.sleep(0 if is_late else 0.02)  # the aborts go out
        for link in [*self._links]:
            link.drop(why)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._watching is not None:
            self._watching.cancel()
        await asyncio.sleep(0)  # connections just dropped are told so
        if self._server is not None:
            await self._server.wait_closed()

    async def _watch(self) -> bool:
        await asyncio.sleep(watch.interval(self.limits))
        now = asyncio.get_running_loop().time()
        for link, seen in [*self._links.items()]:
            seen.look(link, now)
        return True

    # For the links

    def opened(self, link: Acceptor) -> bool:
        """A connection was accepted; False if its address has too many."""
        address = link.info.peer_address
        if self._addresses[address] >= self.limits.connections_per_address_max:
            link.log(logging.WARNING, "connection refused", reason="too many connections from this address")
            return False
        self._addresses[address] += 1
        self._links[link] = watch.Watch()
        self._unassociated[link] = None
        # The oldest that still says nothing makes room, so that silent sockets never lock anybody out.
        while len(self._unassociated) > self.limits.connections_unassociated_max:
            oldest = next(iter(self._unassociated))
            self._unassociated.pop(oldest)
            oldest.drop("too many connections without an association")
        return True

    def associated(self, link: Acceptor) -> None:
        """An association was accepted."""
        self._unassociated.pop(link, None)
        self.associations.add(link)
        self.accepted += 1

    def disassociated(self, link: Acceptor) -> None:
        """An association is over; its connection may last a little."""
        if link in self.associations:
            self.associations.discard(link)
            if link in self._links:
                self._unassociated[link] = None

    def closed(self, link: Acceptor) -> None:
        """A connection is gone."""
        if self._links.pop(link, None) is not None:
            self._unassociated.pop(link, None)
            address = link.info.peer_address
            self._addresses[address] -= 1
            if not self._addresses[address]:
                del self._addresses[address]

    def service_of(self, sop_class: str, declared: CommonExtended | None = None) -> Service | None:
        """The service of this class: the first that covers it.

        Of a class unknown to us, private or newer than our tables, the requestor's word counts more than our guess:
        the service class it `declared` (PS3.7 D.3.3.6), or, where that is unknown as well, the general SOP classes that
        it is said to be a special case of. None if we have no such service.
        """
        found = self._covering(sop_class)
        if declared is None or sop_class in WELL_KNOWN or (found is not None and found.lists(sop_class)):
            return found
        if declared.service_class in WELL_KNOWN:
            return next((each for each in self.services if each.service_class == declared.service_class), None)
        general = (self._covering(uid) for uid in declared.related if uid in WELL_KNOWN)
        return next((each for each in general if each is not None), None)

    def _covering(self, sop_class: str) -> Service | None:
        if sop_class not in self._offers:
            if len(self._offers) > 4096:  # private classes are a peer's choice: don't remember them without end
                self._offers.clear()
            found = (service for service in self.services if service.covers(sop_class))
            self._offers[sop_class] = next(found, None)
        return self._offers[sop_class]
