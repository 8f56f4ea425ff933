"""`sagittal render`: DICOM files as pictures, reports as HTML, electrocardiograms as SVG, documents as they are.

Files are rendered by worker processes, so that a broken one costs itself only.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from sagittal.cli.output import json_option, progress, result, run, say
from sagittal.client.storing.files import walk
from sagittal.convert.documents import DOCUMENTS
from sagittal.errors import SagittalError, UsageError
from sagittal.limits import WorkerLimits
from sagittal.workers.pool import Pool
from sagittal.workers.worker import Input

_TYPES = {
    "jpeg": ("image/jpeg", ".jpg"), "png": ("image/png", ".png"), "gif": ("image/gif", ".gif"),
    "webp": ("image/webp", ".webp"), "jxl": ("image/jxl", ".jxl"), "jp2": ("image/jp2", ".jp2"),
    "mp4": ("video/mp4", ".mp4"),
}  # fmt: skip
_REPORTS, _WAVEFORMS = "1.2.840.10008.5.1.4.1.1.88.", "1.2.840.10008.5.1.4.1.1.9."
_FUNCTIONS = ("LINEAR", "LINEAR_EXACT", "SIGMOID")
_PROFILES = ("no", "yes", "srgb", "adobergb", "rommrgb")


@dataclass(frozen=True, slots=True)
class Task:
    """What is asked of every file."""

    format: str
    frame: int  # 0: all, as a moving picture; -1: each, as a picture of its own
    options: dict[str, Any]
    quality: int | None
    over: Path | None
    output: Path | None


@click.command("render")
@click.argument("paths", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), help="File, or folder for several; default: beside.")
@click.option("--format", "format_", type=click.Choice(sorted(_TYPES)), default="png", show_default=True)
@click.option("--frame", default="1", show_default=True, help="A number, `each`, or `all` as one moving picture.")
@click.option("--window", help="CENTER,WIDTH or CENTER,WIDTH,SIGMOID (LINEAR, LINEAR_EXACT).")
@click.option("--viewport", help="W,H to fit into, or W,H,X,Y,W,H with the region to show.")
@click.option("--annotation", type=click.Choice(["patient", "technique"]), multiple=True)
@click.option("--icc", type=click.Choice(_PROFILES), default="no", show_default=True)
@click.option("--no-overlays", is_flag=True, help="Without overlay planes.")
@click.option(
    "--over", "--state", type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A presentation state, structure set or segmentation, to be shown over the images.",
)  # fmt: skip
@click.option("--quality", type=click.IntRange(1, 100))
@click.option("--jobs", type=click.IntRange(1, 256), help="Worker processes; default: one a processor.")
@json_option
def command(
    paths: tuple[Path, ...], output: Path | None, format_: str, frame: str, window: str | None, viewport: str | None,
    annotation: tuple[str, ...], icc: str, no_overlays: bool, over: Path | None, quality: int | None,
    jobs: int | None, as_json: bool,
) -> int:  # fmt: skip
    """Render DICOM files and folders as pictures.

    Reports become HTML, waveforms SVG, encapsulated documents the files that they are. A segmentation alone is shown in
    its colors.
    """
    options: dict[str, Any] = {"annotations": list(annotation), "profile": icc, "overlays": not no_overlays}
    if window:
        options["window"] = _window(window)
    if viewport:
        options["viewport"] = _viewport(viewport)
    task = Task(format_, _frame(frame), options, quality, over, output)
    files = list(walk(paths))
    if output is not None and (len(files) > 1 or output.is_dir() or task.frame < 0):
        output.mkdir(parents=True, exist_ok=True)
    failed = run(_render_all(files, task, jobs or 0, as_json))
    return 1 if failed else 0


async def _render_all(files: Sequence[Path], task: Task, jobs: int, as_json: bool) -> int:
    pool, failed = Pool(WorkerLimits(workers=jobs), ("sagittal.convert.files", "imagecodecs", "PIL.Image")), 0
    with progress("rendered", len(files), quiet=as_json) as advance:

        async def one(path: Path) -> None:
            nonlocal failed
            try:
                for written in await _render(pool, path, task):
                    result(as_json, {"file": str(path), "rendered": str(written)}, str(written))
            except (SagittalError, OSError) as error:
                failed += 1
                result(as_json, {"file": str(path), "error": str(error)}) if as_json else say(f"{path}: {error}")
            advance(1)

        waiting = iter(files)
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*(_each(waiting, one) for _ in range(jobs or os.cpu_count() or 1)))
    await pool.close()
    return failed


async def _each(waiting: Iterator[Path], one: Any) -> None:
    for path in waiting:
        await one(path)


async def _render(pool: Pool, path: Path, task: Task) -> list[Path]:
    """The files written for one file."""
    with ExitStack() as stack:
        inputs = [_opened(stack, each) for each in (path, task.over) if each is not None]
        told = (await pool.run("sagittal.convert.files:kind", inputs[:1])).told
        media_type, ending = _TYPES[task.format]
        if told["sop_class"] in DOCUMENTS:
            media_type, ending, _ = DOCUMENTS[told["sop_class"]]
        elif told["sop_class"].startswith(_REPORTS):
            media_type, ending = "text/html", ".html"
        elif told["sop_class"].startswith(_WAVEFORMS):
            media_type, ending = "image/svg+xml", ".svg"
        frames = range(1, told["frames"] + 1) if task.frame < 0 and media_type.startswith("image/") else [task.frame]
        written = []
        for frame in frames:
            more: dict[str, Any] = {
                "frame": frame,
                "media_type": media_type,
                "options": task.options,
                "quality": task.quality,
            }
            answer = await pool.run("sagittal.convert.files:rendered", inputs, **more)
            where = _where(path, task, ending if len(frames) == 1 else f".{frame}{ending}")
            where.write_bytes(answer.body)
            written.append(where)
        return written


def _where(path: Path, task: Task, ending: str) -> Path:
    if task.output is None:
        return path.with_name(path.name + ending)
    return task.output / (path.name + ending) if task.output.is_dir() else task.output


def _opened(stack: ExitStack, path: Path) -> Input:
    file = stack.enter_context(path.open("rb"))
    return Input(file.fileno(), 0, os.fstat(file.fileno()).st_size)


def _frame(text: str) -> int:
    if text in ("all", "each"):
        return 0 if text == "all" else -1
    if not text.isdigit() or int(text) < 1:
        raise UsageError("--frame is a number from 1, `each` or `all`")
    return int(text)


def _window(text: str) -> list[Any]:
    parts = [part.strip() for part in text.split(",")]
    function = parts[2].upper().replace("-", "_") if len(parts) == 3 else "LINEAR"
    try:
        center, width = float(parts[0]), float(parts[1])
    except (ValueError, IndexError):
        raise UsageError("--window is CENTER,WIDTH or CENTER,WIDTH,FUNCTION") from None
    if len(parts) > 3 or function not in _FUNCTIONS or width < (1 if function == "LINEAR" else 1e-30):
        raise UsageError(f"--window: the width is at least 1, the function one of {', '.join(_FUNCTIONS)}")
    return [center, width, function]


def _viewport(text: str) -> list[Any]:
    try:
        numbers = [float(part) if part.strip() else None for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) not in (2, 6) or not numbers[0] or not numbers[1] or min(numbers[0], numbers[1]) < 1:
        raise UsageError("--viewport is W,H or W,H,X,Y,W,H")
    left, top, wide, high = numbers[2:] or [0.0, 0.0, None, None]
    return [int(numbers[0]), int(numbers[1]), left or 0.0, top or 0.0, wide, high]
