"""The DIMSE listener: PS3.8 acceptor on asyncio, one for all services."""

from __future__ import annotations

import ssl
from collections.abc import Sequence

from sagittal.dimse.service import Service
from sagittal.limits import NetLimits
from sagittal.net.admission import Admit


class DimseServer:
    """Accepts associations for `services`; who may come in is decided by `admit`."""

    def __init__(
        self,
        services: Sequence[Service],
        admit: Admit,
        limits: NetLimits,
        aet: str,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.services = tuple(services)
        self.aet = aet
        self.port = 0  # the bound port, once started
        self._admit, self._limits, self._tls = admit, limits, tls

    async def start(self, host: str, port: int) -> None:
        """Listen; port 0 takes a free one. OSError if the address is taken."""
        raise NotImplementedError

    async def stop(self, drain_seconds: float) -> None:
        """Take no more associations, let running operations end for at most `drain_seconds`, then abort the rest."""
        raise NotImplementedError
