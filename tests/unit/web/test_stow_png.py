"""STOW-RS of pixel data as PNG images: decoded by workers, held against what the metadata say."""

from __future__ import annotations

import asyncio
import io
import json
import struct
import zlib
from pathlib import Path
from typing import Any

import httpx
import imagecodecs
import numpy as np
import pytest
from builders import CT, opened, uid
from PIL import Image

from sagittal.archive.access import LOCAL
from sagittal.dicom.streams.png import read_png
from sagittal.dicom.streams.stills import Still
from sagittal.dicom.syntaxes import EXPLICIT_LE
from sagittal.errors import BadRequest, LimitExceeded, PixelsUndecodable
from sagittal.limits import Limits, PixelLimits, WorkerLimits
from sagittal.web.app import create_app
from sagittal.web.house import Settings
from sagittal.web.store.native import check
from sagittal.workers.pool import Pool

JSON = "application/dicom+json"
GREY = np.arange(12, dtype=np.uint8).reshape(3, 4) * 20
DEEP = np.arange(12, dtype=np.uint16).reshape(3, 4) * 5000
COLOR = np.arange(36, dtype=np.uint8).reshape(3, 4, 3) * 7


def png(pixels: Any) -> bytes:
    return bytes(imagecodecs.png_encode(pixels))


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def made(columns: int, rows: int, depth: int = 8, color: int = 0, before: bytes = b"") -> bytes:
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", columns, rows, depth, color, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + before + chunk(b"IDAT", zlib.compress(bytes(64))) + chunk(b"IEND", b"")


def instance(**more: Any) -> dict[str, Any]:
    uids = {"00080016": CT, "00080018": uid("instance", 1), "0020000D": uid("study", 1), "0020000E": uid("series", 1)}
    found = {tag: {"vr": "UI", "Value": [value]} for tag, value in uids.items()}
    return found | {"7FE00010": {"vr": "OW", "BulkDataURI": "pixels"}} | more


def number(value: int) -> dict[str, Any]:
    return {"vr": "US", "Value": [value]}


def said(text: str) -> dict[str, Any]:
    return {"vr": "CS", "Value": [text]}


def store(
    tmp_path: Path, obj: dict[str, Any], *frames: bytes, limits: Limits | None = None, kind: str = "image/png"
) -> tuple[httpx.Response, dict[str, Any], bytes, str]:
    """The answer, and of what is held then: metadata, pixel data, transfer syntax."""
    parts = [f"Content-Type: {JSON}\r\n\r\n".encode() + json.dumps([obj]).encode()]
    parts += [f"Content-Type: {kind}\r\nContent-Location: pixels\r\n\r\n".encode() + frame for frame in frames]
    body = b"".join(b"--b\r\n" + part + b"\r\n" for part in parts) + b"--b--\r\n"

    async def inside() -> tuple[httpx.Response, dict[str, Any], bytes, str]:
        settings = Settings(limits=limits or Limits())
        pool = Pool(WorkerLimits(workers=1))
        async with opened(tmp_path / "data") as archive:
            app = create_app(archive, settings, pool)
            transport = httpx.ASGITransport(app=app)
            async with httpx.AsyncClient(transport=transport, base_url="http://localhost:8042") as client:
                type_ = {"content-type": f'multipart/related; type="{JSON}"; boundary=b'}
                answer = await client.post("/dicom-web/studies", content=body, headers=type_)
                found: tuple[httpx.Response, dict[str, Any], bytes, str] = (answer, {}, b"", "")
                if answer.status_code == 200:
                    (ref,) = await archive.instances(LOCAL, study_uid=uid("study", 1))
                    (texts,) = [texts async for texts in archive.metadata(LOCAL, [ref])]
                    path = (
                        f"/dicom-web/studies/{ref.study_uid}/series/{ref.series_uid}/instances/{ref.sop_instance_uid}"
                    )
                    pixels = await client.get(f"{path}/pixeldata", headers={"accept": "application/octet-stream"})
                    with archive.open_object(ref) as held:
                        octets = b"".join(held.data_set(1 << 16))
                    if pixels.status_code == 200:
                        octets = pixels.content
                    found = answer, json.loads(texts[0]), octets, ref.syntax_uid
            app.close()
            await pool.close()
        assert not list((tmp_path / "data" / "staging").iterdir())  # what was still being synced has gone by now
        return found

    return asyncio.run(inside())


def reason(answer: httpx.Response) -> str:
    assert answer.status_code == 409, answer.text
    (item,) = answer.json()["00081198"]["Value"]
    return str(item["00000902"]["Value"][0])


@pytest.mark.parametrize(
    ("pixels", "photometric", "bits"), [(GREY, "MONOCHROME2", 8), (DEEP, "MONOCHROME2", 16), (COLOR, "RGB", 8)]
)
def test_an_image_is_kept_as_its_pixels(tmp_path: Path, pixels: Any, photometric: str, bits: int) -> None:
    answer, told, octets, syntax_uid = store(tmp_path, instance(), png(pixels))
    assert answer.status_code == 200, answer.text
    assert syntax_uid == EXPLICIT_LE
    assert pixels.astype(f"<u{bits // 8}").tobytes() in octets
    values = {tag: told[tag]["Value"][0] for tag in ("00280002", "00280004", "00280010", "00280011", "00280100")}
    assert list(values.values()) == [1 if pixels.ndim == 2 else 3, photometric, 3, 4, bits]
    assert [told[tag]["Value"][0] for tag in ("00280101", "00280102", "00280103")] == [bits, bits - 1, 0]


def test_a_palette_is_kept_as_colors_and_frames_in_their_order(tmp_path: Path) -> None:
    file = io.BytesIO()
    Image.fromarray(COLOR).quantize(8).save(file, "PNG")
    expected = np.asarray(Image.open(io.BytesIO(file.getvalue())).convert("RGB")).tobytes()
    answer, told, octets, _ = store(tmp_path, instance(), file.getvalue(), file.getvalue())
    assert answer.status_code == 200, answer.text
    assert told["00280008"]["Value"] == [2] and expected * 2 in octets


def test_what_is_said_of_the_stored_bits_is_kept(tmp_path: Path) -> None:
    more = {"00280100": number(16), "00280101": number(12), "00280102": number(11), "00280004": said("MONOCHROME1")}
    answer, told, _, _ = store(tmp_path, instance(**more), png(DEEP))
    assert answer.status_code == 200, answer.text
    assert [told[tag]["Value"][0] for tag in more] == [16, 12, 11, "MONOCHROME1"]


@pytest.mark.parametrize(
    ("frames", "more", "why"),
    [
        ([png(GREY)], {"00280010": number(5)}, r"\(0028,0010\) is 5, but the head of the stream says 3"),
        ([png(GREY)], {"00280011": number(5)}, r"\(0028,0011\)"),
        ([png(GREY)], {"00280002": number(3)}, r"\(0028,0002\)"),
        ([png(DEEP)], {"00280100": number(8)}, r"\(0028,0100\)"),
        ([png(GREY)], {"00280004": said("RGB")}, "RGB for an image of 1 samples"),
        ([png(COLOR)], {"00280004": said("YBR_FULL")}, "a PNG image of colors is RGB"),
        ([png(COLOR)], {"00280006": number(1)}, "Planar Configuration is 1"),
        ([png(DEEP)], {"00280103": number(1)}, "Pixel Representation is 1"),
        ([png(GREY)], {"00280008": {"vr": "IS", "Value": [3]}}, "1 parts for 3 frames"),
        ([png(GREY), png(GREY[:2])], {}, "frames differ"),
        ([png(np.zeros((3, 4, 4), np.uint8))], {}, "transparency"),
        ([made(4, 3, before=chunk(b"tRNS", b"\0\1"))], {}, "transparency"),
        ([made(4, 3, depth=4)], {}, "4 bits is not taken"),
        ([made(4, 3)[:40]], {}, "ends early"),
        ([b"\x89PNG"], {}, "not a PNG image"),
        ([png(GREY)[:-24]], {}, "can't be decoded|ends early"),
        ([made(400, 300)], {}, "can't be decoded"),
    ],
)
def test_what_does_not_agree_is_refused(tmp_path: Path, frames: list[bytes], more: Any, why: str) -> None:
    import re

    assert re.search(why, reason(store(tmp_path, instance(**more), *frames)[0]))


def test_no_transfer_syntax_is_taken(tmp_path: Path) -> None:
    kind = "image/png; transfer-syntax=1.2.840.10008.1.2.4.50"
    assert "has no transfer syntax" in reason(store(tmp_path, instance(), png(GREY), kind=kind)[0])


def test_an_image_larger_than_may_be_decoded_meets_no_decoder(tmp_path: Path) -> None:
    answer, *_ = store(tmp_path, instance(), made(100_000, 100_000))
    assert "frame_pixels_max" in reason(answer)


def test_limits() -> None:
    head = Still((EXPLICIT_LE,), 10, 10, 3, 16, "RGB")
    check(head, PixelLimits(frame_pixels_max=100, frame_bytes_max=600))
    for limits in (PixelLimits(frame_pixels_max=99), PixelLimits(frame_bytes_max=599)):
        with pytest.raises(LimitExceeded):
            check(head, limits)


def test_no_head_is_read_beyond_its_bounds() -> None:
    many = made(4, 3, before=chunk(b"tEXt", b"") * 5000)
    count = 0

    def read(offset: int, size: int) -> bytes:
        nonlocal count
        count += 1
        return many[offset : offset + size]

    with pytest.raises(BadRequest):
        read_png(read, len(many))
    assert count < 5000


def test_another_image_than_its_head_says() -> None:
    import os
    import tempfile

    from sagittal.convert.png import decoded
    from sagittal.workers.worker import Input

    with tempfile.TemporaryFile() as file:
        os.write(file.fileno(), png(GREY))
        source = Input(file.fileno(), 0, len(png(GREY)))
        assert decoded([source], 3, 4, 1, 8) == GREY.tobytes()
        for rows, columns, samples, bits in ((4, 3, 1, 8), (3, 4, 3, 8), (3, 4, 1, 16)):
            with pytest.raises(PixelsUndecodable, match="another one"):
                decoded([source], rows, columns, samples, bits)
