"""A certificate for this machine; an archive that moves to a node; and pynetdicom, made patient.

It begins an operation only when its reactor has gone on from the last one. Else the reactor, which a busy machine may
not have let go on yet, takes an answer of the new operation for itself.
"""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from functools import partialmethod
from pathlib import Path
from socketserver import BaseServer
from typing import Any

import httpx
import pytest
from conftest import Served, serve
from interop.peers import free_port
from programs import need


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """One self-signed certificate for 127.0.0.1 that serves as its own authority, at both ends; and its key."""
    folder = tmp_path_factory.mktemp("tls")
    command = [need("openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
               "-keyout", "key.pem", "-out", "cert.pem", "-days", "2", "-subj", "/CN=sagittal-test",
               "-addext", "subjectAltName=IP:127.0.0.1"]  # fmt: skip
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return folder / "cert.pem", folder / "key.pem"


@pytest.fixture(scope="module")
def destination_port() -> int:
    """Where a test may listen as DEST."""
    return free_port()


@pytest.fixture(scope="module")
def moving(destination_port: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """An archive that has DEST as a node."""
    node = ("--node", f"DEST@127.0.0.1:{destination_port}")
    served = serve(tmp_path_factory.mktemp("moving") / "data", "--durability", "off", *node)
    yield served
    served.stop()


@pytest.fixture(scope="module")
def web(archive: Served) -> Iterator[httpx.Client]:
    """A client of the module's archive."""
    with httpx.Client(base_url=archive.http, timeout=60) as client:
        yield client


@pytest.fixture(scope="session", autouse=True)
def patient_associations() -> Iterator[None]:
    from pynetdicom.association import Association

    def patient(send: Any) -> Any:
        def sent(association: Any, *words: Any, **more: Any) -> Any:
            while association.is_requestor and association.is_established and association._is_paused:
                threading.Event().wait(0.001)
            return send(association, *words, **more)

        return sent

    with pytest.MonkeyPatch.context() as patch:
        # Else the end of each of its servers, which it looks for twice a second, takes that long.
        patch.setattr(BaseServer, "serve_forever", partialmethod(BaseServer.serve_forever, poll_interval=0.01))
        begun = [name for name in vars(Association) if name.startswith(("send_c_", "send_n_"))]
        for name in set(begun) - {"send_c_cancel"}:
            patch.setattr(Association, name, patient(getattr(Association, name)))
        yield
