"""Stores by every way in and out: called AE titles, nodes, URLs, commands; the same UIDs with other content in each."""

from __future__ import annotations

import asyncio
import json
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from builders import Built, build
from conftest import Served
from conftest import sagittal_here as sagittal

from sagittal.dicom.syntaxes import EXPLICIT_LE
from sagittal.net.client import Peer, Proposal, connect

CONFIG = """
[stores.research]
called_aets = ["RESEARCH1"]

[stores.trial]

[[nodes]]
aet = "TRIALCT"
host = "127.0.0.1"
port = 104
store = "trial"
"""
HELD = {"": build(1), "research": build(1, patient_id="R1", patient_name="Research^One"),
        "trial": build(1, patient_id="T1", patient_name="Trial^One")}  # fmt: skip
STUDY = HELD[""].study_uid
CALLED = {"": "SAGITTAL", "research": "RESEARCH1", "trial": "SAGITTAL"}
CALLING = {"": "CT1", "research": "CT1", "trial": "TRIALCT"}


@pytest.fixture
def server(tmp_path: Path, start_server: Callable[..., Served]) -> Served:
    (tmp_path / "sagittal.toml").write_text(CONFIG)
    return start_server("--config", str(tmp_path / "sagittal.toml"))


def prefix(store: str) -> str:
    return f"/stores/{store}" if store else ""


def ask(server: Served, path: str, accept: str = "application/dicom+json") -> bytes:
    request = urllib.request.Request(f"{server.http}{path}", headers={"accept": accept})
    with urllib.request.urlopen(request) as answer:
        return answer.read()  # type: ignore[no-any-return]


async def send(server: Served, called: str, calling: str, built: Built) -> int:
    peer = Peer(called, server.host, server.port)
    async with await connect(peer, calling, [Proposal(built.sop_class_uid, [EXPLICIT_LE])]) as association:
        return (await association.store(built.sop_class_uid, built.sop_instance_uid, EXPLICIT_LE, built.data)).status


def post(server: Served, store: str, built: Built) -> None:
    body = b"--b\r\nContent-Type: application/dicom\r\n\r\n" + built.part10 + b"\r\n--b--\r\n"
    kind = 'multipart/related; type="application/dicom"; boundary=b'
    request = urllib.request.Request(f"{server.http}{prefix(store)}/dicom-web/studies", body, {"content-type": kind})
    urllib.request.urlopen(request).close()


def put(server: Served, way: str, tmp_path: Path) -> None:
    for store, built in HELD.items():
        if way == "C-STORE":
            assert asyncio.run(send(server, CALLED[store], CALLING[store], built)) == 0
        elif way == "STOW":
            post(server, store, built)
        else:
            (tmp_path / "one.dcm").write_bytes(built.part10)
            named = ["--store", store] if store else []
            ran = sagittal("import", tmp_path / "one.dcm", "--data", server.data, *named)
            assert (ran.returncode, ran.stderr.splitlines()[-1]) == (0, "1 stored"), ran.stderr


def found(*arguments: str | Path) -> list[Any]:
    ran = sagittal(
        "find", *arguments, "-k", f"StudyInstanceUID={STUDY}", "-k", "PatientName", "-k", "RetrieveAETitle", "--json"
    )
    assert ran.returncode == 0, ran.stderr
    return [json.loads(line) for line in ran.stdout.splitlines()]


@pytest.mark.parametrize("way", ["C-STORE", "STOW", "import"])
def test_what_comes_by_one_way_is_seen_by_all_in_its_store_only(server: Served, tmp_path: Path, way: str) -> None:
    put(server, way, tmp_path)
    for store, built in HELD.items():
        name = {"Alphabetic": built_name(built)}
        peer = f"{CALLED[store]}@{server.dimse}"
        calling = ["--aet", CALLING[store]]
        by_dimse = found(peer, *calling)
        by_url = found(f"{server.http}{prefix(store)}/dicom-web")
        by_folder = found(server.data, *(["--store", store] if store else []))
        for matches in (by_dimse, by_url, by_folder):
            assert [match["00100010"]["Value"] for match in matches] == [[name]], (way, store)
            title = "RESEARCH1" if store == "research" else "SAGITTAL"
            assert matches[0]["00080054"]["Value"] == [title]
        out = tmp_path / f"got-{store}"
        ran = sagittal("get", peer, *calling, "-k", f"StudyInstanceUID={STUDY}", "-o", out)
        assert ran.returncode == 0, ran.stderr
        (file,) = out.iterdir()
        assert built.data in file.read_bytes()
        assert built.data in ask(
            server, f"{prefix(store)}/dicom-web/studies/{STUDY}", 'multipart/related; type="application/dicom"'
        )
        exported = tmp_path / f"exported-{store}"
        ran = sagittal("export", "--data", server.data, "-o", exported, *(["--store", store] if store else []))
        assert ran.returncode == 0, ran.stderr
        assert [file.read_bytes() for file in exported.rglob("*.dcm")] == [built.part10]


def built_name(built: Built) -> str:
    return next(name for name in ("Doe^Jane", "Research^One", "Trial^One") if name.encode() in built.data)


def test_commands_on_a_directory_that_nobody_holds(server: Served, tmp_path: Path) -> None:
    put(server, "C-STORE", tmp_path)
    server.stop()
    assert found(server.data, "--store", "research")[0]["00100010"]["Value"] == [{"Alphabetic": "Research^One"}]
    (tmp_path / "two.dcm").write_bytes(build(2, study=2).part10)
    assert sagittal("import", tmp_path / "two.dcm", "--data", server.data, "--store", "trial").returncode == 0
    ran = sagittal("export", "--data", server.data, "--store", "trial", "-o", tmp_path / "trial.zip", "--json")
    assert len(ran.stdout.splitlines()) == 2
    for command in (["import", tmp_path / "two.dcm"], ["export", "-o", tmp_path / "x"], ["nodes", "add", "A@h:104"],
                    ["config", "token", "add", "t"]):  # fmt: skip
        ran = sagittal(*command, "--data", server.data, "--store", "none")
        assert ran.returncode == 2, ran.stderr
        assert "there is no store 'none'; stores are main research trial" in ran.stderr
    ran = sagittal("find", server.data, "--store", "none", "-k", "PatientID=*")
    assert ran.returncode == 2
    ran = sagittal("find", f"SAGITTAL@{server.dimse}", "--store", "trial", "-k", "PatientID=*")
    assert ran.returncode == 2
    assert "call a peer by the title of its store" in ran.stderr


def test_nodes_and_tokens_of_a_store(server: Served, tmp_path: Path) -> None:
    place = ["--data", server.data]
    assert sagittal("nodes", "add", "CT9@192.0.2.1:104", "--store", "research", *place).returncode == 0
    assert "store research" in sagittal("nodes", "list", *place).stdout
    assert "store: research" in sagittal("nodes", "show", "CT9", *place).stdout
    assert asyncio.run(send(server, "SAGITTAL", "CT9", HELD["research"])) == 0
    assert len(json.loads(ask(server, "/stores/research/dicom-web/studies"))) == 1
    secret = sagittal("config", "token", "add", "reader", "--store", "research", *place).stdout.strip()
    assert "store research" in sagittal("config", "token", "list", *place).stdout
    for path, status in (("/stores/research", 200), ("", 403), ("/stores/trial", 403), ("/stores/none", 404)):
        request = urllib.request.Request(f"{server.http}{path}/dicom-web/studies")
        request.add_header("authorization", f"Bearer {secret}")
        request.add_header("accept", "application/dicom+json")
        try:
            with urllib.request.urlopen(request) as answer:
                got = answer.status
        except urllib.error.HTTPError as error:
            got = error.code
        assert got == status, path


def test_the_configuration_shows_stores_and_refuses_unknown_ones(tmp_path: Path) -> None:
    file = tmp_path / "sagittal.toml"
    file.write_text(CONFIG)
    shown = sagittal("config", "show", "--config", file).stdout
    assert 'stores.research = {called_aets = ["RESEARCH1"]}' in shown
    for text, said in (
        (CONFIG.replace('"trial"', '"other"'), "there is no store other"),
        (CONFIG.replace("RESEARCH1", "SAGITTAL"), "SAGITTAL is a title of the archive"),
        (
            CONFIG.replace("[stores.trial]", '[stores.trial]\ncalled_aets = ["RESEARCH1"]'),
            "a title of the store research",
        ),
        (CONFIG.replace("stores.trial", "stores.Trial"), "is no name of a store"),
    ):
        file.write_text(text)
        ran = sagittal("config", "show", "--config", file)
        assert ran.returncode == 2
        assert said in ran.stderr
