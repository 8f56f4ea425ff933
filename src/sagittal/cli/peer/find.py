"""`sagittal find`."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import aclosing

import click

from sagittal.cli.output import json_option, json_text, result, run, say
from sagittal.cli.peer.options import Level, model_options, place_options
from sagittal.client.keys import LEVELS, Question, parse_keys, usual
from sagittal.client.match import row_of
from sagittal.client.opening import open_remote
from sagittal.client.place import Access, Place


@click.command("find")
@place_options
@click.option("-L", "--level", type=Level(LEVELS), default="study", show_default=True)
@click.option(
    "-k", "--key", "keys", multiple=True, metavar="KEY[=VALUE]", help="Keyword or tag, Sequence.Keyword; repeatable."
)
@click.option("-n", "--limit", type=click.IntRange(1), help="Cancel after so many matches.")
@model_options
@click.option("--relational", is_flag=True, help="Ask for relational queries: keys of any level (DIMSE).")
@click.option("--fuzzy", is_flag=True, help="Ask for fuzzy matching of names.")
@click.option("--datetime", "combined", is_flag=True, help="Ask for dates and times matched as one (DIMSE).")
@click.option("--timezone", default="", metavar="+HHMM", help="Our offset from UTC: ask for dates and times in it.")
@json_option
def command(
    place: Place,
    access: Access,
    level: str,
    keys: tuple[str, ...],
    limit: int | None,
    model: str | None,
    relational: bool,
    fuzzy: bool,
    combined: bool,
    timezone: str,
    as_json: bool,
) -> int:
    """Query ARCHIVE: AET@host:port by C-FIND, a DICOMweb URL by QIDO-RS, or a data directory."""
    wanted = parse_keys(keys)
    if all("=" in key for key in keys):  # nothing is said about what to return
        wanted = usual(level, wanted)
    question = Question(level, wanted, model or "study", relational, fuzzy, combined, timezone, limit)
    run(_find(place, access, question, as_json))
    return 0


async def _find(place: Place, access: Access, question: Question, as_json: bool) -> None:
    async with open_remote(place, access, say) as archive, aclosing(archive.find(question)) as matches:
        async for match in matches:
            show(match, question.keys, as_json)


def show(match: dict[str, object], wanted: Iterable[int], as_json: bool) -> None:
    """One match: the DICOM JSON object (PS3.18 F), or its values for a person, those of `wanted` tags first."""
    if as_json:
        click.echo(json_text(match))
    else:
        result(False, row_of(match, wanted))
