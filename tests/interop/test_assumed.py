"""What the archive assumes of every sender that says nothing: character set and offset from UTC, by each way in."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from builders import CT, Built, build
from conftest import Served, sagittal

from sagittal.dicom.syntaxes import EXPLICIT_LE
from sagittal.net.client import Peer, Proposal, connect

NAME = "Müller^Jürgen"
SILENT = build(1, study="silent", extra={"PatientName": NAME.encode("latin-1")})
SAYS = build(1, study="says", charset="ISO_IR 144", patient_name="Иван", extra={"TimezoneOffsetFromUTC": "-0500"})
CONFIG = """
character_set = "ISO_IR 100"
timezone = "+0100"
[[nodes]]
aet = "GREEK"
host = "192.0.2.1"
port = 104
character_set = "ISO_IR 126"
"""


async def send(server: Served, calling: str, built: Built) -> None:
    peer = Peer(server.aet, server.host, server.port)
    async with await connect(peer, calling, [Proposal(CT, [EXPLICIT_LE])]) as association:
        assert (await association.store(CT, built.sop_instance_uid, EXPLICIT_LE, built.data)).status == 0


def post(server: Served, built: Built) -> None:
    kind = {"content-type": "application/dicom"}
    url = f"{server.http}/dicom-web/studies"
    assert httpx.post(url, content=built.part10, headers=kind, timeout=60).status_code == 200


def held(server: Served, built: Built) -> tuple[str, str]:
    """The patient's name and the offset from UTC of the study."""
    url = f"{server.http}/dicom-web/studies?StudyInstanceUID={built.study_uid}&includefield=00080201"
    (row,) = httpx.get(url, headers={"accept": "application/dicom+json"}, timeout=60).json()
    return row["00100010"]["Value"][0]["Alphabetic"], row["00080201"]["Value"][0]


@pytest.mark.parametrize("way", ["C-STORE", "STOW", "import"])
def test_what_is_assumed_of_all(start_server: Callable[..., Served], tmp_path: Path, way: str) -> None:
    (tmp_path / "sagittal.toml").write_text(CONFIG)
    server = start_server("--config", str(tmp_path / "sagittal.toml"))
    for built in (SILENT, SAYS):
        if way == "C-STORE":
            asyncio.run(send(server, "STRANGER", built))
        elif way == "STOW":
            post(server, built)
        else:
            (tmp_path / "one.dcm").write_bytes(built.part10)
            assert sagittal("import", tmp_path / "one.dcm", "--data", server.data).returncode == 0
    assert held(server, SILENT) == (NAME, "+0100")
    assert held(server, SAYS) == ("Иван", "-0500")


def test_a_node_goes_before_it(start_server: Callable[..., Served], tmp_path: Path) -> None:
    (tmp_path / "sagittal.toml").write_text(CONFIG)
    server = start_server("--config", str(tmp_path / "sagittal.toml"))
    greek = build(1, study="greek", extra={"PatientName": "Νίκος".encode("iso8859-7")})
    asyncio.run(send(server, "GREEK", greek))
    assert held(server, greek) == ("Νίκος", "+0100")


def found(data: Path) -> list[Any]:
    ran = sagittal("find", data, "-k", "PatientName", "-k", "TimezoneOffsetFromUTC", "--json")
    assert ran.returncode == 0, ran.stderr
    return [json.loads(line) for line in ran.stdout.splitlines()]


def test_an_import_into_a_directory_says_it_itself(server: Served, tmp_path: Path) -> None:
    (tmp_path / "one.dcm").write_bytes(SILENT.part10)
    said = ("--character-set", "ISO_IR 100", "--timezone", "+0100")
    ran = sagittal("import", tmp_path / "one.dcm", "--data", tmp_path / "data", *said)
    assert ran.returncode == 0, ran.stderr
    (match,) = found(tmp_path / "data")
    assert match["00100010"]["Value"] == [{"Alphabetic": NAME}]
    ran = sagittal("import", tmp_path / "one.dcm", "--data", server.data, *said)
    assert ran.returncode == 2
    assert "a running archive assumes what its settings say" in ran.stderr
    ran = sagittal("import", tmp_path / "one.dcm", "--data", tmp_path / "other", "--timezone", "noon")
    assert ran.returncode == 2 and "'noon' is not an offset" in ran.stderr


@pytest.mark.parametrize("text", ['character_set = "KLINGON"', 'timezone = "noon"'])
def test_what_cannot_be_assumed_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "sagittal.toml").write_text(text)
    ran = sagittal("config", "show", "--config", tmp_path / "sagittal.toml")
    assert ran.returncode == 2
    assert text.split('"')[1] in ran.stderr
