"""`sagittal serve`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from sagittal.cli.output import run, say
from sagittal.errors import words_of
from sagittal.folders import holds_something_else


@click.command("serve")
@click.option("--data", type=click.Path(), help="Data directory, made when missing [./sagittal-data].")
@click.option("--host", help="Address to listen on [127.0.0.1].")
@click.option("--http-port", type=click.IntRange(0, 65535), help="Port for HTTP, 0 a free one [8042].")
@click.option("--dimse-port", type=click.IntRange(0, 65535), help="Port for DIMSE, 0 a free one [11112].")
@click.option("--aet", help="Our AE title [SAGITTAL].")
@click.option("--node", "nodes", multiple=True, metavar="AET@host:port", help="A node beside those kept; repeatable.")
@click.option("--durability", type=click.Choice(["full", "off"]), help="off: no fsync, for benchmarks only [full].")
@click.option("--config", "config_file", type=click.Path(path_type=Path, dir_okay=False), help="Settings file (TOML).")
@click.option("--log-level", type=click.Choice(["debug", "info", "warning", "error"]), help="[info]")
@click.option("--json", "as_json", is_flag=True, help="One JSON line on stdout once ready.")
def command(config_file: Path | None, as_json: bool, **options: Any) -> int:
    """Run the archive: DIMSE and DICOMweb on one data directory."""
    from sagittal import config
    from sagittal.cli import logs

    settings = config.load(config_file, _overrides(options))
    for text in config.passed_over():
        say(text)
    logs.start(settings.log_level)
    if settings.durability == "off":
        say("durability is off: nothing is synced, a power cut loses what was acknowledged")
    if holds_something_else(settings.data):
        say(f"{settings.data} holds other files, which commands pass over once it is a data directory")
    from sagittal.serve import serve

    def announce(ready: Mapping[str, Any]) -> None:
        _announce(ready, settings.dimse.senders[0], as_json)

    try:
        run(serve(settings, announce))
    except OSError as error:
        what = f"listen on {settings.host}" if error.filename is None else f"use {error.filename}"
        say(f"sagittal: cannot {what}: {words_of(error)}")
        return 1
    return 0


def _overrides(options: Mapping[str, Any]) -> dict[str, Any]:
    """What was given on the command line, nested like the configuration."""
    given = {
        key: options[key] for key in ("data", "host", "aet", "durability", "log_level") if options[key] is not None
    }
    if options["http_port"] is not None:
        given["web"] = {"port": options["http_port"]}
    if options["dimse_port"] is not None:
        given["dimse"] = {"port": options["dimse_port"]}
    if options["nodes"]:
        given["nodes"] = list(options["nodes"])
    return given


def _announce(ready: Mapping[str, Any], sender: str, as_json: bool) -> None:
    if as_json:
        import json

        print(json.dumps(ready), flush=True)
        return
    host, _, port = ready["dimse"].rpartition(":")
    print(
        f"Sagittal serves {ready['data']}\n"
        f"  page      {ready['http']}/\n"
        f"  DICOMweb  {ready['http']}/dicom-web\n"
        f"  DIMSE     {ready['aet']}@{ready['dimse']}\n"
        f"  try       {sender} -aec {ready['aet']} +sd +r {host.strip('[]')} {port} FOLDER\n"
        "Ctrl-C ends it.",
        flush=True,
    )
