"""`sagittal wado`."""

from __future__ import annotations

import re
from pathlib import Path

import click

from sagittal.cli.output import json_option, json_text, result, run, say
from sagittal.cli.peer.options import report, url_options
from sagittal.client.outcome import Retrieved
from sagittal.client.place import Access, Url

_OBJECTS = re.compile(r"/studies/[^/]+(/series/[^/]+(/instances/[^/]+)?)?\Z")


@click.command("wado")
@url_options
@click.argument("resource")
@click.option("--accept", metavar="TYPE", help="Media type to ask for [as the server has it].")
@click.option("-o", "--out", type=click.Path(path_type=Path, file_okay=False), default=Path(), help="Folder [.]")
@json_option
def command(url: Url, access: Access, resource: str, accept: str | None, out: Path, as_json: bool) -> int:
    """WADO-RS: retrieve RESOURCE of the DICOMweb server at URL.

    studies/UID, …/series/UID, …/instances/UID: objects into a folder. …/metadata: to stdout, with --json one object a
    line. …/frames/1,2, …/rendered, …/bulkdata and all else: each part into a file.
    """
    path = "/" + resource.strip("/")
    if path.partition("?")[0].endswith("/metadata"):
        run(_metadata(url, access, path, accept or "application/dicom+json", as_json))
        return 0
    return report(run(_retrieve(url, access, path, accept, out, as_json)), as_json)


async def _metadata(url: Url, access: Access, path: str, accept: str, as_json: bool) -> None:
    from sagittal.client.dicomweb import json_array, open_url

    async with open_url(url, access, say) as archive, archive.asking("GET", path, headers={"accept": accept}) as answer:
        if not as_json:
            async for data in answer.aiter_bytes():
                click.echo(data, nl=False)
            click.echo()
            return
        for row in await json_array(answer):
            click.echo(json_text(row))


async def _retrieve(url: Url, access: Access, path: str, accept: str | None, out: Path, as_json: bool) -> Retrieved:
    from sagittal.client.dicomweb import OBJECTS, open_url
    from sagittal.client.parts import Numbered, Objects

    def arrived(file: Path, uid: str) -> None:
        row = {"file": str(file)} | ({"sop_instance_uid": uid} if uid else {})
        result(as_json, row, str(file))

    async with open_url(url, access, say) as archive:
        if _OBJECTS.match(path) and accept is None:
            return await archive.retrieve(path, Objects(out, arrived), OBJECTS)
        stem, _, last = path.partition("?")[0].rpartition("/")
        frames = stem.endswith("/frames")
        numbers = [int(number) for number in last.split(",") if number.isdigit()] if frames else []
        named = "frame" if frames else last if last.isalnum() else "part"
        return await archive.retrieve(path, Numbered(out, named, numbers, arrived), accept or "*/*")
