"""Frames that the index can't tell: those of deflated objects, found by inflating; videos, answered whole; and those
that an object only says to have.
"""

from __future__ import annotations

import asyncio
import zlib
from pathlib import Path

import httpx
import pytest
from archived import applied
from builders import Built, build, opened

from sagittal.archive.access import LOCAL
from sagittal.archive.ingest import Source
from sagittal.dicom.syntaxes import DEFLATED_LE, EXPLICIT_LE

MPEG2 = "1.2.840.10008.1.2.4.100"


def _deflated(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    packed = packer.compress(data) + packer.flush()
    return packed + b"\0" * (len(packed) % 2)


async def _answers(
    folder: Path, held: Built, data: bytes, syntax: str, *paths: str, accept: str = "application/octet-stream"
) -> list[httpx.Response]:
    async with opened(folder) as archive:
        transfer = archive.store_begin(LOCAL, Source("dimse"), syntax_uid=syntax)
        transfer.write(data)
        await transfer.commit()
        base = (
            f"http://127.0.0.1/dicom-web/studies/{held.study_uid}/series/{held.series_uid}"
            f"/instances/{held.sop_instance_uid}"
        )
        async with applied(archive) as app, httpx.AsyncClient(transport=httpx.ASGITransport(app)) as client:
            return [await client.get(f"{base}/{path}", headers={"Accept": accept}) for path in paths]


def test_frames_of_a_deflated_object(tmp_path: Path) -> None:
    held = build(frames=3)
    paths = ("frames/2", "frames/3", "frames/4")
    two, three, four = asyncio.run(_answers(tmp_path, held, _deflated(held.data), DEFLATED_LE, *paths))
    assert (two.content, three.content) == (held.frames[1], held.frames[2])
    assert four.status_code == 404


def test_a_video_is_answered_whole(tmp_path: Path) -> None:
    held = build(frames=2, syntax_uid=MPEG2)
    paths = ("frames/1", "bulkdata/7FE00010")
    one, whole = asyncio.run(_answers(tmp_path, held, held.data, MPEG2, *paths, accept="video/mpeg"))
    assert one.status_code == 406 and "bulkdata/7FE00010" in one.text
    assert whole.status_code == 200
    assert whole.headers["content-type"].startswith("video/mpeg")
    assert whole.content == b"".join(held.frames)


@pytest.mark.parametrize("accept", ["image/gif", "multipart/related; type=image/png"])
def test_frames_that_are_only_said(tmp_path: Path, accept: str) -> None:
    """Nobody makes a list of two thousand millions of them."""
    held = build(syntax_uid=MPEG2, extra={"NumberOfFrames": str(2**31 - 1)})
    (answer,) = asyncio.run(_answers(tmp_path, held, held.data, MPEG2, "rendered", accept=accept))
    assert answer.status_code in (400, 406) and "too many" in answer.text


def test_a_moving_picture_has_an_end(tmp_path: Path) -> None:
    held = build(frames=601)
    (answer,) = asyncio.run(_answers(tmp_path, held, held.data, EXPLICIT_LE, "rendered", accept="image/gif"))
    assert answer.status_code == 406 and "at most 600" in answer.text
