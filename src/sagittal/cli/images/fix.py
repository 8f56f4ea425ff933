"""`sagittal fix`: files put right by the table of repairs."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click

from sagittal.cli.images.batch import Place, Told, each, jobs_option, opened, places, rewritten
from sagittal.cli.output import json_option, result
from sagittal.errors import UsageError
from sagittal.workers.pool import Pool

_CALL = "sagittal.convert.fixing.files:file"


@click.command("fix")
@click.argument("paths", nargs=-1, type=click.Path(exists=True, path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), help="File, or folder for several; all are written.")
@click.option("--in-place", is_flag=True, help="Replace files that something is wrong with.")
@click.option("--only", multiple=True, metavar="NAME", help="Only this repair; repeatable.")
@click.option("--list", "list_", is_flag=True, help="Show the repairs, and end.")
@jobs_option
@json_option
def command(
    paths: tuple[Path, ...], output: Path | None, in_place: bool, only: tuple[str, ...], list_: bool, jobs: int | None,
    as_json: bool,
) -> int:  # fmt: skip
    """Find what is wrong with files and put it right; without --output or --in-place nothing is written.

    A file that is rewritten gets a new meta group, and lengths are right in it whatever --only says.
    """
    from sagittal.convert.fixing.repairs import REPAIRS

    if list_:
        for name, repair in REPAIRS.items():
            result(as_json, {"name": name, "finds": repair.finds, "does": repair.does})
        return 0
    if unknown := set(only) - REPAIRS.keys():
        raise UsageError(f"there is no repair {', '.join(sorted(unknown))}; see --list")
    if not paths:
        raise UsageError("name files or folders")
    if output is not None and in_place:
        raise UsageError("--output or --in-place, not both")

    async def act(pool: Pool, place: Place) -> list[Told]:
        if output is None and not in_place:
            with ExitStack() as stack:
                told = (await pool.run(_CALL, [opened(place.path, stack)], only=list(only))).told
            return [_told(told, place, "")]
        told = await rewritten(pool, place, _CALL, only=list(only), copy=output is not None)
        return [_told(told, place, "" if told["kept"] else str(place.where))]

    modules = ("sagittal.convert.fixing.files",)
    return each(places(paths, output), act, word="fixed", modules=modules, jobs=jobs, as_json=as_json)


def _told(told: Any, place: Place, written: str) -> Told:
    lines = [f"{place.path}: {name}: {text}" for name, text in told["repairs"].items()]
    return Told({"repairs": told["repairs"], "written": written}, "\n".join(lines))
