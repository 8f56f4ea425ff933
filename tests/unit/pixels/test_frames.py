"""Where frames begin and end: bits, words, fragments, offset tables; and what native pixels come out as."""

from __future__ import annotations

from array import array
from dataclasses import replace

import numpy
import pytest

from sagittal.dicom.elements import swapped
from sagittal.dicom.frameindex import FrameIndex
from sagittal.dicom.syntaxes import EXPLICIT_BE, EXPLICIT_LE, JPEG_BASELINE
from sagittal.errors import PixelsUndecodable
from sagittal.pixels import frames
from sagittal.pixels.codecs import codec
from sagittal.pixels.codecs.interface import Options
from sagittal.pixels.description import Description

NATIVE = codec(EXPLICIT_LE)


def reading(data: bytes) -> frames.Read:
    return lambda offset, length: data[offset : offset + length]


def test_frames_of_bits_that_begin_inside_a_byte() -> None:
    described = Description(3, 3, 1, 1, 1, 0, frames=5)
    planes = numpy.random.default_rng(2).integers(0, 2, (5, 3, 3), dtype="u1")
    data = b"xy" + numpy.packbits(planes.reshape(-1), bitorder="little").tobytes()
    index = FrameIndex("native", 5, 2, 9)
    for number in range(5):
        frame = frames.frame_bytes(reading(data), index, number + 1, described, EXPLICIT_LE)
        assert len(frame) == 2
        values = NATIVE.decode(frame, described)
        numpy.testing.assert_array_equal(values, planes[number])
    with pytest.raises(IndexError):
        frames.frame_bytes(reading(data), index, 6, described, EXPLICIT_LE)


def test_bits_are_brought_to_begin_at_a_byte() -> None:
    assert frames.shifted(b"\xff\xff", 4, 8) == b"\xff"
    assert frames.shifted(b"\xf0\x0f", 4, 8) == b"\xff"
    assert frames.shifted(b"\x80\x01", 7, 2) == b"\x03"


@pytest.mark.parametrize(("bits", "word"), [(8, 2), (16, 2), (32, 4)])
def test_big_endian_words(bits: int, word: int) -> None:
    """8-bit cells in OW are swapped in pairs, over the border of frames of odd length too."""
    described = Description(3, 3, 1, bits, bits, bits - 1, frames=2)
    planes = numpy.random.default_rng(2).integers(0, 1 << bits, (2, 3, 3), dtype="u8").astype(f"<u{bits // 8}")
    native = planes.tobytes()
    data = b"\0" * 6 + swapped(native, word)
    index = FrameIndex("native", 2, 6, 9 * bits)
    for number in (1, 2):
        frame = frames.frame_bytes(reading(data), index, number, described, EXPLICIT_BE)
        numpy.testing.assert_array_equal(codec(EXPLICIT_BE).decode(frame, described), planes[number - 1])


def test_bytes_are_not_swapped_in_ob_nor_floats_in_words() -> None:
    assert frames.swapped_word(Description(1, 1, 1, 8, 8, 7, vr="OB")) == 1
    assert frames.swapped_word(Description(1, 1, 1, 8, 8, 7, vr="OW")) == 2
    single = Description(1, 1, 1, 32, 32, 31, kind="float")
    assert frames.swapped_word(single) == 4
    assert frames.swapped_word(replace(single, kind="double")) == 8


def test_fragments_are_joined() -> None:
    index = FrameIndex("fragments", 2, 8, lengths=array("I", [2, 4, 2]), firsts=array("I", [0, 1]))
    data = b"headhead" + b"AA" + b"itemitem" + b"BBBB" + b"itemitem" + b"CC"
    described = Description(1, 1, frames=2)
    assert frames.frame_bytes(reading(data), index, 1, described, JPEG_BASELINE) == b"AA"
    assert frames.frame_bytes(reading(data), index, 2, described, JPEG_BASELINE) == b"BBBBCC"
    with pytest.raises(PixelsUndecodable, match="ends inside"):
        frames.frame_bytes(reading(data[:-1]), index, 2, described, JPEG_BASELINE)


class TestEncapsulation:
    def test_items_and_basic_offset_table(self) -> None:
        written = [b"abc", b"defg", b""]
        table = frames.table([len(frame) for frame in written])
        assert table.members() == {}
        value = b"".join(frames.encapsulated(written, table.basic))
        assert value == (
            b"\xfe\xff\x00\xe0\x0c\0\0\0" + b"\0\0\0\0\x0c\0\0\0\x18\0\0\0"
            b"\xfe\xff\x00\xe0\x04\0\0\0abc\0" + b"\xfe\xff\x00\xe0\x04\0\0\0defg" + b"\xfe\xff\x00\xe0\0\0\0\0"
            b"\xfe\xff\xdd\xe0\0\0\0\0"
        )

    def test_pydicom_reads_them(self) -> None:
        from pydicom.encaps import generate_frames

        written = [bytes([number]) * (10 + number) for number in range(5)]
        value = b"".join(frames.encapsulated(written, frames.table([len(frame) for frame in written]).basic))
        read = list(generate_frames(value, number_of_frames=5))
        assert [frame[: len(one)] for frame, one in zip(read, written, strict=True)] == written

    def test_the_extended_table_where_32_bits_are_not_enough(self) -> None:
        lengths = [1 << 31] * 2 + [(1 << 31) - 16, 10]
        assert frames.table(lengths[:2]).basic
        table = frames.table([*lengths, 5])
        assert not table.basic and set(table.members()) == {"7FE00001", "7FE00002"}
        offsets = numpy.frombuffer(table.extended, "<u8")
        assert list(offsets[:3]) == [0, (1 << 31) + 8, (1 << 32) + 16]
        assert list(numpy.frombuffer(table.lengths, "<u8")) == [*lengths, 5]

    def test_the_last_offset_that_32_bits_hold(self) -> None:
        whole = frames.OFFSET_MAX - 1 - 8  # the second frame begins at FFFFFFFE
        assert frames.table([whole, 2]).basic
        assert frames.table([1 << 31, (1 << 31) - 16, 2]).extended

    def test_no_table_tells_where_several_fragments_of_a_frame_are(self) -> None:
        assert frames.table([frames.FRAGMENT_BYTES_MAX + 2, 5]) == frames.Table(b"", b"", b"")

    def test_a_frame_longer_than_an_item(self) -> None:
        assert frames.pieces(10, 4) == [4, 4, 2]
        assert frames.pieces(0, 4) == [0]
        assert frames.pieces(frames.FRAGMENT_BYTES_MAX + 2) == [frames.FRAGMENT_BYTES_MAX, 2]


class TestNative:
    def test_high_bit_and_sign(self) -> None:
        described = Description(1, 3, 1, 16, 12, 15, True)
        data = numpy.array([0x8000 | 0xF, 0x7FF0, 0xFFF0], "<u2").tobytes()
        values = NATIVE.decode(data, described)
        assert values.tolist() == [[-2048, 2047, -1]] and values.dtype == "int16"

    def test_unused_bits_are_masked(self) -> None:
        data = numpy.array([0xF001, 0x0FFF], "<u2").tobytes()
        assert NATIVE.decode(data, Description(1, 2, 1, 16, 12, 11)).tolist() == [[1, 4095]]
        assert NATIVE.decode(data, Description(1, 2, 1, 16, 12, 11, True)).tolist() == [[1, -1]]

    def test_packed_12_bit_cells(self) -> None:
        values = NATIVE.decode(bytes.fromhex("bcfade"), Description(1, 2, 1, 12, 12, 11))
        assert values.tolist() == [[0xABC, 0xDEF]]

    def test_planes(self) -> None:
        described = Description(1, 2, 3, 8, 8, 7, False, "RGB", planar=1)
        values, after = NATIVE.decode(b"\1\2\3\4\5\6", described), NATIVE.decoded(described)
        assert values.tolist() == [[[1, 3, 5], [2, 4, 6]]] and after.planar == 0
        assert codec(EXPLICIT_LE).encode(values, described, Options()) == b"\1\2\3\4\5\6"

    def test_chrominance_of_every_second_column(self) -> None:
        described = Description(1, 4, 3, 8, 8, 7, False, "YBR_FULL_422")
        values, after = (
            NATIVE.decode(bytes([10, 20, 100, 200, 30, 40, 110, 210]), described),
            codec(EXPLICIT_LE).decoded(described),
        )
        assert values.tolist() == [[[10, 100, 200], [20, 100, 200], [30, 110, 210], [40, 110, 210]]]
        assert after.photometric == "YBR_FULL"
        whole = bytes(range(12))  # declared 4:2:2, and isn't
        assert NATIVE.decode(whole, described).reshape(-1).tolist() == list(whole)
        with pytest.raises(PixelsUndecodable, match="odd"):
            NATIVE.decode(bytes(6), replace(described, columns=3))

    def test_the_partial_range_becomes_the_full_one(self) -> None:
        described = Description(1, 2, 3, 8, 8, 7, False, "YBR_PARTIAL_422")
        values, after = (
            NATIVE.decode(bytes([16, 235, 240, 16]), described),
            codec(EXPLICIT_LE).decoded(described),
        )
        assert values.tolist() == [[[0, 255, 0], [255, 255, 0]]] and after.photometric == "YBR_FULL"

    @pytest.mark.parametrize(("kind", "dtype"), [("float", "<f4"), ("double", "<f8")])
    def test_floats_keep_their_bits(self, kind: str, dtype: str) -> None:
        bits = 32 if kind == "float" else 64
        described = Description(1, 4, 1, bits, bits, bits - 1, kind=kind)  # type: ignore[arg-type]
        data = numpy.array([0.1, -numpy.inf, numpy.nan, -0.0], dtype).tobytes()
        values = NATIVE.decode(data, described)
        assert codec(EXPLICIT_LE).encode(values, described, Options()) == data
