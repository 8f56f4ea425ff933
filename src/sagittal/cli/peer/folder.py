"""A folder that C-STORE writes into: a sink for each data set, named by its SOP Instance UID if that is one.

What a peer sends never chooses where: anything that isn't a valid UID becomes a name of our own.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from sagittal.dicom.part10 import meta_group
from sagittal.dimse.service import Request, Response, StoreSink
from sagittal.errors import StorageUnavailable
from sagittal.uid import is_uid, new_uid

Arrived = Callable[[Path, Request], None]


class Folder:
    """Takes instances; `arrived` hears of each one that is complete."""

    def __init__(self, path: Path, arrived: Arrived) -> None:
        path.mkdir(parents=True, exist_ok=True)
        self._path, self._arrived = path, arrived

    def store(self, request: Request) -> StoreSink:
        """The sink for one C-STORE (a `StoreHandler`)."""
        uid = str(request.command.get("AffectedSOPInstanceUID", ""))
        name = uid if is_uid(uid) else new_uid()
        return _FileSink(self._path / f"{name}.dcm", request, self._arrived)


class Dropped:
    """The sink for an instance that is there already: nothing of it is kept."""

    def write(self, fragments: Sequence[memoryview]) -> None:
        pass

    def ready(self) -> Awaitable[None] | None:
        return None

    async def finish(self) -> Response:
        return Response(0x0000)

    def abort(self) -> None:
        pass


class _FileSink:
    """One file: written beside its place, renamed when complete."""

    def __init__(self, path: Path, request: Request, arrived: Arrived) -> None:
        self._path, self._request, self._arrived = path, request, arrived
        self._beside = path.with_name(f".{new_uid()}.part")
        command = request.command
        try:
            self._file = self._beside.open("xb")
            self._file.write(
                meta_group(
                    command["AffectedSOPClassUID"],
                    command["AffectedSOPInstanceUID"],
                    request.context.transfer_syntax,
                )
            )
        except OSError as error:
            raise StorageUnavailable(f"cannot write: {error.strerror}") from None

    def write(self, fragments: Sequence[memoryview]) -> None:
        try:
            self._file.writelines(fragments)
        except OSError as error:
            raise StorageUnavailable(f"cannot write: {error.strerror}") from None

    def ready(self) -> Awaitable[None] | None:
        return None

    async def finish(self) -> Response:
        try:
            self._file.close()
            self._beside.replace(self._path)
        except OSError as error:
            raise StorageUnavailable(f"cannot write: {error.strerror}") from None
        self._arrived(self._path, self._request)
        return Response(0x0000)

    def abort(self) -> None:
        self._file.close()
        self._beside.unlink(missing_ok=True)
