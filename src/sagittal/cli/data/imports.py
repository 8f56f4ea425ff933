"""`sagittal import`."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import NamedTuple

import click

from sagittal.cli.data.place import Server, data_option, local, open_unheld, server_of, server_option, store_option
from sagittal.cli.output import json_option, progress, result, run, say
from sagittal.errors import UsageError


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
    rows = _rows(paths, data, store, server, character_set, timezone)
    return run(_import(rows, quiet, as_json))


async def _import(rows: AsyncGenerator[Row], quiet: bool, as_json: bool) -> int:
    counts: dict[str, int] = {}
    async with aclosing(rows) as found:
        with progress("Importing", None, quiet=quiet) as advance:
            async for row in found:
                advance(1)
                counts[row.status] = counts.get(row.status, 0) + 1
                if as_json:
                    result(True, row._asdict())
                elif row.status in ("failed", "skipped", "kept") or row.reason:
                    say(f"{row.file}: {row.status}{': ' if row.reason else ''}{row.reason}")
    say(", ".join(f"{count} {status}" for status, count in sorted(counts.items())) or "nothing to import")
    return 1 if counts.get("failed") else 0


async def _rows(
    paths: Sequence[Path], data: Path, store: str, server: Server | None, character_set: str, timezone: str
) -> AsyncGenerator[Row]:
    from sagittal.archive.ingest import Source
    from sagittal.archive.nodes import Assumed, check_assumed
    from sagittal.archive.upkeep.importer import import_files
    from sagittal.cli.data.stow import store_over_http

    assumed = check_assumed(Assumed(character_set, timezone))
    if server is None:
        async with open_unheld(data) as archive:
            if archive is not None:
                source = Source("import", character_set=assumed.character_set, timezone=assumed.timezone)
                async with aclosing(import_files(archive, local(archive, store), paths, source)) as files:
                    async for done in files:
                        uid = done.outcome.sop_instance_uid if done.outcome else ""
                        yield Row(done.name, done.status, done.reason, uid)
                return
    if character_set or timezone:
        raise UsageError("a running archive assumes what its settings say: character_set, timezone")
    server = server or await server_of(data)
    async with server.client() as client, aclosing(store_over_http(client, paths, store)) as answers:
        async for answer in answers:
            yield Row(*answer)
