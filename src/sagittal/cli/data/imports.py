"""`sagittal import`."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import NamedTuple

import click

from sagittal.cli.data.place import Server, data_option, local, open_archive, server_of, server_option, store_option
from sagittal.cli.output import json_option, progress, result, run, say
from sagittal.errors import DirectoryHeld, UsageError


class Row(NamedTuple):
    """What became of one file: stored, duplicate, kept, replaced, held, skipped or failed."""

    file: str
    status: str
    reason: str = ""
    sop_instance_uid: str = ""


@click.command("import")
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path, readable=False))
@data_option
@store_option
@server_option
@click.option(
    "--character-set", default="", metavar="TERM", help="Of files that name none that there is, as ISO_IR 100."
)
@click.option("--timezone", default="", metavar="+HHMM", help="Of files that name no offset from UTC.")
@click.option("-q", "--quiet", is_flag=True, help="No progress bar.")
@json_option
def command(
    paths: tuple[Path, ...],
    data: Path,
    store: str,
    server: Server | None,
    character_set: str,
    timezone: str,
    quiet: bool,
    as_json: bool,
) -> int:
    """Add files, folders and zip archives to an archive. Start it again to go on after an interruption.

    What is no DICOM file is skipped in folders and zip archives; a file that is named itself has failed then.
    A running archive assumes what its own settings say of files without character set or offset from UTC.
    """
    return run(_import(_Into(data, server, store, character_set, timezone), paths, quiet, as_json))


class _Into(NamedTuple):
    """Which archive, and what is assumed of files."""

    data: Path
    server: Server | None
    store: str
    character_set: str
    timezone: str


async def _import(into: _Into, paths: Sequence[Path], quiet: bool, as_json: bool) -> int:
    counts: dict[str, int] = {}
    async with aclosing(_rows(into, paths)) as rows:
        with progress("Importing", None, quiet=quiet) as advance:
            async for row in rows:
                advance(1)
                counts[row.status] = counts.get(row.status, 0) + 1
                if as_json:
                    result(True, row._asdict())
                elif row.status in ("failed", "skipped", "kept") or row.reason:
                    say(f"{row.file}: {row.status}{': ' if row.reason else ''}{row.reason}")
    say(", ".join(f"{count} {status}" for status, count in sorted(counts.items())) or "nothing to import")
    return 1 if counts.get("failed") else 0


async def _rows(into: _Into, paths: Sequence[Path]) -> AsyncGenerator[Row]:
    server = into.server
    if server is None:
        try:
            async with aclosing(_into_directory(into, paths)) as rows:
                async for row in rows:
                    yield row
            return
        except DirectoryHeld:
            server = await server_of(into.data)
    if into.character_set or into.timezone:
        raise UsageError("a running archive assumes what its settings say: character_set, timezone")
    async with aclosing(_into_server(paths, server, into.store)) as rows:
        async for row in rows:
            yield row


async def _into_directory(into: _Into, paths: Sequence[Path]) -> AsyncGenerator[Row]:
    from sagittal.archive.ingest import Source
    from sagittal.archive.nodes import Assumed, check_assumed
    from sagittal.archive.upkeep.importer import import_files

    assumed = check_assumed(Assumed(into.character_set, into.timezone))
    source = Source("import", character_set=assumed.character_set, timezone=assumed.timezone)
    async with (
        open_archive(into.data) as archive,
        aclosing(import_files(archive, local(archive, into.store), paths, source)) as files,
    ):
        async for done in files:
            uid = done.outcome.sop_instance_uid if done.outcome else ""
            yield Row(done.name, done.status, done.reason, uid)


async def _into_server(paths: Sequence[Path], server: Server, store: str) -> AsyncGenerator[Row]:
    from sagittal.cli.data.stow import store_over_http

    async with server.client() as client, aclosing(store_over_http(client, paths, store)) as rows:
        async for row in rows:
            yield Row(*row)
