"""`sagittal find`."""

from __future__ import annotations

from contextlib import aclosing

import click

from sagittal.cli.output import json_option, result, run, say
from sagittal.cli.peer.options import (
    LEVELS,
    PLAIN,
    identifier,
    json_model,
    name_of_tag,
    open_association,
    parse_keys,
    peer_options,
    read_response,
    syntax_for,
)
from sagittal.dicom.sopclasses import PATIENT_ROOT_FIND, STUDY_ROOT_FIND
from sagittal.net.client import Peer, Proposal

# What is asked for when no key is given: enough to tell one from the other.
_USUAL = {
    "patient": ("PatientID", "PatientName", "PatientBirthDate", "PatientSex"),
    "study": ("StudyInstanceUID", "StudyDate", "PatientID", "PatientName", "ModalitiesInStudy", "StudyDescription"),
    "series": ("SeriesInstanceUID", "Modality", "SeriesNumber", "SeriesDescription"),
    "image": ("SOPInstanceUID", "SOPClassUID", "InstanceNumber"),
}
_CONTROL = (0x00080005, 0x00080052, 0x00080054, 0x00080056)


@click.command("find")
@peer_options
@click.option("-L", "--level", type=click.Choice(LEVELS), default="study", show_default=True)
@click.option("-k", "--key", "keys", multiple=True, metavar="KEY[=VALUE]", help="Keyword or tag; repeatable.")
@click.option("-n", "--limit", type=click.IntRange(1), help="Cancel after so many matches.")
@click.option("--patient-root", is_flag=True, help="Patient Root instead of Study Root.")
@json_option
def command(
    peer: Peer, aet: str, level: str, keys: tuple[str, ...], limit: int | None, patient_root: bool, as_json: bool
) -> int:
    """C-FIND: query PEER (AET@host:port)."""
    wanted = parse_keys(keys)
    if all("=" in key for key in keys):  # nothing is said about what to return
        wanted = parse_keys(_USUAL[level]) | wanted
    sop_class = PATIENT_ROOT_FIND if patient_root or level == "patient" else STUDY_ROOT_FIND
    return run(_find(peer, aet, sop_class, level, wanted, limit, as_json))


async def _find(
    peer: Peer, aet: str, sop_class: str, level: str, keys: dict[int, str], limit: int | None, as_json: bool
) -> int:
    count, final = 0, 0
    async with await open_association(peer, aet, [Proposal(sop_class, PLAIN)]) as association:
        syntax_uid = syntax_for(association, sop_class)
        responses = association.find(sop_class, identifier(level, keys, syntax_uid))
        async with aclosing(responses):
            async for response in responses:
                if response.status not in (0xFF00, 0xFF01):
                    final = _ended(response.status, response.comment)
                    continue
                count += 1
                _show(response.data_set or b"", syntax_uid, as_json)
                if count == limit:
                    break
    return final


def _show(data: bytes, syntax_uid: str, as_json: bool) -> None:
    """One match: the DICOM JSON Model (PS3.18 F), or its values for a person."""
    if as_json:
        click.echo(json_model(data, syntax_uid))
        return
    found = read_response(data, syntax_uid)
    result(False, {name_of_tag(tag): value for tag, value in found.items() if tag not in _CONTROL})


def _ended(status: int, comment: str) -> int:
    if status == 0:
        return 0
    say(f"the peer ended with {status:04X}" + (f": {comment}" if comment else ""))
    return 1
