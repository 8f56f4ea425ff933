"""Files to import: those given, those below folders, and the members of zip files, one by one and never unpacked to
disk.

Nothing is believed about a zip: members are inflated as they are read, real bytes are counted against the limits, and a
member's name is only ever shown. Everything here blocks; callers use a thread. Deliberately not here: what the files
are.
"""

from __future__ import annotations

import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import IO, Protocol

from sagittal.errors import LimitExceeded, Malformed, words_of
from sagittal.folders import files_below, is_folder, is_of_an_index, why_not_entered
from sagittal.limits import ArchiveLimits

_ZIP_MAGIC = (b"PK\x03\x04", b"PK\x05\x06")
# Python's zipfile bounds what it inflates at one time of Deflate alone; 40 kB of BZip2 would take gigabytes of memory.
_METHODS = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})
_END_BYTES = 22  # of the record at a zip's end, without the comment
_ENTRY_BYTES = 1 << 10  # of a zip's directory, generously: the name alone may have 64 KiB
_OTHER_KINDS = frozenset({"not-dicom", "empty"})  # defects of what is no object at all


class Candidate(Protocol):
    """A file that may be an object. `name` is for people; `size` what it says it has; `is_named`: given itself."""

    @property
    def name(self) -> str: ...
    @property
    def size(self) -> int: ...
    @property
    def is_named(self) -> bool: ...
    def open(self) -> Opened: ...


class Opened(Protocol):
    """An open candidate. `rewind` starts over."""

    def read(self, length: int) -> bytes: ...
    def rewind(self) -> None: ...
    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Refusal:
    """Something that is not even opened as a candidate; `outcome` is "failed" or "skipped"."""

    name: str
    reason: str
    outcome: str = "failed"


@dataclass(frozen=True, slots=True)
class File:
    """A file of its own."""

    path: Path
    size: int
    is_named: bool = False

    @property
    def name(self) -> str:
        return str(self.path)

    def open(self) -> _OpenFile:
        return _OpenFile(self.path.open("rb", buffering=0))


class _OpenFile:
    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._opened = self._state()

    def read(self, length: int) -> bytes:
        data = self._file.read(length)
        if len(data) < length and self._state() != self._opened:  # this was its end
            raise OSError("the file was written to while it was read; import it again when it is whole")
        return data

    def rewind(self) -> None:
        self._file.seek(0)

    def _state(self) -> tuple[int, int]:
        state = os.fstat(self._file.fileno())
        return state.st_size, state.st_mtime_ns

    def close(self) -> None:
        self._file.close()


@dataclass(slots=True)
class _Zip:
    """One zip file and what was inflated of it so far; members are opened one at a time or several, by any thread."""

    archive: zipfile.ZipFile
    limits: ArchiveLimits
    inflated: int = 0
    open_members: int = 0
    over: bool = False

    def release(self) -> None:
        self.open_members -= 1
        if self.over and not self.open_members:
            self.archive.close()


@dataclass(frozen=True, slots=True)
class Member:
    """A member of a zip file."""

    path: Path
    info: zipfile.ZipInfo
    zip: _Zip = field(repr=False)

    @property
    def name(self) -> str:
        return f"{self.path}!{self.info.filename}"

    @property
    def size(self) -> int:
        return self.info.file_size

    @property
    def is_named(self) -> bool:
        return False

    def open(self) -> _OpenMember:
        return _OpenMember(self)

    def abandon(self) -> None:
        """The member will not be opened."""
        self.zip.release()


class _OpenMember:
    def __init__(self, member: Member) -> None:
        self._member = member
        self._read = 0
        self._closed = False
        self._stream = self._begin()

    def _begin(self) -> IO[bytes]:
        try:
            return self._member.zip.archive.open(self._member.info)
        except (zipfile.BadZipFile, struct.error) as error:  # its own head, which the directory does not agree with
            raise OSError(f"the zip member is damaged: {error}") from None

    def read(self, length: int) -> bytes:
        zip_, info = self._member.zip, self._member.info
        try:
            data = self._stream.read(length)
        except (zipfile.BadZipFile, zlib.error, EOFError) as error:
            raise OSError(f"the zip member is damaged: {error}") from None
        if not self._read and data.startswith(_ZIP_MAGIC):
            raise OSError("a zip file within a zip file is not opened; unpack it first")
        self._read += len(data)
        zip_.inflated += len(data)
        if self._read > max(zip_.limits.zip_ratio_free_bytes, info.compress_size * zip_.limits.zip_ratio_max):
            raise LimitExceeded("the zip member inflates more than zip_ratio_max times")
        if zip_.inflated > zip_.limits.zip_bytes_max:
            raise LimitExceeded("the zip file inflates to more than zip_bytes_max bytes")
        return data

    def rewind(self) -> None:
        self._stream.close()
        self._stream = self._begin()
        self._read = 0

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._stream.close()
            self._member.zip.release()


def candidates(paths: Sequence[Path], limits: ArchiveLimits) -> Iterator[Candidate | Refusal]:
    """Every file at or below `paths`, in the order of their names; zip files member by member."""
    for path in paths:
        if is_folder(path):
            for below in files_below(path):
                yield from _file(below, limits)
        else:
            yield from _file(path, limits, is_named=True)


def outcome_of(candidate: Candidate, error: Malformed) -> str:
    """What became of a file that can't be read: anything may lie in folders and zips, but who names a file means it."""
    return "skipped" if error.defect in _OTHER_KINDS and not candidate.is_named else "failed"


def _file(path: Path, limits: ArchiveLimits, *, is_named: bool = False) -> Iterator[Candidate | Refusal]:
    try:
        state = path.stat()
        if stat.S_ISDIR(state.st_mode):
            yield _not_entered(path)
            return
        if not stat.S_ISREG(state.st_mode):
            yield Refusal(str(path), "not a regular file")
            return
        if is_of_an_index(path):
            yield Refusal(str(path), "the index of a data directory")
            return
        with path.open("rb") as file:
            magic = file.read(4)
    except OSError as error:
        yield Refusal(str(path), error.strerror or "cannot be opened")
        return
    if magic in _ZIP_MAGIC:
        yield from _members(path, limits)
    else:
        yield File(path, state.st_size, is_named)


def _not_entered(folder: Path) -> Refusal:
    reason = why_not_entered(folder)
    if isinstance(reason, OSError):
        return Refusal(str(folder), words_of(reason))
    return Refusal(str(folder), reason, "skipped")


def _members(path: Path, limits: ArchiveLimits) -> Iterator[Candidate | Refusal]:
    try:
        count, directory_bytes = directory_of(path)
        too_many = max(count, directory_bytes // _ENTRY_BYTES) > limits.zip_members_max
        archive = None if too_many else zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError, ValueError, struct.error) as error:
        yield Refusal(str(path), f"not a readable zip file: {error}")
        return
    if archive is None or len(archive.infolist()) > limits.zip_members_max:
        yield Refusal(str(path), f"more than {limits.zip_members_max} members (zip_members_max)")
        return
    members = archive.infolist()
    if not members and path.stat().st_size > _END_BYTES + len(archive.comment):  # its comment looks like its end
        yield Refusal(str(path), "not a readable zip file: its directory is empty, it is not")
    over_others = _over_others(members)
    zip_ = _Zip(archive, limits, open_members=1)  # this walk itself counts as one
    try:
        for info in members:
            if info.filename.endswith("/"):  # is_dir() wants a name
                continue
            if reason := _closed_to_us(info, over_others):
                yield Refusal(f"{path}!{info.filename}", reason)
                continue
            zip_.open_members += 1
            yield Member(path, info, zip_)
    finally:
        zip_.over = True
        zip_.release()


def _over_others(members: Sequence[zipfile.ZipInfo]) -> frozenset[int]:
    """Where members begin that reach into the next one: a bomb has the same bytes inflated for each of many."""
    ordered = sorted(members, key=lambda info: info.header_offset)
    return frozenset(
        one.header_offset
        for one, following in pairwise(ordered)
        if one.header_offset + one.compress_size > following.header_offset
    )


def _closed_to_us(info: zipfile.ZipInfo, over_others: frozenset[int]) -> str:
    """Why a member is not opened; "" when it is."""
    if info.flag_bits & 1:
        return "encrypted"
    if info.compress_type not in _METHODS:
        return "compressed by another method than Deflate"
    if info.header_offset in over_others:
        return "the zip member is damaged: it lies over another one"
    return ""


def directory_of(path: Path) -> tuple[int, int]:
    """Members and bytes of a zip's directory as its end announces them, before it is read into memory (APPNOTE 4.3)."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - 65_557 - 20))
        tail = file.read()
        at = tail.rfind(b"PK\x05\x06")
        if at < 0:
            raise ValueError("no end of central directory")
        count, directory_bytes = struct.unpack_from("<HI", tail, at + 10)
        locator = at - 20
        if locator >= 0 and tail[locator : locator + 4] == b"PK\x06\x07":
            (offset,) = struct.unpack_from("<Q", tail, locator + 8)
            file.seek(offset)
            record = file.read(56)
            if record[:4] == b"PK\x06\x06":
                count, directory_bytes = struct.unpack_from("<QQ", record, 32)
    return int(count), int(directory_bytes)
