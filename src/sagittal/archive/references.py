"""An instance as the index tells of it, and its open object: what everything that retrieves hands around.

This is the one seam where corrections are laid over what is stored: a reference carries those in force, an open object
gives its data set with them (`data_set`, `file`). What `fd` gives is as stored, for frames and values by their place.
Deliberately not here: finding instances (`retrieve`), framing for any protocol.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple, Self

from sagittal.archive.index import MAIN_STORE
from sagittal.archive.reading import read_at, read_pieces
from sagittal.dicom.syntaxes import syntax
from sagittal.errors import BadRequest
from sagittal.limits import ReaderLimits

if TYPE_CHECKING:
    from sagittal.dicom.models.overlay import Correction, Head

Ranges = list[tuple[int, int]]  # where a frame or value lies: (offset, length) in bits of the data set
_HEAD_BYTES = 1 << 16  # of an object, read at once to correct it


class InstanceRef(NamedTuple):
    """One version of one instance, and where its bytes lie; study and series are None for non-patient objects."""

    id: int
    study_uid: str | None
    series_uid: str | None
    sop_class_uid: str
    sop_instance_uid: str
    syntax_uid: str
    digest: str
    size: int  # the whole file
    header_length: int  # where the data set starts in it
    frames: int | None
    volume: int
    key: str
    offset: int  # of the file within the blob
    state: int
    revision: int | None  # of the study
    store: int = MAIN_STORE
    corrections: tuple[Correction, ...] = ()  # in force, the oldest first
    corrected_size: int = 0  # of the whole file as it is sent, when there are any
    peculiar: tuple[str, bool] = ("", False)  # when it is corrected: as index.corrections.peculiarities says

    @property
    def sent_size(self) -> int:
        """Bytes of the whole file as it is sent in its own transfer syntax."""
        return self.corrected_size or self.size

    @property
    def corrected_at(self) -> tuple[str, ...]:
        """When each of the corrections was made: what its metadata are told by, beside its digest."""
        return tuple(correction.at for correction in self.corrections)

    @property
    def data_set_length(self) -> int:
        """Bytes of the data set as it was received."""
        return self.size - self.header_length


class OpenObject:
    """An open object: the file as stored is `length` bytes at `offset` of `fd`, its data set at `data_set_offset`."""

    __slots__ = ("_corrected", "data_set_offset", "fd", "length", "offset")

    def __init__(
        self,
        fd: int,
        offset: int,
        length: int,
        header_length: int,
        corrected: tuple[str, tuple[Correction, ...], ReaderLimits, tuple[str, bool]] | None = None,
    ) -> None:
        """`corrected`: transfer syntax, corrections in force, limits, what is peculiar of the object."""
        self._corrected = corrected
        self.fd = fd
        self.offset = offset
        self.length = length
        self.data_set_offset = offset + header_length

    def close(self) -> None:
        """Give the descriptor back; more than once is no error."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def data_set(self, chunk_bytes: int, pauses: bool = False) -> Iterator[bytes]:
        """The data set as it is sent: with the corrections in force; `pauses` are empty pieces, for others' turns."""
        length = self.offset + self.length - self.data_set_offset
        head = self._head()
        if head is None:
            yield from self._pieces(0, length, chunk_bytes)
            return
        yield from head.steps() if pauses else head
        if head.rest is not None:
            yield from self._pieces(head.rest, length, chunk_bytes)

    def file(self, chunk_bytes: int) -> Iterator[bytes]:
        """The Part 10 file as it is sent."""
        yield read_at(self.fd, self.data_set_offset - self.offset, self.offset)
        yield from self.data_set(chunk_bytes)

    def sent_size(self) -> int:
        """Bytes of `file`; the beginning of a corrected object is read for it."""
        head = self._head()
        if head is None:
            return self.length
        size = self.data_set_offset - self.offset + sum(map(len, head))
        return size if head.rest is None else size + self.offset + self.length - self.data_set_offset - head.rest

    def _head(self) -> Head | None:
        if self._corrected is None:
            return None
        from sagittal.dicom.models.overlay import Head

        length = self.offset + self.length - self.data_set_offset
        uid, laid_over, limits, peculiar = self._corrected
        return Head(lambda: self._pieces(0, length, _HEAD_BYTES), syntax(uid), laid_over, limits, *peculiar)

    def _pieces(self, at: int, end: int, chunk_bytes: int) -> Iterator[bytes]:
        return read_pieces(self.fd, end - at, self.data_set_offset + at, chunk_bytes)

    def read_data_set(self, offset: int, length: int) -> bytes:
        """Exactly `length` bytes of the data set; BadRequest when they are not within it, DamagedObject when they are
        gone.
        """
        at = self.data_set_offset + offset
        if offset < 0 or length < 0 or at + length > self.offset + self.length:
            raise BadRequest("the range is not within the data set")
        return b"".join(read_pieces(self.fd, length, at, length))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    __del__ = close  # who keeps one for later need not count who uses it
