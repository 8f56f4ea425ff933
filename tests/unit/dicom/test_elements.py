"""Small data sets: bytes by PS3.5, both ways, and what is refused."""

from __future__ import annotations

import struct
from io import BytesIO

import pytest

from sagittal.dicom import charset
from sagittal.dicom.elements import (
    Element,
    element_encoder,
    encode,
    encode_numbers,
    encode_sequence,
    encode_text,
)
from sagittal.dicom.syntaxes import DEFLATED_LE, EXPLICIT_BE, EXPLICIT_LE, IMPLICIT_LE, syntax
from sagittal.dicom.walk import decode_identifier
from sagittal.errors import LimitExceeded, Malformed
from sagittal.limits import ReaderLimits

PLAIN = [IMPLICIT_LE, EXPLICIT_LE, EXPLICIT_BE]
LIMITS = ReaderLimits()


@pytest.mark.parametrize(
    ("uid", "expected"),
    [
        (IMPLICIT_LE, b"\x10\x00\x10\x00\x08\x00\x00\x00Doe^Jan "),
        (EXPLICIT_LE, b"\x10\x00\x10\x00PN\x08\x00Doe^Jan "),
        (EXPLICIT_BE, b"\x00\x10\x00\x10PN\x00\x08Doe^Jan "),
    ],
)
def test_bytes_of_one_element(uid: str, expected: bytes) -> None:
    assert encode([(0x00100010, "PN", b"Doe^Jan")], syntax(uid)) == expected


@pytest.mark.parametrize(
    ("vr", "pad"), [("UI", b"\0"), ("OB", b"\0"), ("UN", b"\0"), ("LO", b" "), ("UR", b" "), ("DS", b" ")]
)
def test_padding(vr: str, pad: bytes) -> None:
    assert encode([(0x00091001, vr, b"1")], syntax(EXPLICIT_LE)).endswith(b"1" + pad)


def test_elements_are_sorted() -> None:
    assert encode([(0x00100020, "LO", b""), (0x00080005, "CS", b"")], syntax(IMPLICIT_LE))[:2] == b"\x08\x00"


def test_too_long_for_its_vr_goes_as_un() -> None:
    for size, vr in ((0xFFFE, b"LO"), (0x10000, b"UN")):
        encoded = encode([(0x00104000, "LO", b"x" * size)], syntax(EXPLICIT_LE))
        assert encoded[4:6] == vr
        assert len(decode_identifier(encoded, syntax(EXPLICIT_LE), LIMITS)[0x00104000].value) == size


@pytest.mark.parametrize("uid", [*PLAIN, DEFLATED_LE])
def test_read_back_by_pydicom_and_by_us(uid: str) -> None:
    from pydicom.filereader import dcmread

    row = syntax(uid)
    inner = syntax(EXPLICIT_LE) if row.deflated else row
    item = encode([(0x00080100, "SH", b"T-1"), (0x00080104, "LO", b"Nested")], inner)
    elements = [
        (0x00080005, "CS", b"ISO_IR 192"),
        (0x00081140, "SQ", encode_sequence([item, item], inner)),
        (0x00100010, "PN", encode_text("PN", "Müller^Jörg", ["ISO_IR 192"])),
        (0x0020000D, "UI", b"1.2.3"),
        (0x00280010, "US", encode_numbers("US", [512], inner)),
        (0x00280009, "AT", encode_numbers("AT", [0x00181063], inner)),
        (0x00189087, "FD", encode_numbers("FD", [1.5, -2.0], inner)),
    ]
    data = encode(elements, row)
    ours = decode_identifier(data, row, LIMITS)
    meta = b"\x02\x00\x10\x00UI" + struct.pack("<H", len(uid) + len(uid) % 2) + uid.encode() + b"\0" * (len(uid) % 2)
    theirs = dcmread(BytesIO(bytes(128) + b"DICM" + meta + data), force=True)
    assert theirs.PatientName == "Müller^Jörg"
    assert ours[0x00100010].text(charset.parse(ours[0x00080005].text())[0]) == "Müller^Jörg"
    assert theirs.Rows == 512 and ours[0x00280010].numbers() == [512] and ours[0x00280010].text() == "512"
    assert theirs.FrameIncrementPointer == 0x00181063 and ours[0x00280009].text() == "00181063"
    assert list(theirs[0x00189087].value) == ours[0x00189087].numbers() == [1.5, -2.0]
    assert [i.CodeMeaning for i in theirs.ReferencedImageSequence] == ["Nested", "Nested"]
    assert [i[0x00080104].text() for i in ours[0x00081140].items] == ["Nested", "Nested"]
    assert [i[0x00080100].text() for i in ours[0x00081140].items] == ["T-1", "T-1"]


@pytest.mark.parametrize("uid", PLAIN)
def test_undefined_lengths(uid: str) -> None:
    row = syntax(uid)
    order = "<" if row.little_endian else ">"

    def delimiter(number: int, length: int) -> bytes:
        return struct.pack(order + "HHI", 0xFFFE, number, length)

    item = encode([(0x00080100, "SH", b"T-1")], row)
    value = delimiter(0xE000, 0xFFFFFFFF) + item + delimiter(0xE00D, 0) + delimiter(0xE0DD, 0)
    head = encode([(0x00081140, "SQ", b"")], row)[:-4] + b"\xff\xff\xff\xff"
    found = decode_identifier(head + value + encode([(0x00100020, "LO", b"7")], row), row, LIMITS)
    assert found[0x00081140].items[0][0x00080100].text() == "T-1"
    assert found[0x00100020].text() == "7"


def test_un_of_undefined_length_is_an_implicit_sequence() -> None:
    item = encode([(0x00080100, "SH", b"T-1")], syntax(IMPLICIT_LE))
    data = b"\x09\x00\x01\x10UN\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0" + struct.pack("<I", len(item)) + item
    data += b"\xfe\xff\xdd\xe0\0\0\0\0"
    found = decode_identifier(data, syntax(EXPLICIT_LE), LIMITS)
    assert found[0x00091001].items[0][0x00080100] == Element(0x00080100, "SH", b"T-1 ")


@pytest.mark.parametrize(
    ("data", "defect"),
    [
        (b"\x10\x00\x10\x00PN\x08", "truncated"),
        (b"\x10\x00\x10\x00PN\x08\x00Doe", "truncated"),
        (b"\x08\x00\x40\x11SQ\0\0\x08\x00\0\0\xfe\xff\x00\xe0\x08\0\0\0" + b"x" * 8, "length-over-long"),
        (b"\x08\x00\x40\x11SQ\0\0\x08\x00\0\0\x08\0\x05\0CS\0\0", "item-expected"),
        (b"\x08\x00\x40\x11SQ\0\0\xff\xff\xff\xff", "truncated"),
        (b"\x08\x00\x40\x11OB\0\0\xff\xff\xff\xff", "length-undefined"),
        (b"\xfe\xff\x00\xe0\0\0\0\0", "item-stray"),
    ],
)
def test_refused(data: bytes, defect: str) -> None:
    with pytest.raises(Malformed) as caught:
        decode_identifier(data, syntax(EXPLICIT_LE), LIMITS)
    assert caught.value.defect == defect


@pytest.mark.parametrize(
    ("data", "vr"),
    [
        (b"\x10\0\x20\0\x02\0\0\0ab", "LO"),  # no VR
        (b"\x10\0\x20\0ZZ\0\0\x02\0\0\0ab", "UN"),  # one to come
        (b"\xfe\xff\x0d\xe0\0\0\0\0\x10\0\x20\0LO\x02\0ab", "LO"),  # a delimiter that ends nothing
    ],
)
def test_tolerated(data: bytes, vr: str) -> None:
    assert decode_identifier(data, syntax(EXPLICIT_LE), LIMITS)[0x00100020] == Element(0x00100020, vr, b"ab")


def nested(depth: int) -> bytes:
    return b"\x08\x00\x40\x11SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff" * depth + (
        b"\xfe\xff\x0d\xe0\0\0\0\0\xfe\xff\xdd\xe0\0\0\0\0" * depth
    )


def test_depth_limit_at_below_and_above() -> None:
    limits = ReaderLimits(depth_max=10)
    for depth in (9, 10):
        decode_identifier(nested(depth), syntax(EXPLICIT_LE), limits)
    with pytest.raises(LimitExceeded):
        decode_identifier(nested(11), syntax(EXPLICIT_LE), limits)
    with pytest.raises(LimitExceeded):
        decode_identifier(nested(50_000), syntax(EXPLICIT_LE), LIMITS)


def test_element_count_limit_at_and_above() -> None:
    data = encode([(0x00100000 + i, "LO", b"") for i in range(10)], syntax(EXPLICIT_LE))
    assert len(decode_identifier(data, syntax(EXPLICIT_LE), ReaderLimits(elements_max=10))) == 10
    with pytest.raises(LimitExceeded):
        decode_identifier(data, syntax(EXPLICIT_LE), ReaderLimits(elements_max=9))


def test_deflate_bomb_and_broken_deflate() -> None:
    bomb = encode([(0x00100010, "UT", bytes(1 << 20))], syntax(DEFLATED_LE))
    with pytest.raises(LimitExceeded):
        decode_identifier(bomb, syntax(DEFLATED_LE), ReaderLimits(inflate_bytes_max=1 << 19))
    for data in (b"\x07nonsense", bomb[:20]):
        with pytest.raises(Malformed):
            decode_identifier(data, syntax(DEFLATED_LE), LIMITS)


def test_text_trims_and_joins() -> None:
    assert Element(0x00080061, "CS", b"CT \\MR ").text() == "CT\\MR"
    assert Element(0x00080018, "UI", b"1.2\0").text() == "1.2"
    assert Element(0x00104000, "LT", b" kept  ").text() == " kept"
    assert Element(0x00081140, "SQ", []).text() == "" and Element(0x00081140, "SQ", []).numbers() == []
    assert encode_text("CS", "é") == b"?"


@pytest.mark.parametrize("uid", PLAIN)
@pytest.mark.parametrize(
    ("tag", "vr"), [(0x00100010, "PN"), (0x0020000D, "UI"), (0x00204000, "UT"), (0x00090010, "UN")]
)
def test_an_element_at_a_time(uid: str, tag: int, vr: str) -> None:
    one = element_encoder(tag, vr, syntax(uid))
    for size in (0, 1, 4, 0xFFFD, 0xFFFE, 0xFFFF):
        assert one(b"1" * size) == encode([(tag, vr, b"1" * size)], syntax(uid))
