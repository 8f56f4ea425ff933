"""`sagittal mask`: rectangles of pixels set to one value, for text that is burned in."""

from __future__ import annotations

from pathlib import Path

import click

from sagittal.cli.images.batch import Place, Told, each, jobs_option, places, rewritten
from sagittal.cli.output import json_option
from sagittal.errors import UsageError
from sagittal.uid import new_uid
from sagittal.workers.pool import Pool

_MODULES = ("sagittal.convert.masked", "imagecodecs")


@click.command("mask")
@click.argument("paths", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="File, or folder for several.")
@click.option("--rectangle", "rectangles", multiple=True, required=True, metavar="X,Y,W,H", help="Repeatable.")
@click.option("--value", type=float, help="What the pixels are set to, as stored; default: black.")
@click.option(
    "--lossy", type=click.Choice(["native", "again", "refuse"]), default="native", show_default=True,
    help="Images in a lossy syntax: uncompressed, compressed with losses once more, or not at all.",
)  # fmt: skip
@click.option("--keep-uid", is_flag=True, help="The SOP Instance UID of the source, not a new one.")
@jobs_option
@json_option
def command(
    paths: tuple[Path, ...], output: Path, rectangles: tuple[str, ...], value: float | None, lossy: str, keep_uid: bool,
    jobs: int | None, as_json: bool,
) -> int:  # fmt: skip
    """Set rectangles of the pixels of every frame. X and Y are the first column and row, from 0.

    A lossless transfer syntax is kept. The result is a new instance that names the one it was made of and says that no
    text is burned in: look at it before you believe it. Overlay planes that lie beside the pixels stay.
    """
    asked = [_rectangle(each) for each in rectangles]

    async def act(pool: Pool, place: Place) -> list[Told]:
        uid = "" if keep_uid else new_uid()
        more = {"rectangles": asked, "value": value, "lossy": lossy, "instance_uid": uid}
        told = await rewritten(pool, place, "sagittal.convert.masked:file", **more)
        return [Told({"masked": str(place.where), **told}, str(place.where))]

    return each(places(paths, output), act, word="masked", modules=_MODULES, jobs=jobs, as_json=as_json)


def _rectangle(text: str) -> list[int]:
    try:
        numbers = [int(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) != 4 or numbers[2] < 1 or numbers[3] < 1 or min(numbers) < 0:
        raise UsageError("--rectangle is X,Y,W,H: whole numbers, W and H at least 1")
    return numbers
