"""The reader's metadata and attributes against pydicom's, element by element, on the corpus and on pydicom's own files.

Daily of the malformed ones and, of each folder, one of each transfer syntax and SOP class; of all under `slow`. Every
disagreement is one of EXCEPTIONS, each with its reason, or a file of UNREADABLE.
"""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pydicom
import pytest
from interop.corpus import Taken, described
from programs import corpus_path
from pydicom.dataset import Dataset
from reading import Outcome, read

from sagittal.dicom.elements import BINARY_VRS, WORDS, swapped
from sagittal.dicom.part10 import Part10Head
from sagittal.dicom.reader import Memo
from sagittal.dicom.scanning.values import STRING_VRS
from sagittal.dicom.syntaxes import EXPLICIT_BE
from sagittal.errors import Malformed
from sagittal.limits import ReaderLimits

pytestmark = pytest.mark.filterwarnings("ignore")
BYTES_MAX = 1_500_000  # larger files add time, not cases
IDENTIFIERS = frozenset(
    (0x00080016, 0x00080018, 0x00080060, 0x00100010, 0x00100020, 0x0020000D, 0x0020000E, 0x00280010)
)
Json = dict[str, Any]


@dataclass(frozen=True)
class Pair:
    """One element, as the reader and as pydicom have it; {} if one doesn't have it."""

    tag: int
    ours: Json
    theirs: Json
    uid: str

    def both(self, vr: str) -> bool:
        return self.ours.get("vr") == self.theirs.get("vr") == vr

    @property
    def private(self) -> bool:
        return bool(self.tag & 0x00010000)


def nulled(value: Any) -> Any:
    """pydicom's values with its empty ones as null, and without the padding that it keeps."""
    if isinstance(value, str):
        return value.strip(" \0") or None
    if isinstance(value, dict):
        return {name: text for name, text in value.items() if text} or None
    return value


EXCEPTIONS: dict[str, Callable[[Pair], bool]] = {
    "the metadata are Unicode and say so": lambda pair: pair.tag == 0x00080005 and pair.ours["Value"] == ["ISO_IR 192"],
    "group lengths are no metadata (PS3.18 F.2.1.1)": lambda pair: not pair.tag & 0xFFFF and not pair.ours,
    "data set trailing padding is to be ignored (PS3.10 7.2)": lambda pair: pair.tag == 0xFFFCFFFC and not pair.ours,
    "groups 0000 and 0002 are no part of a data set": lambda pair: pair.tag < 0x00030000 and not pair.ours,
    "private VRs are the sender's, not a private dictionary's": lambda pair: (
        pair.private and pair.ours.get("vr") == "UN" and pair.theirs.get("vr") != "UN"
    ),
    "an empty sequence has no Value (PS3.18 F.2.5)": lambda pair: (
        pair.both("SQ") and "Value" not in pair.ours and not pair.theirs.get("Value")
    ),
    "empty values are null (PS3.18 F.2.5), and padding is gone": lambda pair: (
        pair.ours.get("vr") in STRING_VRS
        and pair.ours.get("vr") == pair.theirs.get("vr")
        and (pair.ours.get("Value") or [None]) == ([nulled(value) for value in pair.theirs.get("Value", [])] or [None])
    ),
    "a browser would round 64-bit numbers": lambda pair: (
        (pair.both("UV") or pair.both("SV")) and list(map(int, pair.ours["Value"])) == pair.theirs["Value"]
    ),
    "nothing is guessed: no Latin-1 where no character set says so": lambda pair: "sagittal:bytes" in pair.ours,
    "UN with a length stays bytes, though the dictionary has a sequence": lambda pair: (
        pair.ours.get("vr") == "UN" and pair.theirs.get("vr") == "SQ"
    ),
    "binary values are Little Endian": lambda pair: (
        pair.uid == EXPLICIT_BE
        and "InlineBinary" in pair.ours
        and swapped(b64decode(pair.theirs.get("InlineBinary", "")), WORDS.get(pair.ours["vr"], 1))
        == b64decode(pair.ours["InlineBinary"])
    ),
    "long values are bulk data": lambda pair: (
        "BulkDataURI" in pair.ours and pair.ours.get("vr") == pair.theirs.get("vr") and pair.ours.get("vr") != "SQ"
    ),
    "encapsulated data are OB, in whatever syntax": lambda pair: (
        pair.ours.get("vr") in BINARY_VRS and pair.ours.get("BulkDataURI") == f"{pair.tag:08X}"
    ),
    "numbers that aren't any are kept as strings": lambda pair: (
        pair.ours.get("vr") in ("FL", "FD") and any(isinstance(value, str) for value in pair.ours.get("Value", []))
    ),
}
# pydicom gives up at these, or stops in the middle without a word.
UNREADABLE = {
    "TC0279_stray_seq_delim.dcm",
    "TC0361_stray_seq_delim.dcm",
    "TC0727_encap_no_delim.dcm",
    "dtf__emri_small_jpeg_2k_lossless_too_short.dcm",
    "dcm4che__no_preamble_dicm_in_data",  # it takes the beginning for a preamble
}

OWN = Path(pydicom.__file__).parent / "data"


def folders() -> list[Path]:
    corpus = corpus_path()
    return [OWN, *(sorted(path for path in corpus.iterdir() if path.is_dir()) if corpus else [])]


@cache
def files(folder: Path, taken: Taken) -> list[Path]:
    found = []
    for path in sorted(folder.rglob("*")):
        wanted = path.is_file() and path.stat().st_size <= BYTES_MAX and path.name not in UNREADABLE
        if wanted and path.suffix not in (".py", ".pyc", ".json", ".md", ".gz", ".txt"):
            found.append(path)
    if folder.name == "malformed":
        return found
    return [file.path for file in taken(described(path.name, path) for path in found)]


def as_json(data_set: Dataset) -> dict[int, Json]:
    """pydicom's elements one by one: those that it can't convert are missing."""
    found: dict[int, Json] = {}
    for tag in list(data_set.keys()):
        try:
            element = data_set[tag]
            found[int(tag)] = json.loads(json.dumps(element.to_json_dict(lambda _: "", 1 << 40)))
        except (ValueError, TypeError, KeyError, OverflowError, NotImplementedError):
            found[int(tag)] = {}
    return found


def differences(ours: Json, theirs: dict[str, Json], uid: str) -> Iterator[Pair]:
    for name in sorted(set(ours) | set(theirs)):
        pair = Pair(int(name, 16), ours.get(name, {}), theirs.get(name, {}), uid)
        if pair.ours == pair.theirs or (pair.ours and name in theirs and not pair.theirs):
            continue
        items, others = pair.ours.get("Value", []), pair.theirs.get("Value", [])
        if pair.both("SQ") and items and len(items) == len(others):
            for one, other in zip(items, others, strict=True):
                yield from differences(one, other, uid)
        else:
            yield pair


def reading(path: Path, memo: Memo) -> tuple[Outcome, str] | None:
    data = path.read_bytes()
    head = Part10Head(ReaderLimits())
    try:
        head.feed(data)
    except Malformed:
        return None
    if not head.done or head.syntax_uid is None:
        return None
    result = read(data[head.data_set_offset :], head.syntax_uid, memo=memo, wanted=IDENTIFIERS)
    return (result, head.syntax_uid) if result.parsed else None


@pytest.mark.parametrize("folder", folders(), ids=lambda folder: folder.name)
def test_metadata_agree(folder: Path, taken: Taken) -> None:
    memo, unexplained, count = Memo(), [], 0
    for path in files(folder, taken):
        made = reading(path, memo)
        if made is None:
            continue
        result, uid = made
        with pydicom.dcmread(path, force=True) as data_set:
            theirs = {f"{tag:08X}": member for tag, member in as_json(data_set).items()}
        count += 1
        for pair in differences(result.metadata, theirs, uid):
            if not any(holds(pair) for holds in EXCEPTIONS.values() if pair.ours or pair.theirs):
                unexplained.append(f"{path.name} {pair.tag:08X} {str(pair.ours)[:200]} {str(pair.theirs)[:200]}")
    assert unexplained == []


@pytest.mark.parametrize("folder", folders(), ids=lambda folder: folder.name)
def test_indexed_attributes_agree(folder: Path, taken: Taken) -> None:
    memo, unexplained = Memo(), []
    for path in files(folder, taken):
        made = reading(path, memo)
        if made is None:
            continue
        values = made[0].known.values
        data_set = pydicom.dcmread(path, force=True)
        for tag in IDENTIFIERS:
            value = data_set[tag].value if tag in data_set else None
            several = value if isinstance(value, pydicom.multival.MultiValue) else ["" if value is None else value]
            theirs = "\\".join(str(one).strip(" \0") for one in several)
            own = values.get(tag, "")
            # Not taken into the index: what is longer than any index needs, and text that can't be decoded
            if own.rstrip("=") != theirs and "�" not in own and "value-too-long" not in made[0].known.defects:
                unexplained.append(f"{path.name} {tag:08X} {own[:80]!r} {theirs[:80]!r}")
    assert unexplained == []
