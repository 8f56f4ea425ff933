"""Every cap of `ReaderLimits` at cap-1, cap and cap+1, and memory and time that don't grow with what is declared."""

from __future__ import annotations

import os
import subprocess
import sys
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from struct import pack

import pytest
from counted import calls_of
from reading import SEQUENCE_END, UNDEFINED, explicit, image, implicit, item, open_item, read, sequence

from sagittal.dicom.reader import Memo, Reader
from sagittal.dicom.syntaxes import DEFLATED_LE, EXPLICIT_LE, IMPLICIT_LE, JPEG_BASELINE, syntax
from sagittal.limits import KiB, MiB, ReaderLimits

SQ = 0x00081032


def nested(depth: int, undefined: bool = True) -> bytes:
    data = b""
    for _ in range(depth):
        data = sequence(SQ, open_item(data) if undefined else item(data), undefined=undefined)
    return data


def deflated(*pieces: bytes) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return b"".join(map(packer.compress, pieces)) + packer.flush()


def fragments(count: int) -> bytes:
    return explicit(0x7FE00010, "OB", item(b"") + item(b"ab") * count + SEQUENCE_END, UNDEFINED)


def basic_table(count: int) -> bytes:
    return explicit(0x7FE00010, "OB", item(bytes(4 * count)) + item(b"ab") + SEQUENCE_END, UNDEFINED)


def elements(count: int) -> bytes:
    return b"".join(explicit(0x00091000 + number, "LO", b"x ") for number in range(count))


def inflating(size: int) -> bytes:
    return deflated(explicit(0x00091001, "OB", bytes(size - 12)))


RATIO = {"inflate_ratio_free_bytes": 0}
CAPS: dict[str, tuple[int, Callable[[int], bytes], str, dict[str, int]]] = {
    # limit: (cap, data that has just so many, syntax, other limits)
    "depth_max": (20, nested, EXPLICIT_LE, {}),
    "elements_max": (50, elements, EXPLICIT_LE, {}),
    "frames_max": (10, fragments, JPEG_BASELINE, {}),
    "frames_max of a basic table": (10, basic_table, JPEG_BASELINE, {}),
    "frames_max of a table": (10, lambda count: explicit(0x7FE00001, "OV", bytes(8 * count)), JPEG_BASELINE, {}),
    "inflate_bytes_max": (100_000, inflating, DEFLATED_LE, {}),
    "inflate_ratio_free_bytes": (100_000, inflating, DEFLATED_LE, {"inflate_ratio_max": 1}),
    "data_set_bytes_max": (100, lambda size: explicit(0x00091001, "OB", bytes(size - 12)), EXPLICIT_LE, {}),
}


@pytest.mark.parametrize("name", CAPS)
@pytest.mark.parametrize("beyond", [-1, 0, 1])
def test_caps(name: str, beyond: int) -> None:
    cap, make, uid, others = CAPS[name]
    data, name = make(cap + beyond), name.partition(" ")[0]
    memo = Memo()
    for _ in range(3):
        result = read(data, uid, memo=memo, **{name: cap}, **others)
        assert result.refused == ("limit-exceeded" if beyond > 0 else ""), result.reason
        assert name in result.reason or beyond <= 0 or name == "inflate_ratio_free_bytes"


@pytest.mark.parametrize("beyond", [-1, 0, 1])
def test_inflate_ratio(beyond: int) -> None:
    size = 200_000
    data = inflating(size)
    ratio = size / len(data)
    assert int(ratio) > 100
    result = read(data, DEFLATED_LE, inflate_ratio_max=int(ratio) + 1 - beyond, **RATIO)
    assert bool(result.refused) == (beyond > 0)


@pytest.mark.parametrize("behind", [0, 20])  # elements, together with which a sequence is remembered
@pytest.mark.parametrize("beyond", [-1, 0, 1])
def test_depth_counts_in_remembered_sequences_too(beyond: int, behind: int) -> None:
    memo = Memo()
    inner = nested(6, undefined=False) + elements(behind)
    for _ in range(5):
        assert read(inner, memo=memo, depth_max=20).refused == ""
    data = inner
    for _ in range(14 + beyond):
        data = sequence(SQ, open_item(data), undefined=True)
    assert bool(read(data, memo=memo, depth_max=20).refused) == (beyond > 0)


def test_elements_count_in_remembered_runs_too() -> None:
    data = sequence(SQ, *[item(elements(3))] * 5) + elements(4)
    count = 1 + 15 + 4
    memo = Memo()
    for _ in range(4):
        assert read(data, memo=memo, elements_max=count).refused == ""
    for _ in range(4):
        assert read(data, memo=memo, elements_max=count - 1).refused == "limit-exceeded"


@pytest.mark.parametrize(
    ("name", "vr"),
    [("value_binary_bytes_max", "OB"), ("value_text_bytes_max", "UT"), ("value_held_bytes_max", "UT")],
)
def test_longer_values_become_bulk_data(name: str, vr: str) -> None:
    for size, bulk in ((99, False), (100, False), (101, True)):
        metadata = read(explicit(0x00091001, vr, b"x" * size), **{name: 100}).metadata
        assert ("BulkDataURI" in metadata["00091001"]) == bulk


@pytest.mark.parametrize("beyond", [-1, 0, 1])
def test_shorter_sequences_are_read_whole(beyond: int) -> None:
    """And remembered so: what comes again is not taken apart again."""
    data = sequence(SQ, *[item(explicit(0x00080104, "LO", b"x" * 10))] * 20)
    memo, most = Memo(), len(data) - beyond
    outcomes = [read(data, memo=memo, sequence_whole_bytes_max=most) for _ in range(2)]
    again = calls_of(lambda: outcomes.append(read(data, memo=memo, sequence_whole_bytes_max=most)))
    known = calls_of(lambda: outcomes.append(read(data[:0], memo=memo)))
    assert outcomes[:3] == [read(data)] * 3
    assert (again - known < 40) == (beyond <= 0), again - known


@pytest.mark.parametrize("more", [-1, 0, 1])
def test_metadata_flush_characters(more: int) -> None:
    """So many characters go to the sink at once; fewer are gathered further."""
    pieces: list[str] = []
    limits = ReaderLimits(metadata_flush_characters=1000)
    reader = Reader(syntax(EXPLICIT_LE), wanted=frozenset(), limits=limits, metadata=pieces.append)
    reader.parts += ["x" * 600, "y" * (400 + more)]
    reader.flush(0)
    assert len(pieces) == (more >= 0)
    assert len(reader.parts) == (0 if more >= 0 else 2)


def test_metadata_is_given_in_pieces() -> None:
    data = b"".join(explicit(0x00091000 + number, "LO", b"x" * 60) for number in range(1000))
    pieces: list[str] = []
    limits = ReaderLimits(metadata_flush_characters=4 * KiB)
    reader = Reader(syntax(EXPLICIT_LE), wanted=frozenset(), limits=limits, metadata=pieces.append)
    reader.feed(data)
    reader.finish()
    assert "".join(pieces) == read(data).text
    assert len(pieces) > 10
    assert max(map(len, pieces)) < 8 * KiB


def test_a_wanted_value_that_is_too_long_is_not_held() -> None:
    parsed = read(explicit(0x00100020, "UT", b"x" * 70_000)).known
    assert parsed.values == {}
    assert "value-too-long" in parsed.defects


def test_50_000_nested_sequences_are_refused_at_once() -> None:
    piece = explicit(SQ, "SQ", implicit(0xFFFEE000, b"", UNDEFINED), UNDEFINED)
    refused = []
    few, many = (calls_of(lambda data=piece * count: refused.append(read(data).refused)) for count in (500, 50_000))
    assert refused == ["limit-exceeded"] * 2 and many <= few  # what lies deeper than the limit is not looked at
    closed = 50_000 * 20
    lengths = [closed - 20 * number for number in range(50_000)]
    defined = b"".join(
        explicit(SQ, "SQ", b"", length - 12) + implicit(0xFFFEE000, b"", length - 20) for length in lengths
    )
    assert read(defined).refused == "limit-exceeded"


@pytest.fixture
def peak() -> Iterator[Callable[[], int]]:
    tracemalloc.start()
    begin = tracemalloc.get_traced_memory()[0]
    tracemalloc.reset_peak()
    yield lambda: tracemalloc.get_traced_memory()[1] - begin
    tracemalloc.stop()


def run(pieces: Iterator[bytes], uid: str) -> Reader:
    """Read `pieces`, throwing the metadata away."""
    sizes: list[int] = [0]

    def sink(text: str) -> None:
        sizes[0] += len(text)

    reader = Reader(syntax(uid), wanted=frozenset(), limits=ReaderLimits(), memo=Memo(4 * MiB), metadata=sink)
    for piece in pieces:
        reader.feed(piece)
    reader.finish()
    assert sizes[0] > 100
    return reader


def per_frame(count: int, uid: str) -> Iterator[bytes]:
    """Per-frame functional groups of `count` frames, 64 KiB at a time."""
    code = implicit if uid == IMPLICIT_LE else lambda tag, value, length=None: explicit(tag, VRS[tag], value, length)
    yield code(0x52009230, b"", UNDEFINED)
    block = b""
    for frame in range(count):
        position = code(0x00200032, b"%.4f\\%.4f\\%.4f " % (frame, frame * 0.5, -frame))
        place = code(0x00209113, item(position))
        content = code(0x00209157, pack("<3I", 1, frame + 1, frame // 9)) + code(
            0x00189074, b"20200101120000.%06d " % frame
        )
        measures = code(0x00289110, item(code(0x00180050, b"1.25") + code(0x00280030, b"0.5\\0.5 ")))
        group = code(0x00209111, item(content), None)
        inner = group + place + measures
        block += open_item(inner) if frame % 2 else item(inner)
        if len(block) > 64 * KiB:
            yield block
            block = b""
    yield block + SEQUENCE_END


VRS = {
    0x52009230: "SQ",
    0x00200032: "DS",
    0x00209113: "SQ",
    0x00209157: "UL",
    0x00189074: "DT",
    0x00289110: "SQ",
    0x00180050: "DS",
    0x00280030: "DS",
    0x00209111: "SQ",
}


def fragment_pieces(count: int) -> Iterator[bytes]:
    """Encapsulated pixel data of `count` frames with a Basic Offset Table."""
    yield image(1, 1, 8, count) + explicit(0x7FE00010, "OB", b"", UNDEFINED)
    yield item(b"", 4 * count)
    for frame in range(0, count, 1000):
        yield pack("<1000I", *range(10 * frame, 10 * (frame + 1000), 10))
    for _ in range(count // 1000):
        yield item(b"ab") * 1000
    yield SEQUENCE_END


@pytest.mark.parametrize("uid", [EXPLICIT_LE, IMPLICIT_LE])
def test_per_frame_items_stay_flat(peak: Callable[[], int], uid: str) -> None:
    reader = run(per_frame(1_000, uid), uid)
    assert reader.elements >= 8 * 1_000
    assert peak() < 16 * MiB


def test_fragments_stay_flat(peak: Callable[[], int]) -> None:
    run(fragment_pieces(5_000), JPEG_BASELINE)
    assert peak() < MiB


GROWTH = """
import resource, sys
import test_reader_limits as here

def used(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

here.run(here.{make}(1_000{more}), "{uid}")
begin = used()
here.run(here.{make}({count}{more}), "{uid}")
print(used() - begin)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "count", "uid"),
    [
        ("per_frame", 200_000, EXPLICIT_LE),
        ("per_frame", 200_000, IMPLICIT_LE),
        ("fragment_pieces", 1_000_000, JPEG_BASELINE),
    ],
)
def test_memory_of_a_process_stays_flat(make: str, count: int, uid: str) -> None:
    more = f", {uid!r}" if make == "per_frame" else ""
    program = GROWTH.format(make=make, count=count, uid=uid, more=more)
    folders = os.pathsep.join((str(Path(__file__).parent), str(Path(__file__).parents[2])))
    grown = subprocess.run(
        [sys.executable, "-c", program], env={**os.environ, "PYTHONPATH": folders}, capture_output=True, text=True
    )
    assert grown.returncode == 0, grown.stderr
    assert int(grown.stdout) < 16 * MiB


def test_a_deflate_bomb_is_refused_within_memory(peak: Callable[[], int]) -> None:
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    bomb = packer.compress(explicit(0x00091001, "OB", b"", 0xFFFFFFFE))
    for _ in range(70):
        bomb += packer.compress(bytes(MiB))
    assert read(bomb, DEFLATED_LE).refused == "limit-exceeded"
    assert peak() < 4 * MiB


def test_declared_lengths_cost_nothing(peak: Callable[[], int]) -> None:
    for data in (
        explicit(0x00204000, "UT", b"x", 0xFFFFFFFE),
        explicit(0x00080104, "LO", b"x", 0xFFFF),
        explicit(SQ, "SQ", b"", 0xFFFFFFFE),
        explicit(0x7FE00010, "OB", item(b"", 0xFFFFFFF0), UNDEFINED),
    ):
        assert read(data, JPEG_BASELINE).refused in ("truncated", "limit-exceeded")
    assert read(implicit(0x00080018, b"x", 0xFFFFFFFE), IMPLICIT_LE).refused == "truncated"
    assert peak() < MiB


def test_the_memo_stays_within_its_bounds(peak: Callable[[], int]) -> None:
    memo = Memo(512 * KiB)
    for number in range(1000):
        read(elements(5) + explicit(0x00091020, "LO", b"%08d" % number * 100), memo=memo)
    assert peak() < 4 * MiB
