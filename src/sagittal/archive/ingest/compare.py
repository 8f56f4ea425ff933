"""Whether two files hold the same content, differently encoded: element by element, and the bytes of long values.

Compares the metadata that the reader made of both, then the ranges it left in the files: byte order and deflate are
seen through, other lossless codecs are not (those are other content). When in doubt two files differ: both are kept.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import orjson

from sagittal.archive.local import LocalVolume
from sagittal.dicom.models.sameness import BULK, NO_CONTENT, is_same
from sagittal.dicom.syntaxes import syntax
from sagittal.errors import DamagedObject, SagittalError
from sagittal.pixels.fingerprint import OF_PIXELS, fingerprint

PIXEL_DATA = 0x7FE00010

_BLOCK = 1 << 20
_CHARACTER_SET = "00080005"
_PADDING = b"\xfc\xff\xfc\xff"  # the tag of Data Set Trailing Padding, after which nothing else comes


@dataclass(slots=True)
class Version:
    """One of the two: an open file, where its data set begins, and the compressed parts of its metadata."""

    fd: int
    header_length: int
    length: int
    syntax_uid: str
    digest: str
    metadata: Iterable[bytes]
    _inflated: Any = field(default=None)

    def read(self, offset: int, length: int) -> bytes:
        """Bytes of the data set, as the reader counts them (inflated, when deflated)."""
        if syntax(self.syntax_uid).deflated:
            if self._inflated is None:
                self._inflated = self._inflate()
            self._inflated.seek(offset)
            return bytes(self._inflated.read(length))
        return os.pread(self.fd, length, self.header_length + offset)

    def _inflate(self) -> Any:
        plain = tempfile.TemporaryFile()  # noqa: SIM115 - closed with this version
        inflater, at = zlib.decompressobj(-15), self.header_length
        while data := os.pread(self.fd, _BLOCK, at):
            at += len(data)
            while data:
                plain.write(inflater.decompress(data, _BLOCK))
                data = inflater.unconsumed_tail
        plain.write(inflater.flush())
        return plain

    def close(self) -> None:
        os.close(self.fd)
        if self._inflated is not None:
            self._inflated.close()


def is_intact(volume: LocalVolume, key: str, length: int, digest: str) -> bool:
    """Whether the stored file is there and is what its digest says."""
    try:
        fd = volume.open(key)
    except DamagedObject:
        return False
    try:
        if os.fstat(fd).st_size != length:
            return False
        sha256 = hashlib.sha256()
        while data := os.read(fd, _BLOCK):
            sha256.update(data)
    except OSError:
        return False
    finally:
        os.close(fd)
    return sha256.hexdigest() == digest


def first_difference(
    new: Version, old: Version, metadata_bytes_max: int, came: frozenset[str] = frozenset()
) -> tuple[bool, int | None]:
    """(True, None) for the same content; else False and the first top-level element that differs, if known.

    With `came` the old version was transcoded: the pixels of the new one have to be those that it had before, by
    fingerprint.
    """
    left, right = _load(new, metadata_bytes_max), _load(old, metadata_bytes_max)
    if left is None or right is None:
        return False, None
    for tag in sorted(left.keys() | right.keys()):
        if tag in (OF_PIXELS if came else NO_CONTENT) or tag == _CHARACTER_SET:
            continue
        one, other = left.get(tag), right.get(tag)
        if one is None or other is None or not is_same(one, other, new, old):
            return False, int(tag, 16)
    if came:
        same = _fingerprint(left, new) in came - {""}
        return same, None if same else PIXEL_DATA
    if _is_encapsulated(left) and not _same_tail(new, old):
        return False, PIXEL_DATA
    return True, None


def _load(version: Version, bytes_max: int) -> dict[str, Any] | None:
    text = bytearray()
    for part in version.metadata:
        text += zlib.decompressobj().decompress(part, bytes_max + 1)
        if len(text) > bytes_max:
            return None
    loaded: dict[str, Any] = orjson.loads(bytes(text))
    return loaded


def _fingerprint(elements: dict[str, Any], version: Version) -> str:
    try:
        return fingerprint(elements, version.read, version.syntax_uid)
    except SagittalError:  # cut off, or more than is read
        return ""


def _is_encapsulated(elements: dict[str, Any]) -> bool:
    return any("BulkDataURI" in e and not BULK.match(e["BulkDataURI"]) for e in elements.values())


def _same_tail(new: Version, old: Version) -> bool:
    """Encapsulated pixel data in one syntax: the same fragments, that is the same bytes to the end of the file, or to
    the padding that only one of them has there.
    """
    at = _pixel_offset(new), _pixel_offset(old)
    if at[0] is None or at[1] is None:
        return False
    sizes = new.length - at[0], old.length - at[1]
    common, more = min(sizes), abs(sizes[0] - sizes[1])
    longer = new if sizes[0] > common else old
    if more and os.pread(longer.fd, 4, longer.length - more) != _PADDING:
        return False
    pairs: Iterator[tuple[bytes, bytes]] = (
        (os.pread(new.fd, size, at[0] + start), os.pread(old.fd, size, at[1] + start))
        for start in range(0, common, _BLOCK)
        for size in (min(_BLOCK, common - start),)
    )
    return all(one == other for one, other in pairs)


def _pixel_offset(version: Version) -> int | None:
    """Where the element Pixel Data of undefined length begins: its tag, VR and length are unmistakable from the end."""
    mark = b"\xe0\x7f\x10\x00OB\0\0\xff\xff\xff\xff"
    at = version.header_length
    while data := os.pread(version.fd, _BLOCK + len(mark), at):
        found = data.find(mark)
        if found >= 0:
            return at + found
        at += _BLOCK
    return None
