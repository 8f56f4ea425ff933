"""The files a command is given: folders walked, heads read, what a file holds and where its data set starts."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from sagittal.dicom.part10 import Part10Head
from sagittal.dicom.reader import Reader
from sagittal.dicom.syntaxes import syntax
from sagittal.errors import Malformed, SagittalError
from sagittal.limits import ReaderLimits

SOP_CLASS, SOP_INSTANCE = 0x00080016, 0x00080018
_READ_BYTES = 1 << 16


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
    """Every file, folders walked in name order; symbolic links to folders are not followed."""
    for path in paths:
        if not path.is_dir():
            yield path
            continue
        for folder, folders, names in os.walk(path):
            folders.sort()
            yield from (Path(folder, name) for name in sorted(names))


def read_head(path: Path, limits: ReaderLimits) -> ObjectFile:
    """What a file holds. Raises Malformed (with `defect` not-dicom for a file of another kind), OSError."""
    with path.open("rb") as file:
        head = Part10Head(limits)
        while not head.done:
            data = file.read(_READ_BYTES)
            if not data:
                head.finish()
                break
            head.feed(data)
        length = os.fstat(file.fileno()).st_size - head.data_set_offset
        sop_class, instance = head.sop_class_uid, head.sop_instance_uid
        if not (sop_class and instance):
            file.seek(head.data_set_offset)
            sop_class, instance = _from_data_set(file.read(_READ_BYTES), head.syntax_uid, limits)
    if not sop_class or not instance:
        raise Malformed("uid-missing", "no SOP Class UID or SOP Instance UID")
    return ObjectFile(path, sop_class, instance, head.syntax_uid, head.data_set_offset, length)


def _from_data_set(start: bytes, syntax_uid: str, limits: ReaderLimits) -> tuple[str, str]:
    """The UIDs from the first bytes of the data set, for a file whose meta group does not tell them."""
    reader = Reader(syntax(syntax_uid), wanted=frozenset({SOP_CLASS, SOP_INSTANCE}), limits=limits)
    reader.feed(start)
    try:
        values = reader.finish().values
    except SagittalError:  # cut where we stopped reading
        values = reader.values
    return values.get(SOP_CLASS, ""), values.get(SOP_INSTANCE, "")
