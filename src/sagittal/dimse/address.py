"""Addresses as people type them: `AET@host:port`. Opens nothing and resolves nothing."""

from __future__ import annotations

from typing import NamedTuple

from sagittal.errors import UsageError
from sagittal.hosts import authority, check_host


class PeerAddress(NamedTuple):
    aet: str
    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.aet}@{authority(self.host, self.port)}"


def parse_peer(text: str) -> PeerAddress:
    """`AET@host:port`, the host in brackets when it is an IPv6 address."""
    aet, at, address = text.rpartition("@")
    host, colon, port = address.rpartition(":")
    if not (at and colon and aet.strip() and host and port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise UsageError(f"{text!r} is not AET@host:port, with a port of 1 to 65535")
    check_host(host)
    check_aet(aet)
    return PeerAddress(aet.strip(), host.removeprefix("[").removesuffix("]"), int(port))


def check_aet(text: str, *, padded: bool = True) -> str:
    """The title; UsageError for what is none (PS3.5 6.2, VR AE): blanks alone, control characters, a backslash.

    Blanks around it mean nothing, so a `padded` one may have them.
    """
    title = text.strip()
    right = title and len(text) <= 16 and text.isascii() and text.isprintable() and (padded or text == title)
    if not right or "\\" in text:
        raise UsageError(f"{text!r} is not an AE title (1 to 16 characters, no backslash)")
    return text
