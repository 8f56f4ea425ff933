"""Machines as text: the names and addresses of hosts. Opens nothing and resolves nothing."""

from __future__ import annotations

import ipaddress

from sagittal.errors import UsageError

_LOOPBACK_NAMES = frozenset({"localhost", "ip6-localhost"})


def authority(host: str, port: int) -> str:
    """`host:port`, as it can be typed: an IPv6 address in brackets (RFC 3986 3.2.2)."""
    return f"[{host}]:{port}" if ":" in host and not host.startswith("[") else f"{host}:{port}"


def check_host(host: str) -> None:
    """UsageError for what can be no name and no address of a machine: a resolver would fail at it, not answer."""
    try:
        host.encode("idna")  # labels of 1 to 63 characters (RFC 1035 2.3.4)
        wrong = not host or not host.isprintable() or " " in host
        if ":" in host:
            ipaddress.IPv6Address(host.removeprefix("[").removesuffix("]"))
    except ValueError:
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
