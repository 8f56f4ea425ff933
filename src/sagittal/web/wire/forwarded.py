"""Where the client saw us, when a proxy tells: X-Forwarded-Proto, -Host and -Prefix.

Anybody can send these headers, so they are believed of the peers named in `web.trusted_proxies` only. Of several values
the last is taken, which the nearest proxy added. What is no host or path is left alone. RFC 7239's `Forwarded` is not
read: no proxy in the field sends it unasked.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.types import Scope

Network = IPv4Network | IPv6Network
_HOST = re.compile(rb"(?:[A-Za-z0-9.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::\d{1,5})?\Z")
_PREFIX = re.compile(rb"(?:/[A-Za-z0-9._~-]+)*/?\Z")


def origin(scope: Scope, trusted: Collection[Network]) -> tuple[str, str, str] | None:
    """Scheme, host and path in front of ours as the client used them; None when no trusted proxy tells."""
    if not trusted or not _is_trusted(scope, trusted):
        return None
    told = {name: value.rpartition(b",")[2].strip() for name, value in scope["headers"] if name.startswith(b"x-forw")}
    host, scheme = told.get(b"x-forwarded-host", b""), told.get(b"x-forwarded-proto", b"").lower()
    prefix = told.get(b"x-forwarded-prefix", b"")
    if not _HOST.match(host):
        host = dict(scope["headers"]).get(b"host", b"")
    if scheme not in (b"http", b"https"):
        scheme = scope["scheme"].encode()
    if not _PREFIX.match(prefix):
        prefix = b""
    return scheme.decode(), host.decode("latin-1").lower(), prefix.decode().rstrip("/")


def _is_trusted(scope: Scope, trusted: Collection[Network]) -> bool:
    try:
        peer = ip_address((scope.get("client") or ("",))[0])
    except ValueError:
        return False
    return any(peer in network for network in trusted)
