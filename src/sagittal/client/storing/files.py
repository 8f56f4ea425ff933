"""The files a command is given: folders walked, heads read, what a file holds and where its data set starts."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from sagittal.client.outcome import Stored
from sagittal.dicom.part10 import head_of
from sagittal.dicom.reader import Reader
from sagittal.dicom.syntaxes import syntax
from sagittal.errors import Malformed, SagittalError, words_of
from sagittal.folders import files_below, is_folder, is_of_an_index, is_special, why_not_entered
from sagittal.limits import ReaderLimits

SOP_CLASS, SOP_INSTANCE = 0x00080016, 0x00080018
_LIMITS = ReaderLimits()
_READ_BYTES = 1 << 10  # the head and both UIDs are mostly in so many
_START_BYTES_MAX = 1 << 16  # of a data set; UIDs that aren't there are taken from the head


@dataclass(frozen=True, slots=True)
class ObjectFile:
    """A DICOM file ready to be sent: its data set is everything from `offset` on."""

    path: Path
    sop_class_uid: str
    sop_instance_uid: str
    syntax_uid: str
    offset: int
    length: int  # of the data set


def walk(paths: Iterable[Path]) -> Iterator[Path]:
    """Every file, folders walked in name order; links to folders and data directories are passed over.

    Pipes, sockets and devices in folders are, too: reading one may take for ever. A folder that can't be listed is
    given itself, so that whoever opens it tells why.
    """
    for path in paths:
        if not is_folder(path):
            yield path
            continue
        yield from (below for below in files_below(path) if not is_special(below) or why_unlisted(below))


def why_unlisted(path: Path) -> OSError | None:
    """Why a folder can't be listed; None of one that can, and of what is no folder."""
    reason = why_not_entered(path) if is_folder(path) else None
    return reason if isinstance(reason, OSError) else None


def read_objects(paths: Sequence[Path]) -> tuple[list[ObjectFile], list[Stored]]:
    """The objects in files and folders, and what can't be sent. In a folder whatever isn't DICOM is passed over."""
    found: list[ObjectFile] = []
    failed: list[Stored] = []
    for path in walk(paths):
        try:
            found.append(read_head(path, _LIMITS))
        except Malformed as error:
            # In a folder there may be anything; a file that is named, or broken DICOM, is a failure.
            if error.defect != "not-dicom" or path in paths:
                failed.append(Stored(path, comment=error.text))
        except (SagittalError, OSError) as error:
            failed.append(Stored(path, comment=words_of(error)))
    return found, failed


def read_head(path: Path, limits: ReaderLimits) -> ObjectFile:
    """What a file holds. Raises Malformed (with `defect` not-dicom for a file of another kind), OSError."""
    if unlisted := why_unlisted(path):
        raise unlisted
    if is_special(path):
        raise Malformed("not-dicom", "not a regular file")
    if is_of_an_index(path):
        raise Malformed("not-dicom", "the index of a data directory")
    with path.open("rb") as file:
        head = head_of(iter(lambda: file.read(_READ_BYTES), b""), limits)
        length = os.fstat(file.fileno()).st_size - head.data_set_offset
        sop_class, instance = _uids(head.rest, file, head.syntax_uid, limits)
    # What the data set says goes first, as the peer will compare it with the command.
    sop_class, instance = sop_class or head.sop_class_uid or "", instance or head.sop_instance_uid or ""
    if not sop_class or not instance:
        raise Malformed("uid-missing", "no SOP Class UID or SOP Instance UID")
    return ObjectFile(path, sop_class, instance, head.syntax_uid, head.data_set_offset, length)


def _uids(start: bytes, file: BinaryIO, syntax_uid: str, limits: ReaderLimits) -> tuple[str, str]:
    """SOP Class UID and SOP Instance UID of the data set that begins with `start` and goes on in `file`."""
    wanted = frozenset({SOP_CLASS, SOP_INSTANCE})
    reader, piece, taken = Reader(syntax(syntax_uid), wanted=wanted, limits=limits), start, 0
    with suppress(SagittalError):  # of what is wrong with it the peer is the judge
        while (piece := piece or file.read(_READ_BYTES)) and taken < _START_BYTES_MAX:
            reader.feed(piece)
            if reader.values.keys() >= wanted:
                break
            taken, piece = taken + len(piece), b""
    return reader.values.get(SOP_CLASS, ""), reader.values.get(SOP_INSTANCE, "")
