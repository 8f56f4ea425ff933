"""`sagittal serve` as a program: ready line, exit statuses, who is let in, what is imported before the first C-ECHO."""

from __future__ import annotations

import json
import socket
import stat
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Served, sagittal
from pynetdicom import AE
from pynetdicom.pdu_primitives import UserIdentityNegotiation
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]
from wire import image, part10

FREE_PORTS = ("--http-port", "0", "--dimse-port", "0")


def test_ready_line_and_server_file(server):
    assert server.http.startswith("http://127.0.0.1:")
    file = server.data / "server.json"
    told = json.loads(file.read_text())
    assert (told["http"], told["dimse"], told["aet"]) == (server.http, server.dimse, "SAGITTAL")
    assert Path(told["data"]) == server.data.resolve()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    with urllib.request.urlopen(f"{server.http}/readyz") as answer:
        assert json.load(answer) == {"ready": True, "reasons": []}
    assert server.stop() == 0
    assert not file.exists()
    assert {path.name for path in server.data.iterdir()} >= {"index.db", "objects", "staging", "lock"}


def test_a_person_gets_the_line_to_copy(tmp_path):
    command = [sys.executable, "-m", "sagittal", "serve", "--data", str(tmp_path / "d"), *FREE_PORTS]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(6)]
        process.terminate()
    assert "dcmsend --no-halt -aec SAGITTAL" in "".join(lines)
    assert process.returncode == 0


def test_a_held_directory_is_exit_status_1(server):
    done = sagittal("serve", "--data", server.data, *FREE_PORTS)
    assert done.returncode == 1
    assert "another process" in done.stderr


@pytest.mark.parametrize("option", ["--dimse-port", "--http-port"])
def test_a_taken_port_is_exit_status_1(option, tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        options = [*FREE_PORTS, option, port]
        done = sagittal("serve", "--data", tmp_path / "d", *options)
    assert done.returncode == 1
    assert "cannot listen" in done.stderr and port in done.stderr
    assert not (tmp_path / "d" / "server.json").exists()


def test_variables_that_are_no_settings_are_told(monkeypatch, tmp_path):
    monkeypatch.setenv("SAGITTAL_DTAA", "elsewhere")
    process = [sys.executable, "-m", "sagittal", "serve", "--data", str(tmp_path / "d"), *FREE_PORTS, "--json"]
    with subprocess.Popen(process, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as served:
        assert served.stdout is not None and served.stdout.readline()
        served.terminate()
        assert "SAGITTAL_DTAA is not a setting" in served.communicate()[1]
    monkeypatch.setenv("SAGITTAL_DIMSE__PROT", "104")
    done = sagittal("serve", "--data", tmp_path / "d", *FREE_PORTS)
    assert done.returncode == 2 and "SAGITTAL_DIMSE__PORT" in done.stderr


def test_a_data_directory_that_is_a_file(tmp_path):
    (tmp_path / "d").write_text("a file")
    done = sagittal("serve", "--data", tmp_path / "d", *FREE_PORTS)
    assert done.returncode == 1
    assert f"cannot use {tmp_path / 'd'}" in done.stderr


@pytest.mark.parametrize(
    "options",
    [
        ["--host", "0.0.0.0"],
        ["--host", "::"],
        ["--host", "0.0.0.0", "--durability", "off"],
        ["--aet", "MORE_THAN_SIXTEEN_CHARACTERS"],
        ["--node", "nowhere"],
        ["--config", "/nonexistent.toml"],
        ["--dimse-port", "70000"],
    ],
)
def test_what_is_exit_status_2(options, tmp_path):
    done = sagittal("serve", "--data", tmp_path / "d", *FREE_PORTS, *options)
    assert done.returncode == 2, done.stderr


def test_an_unsafe_bind_tells_the_lines_to_type(tmp_path):
    data = tmp_path / "our data"
    told = sagittal("serve", "--data", data, "--host", "0.0.0.0", *FREE_PORTS).stderr
    assert f"sagittal nodes add AET@host:port --data '{data}'" in told
    assert f"sagittal config token add NAME --data '{data}'" in told


def test_beyond_loopback_the_ae_table_decides(start_server, tmp_path):
    data = tmp_path / "d"
    assert sagittal("nodes", "add", "KNOWN@127.0.0.1:104", "--data", data).returncode == 0
    assert sagittal("nodes", "add", "ELSEWHERE@192.0.2.1:104", "--data", data).returncode == 0
    assert len(sagittal("config", "token", "add", "me", "--data", data).stdout.strip()) >= 32
    server = start_server("--host", "0.0.0.0", data=data)
    peer = f"SAGITTAL@127.0.0.1:{server.port}"
    assert sagittal("echo", peer, "--aet", "KNOWN").returncode == 0
    for calling, called in (("STRANGER", "SAGITTAL"), ("ELSEWHERE", "SAGITTAL"), ("KNOWN", "OTHER")):
        done = sagittal("echo", f"{called}@127.0.0.1:{server.port}", "--aet", calling)
        assert done.returncode == 3, (calling, called, done.stderr)
    assert rejected_with("STRANGER", "SAGITTAL", server.port) == (1, 1, 3)
    assert rejected_with("KNOWN", "OTHER", server.port) == (1, 1, 7)


EVERY_ADDRESS = ["0.0.0.0", "::"] if socket.has_dualstack_ipv6() else ["0.0.0.0"]


@pytest.mark.parametrize("host", EVERY_ADDRESS)
def test_commands_reach_a_server_on_every_address(start_server, tmp_path, host):
    data, letter = tmp_path / "d", tmp_path / "letter.dcm"
    letter.write_bytes(part10(image()))
    assert sagittal("nodes", "add", "KNOWN@127.0.0.1:104", "--data", data).returncode == 0
    token = sagittal("config", "token", "add", "me", "--data", data).stdout.strip()
    server = start_server("--host", host, data=data)
    assert sagittal("nodes", "add", "NEW@127.0.0.1:105", "--data", data).returncode == 0
    assert "NEW@127.0.0.1:105" in sagittal("nodes", "list", "--data", data).stdout
    assert sagittal("echo", f"SAGITTAL@127.0.0.1:{server.port}", "--aet", "NEW").returncode == 0
    assert sagittal("echo", f"SAGITTAL@{server.dimse}", "--aet", "ELSE").returncode == 3
    assert sagittal("import", "-q", letter, "--data", data).returncode == 0
    asked = urllib.request.Request(f"{server.http}/dicom-web/instances", headers={"authorization": f"Bearer {token}"})
    with urllib.request.urlopen(asked) as answer:
        assert len(json.load(answer)) == 1


def rejected_with(calling: str, called: str, port: int) -> tuple[int, int, int]:
    ae = AE(calling)
    ae.add_requested_context(Verification)
    for _ in range(5):
        association = ae.associate("127.0.0.1", port, ae_title=called)
        if not association.is_aborted:  # one in a hundred times pynetdicom aborts before it has read the rejection
            break
    assert association.is_rejected
    answer = association.acceptor.primitive
    return answer.result, answer.result_source, answer.diagnostic


def test_on_loopback_any_title_is_let_in_and_a_user_is_noted(server):
    identity = UserIdentityNegotiation()
    identity.user_identity_type = 1
    identity.primary_field = b"jane\nroot"
    ae = AE("ANYBODY")
    ae.add_requested_context(Verification)
    association = ae.associate(server.host, server.port, ae_title="ANYTHING", ext_neg=[identity])
    assert association.is_established
    assert association.send_c_echo().Status == 0
    association.release()
    assert "\nroot" not in server.log.read_text()


def test_nodes_take_effect_without_restart(server):
    study = "1.2.3"
    before = sagittal("move", server.peer, "--to", "NEW", "-k", f"StudyInstanceUID={study}", "--json")
    assert json.loads(before.stdout)["status"] == "A801"
    assert sagittal("nodes", "add", "NEW@127.0.0.1:104", "--data", server.data).returncode == 0
    after = sagittal("move", server.peer, "--to", "NEW", "-k", f"StudyInstanceUID={study}", "--json")
    assert json.loads(after.stdout)["status"] == "0000"  # nothing matches
    rows = sagittal("nodes", "list", "--data", server.data, "--json").stdout.splitlines()
    assert [json.loads(row)["peer"] for row in rows] == ["NEW@127.0.0.1:104"]
    assert sagittal("nodes", "remove", "NEW", "--data", server.data).returncode == 0
    again = sagittal("move", server.peer, "--to", "NEW", "-k", f"StudyInstanceUID={study}", "--json")
    assert json.loads(again.stdout)["status"] == "A801"
    assert sagittal("nodes", "add", "no node", "--data", server.data).returncode == 2


def test_tokens_take_effect_without_restart(server):
    url = f"{server.http}/dicom-web/studies"

    def status(token: str = "") -> int:
        request = urllib.request.Request(url, headers={"authorization": f"Bearer {token}"} if token else {})
        try:
            with urllib.request.urlopen(request) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code

    assert status() in (200, 204)
    token = sagittal("config", "token", "add", "viewer", "--data", server.data).stdout.strip()
    assert (status(), status("wrong"), status(token)) == (401, 401, status(token))
    assert status(token) in (200, 204)
    assert sagittal("config", "token", "list", "--data", server.data).stdout.startswith("viewer\t")
    # Commands on the directory go on: the server's own token is in server.json.
    assert sagittal("nodes", "list", "--data", server.data).returncode == 0
    assert sagittal("config", "token", "revoke", "viewer", "--data", server.data).returncode == 0
    assert status() in (200, 204)
    assert token not in server.log.read_text()


EARLY = """
import asyncio, json, os, signal, sys
from pathlib import Path
from sagittal import config, serve
from sagittal.net.client import Peer, connect

settings = config.load(None, {"data": sys.argv[1], "dimse": {"port": 0}, "web": {"port": 0}})

async def echo(ready):
    host, _, port = ready["dimse"].rpartition(":")
    async with await connect(Peer("X", host, int(port)), "Y", [("1.2.840.10008.1.1", ["1.2.840.10008.1.2"])]) as peer:
        status = await peer.echo()
    print(json.dumps({"status": status, "modules": sorted(sys.modules)}))
    os.kill(os.getpid(), signal.SIGTERM)

tasks = []
asyncio.run(serve.serve(settings, lambda ready: tasks.append(asyncio.ensure_future(echo(ready)))))
"""


def test_nothing_heavy_is_imported_before_the_first_echo(tmp_path):
    command = [sys.executable, "-c", EARLY, str(tmp_path / "d")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["status"] == 0
    heavy = {"pydicom", "alembic", "sqlalchemy", "dbos", "numpy", "fastapi", "pydantic", "imagecodecs", "PIL", "rich"}
    assert not heavy & set(told["modules"])


def test_help_imports_nothing_heavy():
    code = "import sys; from sagittal.cli import main; sys.argv = ['sagittal', '--help']\ntry: main()\nfinally: "
    code += "print(sorted(m for m in sys.modules if m.startswith('sagittal.')), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert "serve" in done.stdout
    assert done.stderr.strip() == "['sagittal.cli', 'sagittal.errors']"


def test_running_servers_are_independent(start_server: Callable[..., Served]):
    first, second = start_server("--aet", "ONE"), start_server("--aet", "TWO")
    assert (first.aet, second.aet) == ("ONE", "TWO")
    assert first.port != second.port
