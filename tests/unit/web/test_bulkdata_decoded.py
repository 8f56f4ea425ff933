"""Pixel data of several instances in another form than it is stored in."""

from __future__ import annotations

import struct
from dataclasses import replace
from pathlib import Path

import pytest
from archived import answers, parts, series_of
from builders import Built, build

from sagittal.dicom.syntaxes import EXPLICIT_LE, RLE_LOSSLESS


def rle(number: int, damaged: bool = False) -> tuple[Built, bytes]:
    """An object whose frame is compressed, and the frame as it was."""
    native = build(number)
    (pixels,) = native.frames
    segments = [bytes((len(pixels) // 2 - 1,)) + pixels[byte::2] + b"\x80" for byte in (1, 0)]
    frame = struct.pack("<16I", 9 if damaged else 2, 64, 64 + len(segments[0]), *bytes(13)) + b"".join(segments)
    item = b"\xfe\xff\x00\xe0" + struct.pack("<I", len(frame)) + frame
    value = b"\xe0\x7f\x10\x00OB\0\0\xff\xff\xff\xff" + b"\xfe\xff\x00\xe0\0\0\0\0" + item + b"\xfe\xff\xdd\xe0\0\0\0\0"
    return replace(native, syntax_uid=RLE_LOSSLESS, data=native.data[: -12 - len(pixels)] + value), pixels


@pytest.mark.slow  # a worker starts
def test_compressed_frames_of_several_are_decoded_where_octets_are_wanted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """PS3.18 8.7.3.3: without a transfer syntax it is Explicit VR Little Endian. One that can't be is left out."""
    (first, one), (second, other), (broken, _), native = rle(1), rle(2), rle(3, damaged=True), build(4)
    octets = {"accept": 'multipart/related; type="application/octet-stream"'}
    where = series_of(first) + "/pixeldata"
    decoded, stored, compressed, all_ = answers(
        tmp_path,
        [first, second, broken, native],
        (where, octets),
        (where, {"accept": 'multipart/related; type="*/*"; transfer-syntax=*'}),
        (where, {"accept": 'multipart/related; type="image/jpeg"'}),
        (series_of(first) + "/bulkdata", octets),
    )
    for answer in (decoded, all_):
        assert answer.status_code == 200
        assert [body for _, body in parts(answer)] == [one, other, *native.frames]
        assert {head["content-type"] for head, _ in parts(answer)} == {
            f"application/octet-stream;transfer-syntax={EXPLICIT_LE}"
        }
    assert "left out" in caplog.text and broken.sop_instance_uid in caplog.text
    assert len(parts(stored)) == 4
    assert compressed.status_code == 406  # native values are octets
