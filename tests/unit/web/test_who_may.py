"""Every address and method that the application has, and the one verb of the engine that it needs.

The routes are read out of the router and of OpenAPI: one that stands in no line of the table fails.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any

import httpx
from archived import BASE, applied
from builders import build, rows
from ruled import JPEG_LS, ruled
from starlette.routing import Mount, Route

from sagittal.archive.access import VERBS, Principal
from sagittal.services.nodes import NodeTable
from sagittal.services.tokens import TokenTable
from sagittal.web.api.rest import create_api
from sagittal.web.api.statement import PATH
from sagittal.web.app import WebApp, routes
from sagittal.web.house import Settings
from sagittal.web.routes import dicom_web

OPEN, KNOWN = "open to all", "whoever has a token"
# What is tried in this order: methods and address, and what they need.
NEEDED = {
    r"GET /(healthz|readyz|)": OPEN,
    r"GET /(ui/\w+|api/docs|stores/\w+/api/docs)": OPEN,
    r"OPTIONS /dicom-web.*": KNOWN,
    r"GET /(metrics|api/(changes|summary|statistics|tombstones|discrepancies|transcoding|nodes.*))": "find",
    r"GET /dicom-web(/studies/\w+(/series/\w+)?)?/(studies|series|instances)(/count)?": "find",
    r"GET /dicom-web/[a-z-]+": "find",
    r"(GET|POST|DELETE) /api/(tokens|nodes|upkeep).*": "admin",
    r"POST /dicom-web/(studies(/\w+)?|[a-z-]+)": "store",
    r"DELETE /(dicom-web|api)/studies/[^/]+(/series/[^/]+(/instances/[^/]+)?)?": "delete",
    r"POST /api/.*/undelete": "undelete",
    r"POST /api/.*/promote": "get",  # `change` is asked for when the version is found
    r"(PATCH|POST|DELETE) /api/(studies|corrections|patients|transcoding)/.*": "change",
    r"GET /(wado|dicom-web/.*|api/(studies|instances)/.*)": "get",
}
BODIES = {
    "nodes": {"peer": "NEW@localhost:104"},
    "tokens": {"name": "new", "digest": "3" * 64, "verbs": ["find"]},
    "merge": {"into": "P1", "reason": "why"},
    "undo": {"corrections": [1]},
    "upkeep": {"verb": "scrub"},
}


def every(app: WebApp) -> list[tuple[str, str]]:
    """Method and address, the parameters filled in; nothing is held at any of them."""
    service = dicom_web(app.house)
    found = {(method, "/dicom-web" + each.path) for each in service for method in each.methods or ()}
    for route in routes(app.house, service):
        if isinstance(route, Route):
            found |= {(method, route.path) for method in route.methods or ()}
        else:
            assert isinstance(route, Mount) and route.path in ("/dicom-web", "/api"), route
    for path, operations in create_api(app.house).openapi()["paths"].items():
        found |= {(method.upper(), "/api" + path) for method in operations}
    found.remove(("GET", PATH))  # of the product alone; a worker takes seconds to print it
    filled = {(method, re.sub(r"\{name\}", "main", path)) for method, path in found if method != "HEAD"}
    return sorted((method, re.sub(r"\{[^}]*\}", "1", path)) for method, path in filled)


def needed(method: str, path: str) -> str:
    found = [verb for pattern, verb in NEEDED.items() if re.fullmatch(pattern, f"{method} {path}")]
    assert found, f"{method} {path} stands in no line of the table"
    return found[0]


async def ask(client: httpx.AsyncClient, method: str, path: str, secret: str) -> int:
    more: dict[str, Any] = {"headers": {"authorization": f"Bearer {secret}"} if secret else {}}
    if path == "/wado":
        more["params"] = {"requestType": "WADO", "studyUID": "1", "seriesUID": "1", "objectUID": "1"}
    if method == "POST" and path.startswith("/dicom-web"):
        more |= {"content": build(1).part10}
        more["headers"]["content-type"] = "application/dicom"
    elif method in ("POST", "PATCH"):
        more["json"] = BODIES.get(path.split("/")[-1], {"attributes": {"PatientSex": "M"}, "reason": "why"})
    return (await client.request(method, path, **more)).status_code


async def test_who_may_what(tmp_path: Path) -> None:
    """With that verb alone, with all but that one, and with no token; and what the audit log says of each."""
    known: dict[str, Principal] = {}
    expected: dict[str, tuple[str, bool]] = {}
    async with ruled(tmp_path, JPEG_LS) as made:
        archive = made.archive
        tables = NodeTable(archive, [], [], {"SAGITTAL"}, True), TokenTable(archive, [], [], "1" * 64)
        settings = Settings(tokens=lambda: known, nodes=tables[0], token_table=tables[1], by_rule=made.by_rule)
        async with applied(archive, settings) as app:
            transport = httpx.ASGITransport(app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url=BASE) as client:
                for method, path in every(app):
                    verb = needed(method, path)
                    for has, verbs in (("has", frozenset({verb})), ("lacks", VERBS - {verb})):
                        name = f"{method} {path} {has}"
                        known = {hashlib.sha256(b"secret").hexdigest(): Principal(name, "token", verbs)}
                        status = await ask(client, method, path, "secret")
                        refused = has == "lacks" and verb in VERBS
                        assert (status == 403) == refused, (name, status)
                        expected[name] = (verb, refused)
                    assert (await ask(client, method, path, "") == 401) == (verb != OPEN), path
                known = {hashlib.sha256(b"secret").hexdigest(): Principal("stranger", "token", frozenset({"find"}), 2)}
                assert await ask(client, "GET", "/dicom-web/studies", "secret") == 403
    written = rows(tmp_path, "SELECT principal, verb, outcome FROM audit")
    assert [row[1:] for row in written if row[0] == "stranger"] == [("enter", "denied")]
    for name, (verb, refused) in expected.items():
        told = [row[2] for row in written if row[0] == name]
        if refused:
            assert told == ["denied"], (name, told)
        elif verb in VERBS:
            assert told and "denied" not in told, (name, told)
        else:
            assert told == [], name
