"""Export: instances as Part 10 files into a folder or a zip file, every one checked against its digest on the way.

Files get ordinal names (`0001/0002/000003.dcm`: study, series, instance): no attribute value enters a path, and the
names work on any file system and in PS3.12 media. `index.csv` beside them says which UIDs they are. Nothing that exists
is overwritten. Deliberately not here: DICOMDIR, choosing what to export.
"""

from __future__ import annotations

import csv
import hashlib
import io
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple

from sagittal.archive.reading import read_pieces
from sagittal.archive.references import InstanceRef, OpenObject
from sagittal.errors import DamagedObject, SagittalError, UsageError, words_of

_COPY_BYTES = 1 << 20
_INDEX = "index.csv"
_COLUMNS = ("file", "study_instance_uid", "series_instance_uid", "sop_instance_uid", "sop_class_uid", "sha256")


class Exported(NamedTuple):
    """One instance: its file name below the target, or the reason why it is not there."""

    ref: InstanceRef
    name: str
    error: str = ""


def export_to(
    target: Path, open_object: Callable[[InstanceRef], OpenObject], refs: Sequence[InstanceRef]
) -> Iterator[Exported]:
    """Write `refs` into a zip file when the name of `target` ends in .zip, else into a folder. Blocks: for a thread."""
    return (export_zip if target.suffix.lower() == ".zip" else export_folder)(open_object, refs, target)


def export_folder(
    open_object: Callable[[InstanceRef], OpenObject], refs: Sequence[InstanceRef], folder: Path
) -> Iterator[Exported]:
    """Write `refs` below `folder`, which is made or must be empty. Blocks: for a thread."""
    folder.mkdir(parents=True, exist_ok=True)
    if next(folder.iterdir(), None) is not None:
        raise UsageError("the folder to export to is not empty")

    def write(name: str, ref: InstanceRef) -> str:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with _new(path) as file:
            return _copy(open_object, ref, file)

    with (folder / _INDEX).open("x", newline="", encoding="utf-8") as listing:
        yield from _exported(refs, listing, write, (SagittalError, OSError))


def export_zip(
    open_object: Callable[[InstanceRef], OpenObject], refs: Sequence[InstanceRef], target: Path
) -> Iterator[Exported]:
    """Write `refs` into a new zip file. Blocks: for a thread.

    A damaged object leaves a member that is cut short, and has no row in `index.csv`.
    """
    listing = io.StringIO(newline="")
    with (
        _new(target) as file,
        # Objects hardly deflate and mostly are compressed already: stored, so that nothing but the disk is busy.
        zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive,
    ):

        def write(name: str, ref: InstanceRef) -> str:
            with archive.open(name, "w", force_zip64=True) as member:
                return _copy(open_object, ref, member)

        yield from _exported(refs, listing, write, (SagittalError,))
        archive.writestr(_INDEX, listing.getvalue())


def _exported(
    refs: Iterable[InstanceRef],
    listing: IO[str],
    write: Callable[[str, InstanceRef], str],
    left_out: tuple[type[Exception], ...],
) -> Iterator[Exported]:
    """Have each instance written by `write`, which gives its digest, and listed: unless it fails with `left_out`."""
    rows = csv.writer(listing)
    rows.writerow(_COLUMNS)
    for name, ref in names_of(refs):
        try:
            digest = write(name, ref)
        except left_out as error:
            yield Exported(ref, "", words_of(error))
            continue
        rows.writerow((name, ref.study_uid, ref.series_uid, ref.sop_instance_uid, ref.sop_class_uid, digest))
        yield Exported(ref, name)


@contextmanager
def _new(path: Path) -> Iterator[IO[bytes]]:
    """A file that was not there, and is there no more unless it was written to its end."""
    with path.open("xb") as file:
        try:
            yield file
        except BaseException:
            path.unlink(missing_ok=True)
            raise


def names_of(refs: Iterable[InstanceRef]) -> Iterator[tuple[str, InstanceRef]]:
    """Ordinal names, in the order given; instances of one series may come in any order."""
    studies: dict[str | None, int] = {}
    series: dict[tuple[str | None, str | None], int] = {}
    in_study: dict[str | None, int] = {}
    in_series: dict[tuple[str | None, str | None], int] = {}
    for ref in refs:
        study = studies.setdefault(ref.study_uid, len(studies) + 1)
        key = (ref.study_uid, ref.series_uid)
        if key not in series:
            in_study[ref.study_uid] = series[key] = in_study.get(ref.study_uid, 0) + 1
        in_series[key] = number = in_series.get(key, 0) + 1
        yield f"{study:04d}/{series[key]:04d}/{number:06d}.dcm", ref


def _copy(open_object: Callable[[InstanceRef], OpenObject], ref: InstanceRef, to: IO[bytes]) -> str:
    digest = hashlib.sha256()
    with open_object(ref) as opened:
        stored = read_pieces(opened.fd, opened.length, opened.offset, _COPY_BYTES)
        for piece in opened.file(_COPY_BYTES) if ref.corrections else stored:
            digest.update(piece)
            to.write(piece)
    if digest.hexdigest() != ref.digest and not ref.corrections:  # with those it is another file than what was stored
        raise DamagedObject("the stored object differs from what was received")
    return digest.hexdigest()
