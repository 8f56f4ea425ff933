"""Which values of an object are bulk data, and where they lie: the metadata that ingest prepared names each one.

Deliberately not here: reading the values.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from sagittal.dicom.syntaxes import syntax
from sagittal.errors import BadRequest, NotFound
from sagittal.web.retrieve.metadata import read

if TYPE_CHECKING:
    from starlette.requests import Request

    from sagittal.archive.access import Principal
    from sagittal.archive.archive import Archive
    from sagittal.archive.references import InstanceRef, Ranges

PIXEL_DATA = "7FE00010"
_NAMED = re.compile(rb'"BulkDataURI":"([0-9A-F/]+)(?:\?offset=(\d+)&length=(\d+))?"')
_NAMED_BYTES_MAX = 2048  # what names a value, at 128 levels of items


class Value(NamedTuple):
    """A value that is bulk data: the path of its tag, and where it lies in the data set unless it is encapsulated."""

    path: str
    bounds: tuple[int, int] | None

    @property
    def query(self) -> str:
        return f"?offset={self.bounds[0]}&length={self.bounds[1]}" if self.bounds else ""


async def named(
    archive: Archive, principal: Principal, refs: Sequence[InstanceRef], wanted: frozenset[str] | None
) -> AsyncIterator[tuple[InstanceRef, list[Value]]]:
    """Each instance with the values that its metadata names: all, or those of the `wanted` tags."""
    values: list[Value] = []
    held = b""
    async for some, ends in read(archive, principal, refs):
        for ref, text in some:
            found, held = _values(held + text, wanted)
            values += found
            if ends:
                yield ref, values
                values, held = [], b""


def _values(text: bytes, wanted: frozenset[str] | None) -> tuple[list[Value], bytes]:
    """The values that a piece of metadata names, and the end of it, where one more may begin."""
    found: list[Value] = []
    end = 0
    for match in _NAMED.finditer(text):  # within a text of the JSON the quotes would be escaped
        end = match.end()
        path = match[1].decode("ascii")
        encapsulated = match[2] is None
        if wanted is not None and path not in wanted:
            continue
        found.append(Value(path, None if encapsulated else (int(match[2]), int(match[3]))))
    return found, text[max(end, len(text) - _NAMED_BYTES_MAX) :]


def asked_bounds(request: Request, ref: InstanceRef) -> tuple[int, int] | None:
    """`offset` and `length` of the address, in bytes of the data set (of the inflated one when it is deflated)."""
    texts = [request.query_params.get(name) for name in ("offset", "length")]
    if texts == [None, None]:
        return None
    if not all(text and text.isascii() and text.isdigit() and len(text) <= 18 for text in texts):
        raise BadRequest("offset and length are numbers of bytes")
    offset, length = (int(text or 0) for text in texts)
    if not syntax(ref.syntax_uid).deflated and offset + length > ref.data_set_length:
        raise NotFound("there is no such bulk data in this instance")
    return offset, length


async def has_frames(archive: Archive, ref: InstanceRef) -> bool:
    """Whether its encapsulated pixel data is more than fragments: frames that can be told apart, or a video."""
    held = syntax(ref.syntax_uid)
    try:
        return held.video or held.deflated or bool(await archive.frame_ranges(ref, [1]))
    except NotFound:
        return False


async def frames_of(archive: Archive, ref: InstanceRef) -> tuple[int, list[Ranges]]:
    """Where the first frame begins, in bytes of the data set, and the ranges of all."""
    found = await archive.frame_ranges(ref, range(1, (ref.frames or 1) + 1))
    return found[0][0][0] // 8, found
