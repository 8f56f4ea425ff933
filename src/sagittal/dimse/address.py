"""Addresses as people type them: `AET@host:port`. Opens nothing and resolves nothing."""

from __future__ import annotations

import ipaddress
from typing import NamedTuple

from sagittal.errors import UsageError

_LOOPBACK_NAMES = frozenset({"localhost", "ip6-localhost"})


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
        raise UsageError(f"{text!r} is not AET@host:port")
    check_host(host)
    check_aet(aet)
    return PeerAddress(aet.strip(), host.removeprefix("[").removesuffix("]"), int(port))


def authority(host: str, port: int) -> str:
    """`host:port`, as it can be typed: an IPv6 address in brackets (RFC 3986 3.2.2)."""
    return f"[{host}]:{port}" if ":" in host and not host.startswith("[") else f"{host}:{port}"


def check_aet(text: str, *, padded: bool = True) -> str:
    """The title; UsageError for what is none (PS3.5 6.2, VR AE): blanks alone, control characters, a backslash.

    Blanks around it mean nothing, so a `padded` one may have them.
    """
    title = text.strip()
    right = title and len(text) <= 16 and text.isascii() and text.isprintable() and (padded or text == title)
    if not right or "\\" in text:
        raise UsageError(f"{text!r} is not an AE title (1 to 16 characters, no backslash)")
    return text


def check_host(host: str) -> None:
    """UsageError for what can be no name and no address of a machine: a resolver would fail at it, not answer."""
    try:
        host.encode("idna")  # labels of 1 to 63 characters (RFC 1035 2.3.4)
        wrong = not host.isprintable() or " " in host
    except UnicodeError:
        wrong = True
    if wrong:
        raise UsageError(f"{host!r} is no name and no address of a host")


def is_loopback(host: str) -> bool:
    """Whether an address or one of the names of loopback."""
    if host.lower() in _LOOPBACK_NAMES:
        return True
    try:
        return ipaddress.ip_address(host.removeprefix("[").removesuffix("]")).is_loopback
    except ValueError:
        return False
