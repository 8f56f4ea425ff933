"""Every resource below /dicom-web, out of the router's own table, with parameters and payloads that nobody should send.

Whatever comes, nothing is the archive's fault (5xx), and what is refused is told as problem details (RFC 9457). The
archive is a real one with a few objects; the application is called without a socket, so that bytes no client would
send arrive too.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote_from_bytes

import pytest
from builders import CT, build, opened, store, uid
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from lengths import examples

from sagittal.archive.access import LOCAL
from sagittal.archive.archive import Archive
from sagittal.archive.index.keys import KEYS
from sagittal.archive.ingest import Source
from sagittal.dicom import elements, part10
from sagittal.dicom.dictionary import keyword_of
from sagittal.dicom.syntaxes import EXPLICIT_LE, syntax
from sagittal.limits import WorkerLimits
from sagittal.web.app import WebApp, create_app
from sagittal.web.house import Settings
from sagittal.web.routes import RESOURCES, Resource
from sagittal.workers.pool import Pool

OBJECTS = [
    build(1, study="a", patient_name="Doe^Jane", frames=2, extra={"PatientComments": "x"}),
    build(2, study="a", patient_name="Doe^Jane"),
    build(1, study="b", patient_name="Yamada^Tarou=山田^太郎", charset="ISO_IR 192"),
]
PALETTE = uid("palette")  # a non-patient instance
MANY = settings(max_examples=examples(40), suppress_health_check=list(HealthCheck))


ELSEWHERE = ("/api/", "/wado", "/stores/")  # of paths that are not below /dicom-web


class Answer(NamedTuple):
    status: int
    headers: dict[bytes, bytes]
    body: bytes


class Caller:
    """The application, called as a server would."""

    def __init__(self, runner: asyncio.Runner, app: WebApp) -> None:
        self._runner, self._app = runner, app

    def __call__(
        self,
        method: str,
        path: str,
        query: bytes = b"",
        headers: list[tuple[bytes, bytes]] | None = None,
        body: bytes = b"",
    ) -> Answer:
        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "scheme": "http",
            "path": path if path.startswith(ELSEWHERE) else "/dicom-web" + path,
            "raw_path": b"", "query_string": query, "root_path": "",
            "headers": [(b"host", b"localhost:8042"), *(headers or [])],
            "client": ("127.0.0.1", 50_000), "server": ("127.0.0.1", 8042),
        }  # fmt: skip
        return self._runner.run(asyncio.wait_for(self._called(scope, body), 30))

    async def _called(self, scope: dict[str, Any], body: bytes) -> Answer:
        payload = [{"type": "http.request", "body": body, "more_body": False}]
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            if not payload:
                await asyncio.Event().wait()
            return payload.pop()

        async def send(message: Any) -> None:
            sent.append(message)

        await self._app(scope, receive, send)
        headers = {name.lower(): value for name, value in sent[0].get("headers", ())}
        return Answer(sent[0]["status"], headers, b"".join(message.get("body", b"") for message in sent[1:]))


async def store_palette(archive: Archive) -> None:
    sop_class = "1.2.840.10008.5.1.4.39.1"
    transfer = archive.store_begin_part10(LOCAL, Source("stow"))
    transfer.write(part10.meta_group(sop_class, PALETTE, EXPLICIT_LE))
    named = [
        (0x00080016, sop_class.encode() + b"\0"),
        (0x00080018, PALETTE.encode().ljust(len(PALETTE) + 1 & ~1, b"\0")),
    ]
    transfer.write(elements.encode([(tag, "UI", value) for tag, value in named], syntax(EXPLICIT_LE)))
    await transfer.commit()


@contextmanager
def caller(folder: Path) -> Iterator[Caller]:
    with asyncio.Runner() as runner:
        context = opened(folder)
        archive = runner.run(context.__aenter__())
        runner.run(store(archive, *OBJECTS))
        runner.run(store_palette(archive))

        async def make() -> tuple[WebApp, Pool]:
            pool = Pool(WorkerLimits(workers=1))
            return create_app(archive, Settings(), pool), pool

        app, pool = runner.run(make())
        yield Caller(runner, app)
        runner.run(pool.close())
        app.close()
        runner.run(context.__aexit__(None, None, None))


@pytest.fixture(scope="module")
def reading(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Caller]:
    with caller(tmp_path_factory.mktemp("reading") / "data") as called:
        yield called


@pytest.fixture
def call(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Caller]:
    """An archive for each resource that may change it, one for all that are only read."""
    if "resource" in request.fixturenames and request.getfixturevalue("resource").method == "GET":
        yield request.getfixturevalue("reading")
    else:
        with caller(tmp_path / "data") as called:
            yield called


# What stands for a part of a path: what is held, what is not, and what should not be there.
NAUGHTY = st.sampled_from(
    [
        *("", " ", ".", "..", "0", "-1", "1e9", "NaN", "null", "undefined", "1" * 64, "1" * 65, "1" * 5_000, "1..2"),
        *("'", '"', "\\", "\\\\", "%", "%%", "%zz", "*", "?" * 200, "*a" * 60 + "*b", "[", "[!a]", "(", "$", ";", "|"),
        *(
            "' OR 1=1 --",
            "1; DROP TABLE study",
            "../../etc/passwd",
            "<script>alert(1)</script>",
            "{{7*7}}",
            "${jndi:x}",
        ),
        *("\x00", "\x00\x01\x7f", "\r\nX: y", "\u202e", "\ufeff", "\U0010ffff", "é", "é", "ÅΩ", "山田^太郎", "🏥" * 30),
        *("20200101", "20200101-", "-20200101", "20209999", "2020-01-01", "0" * 400, "9" * 400, "-" * 50, "=" * 50),
        *("true", "false", "TRUE", "1.5", "+1", "0x10", "٣", "1_000", "2147483648", "9223372036854775808", '""'),
        *(",", ",,", "a,b", "\\" * 150, "1.2,1.3", "all", "99990010", "7FE00010", "00081199", "^" * 64, "=a=b=c=d"),
        *("1" * 18, "1" * 19, "c1", "AAAA", "{}", "[]", "multipart/related; type=", "application/dicom+json"),
    ]
)
ANYTHING = st.one_of(NAUGHTY, st.text(max_size=30))
HELD = {
    "study": [uid("study", "a"), uid("study", "b")],
    "series": [built.series_uid for built in OBJECTS],
    "instance": [built.sop_instance_uid for built in OBJECTS],
    "uid": [PALETTE],
    "patient": ["P1"],
    "number": ["1", "2"],
    "frames": ["1", "1,2", "2,1,1"],
    "path": ["7FE00010", "00400275/1/00400009"],
}
PARAMETERS = st.sampled_from(
    [
        *("includefield", "limit", "offset", "fuzzymatching", "emptyvaluematching", "multiplevaluematching", "orderby"),
        *("after", "accept", "charset", "annotation", "quality", "viewport", "window", "iccprofile", "presentation"),
        *("length", "zip", "requestType", "transferSyntax", "frameNumber", "deletionLock", "filter", "query"),
        *(keyword_of(tag) for tag in KEYS["IMAGE"]),
        *("PatientComments", "00104000", "00091002", "00090010", "00400275.00400009", "00400275.00091002", "Rows"),
        *("RequestAttributesSequence.ScheduledProcedureStepID", "00400275", "7FE00010", "00280009", "PixelData"),
        *("TimezoneOffsetFromUTC", "InstanceAvailability", "RetrieveAETitle", "RetrieveURL", "SpecificCharacterSet"),
        *("NumberOfStudyRelatedInstances", "AvailableTransferSyntaxUID", ".".join(["00400275"] * 300)),
    ]
)
NAMES = st.one_of(PARAMETERS, PARAMETERS, ANYTHING)
VALUES = st.one_of(ANYTHING, PARAMETERS, PARAMETERS.map(lambda name: f"-{name},{name}"))
PERCENT = st.sampled_from(
    [b"%FF", b"%", b"%%", b"%2", b"%C3%28", b"%00", b"\xff", b"&", b"=", b"&&==", b"+", b";", b"#"]
)


def encoded(pairs: list[tuple[str, str]]) -> bytes:
    return "&".join(
        "=".join(quote_from_bytes(part.encode("utf-8", "surrogatepass")) for part in pair) for pair in pairs
    ).encode()


QUERIES = st.one_of(
    st.lists(st.tuples(NAMES, VALUES), max_size=6).map(encoded),
    st.tuples(NAMES, VALUES, st.integers(2, 250)).map(lambda one: encoded([one[:2]] * one[2])),
    st.lists(st.one_of(st.tuples(NAMES, VALUES).map(lambda one: encoded([one])), PERCENT), max_size=6).map(b"&".join),
    st.binary(max_size=40),
)
ACCEPTS = st.sampled_from(
    [
        *("*/*", "application/dicom+json", "application/json", "text/csv", "", ",", "*", "a/b/c", "image/jpeg", "\xff"),
        *('multipart/related; type="application/dicom+xml"', "multipart/related", 'multipart/related; type="'),
        *('multipart/related; type="application/dicom"; transfer-syntax=*', "application/zip", "application/dicom"),
        *("multipart/related; type=application/octet-stream; transfer-syntax=*", "application/json;q=x", "*/*;q=0"),
    ]
)
HEADERS = st.lists(
    st.one_of(
        st.tuples(st.just(b"accept"), ACCEPTS.map(lambda text: text.encode("latin-1"))),
        st.tuples(
            st.just(b"range"), st.sampled_from([b"bytes=0-3", b"bytes=-0", b"bytes=9-1", b"bytes=a-b", b"x", b""])
        ),
        st.tuples(st.just(b"if-none-match"), st.sampled_from([b"*", b'"x"', b"x", b'W/"', b","])),
        st.tuples(st.sampled_from([b"accept-charset", b"prefer", b"x-forwarded-host"]), st.binary(max_size=20)),
    ),
    max_size=3,
)
PARTS = st.sampled_from(
    [
        b"--e\r\nContent-Type: application/dicom\r\n\r\n", b"\r\n--e--\r\n", b"--e", b"\r\n", b"DICM", b"\x00" * 128,
        b"--e\r\nContent-Type: application/dicom+json\r\n\r\n", b"--e\r\n\r\n", b'[{"00080018":{"vr":"UI"}}]',
        b"[" * 500,
        b'{"reason": 1}', b"null", b"<NativeDicomModel>", b"\xff\xd8\xff\xe0", OBJECTS[0].part10[:600],
    ]
)  # fmt: skip
BODIES = st.one_of(st.binary(max_size=60), st.lists(PARTS, max_size=6).map(b"".join))
TYPES = st.sampled_from(
    [
        *(b'multipart/related; type="application/dicom"; boundary=e', b"multipart/related; boundary=e", b"", b"\xff"),
        *(b'multipart/related; type="application/dicom+json"; boundary=e', b"application/json", b"multipart/related"),
        *(b'multipart/related; type="application/dicom+xml"; boundary=e', b"application/dicom", b"text/plain"),
    ]
)


def place(resource: Resource, draw: Any, *, held: bool) -> str:
    """The path with each of its variables replaced."""

    def value(match: re.Match[str]) -> str:
        known = HELD.get(match[1], ["1"])
        return str(draw(st.sampled_from(known) if held else st.one_of(st.sampled_from(known), ANYTHING)))

    return re.sub(r"\{(\w+)(?::\w+)?\}", value, resource.path)


def check(answer: Answer) -> None:
    assert answer.status < 500, answer
    stored_none = answer.status == 409 and answer.headers[b"content-type"].startswith(b"application/dicom+")
    if answer.status >= 400 and not stored_none:  # PS3.18 10.5.3.3: that has a body of its own
        assert answer.headers[b"content-type"] == b"application/problem+json", answer
        told = json.loads(answer.body)
        assert told["status"] == answer.status and told["detail"]


# Ours, beside PS3.18: what changes what is said of objects, and the statement.
OURS = (
    Resource("PATCH", "/api/studies/{study}", ""),
    Resource("PATCH", "/api/studies/{study}/series/{series}", ""),
    Resource("GET", "/api/studies/{study}/corrections", ""),
    Resource("DELETE", "/api/studies/{study}/corrections/{number}", ""),
    Resource("POST", "/api/patients/{patient}/merge", ""),
    Resource("POST", "/api/corrections/undo", ""),
    Resource("GET", "/api/conformance", ""),
)
ATTRIBUTES = st.dictionaries(
    st.one_of(PARAMETERS, ANYTHING),
    st.recursive(
        st.one_of(VALUES, st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False)),
        lambda inner: st.one_of(
            st.lists(inner, max_size=3),
            st.dictionaries(
                st.sampled_from(["vr", "Value", "BulkDataURI", "Alphabetic", "00080100"]), inner, max_size=3
            ),
        ),
        max_leaves=6,
    ),
    max_size=4,
)
GIVEN = st.fixed_dictionaries(
    {},
    optional={
        "attributes": ATTRIBUTES,
        "reason": VALUES,
        "code": st.sampled_from(["CORRECT", "COERCE", "x"]),
        "into": st.one_of(st.just("P1"), VALUES),
        "corrections": st.lists(st.integers(), max_size=3),
    },
)
every = pytest.mark.parametrize("resource", RESOURCES, ids=lambda one: f"{one.method} {one.path}")


@every
@MANY
@given(data=st.data())
def test_any_parameters(call: Caller, resource: Resource, data: st.DataObject) -> None:
    body = data.draw(BODIES) if resource.method not in ("GET", "DELETE") else b""
    headers = data.draw(HEADERS) + ([(b"content-type", data.draw(TYPES))] if body else [])
    check(call(resource.method, place(resource, data.draw, held=True), data.draw(QUERIES), headers, body))


@every
@MANY
@given(data=st.data())
def test_any_path(call: Caller, resource: Resource, data: st.DataObject) -> None:
    method = data.draw(st.sampled_from([resource.method, resource.method, "GET", "HEAD", "PUT", "TRACE", "XYZZY"]))
    check(call(method, place(resource, data.draw, held=False), b"", data.draw(HEADERS)))


@pytest.mark.parametrize("resource", OURS, ids=lambda one: f"{one.method} {one.path}")
@MANY
@given(data=st.data())
def test_ours(call: Caller, resource: Resource, data: st.DataObject) -> None:
    """The same of what is ours, where JSON that is not as declared is 422."""
    given = GIVEN.map(lambda one: json.dumps(one).encode())
    body = b"" if resource.method == "GET" else data.draw(st.one_of(given, BODIES))
    headers = [(b"content-type", b"application/json")] if body else []
    where = place(resource, data.draw, held=data.draw(st.booleans()))
    check(call(resource.method, where, b"", headers, body))


URI_NAMES = st.one_of(
    st.sampled_from(
        [
            *("requestType", "studyUID", "seriesUID", "objectUID", "contentType", "charset", "anonymize", "annotation"),
            *("rows", "columns", "region", "windowCenter", "windowWidth", "frameNumber", "imageQuality"),
            *("presentationUID", "presentationSeriesUID", "transferSyntax"),
        ]
    ),
    ANYTHING,
)


@settings(MANY, max_examples=examples(150))
@given(st.lists(st.tuples(URI_NAMES, VALUES), max_size=5), st.booleans(), HEADERS)
def test_wado_uri(call: Caller, pairs: list[tuple[str, str]], held: bool, headers: list[tuple[bytes, bytes]]) -> None:
    """PS3.18 9, of what is held or of anything."""
    built = OBJECTS[0]
    named = [("requestType", "WADO"), ("studyUID", built.study_uid), ("seriesUID", built.series_uid)]
    named += [("objectUID", built.sop_instance_uid)]
    check(call("GET", "/wado", encoded([*(named if held else []), *pairs]), headers))


@MANY
@given(ANYTHING, st.sampled_from(["dicom-web/studies", "wado", "api/changes", "stores/main/dicom-web/studies", ""]))
def test_any_store(call: Caller, name: str, below: str) -> None:
    answer = call("GET", f"/stores/{name}/{below}")
    check(answer)
    assert answer.status >= 400 or name == "main"


SEARCHES = [one for one in RESOURCES if one.method == "GET" and "search" in one.handler]


@settings(MANY, max_examples=examples(200))
@given(st.sampled_from(SEARCHES), st.lists(st.tuples(PARAMETERS, VALUES), min_size=1, max_size=3))
@example(SEARCHES[0], [("PatientName", "*a" * 60 + "*b")])
@example(SEARCHES[0], [("after", "x")])
def test_searches(call: Caller, resource: Resource, pairs: list[tuple[str, str]]) -> None:
    """Aimed: parameters that searches have, with values that they should not have."""
    path = re.sub(r"\{(\w+)\}", lambda match: HELD[match[1]][0], resource.path)
    answer = call("GET", path, encoded(pairs))
    check(answer)
    if answer.status == 200:
        json.loads(answer.body)


def test_the_walk_reaches_what_is_held(call: Caller) -> None:
    """Otherwise all of the above could be 404s."""
    for resource in RESOURCES:
        path = re.sub(r"\{(\w+)(?::\w+)?\}", lambda match: HELD[match[1]][0], resource.path)
        held = "{uid}" not in resource.path or resource.path.startswith("/color-palettes/")
        if resource.method == "GET" and held and "{path" not in resource.path:
            answer = call("GET", path, headers=[(b"accept", b"*/*")])
            assert answer.status == 200, (path, answer)
    given = json.dumps({"attributes": {"PatientName": "Roe"}, "reason": "wrong"}).encode()
    where = f"/api/studies/{HELD['study'][0]}"
    assert call("PATCH", where, b"", [(b"content-type", b"application/json")], given).status == 200
    assert len(json.loads(call("GET", f"{where}/corrections").body)) == 1
    named = [("requestType", "WADO"), ("studyUID", OBJECTS[0].study_uid), ("seriesUID", OBJECTS[0].series_uid)]
    named += [("objectUID", OBJECTS[0].sop_instance_uid), ("contentType", "application/dicom")]
    assert call("GET", "/wado", encoded(named)).status == 200
    assert call("GET", "/stores/main/dicom-web/studies").status == 200
    assert json.loads(call("GET", "/instances/count").body) == {"count": len(OBJECTS)}
    assert CT.encode() in call("GET", "/instances").body
