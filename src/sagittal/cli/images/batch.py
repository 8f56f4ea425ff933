"""Files worked on by worker processes, one or some a call: where results go, what is told of each, how many failed."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import click

from sagittal.cli.output import Failures, progress, result, run, say
from sagittal.client.storing.files import walk, why_unlisted
from sagittal.errors import Malformed, NotAcceptable, SagittalError, UsageError
from sagittal.folders import Unfinished, is_special, unfinished
from sagittal.limits import WorkerLimits
from sagittal.workers.pool import Pool
from sagittal.workers.worker import Input

_SECONDS_MAX = 3600.0  # of one file: a person waits, and may end it
_AT_ONCE = 8  # files of one request to a worker, which costs about a millisecond of waiting
_SHARES = 2  # of what is left a worker gets no more at once than one of so many for each, so that all end together


_JOBS = "Worker processes; default: one a processor."
jobs_option = click.option("--jobs", type=click.IntRange(1, 256), help=_JOBS)


class Place(NamedTuple):
    """A file, and where its result goes."""

    path: Path
    where: Path


class Told(NamedTuple):
    """What a result says: its JSON members, and a line for a person ("": none)."""

    row: dict[str, Any]
    text: str


Outcome = Sequence[Told] | Exception  # what is told of a file (of some nothing, of some several), or why it failed
Act = Callable[[Pool, Place], Awaitable[Sequence[Told]]]
ActOnSome = Callable[[Pool, Sequence[Place]], Awaitable[Sequence[Outcome]]]


def places(paths: Sequence[Path], output: Path | None, *, ended: bool = False) -> list[Place]:
    """Every file and where it goes; folders keep their shape. None: in its own place.

    UsageError when a result would take the place of another one, or of a source (not when it is `ended`: its name is
    longer than the source's).
    """
    if output is None:
        return [Place(path, path) for path in walk(paths)]
    several = is_several(paths, output)
    found = []
    for root in paths:
        top = root if root.is_dir() else root.parent
        found += [Place(path, output / path.relative_to(top) if several else output) for path in walk([root])]
    _check_apart(found, set() if ended else {*_real(place.path for place in found)})
    return found


def _check_apart(work: Sequence[Place], sources: Collection[str]) -> None:
    results: dict[str, Path] = {}
    for place, where in zip(work, _real(place.where for place in work), strict=True):
        if where in sources:
            raise UsageError(f"{place.where} is one of the sources, and would be replaced: choose another --output")
        if where in results:
            raise UsageError(f"{results[where]} and {place.path} would both become {place.where}")
        results[where] = place.path


def _real(paths: Iterable[Path]) -> Iterator[str]:
    """Where files are whatever links lead there; each folder is looked at once."""
    folders: dict[Path, str] = {}
    for path in paths:
        folder = folders.get(path.parent) or folders.setdefault(path.parent, os.path.realpath(path.parent))
        is_link = os.path.islink(path)  # noqa: PTH114 - answers for a path that is too long, too
        yield os.path.realpath(path) if is_link else f"{folder}/{path.name}"


def is_several(paths: Sequence[Path], output: Path) -> bool:
    """Whether results go into a folder, or one of them where `output` says."""
    return len(paths) > 1 or paths[0].is_dir() or output.is_dir()


def each(work: Sequence[Place], act: Act, *, word: str, modules: Sequence[str], jobs: int | None, as_json: bool) -> int:
    """Do `act` for every file and tell what came of it; gives the exit status."""

    async def alone(pool: Pool, some: Sequence[Place]) -> list[Outcome]:
        try:
            return [await act(pool, some[0])]
        except (SagittalError, OSError) as error:
            return [error]

    jobs = jobs or os.cpu_count() or 1
    return run(_each([[place] for place in work], alone, word, modules, jobs, jobs, as_json))


def some_at_once(
    work: Sequence[Place], act: ActOnSome, *, word: str, modules: Sequence[str], jobs: int | None, as_json: bool
) -> int:
    """As `each`, for an act that a worker does for several files in one request."""

    async def whole(pool: Pool, some: Sequence[Place]) -> list[Outcome]:
        try:
            return list(await act(pool, some))
        except (SagittalError, OSError) as error:
            if len(some) == 1:
                return [error]
        # A worker was lost, which is the fault of one of them.
        return [outcome for place in some for outcome in await whole(pool, [place])]

    jobs = jobs or os.cpu_count() or 1
    # While a worker is at some files, the next ones are opened.
    return run(_each(_groups(work, jobs), whole, word, modules, jobs, 2 * jobs, as_json))


def _groups(work: Sequence[Place], jobs: int) -> list[Sequence[Place]]:
    """The files of each request, fewer towards the end."""
    found: list[Sequence[Place]] = []
    at = 0
    while at < len(work):
        size = max(1, min(_AT_ONCE, (len(work) - at) // (_SHARES * jobs)))
        found.append(work[at : at + size])
        at += size
    return found


async def _each(
    groups: Sequence[Sequence[Place]], act: ActOnSome, word: str, modules: Sequence[str], jobs: int, ahead: int,
    as_json: bool,
) -> int:  # fmt: skip
    if not groups:
        say("no files are there")
    pool, failures = Pool(WorkerLimits(workers=jobs, seconds_max=_SECONDS_MAX), modules), Failures(as_json)
    waiting = iter(groups)
    with progress(word, sum(map(len, groups)), quiet=as_json) as advance:

        async def one() -> None:
            for some in waiting:
                for place, outcome in zip(some, await act(pool, some), strict=True):
                    if isinstance(outcome, Exception):
                        failures.add(place.path, outcome)
                    else:
                        _tell(place, outcome, as_json)
                    advance(1)

        await asyncio.gather(*(one() for _ in range(ahead)))
    await pool.close()
    return failures.status


def _tell(place: Place, outcome: Sequence[Told], as_json: bool) -> None:
    for told in outcome:
        if as_json or told.text:
            result(as_json, {"file": str(place.path), **told.row}, told.text)


def opened(path: Path, stack: ExitStack) -> Input:
    """The bytes of a file, for as long as the stack is open. OSError for a folder that could not be listed; Malformed
    for what is no file: a pipe may never be written to, and to wait for that would keep all else waiting, Ctrl-C too.
    """
    if unlisted := why_unlisted(path):
        raise unlisted
    if is_special(path):
        raise Malformed("not-dicom", "not a regular file")
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    stack.callback(os.close, fd)
    return Input(fd, 0, os.fstat(fd).st_size)


def _unfinished(where: Path, stack: ExitStack) -> Unfinished:
    if is_special(where):
        raise NotAcceptable(f"{where} is there, and is no file")
    return stack.enter_context(unfinished(where))


async def rewritten(pool: Pool, place: Place, call: str, **arguments: Any) -> dict[str, Any]:
    """A worker's call from one file into another, which is there when it is whole. Told `kept`: nothing is written."""
    with _besides([place]) as (inputs, (made,)):
        told = dict((await pool.run(call, inputs, **arguments)).told)
        if not told.get("kept"):
            made.move()
    return told


async def some_rewritten(
    pool: Pool, some: Sequence[Place], call: str, **arguments: Any
) -> list[dict[str, Any] | Exception]:
    """As `rewritten`, in one request; the call tells its `files`, or why one `failed`."""
    with _besides(some) as (inputs, besides):
        told = (await pool.run(call, inputs, **arguments)).told["files"]
        await asyncio.sleep(0)  # the worker gets the next ones, which wait for it, before these are finished
        return [_kept(*each) for each in zip(told, besides, strict=True)]


def _kept(told: dict[str, Any], made: Unfinished) -> dict[str, Any] | Exception:
    if "failed" in told:
        return SagittalError(told["failed"])
    try:
        made.move()
    except OSError as error:
        return error
    return told


@contextmanager
def _besides(some: Sequence[Place]) -> Iterator[tuple[list[Input], list[Unfinished]]]:
    """Files and those that are to be their results, open: as inputs, each source before its result, and the results."""
    inputs: list[Input] = []
    besides: list[Unfinished] = []
    for folder in {place.where.parent for place in some}:
        folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        for place in some:
            besides.append(_unfinished(place.where, stack))
            inputs += opened(place.path, stack), Input(besides[-1].file.fileno(), 0, 0)
        yield inputs, besides
