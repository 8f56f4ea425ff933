"""Where the client saw us, when a proxy tells: Forwarded (RFC 7239), or X-Forwarded-Proto, -Host and -Prefix.

Anybody can send these headers, so they are believed of the peers named in `web.trusted_proxies` only. Of several values
the last is taken, which the nearest proxy added. What is no host or path is left alone. `Forwarded` goes before the
others; it has no prefix. A proxy may leave the prefix in the path, or take it away.
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
_PAIR = re.compile(rb'[\s;]*([A-Za-z]{1,20})=("(?:[^"\\]|\\.){0,500}"|[^;,"\s]{0,500})\s*([;,]|\Z)')
_ESCAPED = re.compile(rb"\\(.)")
_PREFIX = re.compile(rb"(?:/[A-Za-z0-9._~-]+)*/?\Z")


def origin(scope: Scope, trusted: Collection[Network]) -> tuple[str, str, str] | None:
    """Scheme, host and path in front of ours as the client used them; None when no trusted proxy tells."""
    if not trusted or not _is_trusted(scope, trusted):
        return None
    told = {name: value.rpartition(b",")[2].strip() for name, value in scope["headers"] if name.startswith(b"x-forw")}
    standard = _standard(scope)
    host = standard.get(b"host") or told.get(b"x-forwarded-host", b"")
    scheme = (standard.get(b"proto") or told.get(b"x-forwarded-proto", b"")).lower()
    prefix = told.get(b"x-forwarded-prefix", b"")
    if not _HOST.match(host):
        host = dict(scope["headers"]).get(b"host", b"")
    if scheme not in (b"http", b"https"):
        scheme = scope["scheme"].encode()
    if not _PREFIX.match(prefix):
        prefix = b""
    return scheme.decode(), host.decode("latin-1").lower(), prefix.decode().rstrip("/")


def _standard(scope: Scope) -> dict[bytes, bytes]:
    """The parameters of the last element of Forwarded; none when it isn't one."""
    text = b",".join(value for name, value in scope["headers"] if name == b"forwarded").strip()
    found: dict[bytes, bytes] = {}
    at = 0
    while at < len(text):
        match = _PAIR.match(text, at)
        if match is None:
            return {}
        name, value, mark = match.groups()
        found[name.lower()] = _ESCAPED.sub(rb"\1", value[1:-1]) if value.startswith(b'"') else value
        at = match.end()
        if mark == b"," and at < len(text):
            found = {}
    return found


def without_prefix(scope: Scope, prefix: str, own: Collection[str]) -> Scope:
    """The scope with a path that begins behind the prefix, when a proxy left that there. `own` are the first segments
    of our own paths, which are never taken for one.
    """
    path: str = scope["path"]
    if not prefix or not path.startswith(prefix + "/") or path.split("/", 2)[1] in own:
        return scope
    raw: bytes = scope.get("raw_path") or b""
    behind = raw[len(prefix) :] if raw.startswith(prefix.encode() + b"/") else raw
    return {**scope, "path": path[len(prefix) :], "raw_path": behind}


def _is_trusted(scope: Scope, trusted: Collection[Network]) -> bool:
    try:
        peer = ip_address((scope.get("client") or ("",))[0].removeprefix("::ffff:"))  # IPv4 on an IPv6 socket
    except ValueError:
        return False
    return any(peer in network for network in trusted)
