"""The whole corpus as the interop tests take it: every file that isn't malformed, in layers without a common UID.

What a file holds is told by pydicom, where its data set starts by a few lines here: the oracle is not our own reader.
Deliberately not here: what is refused and why (`refused.py`), and the malformed files (tests/abuse).
"""

from __future__ import annotations

import csv
import hashlib
import io
import struct
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pydicom

IMPLICIT_LE, EXPLICIT_LE, EXPLICIT_BE = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"
_UIDS = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")


@dataclass(frozen=True)
class CorpusFile:
    """A file of the corpus, or one that pydicom brings along (`pydicom/…`). Identity by name."""

    name: str
    path: Path
    syntax_uid: str
    sop_class_uid: str
    sop_instance_uid: str
    study_uid: str
    series_uid: str

    @property
    def data_set(self) -> bytes:
        """Every byte after the meta group."""
        return data_set_of(self.path.read_bytes())

    @property
    def resource(self) -> str:
        """Its path in DICOMweb."""
        return f"/studies/{self.study_uid}/series/{self.series_uid}/instances/{self.sop_instance_uid}"


Taken = Callable[[Iterable[CorpusFile]], list[CorpusFile]]  # which of them a test takes: all, or `one_of_each`


def data_set_of(file: bytes) -> bytes:
    """Every byte after the meta group of a Part 10 file; of a file without one, all of it."""
    at = 132 if file[128:132] == b"DICM" and file[132:134] == b"\2\0" else 0
    while file[at : at + 2] == b"\2\0":
        if file[at + 4 : at + 6] in (b"OB", b"UN", b"SQ"):
            at += 12 + struct.unpack_from("<I", file, at + 8)[0]
        elif file[at + 4 : at + 6].isalpha():
            at += 8 + struct.unpack_from("<H", file, at + 6)[0]
        else:  # a meta group in implicit VR
            at += 8 + struct.unpack_from("<I", file, at + 4)[0]
    return file[at:]


def read(file: Path | bytes) -> pydicom.Dataset:
    """A file by pydicom, whatever it thinks of it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pydicom.dcmread(io.BytesIO(file) if isinstance(file, bytes) else file, force=True)


@cache
def corpus_files(folder: Path) -> tuple[CorpusFile, ...]:
    """Every file of the manifest but the malformed ones."""
    with (folder / "MANIFEST.csv").open(newline="") as manifest:
        names = sorted(row["file"] for row in csv.DictReader(manifest))
    return tuple(described(name, folder / name) for name in names if not name.startswith("malformed/"))


@cache
def pydicom_files(folder: Path) -> tuple[CorpusFile, ...]:
    """The files that pydicom brings along and the corpus doesn't have."""
    held = {hashlib.sha256(file.path.read_bytes()).hexdigest() for file in corpus_files(folder)}
    found = []
    for path in sorted((Path(pydicom.__file__).parent / "data").rglob("*")):
        if not path.is_file():
            continue
        data = path.read_bytes()
        digest = hashlib.sha256(data).hexdigest()
        if digest not in held and (data[128:132] == b"DICM" or path.suffix in (".dcm", ".dic")):
            held.add(digest)
            found.append(described(f"pydicom/{path.name}", path))
    return tuple(found)


def described(name: str, path: Path) -> CorpusFile:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data_set = pydicom.dcmread(path, force=True, stop_before_pixels=True, specific_tags=list(_UIDS))
        uids = [str(data_set.get(keyword) or "") for keyword in _UIDS]
    implicit, little = data_set.original_encoding
    seen = IMPLICIT_LE if implicit else EXPLICIT_LE if little else EXPLICIT_BE
    return CorpusFile(name, path, str(data_set.file_meta.get("TransferSyntaxUID") or seen), *uids)


def one_of_each(files: Iterable[CorpusFile]) -> list[CorpusFile]:
    """The smallest of each transfer syntax and SOP class, of those that are as small the first by name."""
    found: dict[tuple[str, str], CorpusFile] = {}
    for file in sorted(files, key=lambda file: (file.path.stat().st_size, file.name)):
        found.setdefault((file.syntax_uid, file.sop_class_uid), file)
    return sorted(found.values(), key=lambda file: file.name)


def layers(files: Iterable[CorpusFile]) -> list[list[CorpusFile]]:
    """The files, in each layer every SOP Instance UID once: several files of the corpus are one instance, edited."""
    made: list[dict[str, CorpusFile]] = []
    for file in files:
        uid = file.sop_instance_uid or file.name
        layer = next((layer for layer in made if uid not in layer), None)
        if layer is None:
            made.append(layer := {})
        layer[uid] = file
    return [list(layer.values()) for layer in made]


def studies(files: Iterable[CorpusFile]) -> Iterator[tuple[str, list[CorpusFile]]]:
    """The files by study."""
    found: dict[str, list[CorpusFile]] = {}
    for file in files:
        found.setdefault(file.study_uid, []).append(file)
    yield from found.items()
