"""The parts of a multipart/related answer into files: objects by their SOP Instance UID, other things by number.

An answer that is one part without multipart (`application/dicom`, as some servers answer for one instance) is one part.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from sagittal.client.folder import Landing
from sagittal.client.storing.files import read_head
from sagittal.convert.documents import DOCUMENTS
from sagittal.errors import PeerError, SagittalError
from sagittal.limits import ReaderLimits, WebLimits
from sagittal.web.wire.accept import DICOM, MULTIPART, OCTET_STREAM
from sagittal.web.wire.multipart import Reader, boundary_of, content_type

if TYPE_CHECKING:
    import httpx

    from sagittal.client.remote import Arrived

_LIMITS = WebLimits()
ENDINGS = {held.media_type: held.ending for held in DOCUMENTS.values()} | {
    "image/jpeg": ".jpg",
    "image/jp2": ".jp2",
    "image/jpx": ".jpx",
    "image/jphc": ".jph",
    "image/jls": ".jls",
    "image/jxl": ".jxl",
    "image/png": ".png",
    "image/gif": ".gif",
    "image/webp": ".webp",
    "image/svg+xml": ".svg",
    "image/dicom-rle": ".rle",
    "video/mpeg": ".mpg",
    "video/mp4": ".mp4",
    "application/zip": ".zip",
    "text/html": ".html",
    "text/plain": ".txt",
    "text/csv": ".csv",
    "application/json": ".json",
    "application/dicom": ".dcm",
    "application/dicom+json": ".json",
    "application/dicom+xml": ".xml",
}


class Sink(Protocol):
    """What takes parts (`web.wire.multipart.Parts`), and may be left before the end."""

    @property
    def count(self) -> int:
        """How many are complete."""

    def begin(self, headers: Mapping[str, str]) -> None: ...

    def data(self, data: memoryview) -> None: ...

    def end(self) -> None: ...

    def abort(self) -> None: ...


class _Files:
    """A file for each part; `arrived` hears of it. What it is called, each kind of parts says."""

    def __init__(self, out: Path, arrived: Arrived) -> None:
        self.count = 0
        self._out, self._arrived = out, arrived
        self._landing: Landing | None = None

    def begin(self, headers: Mapping[str, str]) -> None:
        self._landing = Landing(self._out)

    def data(self, data: memoryview) -> None:
        assert self._landing is not None
        self._landing.write([data])

    def end(self) -> None:
        assert self._landing is not None
        path, uid = self._placed(self._landing)
        self._landing = None
        self.count += 1
        self._arrived(path, uid)

    def abort(self) -> None:
        if self._landing is not None:
            self._landing.drop()

    def _placed(self, landing: Landing) -> tuple[Path, str]:
        """A part that is complete gets its name; with its SOP Instance UID, if it has one."""
        raise NotImplementedError


class Objects(_Files):
    """Part 10 files. PeerError for what says that it is something else, as a proxy's page."""

    def begin(self, headers: Mapping[str, str]) -> None:
        told = content_type(headers.get("content-type") or DICOM, "a part")
        if told.type not in (DICOM, OCTET_STREAM):
            raise PeerError(f"the server answered {told.type[:80]} where objects were asked for")
        super().begin(headers)

    def _placed(self, landing: Landing) -> tuple[Path, str]:
        landing.close()
        uid = ""
        with suppress(SagittalError):
            uid = read_head(landing.beside, ReaderLimits()).sop_instance_uid
        return landing.place(uid), uid


class Numbered(_Files):
    """Frames, bulk data and rendered images: `frame-1.jpg` and so on."""

    def __init__(self, out: Path, stem: str, numbers: list[int], arrived: Arrived) -> None:
        super().__init__(out, arrived)
        self._stem, self._numbers, self._ending = stem, numbers, ""

    def begin(self, headers: Mapping[str, str]) -> None:
        self._ending = ENDINGS.get(content_type(headers.get("content-type") or OCTET_STREAM).type, ".bin")
        super().begin(headers)

    def _placed(self, landing: Landing) -> tuple[Path, str]:
        number = self._numbers[self.count] if self.count < len(self._numbers) else self.count + 1
        return landing.place_as(f"{self._stem}-{number}{self._ending}"), ""


async def read_parts(response: httpx.Response, sink: Sink) -> None:
    """Every part of an answer; BadRequest when its framing is broken or it ends early."""
    if response.status_code == 204:  # No Content: none at all
        return
    told = content_type(response.headers.get("content-type"), "the answer")
    try:
        if told.type == MULTIPART:
            reader = Reader(boundary_of(told, _LIMITS), sink, _LIMITS)
            async for data in response.aiter_bytes():
                reader.feed(data)
            reader.finish()
        else:
            sink.begin({"content-type": told.type})
            async for data in response.aiter_bytes():
                sink.data(memoryview(data))
            sink.end()
    except BaseException:
        sink.abort()
        raise
