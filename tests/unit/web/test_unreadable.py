"""Studies with objects that are missing or can't be read: the others are answered, which is told (PS3.18 10.4.3)."""

from __future__ import annotations

import errno
import io
import os
import zipfile
from pathlib import Path
from typing import Any

import pytest
from archived import asking, instance_of, parts, study_of
from builders import build

from sagittal.archive.access import LOCAL
from sagittal.client.dicomweb import OBJECTS, open_url
from sagittal.client.parts import Objects
from sagittal.client.place import Access, Url

HELD = [build(number) for number in (1, 2, 3)]
STUDY = study_of(HELD[0])
SEVERAL = {
    STUDY: [OBJECTS, 'multipart/related; type="application/dicom"; transfer-syntax=1.2.840.10008.1.2.1'],
    f"{STUDY}/pixeldata": ["multipart/related; type=application/octet-stream"],
    f"{STUDY}/rendered": ["multipart/related; type=image/png"],
}


def files(folder: Path) -> list[Path]:
    return [folder / "objects" / "0001" / held.digest for held in HELD]


@pytest.mark.parametrize(("path", "accept"), [(path, each) for path, accepts in SEVERAL.items() for each in accepts])
@pytest.mark.parametrize("lost", [0, 2])
async def test_the_others_are_answered(tmp_path: Path, path: str, accept: str, lost: int) -> None:
    async with asking(tmp_path, HELD) as (client, _):
        whole = await client.get(path, headers={"accept": accept})
        assert len(parts(whole)) == 3
        files(tmp_path)[lost].unlink()
        answer = await client.get(path, headers={"accept": accept})
    assert answer.headers["etag"] != whole.headers["etag"]
    assert parts(answer, 206) == [part for at, part in enumerate(parts(whole)) if at != lost]
    assert "1 of 3 instances cannot be read" in answer.headers["warning"]
    assert HELD[lost].sop_instance_uid in answer.headers["warning"]


@pytest.mark.parametrize("accept", [*SEVERAL[STUDY], "application/zip"])
async def test_who_has_all_of_a_study_needs_no_file(tmp_path: Path, accept: str) -> None:
    async with asking(tmp_path, HELD) as (client, archive):
        whole = await client.get(STUDY, headers={"accept": accept})
        files(tmp_path)[0].unlink()
        archive.damage = None  # type: ignore[assignment, method-assign]  # not asked
        answer = await client.get(STUDY, headers={"accept": accept, "if-none-match": whole.headers["etag"]})
    assert (answer.status_code, answer.headers["etag"]) == (304, whole.headers["etag"])


async def test_a_zip_file_has_the_others(tmp_path: Path) -> None:
    async with asking(tmp_path, HELD) as (client, _):
        os.truncate(files(tmp_path)[1], 200)
        answer = await client.get(STUDY, headers={"accept": "application/zip"})
    assert answer.status_code == 206 and "1 of 3" in answer.headers["warning"]
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert [archive.read(name) for name in archive.namelist()] == [HELD[0].part10, HELD[2].part10]


async def test_the_last_one_left_is_one_of_several(tmp_path: Path) -> None:
    """It comes as a part, as several would: an object alone would be taken for all that there is."""
    async with asking(tmp_path, HELD[:2]) as (client, _):
        files(tmp_path)[0].unlink()
        assert len(parts(await client.get(STUDY, headers={"accept": "*/*"}), 206)) == 1
        assert (await client.get(STUDY, headers={"accept": "application/dicom"})).status_code == 406
        assert (await client.get(instance_of(HELD[1]))).status_code == 200


async def test_corrected_objects_are_none_the_worse(tmp_path: Path) -> None:
    """How long each is to be is found by reading it; metadata needs no file at all."""
    async with asking(tmp_path, HELD) as (client, archive):
        await archive.correct(LOCAL, (HELD[0].study_uid, ""), {"StudyDescription": "Head"}, "misspelt", "CORRECT")
        files(tmp_path)[1].unlink()
        assert len((await client.get(f"{STUDY}/metadata")).json()) == 3
        answer = await client.get(STUDY, headers={"accept": OBJECTS})
    assert [content.count(b"Head") for _, content in parts(answer, 206)] == [1, 1]
    assert int(answer.headers["content-length"]) == len(answer.content)


async def test_another_one_stands_for_them_in_a_thumbnail(tmp_path: Path) -> None:
    async with asking(tmp_path, HELD) as (client, _):
        files(tmp_path)[1].unlink()
        assert (await client.get(f"{STUDY}/thumbnail")).status_code == 200
        assert (await client.get(f"{instance_of(HELD[1])}/thumbnail")).status_code == 500


async def test_nothing_is_left(tmp_path: Path) -> None:
    async with asking(tmp_path, HELD) as (client, _):
        for file in files(tmp_path):
            file.unlink()
        for path, (accept, *_) in SEVERAL.items():
            answer = await client.get(path, headers={"accept": accept})
            assert (answer.status_code, answer.json()["detail"]) == (500, "the stored object is missing")


async def status(client: Any, path: str, accept: str) -> int:
    try:
        return int((await client.get(path, headers={"accept": accept})).status_code)
    except AssertionError:  # httpx's, of an answer without an end
        return 500


@pytest.mark.parametrize(
    ("path", "accept"),
    [(STUDY, OBJECTS), (STUDY, "application/zip"), (f"{STUDY}/pixeldata", SEVERAL[f"{STUDY}/pixeldata"][0])],
)
async def test_blocks_that_are_lost_cut_the_first_answer_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, accept: str
) -> None:
    """Nobody reads an object to its end before it is sent; who asks again gets the others."""
    async with asking(tmp_path, HELD) as (client, archive):
        bad, pread = files(tmp_path)[1].stat().st_ino, os.pread

        def failing(fd: int, *more: int) -> bytes:
            if os.fstat(fd).st_ino == bad:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            return pread(fd, *more)

        with monkeypatch.context() as patched:
            patched.setattr(os, "pread", failing)
            statuses = [await status(client, path, accept) for _ in range(2)]
        assert statuses == [500, 206]
        assert await status(client, path, accept) == 200  # somebody sent it again
        assert not archive._doubtful


async def test_our_client_tells_it(tmp_path: Path) -> None:
    remarks: list[str] = []
    async with asking(tmp_path / "data", HELD) as (client, _):
        files(tmp_path / "data")[1].unlink()
        transport: Any = client._transport
        async with open_url(Url("http://127.0.0.1/dicom-web"), Access(), remarks.append, transport) as web:
            sink = Objects(tmp_path / "out", lambda *_: None)
            outcome = await web.retrieve(STUDY.removeprefix("/dicom-web"), sink, OBJECTS)
    assert (outcome.completed, outcome.failed, outcome.status, outcome.whole) == (2, 1, 0xB000, False)
    assert any("1 of 3 instances cannot be read" in remark for remark in remarks)
