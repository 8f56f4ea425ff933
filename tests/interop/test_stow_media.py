"""STOW-RS of metadata with bulk data of every media type, in real streams: what is held is what was sent.

Each is sent with metadata in JSON and in XML over HTTP and fetched again by WADO-RS; pydicom reads it. Every element of
the metadata is there with the same value, the code stream is the one that was sent, and its pixels are decoded by
another decoder (imagecodecs). What is refused is in `unit/web/test_stow_metadata`.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import imagecodecs
import numpy as np
import pytest
from builders import uid
from conftest import Served
from programs import corpus_folder
from pydicom import Dataset, dcmread
from pydicom.encaps import generate_fragments, generate_frames
from unit.web.test_stow_metadata import JSON, XML, payload

from sagittal.dicom.models.xml import to_xml

pytestmark = pytest.mark.filterwarnings("ignore")

_P, _S = "1.2.840.10008.1.2.4.", "1.2.840.10008.5.1.4.1.1."
SECONDARY_CAPTURE, VIDEO_ENDOSCOPIC = f"{_S}7", f"{_S}77.1.1.1"
GREY = (np.arange(48 * 40, dtype=np.uint32).reshape(48, 40) * 37 % 251).astype(np.uint8)
DEEP = (np.arange(48 * 40, dtype=np.uint32).reshape(48, 40) * 37 % 4093).astype(np.uint16)
COLOR = np.stack([GREY, GREY[::-1], GREY[:, ::-1]], -1).copy()


class Image(NamedTuple):
    """A compressed image, what it decodes to, and how."""

    type: str
    stream: bytes
    pixels: Any
    syntax_uid: str
    decode: Callable[[bytes], Any]
    exact: bool = True


def _codestream(octets: bytes) -> bytes:
    """What a JP2 or JPH file holds (ISO/IEC 15444-1 I.5.4); a code stream as it is."""
    return octets[octets.index(b"\xff\x4f\xff\x51") :]


def images() -> dict[str, Image]:
    def lossless(pixels: Any, bits: int) -> bytes:
        return bytes(imagecodecs.jpeg8_encode(pixels, lossless=True, predictor=1, bitspersample=bits))

    def jp2(pixels: Any, **more: Any) -> bytes:
        return bytes(imagecodecs.jpeg2k_encode(pixels, reversible=True, **more))

    def jxl(pixels: Any) -> bytes:
        return bytes(imagecodecs.jpegxl_encode(pixels, lossless=True))

    j2k = imagecodecs.jpeg2k_decode
    return {
        "jpeg": Image("image/jpeg", bytes(imagecodecs.jpeg8_encode(GREY, level=95)), GREY, f"{_P}50",
                      imagecodecs.jpeg8_decode, exact=False),
        "jpeg color": Image("image/jpeg", bytes(imagecodecs.jpeg8_encode(COLOR, level=95)), COLOR, f"{_P}50",
                            imagecodecs.jpeg8_decode, exact=False),
        "jpeg lossless": Image("image/jpeg", lossless(GREY, 8), GREY, f"{_P}70", imagecodecs.jpeg8_decode),
        "jpeg lossless deep": Image("image/jpeg", lossless(DEEP, 12), DEEP, f"{_P}70", imagecodecs.jpeg8_decode),
        "jls": Image("image/jls", bytes(imagecodecs.jpegls_encode(DEEP)), DEEP, f"{_P}80", imagecodecs.jpegls_decode),
        "jp2": Image("image/jp2", jp2(DEEP, codecformat="jp2"), DEEP, f"{_P}90", j2k),
        "jp2 color": Image("image/jp2", jp2(COLOR, codecformat="jp2"), COLOR, f"{_P}90", j2k),
        "j2k": Image("image/jp2", jp2(GREY, codecformat="j2k"), GREY, f"{_P}90", j2k),
        "jph": Image("image/jphc", bytes(imagecodecs.htj2k_encode(GREY)), GREY, f"{_P}201", imagecodecs.htj2k_decode),
        # The head does not tell whether something was lost, so it is the syntax of both, unless it is named.
        "jxl": Image("image/jxl", jxl(GREY), GREY, f"{_P}112", imagecodecs.jpegxl_decode),
        "jxl color": Image(f"image/jxl; transfer-syntax={_P}110", jxl(COLOR), COLOR, f"{_P}110",
                           imagecodecs.jpegxl_decode),
    }  # fmt: skip


IMAGES = images()
PNGS = {"grey": GREY, "deep": DEEP, "color": COLOR}
CDA = '<?xml version="1.0"?><ClinicalDocument xmlns="urn:hl7-org:v3"><title>Ärztebrief</title></ClinicalDocument>'
DOCUMENTS = {
    "application/pdf": (f"{_S}104.1", b"%PDF-1.7\n" + bytes(range(256)) * 9 + b"\n%%EOF"),
    "text/xml": (f"{_S}104.2", CDA.encode()),
    "application/xml": (f"{_S}104.2", CDA.encode()),
    "model/stl": (f"{_S}104.3", b"solid".ljust(80) + (1).to_bytes(4, "little") + bytes(50)),
    "application/sla": (f"{_S}104.3", b"solid a\nendsolid a"),
    "model/obj": (f"{_S}104.4", b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n"),
    "model/mtl": (f"{_S}104.5", b"newmtl a\nKd 1 0 0"),
}
VIDEOS = {
    "mpeg2": ("video/mpeg", "synth_mpeg2_mpml.dcm"),
    "h264": ("video/mp4", "synth_h264_hp41.dcm"),
    "hevc": ("video/mp4", "synth_hevc_mp51.dcm"),
}


def said(name: str, sop_class: str) -> dict[str, Any]:
    """Metadata with values of most kinds."""
    code = {"00080100": {"vr": "SH", "Value": ["T-1"]}, "00080104": {"vr": "LO", "Value": ["頭部"]}}
    return {
        "00080016": {"vr": "UI", "Value": [sop_class]},
        "00080018": {"vr": "UI", "Value": [uid("media", name)]},
        "00080020": {"vr": "DA", "Value": ["20260102"]},
        "00080030": {"vr": "TM", "Value": ["101530.25"]},
        "00080060": {"vr": "CS", "Value": ["OT"]},
        "00081110": {"vr": "SQ", "Value": [{"00081150": {"vr": "UI", "Value": ["1.2.3"]}}, {}]},
        "00082218": {"vr": "SQ", "Value": [code]},
        "00100010": {
            "vr": "PN",
            "Value": [{"Alphabetic": "Yamada^Tarou", "Ideographic": "山田^太郎", "Phonetic": "やまだ^たろう"}],
        },
        "00100020": {"vr": "LO", "Value": ["P1"]},
        "00101030": {"vr": "DS", "Value": [71.5]},
        "00181063": {"vr": "DS"},
        "00189074": {"vr": "DT", "Value": ["20260102101530.5+0100"]},
        "00189087": {"vr": "FD", "Value": [0.1]},
        "0020000D": {"vr": "UI", "Value": [uid("media study", name)]},
        "0020000E": {"vr": "UI", "Value": [uid("media series", name)]},
        "00200013": {"vr": "IS", "Value": [7]},
        "00204000": {"vr": "LT", "Value": ["two lines\r\nand a \\ in them"]},
        "00290010": {"vr": "LO", "Value": ["ACME"]},
        "00291001": {"vr": "OB", "InlineBinary": "AAECAw=="},
        "00291002": {"vr": "US", "Value": [1, 65535]},
        "00720026": {"vr": "AT", "Value": ["00100010"]},
    }  # fmt: skip


def stored(served: Served, obj: dict[str, Any], type_: str, content: bytes, root: str) -> tuple[Dataset, bytes]:
    """The object as WADO-RS gives it back, and its bulk data by the address that its metadata names."""
    description = json.dumps([obj]).encode() if root == JSON else to_xml(obj)
    body = payload([(root, "", description), (type_, "bulk", content)])
    kind = {"content-type": f'multipart/related; type="{root}"; boundary=b', "accept": JSON}
    answer = httpx.post(f"{served.http}/dicom-web/studies", content=body, headers=kind, timeout=60)
    assert answer.status_code == 200, answer.text
    study, series, instance = (obj[tag]["Value"][0] for tag in ("0020000D", "0020000E", "00080018"))
    address = f"{served.http}/dicom-web/studies/{study}/series/{series}/instances/{instance}"
    whole = httpx.get(address, headers={"accept": "application/dicom; transfer-syntax=*"}, timeout=60)
    assert whole.status_code == 200, whole.text
    (metadata,) = httpx.get(f"{address}/metadata", headers={"accept": JSON}, timeout=60).json()
    bulk = value_of(next(metadata[tag] for tag in ("7FE00010", "00420011") if tag in metadata))
    assert httpx.delete(f"{served.http}/dicom-web/studies/{study}", timeout=60).status_code == 204
    return dcmread(BytesIO(whole.content)), bulk


def value_of(element: dict[str, Any]) -> bytes:
    """The bytes of an element: in the metadata when they are few, else at the address that these name."""
    if "InlineBinary" in element:
        return base64.b64decode(element["InlineBinary"])
    answer = httpx.get(element["BulkDataURI"], headers={"accept": "*/*"}, timeout=60)
    assert answer.status_code == 200, answer.text
    return answer.content


def same_elements(held: Dataset, obj: dict[str, Any]) -> None:
    """Every element that was said is held with its value, and nothing of another patient."""
    sent = Dataset.from_json(json.dumps({tag: e for tag, e in obj.items() if "BulkDataURI" not in e}))
    for element in sent:
        assert element.tag in held, element
        assert held[element.tag].VR == element.VR
        assert held[element.tag].value == element.value, element
    assert held.SpecificCharacterSet == "ISO_IR 192"


@pytest.fixture(params=[JSON, XML], ids=["json", "xml"])
def root(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def pixel_data() -> dict[str, Any]:
    return {"7FE00010": {"vr": "OW", "BulkDataURI": "bulk"}}


@pytest.mark.parametrize("name", IMAGES)
def test_an_image(shared_server: Served, name: str, root: str) -> None:
    sent = IMAGES[name]
    obj = said(name, SECONDARY_CAPTURE) | pixel_data()
    if sent.type.startswith("image/jxl"):  # its head is not read, so the metadata say all
        obj |= described(sent.pixels)
    held, bulk = stored(shared_server, obj, sent.type, sent.stream, root)
    same_elements(held, {tag: element for tag, element in obj.items() if tag[:4] != "0028"})
    assert held.file_meta.TransferSyntaxUID == sent.syntax_uid
    assert (held.Rows, held.Columns) == sent.pixels.shape[:2]
    assert held.SamplesPerPixel == (3 if sent.pixels.ndim == 3 else 1)
    assert held.BitsAllocated == sent.pixels.itemsize * 8
    (fragment,) = generate_frames(held.PixelData, number_of_frames=1)
    stream = _codestream(sent.stream) if "jp2" in sent.type else sent.stream
    assert fragment[: len(stream)] == stream and len(fragment) <= len(stream) + 1
    assert stream in bulk
    decoded = np.asarray(sent.decode(fragment))
    if sent.exact:
        np.testing.assert_array_equal(decoded, sent.pixels)
    else:
        np.testing.assert_array_equal(decoded, sent.decode(sent.stream))


def described(pixels: Any) -> dict[str, Any]:
    bits = pixels.itemsize * 8
    numbers = {"00280002": 3 if pixels.ndim == 3 else 1, "00280010": pixels.shape[0], "00280011": pixels.shape[1],
               "00280100": bits, "00280101": bits, "00280102": bits - 1, "00280103": 0}  # fmt: skip
    numbers |= {"00280006": 0} if pixels.ndim == 3 else {}
    shown = {"00280004": {"vr": "CS", "Value": ["RGB" if pixels.ndim == 3 else "MONOCHROME2"]}}
    return {tag: {"vr": "US", "Value": [number]} for tag, number in numbers.items()} | shown


@pytest.mark.parametrize("name", PNGS)
def test_a_png(shared_server: Served, name: str, root: str) -> None:
    pixels = PNGS[name]
    obj = said(f"png {name}", SECONDARY_CAPTURE) | pixel_data()
    held, bulk = stored(shared_server, obj, "image/png", bytes(imagecodecs.png_encode(pixels)), root)
    same_elements(held, obj)
    assert held.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.1"
    np.testing.assert_array_equal(held.pixel_array, pixels)
    assert pixels.tobytes() in bulk


@pytest.mark.parametrize("type_", DOCUMENTS)
@pytest.mark.parametrize("odd", [False, True])
def test_a_document(shared_server: Served, type_: str, odd: bool, root: str) -> None:
    sop_class, content = DOCUMENTS[type_]
    content += b"\n" * ((len(content) % 2 == 0) == odd)
    obj = said(f"{type_} {odd}", sop_class) | {"00420011": {"vr": "OB", "BulkDataURI": "bulk"}}
    held, bulk = stored(shared_server, obj, type_, content, root)
    same_elements(held, obj)
    assert held.EncapsulatedDocumentLength == len(content)
    assert held.EncapsulatedDocument[: len(content)] == content
    assert len(held.EncapsulatedDocument) == len(content) + odd
    assert held.MIMETypeOfEncapsulatedDocument == type_
    assert content in bulk


@pytest.fixture(scope="module")
def streams() -> Iterator[dict[str, tuple[bytes, Dataset]]]:
    folder: Path = corpus_folder() / "video"
    found = {}
    for name, (_, file) in VIDEOS.items():
        held = dcmread(folder / file)
        found[name] = b"".join(generate_fragments(held.PixelData[8:])), held
    yield found


@pytest.mark.parametrize("name", VIDEOS)
def test_a_video(shared_server: Served, name: str, root: str, streams: dict[str, tuple[bytes, Dataset]]) -> None:
    stream, original = streams[name]
    obj = said(name, VIDEO_ENDOSCOPIC) | pixel_data()
    obj |= {"00280004": {"vr": "CS", "Value": ["YBR_PARTIAL_420"]}, "00280006": {"vr": "US", "Value": [0]}}
    obj |= {"00280008": {"vr": "IS", "Value": [int(original.NumberOfFrames)]}}
    obj |= {tag: {"vr": "US", "Value": [value]} for tag, value in (("00280101", 8), ("00280102", 7), ("00280103", 0))}
    type_, _ = VIDEOS[name]
    held, bulk = stored(shared_server, obj, type_, stream, root)
    same_elements(held, obj)
    assert held.file_meta.TransferSyntaxUID == original.file_meta.TransferSyntaxUID
    assert (held.Rows, held.Columns) == (original.Rows, original.Columns)
    assert b"".join(generate_fragments(held.PixelData[8:])) == stream
    assert stream in bulk
