"""STOW-RS against a made-up archive: framing, statuses, and what the client is told."""

from __future__ import annotations

import asyncio
import logging
from typing import Any
from xml.etree import ElementTree

import httpx
import pytest

from sagittal.dicom.part10 import meta_group
from sagittal.errors import Busy, IdentifierMismatch, StorageUnavailable
from sagittal.limits import Limits, WebLimits
from sagittal.web.house import Settings
from sagittal.web.store import stow
from sagittal.web.store.answer import Result, answer
from sagittal.web.wire.uri import Addresses

TYPE = 'multipart/related; type="application/dicom"; boundary=b'
CT = "1.2.840.10008.5.1.4.1.1.2"
GOOD = meta_group(CT, "1.2.3.1", "1.2.840.10008.1.2.1") + b"data set"
REFUSED = meta_group(CT, "1.2.3.9", "1.2.840.10008.1.2.1") + b"REFUSE"


def payload(*contents: bytes, type_: bytes = b"application/dicom") -> bytes:
    parts = b"".join(b"--b\r\nContent-Type: " + type_ + b"\r\n\r\n" + content + b"\r\n" for content in contents)
    return parts + b"--b--\r\n"


def post(web: Any, content: Any, type_: str = TYPE, path: str = "/dicom-web/studies", **headers: str) -> httpx.Response:
    answer: httpx.Response = web.request("POST", path, content=content, headers={"content-type": type_, **headers})
    return answer


def reasons(answer: httpx.Response, tag: str) -> list[int]:
    return [item["00081197"]["Value"][0] for item in answer.json().get(tag, {}).get("Value", [])]


def test_all_stored(web: Any) -> None:
    answer = post(web, payload(b"one", b"two\r\n--", b""))
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/dicom+json"
    assert web.archive.received == [b"one", b"two\r\n--", b""]
    body = answer.json()
    assert body["00081190"]["Value"] == ["http://localhost:8042/dicom-web/studies/1.2.1"]
    items = body["00081199"]["Value"]
    assert [item["00081155"]["Value"] for item in items] == [["1.2.3.1"], ["1.2.3.2"], ["1.2.3.3"]]
    assert items[0]["00081190"]["Value"][0].endswith("/studies/1.2.1/series/1.2.2/instances/1.2.3.1")
    assert "00081198" not in body


def test_the_address_is_there_without_a_value_where_there_are_several_studies(web: Any, archive: Any) -> None:
    """PS3.18 Table I.1-1: Type 2."""
    archive.studies = ["1.2.1", "1.2.2"]
    assert post(web, payload(b"one", b"two")).json()["00081190"] == {"vr": "UR"}
    assert post(web, payload(REFUSED)).json()["00081190"] == {"vr": "UR"}


def test_what_cannot_be_answered_is_not_stored(web: Any) -> None:
    answer = post(web, payload(b"one"), accept=",".join(["application/dicom+json"] * 65))
    assert (answer.status_code, web.archive.received) == (400, [])


def test_an_archive_that_takes_nothing_says_which_it_did_not_take(web: Any) -> None:
    web.archive.begin_error = StorageUnavailable("the volume is not well")
    answer = post(web, payload(GOOD))
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    [item] = answer.json()["00081198"]["Value"]
    assert item["00081155"]["Value"] == ["1.2.3.1"]


def test_what_is_wrong_is_logged_as_for_c_store(web: Any, caplog: pytest.LogCaptureFixture) -> None:
    """One line an object that was refused, one for one that has defects, one for a request that was refused whole."""
    caplog.set_level(logging.INFO)

    def told() -> list[tuple[str, dict[str, Any]]]:
        lines = [(record.getMessage(), record.fields) for record in caplog.records if hasattr(record, "fields")]
        caplog.clear()
        return lines

    post(web, payload(b"one"))
    assert told() == []
    post(web, payload(b"one", REFUSED, b"DEFECTS"))
    refused, defects = told()
    assert refused[0] == "request refused" and refused[1]["status"] == 409
    assert (refused[1]["instance"], refused[1]["request"]) == ("1.2.3.9", "POST /dicom-web/studies")
    assert refused[1]["reason"] == "SOP Instance UID (0008,0018) is missing or empty"
    assert defects == ("stored with defects", {"instance": "1.2.3.3", "defects": "odd-length"})
    post(web, b"--b\r\n")
    [(what, fields)] = told()
    assert what == "request refused" and fields["status"] == 400 and "closing delimiter" in fields["reason"]
    web.archive.commit_error = StorageUnavailable("the volume is not well")
    post(web, payload(b"one"))
    assert [(fields["status"], fields["reason"]) for _, fields in told()] == [(503, "the volume is not well")]


def test_addresses_behind_a_proxy(web: Any) -> None:
    web.settings = Settings(public_url="https://pacs.example/sagittal/")
    assert post(web, payload(b"one")).json()["00081190"]["Value"] == [
        "https://pacs.example/sagittal/dicom-web/studies/1.2.1"
    ]


def test_some_stored(web: Any) -> None:
    answer = post(web, payload(b"one", REFUSED, b"REFUSE", b"two"))
    assert answer.status_code == 202
    assert web.archive.received == [b"one", b"two"]
    assert web.archive.discarded == 2
    body = answer.json()
    (failed,) = body["00081198"]["Value"]
    assert failed["00081150"]["Value"] == [CT]
    assert failed["00081155"]["Value"] == ["1.2.3.9"]
    assert failed["00081197"]["Value"] == [0xA900]
    assert "SOP Instance UID" in failed["00000902"]["Value"][0]
    assert reasons(answer, "0008119A") == [0xA900]  # of which not even the UID is known


@pytest.mark.parametrize(("sent", "sequence"), [(REFUSED, "00081198"), (b"KEPT", "00081199"), (b"REFUSE", "0008119A")])
def test_members_are_ordered_by_their_names(web: Any, sent: bytes, sequence: str) -> None:
    """PS3.18 F.2.2."""
    body = post(web, payload(sent)).json()
    (item,) = body[sequence]["Value"]
    assert list(body) == sorted(body) and list(item) == sorted(item)


def test_none_stored(web: Any) -> None:
    answer = post(web, payload(REFUSED))
    assert answer.status_code == 409
    assert reasons(answer, "00081198") == [0xA900]


def test_kept_beside_another_content(web: Any) -> None:
    answer = post(web, payload(b"KEPT"))
    assert answer.status_code == 202
    (item,) = answer.json()["00081199"]["Value"]
    assert item["00081196"]["Value"] == [0xB000]
    assert "stored first" in item["00000902"]["Value"][0]
    assert (item["00090010"]["Value"], item["00091001"]["Value"]) == (["SAGITTAL"], ["KEPT"])


@pytest.mark.parametrize(
    ("error", "status", "reason"),
    [
        (StorageUnavailable("the volume is unwell"), 503, 0xA700),
        (Busy(), 503, 0xA700),
        (IdentifierMismatch("another study"), 409, 0xA900),
        (ZeroDivisionError(), 500, 0x0110),
    ],
)
def test_commits_that_fail(web: Any, error: Exception, status: int, reason: int) -> None:
    web.archive.commit_error = error
    answer = post(web, payload(GOOD, GOOD))
    assert answer.status_code == status
    assert reasons(answer, "00081198") == [reason, reason]
    assert ("retry-after" in answer.headers) == (status == 503)


def test_the_study_of_the_address(web: Any) -> None:
    """It is told where it is available, so not while nothing of it is stored (PS3.18 Table I.1-1)."""
    at = "/dicom-web/studies/1.2.1"
    assert post(web, payload(b"one"), path=at).json()["00081190"]["Value"] == [f"http://localhost:8042{at}"]
    assert post(web, payload(REFUSED), path=at).json()["00081190"] == {"vr": "UR"}
    assert post(web, payload(b"one"), path="/dicom-web/studies/x").status_code == 400


def test_one_instance_alone(web: Any) -> None:
    assert post(web, GOOD, "application/dicom").status_code == 200
    assert web.archive.received == [GOOD]


@pytest.mark.parametrize(
    "type_",
    [
        "multipart/related; boundary=b",
        "multipart/related; type=application/dicom; boundary=b",  # OHIF
        'multipart/related; boundary="b"; type="application/dicom"',
        "Multipart/Related; Boundary=b; Type=APPLICATION/DICOM",
    ],
)
def test_forms_of_the_content_type(web: Any, type_: str) -> None:
    assert post(web, b"\r\n" + payload(b"one"), type_).status_code == 200


@pytest.mark.parametrize(
    ("type_", "content", "headers", "status"),
    [
        ("application/zip", b"x", {}, 415),
        ("", b"x", {}, 415),
        ("multipart/form-data; boundary=b", payload(b"one"), {}, 415),
        ('multipart/related; type="image/jpeg"; boundary=b', payload(b"one"), {}, 415),
        (TYPE, payload(b"one"), {"content-encoding": "gzip"}, 415),
        ("multipart/related", payload(b"one"), {}, 400),
        (TYPE, b"", {}, 400),
        (TYPE, b"--b--", {}, 400),
        (TYPE, b"nonsense", {}, 400),
        (TYPE, b"x" * 10_000, {}, 413),
    ],
)
def test_requests_that_are_none(web: Any, type_: str, content: bytes, headers: dict[str, str], status: int) -> None:
    answer = post(web, content, type_, **headers)
    assert answer.status_code == status
    assert answer.json()["detail"]
    assert not web.archive.received


def test_a_part_of_another_type(web: Any) -> None:
    answer = post(web, payload(b"one", type_=b"image/jpeg"))
    assert answer.status_code == 409
    assert web.archive.received == []


def test_a_part_as_mail_libraries_write_it(web: Any) -> None:
    """Folded headers are read (RFC 5322 2.2.3); base64 is told to be what it is."""
    folded = post(web, payload(b"one", type_=b"application/dicom;\r\n transfer-syntax=1.2.840.10008.1.2.1"))
    assert (folded.status_code, web.archive.received) == (200, [b"one"])
    refused = post(web, payload(b"b25l", type_=b"application/dicom\r\nContent-Transfer-Encoding: base64"))
    [item] = refused.json()["0008119A"]["Value"]
    assert refused.status_code == 409 and "Content-Transfer-Encoding" in item["00000902"]["Value"][0]


def test_a_payload_that_breaks_off_tells_what_was_stored(web: Any) -> None:
    answer = post(web, payload(b"one", GOOD)[:-12])
    assert answer.status_code == 202
    assert web.archive.received == [b"one"]
    assert web.archive.discarded == 1
    assert len(answer.json()["00081199"]["Value"]) == 1
    assert reasons(answer, "00081198") == [0xC000]


@pytest.mark.parametrize("over", [-1, 0, 1])
def test_parts(web: Any, over: int) -> None:
    web.settings = Settings(limits=Limits(web=WebLimits(parts_max=5)))
    answer = post(web, payload(*[b"one"] * (5 + over)))
    assert answer.status_code == (202 if over > 0 else 200)
    assert len(web.archive.received) == min(5, 5 + over)


def test_what_failed_holds_nothing_of_what_was_read(web: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A request may have 100,000 such parts; an error held the frames it came through, and they what was read."""
    told: list[Result] = []
    monkeypatch.setattr(stow, "_tell", lambda request, result: told.append(result))
    assert post(web, payload(GOOD, type_=b"text/plain")).status_code == 409
    assert post(web, payload(REFUSED)).status_code == 409
    web.archive.commit_error = StorageUnavailable("the volume is not well")
    assert post(web, payload(GOOD)).status_code == 503
    assert [result.sop_instance_uid for result in told] == ["1.2.3.1", "1.2.3.9", "1.2.3.1"]
    for result in told:
        assert result.failure is not None and result.beginning == b""
        assert [type(each) for each in result.failure] == [int, int, str]


@pytest.mark.parametrize("accept", ["application/dicom+json", "application/dicom+xml"])
def test_tiny_parts_leave_others_their_turns(web: Any, monkeypatch: pytest.MonkeyPatch, accept: str) -> None:
    """Of 1,000 in one read of the socket, and of 1,000 in one answer, so many at a time."""
    turns: list[str] = []

    async def others() -> None:
        while True:
            turns.append("of others")
            await asyncio.sleep(0)

    async def answered(*arguments: Any) -> Any:
        turns.append("begun")
        made = await answer(*arguments)
        turns.append("made")
        return made

    async def act(client: httpx.AsyncClient) -> httpx.Response:
        other = asyncio.ensure_future(others())
        content, headers = payload(*[b""] * 1_000, type_=b"text/plain"), {"content-type": TYPE, "accept": accept}
        made = await client.post("/dicom-web/studies", content=content, headers=headers)
        other.cancel()
        return made

    monkeypatch.setattr(stow, "answer", answered)
    assert web.run(act).status_code == 409
    begun, made = turns.index("begun"), turns.index("made")
    assert begun >= 4 + 20  # while the parts were taken, and for the lines of the log
    assert made - begun >= 20


async def test_an_answer_in_xml_is_never_whole_in_memory() -> None:
    """It is twice as long as JSON, and is sent as it is made."""
    results = [Result().fail(IdentifierMismatch(f"part {number} is not a DICOM file")) for number in range(1_000)]
    pieces: list[bytes] = []

    async def send(message: Any) -> None:
        pieces.append(message.get("body", b""))

    made = await answer("application/dicom+xml", results, Addresses("http://localhost"))
    await made({"type": "http", "method": "POST"}, asyncio.Event().wait, send)  # type: ignore[arg-type]
    assert made.status_code == 409
    whole = b"".join(pieces)
    ElementTree.fromstring(whole)
    assert whole.count(b"is not a DICOM file") == 1_000
    assert max(map(len, pieces)) < len(whole) / 5


def test_any_split(web: Any) -> None:
    whole = payload(b"one", b"two\r\n--c", b"three")

    async def chunks() -> Any:
        for at in range(len(whole)):
            yield whole[at : at + 1]

    async def act(client: httpx.AsyncClient) -> httpx.Response:
        return await client.post("/dicom-web/studies", content=chunks(), headers={"content-type": TYPE})

    assert web.run(act).status_code == 200
    assert web.archive.received == [b"one", b"two\r\n--c", b"three"]


def test_few_commits_are_under_way_at_once(web: Any) -> None:
    web.settings = Settings(limits=Limits(web=WebLimits(commits_outstanding_max=2)))
    assert post(web, payload(*[b"one"] * 50)).status_code == 200
    assert len(web.archive.received) == 50
