"""Data sets in part: what is left out, frames of broken bytes, overlays that go by frames."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom._dicom_dict import DicomDictionary

from sagittal.dicom.elements import encode, encode_sequence
from sagittal.dicom.partial.bulkless import holds_fragments, is_bulk, without_bulk
from sagittal.dicom.partial.frames import SIMPLE_LIST, Extraction, Header, Packer, Survey
from sagittal.dicom.reencode import written
from sagittal.dicom.syntaxes import EXPLICIT_BE, EXPLICIT_LE, IMPLICIT_LE, JPEG_BASELINE, syntax
from sagittal.dicom.walk import Walk, decode_identifier
from sagittal.limits import ReaderLimits

LIMITS = ReaderLimits()
ELE = syntax(EXPLICIT_LE)
FRAGMENTS = b"\xfe\xff\x00\xe0\0\0\0\0\xfe\xff\x00\xe0\x04\0\0\0\xff\xd8\xff\xd9\xfe\xff\xdd\xe0\0\0\0\0"
PIXELS = b"\xe0\x7f\x10\x00OB\0\0\xff\xff\xff\xff" + FRAGMENTS


@pytest.mark.parametrize("runs", [False, True])
@pytest.mark.parametrize("target", [EXPLICIT_LE, IMPLICIT_LE, EXPLICIT_BE])
def test_bulk_data_is_left_out(target: str, runs: bool) -> None:
    waves = encode([(0x54001004, "US", b"\x10\0"), (0x54001010, "OW", b"\1\2"), (0x54001006, "CS", b"SS")], ELE)
    icon = encode([(0x00280010, "US", b"\1\0"), (0x7FE00010, "OW", b"\1\2")], ELE)
    data = encode(
        [
            (0x00880200, "SQ", encode_sequence([icon], ELE)),
            (0x00080018, "UI", b"1.2"),
            (0x50000005, "US", b"\1\0"),
            (0x50003000, "OW", b"\1\2"),
            (0x5000200C, "OW", b"\1\2"),
            (0x54000100, "SQ", encode_sequence([waves, waves], ELE)),
            (0x56000020, "OF", b"\1\2\3\4"),
            (0x60020010, "US", b"\1\0"),
            (0x60023000, "OW", b"\1\2"),
            (0x60013000, "OW", b"\1\2"),
            (0x7FE00008, "OF", b"\1\2\3\4"),
            (0x7FE00010, "OW", b"\1\2"),
        ],
        ELE,
    )
    walk = Walk([data], ELE, LIMITS, runs=runs)
    out = b"".join(written(walk, without_bulk(walk.events()), syntax(target), 2))
    found = decode_identifier(out, syntax(target), LIMITS)
    assert list(found) == [0x00080018, 0x00880200, 0x50000005, 0x54000100, 0x60013000, 0x60020010]
    assert [list(item) for item in found[0x54000100].items] == [[0x54001004, 0x54001006]] * 2
    assert 0x7FE00010 in found[0x00880200].items[0]


def test_what_is_bulk() -> None:
    assert is_bulk(0x60FE3000) and is_bulk(0x50103000) and is_bulk(0x00287FE0)
    assert not is_bulk(0x6000200C) and not is_bulk(0x60000010) and not is_bulk(0x7FE00001) and not is_bulk(0x00420011)


@pytest.mark.parametrize(("icon", "holds"), [(PIXELS, True), (b"", False)])
def test_an_icon_may_be_compressed(icon: bytes, holds: bool) -> None:
    jpeg = syntax(JPEG_BASELINE)
    item = encode([(0x00280010, "US", b"\1\0")], ELE) + icon
    data = encode([(0x00880200, "SQ", encode_sequence([item], ELE))], ELE) + PIXELS
    assert any(holds_fragments(Walk([data], jpeg, LIMITS, runs=True).events())) is holds
    walk = Walk([data], jpeg, LIMITS, runs=True)
    out = b"".join(written(walk, without_bulk(walk.events()), jpeg))
    assert (b"\xff\xd8\xff\xd9" in out) is holds
    assert not out.endswith(FRAGMENTS)


@given(frames=st.lists(st.lists(st.integers(0, 1), min_size=11, max_size=11), min_size=1), first=st.integers(0, 7))
def test_frames_of_broken_bytes_lie_one_behind_the_other(frames: list[list[int]], first: int) -> None:
    def packed(bits: list[int]) -> bytes:
        number = sum(bit << place for place, bit in enumerate(bits))
        return number.to_bytes((len(bits) + 7) // 8, "little")

    packer = Packer(11)
    parts = [packer.add(packed([1] * first + bits + [1, 1]), first) for bits in frames]
    assert b"".join(parts) + packer.rest() == packed([bit for bits in frames for bit in bits])


def test_overlays_and_extremes_of_all_frames_and_private_elements_do_not_survive() -> None:
    private = encode([(0x00090010, "LO", b"ACME"), (0x00091001, "LO", b"x"), (0x00280010, "US", b"\1\0")], ELE)
    smallest, own = (0x00280106, "US", b"\1\0"), (0x00290010, "LO", b"ACME")
    groups = [encode([(0x00209157, "UL", bytes([number, 0, 0, 0])), smallest, own], ELE) for number in (1, 2, 3)]
    nested = encode([(0x00081150, "UI", b"1.2"), (0x00091001, "SQ", encode_sequence([private], ELE))], ELE)
    data = encode(
        [
            (0x00080018, "UI", b"1.2"),
            (0x00080050, "SH", b"keep"),
            (0x00090010, "LO", b"ACME"),
            (0x00091001, "SQ", encode_sequence([private], ELE)),
            (0x00081140, "SQ", encode_sequence([nested], ELE)),
            (0x00280008, "IS", b"3"),
            (0x00280106, "US", b"\1\0"),
            (0x00280107, "US", b"\1\0"),
            (0x52009230, "SQ", encode_sequence(groups, ELE)),
            (0x60000010, "US", b"\1\0"),
            (0x60000015, "IS", b"3"),
            (0x60003000, "OW", b"\1\2"),
            (0x60020010, "US", b"\1\0"),
            (0x7FE00010, "OW", b"\1\2"),
        ],
        ELE,
    )
    survey = Survey()
    list(survey.look(Walk([data], ELE, LIMITS)))
    assert survey.overlays == {0x6000}
    walk = Walk([data], ELE, LIMITS)
    header = Header(walk, survey, Extraction("1.2", "1.3", [1, 3], 3, (SIMPLE_LIST, (1, 3))), ELE)
    found = decode_identifier(b"".join(written(walk, header.events(), ELE, 3)), ELE, LIMITS)
    assert header.pixels is not None and header.pixels.tag == 0x7FE00010
    expected = [0x00080018, 0x00080050, 0x00081140, 0x00081164, 0x0018A001, 0x00280008, 0x52009230, 0x60020010]
    assert list(found) == expected
    assert (found[0x00080018].text(), found[0x00280008].text()) == ("1.3", "2")
    assert [list(item) for item in found[0x00081140].items] == [[0x00081150]]
    assert [item[0x00209157].numbers() for item in found[0x52009230].items] == [[1], [3]]
    assert all(list(item) == [0x00209157, 0x00280106] for item in found[0x52009230].items)
    assert found[0x00081164].items[0][SIMPLE_LIST].numbers() == [1, 3]


# Of what PS3.6 has several values of: one for each frame, or numbers of frames.
OF_OTHERS = {"FrameTimeVector", "RWaveTimeVector", "TriggerVector", "BscanCycleTimeVector"}  # made anew; heart beats
BY_FRAME = {
    tag: vr
    for tag, (vr, vm, _, _, keyword) in DicomDictionary.items()
    if "n" in vm and keyword.endswith(("Vector", "Increment")) and keyword not in OF_OTHERS
}
NUMBERS_OF_FRAMES = {
    tag: vr
    for tag, (vr, _, _, _, keyword) in DicomDictionary.items()
    if re.search("^St.*Trim$|^RWavePointer|OfInterest|^(Representative|IVUS.*)FrameNumber$", keyword)
}


def test_what_goes_by_frame_follows_the_frames() -> None:
    there = BY_FRAME | NUMBERS_OF_FRAMES
    elements = [(tag, vr, b"\1\0\2\0\3\0" if vr == "US" else b"1\\2\\3") for tag, vr in there.items()]
    walk = Walk([encode([*elements, (0x7FE00010, "OW", b"\1\2")], ELE)], ELE, LIMITS)
    header = Header(walk, Survey(), Extraction("1.2", "1.3", [1, 3], 3, (SIMPLE_LIST, (1, 3))), ELE)
    found = decode_identifier(b"".join(written(walk, header.events(), ELE, 3)), ELE, LIMITS)
    assert {tag: found[tag].text() for tag in BY_FRAME} == dict.fromkeys(BY_FRAME, "1\\3")
    assert not found.keys() & NUMBERS_OF_FRAMES.keys()
