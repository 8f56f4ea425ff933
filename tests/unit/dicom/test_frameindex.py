"""Frames: geometry, offset tables, scanning; and the index as bytes."""

from __future__ import annotations

from array import array
from struct import pack

import pytest
from reading import SEQUENCE_END, UNDEFINED, explicit, image, item, read

from sagittal.dicom.frameindex import FrameIndex, number_of_frames
from sagittal.dicom.syntaxes import DEFLATED_LE, EXPLICIT_LE, JPEG_BASELINE, RLE_LOSSLESS

VIDEO = "1.2.840.10008.1.2.4.102"


def encapsulated(*fragments: bytes, table: bytes = b"", before: bytes = b"", delimited: bool = True) -> bytes:
    value = item(table) + b"".join(map(item, fragments))
    return before + explicit(0x7FE00010, "OB", value, UNDEFINED) + (SEQUENCE_END if delimited else b"")


def frames_of(data: bytes, uid: str = JPEG_BASELINE) -> list[bytes] | None:
    index = read(data, uid).known.frames
    if index is None:
        return None
    assert FrameIndex.decode(index.encode()) == index
    pieces = [index.ranges(frame) for frame in range(1, index.count + 1)]
    return [b"".join(data[bit >> 3 : (bit + bits) >> 3] for bit, bits in ranges) for ranges in pieces]


def test_native_frames_follow_each_other() -> None:
    pixels = bytes(range(2 * 3 * 2 * 4))
    data = image(2, 3, 16, 4) + explicit(0x7FE00010, "OW", pixels)
    assert frames_of(data, EXPLICIT_LE) == [pixels[at : at + 12] for at in range(0, 48, 12)]
    assert read(data).known.pixel_data == (len(data) - 48, 48)


def test_number_of_frames_may_have_a_sign() -> None:
    """PS3.5 6.2, IS."""
    assert number_of_frames("+3", pytest.fail) == number_of_frames("3", pytest.fail) == 3
    for text in ("-3", "0", "+", "++3", "3_0", "1e1"):
        warnings: list[str] = []
        assert number_of_frames(text, warnings.append) == 1
        assert warnings == ["number-of-frames-invalid"]


def test_frames_of_single_bits_begin_inside_a_byte() -> None:
    data = image(3, 3, 1, 5) + explicit(0x7FE00010, "OB", bytes(6))
    index = read(data).known.frames
    assert index is not None
    first = (len(data) - 6) * 8
    assert [index.ranges(frame) for frame in (1, 2, 5)] == [[(first, 9)], [(first + 9, 9)], [(first + 36, 9)]]
    with pytest.raises(IndexError):
        index.ranges(6)


@pytest.mark.parametrize(("tag", "vr", "size"), [(0x7FE00008, "OF", 4), (0x7FE00009, "OD", 8)])
def test_float_pixels(tag: int, vr: str, size: int) -> None:
    pixels = bytes(2 * 2 * 2 * size)
    assert frames_of(image(2, 2, 8, 2) + explicit(tag, vr, pixels), EXPLICIT_LE) == [bytes(4 * size)] * 2


def test_subsampled_colour_takes_two_thirds() -> None:
    head = explicit(0x00280002, "US", b"\3\0") + explicit(0x00280004, "CS", b"YBR_FULL_422") + image(2, 4, 8)[10:]
    assert frames_of(head + explicit(0x7FE00010, "OB", bytes(16)), EXPLICIT_LE) == [bytes(16)]


@pytest.mark.parametrize("bits", [b"-1", b"0 "])
def test_a_geometry_of_nothing_or_less_has_no_frames(bits: bytes) -> None:
    """As of Bits Allocated in another VR: the object is kept all the same."""
    head = image(10, 10)[:-10] + explicit(0x00280100, "IS", bits)
    assert frames_of(head + explicit(0x7FE00010, "OW", bytes(4)), EXPLICIT_LE) is None


@pytest.mark.parametrize(("size", "outcome"), [(31, "pixel-data-short"), (32, ""), (33, "pixel-data-long")])
def test_native_length_against_geometry(size: int, outcome: str) -> None:
    result = read(image(4, 4, 16) + explicit(0x7FE00010, "OW", bytes(size)))
    assert (result.refused or " ".join(set(result.known.defects) - {"odd-length"})) == outcome


def test_one_byte_of_padding_is_no_defect() -> None:
    assert read(image(3, 3, 8) + explicit(0x7FE00010, "OB", bytes(10))).known.defects == ()


def test_one_fragment_a_frame() -> None:
    assert frames_of(encapsulated(b"one!", b"", b"three3", before=image(1, 1, 8, 3))) == [b"one!", b"", b"three3"]


def test_a_single_frame_is_all_fragments() -> None:
    assert frames_of(encapsulated(b"ab", b"cd", b"ef")) == [b"abcdef"]


def test_basic_offset_table() -> None:
    table = pack("<3I", 0, 20, 30)
    data = encapsulated(b"a1", b"a2", b"b1", b"c1", b"c2", table=table, before=image(1, 1, 8, 3))
    assert frames_of(data) == [b"a1a2", b"b1", b"c1c2"]


@pytest.mark.parametrize("table", [(0, 20), (0, 20, 31), (8, 20, 30), (0, 20, 400), (0, 30, 20)])
def test_a_wrong_offset_table_is_ignored(table: tuple[int, ...]) -> None:
    packed = pack(f"<{len(table)}I", *table)
    data = encapsulated(b"a1", b"a2", b"b1", b"c1", b"c2", table=packed, before=image(1, 1, 8, 3))
    parsed = read(data, JPEG_BASELINE).known
    assert parsed.frames is None
    assert parsed.defects == ("frames-undetermined", "offset-table-invalid")


def test_extended_offset_table() -> None:
    tables = explicit(0x7FE00001, "OV", pack("<2Q", 0, 12)) + explicit(0x7FE00002, "OV", pack("<2Q", 3, 2))
    data = encapsulated(b"abc\0", b"de", before=image(1, 1, 8, 2) + tables)
    assert read(data, JPEG_BASELINE).known.defects == ()
    assert frames_of(data) == [b"abc\0", b"de"]


def test_an_extended_offset_table_beyond_what_is_held() -> None:
    count = 9_000  # 72,000 bytes each
    fragments = [b"%04d" % (number % 10_000) for number in range(count)]
    tables = explicit(0x7FE00001, "OV", pack(f"<{count}Q", *range(0, 12 * count, 12)))
    tables += explicit(0x7FE00002, "OV", pack(f"<{count}Q", *[4] * count))
    data = encapsulated(*fragments, before=image(1, 1, 8, count) + tables)
    result = read(data, JPEG_BASELINE)
    assert result.known.defects == ()
    assert result.metadata["7FE00001"]["BulkDataURI"].startswith("7FE00001?offset=")
    assert frames_of(data) == fragments


@pytest.mark.parametrize("mark", ["ffd8", "ff4fff51", "0000000c6a502020", "0000000c4a584c20", "ff0a"])
def test_code_streams_tell_frames_apart(mark: str) -> None:
    """JPEG, JPEG 2000, its file format and that of JPEG XL (ISO/IEC 15444-1 I.5.1, 18181-2 9.1), JPEG XL."""
    head = bytes.fromhex(mark)
    data = encapsulated(head + b"aa", b"bc", head + b"dd", b"e ", before=image(1, 1, 8, 2))
    assert frames_of(data) == [head + b"aabc", head + b"dde "]


def test_of_more_code_streams_than_frames_the_first_count() -> None:
    one, more = b"\xff\xd8ab", b"\xff\xd8de"
    for before in ([one, b"bc"], [one]):
        data = encapsulated(*before, more, b"\xff\xd8", b"zz", before=image(1, 1, 8, 2))
        parsed = read(data, JPEG_BASELINE).known
        assert parsed.defects == ("pixel-data-long",)
        assert frames_of(data) == [b"".join(before), more]
    assert parsed.frames is not None and parsed.frames.firsts is None  # a fragment each


def test_fewer_fragments_than_frames() -> None:
    assert read(encapsulated(b"ab", before=image(1, 1, 8, 2)), RLE_LOSSLESS).refused == "pixel-data-short"


def test_no_frames_in_video_and_deflated_data_sets() -> None:
    import zlib

    assert frames_of(encapsulated(b"ab", before=image(1, 1, 8, 2)), VIDEO) is None
    plain = image(1, 1, 8, 2) + explicit(0x7FE00010, "OB", b"ab")
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    parsed = read(packer.compress(plain) + packer.flush(), DEFLATED_LE).known
    assert parsed.frames is None
    assert parsed.pixel_data == (len(plain) - 2, 2)


def test_a_missing_last_delimiter() -> None:
    parsed = read(encapsulated(b"ab", delimited=False), JPEG_BASELINE).known
    assert parsed.defects == ("pixel-data-delimiter-missing",)
    assert parsed.frames is not None


@pytest.mark.parametrize(
    ("uid", "data", "defect"),
    [
        (EXPLICIT_LE, encapsulated(b"ab"), "pixel-data-encapsulated"),
        (JPEG_BASELINE, image(1, 1) + explicit(0x7FE00010, "OW", b"ab"), "pixel-data-not-encapsulated"),
        (EXPLICIT_LE, explicit(0x7FE00010, "OW", b"ab"), "pixel-geometry-missing"),
    ],
)
def test_no_index_where_pixel_data_does_not_fit_the_syntax(uid: str, data: bytes, defect: str) -> None:
    parsed = read(data, uid).known
    assert parsed.frames is None
    assert parsed.defects == (defect,)


def test_the_index_as_bytes_is_small() -> None:
    index = FrameIndex("fragments", 200_000, 1000, lengths=array("I", [5000 + n % 7 for n in range(200_000)]))
    coded = index.encode()
    assert len(coded) < 200_000
    assert FrameIndex.decode(coded) == index
    assert index.ranges(3) == [((1000 + 5000 + 5001 + 16) * 8, 5002 * 8)]


@pytest.mark.parametrize("data", [b"", b"sfF1", b"x" * 40, FrameIndex("native", 1, 2, 3).encode() + b"x"])
def test_other_bytes_are_no_index(data: bytes) -> None:
    with pytest.raises(ValueError, match="not a frame index"):
        FrameIndex.decode(data)
