"""Heads, re-encoding and dumps of every file of the corpus and of pydicom, element by element against pydicom.

Daily of the malformed ones and one of each transfer syntax and SOP class, of all under `slow`. Where the two disagree,
the file is in one of the tables below with the reason.
"""

from __future__ import annotations

import fnmatch
from array import array
from collections.abc import Iterator
from functools import cache
from io import BytesIO
from pathlib import Path

import pydicom
import pytest
from interop.corpus import Taken, described
from programs import corpus_path
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.filereader import read_partial

from sagittal.dicom import dump
from sagittal.dicom.elements import WORDS
from sagittal.dicom.part10 import Part10Head, meta_group
from sagittal.dicom.reencode import reencode
from sagittal.dicom.syntaxes import DEFLATED_LE, EXPLICIT_BE, EXPLICIT_LE, IMPLICIT_LE, syntax
from sagittal.errors import LimitExceeded, Malformed
from sagittal.limits import ReaderLimits

pytestmark = pytest.mark.filterwarnings("ignore")
LIMITS = ReaderLimits()
BYTES_MAX = 300_000  # larger files add time, not cases

# Refused by the head, read by pydicom under `force`.
NOT_DICOM = {"*.gz", "*.icc", "*.dump", "README*", "no_meta.dcm"}  # no_meta.dcm begins with a stray byte
CUT_IN_META = {"TC0233_*", "TC0901_*"}
# No head at all, but "DICM" at byte 128 of the data set: pydicom takes what is before it for a preamble.
NO_PREAMBLE = {"dcm4che__no_preamble_dicm_in_data"}
# Structure broken: pydicom stops silently or guesses, this refuses (as the reader does, `dicom.defects`).
BROKEN = {
    "*truncated*",
    "DICOMDIR-nooffset",
    "TC0277_*",
    "TC0357_*",
    "TC0363_*",
    "TC0405_*",
    "TC0709_*",
}
BROKEN |= {"TC071[1379]_*", "TC072[13]_*", "TC0913_*", "TC114[1357]_*", "TC1149_*", "TC115[137]_*"}
# Stray delimiters are left out of what is re-encoded; encapsulated pixel data under a plain syntax keeps its items.
LEFT_OUT = {"TC0279_*", "TC0361_*", "TC0715_*", "TC0725_*", "TC0727_*"}
# An element twice (pydicom keeps the last), zeros at the end (pydicom takes them for one), no delimiter after the
# last fragment (pydicom gives up).
OTHERWISE_LISTED = {"winter.dcm", "TC1155_*", "*_too_short.dcm"}


def named(path: Path, patterns: set[str]) -> bool:
    return any(fnmatch.fnmatchcase(path.name, pattern) for pattern in patterns)


@cache
def files(taken: Taken) -> list[Path]:
    folders = [Path(pydicom.__file__).parent / "data"]
    corpus = corpus_path()
    if corpus is not None:
        folders.append(corpus)
    skipped = {".py", ".pyc", ".json", ".txt", ".csv", ".md", ".lock"}
    found = [path for folder in folders for path in folder.rglob("*") if path.is_file() and path.suffix not in skipped]
    small = [path for path in found if path.stat().st_size <= BYTES_MAX]
    malformed = [path for path in small if "malformed" in path.parts]
    others = taken(described(path.name, path) for path in small if path not in malformed)
    return sorted([*malformed, *(file.path for file in others)])


def head_of(path: Path) -> Part10Head:
    head = Part10Head(LIMITS)
    head.feed(path.read_bytes())
    head.finish()
    return head


@pytest.fixture(autouse=True)
def keep_un(corpus_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pydicom.config, "replace_un_with_known_vr", False)


def test_heads(taken: Taken) -> None:
    for path in files(taken):
        if named(path, NOT_DICOM | CUT_IN_META):
            with pytest.raises(Malformed):
                head_of(path)
            continue
        head = head_of(path)
        with path.open("rb") as file:
            theirs = read_partial(file, lambda *_: True, force=True)
        meta = theirs.file_meta
        implicit, little = theirs.original_encoding
        guessed = IMPLICIT_LE if implicit else EXPLICIT_LE if little else EXPLICIT_BE
        expected = [str(meta.get("TransferSyntaxUID") or guessed)]
        expected += [str(meta.get(word) or "") for word in ("MediaStorageSOPClassUID", "MediaStorageSOPInstanceUID")]
        ours = [head.syntax_uid, head.sop_class_uid or "", head.sop_instance_uid or ""]
        assert ours == expected or named(path, NO_PREAMBLE), path.name


@pytest.mark.parametrize("target", [IMPLICIT_LE, EXPLICIT_LE, EXPLICIT_BE, DEFLATED_LE])
def test_reencoded_elements(target: str, taken: Taken) -> None:
    compared = 0
    for path in files(taken):
        if named(path, NOT_DICOM | CUT_IN_META):
            continue
        head = head_of(path)
        source = syntax(head.syntax_uid)
        if not source.native or {source.uid, target} <= {EXPLICIT_LE, DEFLATED_LE} or source.uid == target:
            continue  # passed on as it is
        try:
            made = b"".join(reencode(iter([head.rest]), source, syntax(target), LIMITS))
        except (Malformed, LimitExceeded):
            assert named(path, BROKEN), path.name
            continue
        assert not named(path, BROKEN), path.name
        before = pydicom.dcmread(BytesIO(meta_group("1", "1", source.uid) + head.rest), force=True)
        after = pydicom.dcmread(BytesIO(meta_group("1", "1", target) + made), force=True)
        differences = list(compare(before, after))
        assert not differences or named(path, LEFT_OUT), (path.name, differences[:3])
        compared += 1
    assert compared > (20 if taken is list else 10)


def compare(before: Dataset, after: Dataset) -> Iterator[str]:
    """Differences but for group lengths, padding of odd values, and UN for a private or unknown VR."""
    ours, theirs = ({tag: item for tag, item in data_set._dict.items() if tag & 0xFFFF} for data_set in (before, after))
    if ours.keys() != theirs.keys():
        yield f"tags {sorted(map(str, ours.keys() ^ theirs.keys()))[:3]}"
    for tag in ours.keys() & theirs.keys():
        raw_before, raw_after = ours[tag], theirs[tag]
        element, other = before[tag], after[tag]
        if "SQ" in (element.VR, other.VR):
            if element.VR != other.VR or len(element.value) != len(other.value):
                yield f"{tag} sequence"
                continue
            for item, other_item in zip(element.value, other.value, strict=True):
                yield from compare(item, other_item)
        elif isinstance(raw_before, RawDataElement) and isinstance(raw_after, RawDataElement):
            vr = raw_before.VR or raw_after.VR or element.VR
            vr = "UN" if "UN" in (raw_before.VR, raw_after.VR) else vr
            # 32-bit pixels in OW are swapped whole: pydicom's pixel_array reads them so too.
            wide = before.get("BitsAllocated", 0) == 32 and tag == 0x7FE00010 and vr == "OW"
            first, second = (little(raw, "OL" if wide else vr) for raw in (raw_before, raw_after))
            if first != second and not (len(first) % 2 and second[:-1] == first):
                yield f"{tag} {vr} {first[:20]!r} {second[:20]!r}"
        elif isinstance(raw_before, DataElement) and element.value != other.value:
            yield f"{tag} {element.value!r} {other.value!r}"


def little(raw: RawDataElement, vr: str) -> bytes:
    """The value in little endian."""
    value, size = bytes(raw.value or b""), WORDS.get(vr, 1)
    if raw.is_little_endian or size == 1:
        return value
    words = array({2: "H", 4: "I", 8: "Q"}[size], value[: len(value) - len(value) % size])
    words.byteswap()
    return words.tobytes() + value[len(value) - len(value) % size :]


def test_every_element_is_dumped(taken: Taken) -> None:
    for path in files(taken):
        if named(path, NOT_DICOM | CUT_IN_META):
            continue
        shown: list[int] = []
        try:
            for line in map(str.strip, dump.lines([path.read_bytes()], LIMITS)):
                if line.startswith("(") and line[1:5] not in ("fffe", "0002"):
                    shown.append(int(line[1:5] + line[6:10], 16))
        except (Malformed, LimitExceeded):
            assert named(path, BROKEN), path.name
            continue
        if named(path, LEFT_OUT | NO_PREAMBLE | OTHERWISE_LISTED):
            continue
        assert sorted(shown) == sorted(tags(pydicom.dcmread(path, force=True))), path.name


def tags(data_set: Dataset) -> Iterator[int]:
    for tag in data_set._dict:  # iterating over the data set would skip what it can't convert
        if tag >> 16 == 2:
            continue
        yield int(tag)
        element = data_set[tag]
        if element.VR == "SQ":
            for item in element.value:
                yield from tags(item)
