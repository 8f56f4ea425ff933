"""What lies below a folder, in the order of names: what commands and programs are given to read; names for new files,
and bytes of open ones.

Links to folders are not followed, and data directories of Sagittal not gone into: whoever opens the index of an archive
that this very process has open, and closes it, lets go of the locks that SQLite holds on it (they are the process's,
not the descriptor's), and then any other process may remove what was committed last. Deliberately not here: what the
files are.
"""

# Questions are answered where Path's would raise (before Python 3.14), as below a folder that may not be searched:
# ruff: noqa: PTH110, PTH112, PTH113, PTH114
from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, NamedTuple

_INDEX, _LOCK, _OBJECTS = "index.db", "lock", "objects"


def files_below(folder: Path) -> Iterator[Path]:
    """Every file below `folder`, and every folder that was not gone into: `why_not_entered` says why.

    Of a data directory that is given itself its objects.
    """
    unlisted: list[Path] = []
    if is_data_directory(folder):
        folder /= _OBJECTS
    for name, folders, files in os.walk(folder, onerror=lambda error: unlisted.append(Path(error.filename))):
        top = Path(name)
        if _OBJECTS in folders and _INDEX in files and is_data_directory(top):
            folders.clear()
            yield top
            continue
        folders.sort()
        yield from (top / name for name in sorted(files))
        yield from (path for name in folders if os.path.islink(path := top / name))
        yield from unlisted
        unlisted.clear()
    yield from unlisted


def why_not_entered(folder: Path) -> str | OSError:
    """Why `files_below` gave a folder instead of its files: the reason, or the error when it can't be listed."""
    if os.path.islink(folder):
        return "a link to a folder, which is not followed; name it to have it read"
    if is_data_directory(folder):
        return "a data directory of Sagittal, which is not gone into; name it to have its objects read"
    try:
        next(folder.iterdir(), None)
    except OSError as error:
        return error
    return OSError("the folder could not be listed")


def is_folder(path: Path) -> bool:
    """Whether `path` is a folder, or a link to one."""
    return os.path.isdir(path)


def is_special(path: Path) -> bool:
    """Whether `path` is there and no file: a folder, pipe, socket or device."""
    return os.path.exists(path) and not os.path.isfile(path)


def is_data_directory(folder: Path) -> bool:
    """Whether an archive keeps its index and its objects here."""
    return all(os.path.exists(folder / name) for name in (_INDEX, _LOCK, _OBJECTS))


def holds_something_else(folder: Path) -> bool:
    """Whether files are here, and none of an archive: they would be hidden from commands if it became one's folder."""
    names = {path.name for path in folder.iterdir()} - {"lost+found"} if os.path.isdir(folder) else set()
    return names.isdisjoint((_INDEX, _LOCK, _OBJECTS)) and any(not name.startswith(".") for name in names)


def is_of_an_index(file: Path) -> bool:
    """Whether a file is the index of a data directory, or one that SQLite has beside it: nobody else may open these."""
    return file.name.startswith(_INDEX) and is_data_directory(file.parent)


def pieces_of(fd: int, offset: int, length: int, piece_bytes: int) -> Iterator[bytes]:
    """`length` bytes of an open file from `offset` on, or as many as there are."""
    end = offset + length
    while offset < end and (data := os.pread(fd, min(piece_bytes, end - offset), offset)):
        yield data
        offset += len(data)


def read_in_pieces(path: Path, piece_bytes: int) -> Iterator[bytes]:
    """All of a file, which is opened for the first piece."""
    with path.open("rb") as file:
        while data := file.read(piece_bytes):
            yield data


def beside(path: Path) -> Path:
    """A new name in the folder of `path`, for a file that takes the place of `path` when it is whole."""
    return path.with_name(f".{secrets.token_hex(16)}.part")


class Unfinished(NamedTuple):
    """A new file, open, beside the place that it is to take."""

    file: BinaryIO
    path: Path
    where: Path

    def move(self) -> None:
        """Put it in its place. What is replaced may have no other copy: so the new one is on the disk first."""
        self.file.flush()
        if self.where.exists():
            os.fsync(self.file.fileno())
        self.path.replace(self.where)


@contextmanager
def unfinished(where: Path) -> Iterator[Unfinished]:
    """A file that is to become `where`, with the permissions of what is there. Unless moved, it goes in the end."""
    where = where.resolve()  # through a link
    path = beside(where)
    try:
        with path.open("xb+") as file:
            with suppress(FileNotFoundError):
                os.fchmod(file.fileno(), stat.S_IMODE(where.stat().st_mode))
            yield Unfinished(file, path, where)
    finally:
        path.unlink(missing_ok=True)


@contextmanager
def whole(path: Path) -> Iterator[BinaryIO]:
    """A file to write: it takes the place of `path` when the block ends, and is removed if the block fails.

    What is there and no file, as /dev/stdout, is written to itself.
    """
    if is_special(path):
        with path.open("wb") as file:
            yield file
        return
    with unfinished(path) as made:
        yield made.file
        made.move()
