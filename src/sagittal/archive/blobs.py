"""Where objects lie: five verbs, and what every store of objects must keep to.

Invariants, which `tests/contract` asks of every implementation:

- An object is immutable: a key, once given out, means the same bytes until `delete`, or nothing.
- A key is made by the store from a counter and the SHA-256 of the file; no attribute value ever enters it.
- When `put` returns, the object survives a power cut. Putting the same digest again gives a whole object again, so a
  re-send repairs a damaged one.
- `delete` of a key that is not there is no error: a collector that died half-way runs again. The caller has made sure,
  in the index transaction, that nothing refers to the key.
- `read_range` gives exactly `length` bytes or raises DamagedObject; it never gives fewer.
- Failures to write are StorageUnavailable, and are never retried here: after a failed fsync the kernel may have dropped
  the dirty pages, so a second one that succeeds proves nothing.

Deliberately not here: what the bytes mean, and which of them are referred to (the index knows).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from sagittal.archive.local import Staged


class Blobs(Protocol):
    """A volume of objects, named in the index by `name`."""

    name: str

    def put(self, staged: Staged, digest: str) -> str:
        """Make the staged file an object of this volume, durably; gives its key."""

    def read_range(self, key: str, offset: int, length: int) -> bytes:
        """Bytes `offset` up to `offset + length` of the object."""

    def size(self, key: str) -> int:
        """Bytes of the whole object; DamagedObject when it is missing."""

    def delete(self, key: str) -> None:
        """Remove the object."""

    def keys(self) -> Iterator[str]:
        """Every key held, in no particular order; objects put meanwhile may be missing."""
