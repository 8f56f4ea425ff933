"""Whether two files hold the same content, differently encoded: element by element, and the bytes of long values.

Compares the metadata that the reader made of both, then the ranges it left in the files: byte order and deflate are
seen through, other lossless codecs are not (those are other content). When in doubt two files differ: both are kept.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
import tempfile
import zlib
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import orjson

from sagittal.archive.local import LocalVolume
from sagittal.dicom.syntaxes import syntax
from sagittal.errors import DamagedObject

PIXEL_DATA = 0x7FE00010

_BLOCK = 1 << 20
_BULK = re.compile(r"[0-9A-F/]+\?offset=([0-9]+)&length=([0-9]+)\Z")
_WORDS = {"OW": 2, "US": 2, "SS": 2, "OL": 4, "OF": 4, "UL": 4, "SL": 4, "FL": 4, "OD": 8, "OV": 8, "FD": 8}
_CODES = {2: "H", 4: "I", 8: "Q"}
_INTEGERS = {"US": (2, False), "SS": (2, True), "UL": (4, False), "SL": (4, True), "UV": (8, False), "SV": (8, True)}
_CHARACTER_SET = "00080005"
# Of the encoding, not of the content: group lengths are not in the metadata, this is padding.
_NO_CONTENT = {"FFFCFFFC"}


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


def first_difference(new: Version, old: Version, metadata_bytes_max: int) -> tuple[bool, int | None]:
    """(True, None) for the same content; else False and the first top-level element that differs, if known."""
    left, right = _load(new, metadata_bytes_max), _load(old, metadata_bytes_max)
    if left is None or right is None:
        return False, None
    for tag in sorted(left.keys() | right.keys()):
        if tag in _NO_CONTENT or tag == _CHARACTER_SET:
            continue
        one, other = left.get(tag), right.get(tag)
        if one is None or other is None or not _is_same(one, other, new, old):
            return False, int(tag, 16)
    if _is_encapsulated(left) and not _same_tail(left, new, old):
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


def _is_same(one: dict[str, Any], other: dict[str, Any], new: Version, old: Version) -> bool:
    """Whether two elements, by DICOM JSON, hold the same."""
    bulk, other_bulk = one.get("BulkDataURI"), other.get("BulkDataURI")
    if bulk is None and other_bulk is None:
        if one == other:
            return True
        if one["vr"] != other["vr"]:
            return _plain(one) is not None and _plain(one) == _plain(other)
        if one["vr"] != "SQ":
            return False
        return _same_items(one.get("Value", []), other.get("Value", []), new, old)
    if bulk is None or other_bulk is None:
        return False
    ours, theirs = _BULK.match(bulk), _BULK.match(other_bulk)
    if ours is None or theirs is None:  # encapsulated pixel data has no range of its own
        return ours is None and theirs is None and new.syntax_uid == old.syntax_uid
    return _same_range(one["vr"], _range(ours), _range(theirs), new, old)


def _same_items(ours: list[Any], theirs: list[Any], new: Version, old: Version) -> bool:
    if len(ours) != len(theirs):
        return False
    for one, other in zip(ours, theirs, strict=True):
        one, other = one or {}, other or {}
        tags = (one.keys() | other.keys()) - _NO_CONTENT
        if not all(tag in one and tag in other and _is_same(one[tag], other[tag], new, old) for tag in tags):
            return False
    return True


def _plain(element: dict[str, Any]) -> bytes | None:
    """The Little Endian bytes of a short value, padding off: an UN here may be a known VR there."""
    vr, values = element["vr"], element.get("Value", [])
    if "InlineBinary" in element:
        return base64.b64decode(element["InlineBinary"]).rstrip(b"\0 ")
    if vr in _INTEGERS and all(isinstance(value, int) for value in values):
        size, signed = _INTEGERS[vr]
        return b"".join(value.to_bytes(size, "little", signed=signed) for value in values).rstrip(b"\0 ")
    if all(isinstance(value, str) for value in values):
        return "\\".join(values).encode().rstrip(b"\0 ")
    return None


def _range(match: re.Match[str]) -> tuple[int, int]:
    return int(match[1]), int(match[2])


def _same_range(vr: str, ours: tuple[int, int], theirs: tuple[int, int], new: Version, old: Version) -> bool:
    swapped = syntax(new.syntax_uid).little_endian != syntax(old.syntax_uid).little_endian
    word = _WORDS.get(vr, 1) if swapped else 1
    length = ours[1]
    if length != theirs[1]:
        return False
    for start in range(0, length, _BLOCK):
        size = min(_BLOCK, length - start)
        one, other = new.read(ours[0] + start, size), old.read(theirs[0] + start, size)
        if word > 1:
            one = _swap(one, word)
        if one != other:
            return False
    return True


def _swap(data: bytes, word: int) -> bytes:
    words = array(_CODES[word], data[: len(data) // word * word])
    words.byteswap()
    return words.tobytes() + data[len(words) * word :]


def _is_encapsulated(elements: dict[str, Any]) -> bool:
    return any("BulkDataURI" in e and not _BULK.match(e["BulkDataURI"]) for e in elements.values())


def _same_tail(elements: dict[str, Any], new: Version, old: Version) -> bool:
    """Encapsulated pixel data in one syntax: the same fragments, that is the same bytes to the end of the file."""
    at = _pixel_offset(new), _pixel_offset(old)
    if at[0] is None or at[1] is None or new.length - at[0] != old.length - at[1]:
        return False
    pairs: Iterator[tuple[bytes, bytes]] = (
        (os.pread(new.fd, _BLOCK, at[0] + start), os.pread(old.fd, _BLOCK, at[1] + start))
        for start in range(0, new.length - at[0], _BLOCK)
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
