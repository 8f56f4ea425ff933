"""Connections to the index: one for the writer, a few for readers on their own threads.

WAL, so that readers never wait for the writer; synchronous=FULL, so that a commit survives a power cut (with NORMAL the
last commits may be lost). Deliberately not here: who may write (`ingest.committer` only).
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import sqlite3
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic, sleep
from typing import Any, TypeVar, TypeVarTuple

from sagittal.errors import StorageUnavailable, UsageError

T = TypeVar("T")
Ts = TypeVarTuple("Ts")
log = logging.getLogger("sagittal.archive")

_CHECKPOINT_PAGES = 4_000  # 16 MB: one object commits about 15 pages, and a checkpoint costs two syncs
_ALONE = "?vfs=unix-excl"  # what connections share of the log is no file then; all of a process use it with the first
_RESTING = "?immutable=1"  # until the process ends
_RECENT = 256  # small results that `recall` remembers
_BUSY_MILLISECONDS = 2_000  # somebody else (a backup, a person with a shell) holds the lock
_LOOK_SECONDS = 0.01  # how often whether they still do

# Primary result codes that are the database's or the disk's fault, not the statement's.
_FAILURES = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_NOTADB,
    }
)
_NOT_SHARED = frozenset({sqlite3.SQLITE_IOERR_SHMSIZE, sqlite3.SQLITE_IOERR_SHMOPEN})  # no room for `index.db-shm`
TAKES_NOTHING = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS})  # of a disk that is full or may only be read
_DAMAGES = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_UNREADABLE = frozenset({sqlite3.SQLITE_IOERR_READ, sqlite3.SQLITE_IOERR_SHORT_READ})  # blocks that the disk has lost
_OURS = (
    "; it and `index.db-wal` and `index.db-shm` beside it must be ours to make and to write, on a disk that has room"
)
_ADVICE = {
    **dict.fromkeys(_DAMAGES, "; `sagittal reindex` makes a new one from the objects"),
    **dict.fromkeys((sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY), _OURS),
}


def check_path(folder: Path) -> None:
    """UsageError for a folder that no index can be in: SQLite takes UTF-8 only."""
    try:
        os.path.realpath(folder).encode()
    except UnicodeEncodeError:
        raise UsageError(f"the path of an index has to be UTF-8, which {str(folder)!r} is not") from None


def make(path: Path) -> None:
    """Make an empty file for an index, unless there is one. Only we may read it, unlike one that SQLite makes.

    A file that is there is not opened, since that would take SQLite's locks off it (`sagittal.folders`).
    """
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))


def has_log(path: Path) -> bool:
    """Whether an index was left without being closed, which takes the log away; to be asked before it is opened."""
    index = path.resolve()  # SQLite's files lie beside what a link leads to
    return index.with_name(f"{index.name}-wal").exists()


def open_writer(path: Path, *, durable: bool = True) -> sqlite3.Connection:
    """The writing connection. Transactions are opened and ended by hand (BEGIN IMMEDIATE … COMMIT)."""
    make(path)
    if _rests(path):
        log.warning("the disk takes nothing: the index can only be read")
    pragmas = (
        "journal_mode=WAL",
        f"synchronous={'FULL' if durable else 'OFF'}",
        f"wal_autocheckpoint={_CHECKPOINT_PAGES}",
        "cache_size=-32768",
        "temp_store=MEMORY",
    )
    try:
        return _connect(path, *pragmas)
    except sqlite3.OperationalError as error:
        if _code(error) not in _NOT_SHARED:
            raise
    log.warning("the disk is full: until the next start no other process can read the index")
    return _connect(path, *pragmas, options=_ALONE)


def open_reader(path: Path) -> sqlite3.Connection:
    """A connection that cannot write."""
    return _connect(path, "query_only=ON", "cache_size=-16384")


def file_of(connection: sqlite3.Connection) -> Path:
    """The file that a connection was opened on."""
    _, _, name = connection.execute("PRAGMA database_list").fetchone()
    return Path(name)


def settle(connection: sqlite3.Connection) -> None:
    """Bring what is in the log of an index into it."""
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def failure(error: Exception) -> StorageUnavailable | None:
    """An error of SQLite that is not the statement's, as one of ours; None for all others."""
    if (code := _code(error) & 0xFF) not in _FAILURES:
        return None
    return StorageUnavailable(f"the index cannot be used: {error}{_ADVICE.get(code, '')}")


def is_damage(error: Exception) -> bool:
    """Whether the file itself is damaged, which does not go away again."""
    return _code(error) & 0xFF in _DAMAGES


def is_of_the_moment(error: Exception) -> bool:
    """Whether the index may be whole all the same: we may not open it, somebody holds it, the disk is full."""
    return _code(error) & 0xFF in _FAILURES - _DAMAGES and _code(error) not in _UNREADABLE


def _code(error: Exception) -> int:
    """SQLite's extended result code; 0 of an error that is not SQLite's."""
    return getattr(error, "sqlite_errorcode", 0)


def is_read_only(error: Exception) -> bool:
    """Whether the connection writes nothing, as it was made where nothing could be written, whatever can be now."""
    return _code(error) & 0xFF == sqlite3.SQLITE_READONLY


def is_busy(error: Exception) -> bool:
    """Whether somebody else holds the lock."""
    return _code(error) & 0xFF == sqlite3.SQLITE_BUSY


def begin(connection: sqlite3.Connection, *, patient: bool) -> None:
    """Open a transaction that writes. If `patient`, a lock of somebody else is waited for; if not, it is an error at
    once, provided that the connection is to `wait_for_nobody`.
    """
    until = monotonic() + _BUSY_MILLISECONDS / 1000
    while True:
        try:
            connection.execute("BEGIN IMMEDIATE")
            return
        except sqlite3.OperationalError as error:
            if not (patient and is_busy(error) and monotonic() < until):
                raise
        sleep(_LOOK_SECONDS)


def wait_for_nobody(connection: sqlite3.Connection) -> None:
    """From now on a lock of somebody else is an error at once: see `begin`."""
    connection.execute("PRAGMA busy_timeout=0")


def wait_for_others(connection: sqlite3.Connection) -> None:
    """From now on, as at first, a lock of somebody else is waited for."""
    connection.execute(f"PRAGMA busy_timeout={_BUSY_MILLISECONDS}")


def _rests(path: Path) -> bool:
    """Whether an index that was closed lies where no log can be made: SQLite reads it if it is told so, and only so."""
    if has_log(path):
        return False
    trial = path.resolve().with_name(f"{path.name}-new")  # whether there is room for an inode, no figure tells on XFS
    try:
        os.close(os.open(trial, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except OSError as error:
        return error.errno in TAKES_NOTHING
    trial.unlink(missing_ok=True)
    return False


def _connect(path: Path, *pragmas: str, options: str = "") -> sqlite3.Connection:
    options = options or (_RESTING if _rests(path) else "")
    where = f"{path.resolve().as_uri()}{options}" if options else path
    connection = sqlite3.connect(
        where, isolation_level=None, check_same_thread=False, cached_statements=256, uri=bool(options)
    )
    with closed_unless_done(connection):
        wait_for_others(connection)
        for pragma in pragmas:
            connection.execute(f"PRAGMA {pragma}")
    return connection


@contextmanager
def closed_unless_done(connection: sqlite3.Connection) -> Iterator[None]:
    """What fails while an index is opened lets go of its file, too."""
    try:
        yield
    except BaseException:
        connection.close()
        raise


class Readers:
    """A few threads with a reading connection each: for indexed queries under a row budget, nothing long."""

    def __init__(self, path: Path, threads: int) -> None:
        self._path = path
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="index-reader")
        self._pieces = asyncio.Semaphore(max(1, threads - 1))
        self._local = threading.local()
        self._recent: OrderedDict[Hashable, Any] = OrderedDict()
        self.commits = 0
        self.damage: str | None = None  # what was met; stays as long as the index is open
        self._connections: list[sqlite3.Connection] = []

    async def run(self, act: Callable[[sqlite3.Connection, *Ts], T], *arguments: *Ts) -> T:
        """`act(connection, *arguments)` on a reader thread; whatever it reads is of one moment."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._act, act, *arguments)

    async def rows(self, kind: Callable[..., T], statement: str, values: Sequence[object] = ()) -> list[T]:
        """The rows of a statement, each as a `kind`."""

        def select(connection: sqlite3.Connection) -> list[T]:
            return [kind(*row) for row in connection.execute(statement, values)]

        return await self.run(select)

    async def piece(self, act: Callable[[sqlite3.Connection, *Ts], T], *arguments: *Ts) -> T:
        """As `run`, for a piece of a long read: those of however many reads leave a thread to what is short."""
        async with self._pieces:
            return await self.run(act, *arguments)

    async def recall(
        self, key: Hashable, act: Callable[[sqlite3.Connection], T], small: Callable[[T], bool] = lambda _: True
    ) -> T:
        """What `act` gave for `key` the last time, if nothing was committed since; else as `run`. For what is asked
        again and again, as an object is whose frames are fetched one by one; only what is `small` is remembered.
        """
        if key in self._recent:
            self._recent.move_to_end(key)
            found: T = self._recent[key]
            return found
        commits = self.commits
        found = await self.run(act)
        if commits == self.commits and small(found):  # what was read before a commit may be old
            self._recent[key] = found
            if len(self._recent) > _RECENT:
                self._recent.popitem(last=False)
        return found

    def forget(self) -> None:
        """Something was committed; called on the loop before the writer is answered."""
        self.commits += 1
        self._recent.clear()

    def _act(self, act: Callable[[sqlite3.Connection, *Ts], T], *arguments: *Ts) -> T:
        try:
            connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
            if connection is None:
                connection = self._local.connection = open_reader(self._path)
                self._connections.append(connection)
            return _at_one_moment(connection, act, *arguments)
        except sqlite3.Error as error:
            if (told := failure(error)) is None:
                raise
            if is_damage(error) and self.damage is None:
                self.damage = told.text
                log.error("%s", told.text)
            raise told from error

    def close(self) -> None:
        """Wait for running reads, then close."""
        self._threads.shutdown(wait=True, cancel_futures=True)
        for connection in self._connections:
            connection.close()
        self._connections.clear()


def _at_one_moment(connection: sqlite3.Connection, act: Callable[[sqlite3.Connection, *Ts], T], *arguments: *Ts) -> T:
    """Its statements see one state of the index, whatever is committed between them."""
    connection.execute("BEGIN")
    try:
        return act(connection, *arguments)
    finally:
        if connection.in_transaction:  # an error of the disk has ended it
            connection.execute("ROLLBACK")
