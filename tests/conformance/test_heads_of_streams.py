"""What the heads of compressed images and videos say, against the objects of the corpus that hold them."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from programs import corpus_path

from sagittal.dicom.part10 import Part10Head
from sagittal.dicom.reader import Reader
from sagittal.dicom.streams.stills import Still, read_rle, read_still
from sagittal.dicom.streams.videos import Video, read_video
from sagittal.dicom.syntaxes import RLE_LOSSLESS, syntax
from sagittal.errors import BadRequest
from sagittal.limits import ReaderLimits

LIMITS = ReaderLimits()
ROWS, COLUMNS, SAMPLES, ALLOCATED = 0x00280010, 0x00280011, 0x00280002, 0x00280100
PROGRESSIVE = ("1.2.840.10008.1.2.4.53", "1.2.840.10008.1.2.4.55")
# Objects whose stream is another than their meta group says.
MISLABELLED = {"MG/healthcare-dicom-dicom__example-mg.dcm", "OP/dcmjs__sample-op.dcm"}


def _objects() -> list[str]:
    folder = corpus_path()
    if folder is None:
        return []
    with (folder / "MANIFEST.csv").open(encoding="utf-8") as table:
        rows = [row for row in csv.DictReader(table) if "malformed" not in row["file"]]
    known = [
        row["file"] for row in rows if syntax(row["transfer_syntax_uid"]).frames in ("fragment", "fragments", "stream")
    ]
    return [name for name in known if name not in MISLABELLED]


def _stream(path: Path) -> tuple[str, dict[int, str], bytes]:
    octets = path.read_bytes()
    head = Part10Head(LIMITS)
    head.feed(octets)
    head.finish()
    data = octets[head.data_set_offset :]
    reader = Reader(syntax(head.syntax_uid), wanted=frozenset((ROWS, COLUMNS, SAMPLES, ALLOCATED)), limits=LIMITS)
    reader.feed(data)
    parsed = reader.finish()
    fragments: list[bytes] = []
    if parsed.pixel_data is not None:
        at, end = parsed.pixel_data[0], sum(parsed.pixel_data)
        while at + 8 <= end and data[at : at + 4] == b"\xfe\xff\x00\xe0":
            size = int.from_bytes(data[at + 4 : at + 8], "little")
            fragments.append(data[at + 8 : at + 8 + size])
            at += 8 + size
    video = syntax(head.syntax_uid).video
    return head.syntax_uid, parsed.values, b"".join(fragments[1:] if video else fragments[1:2])


def _head(uid: str, octets: bytes) -> Still | Video:
    def read(offset: int, count: int) -> bytes:
        return octets[offset : offset + count]

    if syntax(uid).video:
        return read_video(read, len(octets))
    return (read_rle if uid == RLE_LOSSLESS else read_still)(read, len(octets))


@pytest.mark.parametrize("name", _objects())
def test_the_head_says_what_the_object_says(name: str, corpus_dir: Path) -> None:
    uid, values, octets = _stream(corpus_dir / name)
    if not octets or uid not in _known() or (syntax(uid).retired and uid not in PROGRESSIVE):
        return
    if uid in PROGRESSIVE:
        with pytest.raises(BadRequest, match="progressive"):
            _head(uid, octets)
        return
    found = _head(uid, octets)
    assert uid in found.syntaxes
    if uid == RLE_LOSSLESS:
        assert isinstance(found, Still)
        assert found.samples == int(values[SAMPLES]) * -(-int(values[ALLOCATED]) // 8)
        return
    assert (str(found.rows), str(found.columns)) == (values[ROWS], values[COLUMNS])
    if isinstance(found, Still) and found.bits:
        assert found.samples == int(values[SAMPLES])
        assert int(values[ALLOCATED]) in (found.bits, -(-found.bits // 8) * 8)


def _known() -> set[str]:
    p = "1.2.840.10008.1.2."
    stills = (50, 51, 53, 55, 57, 70, 80, 81, 90, 91, 92, 93, 110, 111, 112, 201, 202, 203)
    return {f"{p}5", *(f"{p}4.{n}" for n in (*stills, *range(100, 109)))}


@pytest.mark.parametrize("octets", [b"", b"\xff\xd8",
                                    b"\xff\xd8\xff\xc0\0\x02\xff\xda\0\x02", b"\xff\x4f\xff\x51\0\x04ab",
                                    b"\xff\x0a", b"\0\0\0\x0cjP  \r\n\x87\n", b"\0\0\0\x0cJXL \r\n\x87\n",
                                    b"\xff\xd8\xff\xc0\0\x08\x08\0\x0a\0\x0a\x01\xff\x90\0\x02",
                                    b"\xff\xd8\xff\xc0\0\x08\x08\0\x0a\0\x0a\x03\xff\xda\0\x08\x01\x01\0\0\x3f\0",
                                    b"\xff\xd8" + b"\xff" * 100, b"GIF89a", b"\x89PNG\r\n\x1a\n"])  # fmt: skip
def test_what_is_no_image_is_refused(octets: bytes) -> None:
    with pytest.raises(BadRequest):
        read_still(lambda at, count: octets[at : at + count], len(octets))


@pytest.mark.parametrize("octets", [b"", b"\0\0\x01\xb3", b"\0\0\x01\x67\x64", b"\0\0\x01\x42\x01" + bytes(9),
                                    b"\0\0\0\x10ftypisom\0\0\0\0", b"\x47" * 377, bytes(5000),
                                    b"\0\0\x01\x67\x6e\0\x29" + b"\xff" * 20])  # fmt: skip
def test_what_is_no_video_of_ours_is_refused(octets: bytes) -> None:
    with pytest.raises(BadRequest):
        read_video(lambda at, count: octets[at : at + count], len(octets))
