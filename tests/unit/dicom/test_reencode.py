"""Re-encoding: what comes out, byte for byte, what is tolerated, refused and bounded."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

import pytest

from sagittal.dicom.elements import encode, encode_numbers, encode_sequence
from sagittal.dicom.reencode import can_reencode, deflated, reencode
from sagittal.dicom.syntaxes import DEFLATED_LE, EXPLICIT_BE, EXPLICIT_LE, IMPLICIT_LE, JPEG_BASELINE, syntax
from sagittal.dicom.walk import PIECE_BYTES, decode_identifier, inflated
from sagittal.errors import LimitExceeded, Malformed, NotAcceptable
from sagittal.limits import ReaderLimits

LIMITS = ReaderLimits()
ILE, ELE, EBE, DLE = (syntax(uid) for uid in (IMPLICIT_LE, EXPLICIT_LE, EXPLICIT_BE, DEFLATED_LE))
ENDS = {
    "<": b"\xfe\xff\x0d\xe0\0\0\0\0\xfe\xff\xdd\xe0\0\0\0\0",
    ">": b"\xff\xfe\xe0\x0d\0\0\0\0\xff\xfe\xe0\xdd\0\0\0\0",
}


def through(data: bytes, source: str, target: str, piece: int = 7, limits: ReaderLimits = LIMITS) -> bytes:
    chunks = (data[start : start + piece] for start in range(0, len(data), piece))
    return b"".join(reencode(chunks, syntax(source), syntax(target), limits))


def test_open_vrs_are_decided_by_the_elements_before() -> None:
    for signed, vr in ((0, "US"), (1, "SS")):
        data = encode(
            [
                (0x00280100, "US", b"\x10\0"),
                (0x00280103, "US", bytes([signed, 0])),
                (0x00280106, "US", b"\x01\x80"),
                (0x00283010, "SQ", encode_sequence([encode([(0x00283002, "US", b"\x01\0\x02\0\x03\0")], ILE)], ILE)),
                (0x7FE00010, "OW", b"\x01\x02\x03\x04"),
            ],
            ILE,
        )
        found = decode_identifier(through(data, IMPLICIT_LE, EXPLICIT_LE), ELE, LIMITS)
        assert (found[0x00280106].vr, found[0x7FE00010].vr) == (vr, "OW")
        assert found[0x00283010].items[0][0x00283002].vr == vr
        swapped = decode_identifier(through(data, IMPLICIT_LE, EXPLICIT_BE), EBE, LIMITS)
        assert swapped[0x7FE00010].value == b"\x02\x01\x04\x03"
        assert through(through(data, IMPLICIT_LE, EXPLICIT_BE), EXPLICIT_BE, EXPLICIT_LE) == through(
            data, IMPLICIT_LE, EXPLICIT_LE
        )


def test_pixels_of_8_bits_are_bytes() -> None:
    data = encode([(0x00280100, "US", b"\x08\0"), (0x7FE00010, "OW", b"\x01\x02")], ILE)
    found = decode_identifier(through(data, IMPLICIT_LE, EXPLICIT_BE), EBE, LIMITS)
    assert (found[0x7FE00010].vr, found[0x7FE00010].value) == ("OB", b"\x01\x02")


def test_unknown_and_private_go_as_un_with_their_bytes() -> None:
    data = encode(
        [(0x00090010, "LO", b"ACME"), (0x00091001, "UN", b"\x01\x02\x03\x04"), (0x00080007, "UN", b"xy")], ILE
    )
    for target in (EXPLICIT_LE, EXPLICIT_BE):
        found = decode_identifier(through(data, IMPLICIT_LE, target), syntax(target), LIMITS)
        assert [(e.vr, e.value) for e in found.values()] == [
            ("UN", b"xy"),
            ("LO", b"ACME"),
            ("UN", b"\x01\x02\x03\x04"),
        ]


def test_sequences_come_out_with_undefined_length() -> None:
    item = encode([(0x00080100, "SH", b"T")], ELE)
    data = encode([(0x00081140, "SQ", encode_sequence([item], ELE))], ELE)
    expected = b"\x08\0\x40\x11\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff\x08\0\0\x01\x02\0\0\0T "
    assert through(data, EXPLICIT_LE, IMPLICIT_LE) == expected + ENDS["<"]
    empty = encode([(0x00081199, "SQ", b"")], ELE)
    assert through(empty, EXPLICIT_LE, IMPLICIT_LE) == b"\x08\0\x99\x11\xff\xff\xff\xff" + ENDS["<"][8:]
    assert through(data, EXPLICIT_LE, EXPLICIT_BE).startswith(b"\0\x08\x11\x40SQ\0\0\xff\xff\xff\xff\xff\xfe\xe0\0\xff")


@pytest.mark.parametrize("target", [IMPLICIT_LE, EXPLICIT_BE])
def test_un_of_undefined_length_becomes_a_sequence(target: str) -> None:
    item = encode([(0x00280010, "US", b"\0\x02")], ILE)
    data = b"\x09\0\x01\x10UN\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0" + struct.pack("<I", len(item)) + item
    data += b"\xfe\xff\xdd\xe0\0\0\0\0"
    found = decode_identifier(through(data, EXPLICIT_LE, target), syntax(target), LIMITS)
    assert found[0x00091001].items[0][0x00280010].numbers() == [512]


def test_group_lengths_are_left_out_at_every_level() -> None:
    item = encode([(0x00080000, "UL", b"\x0a\0\0\0"), (0x00080100, "SH", b"T")], ELE)
    data = encode([(0x00080000, "UL", b"\x0a\0\0\0"), (0x00081140, "SQ", encode_sequence([item], ELE))], ELE)
    found = decode_identifier(through(data, EXPLICIT_LE, IMPLICIT_LE), ILE, LIMITS)
    assert list(found) == [0x00081140] and list(found[0x00081140].items[0]) == [0x00080100]


@pytest.mark.parametrize(
    ("vr", "size"), [("US", 2), ("AT", 2), ("OW", 2), ("FL", 4), ("OF", 4), ("FD", 8), ("OV", 8), ("OB", 1)]
)
def test_words_change_places(vr: str, size: int) -> None:
    value = bytes(range(16))
    found = decode_identifier(through(encode([(0x00091001, vr, value)], ELE), EXPLICIT_LE, EXPLICIT_BE), EBE, LIMITS)
    words = [value[start : start + size][::-1] for start in range(0, 16, size)]
    assert found[0x00091001].value == b"".join(words)


def test_too_long_for_its_vr_becomes_un_in_little_endian() -> None:
    numbers = encode_numbers("FD", [float(n) for n in range(9000)], ILE)
    data = encode([(0x00189087, "FD", numbers)], ILE)
    for target in (EXPLICIT_LE, EXPLICIT_BE):
        found = decode_identifier(through(data, IMPLICIT_LE, target, piece=5000), syntax(target), LIMITS)
        assert (found[0x00189087].vr, found[0x00189087].value) == ("UN", numbers)


def test_large_values_stream_in_pieces() -> None:
    size = 5 * PIECE_BYTES + 2
    data = encode([(0x7FE00010, "OW", bytes(range(256)) * (size // 256) + b"ab")], ELE)
    pieces = list(reencode(iter([data]), ELE, EBE, LIMITS))
    assert max(map(len, pieces)) <= PIECE_BYTES + 64
    assert b"".join(reencode(iter(pieces), EBE, ELE, LIMITS)) == data


def test_irregular_input_comes_out_regular() -> None:
    odd = b"\x10\0\x20\0LO\x03\x00abc"
    assert through(odd, EXPLICIT_LE, IMPLICIT_LE) == b"\x10\0\x20\0\x04\0\0\0abc "
    missing_vr = b"\x10\0\x20\0\x02\0\0\0ab"
    assert through(missing_vr, EXPLICIT_LE, EXPLICIT_BE) == b"\0\x10\0\x20LO\0\x02ab"
    unknown_vr = b"\x10\0\x20\0ZZ\0\0\x02\0\0\0ab"
    assert through(unknown_vr, EXPLICIT_LE, EXPLICIT_BE) == b"\0\x10\0\x20UN\0\0\0\0\0\x02ab"
    stray = b"\xfe\xff\xdd\xe0\0\0\0\0" + odd[:6] + b"\x02\0ab" + bytes(20)
    assert through(stray, EXPLICIT_LE, IMPLICIT_LE) == b"\x10\0\x20\0\x02\0\0\0ab"
    command = b"\0\0\0\0UL\0\0\0\0\x02\0US\2\0ab\2\0\x10\0UI\2\x001."  # (0000,0000) would look like padding
    assert through(command + odd, EXPLICIT_LE, IMPLICIT_LE) == b"\x10\0\x20\0\x04\0\0\0abc "


def test_encapsulated_icon_in_an_uncompressed_object_is_kept() -> None:
    fragments = b"\xfe\xff\x00\xe0\0\0\0\0\xfe\xff\x00\xe0\x04\0\0\0\xff\xd8\xff\xd9\xfe\xff\xdd\xe0\0\0\0\0"
    icon = b"\xe0\x7f\x10\0OB\0\0\xff\xff\xff\xff" + fragments
    data = encode([(0x00880200, "SQ", encode_sequence([icon], ELE))], ELE)
    found = through(data, EXPLICIT_LE, IMPLICIT_LE)
    assert b"\xe0\x7f\x10\0\xff\xff\xff\xff" + fragments + ENDS["<"] in found


@pytest.mark.parametrize(
    ("data", "defect"),
    [
        (b"\x10\0\x20\0LO\x08\x00abc", "truncated"),
        (b"\x08\0\x40\x11SQ\0\0\xff\xff\xff\xff", "truncated"),
        (b"\x08\0\x40\x11SQ\0\0\x10\0\0\0\xfe\xff\x00\xe0\x20\0\0\0" + bytes(40), "length-over-long"),
        (b"\x08\0\x40\x11SQ\0\0\xff\xff\xff\xff\x08\0\x05\0CS\0\0", "item-expected"),
        (b"\x08\0\x40\x11LO\xff\xff\0\0", "truncated"),
        (b"\xfe\xff\x00\xe0\0\0\0\0", "item-stray"),
        (b"\x08\0\x60\0CS\2\0CT" + bytes(20) + b"CT", "padding-not-zero"),
        (
            b"\x08\0\x40\x11SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff\xfe\xff\xdd\xe0\0\0\0\0",
            "delimiter-missing",
        ),
    ],
)
def test_refused(data: bytes, defect: str) -> None:
    with pytest.raises(Malformed) as caught:
        through(data, EXPLICIT_LE, IMPLICIT_LE)
    assert caught.value.defect == defect


def test_undefined_length_of_a_short_vr_by_dictionary_is_refused() -> None:
    with pytest.raises(Malformed) as caught:
        through(b"\x10\0\x20\0\xff\xff\xff\xff" + bytes(8), EXPLICIT_LE, IMPLICIT_LE)
    assert caught.value.defect == "length-undefined"


def nested(depth: int) -> bytes:
    return b"\x08\0\x40\x11SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff" * depth + ENDS["<"] * depth


def test_depth_limit() -> None:
    limits = ReaderLimits(depth_max=10)
    for depth in (9, 10):
        assert through(nested(depth), EXPLICIT_LE, EXPLICIT_BE, limits=limits)
    with pytest.raises(LimitExceeded):
        through(nested(11), EXPLICIT_LE, EXPLICIT_BE, limits=limits)
    with pytest.raises(LimitExceeded):
        through(nested(50_000), EXPLICIT_LE, EXPLICIT_BE, piece=65536)


def test_element_limit() -> None:
    data = encode([(0x00100000 + n, "LO", b"") for n in range(1, 11)], ELE)
    assert through(data, EXPLICIT_LE, IMPLICIT_LE, limits=ReaderLimits(elements_max=10))
    with pytest.raises(LimitExceeded):
        through(data, EXPLICIT_LE, IMPLICIT_LE, limits=ReaderLimits(elements_max=9))


def test_deflate_both_ways_changes_nothing_else() -> None:
    data = encode([(0x00080000, "UL", b"\x0a\0\0\0"), (0x00104000, "LT", b"text " * 1000)], ELE)
    packed = through(data, EXPLICIT_LE, DEFLATED_LE)
    assert len(packed) % 2 == 0 and len(packed) < 100
    assert through(packed, DEFLATED_LE, EXPLICIT_LE) == data
    assert through(packed, DEFLATED_LE, IMPLICIT_LE) == through(data, EXPLICIT_LE, IMPLICIT_LE)


def test_same_syntax_passes_untouched_whatever_it_is() -> None:
    for uid in (EXPLICIT_LE, JPEG_BASELINE, "1.2.3"):
        assert through(b"anything", uid, uid) == b"anything"


def test_encapsulated_needs_a_codec() -> None:
    jpeg = syntax(JPEG_BASELINE)
    assert not can_reencode(jpeg, ELE) and not can_reencode(ELE, jpeg)
    assert can_reencode(DLE, EBE) and can_reencode(jpeg, jpeg)
    for source, target in ((jpeg, ELE), (ELE, jpeg), (ELE, syntax("1.2.3"))):
        with pytest.raises(NotAcceptable):
            reencode(iter([b""]), source, target, LIMITS)


def zeros(count: int) -> Iterator[bytes]:
    yield from (bytes(1 << 16) for _ in range(count))


def test_deflate_bomb_and_broken_streams() -> None:
    packer = zlib.compressobj(9, wbits=-15)
    bomb = b"".join(packer.compress(piece) for piece in zeros(64)) + packer.flush()
    for limits in (ReaderLimits(inflate_ratio_free_bytes=1 << 20), ReaderLimits(inflate_bytes_max=(1 << 22) - 1)):
        with pytest.raises(LimitExceeded):
            list(inflated([bomb], limits))
    assert sum(map(len, inflated([bomb], ReaderLimits(inflate_bytes_max=1 << 22)))) == 1 << 22
    with pytest.raises(Malformed):
        list(inflated([b"\x07 nonsense"], LIMITS))
    with pytest.raises(Malformed):
        list(inflated([b"".join(deflated([b"x" * 1000]))[:-4]], LIMITS))
    assert b"".join(inflated([b"".join(deflated([b"x" * 1000])), b"\0"], LIMITS)) == b"x" * 1000


def test_order_and_repetition_are_kept() -> None:
    data = b"\x10\0\x20\0LO\x02\0zz\x10\0\x20\0LO\x02\0aa\x10\0\x10\0PN\x02\0bb" + bytes(12)
    assert through(data, EXPLICIT_LE, EXPLICIT_BE, piece=1) == through(data, EXPLICIT_LE, EXPLICIT_BE, piece=1000)
    assert through(data, EXPLICIT_LE, IMPLICIT_LE, piece=1000) == (
        b"\x10\0\x20\0\x02\0\0\0zz\x10\0\x20\0\x02\0\0\0aa\x10\0\x10\0\x02\0\0\0bb"
    )
