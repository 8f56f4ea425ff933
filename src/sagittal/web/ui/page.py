"""The pages at `/` and `/api/docs`: fixed files of this folder, and the one route of JSON that the first shows.

No template and no build: text comes into the page as text nodes only (PAGE_POLICY allows no inline script). That JSON
comes along with the page, too, for whoever needs no token: one request shows it all, also to what runs no script. The
language is chosen by Accept-Language, and by the switch on the page. Behind a proxy that adds a prefix, the addresses
of a page begin with it; its scripts find it in their own.
"""

from __future__ import annotations

import hashlib
import re
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import orjson
from starlette.responses import Response

from sagittal.archive.access import Principal, enter, places
from sagittal.archive.index import MAIN_STORE
from sagittal.errors import NotFound, SagittalError
from sagittal.web.security import PAGE_POLICY, principal_of
from sagittal.web.wire.uri import addresses

if TYPE_CHECKING:
    from starlette.requests import Request

    from sagittal.archive.upkeep.statistics import LatestStudy
    from sagittal.web.house import House, Settings

LANGUAGES = ("en", "es")
ASSETS = {
    "style.css": "text/css; charset=utf-8",
    "page.js": "text/javascript; charset=utf-8",
    "words.js": "text/javascript; charset=utf-8",
    "kept.js": "text/javascript; charset=utf-8",
    "api.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}
_LATEST = 20


class Page:
    """GET of `/`, `/ui/…`, `/api/docs` and `/api/summary`."""

    def __init__(self, house: House) -> None:
        self._house = house

    async def index(self, request: Request) -> Response:
        language, settings = language_of(request.headers.get("accept-language", "")), self._house.settings
        try:
            principal = principal_of(settings, {})  # whoever shows no token: a browser has none to show here
            told = await self._summary(request, enter(principal, MAIN_STORE))
        except SagittalError:
            told = b"null"  # the page asks for it, and says what is the matter
        answer = html("index.html", request, settings, language, told)
        answer.headers["vary"] = "accept-language"
        return answer

    async def api(self, request: Request) -> Response:
        return html("api.html", request, self._house.settings)

    async def asset(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name not in ASSETS:
            raise NotFound("no such file of the page")
        body = read_asset(name)
        tag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
        headers = {"etag": tag, "content-type": ASSETS[name]}
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers=headers)
        return Response(body, headers=headers)

    async def summary(self, request: Request) -> Response:
        return Response(await self._summary(request, request.scope["principal"]), media_type="application/json")

    async def _summary(self, request: Request, principal: Principal) -> bytes:
        settings = self._house.settings
        counts = await self._house.archive.statistics(principal)
        stores = self._house.archive.stores
        body = {
            "aet": settings.aet if principal.store == MAIN_STORE else settings.aets.get(principal.store, ""),
            "store": next(name for name, number in stores.items() if number == principal.store),
            "stores": list(places(principal, stores)),
            "host": urlsplit(addresses(request, settings).root).hostname,
            "dimse_port": settings.dimse_port,
            "senders": settings.senders,
            "durability": settings.durability,
            "ready": [*self._house.archive.ready(), *settings.ready()],
            "studies": counts.studies,
            "series": counts.series,
            "instances": counts.instances,
            "bytes": counts.bytes,
            "cursor": await self._house.archive.newest_change(principal),
            "transcoding": await self._transcoding(principal),
            "latest": [_study(study) for study in await self._house.archive.latest_studies(principal, _LATEST)],
        }
        return orjson.dumps(body)

    async def _transcoding(self, principal: Principal) -> dict[str, int] | None:
        """How far the rules are; None without any."""
        by_rule = self._house.settings.by_rule
        if by_rule is None or not by_rule.rules:
            return None
        return (await by_rule.tally(principal))._asdict()


def _study(study: LatestStudy) -> dict[str, str | int]:
    return {
        "study": study.study_uid,
        "date": study.study_date,
        "name": study.patient_name,
        "id": study.patient_id,
        "modalities": study.modalities,
        "description": study.study_description,
        "instances": study.instances,
    }


def language_of(accept_language: str) -> str:
    """The best of our languages (RFC 9110 12.5.4), English otherwise."""
    best, best_quality = LANGUAGES[0], 0.0
    for item in accept_language[:1000].split(","):
        name, _, parameters = item.strip().lower().partition(";")
        language = name.strip().partition("-")[0]
        try:
            quality = float(parameters.replace(" ", "").removeprefix("q=") or 1)
        except ValueError:
            continue
        if language in LANGUAGES and quality > best_quality:
            best, best_quality = language, quality
    return best


def html(
    name: str, request: Request, settings: Settings, language: str = LANGUAGES[0], told: bytes = b"null"
) -> Response:
    """A page in a language, with the JSON `told`; what it loads and leads to is where the client finds it."""
    text = read_asset(name).replace(b'<html lang="en">', f'<html lang="{language}">'.encode("ascii"), 1)
    prefix = urlsplit(addresses(request, settings).root).path
    text = re.sub(rb'(href|src)="/', rb'\1="' + prefix.encode("ascii") + b"/", text)
    text = text.replace(b">null</script>", b">" + told.replace(b"<", rb"\u003c") + b"</script>")
    return Response(text, headers={"content-security-policy": PAGE_POLICY}, media_type="text/html; charset=utf-8")


@cache
def read_asset(name: str) -> bytes:
    """A file of this folder; `name` is ours, never a request's."""
    return files(__package__).joinpath(name).read_bytes()
