"""The reader: encodings, nesting, what is tolerated and what is refused, and the metadata it makes on the way."""

from __future__ import annotations

import json
import zlib
from struct import pack

import pytest
from reading import (
    ITEM_END,
    SEQUENCE_END,
    UNDEFINED,
    cut,
    explicit,
    image,
    implicit,
    item,
    open_item,
    read,
    sequence,
)

from sagittal.dicom.reader import Memo, Reader
from sagittal.dicom.syntaxes import DEFLATED_LE, EXPLICIT_BE, EXPLICIT_LE, IMPLICIT_LE, syntax
from sagittal.limits import ReaderLimits

NAME = explicit(0x00100010, "PN", b"A^B ")
CODE = explicit(0x00080100, "SH", b"T-1 ")
CODE_JSON = {"00080100": {"vr": "SH", "Value": ["T-1"]}}
SQ = 0x00081032


def deflated(data: bytes, level: int = 9) -> bytes:
    packer = zlib.compressobj(level, zlib.DEFLATED, -15)
    return packer.compress(data) + packer.flush()


def test_one_pass_gives_everything() -> None:
    data = (
        explicit(0x00080005, "CS", b"ISO_IR 100")
        + explicit(0x00080018, "UI", b"1.2.3\0")
        + explicit(0x00080060, "CS", b"CT")
        + explicit(0x00100010, "PN", b"M\xfcller^H")
        + explicit(0x00100020, "LO", b"")
        + image(2, 2)
        + explicit(0x7FE00010, "OW", bytes(8))
    )
    result = read(data)
    parsed = result.known
    assert parsed.size == len(data)
    assert parsed.values == {
        0x00080005: "ISO_IR 100",
        0x00080018: "1.2.3",
        0x00080060: "CT",
        0x00100010: "Müller^H",
        0x00100020: "",
    }
    assert parsed.charsets == ("ISO_IR 100",)
    assert parsed.defects == ()
    assert parsed.pixel_data == (len(data) - 8, 8)
    assert result.metadata["00080005"]["Value"] == ["ISO_IR 192"]
    assert result.metadata["00100010"] == {"vr": "PN", "Value": [{"Alphabetic": "Müller^H"}]}
    assert result.metadata["00100020"] == {"vr": "LO"}
    assert result.metadata["7FE00010"] == {"vr": "OW", "BulkDataURI": f"7FE00010?offset={len(data) - 8}&length=8"}


@pytest.mark.parametrize("undefined", [False, True])
def test_sequences_in_sequences(undefined: bool) -> None:
    make = open_item if undefined else item
    inner = sequence(SQ, make(CODE), make(b""), undefined=undefined)
    data = sequence(SQ, make(inner), make(CODE), undefined=undefined) + NAME
    for memo in (None, Memo()):
        for _ in range(3):
            result = read(data, memo=memo)
            assert result.metadata["00081032"] == {
                "vr": "SQ",
                "Value": [{"00081032": {"vr": "SQ", "Value": [CODE_JSON, {}]}}, CODE_JSON],
            }
            assert result.metadata["00100010"]["Value"] == [{"Alphabetic": "A^B"}]


def test_empty_sequences_have_no_value() -> None:
    assert read(sequence(SQ)).metadata == {"00081032": {"vr": "SQ"}}
    assert read(sequence(SQ, undefined=True)).metadata == {"00081032": {"vr": "SQ"}}


def test_an_empty_data_set() -> None:
    assert read(b"").metadata == {}


def test_implicit_takes_its_vrs_from_the_dictionary() -> None:
    data = (
        implicit(0x00080016, b"1.2\0")
        + implicit(0x00091001, b"\1\2")
        + implicit(0x00100010, b"A^B ")
        + implicit(0x00280103, b"\1\0")
        + implicit(0x00280106, b"\xff\xff")
        + implicit(0x00990010, b"ACME")
    )
    result = read(data, IMPLICIT_LE)
    assert {tag: member["vr"] for tag, member in result.metadata.items()} == {
        "00080016": "UI",
        "00091001": "UN",
        "00100010": "PN",
        "00280103": "US",
        "00280106": "SS",
        "00990010": "LO",
    }
    assert result.metadata["00280106"]["Value"] == [-1]
    # The same bytes mean something else when the pixels are unsigned: no memory of the former may be in the way.
    memo = Memo()
    for signed, smallest in ((1, -1), (0, 65535)) * 3:
        again = data.replace(implicit(0x00280103, b"\1\0"), implicit(0x00280103, bytes((signed, 0))))
        assert read(again, IMPLICIT_LE, memo=memo).metadata["00280106"]["Value"] == [smallest]


def test_implicit_private_sequences_show_by_their_undefined_length() -> None:
    data = implicit(0x00091001, open_item(implicit(0x00080100, b"T-1 ")) + SEQUENCE_END, UNDEFINED)
    assert read(data, IMPLICIT_LE).metadata == {"00091001": {"vr": "SQ", "Value": [CODE_JSON]}}


def test_big_endian() -> None:
    order = ">"
    code = explicit(0x00080100, "SH", b"T-1 ", order=order)
    data = (
        explicit(0x00080018, "UI", b"1.2.3\0", order=order)
        + explicit(SQ, "SQ", pack(">HHI", 0xFFFE, 0xE000, 12) + code, order=order)
        + explicit(0x00280010, "US", b"\0\2", order=order)
        + explicit(0x00281201, "OW", b"\1\2", order=order)
    )  # fmt: skip
    result = read(data, EXPLICIT_BE)
    assert result.known.values[0x00080018] == "1.2.3"
    assert result.metadata["00081032"]["Value"] == [CODE_JSON]
    assert result.metadata["00280010"]["Value"] == [2]
    assert result.metadata["00281201"]["InlineBinary"] == "AgE="


def test_deflated() -> None:
    data = NAME + explicit(0x00204000, "LT", b"x" * 5000)
    for padding, defects in ((b"", ()), (b"\0", ()), (b"\0\0", ("trailing-padding",))):
        packed = deflated(data) + padding
        result = read(packed, DEFLATED_LE)
        assert result.metadata["00204000"]["Value"] == ["x" * 5000]
        assert result.known.size == len(packed)
        assert result.known.defects == defects
        assert read(packed, DEFLATED_LE, pieces=cut(packed, *range(len(packed)))) == result
    assert read(deflated(data)[:-3], DEFLATED_LE).refused == "truncated"
    assert read(b"\xff" * 20, DEFLATED_LE).refused == "deflate-invalid"


def test_unknown_with_undefined_length_is_an_implicit_sequence() -> None:
    # PS3.5 6.2.2
    content = open_item(implicit(0x00080100, b"T-1 "))
    data = explicit(0x00091001, "UN", content + SEQUENCE_END, UNDEFINED) + NAME
    result = read(data)
    assert result.metadata["00091001"] == {"vr": "SQ", "Value": [CODE_JSON]}
    assert result.metadata["00100010"]["vr"] == "PN"


def test_unknown_is_read_by_the_dictionary_when_that_knows() -> None:
    result = read(
        explicit(0x00091001, "UN", b"\1\2") + explicit(0x00100010, "UN", b"A^B ") + explicit(0x00281201, "UN", b"\1\2")
    )
    assert result.metadata["00091001"] == {"vr": "UN", "InlineBinary": "AQI="}
    assert result.metadata["00100010"] == {"vr": "PN", "Value": [{"Alphabetic": "A^B"}]}
    assert result.metadata["00281201"]["vr"] == "UN"
    assert result.known.defects == ()


def test_a_character_set_holds_for_its_item_only() -> None:
    inside = explicit(0x00080005, "CS", b"ISO_IR 144") + explicit(0x00080104, "LO", b"\xbb\xee\xda ")
    latin, code = explicit(0x00080005, "CS", b"ISO_IR 100"), explicit(0x00080104, "LO", b"\xbb ")
    memo = Memo()
    for _ in range(3):
        metadata = read(
            latin + sequence(SQ, item(inside), item(code)) + explicit(0x00100010, "PN", b"\xc4 "), memo=memo
        ).metadata
        assert [value["00080104"]["Value"] for value in metadata["00081032"]["Value"]] == [["Люк"], ["»"]]
        assert metadata["00100010"]["Value"] == [{"Alphabetic": "Ä"}]


def test_group_lengths_and_padding_are_not_metadata() -> None:
    data = explicit(0x00080000, "UL", pack("<I", 10)) + NAME + explicit(0xFFFCFFFC, "OB", bytes(6))
    result = read(data)
    assert list(result.metadata) == ["00100010"]
    assert result.known.defects == ()


def test_bulk_data_says_where_it_is() -> None:
    icon = explicit(0x7FE00010, "OW", bytes(3000))
    data = NAME + sequence(0x00880200, item(image(1, 1)), item(icon))
    assert read(data).metadata["00880200"]["Value"][1] == {
        "7FE00010": {"vr": "OW", "BulkDataURI": f"00880200/2/7FE00010?offset={len(data) - 3000}&length=3000"}
    }


def test_encapsulated_icons_are_passed() -> None:
    icon = explicit(0x7FE00010, "OB", item(b"") + item(b"abcd") + SEQUENCE_END, UNDEFINED)
    result = read(sequence(0x00880200, item(icon), undefined=True) + explicit(0x00990010, "LO", b"x "))
    assert result.metadata["00880200"]["Value"] == [{"7FE00010": {"vr": "OB", "BulkDataURI": "00880200/1/7FE00010"}}]
    assert result.known.pixel_data is None


WARNED = [
    ("odd-length", explicit(0x00100020, "LO", b"123")),
    ("odd-length", explicit(0x7FE00010, "OB", b"1")),
    ("trailing-padding", NAME + bytes(3)),
    ("trailing-padding", NAME + bytes(8)),
    ("trailing-padding", NAME + bytes(1001)),
    ("vr-mismatch", explicit(0x00100020, "DA", b"20200101")),
    ("vr-unknown", explicit(0x00100020, "UN", b"1 ").replace(b"UN", b"ZZ")),
    ("vr-missing", implicit(0x00100020, b"1 ")),
    ("tag-order", NAME + explicit(0x00080060, "CS", b"CT")),
    ("element-duplicate", NAME + NAME),
    ("group-stray", explicit(0x00020010, "UI", b"1.2 ") + NAME),
    ("group-stray", explicit(0x00000002, "UI", b"1.2 ") + NAME),
    ("delimiter-stray", ITEM_END + NAME),
    ("delimiter-stray", NAME + SEQUENCE_END),
    ("delimiter-stray", sequence(SQ, item(CODE + ITEM_END))),
    ("delimiter-stray", sequence(SQ, item(CODE), SEQUENCE_END)),
    ("delimiter-length", explicit(SQ, "SQ", item(CODE) + SEQUENCE_END[:4] + b"\4\0\0\0", UNDEFINED)),
    ("charset-misspelt", explicit(0x00080005, "CS", b"UTF-8 ")),
    ("charset-unknown", explicit(0x00080005, "CS", b"UTF-99")),
    ("text-undecodable", explicit(0x00100020, "LO", b"\xff\xfe")),
    ("number-invalid", explicit(0x00200013, "IS", b"1a")),
    ("value-length-uneven", explicit(0x00280009, "AT", b"\1\2")),
    ("number-of-frames-invalid", image(1, 1, 8, 0) + explicit(0x7FE00010, "OB", b"\0\0")),
]  # fmt: skip
REFUSED = [
    ("truncated", NAME[:-1]),
    ("truncated", NAME + b"\x10"),
    ("truncated", explicit(0x00204000, "UT", b"x", 1 << 31)),
    ("truncated", explicit(SQ, "SQ", item(CODE), UNDEFINED)),
    ("truncated", explicit(SQ, "SQ", item(CODE, UNDEFINED), UNDEFINED)),
    ("truncated", explicit(SQ, "SQ", item(CODE), 10_000)),
    ("length-over-long", sequence(SQ, item(CODE, 100))),
    ("length-over-long", sequence(SQ, item(explicit(0x00080100, "SH", b"T-1 ", 6))) + NAME),
    ("length-over-long", sequence(SQ, item(CODE + b"\0\0\0\0"))),
    ("length-over-long", sequence(SQ, b"\0\0")),
    ("length-undefined", explicit(0x00204000, "UT", b"", UNDEFINED)),
    ("item-expected", sequence(SQ, CODE)),
    ("item-expected", explicit(0x7FE00010, "OB", item(b"") + NAME, UNDEFINED)),
    ("item-expected", explicit(0x7FE00010, "OB", item(b"", UNDEFINED), UNDEFINED)),
    ("item-stray", NAME + item(CODE)),
    ("item-stray", NAME + item(b"", 0x4E55) + bytes(4)),  # a length that reads as UN
    ("item-stray", NAME + item(b"", 0x5343) + bytes(4)),  # CS
    ("delimiter-missing", explicit(SQ, "SQ", item(CODE), UNDEFINED) + NAME),
    ("delimiter-missing", explicit(SQ, "SQ", item(CODE, UNDEFINED) + SEQUENCE_END, UNDEFINED)),
    ("delimiter-missing", sequence(SQ, item(CODE, UNDEFINED)) + NAME),
    ("padding-not-zero", NAME + bytes(20) + NAME),
]


@pytest.mark.parametrize(("defect", "data"), WARNED)
def test_tolerated(defect: str, data: bytes) -> None:
    result = read(data)
    assert defect in result.known.defects
    assert read(data, pieces=cut(data, *range(len(data)))) == result


@pytest.mark.parametrize(
    ("tag", "vrs", "others"),
    [
        (0x00080119, "UC LO SH UT LT ST PN", "US"),  # Long Code Value
        (0x0040A160, "UT LT ST LO", "SH UC"),  # Text Value
        (0x00081190, "UR UT ST LO", "LT"),  # Retrieve URL
        (0x00204000, "LT ST LO", "UT SH"),  # Image Comments
        (0x00081030, "LO SH", "ST LT"),  # Study Description
        (0x00280106, "US SS", "UL OW"),  # Smallest Image Pixel Value
        (0x00080050, "SH UN", "LO CS"),  # Accession Number
    ],
)
def test_vrs_of_earlier_editions_are_no_mismatch(tag: int, vrs: str, others: str) -> None:
    """PS3.6 has made short texts longer ones, and names of 64 characters out of shorter ones."""
    for vr in (*vrs.split(), *others.split()):
        defects = read(explicit(tag, vr, b"1234")).known.defects
        assert ("vr-mismatch" in defects) == (vr in others.split()), vr


@pytest.mark.parametrize(("defect", "data"), REFUSED)
def test_refused(defect: str, data: bytes) -> None:
    result = read(data)
    assert result.refused == defect
    assert read(data, pieces=cut(data, *range(len(data)))) == result


@pytest.mark.parametrize("tag", [0x00280103, 0x7FE00001, 0x7FE00002, 0x7FE00010])
def test_a_sequence_is_one_whatever_its_tag_says(tag: int) -> None:
    data = sequence(tag, item(CODE))
    assert read(data).metadata[f"{tag:08X}"] == {"vr": "SQ", "Value": [CODE_JSON]}
    assert read(sequence(SQ, item(data)) + data) == read(sequence(SQ, item(data)) + data, memo=Memo())


@pytest.mark.parametrize("undefined", [False, True])
def test_group_0001_is_no_command_and_no_meta_group(undefined: bool) -> None:
    result = read(sequence(0x00011001, item(CODE), undefined=undefined) + NAME)
    assert result.refused == "" and result.known.defects == ()
    assert result.metadata["00011001"] == {"vr": "SQ", "Value": [CODE_JSON]}


def test_of_duplicates_the_last_counts_everywhere() -> None:
    result = read(NAME + explicit(0x00100010, "PN", b"C^D "))
    assert result.known.values[0x00100010] == "C^D"
    assert result.metadata["00100010"]["Value"] == [{"Alphabetic": "C^D"}]


def test_a_name_sent_as_bytes_is_still_found() -> None:
    assert read(explicit(0x00100010, "OB", b"A^B ")).known.values[0x00100010] == "A^B"


def test_a_remembered_element_is_refused_where_it_does_not_fit() -> None:
    memo = Memo()
    whole = sequence(SQ, item(CODE + NAME)) + NAME
    for _ in range(4):
        assert read(whole, memo=memo).refused == ""
    # The item ends inside NAME, whose bytes are all there and well known.
    broken = explicit(SQ, "SQ", item(CODE + NAME[:-2], len(CODE + NAME) - 2)) + NAME[-2:] + NAME
    assert read(broken, memo=memo) == read(broken)
    assert read(broken).refused == "length-over-long"


def test_no_metadata_is_built_without_a_sink() -> None:
    from sagittal.dicom.reader import Reader
    from sagittal.dicom.syntaxes import EXPLICIT_LE, syntax
    from sagittal.limits import ReaderLimits

    memo = Memo()
    for _ in range(3):
        reader = Reader(syntax(EXPLICIT_LE), wanted=frozenset((0x00100010,)), limits=ReaderLimits(), memo=memo)
        reader.feed(sequence(SQ, item(CODE), item(CODE)) + NAME)
        assert reader.finish().values == {0x00100010: "A^B"}


def test_members_that_came_together_before_are_a_piece_apart() -> None:
    """Of a series most text is the same each time, and is parsed once."""
    same, memo, told = image(2, 2) + explicit(0x00281050, "DS", b"40"), Memo(), []
    inner = sequence(SQ, item(same + explicit(0x00281051, "DS", b"80")))
    for number in (b"1 ", b"2 ", b"3 "):
        pieces: list[str] = []
        reader = Reader(
            syntax(EXPLICIT_LE),
            wanted=frozenset(),
            limits=ReaderLimits(),
            memo=memo,
            metadata=pieces.append,
            apart=True,
        )
        reader.feed(
            explicit(0x00080018, "UI", b"1." + number[:1] + b"\0") + inner + explicit(0x00200013, "IS", number) + same
        )
        reader.finish()
        assert json.loads("".join(pieces))["00200013"]["Value"] == [int(number)]
        told.append(pieces)
    assert [len(pieces) for pieces in told] == [1, 3, 3]
    assert set(json.loads(f"{{{told[2][1].removeprefix(',')}}}")) == {
        "00280002",
        "00280010",
        "00280011",
        "00280100",
        "00281050",
    }
