"""The Python face: an archive by its URL, its peer address or its data directory, asked in plain calls.

    with Archive("http://127.0.0.1:8042") as archive:
        for study in archive.find("study", PatientName="DOE*"):
            archive.get("folder", StudyInstanceUID=study["StudyInstanceUID"])

Calls may be made from any thread, in a notebook too: the work runs on a loop of its own. A forked process has none of
it, and opens an archive of its own.
"""

from __future__ import annotations

import asyncio
import os
import threading
import warnings
from collections.abc import Collection, Coroutine, Iterable, Mapping
from concurrent.futures import CancelledError
from contextlib import aclosing
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from sagittal.client.keys import Question, keys_of, level_named, level_of, tag_for, usual, written
from sagittal.client.match import Match
from sagittal.client.opening import open_remote
from sagittal.client.outcome import Retrieved, Stored, Unanswered
from sagittal.client.place import Access, parse_place
from sagittal.client.remote import Remote, Sending
from sagittal.client.storing.files import read_objects
from sagittal.client.storing.given import Given, Storable
from sagittal.client.storing.rewrite import Changes, NewUids, parse_changes
from sagittal.dicom.dictionary import vr_of
from sagittal.dimse.address import PeerAddress
from sagittal.errors import UsageError

T = TypeVar("T")


class Archive:
    """An archive of anybody's: `http(s)://…/dicom-web`, `AET@host:port`, or a data directory of Sagittal's.

    `access` says who we are: AE title, TLS, bearer token, user. Close it, or use it in a `with`.
    """

    def __init__(self, place: str | os.PathLike[str], access: Access | None = None) -> None:
        self._place = parse_place(os.fspath(place))
        access = access or Access()
        self._access = access if isinstance(self._place, PeerAddress) else access.with_environment()
        self._loop, self._lock = asyncio.new_event_loop(), threading.Lock()
        self._calls: set[asyncio.Task[Any]] = set()  # under way, of any thread
        self._thread = threading.Thread(target=self._loop.run_forever, name="sagittal-client", daemon=True)
        self._thread.start()
        self._opened, self._closed = open_remote(self._place, self._access, _warn), False
        try:
            self._remote: Remote = self._run(self._opened.__aenter__())
        except BaseException:
            self._stop()
            raise

    def __enter__(self) -> Archive:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Archive({str(self._place)!r})"

    def find(
        self,
        level: str = "study",
        *,
        include: Iterable[str] = (),
        limit: int | None = None,
        fuzzy: bool = False,
        relational: bool = False,
        keys: Mapping[str, Any] | None = None,
        **more: Any,
    ) -> list[Match]:
        """What matches at `level`: patient (of peers only), study, series or image, which is instance as well.

        Keys are keywords: `PatientName="DOE*"`, `StudyDate="20260101-"` or a date, a list for several UIDs, a mapping
        for the keys inside a sequence. `keys` takes those that are no Python names: tags, private ones. `include` are
        attributes to return besides; those that tell one from another always are.
        """
        level = level_named(level)
        asked = usual(level, keys_of({**dict.fromkeys(_names(include)), **(keys or {}), **more}))
        question = Question(level, asked, relational=relational, fuzzy=fuzzy, limit=limit)
        return self._run(self._find(question))

    async def _find(self, question: Question) -> list[Match]:
        async with aclosing(self._remote.find(question)) as matches:
            return [Match(match) async for match in matches]

    def get(
        self,
        out: str | os.PathLike[str],
        *,
        level: str = "",
        relational: bool = False,
        keys: Mapping[str, Any] | None = None,
        **more: Any,
    ) -> list[Path]:
        """Retrieve into the folder `out`; the files, named by SOP Instance UID.

        By UIDs, or by any keys: what matches is looked up first. No files of what there is none of; `Unanswered` when
        something could not be retrieved. `relational` is for a peer and keys of a level without those above.
        """
        wanted = keys_of({**(keys or {}), **more})
        files: list[Path] = []
        question = Question(level_named(level) or level_of(wanted), wanted, relational=relational)
        outcome: Retrieved = self._run(self._remote.get(question, Path(out), lambda path, _uid: files.append(path)))
        if not outcome.whole:
            raise Unanswered(f"{outcome.completed} came, {outcome.failed} failed: {outcome.comment}")
        return files

    def store(
        self,
        *objects: Storable,
        set: Mapping[str, Any] | None = None,
        remove: Iterable[str] = (),
        new_uids: bool | NewUids = False,
        associations: int = 1,
    ) -> list[Stored]:
        """Send files and folders, bytes of files, and pydicom data sets; what became of each.

        What is no DICOM file in a folder is passed over. What was no file is called `object 2` as the second argument.
        A data set is written as its file meta information says; where that names no transfer syntax, as it was read or,
        one that was made, in Explicit VR Little Endian.

        `set` and `remove` change attributes on the way, values being those of `find` and None an empty one. `new_uids`
        gives new UIDs, the same for the same: over several calls when it is one `NewUids`.
        """
        values = (f"{name}={written(value, vr_of(tag_for(name)))}" for name, value in (set or {}).items())
        made = parse_changes(values, _names(remove), bool(new_uids))
        uids = new_uids if isinstance(new_uids, NewUids) else made.uids
        sending = Sending(Changes(made.values, made.removed, uids), associations=associations)
        with Given(objects) as given:
            answers = given.failed + self._run(self._store(given.paths, sending))
            return [given.told(answer) for answer in answers]

    async def _store(self, paths: list[Path], sending: Sending) -> list[Stored]:
        files, answers = await asyncio.to_thread(read_objects, paths)
        answers += [answer async for answer in self._remote.store(files, sending)]
        return answers

    def close(self) -> None:
        """Let go of the archive. A call that another thread waits for ends in a UsageError."""
        with self._lock:
            closed, self._closed = self._closed, True
        if not closed and self._thread.is_alive():
            try:
                asyncio.run_coroutine_threadsafe(self._let_go(), self._loop).result()
            finally:
                self._stop()

    async def _let_go(self) -> None:
        await _ended(self._calls)
        await self._opened.__aexit__(None, None, None)
        await _ended(asyncio.all_tasks() - {asyncio.current_task()})  # what closes generators that an error left
        await self._loop.shutdown_asyncgens()

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        with self._lock:
            if self._closed or not self._thread.is_alive():
                work.close()
                raise UsageError(
                    f"the archive was {'closed' if self._closed else 'opened before a fork: open another'}"
                )
            future = asyncio.run_coroutine_threadsafe(self._called(work), self._loop)
        try:
            return future.result()
        except CancelledError:
            raise UsageError("the archive was closed") from None
        except BaseException:
            future.cancel()
            raise

    async def _called(self, work: Coroutine[Any, Any, T]) -> T:
        call = asyncio.current_task()
        assert call is not None
        self._calls.add(call)
        try:
            return await work
        finally:
            self._calls.discard(call)

    def _stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


def _names(given: Iterable[str]) -> Iterable[str]:
    """Several, or one that stands alone."""
    return (given,) if isinstance(given, str) else given


async def _ended(tasks: Collection[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _warn(text: str) -> None:
    warnings.warn(text, stacklevel=2)
