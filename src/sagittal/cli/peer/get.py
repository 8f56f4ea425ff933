"""`sagittal get`."""

from __future__ import annotations

from pathlib import Path

import click

from sagittal.cli.output import json_option, progress, run, say
from sagittal.cli.peer.options import model_options, place_options, report, selection_options
from sagittal.cli.peer.telling import Telling
from sagittal.client.keys import LEVELS, Question, level_of, parse_keys
from sagittal.client.opening import open_remote
from sagittal.client.outcome import Retrieved
from sagittal.client.place import Access, Place


@click.command("get")
@place_options
@selection_options(LEVELS[1:])
@model_options
@click.option("--relational", is_flag=True, help="Ask for relational retrieval: UIDs without those above (DIMSE).")
@click.option("-o", "--out", type=click.Path(path_type=Path, file_okay=False), default=Path(), help="Folder [.]")
@json_option
def command(
    place: Place,
    access: Access,
    level: str | None,
    keys: tuple[str, ...],
    model: str | None,
    relational: bool,
    out: Path,
    as_json: bool,
) -> int:
    """Retrieve from ARCHIVE (AET@host:port by C-GET, a DICOMweb URL by WADO-RS, a data directory) into a folder.

    By UIDs, or by any other keys: what matches them is looked up first.
    With `--patient-root` and a Patient ID the whole patient.
    """
    wanted = parse_keys(keys)
    question = Question(level or level_of(wanted, model), wanted, model or "study", relational)
    return report(run(_get(place, access, question, out, as_json)), as_json)


async def _get(place: Place, access: Access, question: Question, out: Path, as_json: bool) -> Retrieved:
    telling = Telling()
    with progress("Receiving", None) as advance:

        def arrived(path: Path, uid: str) -> None:
            advance(1)
            if as_json:
                telling.row(True, {"file": str(path), "sop_instance_uid": uid})

        async with open_remote(place, access, say) as archive:
            return await telling.along(archive.get(question, out, arrived))
