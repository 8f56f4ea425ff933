"""`sagittal multiframe`: multi-frame instances to single frames (as dcm4che's emf2sf does), and back."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import click

from sagittal.cli.images.batch import opened
from sagittal.cli.output import Failures, json_option, progress, result
from sagittal.client.storing.files import walk
from sagittal.errors import NotAcceptable, SagittalError, UsageError
from sagittal.folders import whole

_FRAME = re.compile(r"(.+)-\d{4,}\.dcm")  # as `_split` names them
_series_option = click.option("--keep-series", is_flag=True, help="In the series of the source, not one of their own.")


@click.group("multiframe")
def command() -> None:
    """Multi-frame instances as single frames, and single frames as a multi-frame instance. Pixels are not decoded."""


@command.command("split")
@click.argument("paths", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path, file_okay=False), help="Folder.")
@_series_option
@json_option
def split(paths: tuple[Path, ...], output: Path, keep_series: bool, as_json: bool) -> int:
    """Write every frame of enhanced CT, MR, PET and multi-frame US, XA, XRF, SC as an instance of the classic class.

    The SOP Instance UIDs are made of the source's and the frame's number: splitting again gives the same ones.
    """
    files, failures = list(_placed(paths, output)), Failures(as_json)
    _check_apart(files)
    with progress("split", len(files), quiet=as_json) as advance:
        for path, folder in files:
            with failures.of(path):
                for number, written, uid in _split(path, folder, keep_series=keep_series):
                    row = {"file": str(path), "frame": number, "written": str(written), "sop_instance_uid": uid}
                    result(as_json, row, str(written))
            advance(1)
    return failures.status


@command.command("join")
@click.argument("paths", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path, dir_okay=False), help="File.")
@_series_option
@json_option
def join(paths: tuple[Path, ...], output: Path, keep_series: bool, as_json: bool) -> int:
    """Write the single frames of one series as one instance: Legacy Converted Enhanced CT, MR, PET, or Secondary
    Capture.
    """
    from sagittal.convert.multiframe.files import join, object_of

    with ExitStack() as stack:
        files = list(walk(paths))
        if os.path.realpath(output) in map(os.path.realpath, files):
            raise UsageError(f"{output} is one of the sources, and would be replaced: choose another --output")
        images = []
        for path in files:
            try:
                images.append(object_of(opened(path, stack)))
            except SagittalError as error:
                raise NotAcceptable(f"{path}: {error}") from None
        uid, pieces = join(images, keep_series=keep_series)
        output.parent.mkdir(parents=True, exist_ok=True)
        with whole(output) as file:
            file.writelines(pieces)
    row = {"written": str(output), "frames": len(files), "sop_instance_uid": uid}
    result(as_json, row, str(output))
    return 0


def _placed(paths: Sequence[Path], output: Path) -> Iterator[tuple[Path, Path]]:
    """Every file, and the folder of its frames: folders keep their shape."""
    for root in paths:
        for path in walk([root]):
            yield path, output / path.relative_to(root).parent if root.is_dir() else output


def _check_apart(files: Sequence[tuple[Path, Path]]) -> None:
    """UsageError when a frame would take the place of one of another source, or of a source."""
    names: dict[tuple[str, str], Path] = {}
    for path, folder in files:
        other = names.setdefault((os.path.realpath(folder), path.stem), path)
        if other is not path:
            raise UsageError(f"the frames of {other} and of {path} would have the same names")
    for path, _ in files:
        found = _FRAME.fullmatch(path.name)
        if found and (os.path.realpath(path.parent), found[1]) in names:
            raise UsageError(f"{path} is one of the sources, and would be replaced: choose another --output")


def _split(path: Path, folder: Path, *, keep_series: bool) -> Iterator[tuple[int, Path, str]]:
    from sagittal.convert.multiframe.files import object_of, split

    with ExitStack() as stack:
        image = object_of(opened(path, stack))
        digits = max(4, len(str(image.count)))
        for number, (uid, pieces) in enumerate(split(image, keep_series=keep_series), start=1):
            folder.mkdir(parents=True, exist_ok=True)
            written = folder / f"{path.stem}-{number:0{digits}}.dcm"
            with whole(written) as file:
                file.writelines(pieces)
            yield number, written, uid
