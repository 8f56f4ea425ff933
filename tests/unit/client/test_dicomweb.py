"""The DICOMweb client against servers of every temper: pages, credentials, refusals, broken answers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from mimetypes import MimeTypes
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest
from builders import build

from sagittal.client.dicomweb import open_url, retrieve_paths, search_path
from sagittal.client.keys import Question, parse_keys
from sagittal.client.outcome import Stored, Unanswered
from sagittal.client.parts import Numbered
from sagittal.client.place import Access, Url, parse_place, parse_url
from sagittal.client.storing.stow import answer_of
from sagittal.dimse.address import PeerAddress
from sagittal.errors import PeerError, PeerRefused, SagittalError, UsageError
from sagittal.web.retrieve.capabilities import media_types
from sagittal.web.routes import RESOURCES
from sagittal.web.store.became import encode
from sagittal.web.wire.accept import media_type

Handler = Callable[[httpx.Request], httpx.Response]


def found(handler: Handler, question: Question, access: Access | None = None) -> tuple[list[dict], list[str]]:
    remarks: list[str] = []

    async def run() -> list[dict]:
        transport = httpx.MockTransport(handler)
        async with open_url(Url("http://archive/dicom-web"), access or Access(), remarks.append, transport) as archive:
            return [match async for match in archive.find(question)]

    return asyncio.run(run()), remarks


def rows(count: int, of: int) -> Handler:
    """A server of `of` studies that answers `count` at a time."""

    def handle(request: httpx.Request) -> httpx.Response:
        offset, limit = int(request.url.params["offset"]), min(int(request.url.params["limit"]), count)
        there = [{"0020000D": {"vr": "UI", "Value": [f"1.2.{number}"]}} for number in range(of)]
        more = offset + limit < of
        warning = {"warning": '299 x "There are additional results that can be requested."'} if more else {}
        return httpx.Response(200, json=there[offset : offset + limit], headers=warning)

    return handle


@pytest.mark.parametrize(("count", "of"), [(10, 35), (500, 1200), (1000, 500), (10, 0)])
def test_a_search_reads_every_page(count: int, of: int) -> None:
    matches, remarks = found(rows(count, of), Question("study"))
    assert [match["0020000D"]["Value"][0] for match in matches] == [f"1.2.{number}" for number in range(of)]
    assert not remarks
    assert len(found(rows(count, of), Question("study", limit=7))[0]) == min(7, of)


@pytest.mark.parametrize(
    ("number", "limit", "requests"), [(100, None, 1), (101, None, 2), (250, None, 3), (250, 150, 2)]
)
def test_a_list_of_uids_is_asked_for_in_parts(number: int, limit: int | None, requests: int) -> None:
    """An address does not hold them all: 64 kB are the most that even we send or take, 8 kB what servers usually do."""
    asked: list[str] = []

    def handle(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.params["0020000D"])
        uids = asked[-1].split(",")[: int(request.url.params["limit"])]
        return httpx.Response(200, json=[{"0020000D": {"vr": "UI", "Value": [uid]}} for uid in uids])

    uids = [f"1.2.{at}" for at in range(number)]
    question = Question("study", {0x0020000D: "\\".join(uids + uids[: number // 101])}, limit=limit)
    assert [match["0020000D"]["Value"][0] for match in found(handle, question)[0]] == uids[:limit]
    assert len(asked) == requests and max(uids.count(",") for uids in asked) < 100


def test_a_server_without_pages_is_asked_once_more_at_the_most() -> None:
    asked = []

    def handle(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(200, json=[{"0020000D": {"vr": "UI", "Value": [f"1.{n}"]}} for n in range(500)])

    assert len(found(handle, Question("study"))[0]) == 500
    assert len(asked) == 2


def test_no_content_is_no_match() -> None:
    assert found(lambda _: httpx.Response(204), Question("study"))[0] == []


def test_a_warning_is_passed_on() -> None:
    answer = httpx.Response(200, json=[], headers={"warning": '299 x "The fuzzymatching parameter is not supported."'})
    assert "fuzzymatching" in found(lambda _: answer, Question("study", fuzzy=True))[1][0]


@pytest.mark.parametrize(
    ("access", "header"),
    [(Access(token="t0"), "Bearer t0"), (Access(user="a:b"), "Basic YTpi"), (Access(), None)],
)
def test_who_we_are(access: Access, header: str | None) -> None:
    def handle(request: httpx.Request) -> httpx.Response:
        assert request.headers.get("authorization") == header
        return httpx.Response(200, json=[])

    found(handle, Question("study"), access)


@pytest.mark.parametrize(
    ("set_", "access", "header"),
    [
        ({"SAGITTAL_USER": "jane:s3:cret"}, Access(), "Basic amFuZTpzMzpjcmV0"),
        ({"SAGITTAL_TOKEN": "t0"}, Access(), "Bearer t0"),
        ({"SAGITTAL_USER": "jane:x", "SAGITTAL_TOKEN": "t0"}, Access(), "Bearer t0"),
        ({"SAGITTAL_USER": "jane:x", "SAGITTAL_TOKEN": "t0"}, Access(user="a:b"), "Basic YTpi"),
        ({"SAGITTAL_USER": "jane:x"}, Access(token="t1"), "Bearer t1"),
    ],
)
def test_who_we_are_by_the_environment(
    set_: dict[str, str], access: Access, header: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("SAGITTAL_USER", "SAGITTAL_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    for name, value in set_.items():
        monkeypatch.setenv(name, value)
    test_who_we_are(access.with_environment(), header)


@pytest.mark.parametrize(
    ("status", "error"), [(401, PeerRefused), (403, PeerRefused), (302, PeerRefused), (500, SagittalError)]
)
def test_a_refusal_says_why(status: int, error: type[SagittalError]) -> None:
    with pytest.raises(error, match=f"{status}.*because"):
        found(lambda _: httpx.Response(status, json={"detail": "because"}), Question("study"))


def test_what_is_no_dicom_json_is_an_error() -> None:
    odd = (b"[1]", b"[null]", b'[{"00100010":"x"}]', b'[{"00100010":{"vr":"PN","Value":"x"}}]', b'[{"a":{"vr":"PN"}}]')
    for body in (b"<html>", b'{"a":1}', *odd):
        with pytest.raises(SagittalError, match="something else"):
            found(lambda _, body=body: httpx.Response(200, content=body), Question("study"))  # type: ignore[misc]


@pytest.mark.parametrize("match", [{}, {"0020000D": {"vr": "UI", "Value": [None]}}])
def test_a_match_without_its_unique_key_is_not_retrieved(match: dict, tmp_path: Path) -> None:
    async def run() -> None:
        transport = httpx.MockTransport(lambda _: httpx.Response(200, json=[match]))
        async with open_url(Url("http://archive"), Access(), print, transport) as archive:
            await archive.get(Question("study", parse_keys(["PatientID=1"])), tmp_path, print)

    with pytest.raises(PeerError, match="without its unique key"):
        asyncio.run(run())


def test_resources_by_the_keys() -> None:
    keys = parse_keys(["StudyInstanceUID=1.2", "SeriesInstanceUID=1.3", "Modality=CT"])
    assert search_path(Question("image", keys))[0] == "/studies/1.2/series/1.3/instances"
    assert search_path(Question("series", keys))[0] == "/studies/1.2/series"
    assert search_path(Question("study", keys)) == ("/studies", [])
    assert search_path(Question("image", parse_keys(["SeriesInstanceUID=1.3"])))[0] == "/instances"
    with pytest.raises(UsageError):
        search_path(Question("patient"))
    two = parse_keys(["StudyInstanceUID=1.2", "SeriesInstanceUID=1.3", "SeriesInstanceUID=1.4"])
    assert retrieve_paths(Question("series", two)) == ["/studies/1.2/series/1.3", "/studies/1.2/series/1.4"]


def retrieved(answer: httpx.Response, out: Path) -> tuple[object, list[str]]:
    uids: list[str] = []

    async def run() -> object:
        transport = httpx.MockTransport(lambda _: answer)
        async with open_url(Url("http://archive"), Access(), print, transport) as archive:
            question = Question("study", parse_keys(["StudyInstanceUID=1.2"]))
            return await archive.get(question, out, lambda _path, uid: uids.append(uid))

    return asyncio.run(run()), uids


def multipart(*parts: bytes, end: bytes = b"\r\n--b--\r\n") -> httpx.Response:
    body = b"".join(b"\r\n--b\r\nContent-Type: application/dicom\r\n\r\n" + part for part in parts) + end
    return httpx.Response(
        200, content=body, headers={"content-type": 'multipart/related; type="application/dicom"; boundary=b'}
    )


def test_parts_become_files_named_by_their_uids(tmp_path: Path) -> None:
    one, two = build(1), build(2)
    outcome, uids = retrieved(multipart(one.part10, two.part10), tmp_path)
    assert uids == [one.sop_instance_uid, two.sop_instance_uid]
    assert outcome.completed == 2 and outcome.whole  # type: ignore[attr-defined]
    assert (tmp_path / f"{one.sop_instance_uid}.dcm").read_bytes() == one.part10


def test_an_answer_that_breaks_off_is_told_and_leaves_no_half_file(tmp_path: Path) -> None:
    one, two = build(1), build(2)
    outcome, uids = retrieved(multipart(one.part10, two.part10[:300], end=b""), tmp_path)
    assert uids == [one.sop_instance_uid]
    assert not outcome.whole  # type: ignore[attr-defined]
    assert [path.name for path in tmp_path.iterdir()] == [f"{one.sop_instance_uid}.dcm"]


PAGE = httpx.Response(200, html="<html>Log in</html>")


@pytest.mark.parametrize(
    "answer", [PAGE, httpx.Response(200, content=b"PK", headers={"content-type": "application/zip"})]
)
def test_what_says_that_it_is_no_object_becomes_no_file(answer: httpx.Response, tmp_path: Path) -> None:
    """A proxy answers with a page of its own, and 200."""
    with pytest.raises(PeerError, match="where objects were asked for"):
        retrieved(answer, tmp_path)
    assert not list(tmp_path.iterdir())


def test_no_content_is_no_object(tmp_path: Path) -> None:
    outcome, uids = retrieved(httpx.Response(204), tmp_path)
    assert outcome.whole and not uids  # type: ignore[attr-defined]


def test_a_body_that_cannot_be_decoded_is_told() -> None:
    def handle(_: httpx.Request) -> httpx.Response:
        stream = httpx.ByteStream(b"no gzip")
        return httpx.Response(200, stream=stream, headers={"content-encoding": "gzip"})

    with pytest.raises(PeerError, match="http://archive"):
        found(handle, Question("study"))


def test_places(tmp_path: Path) -> None:
    (tmp_path / "index.db").touch()
    assert parse_place(str(tmp_path)) == tmp_path
    assert parse_place("A@h:104") == PeerAddress("A", "h", 104)
    assert parse_url("https://me:s%40t@h:8/x/dicom-web/") == Url("https://h:8/x/dicom-web", "me:s@t")
    assert parse_url("http://h:8042") == Url("http://h:8042/dicom-web")
    assert parse_place("HTTPS://me:pw@H:8042/x") == Url("https://H:8042/x", "me:pw")
    assert "s@t" not in str(parse_url("https://me:s%40t@h/d"))
    for text in ("nowhere", "ftp://h", "http://", "http://h:port"):
        with pytest.raises(UsageError):
            parse_place(text)


def test_patients_are_asked_of_peers_only() -> None:
    """A data directory is asked over DICOMweb, which nobody who types its path need know."""
    with pytest.raises(UsageError, match=r"AET@host:port.*a URL or a data directory"):
        search_path(Question("patient"))


def test_answers_of_stow() -> None:
    assert answer_of(httpx.Response(200)) == ("0000", "", "stored")
    warned = {"00081199": {"vr": "SQ", "Value": [{"00081196": {"vr": "US", "Value": [0xB000]}}]}}
    assert answer_of(httpx.Response(202, json=warned)) == ("B000", "", "stored")
    for status in ("duplicate", "kept", "replaced", "stored"):
        told = {"00081199": {"vr": "SQ", "Value": [encode(status)]}}
        assert answer_of(httpx.Response(200, json=told)) == ("0000", "", status)
    foreign = {"00090010": {"vr": "LO", "Value": ["ACME"]}, "00091001": {"vr": "CS", "Value": ["KEPT"]}}
    told = {"00081199": {"vr": "SQ", "Value": [foreign]}}
    assert answer_of(httpx.Response(200, json=told)).became == "stored"
    failed = {"00081198": {"vr": "SQ", "Value": [{"00081197": {"vr": "US", "Value": [0xA700]}}]}}
    assert answer_of(httpx.Response(409, json=failed))[0] == "A700"
    assert answer_of(httpx.Response(503, text="busy")) == ("", "503 Service Unavailable", "stored")


@pytest.mark.parametrize(
    "answer",
    [
        PAGE,
        httpx.Response(200, json={}),
        httpx.Response(202, json=[[]]),
        httpx.Response(200, json={"00081198": {"vr": "SQ", "Value": [None, {"00081197": {"Value": "x"}}]}}),
        httpx.Response(200, text='<NativeDicomModel><DicomAttribute tag="00081198"/></NativeDicomModel>'),
    ],
)
def test_who_does_not_say_that_it_stored_has_not(answer: httpx.Response) -> None:
    """Whoever is told so may delete the only copy there is."""
    assert Stored(Path(), status=answer_of(answer).status).failed


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(200, text='<NativeDicomModel><DicomAttribute tag="00081199"/></NativeDicomModel>'),
        httpx.Response(200, json={"00081199": {"Value": [None]}}),
        httpx.Response(200, json={"00081199": {"Value": [{"00081196": {"Value": ["x"]}, "00090010": []}]}}),
    ],
)
def test_odd_answers_that_name_what_is_stored(answer: httpx.Response) -> None:
    assert answer_of(answer) == ("0000", "", "stored")


@pytest.mark.parametrize(("known", "failed"), [([{"0020000D": {"vr": "UI", "Value": ["1.2"]}}], 1), ([], 0)])
async def test_what_a_search_knows_and_cannot_be_retrieved_has_failed(
    known: list[dict], failed: int, tmp_path: Path
) -> None:
    def handle(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/studies"):
            assert request.url.params["StudyInstanceUID"] == "1.2"
            return httpx.Response(200, json=known)
        return httpx.Response(404)

    transport = httpx.MockTransport(handle)
    async with open_url(Url("http://archive/dicom-web"), Access(), print, transport) as archive:
        outcome = await archive.get(Question("study", parse_keys(["StudyInstanceUID=1.2"])), tmp_path, print)
    assert (outcome.failed, outcome.whole) == (failed, not failed)


@pytest.mark.parametrize("uid", ["..", "../../api/changes", "1.2#3", "1.2?limit=1", "1.2 ", "a/../b"])
async def test_what_is_no_uid_is_no_address(uid: str, tmp_path: Path) -> None:
    """Not the studies above it, and not another resource of the server: our token would go along."""
    asked: list[str] = []

    def handle(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.raw_path.partition(b"?")[0].decode())
        return httpx.Response(400)

    transport = httpx.MockTransport(handle)
    async with open_url(Url("http://archive/dicom-web"), Access(), print, transport) as archive:
        with pytest.raises(Unanswered):
            await anext(archive.find(Question("series", {0x0020000D: uid})))
        with suppress(UsageError, Unanswered):
            assert not (await archive.get(Question("study", {0x0020000D: uid}), tmp_path, print)).whole
    assert asked.pop(0) == "/dicom-web/series"
    assert {path.removeprefix("/dicom-web/studies") for path in asked} <= {"", f"/{quote(uid, safe='')}"}


def test_a_file_of_whatever_is_answered_says_what_it_is(tmp_path: Path) -> None:
    """Every media type that our own server names in its capabilities, by an ending that is known for it."""
    answered = {media_type(each).root for one in RESOURCES if one.method == "GET" for each in media_types(one)[1]}
    paths: list[Path] = []
    sink = Numbered(tmp_path, "part", [], lambda path, uid: paths.append(path))
    for told in sorted(answered):
        sink.begin({"content-type": told})
        sink.end()
    endings = dict(zip(sorted(answered), (path.suffix for path in paths), strict=True))
    assert [told for told, ending in endings.items() if ending == ".bin"] == ["application/octet-stream"]
    for told, ending in endings.items():
        known = MimeTypes().guess_type(f"x{ending}", strict=False)[0]
        assert known in (None, told, "application/octet-stream") or told.endswith(f"+{ending[1:]}"), (told, ending)
