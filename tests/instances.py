"""The corpus as pydicom sees it: which files are valid instances and what they hold; no reader of our own is asked."""

from __future__ import annotations

import csv
import re
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pydicom

# Valid heads, but cut before their end.
TRUNCATED = {"MR/dcm4che__3gb-bulk-data-truncated", "RTPLAN/dtf__rtplan_truncated.dcm"}
_UID = re.compile(r"(0|[1-9][0-9]*)(\.(0|[1-9][0-9]*))*\Z")
_KEYWORDS = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")


@dataclass(frozen=True)
class Instance:
    """A valid file of the corpus."""

    path: Path
    sop_class_uid: str
    sop_instance_uid: str
    study_uid: str
    series_uid: str
    syntax_uid: str

    @property
    def data_set(self) -> bytes:
        return data_set_of(self.path.read_bytes())


def data_set_of(file: bytes) -> bytes:
    """What follows the meta group, found by pydicom."""
    from io import BytesIO

    from pydicom.filereader import _read_file_meta_info, read_preamble

    stream = BytesIO(file)
    if file[128:132] == b"DICM":
        read_preamble(stream, False)
        _read_file_meta_info(stream)
    return file[stream.tell() :]


def read(path: Path) -> pydicom.Dataset:
    """A file by pydicom, pixels left out."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pydicom.dcmread(path, force=True, stop_before_pixels=True)


@cache
def instances(folder: Path) -> tuple[Instance, ...]:
    """Every valid file of the corpus: a preamble, a meta group and the four UIDs."""
    with (folder / "MANIFEST.csv").open(newline="") as manifest:
        names = [row["file"] for row in csv.DictReader(manifest)]
    found = []
    for name in sorted(names):
        if not name.startswith("malformed/") and name not in TRUNCATED and (one := _instance(folder / name)):
            found.append(one)
    return tuple(found)


def _instance(path: Path) -> Instance | None:
    with path.open("rb") as file:
        if file.read(132)[128:] != b"DICM":
            return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data_set = read(path)
        uids = [str(data_set.get(keyword) or "") for keyword in _KEYWORDS]
        syntax = data_set.file_meta.get("TransferSyntaxUID")
    if not syntax or not all(0 < len(uid) <= 64 and _UID.match(uid) for uid in uids):
        return None
    return Instance(path, *uids, str(syntax))


def rounds(found: Iterable[Instance]) -> list[list[Instance]]:
    """In each round a SOP Instance UID comes once, since some files share theirs."""
    made: list[dict[str, Instance]] = []
    for one in found:
        for held in made:
            if one.sop_instance_uid not in held:
                held[one.sop_instance_uid] = one
                break
        else:
            made.append({one.sop_instance_uid: one})
    return [list(held.values()) for held in made]


def of_syntaxes(found: Iterable[Instance], syntaxes: Sequence[str]) -> list[Instance]:
    return [one for one in found if one.syntax_uid in syntaxes]
