"""`sagittal import`."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click
from click.core import ParameterSource

from sagittal.cli.data.place import (
    Server,
    check_apart,
    data_option,
    local,
    open_unheld,
    server_of,
    server_option,
    store_option,
)
from sagittal.cli.output import json_option, progress, result, run, say
from sagittal.errors import UsageError

if TYPE_CHECKING:
    from sagittal.config.settings import Settings


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
@click.option("--config", "config_file", type=click.Path(path_type=Path, dir_okay=False), help="Settings file (TOML).")
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
    config_file: Path | None,
    character_set: str,
    timezone: str,
    quiet: bool,
    as_json: bool,
) -> int:
    """Add files, folders and zip archives to an archive. Start it again to go on after an interruption.

    What is no DICOM file is skipped in folders and zip archives; a file that is named itself has failed then.
    A running archive goes by its own settings. Where none runs, those of --config hold, as for serve: data, duplicates,
    limits, and what is assumed of files without character set or offset from UTC.
    """
    from sagittal import config
    from sagittal.config.settings import Settings

    given = {"character_set": character_set, "timezone": timezone}
    is_assumed = any(given.values())
    if click.get_current_context().get_parameter_source("data") is not ParameterSource.DEFAULT:
        given["data"] = str(data)
    settings = Settings()
    if server is None:
        settings = config.load(config_file, {name: text for name, text in given.items() if text})
    return run(_import(_rows(paths, settings, server, store, is_assumed), quiet, as_json))


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
    paths: Sequence[Path], settings: Settings, server: Server | None, store: str, is_assumed: bool
) -> AsyncGenerator[Row]:
    """`is_assumed`: whether it was said here what is assumed of files."""
    from sagittal.archive.ingest import Source
    from sagittal.archive.nodes import Assumed, check_assumed
    from sagittal.archive.upkeep.importer import import_files
    from sagittal.cli.data.stow import store_over_http

    charset, timezone = check_assumed(Assumed(settings.character_set, settings.timezone))
    if server is None:
        check_apart(settings.data, paths)
        async with open_unheld(settings.data, settings.limits) as archive:
            if archive is not None:
                source = Source("import", policy=settings.duplicates, character_set=charset, timezone=timezone)
                async with aclosing(import_files(archive, local(archive, store), paths, source)) as files:
                    async for done in files:
                        uid = done.outcome.sop_instance_uid if done.outcome else ""
                        yield Row(done.name, done.status, done.reason, uid)
                return
    if is_assumed:
        raise UsageError("a running archive assumes what its settings say: character_set, timezone")
    server = server or await server_of(settings.data)
    async with server.client() as client, aclosing(store_over_http(client, paths, store)) as answers:
        async for answer in answers:
            yield Row(*answer)
