"""Bulk data and pixel data of a study, a series, an instance; one value by ranges."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from archived import answers, asking, hold, instance_of, parts, series_of, study_of
from builders import Built, build

from sagittal.dicom.syntaxes import EXPLICIT_BE, EXPLICIT_LE, IMPLICIT_LE, JPEG_2000_LOSSLESS, JPEG_BASELINE

OCTETS = {"accept": "application/octet-stream"}
ANYTHING = {"accept": "multipart/related; type=*/*; transfer-syntax=*"}
MPEG2 = "1.2.840.10008.1.2.4.100"
DOCUMENT = bytes(range(256)) * 8


def test_all_of_a_study(tmp_path: Path) -> None:
    held = [
        build(1, extra={"EncapsulatedDocument": DOCUMENT}),
        build(2, series=2, syntax_uid=JPEG_2000_LOSSLESS, frames=3),
        build(3, series=3, syntax_uid=MPEG2, frames=2),
    ]
    all_, pixels, series = answers(
        tmp_path,
        held,
        (study_of(held[0]) + "/bulkdata", ANYTHING),
        (study_of(held[0]) + "/pixeldata", ANYTHING),
        (series_of(held[1]) + "/pixeldata", {}),
    )
    found = parts(all_)
    video = b"".join(held[2].frames)
    assert [body for _, body in found] == [DOCUMENT, *held[0].frames, *held[1].frames, video]
    assert [body for _, body in parts(pixels)] == [*held[0].frames, *held[1].frames, video]
    assert [body for _, body in parts(series)] == [*held[1].frames]
    types = [headers["content-type"] for headers, _ in found]
    assert types[0] == f"application/octet-stream;transfer-syntax={EXPLICIT_LE}"
    assert types[2] == f"image/jp2;transfer-syntax={JPEG_2000_LOSSLESS}"
    assert types[5] == f"video/mpeg;transfer-syntax={MPEG2}"


async def test_each_part_can_be_had_by_its_address(tmp_path: Path) -> None:
    held = [build(number, syntax_uid=IMPLICIT_LE, extra={"EncapsulatedDocument": DOCUMENT}) for number in (1, 2)]
    async with asking(tmp_path, held) as (client, _):
        found = parts(await client.get(study_of(held[0]) + "/bulkdata"))
        for headers, body in found:
            again = await client.get(headers["content-location"], headers=OCTETS)
            assert again.content == body
        assert len(found) == 4


async def test_a_refusal_names_all_that_several_can_be_had_in(tmp_path: Path) -> None:
    still = build(1, syntax_uid=JPEG_BASELINE, frames=2)
    video, other = (build(number, series=2, syntax_uid=MPEG2) for number in (2, 3))
    async with asking(tmp_path, [still, video, other]) as (client, _):
        frames = await client.get(instance_of(still) + "/bulkdata/7FE00010", headers=OCTETS)
        values = await client.get(series_of(video) + "/pixeldata", headers=OCTETS)
    assert (frames.status_code, values.status_code) == (406, 406)
    assert 'multipart/related; type="image/jpeg" or "application/octet-stream" or ' in frames.json()["detail"]
    assert values.json()["detail"].endswith('multipart/related; type="video/mpeg" or "application/octet-stream"')


@pytest.mark.parametrize("syntax_uid", [EXPLICIT_LE, IMPLICIT_LE])
async def test_native_values_by_their_tags_alone(tmp_path: Path, syntax_uid: str) -> None:
    """Also where clients put these addresses together; a part that was had by a longer one says this one."""
    held = build(syntax_uid=syntax_uid, frames=3, extra={"EncapsulatedDocument": DOCUMENT})
    async with asking(tmp_path, [held]) as (client, _):
        for tag, value in (("7FE00010", b"".join(held.frames)), ("00420011", DOCUMENT)):
            address = f"{instance_of(held)}/bulkdata/{tag}"
            assert (await client.get(address, headers=OCTETS)).content == value
            assert (await client.get(address, headers=OCTETS | {"range": "bytes=40-"})).content == value[40:]
            ((told, body),) = parts(await client.get(address))
            assert body == value and told["content-location"].endswith(address)
        assert (await client.get(f"{instance_of(held)}/bulkdata/00100010")).status_code == 404


@pytest.mark.parametrize(
    "accept", ["application/dicom+json", 'multipart/related; type="application/dicom+xml"', "text/csv"]
)
async def test_addresses_in_searches_lead_somewhere(tmp_path: Path, accept: str) -> None:
    """Metadata holds them within the instance; a row of a search has the whole of them, as /metadata has."""
    held = replace(with_icon(), frames=build(1, syntax_uid=JPEG_BASELINE).frames)
    document = build(2, extra={"EncapsulatedDocument": DOCUMENT})
    fields = "?includefield=00420011,00880200"
    async with asking(tmp_path, [held, document]) as (client, _):
        rows = await client.get("/dicom-web/instances" + fields, headers={"accept": accept})
        found = re.findall(r'https?://[^",\\\s]*/bulkdata/[^",\\\s]*', rows.text)
        icon, value = sorted(
            [(await client.get(each.replace("&amp;", "&"), headers=ANYTHING)).content for each in found], key=len
        )
    assert ICON in icon and DOCUMENT in value


def test_studies_have_no_bulk_data(tmp_path: Path) -> None:
    """Which instance it would be of, a row of studies does not say."""
    held = build(2, extra={"EncapsulatedDocument": DOCUMENT})
    (answer,) = answers(tmp_path, [held], ("/dicom-web/studies?includefield=00420011", {}))
    assert answer.json()[0]["00420011"] == {"vr": "OB"}


def test_one_alone(tmp_path: Path) -> None:
    held = build(syntax_uid=EXPLICIT_BE, frames=2)
    several = build(2, extra={"EncapsulatedDocument": DOCUMENT})
    alone, part, refused = answers(
        tmp_path,
        [held, several],
        (instance_of(held) + "/pixeldata", OCTETS),
        (instance_of(held) + "/pixeldata", {"accept": 'multipart/related; type="application/octet-stream"'}),
        (instance_of(several) + "/bulkdata", OCTETS),
    )
    # words of the Big Endian object change places
    pixels = b"".join(held.frames)
    expected = b"".join(pixels[at : at + 2][::-1] for at in range(0, len(pixels), 2))
    assert alone.content == expected
    assert [body for _, body in parts(part)] == [expected]
    assert refused.status_code == 406


async def test_nothing_there(tmp_path: Path) -> None:
    one, two = build(1), build(2)
    async with asking(tmp_path, []) as (client, archive):
        for held in (one, two):
            await hold(archive, held, data=held.data[: -12 - len(held.frames[0])])
        paths = [level(one) + "/pixeldata" for level in (study_of, series_of, instance_of)]
        assert [(await client.get(path)).status_code for path in paths] == [404, 404, 404]


async def test_an_instance_with_much_metadata(tmp_path: Path) -> None:
    held = build(frames=600)
    with_document = build(
        2, frames=600, extra={"EncapsulatedDocument": DOCUMENT, "StudyDescription": '"BulkDataURI":"1'}
    )
    async with asking(tmp_path, [held]) as (client, archive):
        await hold(archive, with_document)
        found = parts(await client.get(study_of(held) + "/bulkdata"))
        pixels = [b"".join(each.frames) for each in (held, with_document)]
        assert [body for _, body in found] == [pixels[0], DOCUMENT, pixels[1]]


class TestRanges:
    @pytest.mark.parametrize(
        ("asked_for", "status", "content_range", "content"),
        [
            ("bytes=0-3", 206, "bytes 0-3/2048", DOCUMENT[:4]),
            ("Bytes=2040-", 206, "bytes 2040-2047/2048", DOCUMENT[2040:]),
            ("bytes=-8", 206, "bytes 2040-2047/2048", DOCUMENT[2040:]),
            ("bytes=-9999", 206, "bytes 0-2047/2048", DOCUMENT),
            ("bytes=2047-9999", 206, "bytes 2047-2047/2048", DOCUMENT[-1:]),
            ("bytes=2048-", 416, "bytes */2048", None),
            ("bytes=-0", 416, "bytes */2048", None),
            ("bytes=0-1,4-5", 200, None, DOCUMENT),
            ("bytes=5-4", 200, None, DOCUMENT),
            ("bytes=-", 200, None, DOCUMENT),
            ("pages=1-2", 200, None, DOCUMENT),
            ("bytes=0-b", 200, None, DOCUMENT),
        ],
    )
    async def test_of_a_value(
        self, tmp_path: Path, asked_for: str, status: int, content_range: str | None, content: bytes | None
    ) -> None:
        held = build(extra={"EncapsulatedDocument": DOCUMENT})
        async with asking(tmp_path, [held]) as (client, _):
            (obj,) = (await client.get(instance_of(held) + "/metadata")).json()
            answer = await client.get(obj["00420011"]["BulkDataURI"], headers={**OCTETS, "range": asked_for})
        assert answer.status_code == status
        assert answer.headers.get("content-range") == content_range
        if content is not None:
            assert answer.content == content
            assert answer.headers["content-length"] == str(len(content))
            assert answer.headers["accept-ranges"] == "bytes"

    @pytest.mark.parametrize(
        ("asked_for", "status", "content_range", "content"),
        [
            ("bytes=0-3", 206, "bytes 0-3/2048", DOCUMENT[:4]),
            ("bytes=-8", 206, "bytes 2040-2047/2048", DOCUMENT[2040:]),
            ("bytes=2048-", 416, None, None),
            ("bytes=0-1,4-5", 200, None, DOCUMENT),
        ],
    )
    async def test_of_a_value_in_a_part(
        self, tmp_path: Path, asked_for: str, status: int, content_range: str | None, content: bytes | None
    ) -> None:
        """The range is one of the value, and the part says so (PS3.18 8.4.3), not the answer."""
        held = build(extra={"EncapsulatedDocument": DOCUMENT})
        async with asking(tmp_path, [held]) as (client, _):
            (obj,) = (await client.get(instance_of(held) + "/metadata")).json()
            address = obj["00420011"]["BulkDataURI"]
            accept = 'multipart/related; type="application/octet-stream"'
            address, answer = address, await client.get(address, headers={"accept": accept, "range": asked_for})
        assert answer.status_code == status
        if content is None:
            assert answer.headers["content-range"] == "bytes */2048"
            return
        assert "content-range" not in answer.headers
        assert answer.headers["content-length"] == str(len(answer.content))
        ((told, body),) = parts(answer, status)
        assert body == content
        assert told["content-location"] == address.partition("?")[0]
        assert told.get("content-range") == content_range

    def test_of_a_frame_or_a_video_in_a_part(self, tmp_path: Path) -> None:
        still, video = build(1, syntax_uid=JPEG_2000_LOSSLESS), build(2, syntax_uid=MPEG2, frames=3)
        accepts = ("image/jp2", "video/mpeg")
        found = answers(
            tmp_path,
            [still, video],
            *(
                (f"{instance_of(held)}/bulkdata/7FE00010",
                 {"accept": f'multipart/related; type="{type_}"', "range": "bytes=3-9"})
                for held, type_ in zip((still, video), accepts, strict=True)
            ),
        )  # fmt: skip
        for answer, held in zip(found, (still, video), strict=True):
            ((told, body),) = parts(answer, 206)
            assert body == b"".join(held.frames)[3:10]
            assert told["content-range"] == f"bytes 3-9/{sum(map(len, held.frames))}"

    def test_of_several_values_there_are_none(self, tmp_path: Path) -> None:
        held = build(extra={"EncapsulatedDocument": DOCUMENT})
        whole, asked_for = answers(
            tmp_path,
            [held],
            (study_of(held) + "/bulkdata", {"accept": "multipart/related"}),
            (study_of(held) + "/bulkdata", {"accept": "multipart/related", "range": "bytes=0-3"}),
        )
        assert [body for _, body in parts(asked_for)] == [body for _, body in parts(whole)]

    def test_of_an_instance(self, tmp_path: Path) -> None:
        held = build()
        accept = {"accept": "application/dicom"}
        (whole, part) = answers(
            tmp_path, [held], (instance_of(held), accept), (instance_of(held), {**accept, "range": "bytes=100-199"})
        )
        assert (part.status_code, part.content) == (206, whole.content[100:200])

    @pytest.mark.parametrize("asked_for", ["bytes=0-9", "bytes=15-20", "bytes=30-", "bytes=7-8"])
    def test_of_a_video(self, tmp_path: Path, asked_for: str) -> None:
        held = build(syntax_uid=MPEG2, frames=3)
        headers = {"accept": "video/mpeg", "range": asked_for}
        (answer,) = answers(tmp_path, [held], (instance_of(held) + "/bulkdata/7FE00010", headers))
        first, _, last = asked_for.removeprefix("bytes=").partition("-")
        assert answer.content == b"".join(held.frames)[int(first) : int(last) + 1 if last else None]
        assert answer.status_code == 206

    async def test_if_range(self, tmp_path: Path) -> None:
        held = build()
        headers = {"accept": "application/dicom", "range": "bytes=0-9"}
        async with asking(tmp_path, [held]) as (client, _):
            tag = (await client.get(instance_of(held), headers={"accept": "application/dicom"})).headers["etag"]
            found = []
            for condition in (tag, '"other"', f"W/{tag}"):
                answer = await client.get(instance_of(held), headers={**headers, "if-range": condition})
                found.append(answer.status_code)
            assert found == [206, 200, 200]


ICON = b"\xff\xd8\xff\xe0" + bytes(range(100))  # taken for a JPEG stream
PDF = b"%PDF-1.4\n" + bytes(range(200)) * 20 + b"\n"
PDF_STORAGE, STL_STORAGE = "1.2.840.10008.5.1.4.1.1.104.1", "1.2.840.10008.5.1.4.1.1.104.3"


def item(data: bytes, number: int = 0xE000) -> bytes:
    return b"\xfe\xff" + number.to_bytes(2, "little") + len(data).to_bytes(4, "little") + data


def with_icon() -> Built:
    """An object whose second icon is encapsulated, in two fragments."""
    built = build(1, syntax_uid=JPEG_BASELINE)
    pixels = (
        b"\xe0\x7f\x10\x00OB\0\0\xff\xff\xff\xff" + item(b"") + item(ICON[:50]) + item(ICON[50:]) + item(b"", 0xE0DD)
    )
    icons = item(b"\x28\x00\x10\x00US\x02\0\x08\0") + item(b"\x28\x00\x10\x00US\x02\0\x08\0" + pixels)
    sequence = b"\x88\x00\x00\x02SQ\0\0" + len(icons).to_bytes(4, "little") + icons
    at = built.data.index(b"\xe0\x7f\x10\x00")
    return replace(built, data=built.data[:at] + sequence + built.data[at:])


async def test_encapsulated_icons(tmp_path: Path) -> None:
    held = with_icon()
    async with asking(tmp_path, [held]) as (client, _):
        (obj,) = (await client.get(instance_of(held) + "/metadata")).json()
        address = obj["00880200"]["Value"][1]["7FE00010"]["BulkDataURI"]
        assert address.endswith("/bulkdata/00880200/2/7FE00010")
        answer = await client.get(address, headers={"accept": "image/jpeg"})
        assert (answer.status_code, answer.headers["content-type"], answer.content) == (200, "image/jpeg", ICON)
        cut = await client.get(address, headers={"accept": "image/jpeg", "range": "bytes=40-59"})
        assert (cut.status_code, cut.content) == (206, ICON[40:60])
        (part,) = parts(await client.get(address))
        assert part[0]["content-type"] == f"image/jpeg;transfer-syntax={JPEG_BASELINE}" and part[1] == ICON
        assert (await client.get(address, headers={"accept": "image/png"})).status_code == 406
        assert (await client.get(address.replace("/2/", "/1/"))).status_code == 404
        assert (await client.get(address.replace("/2/", "/3/"))).status_code == 404
        all_ = parts(await client.get(instance_of(held) + "/bulkdata"))
        assert [body for _, body in all_] == [ICON, *held.frames]
        pixels = parts(await client.get(instance_of(held) + "/pixeldata"))
        assert [body for _, body in pixels] == [*held.frames]


def without_frames(number: int, syntax_uid: str) -> Built:
    """Encapsulated pixel data whose second frame begins nobody knows where, or that its syntax does not have."""
    held = build(number, frames=2, syntax_uid=EXPLICIT_LE)
    fragments = (b"\x01\x02" * 9, b"\x03\x04" * 5, b"\x05\x06" * 7)
    items = b"".join(item(each) for each in (b"", *fragments)) + item(b"", 0xE0DD)
    pixels = b"\xe0\x7f\x10\x00OB\0\0\xff\xff\xff\xff" + items
    data = held.data[: held.data.index(b"\xe0\x7f\x10\x00OW")] + pixels
    return replace(held, data=data, syntax_uid=syntax_uid, frames=(b"".join(fragments),))


@pytest.mark.parametrize("syntax_uid", [EXPLICIT_LE, JPEG_2000_LOSSLESS])
def test_fragments_that_are_no_frames(tmp_path: Path, syntax_uid: str) -> None:
    """The metadata gives an address for them, so there is something at it, and the rest of their study is not lost."""
    held = [without_frames(1, syntax_uid), build(2)]
    named, all_, one = answers(
        tmp_path,
        held,
        (instance_of(held[0]) + "/metadata", {}),
        (study_of(held[0]) + "/bulkdata", ANYTHING),
        (instance_of(held[0]) + "/bulkdata/7FE00010", {"accept": "application/octet-stream; transfer-syntax=*"}),
    )
    assert named.json()[0]["7FE00010"]["BulkDataURI"].endswith("7FE00010")
    assert (one.status_code, one.content) == (200, held[0].frames[0])
    assert [body for _, body in parts(all_)] == [*held[0].frames, *held[1].frames]


@pytest.mark.parametrize(("sop_class", "media_type"), [(PDF_STORAGE, "application/pdf"), (STL_STORAGE, "model/stl")])
async def test_documents_are_had_as_what_they_are(tmp_path: Path, sop_class: str, media_type: str) -> None:
    number = (len(PDF) - 1).to_bytes(4, "little")
    held = build(sop_class_uid=sop_class, extra={"EncapsulatedDocument": PDF, "EncapsulatedDocumentLength": number})
    async with asking(tmp_path, [held]) as (client, _):
        (obj,) = (await client.get(instance_of(held) + "/metadata")).json()
        address = obj["00420011"]["BulkDataURI"]
        answer = await client.get(address, headers={"accept": media_type})
        assert (answer.headers["content-type"], answer.content) == (media_type, PDF[:-1])
        cut = await client.get(address, headers={"accept": media_type, "range": "bytes=0-4"})
        assert (cut.status_code, cut.content) == (206, PDF[:5])
        assert cut.headers["content-range"] == f"bytes 0-4/{len(PDF) - 1}"
        octets = await client.get(address, headers=OCTETS)
        assert (octets.headers["content-type"], octets.content) == ("application/octet-stream", PDF)
        (part,) = parts(await client.get(address, headers={"accept": f'multipart/related; type="{media_type}"'}))
        assert (part[0]["content-type"], part[1]) == (media_type, PDF[:-1])
        assert (await client.get(address, headers={"accept": "text/xml"})).status_code == 406


def test_a_frame_alone_is_had_by_ranges(tmp_path: Path) -> None:
    held = build(syntax_uid=JPEG_2000_LOSSLESS)
    whole, cut, beyond = answers(
        tmp_path,
        [held],
        (instance_of(held) + "/pixeldata", {"accept": "image/jp2"}),
        (instance_of(held) + "/pixeldata", {"accept": "image/jp2", "range": "bytes=3-9"}),
        (instance_of(held) + "/pixeldata", {"accept": "image/jp2", "range": "bytes=99999-"}),
    )
    assert whole.content == held.frames[0] and whole.headers["accept-ranges"] == "bytes"
    assert (cut.status_code, cut.content) == (206, held.frames[0][3:10])
    assert beyond.status_code == 416
