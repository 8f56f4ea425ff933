"""An archive that speaks DICOMweb (PS3.18): searches, retrievals into files, stores. Ours, Orthanc, dcm4chee, any.

Answers are streamed: an object is never whole in memory. A search is paged (`offset`), since servers cut long answers.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import quote, unquote, urlencode

import httpx
import orjson

from sagittal.client.keys import LEVELS, SERIES_UID, STUDY_UID, UIDS, Question, parameters
from sagittal.client.outcome import Absent, Retrieved, Stored, Unanswered
from sagittal.client.place import Access, Url
from sagittal.client.remote import Arrived, Remark, Sending, named
from sagittal.client.storing.files import ObjectFile
from sagittal.errors import BadRequest, PeerError, PeerRefused, PeerUnreachable, UnsupportedMedia, UsageError, words_of
from sagittal.uid import is_uid

if TYPE_CHECKING:
    from sagittal.client.parts import Sink

DICOM_JSON = "application/dicom+json"
OBJECTS = 'multipart/related; type="application/dicom"; transfer-syntax=*'
_PAGE = 500
_UIDS_AT_ONCE = 100  # of 64 characters each, as servers commonly take request lines of 8 kB
_PLAIN = "*?,:"  # as they are in a query (RFC 3986 3.4); Orthanc doesn't know a percent-encoded asterisk
_TAG = re.compile(r"[0-9A-Fa-f]{8}\Z")
_MORE = "additional results"  # PS3.18 8.3.4.4: how a server says that it cut its answer
# TLS 1.3 tells what it thinks of our certificate only later; and a body may be none of its content coding.
_UNREACHABLE = (httpx.TransportError, httpx.DecodingError, ssl.SSLError)
_RESOURCES = {"study": "studies", "series": "series", "image": "instances"}
_KEYWORDS = {"studies": "StudyInstanceUID", "series": "SeriesInstanceUID", "instances": "SOPInstanceUID"}


@asynccontextmanager
async def open_url(
    url: Url, access: Access, remark: Remark, transport: httpx.AsyncBaseTransport | None = None
) -> AsyncIterator[WebArchive]:
    """A client for the services at `url`; `transport` instead of the network."""
    verify: ssl.SSLContext | bool = access.verification() if url.base.startswith("https:") else True
    headers = access.authorization(url.user)
    limits = access.limits
    timeout = httpx.Timeout(
        limits.response_seconds_max, connect=limits.connect_seconds_max, write=limits.send_stall_seconds_max
    )
    if not (transport or url.may_be_proxied):
        transport = httpx.AsyncHTTPTransport(verify=verify)
    async with httpx.AsyncClient(
        headers=headers, timeout=timeout, verify=verify, transport=transport, follow_redirects=False
    ) as client:
        yield WebArchive(client, url.base, remark)


class WebArchive:
    """The services below one base URL."""

    def __init__(self, client: httpx.AsyncClient, base: str, remark: Remark) -> None:
        self.client, self.base, self.remark = client, base, remark

    @asynccontextmanager
    async def asking(self, method: str, path: str, **more: Any) -> AsyncIterator[httpx.Response]:
        """One request, its answer to be read; PeerUnreachable, PeerRefused or Unanswered when there is none."""
        try:
            async with self.client.stream(method, f"{self.base}{path}", **more) as response:
                if response.is_error or response.is_redirect:
                    await response.aread()
                    refuse(response)
                for text in response.headers.get_list("warning"):
                    if _MORE not in text:
                        self.remark(f"the server warns: {text}")
                yield response
        except httpx.InvalidURL as error:
            raise UsageError(f"{path[:80]!r} is no resource: {error}") from None
        except _UNREACHABLE as error:
            raise PeerUnreachable(f"{self.base}: {words_of(error)}") from None

    async def post(self, path: str, **more: Any) -> httpx.Response:
        """One request whose answer tells, whatever its status; PeerRefused when it is about who we are."""
        try:
            response = await self.client.post(f"{self.base}{path}", **more)
        except _UNREACHABLE as error:
            raise PeerUnreachable(f"{self.base}: {words_of(error)}") from None
        if response.status_code in (401, 403, 404, 405) or response.is_redirect:
            refuse(response)
        return response

    async def find(self, question: Question) -> AsyncGenerator[dict[str, Any], None]:
        left = question.limit
        for part in parts_of(question):
            path, said = search_path(part)
            pairs = [pair for pair in parameters(part, said) if pair[0] not in ("limit", "offset")]
            async for match in self.search(path, pairs, left, question.offset):
                yield match
                left = None if left is None else left - 1

    async def search(
        self, path: str, pairs: Iterable[tuple[str, str]], limit: int | None = None, offset: int = 0
    ) -> AsyncGenerator[dict[str, Any], None]:
        """Every match of a search resource, a page at a time."""
        pairs, seen, first = list(pairs), 0, ""
        while limit is None or seen < limit:
            wanted = _PAGE if limit is None else min(_PAGE, limit - seen)
            page = [*pairs, ("limit", str(wanted)), ("offset", str(offset + seen))]
            address = f"{path}?{urlencode(page, safe=_PLAIN, quote_via=quote)}"
            async with self.asking("GET", address, headers={"accept": DICOM_JSON}) as response:
                matches = await json_array(response)
                more = any(_MORE in text for text in response.headers.get_list("warning"))
            if matches and seen and str(matches[0]) == first:
                return  # a server that knows no offset
            for match in matches:
                yield match
            seen += len(matches)
            if not matches or (len(matches) < wanted and not more):
                return
            first = first or str(matches[0])

    async def get(self, question: Question, out: Path, arrived: Arrived) -> Retrieved:
        from sagittal.client.parts import Objects

        whole = Retrieved.nothing()
        for one in await named(self, replace(question, relational=False)):  # a resource lies below those above it
            for path in retrieve_paths(one):
                part = await self.retrieve(path, Objects(out, arrived), OBJECTS)
                if part.status != Absent.dimse_status or not await self._finds_none(path):
                    whole.add(part)
        return whole

    async def _finds_none(self, path: str) -> bool:
        """Whether a search does not know of a resource either: without services at a URL everything is 404 there."""
        above, _, uid = path.rpartition("/")
        pairs = [(_KEYWORDS[above.rpartition("/")[2]], unquote(uid))]
        try:
            return not [match async for match in self.search(above, pairs, limit=1)]
        except Unanswered:
            return False

    async def retrieve(self, path: str, sink: Sink, accept: str) -> Retrieved:
        """The parts of one resource."""
        from sagittal.client.parts import read_parts

        outcome = Retrieved.nothing()
        try:
            async with self.asking("GET", path, headers={"accept": accept}) as response:
                await read_parts(response, sink)
            if response.status_code == 206:  # Partial Content (PS3.18 10.4.3)
                outcome.status, outcome.comment, outcome.failed = 0xB000, "the server has left something out", 1
        except Unanswered as error:
            outcome.status, outcome.comment, outcome.failed = error.dimse_status, error.text, 1
        except (PeerError, BadRequest, UnsupportedMedia) as error:
            if not sink.count:
                raise
            outcome.status, outcome.comment, outcome.failed = 0x0110, error.text, 1
        outcome.completed = sink.count
        return outcome

    def store(self, files: Sequence[ObjectFile], sending: Sending) -> AsyncIterator[Stored]:
        from sagittal.client.storing.stow import send

        return send(self.post, files, sending)


def parts_of(question: Question) -> Iterator[Question]:
    """The question in parts, of which each has so many UIDs as an address holds; what matches is of one of them."""
    own = [tag for level, tag in UIDS.items() if LEVELS.index(level) <= LEVELS.index(question.level)]
    lists = {tag: list(dict.fromkeys(str(question.keys.get(tag, "")).split("\\"))) for tag in own}
    tag, uids = max(lists.items(), key=lambda of: len(of[1]), default=(0, []))
    if len(uids) <= _UIDS_AT_ONCE or question.order or question.offset:
        yield question
        return
    for at in range(0, len(uids), _UIDS_AT_ONCE):
        yield replace(question, keys={**question.keys, tag: "\\".join(uids[at : at + _UIDS_AT_ONCE])})


def search_path(question: Question) -> tuple[str, list[int]]:
    """The resource of PS3.18 10.6 for a level, below the study or series that the keys name; which keys it says."""
    if question.level not in _RESOURCES:
        raise UsageError("only AET@host:port is asked for patients; ask a URL or a data directory for studies")
    path, said = "", list[int]()
    for tag, resource in ((STUDY_UID, "studies"), (SERIES_UID, "series")):
        uid = question.keys.get(tag, "")
        below = question.level != "study" and (resource == "studies" or question.level == "image")
        if not below or not isinstance(uid, str) or not is_uid(uid):
            break
        path, said = f"{path}/{resource}/{uid}", [*said, tag]
    return f"{path}/{_RESOURCES[question.level]}", said


def retrieve_paths(question: Question) -> list[str]:
    """The resources of PS3.18 10.4 for unique keys; a list of UIDs is a resource each."""
    paths = [""]
    for level, resource in _RESOURCES.items():
        uids = [_segment(uid) for uid in str(question.keys.get(UIDS[level], "")).split("\\")]
        paths = [f"{path}/{resource}/{uid}" for path in paths for uid in uids]
        if level == question.level:
            return paths
    raise UsageError("retrieve studies, series or images")


def _segment(uid: str) -> str:
    """One part of an address. UsageError for what would be another address; servers hold things that are no UIDs."""
    if not uid.strip("."):
        raise UsageError(f"{uid!r} is not a UID")
    return quote(uid, safe="")


async def json_array(response: httpx.Response) -> list[dict[str, Any]]:
    """The matches, or metadata; none for 204, which older servers answer."""
    data = await response.aread()
    if response.status_code == 204 or not data.strip():
        return []
    try:
        matches = orjson.loads(data)
    except ValueError:
        raise PeerError(f"{response.url.host} answered with something else than DICOM JSON") from None
    if not isinstance(matches, list) or not all(map(_is_object, matches)):
        raise PeerError(f"{response.url.host} answered with something else than a list of DICOM JSON")
    return matches


def _is_object(match: object) -> bool:
    """Whether it has tags with elements, and nothing else (PS3.18 F.2)."""
    return isinstance(match, dict) and all(
        _TAG.match(tag) and isinstance(element, dict) and isinstance(element.get("Value", []), list)
        for tag, element in match.items()
    )


def refuse(response: httpx.Response) -> NoReturn:
    """Say why a server refused, as it tells itself."""
    told: object = None
    with suppress(ValueError):
        told = response.json()
    reason = response.reason_phrase
    if isinstance(told, Mapping):  # problem details (RFC 9457); Orthanc has a form of its own
        reason = str(told.get("detail") or told.get("Details") or told.get("Message") or reason)
    text = f"the server answered {response.status_code}: {reason}"
    if response.status_code in (401, 403, 405) or response.is_redirect:
        raise PeerRefused(text)
    raise Absent(text) if response.status_code in (404, 410) else Unanswered(text)
