"""The HTTP face of one archive: the table of routes.

It deliberately knows no clause of PS3.18: those are in `search`, `retrieve`, `store`.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from starlette.requests import ClientDisconnect
from starlette.routing import BaseRoute, Mount, Route, Router

from sagittal.archive.transcoding.maker import Maker
from sagittal.errors import SagittalError
from sagittal.web.api.events import Changes
from sagittal.web.api.health import Health
from sagittal.web.api.lazy import LazyApi
from sagittal.web.crossorigin import named, shown_to
from sagittal.web.house import House, Settings
from sagittal.web.problems import problem
from sagittal.web.render.ahead import Ahead
from sagittal.web.render.shelf import Shelf
from sagittal.web.retrieve.athand import AtHand
from sagittal.web.retrieve.wado_uri import WadoUri
from sagittal.web.routes import Handled, Often, dicom_web
from sagittal.web.security import Guard, default_headers
from sagittal.web.ui.page import Page
from sagittal.web.wire.forwarded import origin, without_prefix
from sagittal.web.wire.uri import PREFIX
from sagittal.workers.pool import Pool

if TYPE_CHECKING:
    from starlette.types import Message, Receive, Scope, Send

    from sagittal.archive.archive import Archive

log = logging.getLogger("sagittal.web")


class WebApp:
    """The ASGI application."""

    def __init__(self, archive: Archive, settings: Settings, workers: Pool, maker: Maker) -> None:
        readers = ThreadPoolExecutor(settings.limits.web.read_threads, thread_name_prefix="web-read")
        limits = settings.limits.web
        pictures, thumbnails = Shelf(limits.pictures_bytes_max), Shelf(limits.thumbnails_bytes_max)
        ahead, at_hand = Ahead(limits.pictures_ahead_max), AtHand(archive, limits.read_chunk_bytes)
        self.house = House(archive, settings, readers, workers, maker, pictures, thumbnails, ahead, at_hand)
        service = dicom_web(self.house)
        made = routes(self.house, service)
        router = Often(service, Router(made, redirect_slashes=False))
        self._inside = Guard(router, settings, archive)
        self._own = {"stores", *(str(getattr(route, "path", "")).split("/", 2)[1] for route in made)}
        self._prefix = urlsplit(settings.public_url or "").path.rstrip("/")

    def drain(self) -> None:
        """End the event streams, so that a drain need not wait for them."""
        self.house.closing.set()

    def close(self) -> None:
        self.house.ahead.close()
        self.house.at_hand.close()
        self.house.readers.shutdown(wait=False, cancel_futures=True)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        seen = origin(scope, self.house.settings.trusted_proxies)
        scope = _without_slash(without_prefix(scope, seen[2] if seen and seen[2] else self._prefix, self._own))
        origins = self.house.settings.origins
        shown = shown_to(named(dict(scope["headers"]), origins)) if origins else ()
        scope["app"] = self  # the router raises for 404 and 405 instead of answering
        started = False

        async def send_with_headers(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                self.house.answers[message["status"]] += 1
                headers = [*message.get("headers", ()), *shown]
                present = {name for name, _ in headers}
                headers += [each for each in default_headers(origins).items() if each[0] not in present]
                message["headers"] = headers
            elif message.get("more_body") and scope["method"] == "GET" and "standing" in scope:
                scope["standing"]()  # of what was done the client learns in any case
            await send(message)

        try:
            await self._inside(scope, receive, send_with_headers)
        except ClientDisconnect:
            return
        except Exception as error:
            if started and isinstance(error, SagittalError):
                log.warning("an answer ends early: %s", error.text)  # uvicorn closes what is not complete
                return
            if started:
                raise
            await problem(error)(scope, receive, send_with_headers)


def _without_slash(scope: Scope) -> Scope:
    """A slash behind an address names the same resource. A redirect would have to know the store and the proxy that
    the request came through, and a client that follows one that doesn't writes into another store.
    """
    path: str = scope["path"]
    sent: bytes = scope.get("raw_path") or path.encode()  # a slash that is percent-encoded is of a name
    return {**scope, "path": path[:-1]} if len(path) > 1 and sent.endswith(b"/") else scope


def create_app(archive: Archive, settings: Settings, workers: Pool, maker: Maker | None = None) -> WebApp:
    """The application for one archive; call it inside the loop that will serve it. Who gives `workers` ends them."""
    return WebApp(archive, settings, workers, maker or Maker(archive, workers, settings.limits))


def routes(house: House, service: Sequence[Route]) -> list[BaseRoute]:
    """Every route, in the order in which they are tried; `service` are those of PS3.18."""
    health, page = Health(house), Page(house)
    root = next(route for route in service if route.path == "/")
    return [
        Handled(PREFIX, root.endpoint, ["OPTIONS"]),  # without its slash, too
        Mount(PREFIX, Router(service, redirect_slashes=False)),
        Route("/wado", WadoUri(house).object),
        Route("/healthz", health.live),
        Route("/readyz", health.ready),
        Route("/metrics", health.metrics),
        Route("/", page.index),
        Route("/ui/{name}", page.asset),
        # Served without the sub-application, which the page must not need.
        Route("/api/changes", Changes(house).changes),
        Route("/api/summary", page.summary),
        Route("/api/docs", page.api),
        Route("/stores/{name}/api/docs", page.api),
        Mount("/api", LazyApi(house)),
    ]
