"""A folder that instances arrive in: each a Part 10 file, named by its SOP Instance UID if that is one.

What a peer sends never chooses where: anything that isn't a valid UID becomes a name of our own. The meta group names
the syntax of the presentation context, or the plain one that the data set shows instead.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from sagittal.dicom.part10 import SHOWING_BYTES, meta_group, shown_syntax
from sagittal.dimse.service import Request, Response, StoreSink
from sagittal.errors import StorageUnavailable
from sagittal.folders import beside
from sagittal.uid import is_uid, new_uid

Arrived = Callable[[Path, Request], None]


@contextmanager
def _told(what: str) -> Iterator[None]:
    """What the system refuses, as one of our errors."""
    try:
        yield
    except OSError as error:
        raise StorageUnavailable(f"{what}: {error.strerror}") from None


def _make(folder: Path) -> None:
    with _told(f"cannot make the folder {str(folder)!r}"):
        folder.mkdir(parents=True, exist_ok=True)


class Landing:
    """One file: written beside its place, renamed when complete."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.beside = beside(folder / "new")
        _make(folder)
        with _told("cannot write"):
            self._file = self.beside.open("xb")

    def write(self, pieces: Iterable[bytes | memoryview]) -> None:
        with _told("cannot write"):
            self._file.writelines(pieces)

    def close(self) -> None:
        """Nothing more is written."""
        with _told("cannot write"):
            self._file.close()

    def place(self, uid: str) -> Path:
        """It is complete: named by its UID, or by one of ours."""
        return self.place_as(f"{uid if is_uid(uid) else new_uid()}.dcm")

    def place_as(self, name: str) -> Path:
        """The same with a name that we chose. What can't be completed is dropped."""
        path = self._folder / name
        try:
            self.close()
            with _told("cannot write"):
                self.beside.replace(path)
        except StorageUnavailable:
            self.drop()
            raise
        return path

    def drop(self) -> None:
        """Forget it. Never raises: closing tries once more to write what a full disk did not take."""
        with suppress(OSError):
            self._file.close()
        with suppress(OSError):
            self.beside.unlink(missing_ok=True)


class Folder:
    """Takes the instances of C-STORE; `arrived` hears of each one that is complete."""

    def __init__(self, path: Path, arrived: Arrived) -> None:
        _make(path)
        self._path, self._arrived = path, arrived

    def store(self, request: Request) -> StoreSink:
        """The sink for one C-STORE (a `StoreHandler`)."""
        return _Sink(self._path, request, self._arrived)


class Dropped:
    """The sink for an instance that is there already: nothing of it is kept."""

    def write(self, fragments: Sequence[memoryview], last: bool = False) -> None:
        pass

    def ready(self) -> Awaitable[None] | None:
        return None

    async def finish(self) -> Response:
        return Response(0x0000)

    def abort(self) -> None:
        pass


class _Sink:
    """A landing for one C-STORE."""

    def __init__(self, folder: Path, request: Request, arrived: Arrived) -> None:
        self._request, self._arrived = request, arrived
        self._uid = str(request.command.get("AffectedSOPInstanceUID", ""))
        self._landing = Landing(folder)
        self._first: bytes | None = b""  # of the data set, until it shows its syntax

    def write(self, fragments: Sequence[memoryview], last: bool = False) -> None:
        if self._first is None:
            self._landing.write(fragments)
            return
        self._first = b"".join((self._first, *fragments))
        if len(self._first) >= SHOWING_BYTES:
            self._begin(self._first)

    def _begin(self, first: bytes) -> None:
        syntax_uid = shown_syntax(self._request.context.transfer_syntax, first[:SHOWING_BYTES])
        self._landing.write([meta_group(self._request.command["AffectedSOPClassUID"], self._uid, syntax_uid), first])
        self._first = None

    def ready(self) -> Awaitable[None] | None:
        return None

    async def finish(self) -> Response:
        if self._first is not None:
            self._begin(self._first)
        self._arrived(self._landing.place(self._uid), self._request)
        return Response(0x0000)

    def abort(self) -> None:
        self._landing.drop()
