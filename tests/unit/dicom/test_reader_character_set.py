"""The character set a reader assumes: for the data set and for items, at any split of the bytes."""

from __future__ import annotations

import orjson
import pytest

from sagittal.dicom import elements
from sagittal.dicom.reader import Parsed, Reader
from sagittal.dicom.scanning.memo import Memo
from sagittal.dicom.syntaxes import EXPLICIT_LE, syntax
from sagittal.limits import ReaderLimits

NAME, CHARSET, OTHER_IDS = 0x00100010, 0x00080005, 0x00101002
GREEK = "Διονυσιος".encode("iso8859-7")


def item(*listed: tuple[int, str, bytes]) -> bytes:
    inside = elements.encode(listed, syntax(EXPLICIT_LE))
    return b"\xfe\xff\x00\xe0" + len(inside).to_bytes(4, "little") + inside


def read(data: bytes, assumed: str, step: int, memo: Memo | None = None) -> tuple[dict, Parsed]:
    text: list[str] = []
    reader = Reader(
        syntax(EXPLICIT_LE),
        wanted=frozenset({NAME}),
        limits=ReaderLimits(),
        memo=memo,
        metadata=text.append,
        character_set=assumed,
    )
    for start in range(0, len(data), step):
        reader.feed(data[start : start + step])
    parsed = reader.finish()
    return orjson.loads("".join(text)), parsed


@pytest.mark.parametrize("step", [1, 7, 10_000])
@pytest.mark.parametrize(("outer", "inner", "expected", "assumed"), [
    (None, None, (True, True), True),
    (None, b"", (True, True), True),
    (b"", b"KLINGON ", (True, True), True),
    (b"ISO_IR 100", None, (False, False), False),
    (b"ISO_IR 100", b"NONSENSE", (False, True), False),
    (None, b"ISO_IR 100", (True, False), True),
    (b"ISO_IR 126", None, (True, True), False),
])  # fmt: skip
def test_where_it_is_assumed(
    outer: bytes | None, inner: bytes | None, expected: tuple[bool, bool], assumed: bool, step: int
) -> None:
    ids = item(*[] if inner is None else [(CHARSET, "CS", inner)], (NAME, "PN", GREEK + b" "))
    listed = [] if outer is None else [(CHARSET, "CS", outer)]
    data = elements.encode([*listed, (NAME, "PN", GREEK + b" "), (OTHER_IDS, "SQ", ids)], syntax(EXPLICIT_LE))
    memo = Memo()
    for _ in range(2):  # the second time from what it remembers
        found, parsed = read(data, "ISO_IR 126", step, memo)
        names = (found["00100010"], found["00101002"]["Value"][0]["00100010"])
        texts = tuple(name["Value"][0]["Alphabetic"] == GREEK.decode("iso8859-7") for name in names)
        assert (texts, parsed.character_set_assumed) == (expected, assumed)


def test_without_one_nothing_is_assumed() -> None:
    data = elements.encode([(NAME, "PN", GREEK + b" ")], syntax(EXPLICIT_LE))
    _, parsed = read(data, "", 100)
    assert not parsed.character_set_assumed
    assert "\ufffd" in parsed.values[NAME]


def test_readers_that_assume_differently_share_a_memo() -> None:
    ids = item((CHARSET, "CS", b"NONSENSE"), (NAME, "PN", GREEK + b" "))
    data = elements.encode([(CHARSET, "CS", b"ISO_IR 6"), (OTHER_IDS, "SQ", ids)], syntax(EXPLICIT_LE))
    memo = Memo()
    names = [
        read(data, assumed, 10_000, memo)[0]["00101002"]["Value"][0]["00100010"]["Value"][0]["Alphabetic"]
        for assumed in ("ISO_IR 126", "ISO_IR 144", "ISO_IR 126")
    ]
    assert names == [GREEK.decode("iso8859-7"), GREEK.decode("iso8859-5"), GREEK.decode("iso8859-7")]
