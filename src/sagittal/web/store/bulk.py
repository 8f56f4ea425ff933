"""The parts of a store request that are bulk data, in the scratch file, by the Content-Location that metadata names.

Deliberately not here: what they may be the value of (`media`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sagittal.archive.ingest.scratch import Scratch
from sagittal.dicom.models.encode import Bulk
from sagittal.errors import BadRequest

_PIECE_BYTES = 1 << 18


@dataclass(slots=True)
class BulkPart:
    """One part of the request that is bulk data, in the scratch file."""

    type: str
    parameters: Mapping[str, str]
    start: int
    length: int = 0
    used: bool = field(default=False)


@dataclass(frozen=True, slots=True)
class Held:
    """The bulk data of one request, by address."""

    scratch: Scratch
    parts: Mapping[str, list[BulkPart]]

    def named(self, address: Any) -> list[BulkPart]:
        found = self.parts.get(address) if isinstance(address, str) else None
        if not found:
            raise BadRequest(f"no part has the Content-Location {str(address)[:200]!r} that the metadata names")
        for part in found:
            part.used = True
        return found

    def bulk(self, part: BulkPart, start: int = 0, length: int | None = None) -> Bulk:
        """A part, or some of it."""
        length = part.length - start if length is None else length
        return Bulk(length, self.scratch.pieces(part.start + start, length, _PIECE_BYTES))

    def reader(self, part: BulkPart) -> Callable[[int, int], bytes]:
        def read(offset: int, count: int) -> bytes:
            return self.scratch.read(part.start + offset, max(0, min(count, part.length - offset)))

        return read
