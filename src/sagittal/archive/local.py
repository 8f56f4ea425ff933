"""Objects as plain files: `staging/` receives, `objects/0001/<SHA-256>` keeps.

The current directory of objects rolls over at `directory_files_max`; the count is taken once at opening. A staging file
becomes an object by a rename on the same file system, so nothing half-written ever lies among the objects. A write or
sync that fails marks the volume unwell with a reason, and is not tried again: after a failed one the kernel may have
dropped the pages, so that another proves nothing. Only a probe write that goes through makes the volume well again.

Threads: staging files are made on the loop or a thread that syncs them; `place` and `delete` belong to whose turn it is
in `ingest.clerk`, and `adopt` to a thread that it waits for (so never is there a `delete` between an `adopt` and the
commit of the row that refers to it); reading is free to all.
"""

# Calls relative to an open directory, and no Path object per stored file:
# ruff: noqa: PTH116, PTH208
from __future__ import annotations

import errno
import os
import re
import secrets
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from sagittal.archive.faults import Faults
from sagittal.archive.reading import meaning
from sagittal.errors import DamagedObject, SagittalError, StorageUnavailable

_KEY = re.compile(r"[0-9]{4,9}/[0-9a-f]{64}\Z")
_DIRECTORY = re.compile(r"[0-9]{4,9}\Z")
_DIGEST = re.compile(r"[0-9a-f]{64}\Z")
_STAGED = re.compile(r"(?:[0-9a-f]{32}|probe-[0-9a-f]{16})\Z")
_CHECK_SECONDS = 1.0  # while nothing is known to be wrong
_PROBE_BYTES = 4096
_WELL_BYTES_MIN = 16 << 20  # free before what failed counts as well: a probe goes through where no object does
_HIDDEN = "another folder lies in the place of `objects`, as when a disk is mounted there"
_DIRECTORY_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class Staged:
    """A file in `staging/`, open for writing and reading under a random name."""

    __slots__ = ("fd", "name")

    def __init__(self, name: str, fd: int) -> None:
        self.name = name
        self.fd = fd

    def close(self) -> None:
        """Close the descriptor; the file stays."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


class LocalVolume:
    """The local volume of a data directory."""

    def __init__(
        self,
        path: Path,
        *,
        directory_files_max: int = 10_000,
        free_bytes_min: int = 0,
        durable: bool = True,
        faults: Faults | None = None,
    ) -> None:
        self.durable = durable
        self.faults = faults or Faults()
        self.reason: str | None = None
        self._directory_files_max = directory_files_max
        self._free_bytes_min = free_bytes_min
        self._checked = float("-inf")
        self._objects = path / "objects"
        self._staging = path / "staging"
        for directory in (self._objects, self._staging):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._objects_path = str(self._objects) + "/"
        self._staging_fd = os.open(self._staging, _DIRECTORY_FLAGS)
        self._objects_fd = os.open(self._objects, _DIRECTORY_FLAGS)
        self._directory_fds: dict[str, int] = {}
        self._current = max(self.directories(), key=int, default="")
        self._current_files = len(os.listdir(self._objects / self._current)) if self._current else 0

    def close(self) -> None:
        """Give the descriptors back."""
        for fd in (self._staging_fd, self._objects_fd, *self._directory_fds.values()):
            os.close(fd)
        self._directory_fds.clear()

    # Receiving

    def stage(self) -> Staged:
        """A new empty staging file; StorageUnavailable when the volume is unwell or nearly full."""
        self.check()
        name = secrets.token_hex(16)
        try:
            self.faults.hit("staging.create")
            fd = os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=self._staging_fd)
        except OSError as error:
            self._failed("a staging file cannot be made", error)
        return Staged(name, fd)

    def unnamed(self) -> int:
        """A file for a while that goes with its descriptor; StorageUnavailable as for `stage`."""
        staged = self.stage()
        try:
            os.unlink(staged.name, dir_fd=self._staging_fd)
        except OSError as error:
            staged.close()
            self._failed("a staging file cannot be removed", error)
        return staged.fd

    def write(self, staged: Staged, data: bytes | memoryview) -> None:
        """Append to a staging file; StorageUnavailable, and the volume unwell, when that fails."""
        try:
            self.faults.hit("staging.write")
            written = os.write(staged.fd, data)
            while written < len(data):
                written += os.write(staged.fd, memoryview(data)[written:])
        except OSError as error:
            self._failed("an object cannot be written", error)

    def discard(self, staged: Staged) -> None:
        """Forget a staging file, whatever its state."""
        staged.close()
        try:
            os.unlink(staged.name, dir_fd=self._staging_fd)
        except FileNotFoundError:
            return
        except OSError as error:
            self.unwell(f"a staging file cannot be removed: {error.strerror}")

    def clean_staging(self) -> int:
        """Remove what a process that died left in `staging/`; gives the number of files. What has other names than ours
        is somebody else's: any folder can be named as a data directory.
        """
        removed = 0
        for name in filter(_STAGED.match, os.listdir(self._staging_fd)):
            with suppress(IsADirectoryError):
                os.unlink(name, dir_fd=self._staging_fd)
                removed += 1
        return removed

    def has_room(self, number: int) -> bool:
        """Whether the current directory takes so many more files."""
        return bool(self._current) and self._current_files + number <= self._directory_files_max

    def place(self, digest: str) -> str:
        """The key that an object will get: in the current directory, which is made when the one before is full."""
        if not _DIGEST.match(digest):
            raise ValueError("not a SHA-256")
        try:
            if not self._current or self._current_files >= self._directory_files_max:
                self._roll_over()
        except OSError as error:
            self._failed("a directory of objects cannot be made", error)
        self._current_files += 1  # one too many after a repair or a failure: the directory rolls over a little early
        return f"{self._current}/{digest}"

    def adopt(self, staged: Staged, key: str) -> None:
        """Rename a staging file to the key that `place` gave. Durable only after `sync_directory`."""
        directory, _, name = key.partition("/")
        try:
            self.faults.hit("object.rename")
            os.rename(staged.name, name, src_dir_fd=self._staging_fd, dst_dir_fd=self._directory_fd(directory))
        except OSError as error:
            self._failed("an object cannot be given its name", error)

    def sync_file(self, fd: int) -> None:
        """fdatasync; a failure makes the volume unwell and is StorageUnavailable."""
        try:
            self.faults.hit("file.sync")
            if self.durable:
                os.fdatasync(fd)
        except OSError as error:
            self._failed("an object cannot be synced", error)

    def sync_directory(self, directory: str) -> None:
        """fsync of one directory of objects (the part of a key before the slash)."""
        try:
            self.faults.hit("directory.sync")
            if self.durable:
                os.fsync(self._directory_fd(directory))
            if self._is_hidden():
                raise OSError(errno.ESTALE, _HIDDEN)
        except OSError as error:
            self._failed("a directory of objects cannot be synced", error)

    def _roll_over(self) -> None:
        self.faults.hit("directory.create")
        name = f"{int(self._current or 0) + 1:04d}"
        os.mkdir(name, 0o700, dir_fd=self._objects_fd)
        if self.durable:
            os.fsync(self._objects_fd)
        self._current, self._current_files = name, 0

    def _directory_fd(self, name: str) -> int:
        fd = self._directory_fds.get(name)
        if fd is None:
            while len(self._directory_fds) >= 8:  # the current one and a few that repairs touch
                os.close(self._directory_fds.pop(next(iter(self._directory_fds))))
            fd = self._directory_fds[name] = os.open(name, _DIRECTORY_FLAGS, dir_fd=self._objects_fd)
        return fd

    # Reading

    def open(self, key: str) -> int:
        """A descriptor for reading (close-on-exec; the caller closes it).

        DamagedObject when the object is missing or can't be read; StorageUnavailable when all are, as of a disk that is
        not mounted any more.
        """
        try:
            # What is there may be a pipe: nobody waits for one who writes to it.
            return os.open(self._path(key), os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except FileNotFoundError:
            raise self._missing() from None
        except OSError as error:
            raise meaning(error) from None

    def size(self, key: str) -> int:
        """Bytes of the object; DamagedObject when it is missing or can't be reached."""
        try:
            return os.stat(self._path(key)).st_size
        except FileNotFoundError:
            raise self._missing() from None
        except OSError as error:
            raise meaning(error) from None

    def link(self, key: str, target: Path) -> None:
        """Give the object a second name on the same file system."""
        try:
            os.link(self._path(key), target)
        except FileNotFoundError:
            raise self._missing() from None

    def written_at(self, key: str) -> int | None:
        """When the object was written, in nanoseconds; None when it is not there."""
        try:
            return os.stat(self._path(key)).st_mtime_ns
        except FileNotFoundError:
            return None

    def has(self, key: str) -> bool:
        """Whether something is there under this key, readable or not."""
        return _KEY.match(key) is not None and os.path.lexists(self._objects_path + key)

    def delete(self, key: str) -> None:
        """Remove the object; one that is not there is no error. Committer thread only."""
        try:
            self.faults.hit("object.delete")
            os.unlink(_checked(key), dir_fd=self._objects_fd)
        except FileNotFoundError:
            return
        except OSError as error:
            self._failed("an object cannot be removed", error)

    def keys(self) -> Iterator[str]:
        """Every key, directory by directory; names that are not ours are left out (`strangers` lists them)."""
        for directory in self.directories():
            yield from self.keys_in(directory)

    def keys_in(self, directory: str) -> Iterator[str]:
        """The keys in one directory of objects."""
        for name in sorted(os.listdir(self._objects / directory)):
            if _DIGEST.match(name):
                yield f"{directory}/{name}"

    def strangers(self) -> Iterator[str]:
        """Names below `objects/` that are no objects of ours."""
        for name in sorted(os.listdir(self._objects)):
            if not _DIRECTORY.match(name):
                yield name
                continue
            for inner in sorted(os.listdir(self._objects / name)):
                if not _DIGEST.match(inner):
                    yield f"{name}/{inner}"

    def directories(self) -> list[str]:
        """The directories of objects in the order they were made; the last is the current one."""
        return sorted((name for name in os.listdir(self._objects) if _DIRECTORY.match(name)), key=int)

    def check_directory_of(self, key: str) -> None:
        """StorageUnavailable unless the directory is there in which the index has an object: directories are never
        removed, and what is there instead may be the folder that a disk is mounted over.
        """
        directory = key.partition("/")[0]
        if directory not in self.directories():
            raise StorageUnavailable(
                f"the index has objects in {self._objects / directory}, which is not there: mount the disk that they "
                "are on, or make an empty folder of this name to go on without them"
            )

    def _missing(self) -> SagittalError:
        return StorageUnavailable(_HIDDEN) if self._is_hidden() else DamagedObject("the stored object is missing")

    def _path(self, key: str) -> str:
        return self._objects_path + _checked(key)

    # Health

    def check(self) -> None:
        """StorageUnavailable while there is a `trouble`."""
        now = time.monotonic()
        if self.reason is not None or now - self._checked > _CHECK_SECONDS:
            if (trouble := self.trouble()) is not None:
                raise StorageUnavailable(trouble)
            self._checked = now

    def trouble(self) -> str | None:
        """Why nothing can be stored at the moment, as far as that can be told without writing."""
        return self.reason or self._trouble()

    def remaining(self) -> str | None:
        """Why what failed here is not well yet, though a small write goes through; None when it is."""
        return self._trouble(_WELL_BYTES_MIN)

    def _trouble(self, free_bytes_min: int = 0) -> str | None:
        if self._is_hidden():
            return _HIDDEN
        least = max(free_bytes_min, self._free_bytes_min)
        return "the volume is nearly full" if self.free_bytes() < least else None

    def _is_hidden(self) -> bool:
        """Whether another folder lies where ours did: what is stored now would not be found after a restart."""
        try:
            return not os.path.samestat(os.stat(self._objects), os.fstat(self._objects_fd))
        except OSError:
            return True

    def free_bytes(self) -> int:
        """What an unprivileged process may still write."""
        state = os.fstatvfs(self._objects_fd)
        return state.f_bavail * state.f_frsize

    def unwell(self, reason: str) -> None:
        """Refuse from now on, for `reason`, until a probe goes through."""
        self.reason = reason

    def probe(self) -> str | None:
        """Write, sync and remove a small file, and ask whether it could be an object; gives the reason the volume is
        unwell, or None when it is well (again).
        """
        name = "probe-" + secrets.token_hex(8)
        try:
            self.faults.hit("probe")
            fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=self._staging_fd)
            try:
                os.write(fd, bytes(_PROBE_BYTES))
                os.fdatasync(fd)
            finally:
                os.close(fd)
                os.unlink(name, dir_fd=self._staging_fd)
            self._check_one_file_system(name)
            os.fsync(self._objects_fd)
            self.reason = self.remaining() if self.reason else self._trouble()
        except OSError as error:
            self.reason = f"the probe write failed: {error.strerror}"
        return self.reason

    def _check_one_file_system(self, name: str) -> None:
        """OSError where no object could get its name, as with a disk mounted over `objects` alone. The system tells
        that before it looks for `name`, which is gone.
        """
        try:
            os.rename(name, name, src_dir_fd=self._staging_fd, dst_dir_fd=self._objects_fd)
        except FileNotFoundError:
            return
        except OSError as error:
            if error.errno == errno.EXDEV:
                raise OSError(errno.EXDEV, "objects and staging have to be on one file system") from None
            raise

    def _failed(self, what: str, error: OSError) -> NoReturn:
        self.unwell(f"{what}: {error.strerror}")
        raise StorageUnavailable(f"{what}: {error.strerror}") from error


def sync(path: Path) -> None:
    """A file or directory, with what was written to it, is on stable storage. OSError."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _checked(key: str) -> str:
    if not _KEY.match(key):  # keys come from the index only; a damaged index must not open other files
        raise DamagedObject("the index names no object")
    return key
