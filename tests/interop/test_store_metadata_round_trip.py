"""Objects of the corpus taken apart over WADO-RS, as metadata and bulk data, and put together again over STOW-RS.

Daily one of each folder, transfer syntax and SOP class, all of them under `slow`. What the second archive holds says
the same, element by element: text in ISO_IR 192 where it isn't ASCII, and undefined lengths and paddings apart, which
metadata does not tell.
"""

from __future__ import annotations

import asyncio
import csv
import json
from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from archived import applied
from builders import opened
from interop.corpus import CorpusFile, Taken, corpus_files
from programs import corpus_path

from sagittal.archive.access import LOCAL
from sagittal.archive.archive import Archive
from sagittal.archive.ingest import Source
from sagittal.dicom.syntaxes import EXPLICIT_LE, syntax
from sagittal.errors import SagittalError

FILE_BYTES_MAX = 1_500_000
BOUNDARY = "round-trip"
# The transfer syntax in the object is another than its stream: it comes back in the right one.
MISLABELLED = {"OP/dcmjs__sample-op.dcm": "1.2.840.10008.1.2.4.50"}
# Processes that no current transfer syntax has are refused; so is a stream that its attributes contradict.
REFUSED = ("progressive", "says", "samples", "RLE segments", "fits", "YBR_")


def _places() -> set[str]:
    """The folders of the corpus with files that aren't too large."""
    folder = corpus_path()
    if folder is None:
        return set()
    with (folder / "MANIFEST.csv").open(encoding="utf-8") as table:
        small = {row["file"].partition("/")[0] for row in csv.DictReader(table) if int(row["bytes"]) <= FILE_BYTES_MAX}
    return small - {"malformed", "dicomdir", "invalidl", "worklist"}


def _files(folder: Path, place: str) -> list[CorpusFile]:
    files = (file for file in corpus_files(folder) if file.name.startswith(f"{place}/"))
    return [file for file in files if file.path.stat().st_size <= FILE_BYTES_MAX]


def _addresses(obj: Any) -> Iterator[str]:
    if isinstance(obj, dict):
        if isinstance(obj.get("BulkDataURI"), str):
            yield obj["BulkDataURI"]
        for value in obj.values():
            yield from _addresses(value)
    elif isinstance(obj, list):
        for value in obj:
            yield from _addresses(value)


def _part(type_: str, content: bytes, location: str = "") -> bytes:
    where = f"Content-Location: {location}\r\n" if location else ""
    return f"--{BOUNDARY}\r\nContent-Type: {type_}\r\n{where}\r\n".encode() + content + b"\r\n"


def _split(answer: httpx.Response) -> list[tuple[str, bytes]]:
    """Media type and content of the parts."""
    boundary = answer.headers["content-type"].partition("boundary=")[2].strip('"').encode()
    parts = (b"\r\n" + answer.content).split(b"\r\n--" + boundary)[1:-1]
    return [
        (head.decode().lower().partition("content-type: ")[2].partition("\r\n")[0], content)
        for head, _, content in (part.removeprefix(b"\r\n").partition(b"\r\n\r\n") for part in parts)
    ]


async def _taken_apart(client: httpx.AsyncClient, base: str) -> tuple[list[Any], bytes]:
    answer = await client.get(f"{base}/metadata", headers={"accept": "application/dicom+json"})
    objects = json.loads(answer.content)
    body = b""
    for address in dict.fromkeys(_addresses(objects)):
        accept = 'multipart/related; type="*/*"; transfer-syntax=*, */*'
        got = await client.get(address, headers={"accept": accept})
        assert got.status_code == 200, (address, got.text)
        parts = _split(got) if got.headers["content-type"].startswith("multipart") else [
            (got.headers["content-type"], got.content)
        ]  # fmt: skip
        body += b"".join(_part(type_, content, address) for type_, content in parts)
    return objects, body


def _said(obj: Any) -> Any:
    """What is compared: everything but addresses, character sets, and the length of a document, which storing adds."""
    if isinstance(obj, dict):
        left_out = ("BulkDataURI", "00080005", "00420015")
        said = {key: _said(value) for key, value in obj.items() if key not in left_out}
        if "InlineBinary" in said:  # odd lengths are evened
            octets = b64decode(said["InlineBinary"])
            said["InlineBinary"] = octets + b"\0" * (len(octets) & 1)
        return said
    return [_said(value) for value in obj] if isinstance(obj, list) else obj


async def _store(archive: Archive, path: Path) -> Any:
    transfer = archive.store_begin_part10(LOCAL, Source("import"))
    transfer.write(path.read_bytes())
    return await transfer.commit()


async def _round_trip(path: Path, folder: Path) -> None:
    async with opened(folder / "a") as first, opened(folder / "b") as second:
        try:
            outcome = await _store(first, path)
        except SagittalError:
            return  # what ingest refuses is not there to be taken apart
        if not outcome.study_uid:
            return
        base = (
            f"/dicom-web/studies/{outcome.study_uid}/series/{outcome.series_uid}/instances/{outcome.sop_instance_uid}"
        )
        async with (
            applied(first) as app, applied(second) as other, _client(app) as source, _client(other) as target
        ):  # fmt: skip
            (ref,) = await first.instances(LOCAL, sop_instance_uids=[outcome.sop_instance_uid])
            held = syntax(ref.syntax_uid)
            if not held.name or (held.frames == "none" and not held.deflated):
                return
            before = json.loads((await source.get(f"{base}/metadata")).content)
            if not _frames_known(before, ref):
                return
            before, bulk = await _taken_apart(source, base)
            body = _part("application/dicom+json", json.dumps(before).encode()) + bulk + f"--{BOUNDARY}--".encode()
            type_ = f'multipart/related; type="application/dicom+json"; boundary={BOUNDARY}'
            answer = await target.post("/dicom-web/studies", content=body, headers={"content-type": type_})
            if answer.status_code != 200:
                reason = next(iter(answer.json().get("00081198", answer.json().get("0008119A"))["Value"]))
                text = reason["00000902"]["Value"][0]
                assert any(word in text for word in REFUSED), text
                return
            after, again = await _taken_apart(target, base)
            (made,) = await second.instances(LOCAL, sop_instance_uids=[outcome.sop_instance_uid])
            stored_as = EXPLICIT_LE if syntax(ref.syntax_uid).native else ref.syntax_uid
            assert made.syntax_uid == MISLABELLED.get(path.parent.name + "/" + path.name, stored_as)
            assert _said(after) == _said(before)
            for made_of, given in zip(_contents(again), _contents(bulk), strict=True):
                # Of a JP2 file the codestream is kept.
                assert made_of in (given, given + b"\0") or (made_of in given + b"\0" and given[4:8] == b"jP  ")


def _contents(body: bytes) -> list[bytes]:
    parts = (b"\r\n" + body).split(f"\r\n--{BOUNDARY}".encode())[1:]
    return [part.removeprefix(b"\r\n").partition(b"\r\n\r\n")[2].removesuffix(b"\r\n") for part in parts]


def _frames_known(objects: list[Any], ref: Any) -> bool:
    if any("?" not in address and not address.endswith("/bulkdata/7FE00010") for address in _addresses(objects)):
        return False  # an icon that is encapsulated, which WADO-RS can't give
    return (
        "7FE00010" not in objects[0]
        or not syntax(ref.syntax_uid).encapsulated
        or "BulkDataURI" in objects[0]["7FE00010"]
    )


def _client(app: Any) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://localhost:8042")


@pytest.mark.parametrize("place", sorted(_places()))
def test_taken_apart_and_put_together(place: str, taken: Taken, corpus_dir: Path, tmp_path: Path) -> None:
    for number, file in enumerate(taken(_files(corpus_dir, place))):
        try:
            asyncio.run(_round_trip(file.path, tmp_path / str(number)))
        except Exception as error:
            error.add_note(file.name)
            raise
