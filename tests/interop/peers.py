"""Peers that tests start and ask: ports for them, programs that listen, and a cancel that has gone out."""

from __future__ import annotations

import secrets
import socket
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# Linux gives ports from 32,768 on by itself: one of those could be another test's before its peer listens on it.
_PORTS = range(10_000, 32_000)


def free_port() -> int:
    """A port of loopback on which nobody listens."""
    while True:
        port = secrets.choice(_PORTS)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port


@contextmanager
def listening(command: Sequence[str | Path], port: int) -> Iterator[None]:
    """A program, from when it listens on that port until it is told to end."""
    with subprocess.Popen(list(map(str, command)), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            while not _listens(port):
                assert process.poll() is None, f"{command[0]} ended with {process.returncode}"
                threading.Event().wait(0.01)
            yield
        finally:
            process.terminate()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def send_cancel(association: Any, message_id: int, model: str) -> None:
    """C-CANCEL by pynetdicom, whose reactor sends in its own time: returns when the bytes are with the system."""
    from pynetdicom import evt

    sent = threading.Event()
    association.bind(evt.EVT_DATA_SENT, lambda event: sent.set())
    association.send_c_cancel(message_id, query_model=model)
    assert sent.wait(20)
