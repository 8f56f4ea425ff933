"""Ways into an archive and out of it, by files of the corpus: what each answered, and the bytes that came back."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import httpx
from click.testing import CliRunner
from conftest import Served
from interop.corpus import CorpusFile, data_set_of, studies

from sagittal.cli import group

_EDGE = b"an-edge-that-is-in-no-file"
_MULTIPART = f'multipart/related; type="application/dicom"; boundary={_EDGE.decode()}'
ANY_SYNTAX = {"accept": "application/dicom; transfer-syntax=*"}


class Answer(NamedTuple):
    """What became of a file: "" when it was taken, else the status in the terms of this way."""

    status: str | int
    text: str = ""


def sagittal(*arguments: object) -> list[dict[str, Any]]:
    """A command in this process: the rows that it printed."""
    done = CliRunner().invoke(group, [*map(str, arguments), "--json"], catch_exceptions=False)
    return [json.loads(line) for line in done.stdout.splitlines()]


def by_store(served: Served, files: Sequence[CorpusFile]) -> dict[str, Answer]:
    """`sagittal store`."""
    rows = {row["file"]: row for row in sagittal("store", served.peer, "-q", *(file.path for file in files))}
    answers = {}
    for file in files:
        row = rows[str(file.path)]
        answers[file.name] = Answer("") if row["status"] == "0000" else Answer(row["status"] or "-", row["comment"])
    return answers


def by_import(served: Served, files: Sequence[CorpusFile]) -> dict[str, Answer]:
    """`sagittal import --url`."""
    return _import(files, "--url", served.http)


def into_directory(data: Path, files: Sequence[CorpusFile]) -> dict[str, Answer]:
    """`sagittal import --data` on a directory that nothing serves."""
    return _import(files, "--data", data)


def _import(files: Sequence[CorpusFile], *to: object) -> dict[str, Answer]:
    rows = {row["file"]: row for row in sagittal("import", *to, "-q", *(file.path for file in files))}
    answers = {}
    for file in files:
        row = rows[str(file.path)]
        stored = row["status"] in ("stored", "duplicate") and not row["reason"].startswith("warning")
        answers[file.name] = Answer("" if stored else row["status"], row["reason"])
    return answers


def by_stow(served: Served, files: Sequence[CorpusFile]) -> dict[str, Answer]:
    """STOW-RS, as many to a request as go into 8 MB; the request is written by hand."""
    return _stow(served, _parts(files, 8_000_000))


def by_stow_alone(served: Served, files: Sequence[CorpusFile]) -> dict[str, Answer]:
    """STOW-RS with one instance to a request, so that those without UIDs can be told too."""
    return _stow(served, ([file] for file in files))


def _stow(served: Served, parts: Iterable[list[CorpusFile]]) -> dict[str, Answer]:
    answers: dict[str, Answer] = {}
    with httpx.Client(timeout=60) as client:
        for part in parts:
            answers |= stow(client, served, part)
    return answers


def stow(client: httpx.Client, served: Served, files: Sequence[CorpusFile]) -> dict[str, Answer]:
    head = b"--" + _EDGE + b"\r\nContent-Type: application/dicom\r\n\r\n"
    body = b"".join(head + file.path.read_bytes() + b"\r\n" for file in files) + b"--" + _EDGE + b"--\r\n"
    response = client.post(f"{served.http}/dicom-web/studies", content=body, headers={"content-type": _MULTIPART})
    told = response.json()
    taken = {item["00081155"]["Value"][0]: item for item in told.get("00081199", {}).get("Value", [])}
    failed = [item for key in ("00081198", "0008119A") for item in told.get(key, {}).get("Value", [])]
    assert response.status_code == (409 if not taken else 202 if failed or _warned(taken) else 200)
    if len(files) == 1 and failed:  # one without UIDs can't be told by them
        return {files[0].name: Answer(failed[0]["00081197"]["Value"][0], failed[0]["00000902"]["Value"][0])}
    reasons = {item["00081155"]["Value"][0]: item["00000902"]["Value"][0] for item in failed if "00081155" in item}
    return {
        file.name: Answer("")
        if file.sop_instance_uid in taken and "00081196" not in taken[file.sop_instance_uid]
        else Answer(409, reasons.get(file.sop_instance_uid, str(failed)))
        for file in files
    }


def _warned(taken: dict[str, Any]) -> bool:
    return any("00081196" in item for item in taken.values())


def _parts(files: Iterable[CorpusFile], bytes_max: int) -> Iterable[list[CorpusFile]]:
    part: list[CorpusFile] = []
    held = 0
    for file in files:
        size = file.path.stat().st_size
        if part and held + size > bytes_max:
            yield part
            part, held = [], 0
        part.append(file)
        held += size
    if part:
        yield part


def by_get(served: Served, files: Sequence[CorpusFile], folder: Path) -> dict[str, bytes]:
    """The data sets that `sagittal get` receives, study by study."""
    for study, members in studies(files):
        rows = sagittal("get", served.peer, "-k", f"StudyInstanceUID={study}", "-o", folder)
        assert (rows[-1]["status"], rows[-1]["failed"]) == ("0000", 0), (members[0].name, rows[-1])
    return {file.name: data_set_of((folder / f"{file.sop_instance_uid}.dcm").read_bytes()) for file in files}


def by_wado(served: Served, files: Sequence[CorpusFile]) -> dict[str, bytes]:
    """The data sets that WADO-RS gives, in the transfer syntax in which they are stored."""
    found = {}
    with httpx.Client(base_url=f"{served.http}/dicom-web", headers=ANY_SYNTAX, timeout=60) as client:
        for file in files:
            response = client.get(file.resource)
            assert response.status_code == 200, (file.name, response.status_code, response.text[:300])
            found[file.name] = data_set_of(response.content)
    return found


def forget(served: Served, study_uids: Iterable[str]) -> None:
    """Delete studies, so that other content can come under the same UIDs. Those that are gone already are fine."""
    with httpx.Client(base_url=f"{served.http}/api", timeout=60) as client:
        for uid in study_uids:
            assert client.delete(f"/studies/{uid}").status_code in (200, 404, 410)
