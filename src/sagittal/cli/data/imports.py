"""`sagittal import`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import NamedTuple

import click

from sagittal.cli.data.place import Server, data_option, local, open_archive, server_at, server_of, store_option
from sagittal.cli.output import json_option, progress, result, run, say
from sagittal.errors import DirectoryHeld


class Row(NamedTuple):
    """What became of one file: stored, duplicate, kept, replaced, held, skipped or failed."""

    file: str
    status: str
    reason: str = ""
    sop_instance_uid: str = ""


@click.command("import")
@click.argument("paths", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@data_option
@store_option
@click.option("--url", help="A running archive instead, as http://127.0.0.1:8042 (token: SAGITTAL_TOKEN).")
@click.option("-q", "--quiet", is_flag=True, help="No progress bar.")
@json_option
def command(paths: tuple[Path, ...], data: Path, store: str, url: str | None, quiet: bool, as_json: bool) -> int:
    """Add files, folders and zip archives to an archive. Start it again to go on after an interruption."""
    return run(_import(paths, data, url, store, quiet, as_json))


async def _import(paths: Sequence[Path], data: Path, url: str | None, store: str, quiet: bool, as_json: bool) -> int:
    counts: dict[str, int] = {}
    with progress("Importing", None, quiet=quiet) as advance:
        async for row in _rows(paths, data, url, store):
            advance(1)
            counts[row.status] = counts.get(row.status, 0) + 1
            if as_json:
                result(True, row._asdict())
            elif row.status in ("failed", "skipped", "kept") or row.reason:
                say(f"{row.file}: {row.status}{': ' if row.reason else ''}{row.reason}")
    say(", ".join(f"{count} {status}" for status, count in sorted(counts.items())) or "nothing to import")
    return 1 if counts.get("failed") else 0


async def _rows(paths: Sequence[Path], data: Path, url: str | None, store: str) -> AsyncIterator[Row]:
    if url is None:
        try:
            async for row in _into_directory(paths, data, store):
                yield row
            return
        except DirectoryHeld:
            server = await server_of(data)
    else:
        server = server_at(url)
    async for row in _into_server(paths, server, store):
        yield row


async def _into_directory(paths: Sequence[Path], data: Path, store: str) -> AsyncIterator[Row]:
    from sagittal.archive.ingest import Source
    from sagittal.archive.upkeep.importer import import_files

    async with open_archive(data) as archive:
        async for done in import_files(archive, local(archive, store), paths, Source("import")):
            uid = done.outcome.sop_instance_uid if done.outcome else ""
            yield Row(done.name, done.status, done.reason, uid)


async def _into_server(paths: Sequence[Path], server: Server, store: str) -> AsyncIterator[Row]:
    from sagittal.cli.data.stow import store_over_http

    async with server.client() as client:
        async for row in store_over_http(client, paths, store):
            yield Row(*row)
