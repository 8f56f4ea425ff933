"""C-MOVE to a node that speaks TLS alone, with the authorities that the configuration names and with the system's."""

from __future__ import annotations

import ssl
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from builders import build
from conftest import Served
from conftest import sagittal_here as sagittal
from programs import need
from pynetdicom import AE, AllStoragePresentationContexts, evt

IMAGE = build(1)


@pytest.fixture
def receiver(certificates: tuple[Path, Path]) -> Iterator[tuple[int, list[str]]]:
    """The port of a storage SCP which wants a certificate of the caller, and what it was sent."""
    cert, key = certificates
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    context.load_verify_locations(cert)
    context.verify_mode = ssl.CERT_REQUIRED
    sent: list[str] = []

    def keep(event: evt.Event) -> int:
        sent.append(event.dataset.SOPInstanceUID)
        return 0

    ae = AE("READER")
    ae.supported_contexts = AllStoragePresentationContexts
    server = ae.start_server(("127.0.0.1", 0), block=False, ssl_context=context, evt_handlers=[(evt.EVT_C_STORE, keep)])
    assert server is not None
    yield server.server_address[1], sent
    server.shutdown()


@pytest.mark.parametrize("known", [True, False], ids=["named-authorities", "system-authorities"])
def test_move_to_a_node_with_tls(
    start_server: Callable[..., Served],
    receiver: tuple[int, list[str]],
    certificates: tuple[Path, Path],
    tmp_path: Path,
    known: bool,
) -> None:
    cert, key = certificates
    port, sent = receiver
    lines = ["[dimse]", f'tls_certificate = "{cert}"', f'tls_key = "{key}"']
    lines += [f'tls_node_authorities = "{cert}"'] if known else []
    lines += ["[[nodes]]", 'aet = "READER"', 'host = "127.0.0.1"', f"port = {port}", "tls = true"]
    (tmp_path / "sagittal.toml").write_text("\n".join(lines))
    served = start_server("--config", str(tmp_path / "sagittal.toml"))
    answer = httpx.post(
        f"{served.http}/dicom-web/studies", content=IMAGE.part10, headers={"content-type": "application/dicom"}
    )
    assert answer.status_code == 200
    done = sagittal("move", served.peer, "--tls", "--tls-ca", cert, "--to", "READER",
                    "-k", f"StudyInstanceUID={IMAGE.study_uid}")  # fmt: skip
    assert (done.returncode == 0) is known, done.stderr
    assert sent == ([IMAGE.sop_instance_uid] if known else [])


def test_authorities_that_cannot_be_read_are_told_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "sagittal.toml").write_text('[dimse]\ntls_node_authorities = "absent.pem"\n')
    done = sagittal("serve", "--data", tmp_path / "data", "--config", tmp_path / "sagittal.toml", "--http-port", "0")
    assert done.returncode == 2 and "absent.pem" in done.stderr


@pytest.mark.parametrize("clients", [False, True], ids=["server-alone", "clients-too"])
def test_the_lines_that_are_shown_send(
    start_server: Callable[..., Served], certificates: tuple[Path, Path], tmp_path: Path, clients: bool
) -> None:
    cert, key = certificates
    lines = ["[dimse]", f'tls_certificate = "{cert}"', f'tls_key = "{key}"']
    lines += [f'tls_authorities = "{cert}"'] if clients else []
    (tmp_path / "sagittal.toml").write_text("\n".join(lines))
    served = start_server("--config", str(tmp_path / "sagittal.toml"))
    dcmtk, own = httpx.get(f"{served.http}/api/summary").json()["senders"]
    for number, (line, peer) in enumerate(((dcmtk, ["-aec", "SAGITTAL", "127.0.0.1", str(served.port)]),
                                           (own, [served.peer]))):  # fmt: skip
        (tmp_path / f"{number}.dcm").write_bytes(build(number).part10)
        files = {"CA.pem": str(cert), "CERTIFICATE.pem": str(cert), "KEY.pem": str(key)}
        program, *options = (files.get(word, word) for word in line.split())
        sent = subprocess.run([need(program), *options, *peer, tmp_path / f"{number}.dcm"], capture_output=True)
        assert sent.returncode == 0, sent.stderr
        assert httpx.get(f"{served.http}/api/summary").json()["instances"] == number + 1
