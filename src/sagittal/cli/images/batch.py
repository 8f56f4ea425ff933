"""Files worked on by worker processes, one call a file: where results go, what is told of each, how many failed."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

from sagittal.cli.output import progress, result, run, say
from sagittal.client.storing.files import walk
from sagittal.errors import SagittalError
from sagittal.limits import WorkerLimits
from sagittal.workers.pool import Pool
from sagittal.workers.worker import Input

_SECONDS_MAX = 3600.0  # of one file: a person waits, and may end it


class Place(NamedTuple):
    """A file, and where its result goes."""

    path: Path
    where: Path


class Told(NamedTuple):
    """What a result says: its JSON members, and a line for a person ("": none)."""

    row: dict[str, Any]
    text: str


Act = Callable[[Pool, Place], Awaitable[Sequence[Told]]]  # what is told of a file; of some nothing, of some several


def places(paths: Sequence[Path], output: Path | None) -> list[Place]:
    """Every file and where it goes; folders keep their shape. None: in its own place."""
    if output is None:
        return [Place(path, path) for path in walk(paths)]
    several = is_several(paths, output)
    found = []
    for root in paths:
        for path in walk([root]):
            inside = path.relative_to(root) if root.is_dir() else Path(path.name)
            found.append(Place(path, output / inside if several else output))
    return found


def is_several(paths: Sequence[Path], output: Path) -> bool:
    """Whether results go into a folder, or one of them where `output` says."""
    return len(paths) > 1 or paths[0].is_dir() or output.is_dir()


def each(work: Sequence[Place], act: Act, *, word: str, modules: Sequence[str], jobs: int, as_json: bool) -> int:
    """Do `act` for every file and tell what came of it; gives how many failed."""
    return run(_each(work, act, word, modules, jobs or os.cpu_count() or 1, as_json))


async def _each(work: Sequence[Place], act: Act, word: str, modules: Sequence[str], jobs: int, as_json: bool) -> int:
    pool, failed = Pool(WorkerLimits(workers=jobs, seconds_max=_SECONDS_MAX), modules), 0
    waiting: Iterator[Place] = iter(work)
    with progress(word, len(work), quiet=as_json) as advance:

        async def one() -> None:
            nonlocal failed
            for place in waiting:
                try:
                    for told in await act(pool, place):
                        if as_json or told.text:
                            result(as_json, {"file": str(place.path), **told.row}, told.text)
                except (SagittalError, OSError) as error:
                    failed += 1
                    row = {"file": str(place.path), "error": str(error)}
                    result(as_json, row) if as_json else say(f"{place.path}: {error}")
                advance(1)

        await asyncio.gather(*(one() for _ in range(jobs)))
    await pool.close()
    return failed


def opened(path: Path, stack: ExitStack) -> Input:
    """The bytes of a file, for as long as the stack is open."""
    file = stack.enter_context(path.open("rb"))
    return Input(file.fileno(), 0, os.fstat(file.fileno()).st_size)


async def rewritten(pool: Pool, place: Place, call: str, **arguments: Any) -> dict[str, Any]:
    """A worker's call from one file into another, which is there when it is whole. Told `kept`: nothing is written."""
    place.where.parent.mkdir(parents=True, exist_ok=True)
    beside = place.where.with_name(place.where.name + ".part")
    try:
        with ExitStack() as stack:
            source = opened(place.path, stack)
            target = stack.enter_context(beside.open("w+b"))
            told = dict((await pool.run(call, [source, Input(target.fileno(), 0, 0)], **arguments)).told)
        if not told.get("kept"):
            beside.replace(place.where)
    finally:
        beside.unlink(missing_ok=True)
    return told
