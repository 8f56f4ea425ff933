"""`sagittal render`: DICOM files as pictures, reports as HTML or PDF, electrocardiograms as SVG, documents as they are.

Files are rendered by worker processes, so that a broken one costs itself only.
"""

from __future__ import annotations

import mimetypes
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from sagittal.cli.images.batch import Place, Told, each, is_several, jobs_option, opened, places
from sagittal.cli.output import json_option
from sagittal.convert.documents import DOCUMENTS
from sagittal.dicom.sopclasses import is_report, is_waveform
from sagittal.errors import BadRequest, NotAcceptable, UsageError
from sagittal.folders import whole
from sagittal.web.render import asked
from sagittal.workers.pool import Pool

_MODULES = ("sagittal.convert.files", "imagecodecs", "PIL.Image")
_TYPES = {
    "jpeg": ("image/jpeg", ".jpg"), "png": ("image/png", ".png"), "gif": ("image/gif", ".gif"),
    "webp": ("image/webp", ".webp"), "jxl": ("image/jxl", ".jxl"), "jp2": ("image/jp2", ".jp2"),
    "mp4": ("video/mp4", ".mp4"), "pdf": ("application/pdf", ".pdf"), "text": ("text/plain", ".txt"),
}  # fmt: skip
_PRINTED = ("pdf", "text")  # what reports become, if asked for
_LOSSY = ("jpeg", "webp", "jxl", "jp2", "mp4")  # the other formats lose nothing


@dataclass(frozen=True, slots=True)
class Task:
    """What is asked of every file."""

    format: str
    frame: int  # 0: all, as a moving picture; -1: each, as a picture of its own
    options: dict[str, Any]
    quality: int | None
    over: Path | None
    named: bool  # the name of the file is to say the format


@click.command("render")
@click.argument("paths", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), help="File, or folder for several; default: beside.")
@click.option(
    "--format", "format_", type=click.Choice(sorted(_TYPES)), help="[that of the name of a file --output, else png]"
)
@click.option("--frame", help="A number, `each`, or `all` as one moving picture.  [default: 1; of mp4: all]")
@click.option("--window", help="CENTER,WIDTH or CENTER,WIDTH,SIGMOID (LINEAR, LINEAR_EXACT).")
@click.option("--viewport", help="W,H to fit into, or W,H,X,Y,W,H with the region to show.")
@click.option("--annotation", type=click.Choice(["patient", "technique"]), multiple=True)
@click.option("--icc", type=click.Choice(asked.PROFILES), default="no", show_default=True)
@click.option("--no-overlays", is_flag=True, help="Without overlay planes.")
@click.option(
    "--over", "--state", type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A presentation state, structure set or segmentation, to be shown over the images.",
)  # fmt: skip
@click.option("--quality", type=click.IntRange(1, 100), help=f"Of {', '.join(_LOSSY)}.")
@jobs_option
@json_option
def command(
    paths: tuple[Path, ...], output: Path | None, format_: str | None, frame: str | None, window: str | None,
    viewport: str | None, annotation: tuple[str, ...], icc: str, no_overlays: bool, over: Path | None,
    quality: int | None, jobs: int | None, as_json: bool,
) -> int:  # fmt: skip
    """Render DICOM files and folders as pictures.

    Reports become HTML, or PDF or plain text with `--format`, waveforms SVG, encapsulated documents the files that they
    are. A segmentation alone is shown in its colors.
    """
    options: dict[str, Any] = {"annotations": list(annotation), "profile": icc, "overlays": not no_overlays}
    if window:
        options["window"] = _read("--window", asked.window, window)
    if viewport:
        options["viewport"] = _read("--viewport", asked.viewport, viewport)
    named = format_ is None  # then the name of one file says it
    if format_ is None:
        format_ = "png" if output is None or frame == "each" or is_several(paths, output) else _format(output)
    number = _frame(frame or ("all" if format_ == "mp4" else "1"))
    several = output is None or number < 0 or is_several(paths, output)
    if quality and format_ not in _LOSSY:
        raise UsageError(f"--quality says nothing of {format_}; it is for {', '.join(_LOSSY)}")
    task = Task(format_, number, options, quality, over, named)
    if output is not None and task.frame < 0:
        if output.exists() and not output.is_dir():
            raise UsageError("--frame each makes a picture of each frame: --output is a folder then")
        output.mkdir(parents=True, exist_ok=True)

    async def act(pool: Pool, place: Place) -> list[Told]:
        written = await _render(pool, place, task, several)
        return [Told({"rendered": str(path)}, str(path)) for path in written]

    work = places(paths, output, ended=several)
    return each(work, act, word="rendered", modules=_MODULES, jobs=jobs, as_json=as_json)


async def _render(pool: Pool, place: Place, task: Task, several: bool) -> list[Path]:
    """The files written for one file; with `several` their names are its name with more behind it."""
    with ExitStack() as stack:
        inputs = [opened(path, stack) for path in (place.path, task.over) if path is not None]
        told = (await pool.run("sagittal.convert.files:kind", inputs[:1])).told
        media_type, ending = _made_of(told["sop_class"], task.format)
        if task.named and not several and _said(place.where) not in ("", media_type):
            raise NotAcceptable(f"it is rendered as {media_type}, not {_said(place.where)}: name the file *{ending}")
        apart = task.frame < 0 and media_type.startswith("image/")
        frames = range(1, told["frames"] + 1) if apart else [task.frame]
        same: dict[str, Any] = {"media_type": media_type, "options": task.options, "quality": task.quality}
        place.where.parent.mkdir(parents=True, exist_ok=True)
        written = []
        for frame in frames:
            answer = await pool.run("sagittal.convert.files:rendered", inputs, frame=frame, **same)
            numbered = ending if len(frames) == 1 else f".{frame}{ending}"
            written.append(place.where.with_name(place.where.name + numbered) if several else place.where)
            with whole(written[-1]) as file:
                file.write(answer.body)
        return written


def _made_of(sop_class: str, format_: str) -> tuple[str, str]:
    """What an object of this class becomes: media type and ending. NotAcceptable when it can't be in this format."""
    if sop_class in DOCUMENTS:
        return DOCUMENTS[sop_class][:2]
    if is_waveform(sop_class):
        return "image/svg+xml", ".svg"
    if is_report(sop_class):
        return _TYPES[format_] if format_ in _PRINTED else ("text/html", ".html")
    if format_ in _PRINTED:
        raise NotAcceptable(f"only reports are rendered as {_TYPES[format_][0]}")
    return _TYPES[format_]


def _format(output: Path) -> str:
    """The format that the name of a file says; png where it says none."""
    ending = output.suffix.lower()
    return next((name for name, (_, usual) in _TYPES.items() if ending in (usual, f".{name}")), "png")


def _said(where: Path) -> str:
    """The media type that the name of a file says, one that we don't make too; "": none."""
    ending = where.suffix.lower()
    own = (media_type for name, (media_type, usual) in _TYPES.items() if ending in (usual, f".{name}"))
    said = next(own, None) or mimetypes.guess_type(where.name, strict=False)[0] or ""
    return "" if said == "application/octet-stream" else said


def _frame(text: str) -> int:
    if text in ("all", "each"):
        return 0 if text == "all" else -1
    if not text.isdigit() or int(text) < 1:
        raise UsageError("--frame is a number from 1, `each` or `all`")
    return int(text)


def _read(option: str, read: Callable[[str], list[Any]], text: str) -> list[Any]:
    try:
        return read(text)
    except BadRequest as error:
        raise UsageError(f"{option}: {error}") from None
