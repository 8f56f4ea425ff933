"""The archive's own REST, described by OpenAPI: changes, counts, the AE table, tokens; with `deletion` and `versions`.

Imported only when it is first asked for (see `lazy`). It takes no path of the server's disk and no address to fetch.
The verbs are the engine's, which authorizes and audits them; errors become answers where all do, in `web.app`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from fastapi import Body, FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.routing import Route

from sagittal.archive.access import Principal, places
from sagittal.archive.upkeep.imagereport import ImageReport
from sagittal.errors import NotFound, SagittalError
from sagittal.web.api.corrections import add_corrections
from sagittal.web.api.deletion import add_deletion
from sagittal.web.api.events import EVENT_STREAM, Changes
from sagittal.web.api.models import Asking, ChangePage, NodeIn, Problem, TokenIn, as_dict
from sagittal.web.api.statement import add_statement
from sagittal.web.api.transcoding import add_transcoding
from sagittal.web.api.upkeep import add_upkeep
from sagittal.web.api.versions import add_discrepancies, add_versions
from sagittal.web.problems import PROBLEM_JSON, problem, told
from sagittal.web.wire.uri import addresses

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from sagittal.web.house import House, Settings


_BEARER = {
    "type": "http",
    "scheme": "bearer",
    "description": "made by `sagittal config token add NAME`; until there is one, an archive on loopback wants none",
}
_CHALLENGE = {"WWW-Authenticate": {"schema": {"type": "string"}, "description": 'Bearer realm="sagittal"'}}


def create_api(house: House) -> FastAPI:
    """The sub-application for one archive."""
    api = FastAPI(
        title="Sagittal",
        version="1",
        description="The archive's own REST. DICOMweb (PS3.18) is at /dicom-web.",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
        responses={
            401: _problems("No bearer token, or one that is not known") | {"headers": _CHALLENGE},
            403: _problems("This principal may not do this, or a page of this origin or host name may not"),
            "default": _problems("Any error, as problem details (RFC 9457)"),
        },
    )
    _add_security(api, house.settings)
    _add_refusals(api)
    _add_feed(api, house)
    _add_nodes(api, house)
    _add_tokens(api, house)
    add_deletion(api, house)
    add_corrections(api, house)
    add_versions(api, house)
    add_discrepancies(api, house)
    add_upkeep(api, house)
    add_transcoding(api, house)
    _add_docs(api, house)
    return api


def _add_refusals(api: FastAPI) -> None:
    async def refused(request: Request, error: Exception) -> Response:
        answer = problem(error)
        if answer.status_code == 405:
            answer.headers["allow"] = _allowed(api, request.scope["path"].removeprefix(request.scope["root_path"]))
        return answer

    async def not_as_declared(_: Request, error: Exception) -> Response:
        """Where it is wrong, and what is wanted. What was given is not told again: it may be no JSON."""
        assert isinstance(error, RequestValidationError)
        found = (f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
        return told(422, "; ".join(found))

    api.add_middleware(_Failures)
    api.add_exception_handler(SagittalError, refused)
    api.add_exception_handler(HTTPException, refused)
    api.add_exception_handler(RequestValidationError, not_as_declared)


def _allowed(api: FastAPI, path: str) -> str:
    """The methods at an address: each is a route of its own, and the framework names those of the first only."""
    found: set[str] = set()
    for route in api.routes:
        if isinstance(route, Route) and route.path_regex.match(path):
            found |= route.methods or set()
    return ", ".join(sorted(found | ({"HEAD"} if "GET" in found else set())))


def _problems(description: str) -> dict[str, Any]:
    return {"description": description, "content": {PROBLEM_JSON: {"schema": Problem.model_json_schema()}}}


def _add_security(api: FastAPI, settings: Settings) -> None:
    """Say of the whole document what `web.security` asks of every request, as it is now: tokens come and go."""
    described = api.openapi

    def document() -> dict[str, Any]:
        made = described()
        components = made.get("components", {}) | {"securitySchemes": {"bearer": _BEARER}}
        return made | {"components": components, "security": [{"bearer": []}, *([] if settings.wants_token else [{}])]}

    api.openapi = document  # type: ignore[method-assign]  # as FastAPI's documentation has it


class _Failures:
    """Answers what nothing else does, before Starlette answers it as plain text."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def sent(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self._app(scope, receive, sent)
        except Exception as error:
            if started:
                raise
            await problem(error)(scope, receive, send)


def _add_feed(api: FastAPI, house: House) -> None:
    changes = Changes(house)

    @api.get(
        "/changes",
        summary="What happened, in the order it was committed",
        responses={200: {"content": {EVENT_STREAM: {"schema": {"type": "string"}}}}},
    )
    async def get_changes(
        asking: Asking, since: str | None = None, limit: Annotated[int, Query(ge=1, le=10_000)] = 100
    ) -> ChangePage:
        """With `Accept: text/event-stream` the feed goes on as server-sent events; `since=now` skips the past.

        A Last-Event-ID goes before `since`: a client that comes back after it was cut off sends both.
        """
        return ChangePage.model_validate(await changes.page(asking, since, limit))

    images = ImageReport(house.archive.readers)

    @api.get("/statistics", summary="What is held")
    async def get_statistics(
        asking: Asking, images_too: Annotated[bool, Query(alias="images")] = False
    ) -> dict[str, Any]:
        """With `images=true` also `modalities`: what the images of each are like, and how well they compress."""
        found = as_dict(await house.archive.statistics(asking))
        return found | {"modalities": await images.rows(asking)} if images_too else found


def _add_nodes(api: FastAPI, house: House) -> None:
    nodes = house.settings.nodes

    def shown(asking: Principal) -> list[dict[str, Any]]:
        """Without those that work in a store into which this principal is not let."""
        own = {"", *places(asking, house.archive.stores)}
        return [dict(node) for node in nodes.list() if node.get("store", "") in own] if nodes else []

    @api.get("/nodes", summary="The AE table")
    async def get_nodes(asking: Asking) -> list[dict[str, Any]]:
        house.archive.permit(asking, "find", "nodes")
        return shown(asking)

    @api.post("/nodes", status_code=201, summary="Add a node, or change the one of this AE title")
    async def post_node(asking: Asking, node: Annotated[NodeIn, Body()]) -> NodeIn:
        if nodes is None:
            raise NotFound("this archive keeps no AE table")
        lists = {"verbs": frozenset(node.verbs), "addresses": tuple(node.addresses)}
        given = node.model_dump(exclude={"peer"}) | lists | {"syntax_order": tuple(node.syntax_order)}
        await nodes.add(asking, node.peer, **given)
        return node

    @api.get("/nodes/{aet:path}", summary="One node of the AE table")
    async def get_node(asking: Asking, aet: str) -> dict[str, Any]:
        house.archive.permit(asking, "find", f"node {aet[:16]}")
        found = [node for node in shown(asking) if node["aet"] == aet]
        if not found:
            raise NotFound("there is no such node")
        return found[0]

    @api.delete("/nodes/{aet:path}", status_code=204, summary="Remove a node")
    async def delete_node(asking: Asking, aet: str) -> None:
        if nodes is None:
            raise NotFound("this archive keeps no AE table")
        await nodes.remove(asking, aet)


def _add_tokens(api: FastAPI, house: House) -> None:
    tokens = house.settings.token_table

    @api.get("/tokens", summary="The bearer tokens, by name")
    async def get_tokens(asking: Asking) -> list[dict[str, Any]]:
        house.archive.permit(asking, "admin", "tokens")
        return [dict(token) for token in tokens.list()] if tokens else []

    @api.post("/tokens", status_code=201, summary="Add a bearer token, or replace the one of this name")
    async def post_token(asking: Asking, token: Annotated[TokenIn, Body()]) -> None:
        if tokens is None:
            raise NotFound("this archive keeps no tokens")
        await tokens.add(asking, token.name, token.digest, token.verbs, token.store)

    @api.delete("/tokens/{name:path}", status_code=204, summary="End a bearer token")
    async def delete_token(asking: Asking, name: str) -> None:
        if tokens is None:
            raise NotFound("this archive keeps no tokens")
        await tokens.revoke(asking, name)


def _add_docs(api: FastAPI, house: House) -> None:
    """The statement, and the document, whose addresses lead into the store that was asked."""
    add_statement(api, house)

    @api.get("/openapi.json", include_in_schema=False)
    async def document(request: Request) -> JSONResponse:
        at = addresses(request, house.settings)
        return JSONResponse(api.openapi() | {"servers": [{"url": f"{at.here}/api"}]})
