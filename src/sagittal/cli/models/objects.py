"""Files as DICOM JSON objects with all their values, and back: what `sagittal json` and `sagittal xml` share.

Binary values that the model keeps as bulk data are put inline, or each into a file of a folder. Compressed pixels have
no inline form: their fragments are files, always. The transfer syntax goes along as Available Transfer Syntax UID.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from base64 import b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import parse_qs

import orjson

from sagittal.dicom.elements import UNDEFINED
from sagittal.dicom.frameindex import PIXEL_DATA
from sagittal.dicom.models.encode import Bulk, Encapsulated, data_set
from sagittal.dicom.models.jsontext import first_text
from sagittal.dicom.models.members import element
from sagittal.dicom.part10 import head_of, meta_group
from sagittal.dicom.reader import Parsed, Reader
from sagittal.dicom.reencode import reencode
from sagittal.dicom.syntaxes import EXPLICIT_LE, SYNTAXES, TransferSyntax, syntax
from sagittal.errors import BadRequest, NotAcceptable
from sagittal.folders import pieces_of, read_in_pieces, whole
from sagittal.limits import ReaderLimits
from sagittal.uid import is_uid, new_uid

Json = dict[str, Any]
SOP_CLASS, SOP_INSTANCE, AVAILABLE_SYNTAX = "00080016", "00080018", "00083002"
# Text and numbers are values, however long, as the models have no other form for them that says as much.
_LIMITS = replace(ReaderLimits(), value_text_bytes_max=UNDEFINED, value_held_bytes_max=UNDEFINED)
_READ_BYTES = 1 << 18
_PIXELS = f"{PIXEL_DATA:08X}"


def read_object(path: Path, bulk: Path | None) -> Json:
    """The object of a Part 10 file. Malformed or LimitExceeded for what can't be read."""
    with _seekable(path) as file:
        head = head_of(iter(lambda: file.read(_READ_BYTES), b""), _LIMITS)
        stored = syntax(head.syntax_uid)
        with _readable(file, head.data_set_offset, stored) as (opened, offset, coded):
            held = _Held(opened, offset, coded, *_read(opened, offset, coded))
            held.fill(bulk)
        held.obj[AVAILABLE_SYNTAX] = element("UI", head.syntax_uid)
        return dict(sorted(held.obj.items()))


@contextmanager
def _seekable(path: Path) -> Iterator[BinaryIO]:
    """The file; a copy of what comes through a pipe."""
    with path.open("rb") as file:
        if file.seekable():
            yield file
            return
        with tempfile.TemporaryFile() as copy:
            shutil.copyfileobj(file, copy)
            copy.seek(0)
            yield copy


@contextmanager
def _readable(file: BinaryIO, offset: int, stored: TransferSyntax) -> Iterator[tuple[BinaryIO, int, TransferSyntax]]:
    """The data set where values lie as the model has them: inflated, Little Endian."""
    if not stored.deflated and stored.little_endian:
        yield file, offset, stored
        return
    with tempfile.TemporaryFile() as plain:
        for piece in reencode(_pieces(file, offset), stored, SYNTAXES[EXPLICIT_LE], _LIMITS):
            plain.write(piece)
        plain.flush()
        yield plain, 0, SYNTAXES[EXPLICIT_LE]


def _pieces(file: BinaryIO, offset: int, length: int = 1 << 62) -> Iterator[bytes]:
    return pieces_of(file.fileno(), offset, length, _READ_BYTES)


def _read(file: BinaryIO, offset: int, coded: TransferSyntax) -> tuple[Json, Parsed]:
    made: list[str] = []
    reader = Reader(coded, wanted=frozenset(), limits=_LIMITS, metadata=made.append)
    for piece in _pieces(file, offset):
        reader.feed(piece)
    parsed = reader.finish()
    return orjson.loads("".join(made)), parsed


@dataclass(frozen=True)
class _Held:
    """An object whose bulk data is still in its file."""

    file: BinaryIO
    offset: int
    coded: TransferSyntax
    obj: Json
    parsed: Parsed

    def fill(self, bulk: Path | None) -> None:
        uid = first_text(self.obj, SOP_INSTANCE)
        folder = None if bulk is None else _folder_of(uid, bulk)
        for tag, member in _bulky(self.obj):
            uri = member.pop("BulkDataURI")
            if tag == _PIXELS and self.coded.encapsulated and uri == _PIXELS:
                self._fragments(member, folder)
                continue
            data = self._value(uri)
            if folder is None:
                member["InlineBinary"] = b64encode(b"".join(data)).decode("ascii")
            else:
                name = uri.partition("?")[0].replace("/", "-")
                member["BulkDataURI"] = f"{folder.name}/{_write(folder / name, data)}"

    def _value(self, uri: str) -> Iterator[bytes]:
        path, _, query = uri.partition("?")
        if query:
            told = parse_qs(query)
            offset, length = int(told["offset"][0]), int(told["length"][0])
        elif path == _PIXELS and self.parsed.pixel_data is not None:
            offset, length = self.parsed.pixel_data
        else:
            raise NotAcceptable(f"where the value of {path} lies is not known")
        return _pieces(self.file, self.offset + offset, length)

    def _fragments(self, member: Json, folder: Path | None) -> None:
        if folder is None:
            raise BadRequest(
                "compressed pixels have no inline form: name a folder for them (--bulk); `dump --json` is without"
            )
        assert self.parsed.pixel_data is not None
        at, end = self.offset + self.parsed.pixel_data[0], self.offset + sum(self.parsed.pixel_data)
        number, pixels = 0, folder / _PIXELS
        while at + 8 <= end:
            head = os.pread(self.file.fileno(), 8, at)
            if head[:4] != b"\xfe\xff\x00\xe0":
                break  # the delimiter
            length = int.from_bytes(head[4:], "little")
            if number:  # the first is the offset table
                _write(pixels / str(number), _pieces(self.file, at + 8, length))
            at, number = at + 8 + length, number + 1
        member["BulkDataURI"] = f"{folder.name}/{_PIXELS}/"


def _folder_of(uid: str, bulk: Path) -> Path:
    """Where the values of an instance go: never to those of another file with the same UID, or of a former run."""
    folder = bulk / uid
    return folder if is_uid(uid) and not folder.exists() else bulk / new_uid()


def _bulky(obj: Json) -> Iterator[tuple[str, Json]]:
    """Every member with bulk data, those in sequences too."""
    waiting = [obj]
    while waiting:
        for tag, member in waiting.pop().items():
            if "BulkDataURI" in member:
                yield tag, member
            elif member.get("vr") == "SQ":
                waiting.extend(member.get("Value", ()))


def _write(path: Path, data: Iterator[bytes]) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.writelines(data)
    return path.name


def write_object(obj: Mapping[str, Any], out: Path, bulk: Path | None, syntax_uid: str, taken: set[str]) -> Path:
    """A Part 10 file of an object: `out`, or a file in the folder `out`, but none of those `taken`, which it joins.

    BadRequest for what can't be written.
    """
    available, sop_class, instance = (first_text(obj, tag) for tag in (AVAILABLE_SYNTAX, SOP_CLASS, SOP_INSTANCE))
    told = {tag: member for tag, member in obj.items() if tag != AVAILABLE_SYNTAX}
    if not is_uid(sop_class) or not is_uid(instance):
        raise BadRequest("an object needs a SOP Class UID and a SOP Instance UID")
    to = syntax(syntax_uid or available or EXPLICIT_LE)

    def resolve(uri: str) -> Bulk | Encapsulated:
        return _resolved(uri, bulk)

    pieces = data_set(told, to, resolve, _LIMITS)
    path = out / f"{instance}.dcm" if out.is_dir() else out
    if (place := os.path.realpath(path)) in taken:
        raise BadRequest(f"{path} is a source or another object's file: name a folder for several objects (-o)")
    with whole(path) as file:
        file.write(meta_group(sop_class, instance, to.uid))
        file.writelines(pieces)
    taken.add(place)
    return path


def _resolved(uri: str, bulk: Path | None) -> Bulk | Encapsulated:
    """What a name means inside the folder of bulk data; nothing outside of it is read."""
    if bulk is None:
        raise BadRequest("the object has bulk data: name its folder (--bulk)")
    root = bulk.resolve()
    path = (root / uri).resolve()
    if not path.is_relative_to(root) or not path.exists():
        raise BadRequest(f"there is no bulk data {uri[:80]!r} in the folder")
    if path.is_dir():
        parts = list(path.iterdir())
        if odd := [part.name for part in parts if not part.name.isdecimal()]:
            raise BadRequest(f"{odd[0][:80]!r} in the folder {uri[:80]!r} is no fragment: their names are numbers")
        return Encapsulated([_bulk(part) for part in sorted(parts, key=lambda part: int(part.name))])
    return _bulk(path)


def _bulk(path: Path) -> Bulk:
    return Bulk(path.stat().st_size, read_in_pieces(path, _READ_BYTES))
