"""`sagittal info`: what images are like, by modality, in an archive or in files."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sagittal.cli.data.place import DataPath, Server, existing, refused, server_option, tend
from sagittal.cli.images.batch import Place, Told, each, jobs_option, opened, places
from sagittal.cli.output import json_option, result, run
from sagittal.errors import UsageError
from sagittal.pixels.census import Census, Seen
from sagittal.workers.pool import Pool

if TYPE_CHECKING:
    from sagittal.archive.archive import Archive

_STATISTICS = "/api/statistics?images=true"


@click.command("info")
@click.argument("paths", nargs=-1, type=click.Path(exists=True, path_type=Path))
@click.option("--data", type=DataPath(), help="A data directory.")
@server_option
@jobs_option
@json_option
def command(paths: tuple[Path, ...], data: Path | None, server: Server | None, jobs: int | None, as_json: bool) -> int:
    """Report studies, series, images, matrices, bits, colours, transfer syntaxes and compression ratios by modality.

    Of files and folders, of a data directory, or of a running archive; the archive's index tells, no object is opened.
    """
    if sum((bool(paths), data is not None, server is not None)) != 1:
        raise UsageError("name files and folders, or --data DIR, or --url URL")
    status = 0
    if paths:
        rows, status = _of_files(paths, jobs, as_json)
    else:
        rows = run(_of_server(server) if server is not None else _of_directory(data or Path()))
    for row in rows:
        result(as_json, row, _text(row))
    return status


def _of_files(paths: Sequence[Path], jobs: int | None, as_json: bool) -> tuple[list[dict[str, Any]], int]:
    census, above = Census(), dict[str, tuple[set[str], set[str]]]()

    async def act(pool: Pool, place: Place) -> list[Told]:
        with ExitStack() as stack:
            told = (await pool.run("sagittal.convert.census:file", [opened(place.path, stack)])).told
        seen = Seen(*told["seen"])
        census.add(seen)
        studies, series = above.setdefault(seen.modality, (set(), set()))
        studies.add(told["study"])
        series.add(told["series"])
        return []

    modules = ("sagittal.convert.census",)
    status = each(places(paths, None), act, word="counted", modules=modules, jobs=jobs, as_json=as_json)
    return census.rows({name: (len(studies), len(series)) for name, (studies, series) in above.items()}), status


async def _of_directory(data: Path) -> list[dict[str, Any]]:
    from sagittal.archive.access import LOCAL
    from sagittal.archive.upkeep.imagereport import ImageReport

    async def here(archive: Archive) -> dict[str, list[dict[str, Any]]]:
        archive.permit(LOCAL, "find", "images")
        return {"modalities": await ImageReport(archive.readers).rows(LOCAL)}

    return (await tend(existing(data), here, "GET", _STATISTICS))["modalities"]


async def _of_server(server: Server) -> list[dict[str, Any]]:
    async with server.client() as client:
        response = await client.get(_STATISTICS)
        if not response.is_success:
            refused(response)
        rows: list[dict[str, Any]] = response.json()["modalities"]
        return rows


def _text(row: dict[str, Any]) -> str:
    """A modality for a person."""
    lines = [
        f"{row['modality'] or '(no modality)'}: {row['studies']} studies, {row['series']} series, {row['instances']} "
        f"instances, {row['images']} images, {row['frames']} frames (at most {row['frames_most']})"
    ]
    matrices = [f"{one['columns']} x {one['rows']}: {one['images']}" for one in row["matrices"]]
    bits = [f"{_bits(one)}: {one['images']}" for one in row["bits"]]
    colours = [f"{one['name']}: {one['images']}" for one in row["photometric_interpretations"]]
    for head, found in (("matrices", matrices), ("bits", bits), ("photometric", colours)):
        if found:
            lines.append(f"  {head}  {', '.join(found)}")
    for one in row["transfer_syntaxes"]:
        ratio = f", compression {one['compression_ratio']}" if one["compression_ratio"] else ""
        lines.append(f"  {one['name']}: {one['instances']}{ratio}")
    return "\n".join(lines)


def _bits(one: dict[str, Any]) -> str:
    """Bits Stored of Bits Allocated; floats and doubles have the latter alone."""
    return f"{one['stored']} of {one['allocated']}" if one["stored"] else f"{one['allocated']}"
