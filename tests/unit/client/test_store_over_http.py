"""`sagittal import` into a running archive: what it says of each file, by what the archive answers."""

from __future__ import annotations

import asyncio
import errno
import gc
from pathlib import Path

import httpx
import pytest
from builders import build

from sagittal.cli.data.stow import Answer, store_over_http
from sagittal.dicom.part10 import meta_group
from sagittal.dicom.sopclasses import MEDIA_STORAGE_DIRECTORY
from sagittal.dicom.syntaxes import EXPLICIT_LE
from sagittal.errors import PeerRefused


def imported(path: Path, answer: httpx.Response) -> Answer:
    async def run() -> list[Answer]:
        async def handle(request: httpx.Request) -> httpx.Response:
            await request.aread()
            return answer

        transport = httpx.MockTransport(handle)
        async with httpx.AsyncClient(transport=transport, base_url="http://archive") as client:
            return [row async for row in store_over_http(client, [path])]

    (row,) = asyncio.run(run())
    return row


def refusal(tag: str) -> httpx.Response:
    item = {"00081197": {"vr": "US", "Value": [0xA900]}, "00000902": {"vr": "LO", "Value": ["no UID"]}}
    return httpx.Response(409, json={tag: {"vr": "SQ", "Value": [item]}})


@pytest.mark.parametrize("tag", ["00081198", "0008119A"])
def test_the_reason_of_a_refusal_is_told(tmp_path: Path, tag: str) -> None:
    """PS3.18 I: an instance without UIDs is in the Other Failures Sequence."""
    path = tmp_path / "one.dcm"
    path.write_bytes(build().part10)
    assert imported(path, refusal(tag))[1:3] == ("failed", "no UID")


@pytest.mark.parametrize("status", [401, 403])
def test_an_archive_that_does_not_know_us_refuses_all(tmp_path: Path, status: int) -> None:
    """Exit status 3, as for `sagittal store`, and not a failure of each file."""
    (tmp_path / "one.dcm").write_bytes(build().part10)
    with pytest.raises(PeerRefused, match=f"{status}: who are you"):
        imported(tmp_path, httpx.Response(status, json={"detail": "who are you"}))


def test_a_dicomdir_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "DICOMDIR"
    path.write_bytes(meta_group(MEDIA_STORAGE_DIRECTORY, "1.2.3", EXPLICIT_LE))
    status, reason = imported(path, httpx.Response(500))[1:3]
    assert status == "skipped"
    assert "DICOMDIR" in reason


@pytest.mark.parametrize("data", [b"", b"Dear colleague, " * 50])
def test_a_file_that_is_named_and_no_object_has_failed(tmp_path: Path, data: bytes) -> None:
    """In a folder it is skipped."""
    path = tmp_path / "letter.txt"
    path.write_bytes(data)
    named, found = (imported(given, httpx.Response(500)) for given in (path, tmp_path))
    assert (named[1], found[1]) == ("failed", "skipped")
    assert named[2] == found[2] != ""


def test_a_file_that_cannot_be_read_is_told_in_plain_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the number of the error and the path, which is told before it."""
    path = tmp_path / "one.dcm"
    path.write_bytes(build().part10)

    def broken(*_: object) -> bytes:
        raise OSError(errno.EIO, "Input/output error", str(path))

    monkeypatch.setattr("sagittal.cli.data.stow._read_head", broken)
    assert imported(path, httpx.Response(500))[1:3] == ("failed", "Input/output error")


async def test_an_archive_that_is_not_there_is_told_once(tmp_path: Path) -> None:
    """Several files are under way when the first fails: what the others die of is no line of its own."""
    for number in range(4):
        (tmp_path / f"{number}.dcm").write_bytes(build(number).part10)
    loop_said: list[object] = []

    async def handle(_: httpx.Request) -> httpx.Response:
        await asyncio.sleep(0)
        raise httpx.ConnectError("All connection attempts failed")

    asyncio.get_running_loop().set_exception_handler(lambda _, context: loop_said.append(context))
    async with httpx.AsyncClient(transport=httpx.MockTransport(handle), base_url="http://archive") as client:
        with pytest.raises(httpx.ConnectError):
            async for _ in store_over_http(client, [tmp_path]):
                pass
    gc.collect()
    assert loop_said == []
