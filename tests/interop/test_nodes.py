"""The AE table at a real server: named by command line, file and REST; what a node's words do to what it sends."""

from __future__ import annotations

import asyncio
import json
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from builders import CT, Built, build
from conftest import Served
from conftest import sagittal_here as sagittal
from pynetdicom import AE
from pynetdicom.pdu_primitives import UserIdentityNegotiation

from sagittal.dicom.syntaxes import EXPLICIT_LE, IMPLICIT_LE
from sagittal.net.client import Peer, Proposal, connect

NAME = "Wang^XiaoDong=王^小东"
SAID = ("--name", "The old CT", "--verbs", "echo,store", "--address", "10.0.0.0/8", "--address", "::1", "--tls",
        "--duplicates", "refuse", "--syntax-order", f"{IMPLICIT_LE},*", "--character-set", "GB18030",
        "--issuer", "HOSP", "--timezone", "+0800")  # fmt: skip
SHOWN = {
    "aet": "CT1", "host": "192.0.2.1", "port": 104, "tls": True, "verbs": ["echo", "store"],
    "syntax_order": [IMPLICIT_LE, "*"], "duplicates": "refuse", "name": "The old CT",
    "addresses": ["10.0.0.0/8", "::1"], "character_set": "GB18030", "issuer_of_patient_id": "HOSP",
    "timezone": "+0800", "peer": "CT1@192.0.2.1:104", "store": "",
}  # fmt: skip


def shown(data: Path) -> dict[str, Any]:
    row = json.loads(sagittal("nodes", "show", "CT1", "--data", data, "--json").stdout)
    row.pop("fixed", None)
    assert isinstance(row, dict)
    return row


@pytest.mark.parametrize("served", [False, True])
def test_a_node_is_kept_as_it_was_said(served: bool, tmp_path: Path, start_server: Callable[..., Served]) -> None:
    data = tmp_path / "data"
    server = start_server(data=data) if served else None
    place = ("--data", data)
    assert sagittal("nodes", "add", "CT1@192.0.2.1:104", *SAID, *place).returncode == 0
    assert shown(data) == SHOWN
    if server is not None:
        assert ask(server, "/api/nodes/CT1") == SHOWN | {"fixed": False}
        with pytest.raises(urllib.error.HTTPError, match="404"):
            ask(server, "/api/nodes/NOBODY")
    told = sagittal("nodes", "show", "CT1", *place).stdout.splitlines()
    assert {"addresses: 10.0.0.0/8 ::1", "tls: true", "name: The old CT"} <= set(told)
    assert sagittal("nodes", "list", *place).stdout == "CT1@192.0.2.1:104\techo store\tThe old CT\n"
    assert sagittal("nodes", "add", "CT1@192.0.2.1:105", *place).returncode == 0  # what isn't said again is forgotten
    plain = {"verbs": ["echo", "find", "get", "move", "store"], "syntax_order": [], "addresses": [], "tls": False}
    texts = dict.fromkeys(("duplicates", "name", "character_set", "issuer_of_patient_id", "timezone"), "")
    assert shown(data) == SHOWN | plain | texts | {"port": 105, "peer": "CT1@192.0.2.1:105"}
    for wrong in (("--timezone", "noon"), ("--address", "nowhere"), ("--character-set", "KLINGON"), ("--verbs", "x")):
        ran = sagittal("nodes", "add", "CT1@192.0.2.1:104", *wrong, *place)
        assert ran.returncode == 2, wrong
        assert wrong[1] in ran.stderr
    assert sagittal("nodes", "show", "NOBODY", *place).returncode != 0


@pytest.mark.parametrize(
    "words",
    [("nodes", "list"), ("nodes", "show", "CT1"), ("nodes", "remove", "CT1"), ("config", "token", "list"),
     ("config", "token", "revoke", "x")],
)  # fmt: skip
def test_to_look_makes_no_archive(tmp_path: Path, words: tuple[str, ...]) -> None:
    looked = sagittal(*words, "--data", tmp_path / "typo")
    assert (looked.returncode, (tmp_path / "typo").exists()) == (2, False)
    assert "is not a data directory" in looked.stderr


@pytest.mark.parametrize("served", [False, True])
def test_what_is_changed_is_told_as_json(served: bool, tmp_path: Path, start_server: Callable[..., Served]) -> None:
    data = tmp_path / "data"
    if served:
        start_server(data=data)
    place = ("--data", data, "--json")

    def told(*arguments: str) -> Any:
        ran = sagittal(*arguments, *place)
        assert ran.returncode == 0, ran.stderr
        (line,) = ran.stdout.splitlines()
        return json.loads(line)

    added = told("nodes", "add", "CT1@192.0.2.1:104", *SAID)
    added.pop("fixed", None)
    assert added == SHOWN
    for title in ("CT/1", "CT1/"):  # an AE title has slashes as it likes (PS3.5 6.2)
        told("nodes", "add", f"{title}@192.0.2.1:104")
        assert told("nodes", "remove", title) == {"aet": title, "removed": True}
    assert told("nodes", "remove", "CT1") == {"aet": "CT1", "removed": True}
    for command in ("remove", "show"):
        ran = sagittal("nodes", command, "CT1", *place)
        assert ran.returncode == 1
        assert "no" in ran.stderr
        assert "such node" in ran.stderr or "node CT1" in ran.stderr
    token = told("config", "token", "add", "reader", "--verb", "find")
    assert len(token.pop("token")) >= 32
    assert token == {"name": "reader", "verbs": ["find"], "store": ""}
    assert told("config", "token", "revoke", "reader") == {"name": "reader", "revoked": True}
    told("config", "token", "add", "ward 3/reader", "--verb", "find")
    assert told("config", "token", "revoke", "ward 3/reader") == {"name": "ward 3/reader", "revoked": True}


def ask(server: Served, path: str) -> Any:
    request = urllib.request.Request(f"{server.http}{path}", headers={"accept": "application/dicom+json"})
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


async def send(server: Served, calling: str, objects: list[Built], window: int) -> tuple[int, list[int], str]:
    """Over one association with as many tasks as the window has places; its width, the statuses, the syntax."""
    peer = Peer(server.aet, server.host, server.port)
    async with asyncio.timeout(60):
        proposals = [Proposal(CT, [EXPLICIT_LE, IMPLICIT_LE])]
        async with await connect(peer, calling, proposals, window=window) as association:
            (context,) = association.info.contexts
            if context.transfer_syntax != EXPLICIT_LE:
                return association.window, [], context.transfer_syntax
            answers = await asyncio.gather(
                *(association.store(CT, each.sop_instance_uid, EXPLICIT_LE, each.data) for each in objects)
            )
            return association.window, [answer.status for answer in answers], context.transfer_syntax


def test_what_a_node_says_reaches_what_is_held(tmp_path: Path, start_server: Callable[..., Served]) -> None:
    file = tmp_path / "sagittal.toml"
    file.write_text(
        '[[nodes]]\naet = "CT1"\nhost = "192.0.2.1"\nport = 104\ncharacter_set = "GB18030"\n'
        'issuer_of_patient_id = "HOSP"\ntimezone = "+0800"\nduplicates = "refuse"\n'
        f'[[nodes]]\naet = "MR1"\nhost = "192.0.2.2"\nport = 104\nsyntax_order = ["{IMPLICIT_LE}", "*"]\n'
    )
    server = start_server("--config", str(file))
    name = NAME.encode("gb18030")
    objects = [build(number, extra={"PatientName": name}) for number in range(1, 31)]
    width, statuses, _ = asyncio.run(send(server, "CT1", objects, 8))
    assert (width, statuses) == (8, [0] * 30)
    (study,) = ask(server, f"/dicom-web/studies?includefield=00100021&StudyInstanceUID={objects[0].study_uid}")
    person = study["00100010"]["Value"][0]
    assert (person["Alphabetic"], person["Ideographic"]) == tuple(NAME.split("="))
    assert study["00100021"]["Value"] == ["HOSP"]
    assert study["00201208"]["Value"] == [30]
    # Other content under a held UID: this node's is refused, a stranger's is kept beside.
    changed = [build(1, extra={"PatientName": name, "StudyDescription": "Other"})]
    assert asyncio.run(send(server, "CT1", changed, 1))[1] == [0x0111]
    assert asyncio.run(send(server, "STRANGER", changed, 1))[1] == [0xB000]
    assert asyncio.run(send(server, "MR1", changed, 1))[2] == IMPLICIT_LE


def identified(server: Served, calling: str, name: str, passcode: str) -> Any:
    """pynetdicom with a user identity: the association."""
    ae = AE(calling)
    ae.add_requested_context("1.2.840.10008.1.1")
    who = UserIdentityNegotiation()
    who.user_identity_type, who.positive_response_requested = 2, True
    who.primary_field, who.secondary_field = name.encode(), passcode.encode()
    return ae.associate(server.host, server.port, ae_title=server.aet, ext_neg=[who])


@pytest.mark.parametrize("required", [False, True])
def test_a_user_by_the_name_and_secret_of_a_token(
    required: bool, tmp_path: Path, start_server: Callable[..., Served]
) -> None:
    file = tmp_path / "sagittal.toml"
    file.write_text(f'[dimse]\nuser_identity = "{"required" if required else "optional"}"\n')
    server = start_server("--config", str(file))
    secret = sagittal("config", "token", "add", "jane", "--data", server.data).stdout.strip()
    association = identified(server, "CT1", "jane", secret)
    assert association.is_established
    assert association.acceptor.user_identity.server_response == b""
    assert association.send_c_echo().Status == 0
    association.release()
    association = identified(server, "CT1", "jane", "wrong")
    assert association.is_established == (not required)
    if required:
        # pynetdicom now and then sees the end of the connection before the answer that came ahead of it.
        again = (identified(server, "CT1", "jane", "wrong") for _ in range(5))
        primitive = association.acceptor.primitive or next(a.acceptor.primitive for a in again if a.acceptor.primitive)
        assert (primitive.result, primitive.result_source, primitive.diagnostic) == (1, 1, 1)
    else:
        assert association.acceptor.user_identity is None
        association.release()
