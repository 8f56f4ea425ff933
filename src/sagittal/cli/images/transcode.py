"""`sagittal transcode`: DICOM files in another transfer syntax.

Files are transcoded by worker processes; each result is written beside its place and moved there when it is whole.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from sagittal.cli.output import json_option, progress, result, run, say
from sagittal.client.storing.files import walk
from sagittal.dicom.syntaxes import SYNTAXES
from sagittal.errors import SagittalError, UsageError
from sagittal.limits import WorkerLimits
from sagittal.uid import new_uid
from sagittal.workers.pool import Pool
from sagittal.workers.worker import Input

_P = "1.2.840.10008.1.2"
# What people call them: dcm2dcm's and DCMTK's words.
NAMES = {
    "implicit": _P, "explicit": _P + ".1", "big-endian": _P + ".2", "deflated": _P + ".1.99",
    "deflated-frame": _P + ".8.1", "rle": _P + ".5", "jpeg": _P + ".4.50", "jpeg-extended": _P + ".4.51",
    "jpeg-lossless": _P + ".4.70", "jpeg-lossless-p14": _P + ".4.57", "jpeg-ls": _P + ".4.80",
    "jpeg-ls-near": _P + ".4.81", "jpeg2000": _P + ".4.90", "jpeg2000-lossy": _P + ".4.91", "htj2k": _P + ".4.201",
    "htj2k-rpcl": _P + ".4.202", "htj2k-lossy": _P + ".4.203", "jpeg-xl": _P + ".4.110",
    "jpeg-xl-jpeg": _P + ".4.111", "jpeg-xl-lossy": _P + ".4.112", "mpeg2": _P + ".4.100", "mpeg2-high": _P + ".4.101",
    "h264": _P + ".4.102", "h264-4.2": _P + ".4.104", "hevc": _P + ".4.107",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Task:
    """What is asked of every file."""

    syntax_uid: str
    options: dict[str, Any]
    verify: bool
    lossy: bool
    output: Path


@click.command("transcode")
@click.argument("paths", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="File, or folder for several.")
@click.option("--to", "to_", required=True, help=f"A transfer syntax UID, or {', '.join(NAMES)}.")
@click.option("--quality", type=click.IntRange(1, 100), help="JPEG.")
@click.option("--near", type=click.IntRange(1, 255), help="JPEG-LS near-lossless: the largest error of a value.")
@click.option("--ratio", type=click.FloatRange(1), help="JPEG 2000, HTJ2K lossy: native bytes to compressed ones.")
@click.option("--psnr", type=click.FloatRange(10, 120), help="JPEG 2000, HTJ2K lossy: decibels.")
@click.option("--distance", type=click.FloatRange(0.01, 15), help="JPEG XL lossy: 1 is visually lossless.")
@click.option("--effort", type=click.IntRange(1, 9), help="JPEG XL.")
@click.option("--verify", is_flag=True, help="Decode what was made and compare.")
@click.option("--jobs", type=click.IntRange(1, 256), help="Worker processes; default: one a processor.")
@json_option
def command(
    paths: tuple[Path, ...], output: Path, to_: str, quality: int | None, near: int | None, ratio: float | None,
    psnr: float | None, distance: float | None, effort: int | None, verify: bool, jobs: int | None, as_json: bool,
) -> int:  # fmt: skip
    """Transcode DICOM files and folders. A lossy syntax makes new instances, which name what they were made of.

    Frames become a video, and a video frames, with the extra `video`.
    """
    uid = NAMES.get(to_, to_)
    if uid not in SYNTAXES:
        raise UsageError(f"--to is a transfer syntax UID, or one of {', '.join(NAMES)}")
    given = {"quality": quality, "near": near, "ratio": ratio, "psnr": psnr, "distance": distance, "effort": effort}
    options = {name: value for name, value in given.items() if value is not None}
    lossless = SYNTAXES[uid].lossless is True
    task = Task(uid, options | {"reversible": lossless}, verify, not lossless, output)
    work = list(_places(paths, task))
    failed = run(_transcode_all(work, task, jobs or 0, as_json))
    return 1 if failed else 0


def _places(paths: Sequence[Path], task: Task) -> Iterator[tuple[Path, Path]]:
    """Every file and where it goes; folders keep their shape."""
    several = len(paths) > 1 or paths[0].is_dir() or task.output.is_dir()
    for root in paths:
        for path in walk([root]):
            inside = path.relative_to(root) if root.is_dir() else Path(path.name)
            yield path, task.output / inside if several else task.output


async def _transcode_all(work: Sequence[tuple[Path, Path]], task: Task, jobs: int, as_json: bool) -> int:
    pool, failed = Pool(WorkerLimits(workers=jobs, seconds_max=3600), ("sagittal.convert.transcoded", "imagecodecs")), 0
    waiting = iter(work)
    with progress("transcoded", len(work), quiet=as_json) as advance:

        async def one() -> None:
            nonlocal failed
            for path, where in waiting:
                try:
                    told = await _transcode(pool, path, where, task)
                    result(as_json, {"file": str(path), "transcoded": str(where), **told}, str(where))
                except (SagittalError, OSError) as error:
                    failed += 1
                    result(as_json, {"file": str(path), "error": str(error)}) if as_json else say(f"{path}: {error}")
                advance(1)

        await asyncio.gather(*(one() for _ in range(jobs or os.cpu_count() or 1)))
    await pool.close()
    return failed


async def _transcode(pool: Pool, path: Path, where: Path, task: Task) -> dict[str, Any]:
    where.parent.mkdir(parents=True, exist_ok=True)
    beside = where.with_name(where.name + ".part")
    try:
        with path.open("rb") as source, beside.open("w+b") as target:
            inputs = [Input(source.fileno(), 0, os.fstat(source.fileno()).st_size), Input(target.fileno(), 0, 0)]
            more: dict[str, Any] = {"to_syntax": task.syntax_uid, "options": task.options, "verify": task.verify}
            uid = new_uid() if task.lossy else ""
            answer = await pool.run("sagittal.convert.transcoded:file", inputs, instance_uid=uid, **more)
        beside.replace(where)
    finally:
        beside.unlink(missing_ok=True)
    told = {"sop_instance_uid": answer.told["sop_instance_uid"], "lossy": answer.told["loses"]}
    return told | ({"error_max": answer.told["error"]} if answer.told["error"] is not None else {})
