"""What the images of an archive are like, from the index: no object is opened.

The index has matrix, Bits Allocated, frames and where they lie. Bits Stored, Samples per Pixel and Photometric
Interpretation are read from the metadata: of CT, MR and PET, which archives are full of, of one instance for all of its
series that agree with it in SOP class, syntax, matrix and Bits Allocated, as that is one kind of image there; of
others, which may be gray and in color in one series, of each. What was counted is kept, and only new instances are
counted again; after a deletion, replacement or correction all are. Some milliseconds at a time, as others want the
threads too.
"""

from __future__ import annotations

import asyncio
import re
import sqlite3
import zlib
from time import monotonic
from typing import Any

from sagittal.archive.access import Principal, authorize
from sagittal.archive.index.connection import Readers
from sagittal.archive.index.select import METADATA
from sagittal.archive.index.upkeep import counts
from sagittal.dicom.frameindex import FrameIndex
from sagittal.pixels.census import Census, Seen

_SLICE_SECONDS = 0.002
_ROWS_AT_ONCE = 32
_KINDS_MAX = 100_000  # kinds of images that are remembered
_METADATA_BYTES_MAX = 1 << 20  # of one instance that is looked through: the attributes come early
_STORED = re.compile(rb'"00280101":\{"vr":"US","Value":\[(\d+)')
_SAMPLES = re.compile(rb'"00280002":\{"vr":"US","Value":\[(\d+)')
_PHOTOMETRIC = re.compile(rb'"00280004":\{"vr":"CS","Value":\["([A-Z0-9_ ]+)"')
_Kind = tuple[int, str, str, int, int, int]
_P = "1.2.840.10008.5.1.4.1.1."
# CT, MR, PET, also enhanced and converted: of one kind within a series.
_OF_ONE_KIND = frozenset(_P + end for end in ("2", "2.1", "2.2", "4", "4.1", "4.4", "128", "128.1", "130"))


class ImageReport:
    """The report of one archive, kept between questions; of each store its own."""

    def __init__(self, readers: Readers) -> None:
        self._readers = readers
        self._stores: dict[int, _OfStore] = {}

    async def rows(self, principal: Principal) -> list[dict[str, Any]]:
        """A row a modality, as `Census.rows` makes it."""
        authorize(principal, "find")
        if principal.store not in self._stores:
            self._stores[principal.store] = _OfStore(self._readers, principal.store)
        return await self._stores[principal.store].rows()


class _OfStore:
    def __init__(self, readers: Readers, store: int) -> None:
        self._readers, self._store, self._asking = readers, store, asyncio.Lock()
        self._change = 0  # the last one that was looked at
        self._forget()

    async def rows(self) -> list[dict[str, Any]]:
        async with self._asking:  # one at a time counts, for all
            newest, others = await self._readers.run(
                lambda connection: connection.execute(counts.CHANGES_SINCE, (self._change,)).fetchone()
            )
            if others and self._change:
                self._forget()
            self._change = newest or self._change
            while not await self._readers.run(self._slice):
                pass
            of = (self._store,)
            found = await self._readers.run(lambda connection: connection.execute(counts.MODALITIES, of).fetchall())
            return self._census.rows({name: (studies, series) for name, studies, series in found})

    def _forget(self) -> None:
        self._census, self._until = Census(), 0
        self._kinds: dict[_Kind, tuple[int, int, str]] = {}

    def _slice(self, connection: sqlite3.Connection) -> bool:
        """Count on for a short while; whether all are counted."""
        until = monotonic() + _SLICE_SECONDS
        while monotonic() < until:
            found = connection.execute(counts.IMAGES_AFTER, (self._until, self._store, _ROWS_AT_ONCE)).fetchall()
            if not found:
                return True
            for row in found:
                self._census.add(self._seen(connection, *row))
                self._until = row[0]
        return False

    def _seen(
        self, connection: sqlite3.Connection, instance: int, modality: str, series: int, sop_class: str, uid: str,
        rows: int | None, columns: int | None, allocated: int | None, frames: int | None, body: bytes | None,
    ) -> Seen:  # fmt: skip
        if not rows or not columns:
            return Seen(modality, uid)
        kind = (series, sop_class, uid, rows, columns, allocated or 0)
        told = self._kinds.get(kind) or _told(connection, instance)
        if sop_class in _OF_ONE_KIND:
            if len(self._kinds) >= _KINDS_MAX:
                self._kinds.clear()
            self._kinds[kind] = told
        stored, samples, photometric = told
        index = FrameIndex.decode(body) if body is not None else None
        count, pixel_bytes = (index.count, index.pixel_bytes) if index is not None else (frames or 1, 0)
        return Seen(modality, uid, rows, columns, samples, allocated or 0, stored, photometric, count, pixel_bytes)


def _told(connection: sqlite3.Connection, instance: int) -> tuple[int, int, str]:
    """Bits Stored, Samples per Pixel and Photometric Interpretation in the metadata, without parsing it."""
    text = b""
    for (body,) in connection.execute(METADATA, (instance,)):
        text += zlib.decompress(body)
        if (_STORED.search(text) and _PHOTOMETRIC.search(text)) or len(text) > _METADATA_BYTES_MAX:
            break
    stored, samples, photometric = _STORED.search(text), _SAMPLES.search(text), _PHOTOMETRIC.search(text)
    return (
        int(stored[1]) if stored else 0,
        int(samples[1]) if samples else 1,
        photometric[1].decode().strip() if photometric else "",
    )
