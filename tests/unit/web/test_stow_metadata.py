"""STOW-RS of metadata with bulk data, on a real archive: what is refused and why, and what the client is told."""

from __future__ import annotations

import asyncio
import json
import struct
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import httpx
import pytest
from archived import applied
from builders import CT, opened, uid

from sagittal.archive.access import LOCAL
from sagittal.archive.archive import Archive
from sagittal.dicom.models.xml import to_xml
from sagittal.errors import BadRequest, LimitExceeded
from sagittal.limits import Limits, WebLimits
from sagittal.web.house import Settings
from sagittal.web.store.cut import Cutter

JSON, XML = "application/dicom+json", "application/dicom+xml"
PDF_CLASS = "1.2.840.10008.5.1.4.1.1.104.1"
Parts = list[tuple[str, str, bytes]]
GREY = {"00280002": 1, "00280010": 2, "00280011": 2, "00280100": 8, "00280101": 8, "00280102": 7, "00280103": 0}


def instance(number: int = 1, sop_class: str = CT, **more: Any) -> dict[str, Any]:
    texts = {
        "00080016": ("UI", sop_class),
        "00080018": ("UI", uid("instance", number)),
        "0020000D": ("UI", uid("study", 1)),
        "0020000E": ("UI", uid("series", 1)),
        "00100020": ("LO", "P1"),
    }
    return {tag: {"vr": vr, "Value": [text]} for tag, (vr, text) in texts.items()} | more


def image(
    number: int = 1, location: str = "pixels", numbers: dict[str, int] | None = None, **more: Any
) -> dict[str, Any]:
    found = {tag: {"vr": "US", "Value": [value]} for tag, value in (GREY if numbers is None else numbers).items()}
    shown = {"00280004": {"vr": "CS", "Value": ["MONOCHROME2"]}} if numbers is None else {}
    return instance(number) | found | shown | {"7FE00010": {"vr": "OW", "BulkDataURI": location}} | more


def jpeg(
    rows: int = 2, columns: int = 2, samples: int = 1, marker: int = 0xC0, selection: int = 0, bits: int = 8
) -> bytes:
    """The head of a JPEG image, and bytes that stand for its scan."""
    components = b"".join(bytes((number + 1, 0x11, 0)) for number in range(samples))
    frame = struct.pack(">BHHB", bits, rows, columns, samples) + components
    scan = bytes((samples,)) + b"\1\0" * samples + bytes((selection, 63, 0))
    segments = [(marker, frame), (0xDA, scan)]
    return b"\xff\xd8" + b"".join(struct.pack(">BBH", 255, m, len(c) + 2) + c for m, c in segments) + b"scan\xff\xd9"


def jpeg_2000(rows: int, columns: int, reversible: bool, capabilities: int = 0, mixed: int = 0) -> bytes:
    size = struct.pack(">HIIIIIIIIH", capabilities, columns, rows, 0, 0, columns, rows, 0, 0, 1) + b"\x07\1\1"
    style = bytes((0, 0, 0, 1, mixed, 5, 4, 4, 0, int(reversible)))
    segments = [(0x51, size), (0x52, style), (0x90, bytes(8))]
    return b"\xff\x4f" + b"".join(struct.pack(">BBH", 255, m, len(c) + 2) + c for m, c in segments) + b"data"


def payload(parts: Parts) -> bytes:
    body = b""
    for type_, location, content in parts:
        where = f"Content-Location: {location}\r\n" if location else ""
        body += f"--b\r\nContent-Type: {type_}\r\n{where}\r\n".encode() + content + b"\r\n"
    return body + b"--b--\r\n"


def told(*objects: dict[str, Any]) -> tuple[str, str, bytes]:
    return JSON, "", json.dumps(objects).encode()


Asked = Callable[[Archive, httpx.AsyncClient], Awaitable[Any]]


def run(tmp_path: Path, ask: Asked) -> Any:
    async def inside() -> Any:
        async with (
            opened(tmp_path / "data") as archive,
            applied(archive) as app,
            httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://localhost:8042") as client,
        ):
            found = await ask(archive, client)
        assert not list((tmp_path / "data" / "staging").iterdir())  # what was still being synced has gone by now
        return found

    return asyncio.run(inside())


async def post(client: httpx.AsyncClient, parts: Parts, root: str = JSON, **headers: str) -> httpx.Response:
    type_ = f'multipart/related; type="{root}"; boundary=b'
    return await client.post("/dicom-web/studies", content=payload(parts), headers={"content-type": type_, **headers})


def store(tmp_path: Path, parts: Parts, root: str = JSON, **headers: str) -> tuple[httpx.Response, list[Any]]:
    """The answer, and (transfer syntax, metadata) of what is held afterwards."""

    async def ask(archive: Archive, client: httpx.AsyncClient) -> tuple[httpx.Response, list[Any]]:
        answer = await post(client, parts, root, **headers)
        try:
            refs = await archive.instances(LOCAL, study_uid=uid("study", 1))
        except Exception:
            return answer, []
        texts = [text async for group in archive.metadata(LOCAL, refs) for text in group]
        return answer, [(ref.syntax_uid, json.loads(text)) for ref, text in zip(refs, texts, strict=True)]

    found: tuple[httpx.Response, list[Any]] = run(tmp_path, ask)
    return found


def comment(answer: httpx.Response, tag: str = "00081198") -> str:
    (item,) = answer.json()[tag]["Value"]
    return str(item["00000902"]["Value"][0])


def test_native_pixels(tmp_path: Path) -> None:
    async def ask(archive: Archive, client: httpx.AsyncClient) -> None:
        answer = await post(client, [told(image()), ("application/octet-stream", "pixels", b"abcd")])
        assert answer.status_code == 200, answer.text
        frames = await client.get(
            f"/dicom-web/studies/{uid('study', 1)}/series/{uid('series', 1)}/instances/{uid('instance', 1)}/frames/1",
            headers={"accept": "application/octet-stream"},
        )
        assert frames.content == b"abcd"

    run(tmp_path, ask)


P = "1.2.840.10008.1.2.4."
STREAMS = [
    ("image/jpeg", jpeg(), P + "50"),
    ("image/jpeg", jpeg(marker=0xC1), P + "51"),
    ("image/jpeg", jpeg(marker=0xC3, selection=1), P + "70"),
    ("image/jpeg", jpeg(marker=0xC3, selection=6), P + "57"),
    ("image/jls", jpeg(marker=0xF7), P + "80"),
    ("image/jls", jpeg(marker=0xF7, selection=2), P + "81"),
    ("image/jp2", jpeg_2000(2, 2, True), P + "90"),
    ("image/jp2", jpeg_2000(2, 2, False), P + "91"),
    ("image/jph", jpeg_2000(2, 2, True, 0x4000), P + "201"),
    ("image/jph", jpeg_2000(2, 2, False, 0x4000), P + "203"),
    ("image/dicom-rle", struct.pack("<16I", 1, 64, *[0] * 14) + b"\x03abcd", "1.2.840.10008.1.2.5"),
    (f"image/jp2; transfer-syntax={P}91", jpeg_2000(2, 2, True), P + "91"),
]


@pytest.mark.parametrize(("type_", "octets", "syntax_uid"), STREAMS)
def test_compressed_pixels_have_the_syntax_of_their_stream(
    type_: str, octets: bytes, syntax_uid: str, tmp_path: Path
) -> None:
    answer, held = store(tmp_path, [told(image()), (type_, "pixels", octets)])
    assert answer.status_code == 200, answer.text
    assert [uid for uid, _ in held] == [syntax_uid]


def test_frames_are_parts_of_one_address(tmp_path: Path) -> None:
    parts = [("image/jpeg", "pixels", jpeg())] * 3
    answer, held = store(tmp_path, [told(image()), *parts])
    assert answer.status_code == 200, answer.text
    assert held[0][1]["00280008"]["Value"] == [3]
    counted = {"00280008": {"vr": "IS", "Value": [2]}}
    answer, _ = store(tmp_path / "2", [told(image(**counted)), *parts])
    assert answer.status_code == 409 and comment(answer) == "3 parts for 2 frames"


def test_what_the_metadata_leaves_out_comes_from_the_stream(tmp_path: Path) -> None:
    answer, held = store(tmp_path, [told(image(numbers={})), ("image/jpeg", "pixels", jpeg(4, 6, samples=3))])
    assert answer.status_code == 200, answer.text
    said = {tag: held[0][1][tag]["Value"][0] for tag in (*GREY, "00280004", "00280006")}
    assert said == {"00280002": 3, "00280010": 4, "00280011": 6, "00280100": 8, "00280101": 8, "00280102": 7,
                    "00280103": 0, "00280004": "YBR_FULL", "00280006": 0}  # fmt: skip


MISMATCHES = [
    (jpeg(rows=4), {}, r"\(0028,0010\) is 2, but the head of the stream says 4"),
    (jpeg(columns=4), {}, r"\(0028,0011\)"),
    (jpeg(samples=3), {}, r"\(0028,0002\)"),
    (jpeg(marker=0xC1, bits=12), {}, r"\(0028,0100\) is 8, but the head of the stream says 16"),
    (jpeg(), {"00280004": {"vr": "CS", "Value": ["RGB"]}}, "Photometric Interpretation RGB for an image of 1 samples"),
    (jpeg(marker=0xC2), {}, "progressive"),
    (b"nothing", {}, "neither JPEG"),
]


@pytest.mark.parametrize(("octets", "more", "reason"), MISMATCHES)
def test_a_stream_that_contradicts_its_metadata_is_refused(
    octets: bytes, more: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    answer, held = store(tmp_path, [told(image(**more)), ("image/jpeg", "pixels", octets)])
    assert answer.status_code == 409 and not held
    import re

    assert re.search(reason, comment(answer))


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        ([(f"image/jpeg; transfer-syntax={P}70", jpeg())], "does not fit"),
        ([("image/jpeg", jpeg()), (f"image/jpeg; transfer-syntax={P}50", jpeg())], "different media types"),
        ([("image/dicom-rle", struct.pack("<16I", 2, 64, 69, *[0] * 13) + b"\x03abcd\0" * 2)], "2 RLE segments for 1"),
    ],
)
def test_what_does_not_fit_is_refused(parts: list[tuple[str, bytes]], reason: str, tmp_path: Path) -> None:
    answer, _ = store(tmp_path, [told(image()), *((type_, "pixels", octets) for type_, octets in parts)])
    assert reason in comment(answer)


@pytest.mark.parametrize("type_", ["image/gif", "text/plain"])
def test_what_would_have_to_be_decoded_is_refused(type_: str, tmp_path: Path) -> None:
    answer, _ = store(tmp_path, [told(image()), (type_, "pixels", b"\x89PNG")])
    assert answer.status_code == 409 and "would have to be decoded" in comment(answer)


def test_documents(tmp_path: Path) -> None:
    document = {"00420011": {"vr": "OB", "BulkDataURI": "pdf"}}
    part = ("application/pdf", "pdf", b"%PDF-1.7 odd")
    answer, held = store(tmp_path, [told(instance(1, PDF_CLASS, **document)), part])
    assert answer.status_code == 200, answer.text
    assert held[0][1]["00420012"]["Value"] == ["application/pdf"]
    assert held[0][1]["00420015"]["Value"] == [12]
    answer, _ = store(tmp_path / "2", [told(instance(1, CT, **document)), part])
    assert "not what SOP Class" in comment(answer)
    other = {"00420012": {"vr": "LO", "Value": ["model/stl"]}}
    answer, _ = store(tmp_path / "3", [told(instance(1, PDF_CLASS, **document, **other)), part])
    assert "but the part is application/pdf" in comment(answer)


@pytest.mark.parametrize("tag", ["00080016", "00080018", "0020000D", "0020000E"])
def test_instances_without_a_uid_are_refused(tag: str, tmp_path: Path) -> None:
    obj = instance()
    del obj[tag]
    answer, _ = store(tmp_path, [told(obj)])
    assert answer.status_code == 409
    sequence = "0008119A" if tag == "00080018" else "00081198"
    assert "is missing or empty" in comment(answer, sequence)
    assert answer.json()[sequence]["Value"][0]["00081197"]["Value"] == [0xA900]


@pytest.mark.parametrize("element", [{}, 1, "1", [1], None])
def test_pixels_without_their_attributes_are_refused(element: Any, tmp_path: Path) -> None:
    odd = image() | {"00280002": element}
    answer, _ = store(tmp_path, [told(odd), ("application/octet-stream", "pixels", b"abcd")])
    assert comment(answer) == "Samples per Pixel (0028,0002) is missing or empty"


@pytest.mark.parametrize("octets", [b"abc", b""])
def test_pixels_that_are_too_short_are_refused(octets: bytes, tmp_path: Path) -> None:
    """Also by the one byte that brings them to an even length."""
    answer, held = store(tmp_path, [told(image()), ("application/octet-stream", "pixels", octets)])
    assert answer.status_code == 409 and not held
    assert f"Pixel Data has {len(octets)} bytes where its geometry needs 4" in comment(answer)


def test_what_a_part_is_of_is_told(tmp_path: Path) -> None:
    comments = instance(**{"00104000": {"vr": "LT", "BulkDataURI": "words"}})
    answer, _ = store(tmp_path, [told(comments), ("text/plain", "words", b"text")])
    assert comment(answer) == "text/plain can't be the value of an element, as 'words' is"
    answer, _ = store(tmp_path, [told(comments), ("", "words", b"text")])
    assert comment(answer, "0008119A") == "a part has no valid Content-Type"


@pytest.mark.parametrize(
    ("tag", "reason"), [("FFFEE000", "an item or a delimiter"), ("FFFEE00D", "an item"), ("0x001010", "is not a tag")]
)
def test_what_is_no_element_is_refused(tag: str, reason: str, tmp_path: Path) -> None:
    """Others would read a delimiter where an element is meant."""
    answer, _ = store(tmp_path, [told(instance() | {tag: {"vr": "UN"}})])
    assert answer.status_code == 409
    assert reason in comment(answer)


def test_some_of_many(tmp_path: Path) -> None:
    objects = [image(1), image(2, "none"), image(3)]
    parts: Parts = [told(*objects), ("application/octet-stream", "pixels", b"abcd"), ("application/pdf", "lost", b"%")]
    answer, held = store(tmp_path, parts)
    assert answer.status_code == 202
    assert len(held) == 2  # both of the same pixels
    assert "no part has the Content-Location 'none'" in comment(answer)
    assert "no metadata names the bulk data at 'lost'" in comment(answer, "0008119A")


def test_xml_in_and_out(tmp_path: Path) -> None:
    name = {"00100010": {"vr": "PN", "Value": [{"Alphabetic": "Дуэ^Ян"}]}}
    parts: Parts = [
        (XML, "", to_xml(image(1, **name))),
        (XML, "", to_xml(image(2))),
        ("application/octet-stream", "pixels", b"abcd"),
    ]
    answer, held = store(tmp_path, parts, XML, accept=XML)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == XML
    assert len(ElementTree.fromstring(answer.content).findall("*[@keyword='ReferencedSOPSequence']/*")) == 2
    assert held[0][1]["00100010"] == name["00100010"] and held[0][1]["00080005"]["Value"] == ["ISO_IR 192"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"nonsense", "no JSON array"),
        (b'[{"00080018": ', "ends inside"),
        (b"[{]}]", "no JSON"),
        (rb'[{"00080018": {"vr": "UI", "Value": ["\ud800"]}}]', "no JSON"),
        (b'[{"00100010": {"vr": "PN", "Value": [{"Alphabetic": 5}]}}]', "SOP Class UID"),
        (b"[" * 2000, "no JSON array"),
        (b'{"a":' + b"[" * 2000, "too deeply"),
    ],
)
def test_broken_metadata(text: bytes, reason: str, tmp_path: Path) -> None:
    answer, _ = store(tmp_path, [(JSON, "", text)])
    assert answer.status_code == 409
    assert reason in comment(answer, "0008119A")


def test_a_payload_that_ends_early_stores_nothing(tmp_path: Path) -> None:
    async def ask(archive: Archive, client: httpx.AsyncClient) -> None:
        whole = payload([told(image()), ("application/octet-stream", "pixels", b"abcd")])
        type_ = f'multipart/related; type="{JSON}"; boundary=b'
        answer = await client.post("/dicom-web/studies", content=whole[:-9], headers={"content-type": type_})
        assert answer.status_code == 400
        assert (await archive.statistics(LOCAL)).instances == 0

    run(tmp_path, ask)


def test_parts_without_a_place_are_told(tmp_path: Path) -> None:
    answer, held = store(tmp_path, [told(instance()), ("image/jpeg", "", jpeg())])
    assert answer.status_code == 202 and len(held) == 1
    assert "no Content-Location" in comment(answer, "0008119A")


@pytest.mark.parametrize("step", [1, 2, 7, 1000])
def test_objects_are_cut_however_they_come(step: int) -> None:
    texts = ['{"a":"}\\\\\\"]{"}', "{}", '{"b":[[{"c":"\\\\"}],{}]}']
    whole = ("\ufeff [" + " ,\n".join(texts) + "] ").encode()
    cutter = Cutter(100)
    found = [text for at in range(0, len(whole), step) for text in cutter.feed(whole[at : at + step])]
    cutter.finish()
    assert [text.decode() for text in found] == texts


@pytest.mark.parametrize("length", [99, 100, 101])
def test_an_object_is_no_longer_than_the_limit(length: int) -> None:
    cutter = Cutter(100)
    text = b'{"a":"' + b"x" * (length - 8) + b'"}'
    if length > 100:
        with pytest.raises(LimitExceeded, match="json_body_bytes_max"):
            list(cutter.feed(text))
    else:
        assert list(cutter.feed(text)) == [text]


def test_two_arrays_are_no_payload() -> None:
    with pytest.raises(BadRequest):
        list(Cutter(100).feed(b"[{}][{}]"))


@pytest.mark.parametrize("over", [-1, 0, 1])
async def test_instances_of_one_request(over: int, tmp_path: Path) -> None:
    """They may be a byte or two each, and many in one part."""
    async with (
        opened(tmp_path) as archive,
        applied(archive, Settings(limits=Limits(web=WebLimits(parts_max=5)))) as app,
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1") as client,
    ):
        answer = await post(client, [(JSON, "", b"[" + b",".join([b"{}"] * (5 + over)) + b"]")])
        comments = [item["00000902"]["Value"][0] for item in answer.json()["0008119A"]["Value"]]
        assert sum("is missing" in text for text in comments) == min(5, 5 + over)
        assert [text for text in comments if "parts_max" in text] == ["more than 5 instances (limits.parts_max)"][
            : max(over, 0)
        ]
