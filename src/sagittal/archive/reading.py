"""Bytes of an open object, and what it means when they can't be read. Deliberately not here: where objects lie."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator

from sagittal.errors import DamagedObject

# Errors that are about one file and its blocks, neither about this process nor about the whole volume.
_OF_ONE_OBJECT = frozenset({
    errno.EACCES, errno.EPERM, errno.EIO, errno.EISDIR, errno.ELOOP, errno.ENOTDIR, errno.ENXIO, errno.ESPIPE
})  # fmt: skip


def read_at(fd: int, length: int, offset: int) -> bytes:
    """Up to `length` bytes of an open object; DamagedObject for blocks that the disk can't read any more."""
    try:
        return os.pread(fd, length, offset)
    except OSError as error:
        raise meaning(error) from None


def read_pieces(fd: int, length: int, offset: int, piece_bytes: int) -> Iterator[bytes]:
    """`length` bytes of an open object in pieces; DamagedObject when it ends before, too."""
    end = offset + length
    while offset < end:
        piece = read_at(fd, min(piece_bytes, end - offset), offset)
        if not piece:
            raise DamagedObject("the stored object is truncated")
        yield piece
        offset += len(piece)


def meaning(error: OSError) -> Exception:
    """The error to raise for one of the system's: DamagedObject when it is about this object alone, else itself."""
    if error.errno not in _OF_ONE_OBJECT:
        return error
    return DamagedObject(f"the stored object cannot be read: {error.strerror}")
