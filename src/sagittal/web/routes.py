"""The resources of PS3.18 below /dicom-web as one table: the router reads it, and so do the tests that walk them all.

A handler is named `module:Class.verb` within this room, and imported when the application is made. Resources are tried
in this order. Deliberately not here: what a resource does.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, NamedTuple

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.routing import Route, compile_path

from sagittal.dicom.sopclasses import NON_PATIENT
from sagittal.web.wire.uri import PREFIX

if TYPE_CHECKING:
    from starlette.responses import Response
    from starlette.types import ASGIApp, Receive, Scope, Send

    from sagittal.web.house import House


Handler = Callable[[Request], Awaitable["Response"]]


class Resource(NamedTuple):
    method: str
    path: str
    handler: str


STUDY = "/studies/{study}"
SERIES = STUDY + "/series/{series}"
INSTANCE = SERIES + "/instances/{instance}"
_LEVELS = (STUDY, SERIES, INSTANCE)
_FRAME_LIST = INSTANCE + "/frames/{frames}"
_SEARCHES = {
    "/studies": "studies",
    "/series": "series",
    "/instances": "instances",
    STUDY + "/series": "series",
    STUDY + "/instances": "instances",
    SERIES + "/instances": "instances",
}
_STOW, _QIDO, _WADO = "store.stow:Stow", "search.qido:Qido", "retrieve.wado:Wado"
_FRAMES, _BULK, _RENDERED = "retrieve.frames:Frames", "retrieve.bulk.bulkdata:BulkData", "render.rendered:Rendered"
_NON_PATIENT, _CAPABILITIES = "nonpatient.service:NonPatient", "retrieve.capabilities:Capabilities.options"

RESOURCES: tuple[Resource, ...] = (
    # Store: 10.5
    Resource("POST", "/studies", f"{_STOW}.store"),
    Resource("POST", STUDY, f"{_STOW}.store"),
    # Search: 10.6. The numbers of results are ours.
    *(Resource("GET", path, f"{_QIDO}.{found}") for path, found in _SEARCHES.items()),
    *(Resource("GET", path + "/count", f"{_QIDO}.count_{found}") for path, found in _SEARCHES.items()),
    # Retrieve: 10.4
    Resource("GET", _FRAME_LIST, f"{_FRAMES}.frames"),
    Resource("GET", INSTANCE + "/bulkdata/{path:path}", f"{_BULK}.value"),
    *(Resource("GET", level + "/bulkdata", f"{_BULK}.all") for level in _LEVELS),
    *(Resource("GET", level + "/pixeldata", f"{_BULK}.pixel_data") for level in _LEVELS),
    *(Resource("GET", level + "/metadata", "retrieve.metadata:Metadata.metadata") for level in _LEVELS),
    *(Resource("GET", level + "/rendered", f"{_RENDERED}.several") for level in (STUDY, SERIES)),
    Resource("GET", INSTANCE + "/rendered", f"{_RENDERED}.instance"),
    Resource("GET", _FRAME_LIST + "/rendered", f"{_RENDERED}.frames"),
    *(Resource("GET", level + "/thumbnail", f"{_RENDERED}.thumbnail") for level in (*_LEVELS, _FRAME_LIST)),
    *(Resource("GET", level, f"{_WADO}.objects") for level in _LEVELS),
    # Non-patient instances: 12
    *(Resource("GET", f"/{name}", f"{_NON_PATIENT}.search") for name in NON_PATIENT),
    *(Resource("POST", f"/{name}", f"{_STOW}.store") for name in NON_PATIENT),
    *(Resource("GET", f"/{name}/{{uid}}", f"{_NON_PATIENT}.retrieve") for name in NON_PATIENT),
    *(Resource("GET", f"/{name}/{{uid}}/bulkdata/{{path:path}}", f"{_NON_PATIENT}.value") for name in NON_PATIENT),
    # Delete: ours, as other archives have it
    *(Resource("DELETE", level, "retrieve.removal:Removal.delete") for level in _LEVELS),
    # Capabilities: 8.9
    Resource("OPTIONS", "/", _CAPABILITIES),
)


_OFTEN = {
    "/studies": "POST",
    **dict.fromkeys((_FRAME_LIST, _FRAME_LIST + "/rendered", INSTANCE + "/rendered", INSTANCE + "/thumbnail"), "GET"),
}


class Often:
    """In front of the router: what is asked image by image is found by the words of its path, no pattern tried."""

    def __init__(self, service: Iterable[Route], router: ASGIApp) -> None:
        """`service` is what the router has below /dicom-web."""
        self._router = router
        self._known: dict[tuple[int | str, ...], tuple[list[str], Handler]] = {}
        for route in service:
            if (method := _OFTEN.get(route.path)) in (route.methods or ()):
                words = (PREFIX + route.path).split("/")  # every other one is a parameter
                known = [name.strip("{}") for name in words[3::2]], route.endpoint
                self._known[str(method), len(words), *words[::2]] = known

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        found = self.find(scope["method"], scope["path"])
        if found is None:
            await self._router(scope, receive, send)
            return
        handler, scope["path_params"] = found
        answer = await handler(Request(scope, receive, send))
        await answer(scope, receive, send)

    def find(self, method: str, path: str) -> tuple[Handler, dict[str, str]] | None:
        """The handler and its parameters; None: the router knows better."""
        words = path.split("/")
        found = self._known.get((method if method != "HEAD" else "GET", len(words), *words[::2]))
        if found is None or words[1] != PREFIX[1:] or not all(words[3::2]):
            return None
        names, handler = found
        return handler, dict(zip(names, words[3::2], strict=True))


class Handled(Route):
    """A route whose handler is called without Starlette's own handling of errors: `app` and `problems` have ours."""

    def __init__(self, path: str, handler: Handler, methods: Sequence[str]) -> None:
        super().__init__(path, handler, methods=methods)

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            response = await handler(Request(scope, receive, send))
            await response(scope, receive, send)

        self.app = app

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As Starlette does, but 405 names the methods of the resource: each is a route of its own here."""
        if self.methods and scope["method"] not in self.methods:
            raise HTTPException(405, headers={"Allow": allowed(scope["path"])})
        await self.app(scope, receive, send)


def allowed(path: str) -> str:
    """The methods of the resource at an address below /dicom-web, as `Allow` has them (RFC 9110 10.2.1)."""
    below = path.partition(PREFIX)[2] or "/"
    methods = {each.method for each in RESOURCES if compile_path(each.path)[0].match(below)}
    return ", ".join(sorted(methods | {"OPTIONS"} | ({"HEAD"} if "GET" in methods else set())))


def dicom_web(house: House) -> list[Route]:
    """The table as routes; each class of handlers is made once. Every resource says its methods (8.9)."""
    made: dict[str, object] = {}

    def route(method: str, path: str, handler: str) -> Handled:
        where, _, verb = handler.rpartition(".")
        if where not in made:
            module, _, name = where.partition(":")
            made[where] = getattr(import_module(f"sagittal.web.{module}"), name)(house)
        return Handled(path, getattr(made[where], verb), [method])

    paths = dict.fromkeys(each.path for each in RESOURCES)
    return [*(route(*each) for each in RESOURCES), *(route("OPTIONS", path, _CAPABILITIES) for path in paths)]
