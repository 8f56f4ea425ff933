"""The HTTP face of one archive: the table of routes, and the one place where an error becomes an HTTP answer.

Errors answer as problem details (RFC 9457). It deliberately knows no clause of PS3.18: that is in `stow`, `wado`,
`qido`.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import orjson
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route, Router

from sagittal.errors import SagittalError
from sagittal.limits import Limits
from sagittal.web.security import DEFAULT_HEADERS, Guard

if TYPE_CHECKING:
    from starlette.types import Message, Receive, Scope, Send

    from sagittal.archive.access import Principal
    from sagittal.archive.archive import Archive

log = logging.getLogger("sagittal.web")


class Nodes(Protocol):
    """The AE table as `/api/nodes` shows and changes it; each verb is authorized and audited by its maker."""

    def list(self) -> Sequence[Mapping[str, Any]]: ...

    def add(self, principal: Principal, peer: str, **more: Any) -> Awaitable[None]: ...

    def remove(self, principal: Principal, aet: str) -> Awaitable[bool]: ...


class TokenTable(Protocol):
    """The bearer tokens as `/api/tokens` shows and changes them, by name; digests stay inside."""

    def list(self) -> Sequence[Mapping[str, Any]]: ...

    def add(self, principal: Principal, name: str, digest: str, verbs: Iterable[str]) -> Awaitable[None]: ...

    def revoke(self, principal: Principal, name: str) -> Awaitable[bool]: ...


class Listener(Protocol):
    """What the DIMSE listener counts, for `/metrics`."""

    @property
    def associations(self) -> Collection[object]: ...

    @property
    def connections(self) -> int: ...

    @property
    def accepted(self) -> int: ...

    @property
    def rejections(self) -> Mapping[str, int]: ...


def _no_tokens() -> Mapping[str, Principal]:
    return {}


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything but the archive itself."""

    aet: str = "SAGITTAL"
    dimse_port: int = 11112
    loopback: bool = True  # bound to loopback: without tokens, the local principal may do all
    hosts: frozenset[str] = frozenset()  # names browsers may use for us, beside loopback and the address connected to
    origins: frozenset[str] = frozenset()  # `https://viewer.example`: pages that may write; none is the default
    public_url: str | None = None  # what clients see in front of a proxy, without a slash at the end
    tokens: Callable[[], Mapping[str, Principal]] = _no_tokens  # SHA-256 of a bearer token, hexadecimal -> who it is
    nodes: Nodes | None = None
    token_table: TokenTable | None = None
    listener: Listener | None = None
    ready: Callable[[], Sequence[str]] = tuple  # reasons not to be ready, beside the archive's own
    durability: str = "full"
    duplicates: str = "keep-first"  # other content under a held SOP Instance UID: one of archive.ingest.POLICIES
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True, slots=True)
class House:
    """What the handlers share."""

    archive: Archive
    settings: Settings
    readers: ThreadPoolExecutor
    closing: asyncio.Event = field(default_factory=asyncio.Event)
    answers: Counter[int] = field(default_factory=Counter)  # HTTP status -> how often


class WebApp:
    """The ASGI application."""

    def __init__(self, archive: Archive, settings: Settings) -> None:
        readers = ThreadPoolExecutor(settings.limits.web.read_threads, thread_name_prefix="web-read")
        self.house = House(archive, settings, readers)
        self._inside = Guard(Router(routes(self.house), redirect_slashes=False), settings)

    def drain(self) -> None:
        """End the event streams, so that a drain need not wait for them."""
        self.house.closing.set()

    def close(self) -> None:
        self.house.readers.shutdown(wait=False, cancel_futures=True)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        scope["app"] = self  # the router raises for 404 and 405 instead of answering
        started = False

        async def send_with_headers(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                self.house.answers[message["status"]] += 1
                _add_headers(message)
            await send(message)

        try:
            await self._inside(scope, receive, send_with_headers)
        except ClientDisconnect:
            return
        except Exception as error:
            if started:
                raise
            await problem(error)(scope, receive, send_with_headers)


def _add_headers(message: Message) -> None:
    headers = message.setdefault("headers", [])
    present = {name for name, _ in headers}
    headers.extend((name, value) for name, value in DEFAULT_HEADERS.items() if name not in present)


def problem(error: Exception) -> Response:
    """The answer for an error: the HTTP status its class carries, and its text."""
    headers = {}
    if isinstance(error, SagittalError):
        status, text = error.http_status, error.text
    elif isinstance(error, HTTPException):
        status, text, headers = error.status_code, error.detail, dict(error.headers or {})
    else:
        log.exception("a request failed", exc_info=error)
        status, text = 500, "the archive failed at this; its log says why"
    if status == 401:
        headers["www-authenticate"] = 'Bearer realm="sagittal"'
    if status == 503:
        headers["retry-after"] = "5"
    body: dict[str, Any] = {"status": status, "title": type(error).__name__, "detail": text}
    if isinstance(error, HTTPException):
        body["title"] = error.detail
    return Response(orjson.dumps(body), status, headers, media_type="application/problem+json")


def create_app(archive: Archive, settings: Settings) -> WebApp:
    """The application for one archive; call it inside the loop that will serve it."""
    return WebApp(archive, settings)


def routes(house: House) -> list[BaseRoute]:
    """Every route, in the order in which they are tried."""
    from sagittal.web.api.events import Changes
    from sagittal.web.api.health import Health
    from sagittal.web.api.lazy import LazyApi
    from sagittal.web.ui.page import Page

    health, page = Health(house), Page(house)
    return [
        Mount("/dicom-web", routes=_dicom_web(house)),
        Route("/healthz", health.live),
        Route("/readyz", health.ready),
        Route("/metrics", health.metrics),
        Route("/", page.index),
        Route("/ui/{name}", page.asset),
        # Served without the sub-application, which the page must not need.
        Route("/api/changes", Changes(house).changes),
        Route("/api/summary", page.summary),
        Mount("/api", LazyApi(house)),
    ]


def _dicom_web(house: House) -> list[BaseRoute]:
    """PS3.18 10."""
    from sagittal.web.frames import Frames
    from sagittal.web.qido import Qido
    from sagittal.web.stow import Stow
    from sagittal.web.wado import Wado

    stow, wado, qido, frames = Stow(house), Wado(house), Qido(house), Frames(house)
    study = "/studies/{study}"
    series = study + "/series/{series}"
    instance = series + "/instances/{instance}"
    return [
        Route("/studies", stow.store, methods=["POST"]),
        Route(study, stow.store, methods=["POST"]),
        Route("/studies", qido.studies),
        Route("/series", qido.series),
        Route("/instances", qido.instances),
        Route(study + "/series", qido.series),
        Route(study + "/instances", qido.instances),
        Route(series + "/instances", qido.instances),
        Route(instance + "/frames/{frames}", frames.frames),
        Route(instance + "/bulkdata/{path:path}", frames.bulk_data),
        *(Route(level + "/metadata", wado.metadata) for level in (study, series, instance)),
        *(Route(level, wado.objects) for level in (study, series, instance)),
    ]
