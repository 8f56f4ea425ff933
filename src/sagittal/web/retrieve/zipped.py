"""A study, series or instance as one zip file of Part 10 files, as stored (PS3.18 8.7.3, application/zip).

It is made while it is sent, in flat memory, and its length is known before. Names are made of UIDs and nothing else
that an object says. Deliberately not here: a DICOMDIR, deflating, another transfer syntax.
"""

from __future__ import annotations

import hashlib
import re
import zlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from sagittal.web.wire.zip import Member, Writer, length

if TYPE_CHECKING:
    from sagittal.archive.references import InstanceRef
    from sagittal.web.retrieve.objects import Stored

ZIP = "application/zip"
_HELD_BYTES = 4 << 20  # larger files are read twice: their CRC goes before them
_UID = re.compile(r"[0-9]+(?:\.[0-9]+)*\Z")


def zip_length(refs: Sequence[InstanceRef]) -> int:
    """The bytes of the zip file of `refs`."""
    return length(map(_member, refs))


def zip_pieces(stored: Stored, refs: Sequence[InstanceRef]) -> Iterator[bytes]:
    """The zip file of `refs`."""
    writer = Writer()
    for ref in refs:
        if ref.sent_size <= _HELD_BYTES:
            pieces = list(stored.file(ref, ref.syntax_uid))
            yield writer.head(_member(ref), _crc(iter(pieces)))
            yield from pieces
        else:
            yield writer.head(_member(ref), _crc(stored.file(ref, ref.syntax_uid)))
            yield from stored.file(ref, ref.syntax_uid)
    yield from writer.end()


def _crc(pieces: Iterator[bytes]) -> int:
    crc = 0
    for piece in pieces:
        crc = zlib.crc32(piece, crc)
    return crc


def _member(ref: InstanceRef) -> Member:
    return Member(zip_name(ref), ref.sent_size)


def zip_name(ref: InstanceRef) -> str:
    """The name of an instance within a zip file."""
    folders = [_name(uid) for uid in (ref.study_uid, ref.series_uid) if uid]
    return "/".join([*folders, f"{_name(ref.sop_instance_uid)}.dcm"])


def _name(uid: str) -> str:
    """A UID as a name; what only looks like one (held all the same) must not become `..`."""
    return uid if _UID.match(uid) else "uid-" + hashlib.sha256(uid.encode()).hexdigest()[:32]
