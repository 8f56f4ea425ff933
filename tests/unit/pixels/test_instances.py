"""Whole instances into other transfer syntaxes: every element kept, every value of every frame the same."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from reading import explicit, item, sequence

from sagittal.convert import transcoded as converting
from sagittal.dicom.models.encode import Bulk, data_set
from sagittal.dicom.partial.frames import SIMPLE_LIST, Extraction
from sagittal.dicom.syntaxes import EXPLICIT_LE, SYNTAXES, syntax
from sagittal.dicom.walk import Walk
from sagittal.errors import NotAcceptable
from sagittal.limits import ReaderLimits
from sagittal.pixels import instances
from sagittal.pixels.codecs.interface import Options
from sagittal.pixels.extracting import Extracting
from sagittal.pixels.films import transcoding
from sagittal.pixels.images import Image, read_whole
from sagittal.pixels.instances import Transcoding, joined
from sagittal.pixels.rendering.over.overlays import planes
from sagittal.pixels.rendering.over.regions import SEGMENTATION

P = "1.2.840.10008.1.2"
NATIVE = (P, P + ".1", P + ".2", P + ".1.99")
LOSSLESS = (P + ".5", P + ".4.57", P + ".4.70", P + ".4.80", P + ".4.90", P + ".4.201", P + ".4.202", P + ".4.110",
            P + ".8.1", P + ".1.98")  # fmt: skip


def member(vr: str, *values: Any) -> dict[str, Any]:
    return {"vr": vr, "Value": list(values)} if values else {"vr": vr}


def plain(pixels: Any, **more: dict[str, Any]) -> bytes:
    """A data set in Explicit VR Little Endian around the cells of frames, shape (frames, rows, columns[, samples])."""
    held = np.asarray(pixels)
    bits = held.dtype.itemsize * 8
    color = held.ndim == 4
    members = {
        "00080005": member("CS", "ISO_IR 192"), "00080008": member("CS", "ORIGINAL", "PRIMARY"),
        "00080016": member("UI", "1.2.840.10008.5.1.4.1.1.7.4"), "00080018": member("UI", "2.25.1"),
        "00100010": member("PN", {"Alphabetic": "Müller^Jörg"}), "00280002": member("US", 3 if color else 1),
        "00280004": member("CS", "RGB" if color else "MONOCHROME2"), "00280008": member("IS", len(held)),
        "00280010": member("US", held.shape[1]), "00280011": member("US", held.shape[2]),
        "00280100": member("US", bits), "00280101": member("US", bits), "00280102": member("US", bits - 1),
        "00280103": member("US", int(held.dtype.kind == "i")),
        "00400275": member("SQ", {"00080050": member("SH", "A1")}),
        "00091001": {"vr": "UN", "InlineBinary": "AQIDBA=="},
        "00090010": member("LO", "ACME"), "7FE00010": {"vr": "OB" if bits == 8 else "OW", "BulkDataURI": "pixels"},
        "7FE10010": member("LO", "AFTER"),
    }  # fmt: skip
    if color:
        members["00280006"] = member("US", 0)
    data = held.tobytes()
    made = data_set(members | more, SYNTAXES[EXPLICIT_LE], lambda uri: Bulk(len(data), [data]))
    return b"".join(made)


def image(data: bytes, syntax_uid: str = EXPLICIT_LE) -> Image:
    return read_whole(syntax_uid, lambda at, length: data[at : at + length], ReaderLimits())


PALETTE = {"00281101": member("US", 256, 100, 16)}
SEGMENTS = {"00080016": member("UI", "1.2.840.10008.5.1.4.1.1.66.4")}


@pytest.mark.parametrize("to", [P + ".4.50", P + ".4.81", P + ".4.91", P + ".4.100"])
@pytest.mark.parametrize(
    ("more", "refused"),
    [
        ({"00080016": member("UI", "1.2.840.10008.5.1.4.1.1.66.7")}, True),
        (SEGMENTS | {"00620001": member("CS", "BINARY")}, True),
        (SEGMENTS | {"00620001": member("CS", "FRACTIONAL")}, False),
        (PALETTE, True),
        ({}, False),
    ],
)
def test_where_nearly_the_same_is_something_else_nothing_is_lost(to: str, more: Any, refused: bool) -> None:
    data = plain(np.full((1, 8, 8), 7, np.uint8), **more)
    if not refused:
        assert transcoding(image(data), lambda: [data], to, Options(), "2.25.9").loses
        return
    with pytest.raises(NotAcceptable, match="would become others by lossy compression"):
        transcoding(image(data), lambda: [data], to, Options(), "2.25.9")
    assert not transcoding(image(data), lambda: [data], P + ".4.80").loses


def test_frames_of_labels_lose_nothing_either(monkeypatch: pytest.MonkeyPatch) -> None:
    data = plain(np.full((1, 8, 8), 7, np.uint8), **{"00080016": member("UI", "1.2.840.10008.5.1.4.1.1.66.7")})
    monkeypatch.setattr(converting, "opened", lambda *_, **__: image(data))
    with pytest.raises(NotAcceptable, match="would become others by lossy compression"):
        converting.frames([], [{}], P + ".4.91", {}, [1])


def transcoded(held: Image, data: bytes, to: str, options: Options = Options(), uid: str = "") -> bytes:
    made = Transcoding(held, lambda: [data], to, options, uid)
    frames = list(made.frames()) if made.first_encodes else []
    return b"".join(made.data_set(frames, [len(frame) for frame in frames]))


def values(held: Image) -> list[Any]:
    return [held.frame(number).stored for number in range(1, held.count + 1)]


def pictures() -> Iterable[Any]:
    random = np.random.default_rng(4)
    yield pytest.param(random.integers(0, 255, (3, 6, 10), np.uint8), id="u8")
    yield pytest.param(random.integers(-3000, 3000, (1, 7, 9), np.int16), id="s16")
    yield pytest.param(random.integers(0, 65535, (2, 8, 8), np.uint16), id="u16")
    yield pytest.param(random.integers(0, 255, (2, 6, 10, 3), np.uint8), id="rgb")


@pytest.mark.parametrize("to", [*NATIVE, *LOSSLESS])
@pytest.mark.parametrize("pixels", [*pictures()])
def test_there_and_back(pixels: Any, to: str) -> None:
    data = plain(pixels)
    before = image(data)
    there = transcoded(before, data, to)
    made = image(there, to)
    assert all(np.array_equal(one, other) for one, other in zip(values(before), values(made), strict=True))
    held_plain = there if not syntax(to).deflated else made.read(0, 1 << 30)
    back = image(transcoded(made, held_plain, EXPLICIT_LE), EXPLICIT_LE)
    assert back.members.keys() == before.members.keys()
    ours, theirs = ({t: v for t, v in each.members.items() if t != "7FE00010"} for each in (before, back))
    assert ours == theirs
    assert all(np.array_equal(one, other) for one, other in zip(values(before), values(back), strict=True))


def sound(*, after: bool = False, group_length: bool = False) -> tuple[bytes, bytes]:
    """A data set without defects whose sequence has a length; and that element."""
    held = sequence(0x00400275, item(explicit(0x00080050, "SH", b"A1")))
    parts = [explicit(0x00080018, "UI", b"2.25.1"), explicit(0x00280002, "US", b"\1\0"),
             explicit(0x00280004, "CS", b"MONOCHROME2 "), explicit(0x00280010, "US", b"\4\0"),
             explicit(0x00280011, "US", b"\3\0"), explicit(0x00280100, "US", b"\x10\0"),
             explicit(0x00280101, "US", b"\x10\0"), explicit(0x00280102, "US", b"\x0f\0"),
             explicit(0x00280103, "US", b"\0\0"), held, explicit(0x7FE00010, "OW", bytes(range(24)))]  # fmt: skip
    if group_length:
        parts.insert(0, explicit(0x00080000, "UL", b"\x0e\0\0\0"))
    if after:
        parts.append(explicit(0xFFFCFFFC, "OB", bytes(4)))
    return b"".join(parts), held


@pytest.mark.parametrize("group_length", [False, True])
def test_what_has_no_defect_stays_as_it_lies(group_length: bool) -> None:
    data, held = sound(group_length=group_length)
    made = transcoded(image(data), data, P + ".4.80")
    assert held in made
    back = transcoded(image(made, P + ".4.80"), made, EXPLICIT_LE)
    assert back == sound()[0]  # the group length is left out
    slow = transcoded(replace(image(data), sound=False), data, P + ".4.80")
    assert held not in slow
    one, other = (image(each, P + ".4.80").members for each in (made, slow))
    assert one.keys() == other.keys() and all(one[tag] == other[tag] for tag in one if tag != "7FE00010")


def test_what_comes_after_the_pixels_is_gone_through() -> None:
    data, held = sound(after=True)
    assert held not in transcoded(image(data), data, P + ".4.80")


def test_a_lossy_step_is_asked_for_and_told() -> None:
    data = plain(np.arange(64 * 64, dtype=np.uint8).reshape(1, 64, 64))
    held = image(data)
    with pytest.raises(NotAcceptable, match="lose"):
        Transcoding(held, lambda: [data], P + ".4.50")
    made = image(transcoded(held, data, P + ".4.50", Options(quality=80), "2.25.99"), P + ".4.50")
    found = {tag: made.attributes.texts(tag) for tag in (0x00080008, 0x00080018, 0x00282110, 0x00282114)}
    assert list(found.values()) == [["DERIVED", "PRIMARY"], ["2.25.99"], ["01"], ["ISO_10918_1"]]
    assert made.attributes.item(0x00082112).text(0x00081155) == "2.25.1"
    assert made.attributes.number(0x00282112) > 1


@pytest.mark.parametrize("source", [EXPLICIT_LE, P, P + ".2"])
@pytest.mark.parametrize("chunk", [1, 1 << 20])
def test_frames_with_loss_are_derived_ones(source: str, chunk: int) -> None:
    """PS3.3 C.8.16.1: Frame Type says of each frame what Image Type says of all."""

    def groups(*kind: str) -> dict[str, Any]:
        return {"00189226": member("SQ", {"00089007": member("CS", *kind), "00089205": member("CS", "MONOCHROME")})}

    shared, own = groups("ORIGINAL", "PRIMARY", "M"), [groups("ORIGINAL", "PRIMARY", "", "NONE"), groups("DERIVED")]
    evidence = {"00089215": member("SQ", {"00089007": member("CS", "ORIGINAL")})}
    data = plain(np.zeros((2, 8, 8), np.uint8), **{
        "52009229": member("SQ", shared), "52009230": member("SQ", *own), "00081115": member("SQ", evidence),
    })  # fmt: skip
    if source != EXPLICIT_LE:
        data = transcoded(image(data), data, source)

    def frame_types(to: str, uid: str = "") -> list[list[str]]:
        pieces = [data[at : at + chunk] for at in range(0, len(data), chunk)]
        made = Transcoding(image(data, source), lambda: pieces, to, Options(), uid)
        frames = list(made.frames())
        whole = image(b"".join(made.data_set(frames, [len(frame) for frame in frames])), to).attributes
        places = [whole.item(0x52009229), *whole.items(0x52009230)]
        assert whole.item(0x00081115).item(0x00089215).texts(0x00089007) == ["ORIGINAL"]
        assert {each.item(0x00189226).text(0x00089205) for each in places} == {"MONOCHROME"}
        return [each.item(0x00189226).values(0x00089007) for each in places]

    assert frame_types(P + ".4.80")[0] == ["ORIGINAL", "PRIMARY", "M"]
    told = frame_types(P + ".4.50", "2.25.99")
    assert told == [["DERIVED", "PRIMARY", "M"], ["DERIVED", "PRIMARY", "NONE"], ["DERIVED"]]


@pytest.mark.parametrize("source", [EXPLICIT_LE, P, P + ".2"])
@pytest.mark.parametrize("chunk", [1, 1 << 20])
@pytest.mark.parametrize(
    "beside", [(), ("00081140",), ("00189226",), ("00081140", "00189226"), ("00081140", "00090010")]
)
def test_shared_functional_groups_say_how_frames_were_derived(source: str, chunk: int, beside: tuple[str, ...]) -> None:
    """PS3.3 C.7.6.16.2.6: of an image derived from another instance; what a frame says of itself is let be."""

    def places(own: dict[str, Any], to: str, uid: str = "", **more: Any) -> list[Any]:
        values = {tag: member("LO", "x") if tag == "00090010" else member("SQ", {}) for tag in beside}
        data = plain(np.zeros((2, 8, 8), np.uint8), **{
            "52009229": member("SQ", values), "52009230": member("SQ", own, {}), **more,
        })  # fmt: skip
        if source != EXPLICIT_LE:
            data = transcoded(image(data), data, source)
        pieces = [data[at : at + chunk] for at in range(0, len(data), chunk)]
        made = Transcoding(image(data, source), lambda: pieces, to, Options(), uid)
        frames = list(made.frames())
        whole = image(b"".join(made.data_set(frames, [len(frame) for frame in frames])), to)
        shared = whole.attributes.item(0x52009229)
        assert list(whole.members["52009229"]["Value"][0]) == sorted({*beside, *(["00089124"] * (0x89124 in shared))})
        return [each.items(0x00089124) for each in (shared, *whole.attributes.items(0x52009230))]

    (shared,), *own = places({}, P + ".4.50", "2.25.99")
    assert "Lossy compression" in shared.text(0x00082111) and own == [[], []]
    assert shared.item(0x00089215).text(0x00080100) == "113040"
    assert shared.item(0x00082112).item(0x0040A170).text(0x00080100) == "121320"
    assert not any(places({}, P + ".4.80"))
    told = {"00089124": member("SQ", {"00082111": member("ST", "sum")})}
    by_all, (first,), second = places(told, P + ".4.50", "2.25.99")
    assert first.text(0x00082111) == "sum" and not by_all and not second
    segments = {"00080016": member("UI", SEGMENTATION), "00620001": member("CS", "FRACTIONAL")}
    assert not any(places({}, P + ".4.50", "2.25.99", **segments))  # which name there the images that they are of


def test_pixels_too_long_for_an_element_stay_compressed(monkeypatch: pytest.MonkeyPatch) -> None:
    """An element of native pixels has 4 GiB less 2 bytes at the most; here 96 bytes stand for that."""
    data = plain(np.zeros((2, 6, 8), np.uint8))
    packed = transcoded(image(data), data, P + ".5")
    held = image(packed, P + ".5")
    monkeypatch.setattr("sagittal.pixels.instances._NATIVE_BITS_MAX", 96 * 8)
    assert len(values(image(transcoded(held, packed, P)))) == 2
    monkeypatch.setattr("sagittal.pixels.instances._NATIVE_BITS_MAX", 95 * 8)
    with pytest.raises(NotAcceptable, match="4 GiB"):
        Transcoding(held, lambda: [packed], P)
    Transcoding(held, lambda: [packed], P + ".4.80")


def test_chosen_frames_in_another_syntax() -> None:
    pixels = np.arange(4 * 6 * 10, dtype=np.uint8).reshape(4, 6, 10)
    data = plain(pixels)
    extraction = Extraction("2.25.1", "2.25.2", [2, 4], 4, (SIMPLE_LIST, (2, 4)))
    for to in (P, P + ".5", P + ".4.80"):
        made = Extracting(image(data), lambda: [data], to, extraction)
        frames = list(made.frames()) if made.first_encodes else []
        found = image(b"".join(made.data_set(frames, [len(frame) for frame in frames])), to)
        assert [each.tolist() for each in values(found)] == [pixels[1].tolist(), pixels[3].tolist()]
        assert (found.attributes.text(0x00080018), found.attributes.integer(0x00280008)) == ("2.25.2", 2)
        assert "00091001" not in found.members and found.attributes.item(0x00081164).text(0x00081167) == "2.25.1"
    for to in (P + ".2", P + ".1.99", P + ".4.50"):
        with pytest.raises(NotAcceptable):
            Extracting(image(data), lambda: [data], to, extraction)


def test_objects_without_frames_only_change_their_form() -> None:
    data = b"".join(data_set({"00080018": member("UI", "2.25.1")}, SYNTAXES[EXPLICIT_LE], lambda uri: Bulk(0, [])))
    held = image(data)
    assert image(transcoded(held, data, P), P).members == held.members
    with pytest.raises(NotAcceptable, match="without frames"):
        Transcoding(held, lambda: [data], P + ".5")
    pixels = plain(np.zeros((1, 8, 8), np.uint8))
    hollow = replace(image(pixels), index=None)
    for to in (P + ".5", P + ".4.102"):
        with pytest.raises(NotAcceptable, match="without frames"):
            transcoding(hollow, lambda: [pixels], to, Options(), "2.25.3")


@pytest.mark.parametrize("allocated", [12, 24])
def test_frames_that_end_within_words_of_big_endian(allocated: int) -> None:
    """The bytes of words have the other order, whatever frame they are of."""
    cells = np.random.default_rng(6).integers(0, 4096, (3, 3, 3)).astype(np.uint32)
    single = np.unpackbits(cells.view(np.uint8), bitorder="little").reshape(-1, 32)[:, :allocated]
    octets = np.packbits(single.reshape(-1), bitorder="little").tobytes()
    octets += b"\0" * (len(octets) & 1)
    told = {"00280010": 3, "00280011": 3, "00280100": allocated, "00280101": 12, "00280102": 11}
    data = plain(
        np.frombuffer(octets, np.uint8)[None, None],
        **{tag: member("US", number) for tag, number in told.items()},
        **{"00280008": member("IS", 3), "7FE00010": {"vr": "OW", "BulkDataURI": "pixels"}},
    )
    packed = transcoded(image(data), data, P + ".8.1")
    big = transcoded(image(packed, P + ".8.1"), packed, P + ".2")
    assert [each.tolist() for each in values(image(big, P + ".2"))] == cells.tolist()


OVERLAY_IN_BIT_15 = {
    "00280101": member("US", 12), "00280102": member("US", 11), "60000010": member("US", 6),
    "60000011": member("US", 8), "60000040": member("CS", "G"), "60000050": member("SS", 1, 1),
    "60000100": member("US", 16), "60000102": member("US", 15),
}  # fmt: skip


def test_overlays_in_unused_bits_become_planes_of_their_own() -> None:
    cells = np.arange(48, dtype=np.uint16).reshape(1, 6, 8)
    cells[0, 2, 3] |= 0x8000
    data = plain(cells, **OVERLAY_IN_BIT_15)
    made = image(transcoded(image(data), data, P + ".4.80"), P + ".4.80")
    plane = np.unpackbits(np.frombuffer(made.attributes.octets(0x60003000), np.uint8), bitorder="little")[:48]
    assert np.flatnonzero(plane).tolist() == [2 * 8 + 3]
    assert made.attributes.integer(0x60000100) == 1


def test_overlays_in_unused_bits_stay_over_their_frames() -> None:
    cells = np.zeros((3, 6, 8), np.uint16)
    cells[(0, 1, 2), (1, 2, 3), (4, 5, 6)] = 0x8000
    data = plain(cells, **OVERLAY_IN_BIT_15)
    made = image(transcoded(image(data), data, P + ".4.80"), P + ".4.80")
    for number in (1, 2, 3):
        (plane,) = planes(made.attributes, number, (6, 8))
        assert np.argwhere(plane.mask).tolist() == [[number, number + 3]]


def test_chosen_frames_lose_no_overlays_in_unused_bits() -> None:
    data = plain(np.full((2, 6, 8), 0x8000, np.uint16), **OVERLAY_IN_BIT_15)
    extraction = Extraction("2.25.1", "2.25.2", [1], 2, (SIMPLE_LIST, (1,)))
    for to in (P, P + ".5"):
        Extracting(image(data), lambda: [data], to, extraction)
    with pytest.raises(NotAcceptable, match="overlays"):
        Extracting(image(data), lambda: [data], P + ".4.80", extraction)


@pytest.mark.parametrize("bits", [1, 9, 15, 17, 60])
def test_frames_of_bits_are_joined_without_gaps(bits: int) -> None:
    random = np.random.default_rng(bits)
    frames = [random.integers(0, 2, bits, np.uint8) for _ in range(11)]
    packed = b"".join(joined([np.packbits(each, bitorder="little").tobytes() for each in frames], bits))
    assert packed == np.packbits(np.concatenate(frames), bitorder="little").tobytes()


@pytest.mark.parametrize("to", [P + ".5", P + ".4.80", P + ".2"])
def test_elements_in_a_row_come_out_as_one_by_one(to: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is set or left out lies at the beginning, within and behind rows of elements, and between sequences."""
    pixels = np.random.default_rng(3).integers(0, 4000, (2, 12, 14)).astype(np.uint16)
    nested = {"00081150": member("UI", "1.2"), "00082112": member("SQ", {"00081155": member("UI", "1.3")})}
    more = {
        "00020010": member("UI", "1.2.3"), "00081140": member("SQ", nested, {}, nested), "00101001": member("PN"),
        "00280006": member("US", 0), "00282110": member("CS", "00"), "00880200": member("SQ", nested),
        "4FFE0001": member("SQ", nested), "7FE10020": member("OB"), "FFFAFFFA": member("SQ", nested),
    }  # fmt: skip
    data = plain(pixels, **more)
    held = image(data)
    uid = "2.25.7"
    in_rows = transcoded(held, data, to, uid=uid)
    monkeypatch.setattr(instances, "Walk", lambda *arguments, runs: Walk(*arguments))
    assert transcoded(held, data, to, uid=uid) == in_rows
