"""Who may ask what over HTTP, before any route sees the request: Host, Origin, bearer token (RFC 6750).

The Host allow-list stops DNS rebinding, the Origin check stops pages of other sites from writing, and no answer can be
read from elsewhere than the origins that are named (`crossorigin`). What a principal may do is decided in
`archive.access` only. There are no sessions, no cookies and no passwords here.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping
from functools import cache, partial
from typing import TYPE_CHECKING

from sagittal.archive.access import LOCAL, Principal, enter
from sagittal.convert.reports.look import STYLE
from sagittal.errors import BadRequest, NotAuthenticated, NotAuthorized, NotFound
from sagittal.web.crossorigin import preflight
from sagittal.web.problems import tell_refused
from sagittal.web.wire import forwarded
from sagittal.web.wire.conditions import unconditional
from sagittal.web.wire.uri import LOOPBACK_HOSTS

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from sagittal.archive.archive import Archive
    from sagittal.web.house import Settings

_STORES, _IN_STORES = "/stores/", ("/dicom-web/", "/wado/", "/api/")
_PORT = re.compile(r"(?::[0-9]{0,5})?\Z")
_SAFE_METHODS = frozenset({"GET", "HEAD"})
_PROBES = frozenset({"/healthz", "/readyz"})  # a prober names us by any address, and learns nothing
_OPEN = re.compile(r"/|/ui/.*|(/stores/[^/]+)?/api/docs")  # the pages themselves; what they show needs the token

# Documents are answered as they were stored: no form or script of theirs may ask for anything. A browser plays a video
# that it was led to by an element of its own, and shows a document in a page of ours or of an origin that is named.
_DOCUMENT_POLICY = (
    f"default-src 'none'; style-src 'sha256-{base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()}'; "
    "media-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
)
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "font-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


@cache
def default_headers(origins: frozenset[str]) -> Mapping[bytes, bytes]:
    """Of every answer that has no other, where pages of `origins` may ask."""
    return {
        b"x-content-type-options": b"nosniff",
        b"referrer-policy": b"no-referrer",
        b"cross-origin-resource-policy": b"same-origin",
        b"content-security-policy": " ".join([_DOCUMENT_POLICY, *sorted(origins)]).encode("ascii"),
        b"cache-control": b"private, no-cache",
    }


class Guard:
    """Sets `scope["principal"]`, in the store of the address, or raises what `app` turns into 4xx; `scope["standing"]`
    raises when that is over while a request lasts.
    """

    def __init__(self, app: ASGIApp, settings: Settings, archive: Archive) -> None:
        self._app, self._settings, self._archive, self._stores = app, settings, archive, archive.stores

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path, answer = scope["path"], None
        if path not in _PROBES:
            try:
                answer = self._answer(scope, path)
            except (NotAuthenticated, NotAuthorized) as error:
                tell_refused(scope, "/".join(path.split("/", 3)[:3])[:80], error.http_status, error.text)
                raise
        await (answer or self._app)(scope, receive, send)

    def _answer(self, scope: Scope, path: str) -> ASGIApp | None:
        """What is answered before any route; None for who is let in to one."""
        headers: dict[bytes, bytes] = dict(scope["headers"])
        host = self._host(scope, headers)
        if scope["method"] not in _SAFE_METHODS:
            self._origin(scope, headers, host)
        if answer := preflight(scope["method"], headers, self._settings.origins):
            return answer
        if not _OPEN.fullmatch(path):
            principal = principal_of(self._settings, headers)
            self._enter(scope, principal)
            scope["standing"] = partial(_standing, self._settings, headers, principal)
        if scope["method"] not in _SAFE_METHODS:
            unconditional(headers)
        return None

    def _enter(self, scope: Scope, principal: Principal) -> None:
        """`/stores/NAME/dicom-web` is `/dicom-web` for one who works in that store; all else is in main."""
        path, number = scope["path"], self._stores["main"]
        if path.startswith(_STORES):
            name, _, below = path.removeprefix(_STORES).partition("/")
            if name not in self._stores or not f"/{below}/".startswith(_IN_STORES):
                raise NotFound("there is no such store or resource")
            number, scope["path"], scope["store"] = self._stores[name], f"/{below}", f"{_STORES}{name}"
        with self._archive.audited(principal, "enter"):
            scope["principal"] = enter(principal, number)

    def _host(self, scope: Scope, headers: dict[bytes, bytes]) -> str:
        if [name for name, _ in scope["headers"]].count(b"host") != 1:
            raise BadRequest("exactly one Host header is needed")
        host = headers[b"host"].decode("latin-1").lower()
        name = host_name(host)
        if not _PORT.match(host, len(name)):  # it becomes part of every address
            raise BadRequest("the Host header is no host and port (RFC 9110 7.2)")
        own = scope["server"][0].removeprefix("::ffff:") if scope.get("server") else ""  # IPv4 on an IPv6 socket
        if name in LOOPBACK_HOSTS or name in self._settings.hosts or name in (own, f"[{own}]"):
            return host
        raise NotAuthorized(f"the host name {name[:80]!r} is not ours; add it to web.hosts if it should be")

    def _origin(self, scope: Scope, headers: dict[bytes, bytes], host: str) -> None:
        origin = headers.get(b"origin", b"").decode("latin-1").lower()
        if not origin:
            if headers.get(b"sec-fetch-site") in (b"cross-site", b"same-site"):
                raise NotAuthorized("a page of another site may not change anything here")
            return
        if origin == f"{scope['scheme']}://{host}" or origin in self._settings.origins:
            return
        seen = forwarded.origin(scope, self._settings.trusted_proxies)
        if seen and origin == f"{seen[0]}://{seen[1]}":
            return
        public = (self._settings.public_url or "").lower()
        if public.split("/")[:3] == origin.split("/"):
            return
        raise NotAuthorized(f"a page of {origin[:80]!r} may not change anything here")


def principal_of(settings: Settings, headers: Mapping[bytes, bytes]) -> Principal:
    """Who asks with these headers, as the tokens are now. NotAuthenticated."""
    scheme, _, token = headers.get(b"authorization", b"").partition(b" ")
    if scheme.lower() == b"bearer" and token.strip():
        principal = settings.tokens().get(hashlib.sha256(token.strip()).hexdigest())
        if principal is None:
            raise NotAuthenticated("the bearer token is not known")
        return principal
    if settings.wants_token:
        raise NotAuthenticated("a bearer token is needed: Authorization: Bearer …")
    return LOCAL


def _standing(settings: Settings, headers: Mapping[bytes, bytes], principal: Principal) -> None:
    """NotAuthenticated if who was let in would not be now, or as another: tokens end, or get other rights."""
    if principal_of(settings, headers) != principal:
        raise NotAuthenticated("the bearer token has other rights by now")


def host_name(host: str) -> str:
    """The name of a Host value without its port; IPv6 addresses keep their brackets."""
    if host.startswith("["):
        return host[: host.find("]") + 1]
    return host.partition(":")[0]
