"""WADO-RS against a made-up archive: syntaxes, frames, bulk data, metadata."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Mapping
from typing import Any

import httpx
import pytest

from sagittal.dicom.part10 import meta_group
from sagittal.dicom.reencode import reencode
from sagittal.dicom.syntaxes import (
    DEFLATED_LE,
    EXPLICIT_BE,
    EXPLICIT_LE,
    IMPLICIT_LE,
    JPEG_2000_LOSSLESS,
    JPEG_BASELINE,
    syntax,
)
from sagittal.limits import Limits, ReaderLimits, WebLimits
from sagittal.web.house import Settings
from sagittal.web.wire.accept import media_type
from sagittal.web.wire.multipart import Reader

DICOM = 'multipart/related; type="application/dicom"'
OCTETS = "multipart/related; type=application/octet-stream"
STUDY = "/dicom-web/studies/1.2.1"
INSTANCE = STUDY + "/series/1.2.2/instances/1.2.3.1"
PATIENT_ID_LE = b"\x10\x00\x20\x00LO\x04\x00ABC "
PATIENT_ID_IMPLICIT = b"\x10\x00\x20\x00\x04\x00\x00\x00ABC "


class Parts:
    def __init__(self) -> None:
        self.parts: list[tuple[Mapping[str, str], bytes]] = []

    def begin(self, headers: Mapping[str, str]) -> None:
        self.parts.append((headers, b""))

    def data(self, data: memoryview) -> None:
        self.parts[-1] = (self.parts[-1][0], self.parts[-1][1] + bytes(data))

    def end(self) -> None:
        pass


def parts(answer: httpx.Response) -> list[tuple[Mapping[str, str], bytes]]:
    assert answer.status_code == 200, answer.text
    got = Parts()
    boundary = media_type(answer.headers["content-type"]).parameters["boundary"]
    reader = Reader(boundary.encode(), got, WebLimits())
    reader.feed(answer.content)
    reader.finish()
    if "content-length" in answer.headers:
        assert int(answer.headers["content-length"]) == len(answer.content)
    return got.parts


def stored(web: Any, ref: Any) -> bytes:
    data: bytes = (web.archive.folder / ref.key).read_bytes()
    return data


class TestObjects:
    def test_as_stored(self, web: Any) -> None:
        refs = [web.archive.hold(PATIENT_ID_LE, EXPLICIT_LE), web.archive.hold(b"x" * 3_000_000, JPEG_BASELINE)]
        got = parts(web.get(STUDY, DICOM + "; transfer-syntax=*"))
        assert [data for _, data in got] == [stored(web, ref) for ref in refs]
        assert got[1][0]["content-type"] == f"application/dicom;transfer-syntax={JPEG_BASELINE}"

    @pytest.mark.parametrize("accept", [None, "*/*", DICOM + f"; transfer-syntax={JPEG_BASELINE}"])
    def test_other_words_for_as_stored(self, web: Any, accept: str | None) -> None:
        ref = web.archive.hold(b"x", JPEG_BASELINE)
        assert parts(web.get(STUDY + "/series/1.2.2", accept))[0][1] == stored(web, ref)

    def test_explicit_little_endian_is_the_default(self, web: Any) -> None:
        web.archive.hold(PATIENT_ID_IMPLICIT, IMPLICIT_LE)
        ((headers, data),) = parts(web.get(INSTANCE, DICOM))
        assert headers["content-type"] == f"application/dicom;transfer-syntax={EXPLICIT_LE}"
        assert data == meta_group("1.2.840.10008.5.1.4.1.1.2", "1.2.3.1", EXPLICIT_LE) + PATIENT_ID_LE

    def test_a_codec_would_be_needed(self, web: Any) -> None:
        web.archive.hold(PATIENT_ID_LE, EXPLICIT_LE)
        web.archive.hold(b"x", "1.2.3.4")
        answer = web.get(STUDY, DICOM)
        assert answer.status_code == 406
        assert "transfer-syntax=*" in answer.json()["detail"]
        assert "no codec" in answer.json()["detail"]

    def test_what_is_lost_already_and_cannot_be_decoded_is_its_own_default(self, web: Any) -> None:
        """PS3.18 8.7.3: the default does not hold for pixels that are only there in lossy form."""
        ref = web.archive.hold(b"x", "1.2.840.10008.1.2.4.102")
        ((headers, data),) = parts(web.get(INSTANCE, DICOM))
        assert headers["content-type"] == "application/dicom;transfer-syntax=1.2.840.10008.1.2.4.102"
        assert data == stored(web, ref)

    def test_alone(self, web: Any) -> None:
        ref = web.archive.hold(PATIENT_ID_LE, EXPLICIT_LE)
        answer = web.get(INSTANCE, "application/dicom")
        assert answer.content == stored(web, ref)
        assert answer.headers["content-type"] == "application/dicom"
        assert answer.headers["content-disposition"] == 'attachment; filename="1.2.3.1.dcm"'
        web.archive.hold(PATIENT_ID_LE, EXPLICIT_LE)
        assert web.get(STUDY, "application/dicom").status_code == 406
        assert web.get(STUDY, "text/html").status_code == 406

    def test_nothing_there(self, web: Any) -> None:
        assert web.get(STUDY, DICOM).status_code == 404
        assert web.get(INSTANCE).status_code == 404

    def test_a_file_cut_short_is_no_whole_answer(self, web: Any, caplog: pytest.LogCaptureFixture) -> None:
        ref = web.archive.hold(b"x" * 5_000_000, JPEG_BASELINE)
        with (web.archive.folder / ref.key).open("r+b") as file:
            file.truncate(2_500_000)
        with pytest.raises(AssertionError):  # of a transport that was given no end
            web.run(lambda client: client.get(STUDY), raise_errors=True)
        assert "the stored object is truncated" in caplog.text

    def test_blocks_that_cannot_be_read_are_told(self, web: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        def failing(*_: int) -> bytes:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

        web.archive.hold(PATIENT_ID_LE, EXPLICIT_LE)
        monkeypatch.setattr(os, "pread", failing)
        answer = web.get(INSTANCE, "application/dicom; transfer-syntax=*")
        assert answer.status_code == 500
        assert answer.json()["detail"] == "the stored object cannot be read: Input/output error"

    def test_head(self, web: Any) -> None:
        ref = web.archive.hold(PATIENT_ID_LE, EXPLICIT_LE)
        answer = web.request("HEAD", INSTANCE, headers={"accept": "application/dicom"})
        assert (answer.status_code, answer.headers["content-length"]) == (200, str(ref.size))


class TestMetadata:
    BULK = f"http://localhost:8042{INSTANCE}/bulkdata/7FE00010?offset=0&length=4"

    def test_addresses_are_absolute(self, web: Any) -> None:
        web.archive.hold(b"", EXPLICIT_LE)
        web.archive.hold(b"", EXPLICIT_LE)
        answer = web.get(STUDY + "/metadata", "application/dicom+json")
        assert answer.headers["content-type"] == "application/dicom+json"
        first, second = answer.json()
        assert first["7FE00010"]["BulkDataURI"] == self.BULK
        assert second["7FE00010"]["BulkDataURI"] == self.BULK.replace("1.2.3.1", "1.2.3.2")

    def test_in_pieces(self, web: Any) -> None:
        web.archive.hold(b"", EXPLICIT_LE, frames=600)
        web.archive.hold(b"", EXPLICIT_LE)
        web.archive.hold(b"", EXPLICIT_LE, frames=600)
        web.archive.texts[3] = json.dumps({"00081030": {"vr": "LO", "Value": ['"BulkDataURI":"x']}}).encode()
        found = web.get(STUDY + "/metadata").json()
        assert len(found) == 3
        assert found[1]["7FE00010"]["BulkDataURI"] == self.BULK
        assert found[2]["00081030"]["Value"] == ['"BulkDataURI":"x']

    @pytest.mark.parametrize("accept", ["multipart/related", "multipart/*", 'multipart/related; type="application/*"'])
    def test_parts_are_xml(self, web: Any, accept: str) -> None:
        web.archive.hold(b"", EXPLICIT_LE)
        answer = web.get(INSTANCE + "/metadata", accept)
        assert [head["content-type"] for head, _ in parts(answer)] == ["application/dicom+xml"]

    @pytest.mark.parametrize(("accept", "status"), [("application/json", 200), ("*/*", 200), ("text/html", 406)])
    def test_media_types(self, web: Any, accept: str, status: int) -> None:
        web.archive.hold(b"", EXPLICIT_LE)
        assert web.get(INSTANCE + "/metadata", accept).status_code == status


class TestFrames:
    def test_native(self, web: Any) -> None:
        web.archive.hold(b"headAABBCC", IMPLICIT_LE, frames=3)
        web.archive.ranges[1] = [[(32, 16)], [(48, 16)], [(64, 16)]]
        got = parts(web.get(INSTANCE + "/frames/3,1", OCTETS))
        assert [data for _, data in got] == [b"CC", b"AA"]
        assert got[0][0]["content-type"] == f"application/octet-stream;transfer-syntax={EXPLICIT_LE}"
        assert got[0][0]["content-location"] == f"http://localhost:8042{INSTANCE}/frames/3"
        answer = web.get(INSTANCE + "/frames/2", "application/octet-stream")
        assert (answer.content, answer.headers["content-length"]) == (b"BB", "2")

    def test_one_bit(self, web: Any) -> None:
        # three frames of 3 x 3 pixels: the second begins at bit 9 (PS3.5 8.1.1, Figure 8.1-? packing from the least)
        bits = "101010101110011001111000111"
        packed = int(bits[::-1], 2).to_bytes(4, "little")
        web.archive.hold(packed, EXPLICIT_LE, frames=3)
        web.archive.ranges[1] = [[(0, 9)], [(9, 9)], [(18, 9)]]
        got = parts(web.get(INSTANCE + "/frames/1,2,3", OCTETS))
        for (_, data), frame in zip(got, (bits[:9], bits[9:18], bits[18:]), strict=True):
            assert f"{int.from_bytes(data, 'little'):09b}"[::-1] == frame
            assert len(data) == 2

    def test_big_endian_words(self, web: Any) -> None:
        head = b"\x7f\xe0\x00\x10OW\x00\x00\x00\x00\x00\x08"
        web.archive.hold(head + b"\x01\x02\x03\x04\x05\x06\x07\x08", EXPLICIT_BE, frames=2)
        web.archive.ranges[1] = [[(96, 32)], [(128, 32)]]
        assert web.get(INSTANCE + "/frames/2", "application/octet-stream").content == b"\x06\x05\x08\x07"
        bulk = web.get(INSTANCE + "/bulkdata/7FE00010?offset=12&length=8", "application/octet-stream")
        assert bulk.content == b"\x02\x01\x04\x03\x06\x05\x08\x07"
        # frames of an odd number of octets lie across words
        web.archive.ranges[1] = [[(96, 24)], [(120, 24)]]
        assert web.get(INSTANCE + "/frames/2", "application/octet-stream").content == b"\x03\x06\x05"

    @pytest.mark.parametrize(("bits", "first"), [(16, b"\x02\x01\x04\x03"), (32, b"\x04\x03\x02\x01")])
    def test_big_endian_pixels_are_swapped_whole(self, web: Any, bits: int, first: bytes) -> None:
        """As wherever else an object goes in little endian."""
        head = b"\x00\x28\x01\x00US\x00\x02\x00" + bytes([bits]) + b"\x7f\xe0\x00\x10OW\x00\x00\x00\x00\x00\x08"
        held = head + b"\x01\x02\x03\x04\x05\x06\x07\x08"
        web.archive.hold(held, EXPLICIT_BE, frames=2)
        web.archive.ranges[1] = [[(176, 32)], [(208, 32)]]
        whole = b"".join(reencode([held], syntax(EXPLICIT_BE), syntax(EXPLICIT_LE), ReaderLimits()))
        assert web.get(INSTANCE + "/frames/1", "application/octet-stream").content == first
        bulk = web.get(INSTANCE + "/bulkdata/7FE00010?offset=22&length=8", "application/octet-stream")
        assert bulk.content == whole[-8:] and bulk.content[:4] == first

    @pytest.mark.parametrize(
        ("accept", "type_"),
        [
            ("*/*", "image/jp2"),
            ('multipart/related; type="image/jp2"', "image/jp2"),
            (OCTETS + "; transfer-syntax=*", "application/octet-stream"),
            (f"{OCTETS}; transfer-syntax={JPEG_2000_LOSSLESS}", "application/octet-stream"),
        ],
    )
    def test_compressed(self, web: Any, accept: str, type_: str) -> None:
        web.archive.hold(b"....ABxxxxCD", JPEG_2000_LOSSLESS, frames=2)
        web.archive.ranges[1] = [[(32, 8), (40, 8)], [(80, 16)]]
        got = parts(web.get(INSTANCE + "/frames/1,2", accept))
        assert [data for _, data in got] == [b"AB", b"CD"]
        assert got[0][0]["content-type"] == f"{type_};transfer-syntax={JPEG_2000_LOSSLESS}"

    @pytest.mark.parametrize("accept", [OCTETS + "; transfer-syntax=1.2.3", "image/png", "text/html"])
    def test_a_codec_would_be_needed(self, web: Any, accept: str) -> None:
        web.archive.hold(b"....", JPEG_2000_LOSSLESS, frames=1)
        answer = web.get(INSTANCE + "/frames/1", accept)
        assert answer.status_code == 406
        assert "image/jp2" in answer.json()["detail"]

    def test_several_frames_need_multipart(self, web: Any) -> None:
        web.archive.hold(b"....", EXPLICIT_LE, frames=2)
        assert web.get(INSTANCE + "/frames/1,2", "application/octet-stream").status_code == 406

    @pytest.mark.parametrize(
        ("frames", "status"),
        [("4", 404), ("1,4", 404), ("0", 400), ("-1", 400), ("x", 400), ("1,", 400), ("", 404), ("1;2", 400)],
    )
    def test_frames_that_are_not_there(self, web: Any, frames: str, status: int) -> None:
        web.archive.hold(b"....", EXPLICIT_LE, frames=3)
        web.archive.ranges[1] = [[(0, 8)]] * 3
        assert web.get(f"{INSTANCE}/frames/{frames}").status_code == status

    @pytest.mark.parametrize("over", [-1, 0, 1])
    def test_frames_at_once(self, web: Any, over: int) -> None:
        web.settings = Settings(limits=Limits(web=WebLimits(frames_per_request_max=4)))
        web.archive.hold(b"....", EXPLICIT_LE, frames=1)
        web.archive.ranges[1] = [[(0, 8)]]
        frames = ",".join(["1"] * (4 + over))
        assert web.get(f"{INSTANCE}/frames/{frames}").status_code == (400 if over > 0 else 200)


class TestBulkData:
    def test_by_place(self, web: Any) -> None:
        web.archive.hold(b"0123456789", EXPLICIT_LE)
        path = INSTANCE + "/bulkdata/52009229/1/00289145"
        assert web.get(path + "?offset=2&length=3", "application/octet-stream").content == b"234"
        ((_, data),) = parts(web.get(path + "?offset=9&length=1"))
        assert data == b"9"
        assert web.get(path + "?offset=9&length=2").status_code == 404
        assert web.get(path).status_code == 404

    @pytest.mark.parametrize("query", ["offset=x&length=1", "offset=1", "offset=-1&length=1", "offset=1&length="])
    def test_places_that_are_none(self, web: Any, query: str) -> None:
        web.archive.hold(b"0123456789", EXPLICIT_LE)
        assert web.get(f"{INSTANCE}/bulkdata/7FE00010?{query}").status_code == 400

    def test_all_frames(self, web: Any) -> None:
        web.archive.hold(b"AABB", JPEG_BASELINE, frames=2)
        web.archive.ranges[1] = [[(0, 16)], [(16, 16)]]
        got = parts(web.get(INSTANCE + "/bulkdata/7fe00010"))
        assert [(headers["content-type"].partition(";")[0], data) for headers, data in got] == [
            ("image/jpeg", b"AA"),
            ("image/jpeg", b"BB"),
        ]

    def test_deflated(self, web: Any) -> None:
        import zlib

        deflater = zlib.compressobj(wbits=-15)
        web.archive.hold(deflater.compress(PATIENT_ID_LE) + deflater.flush(), DEFLATED_LE)
        answer = web.get(INSTANCE + "/bulkdata/00100020?offset=8&length=3", "application/octet-stream")
        assert answer.content == b"ABC"
