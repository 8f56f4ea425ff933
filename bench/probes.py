"""Questions and retrievals: each returns seconds, and raises when the answer is not what was stored."""

from __future__ import annotations

import signal
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import cycle
from multiprocessing.synchronize import Event
from statistics import median

from bench.dimse import (
    FIND,
    FIND_RQ,
    GET,
    GET_RQ,
    MOVE,
    MOVE_RQ,
    PENDING,
    STORE_RQ,
    Address,
    Association,
    identifier,
    serve_store,
    store_response,
)
from bench.http import Connection
from bench.objects import Item
from bench.peers import Server, echo
from bench.sender import fork

DICOM_JSON = "application/dicom+json"
STORED = 'multipart/related; type="application/dicom"; transfer-syntax=*'
FRAMES = 'multipart/related; type="application/octet-stream"'
STUDY_KEYS = dict.fromkeys((0x00080020, 0x00080050, 0x00100010, 0x00100020, 0x0020000D), "") | {0x00080052: "STUDY"}
Probe = Callable[[], None]


class Wrong(Exception):
    """The archive answered, but not what it holds."""


def expect(what: str, found: int, wanted: int) -> None:
    if found != wanted:
        raise Wrong(f"{what}: {found} in place of {wanted}")


def study_of(item: Item) -> str:
    return f"/dicom-web/studies/{item.study}"


def instance_of(item: Item) -> str:
    return f"{study_of(item)}/series/{item.series}/instances/{item.sop_instance}"


def find(server: Address, questions: Sequence[dict[int, str]], matches: int) -> Probe:
    """C-FIND on one open association, one question after the other."""
    association = Association(server, [FIND])
    encoded = cycle([identifier(STUDY_KEYS | keys) for keys in questions])

    def probe() -> None:
        found = sum(message.status in PENDING for message in association.ask(FIND, FIND_RQ, next(encoded)))
        expect("C-FIND matches", found, matches)

    return probe


def qido(server: Address, questions: Sequence[str], matches: int) -> Probe:
    """QIDO-RS on one kept-alive connection: paths below the service, one after the other."""
    connection = Connection(server.http_port)
    paths = cycle(questions)

    def probe() -> None:
        answer = connection.get(f"/dicom-web/{next(paths)}", DICOM_JSON, keep=True)
        expect("QIDO matches", answer.body.count(b'"0020000D"'), matches)

    return probe


def fetch(port: int, paths: Iterable[str], accept: str, size_min: int = 1) -> Probe:
    """GET on one kept-alive connection, one path after the other; of a list round and round."""
    connection, asked = Connection(port), cycle(paths) if isinstance(paths, Sequence) else iter(paths)

    def probe() -> None:
        answer = connection.get(next(asked), accept)
        expect("status", answer.status, 200)
        if answer.size < size_min:
            raise Wrong(f"{answer.size} bytes in place of at least {size_min}")

    return probe


def get(server: Address, items: list[Item]) -> Probe:
    """C-GET of a whole study, received in this process."""

    def probe() -> None:
        association = Association(server, [GET], roles=(items[0].sop_class,))
        taken = 0
        keys = identifier({0x00080052: "STUDY", 0x0020000D: items[0].study})
        for message in association.ask(GET, GET_RQ, keys):
            if message.code == STORE_RQ:
                taken += 1
                association.sock.sendall(store_response(message))
        association.release()
        expect("objects by C-GET", taken, len(items))

    return probe


def move(server: Address, items: list[Item], destination: Destination) -> Probe:
    """C-MOVE of a whole study to the destination BENCH, which runs in a process of its own."""

    def probe() -> None:
        association = Association(server, [MOVE])
        keys = identifier({0x00080052: "STUDY", 0x0020000D: items[0].study})
        final = list(association.ask(MOVE, MOVE_RQ, keys, destination="BENCH"))[-1]
        association.release()
        expect("C-MOVE status", final.status, 0)
        size = destination.taken()
        if size < sum(item.size for item in items) * 0.99:
            raise Wrong(f"C-MOVE brought {size} bytes only")

    return probe


def wado_study(server: Address, items: list[Item]) -> Probe:
    """A whole study; a connection each time, since Orthanc closes it after such an answer."""

    def probe() -> None:
        answer = Connection(server.http_port).get(study_of(items[0]), STORED)
        expect("WADO-RS status", answer.status, 200)
        if answer.size < sum(item.size for item in items):
            raise Wrong(f"WADO-RS brought {answer.size} bytes only")

    return probe


def metadata(server: Address, items: list[Item]) -> Probe:
    connection = Connection(server.http_port)

    def probe() -> None:
        answer = connection.get(f"{study_of(items[0])}/series/{items[0].series}/metadata", DICOM_JSON, keep=True)
        expect("instances in metadata", answer.body.count(b'"00080018"'), len(items))

    return probe


def echoes(server: Address) -> Probe:
    return lambda: echo(server)


def timed(probe: Probe, rounds: int, warm: int = 1) -> float:
    """Median seconds of so many rounds."""
    seconds = []
    for n in range(rounds + warm):
        started = time.monotonic()
        probe()
        if n >= warm:
            seconds.append(time.monotonic() - started)
    return sorted(seconds)[len(seconds) // 2]


def paced(probe: Probe, server: Server, seconds: float = 0.3, warm: int = 5) -> float:
    """Median seconds of as many rounds as go into so many; tells the server what processor time a round took."""
    limit = time.monotonic() + seconds * 2
    for n in range(warm):
        if not n or time.monotonic() < limit:
            probe()
    rounds: list[float] = []
    limit, used = time.monotonic() + seconds, server.cpu_seconds()
    while not rounds or time.monotonic() < limit:
        started = time.monotonic()
        probe()
        rounds.append(time.monotonic() - started)
    server.cpu_each = (server.cpu_seconds() - used) / len(rounds)
    return median(rounds)


class Destination:
    """The C-MOVE destination BENCH: a process that accepts associations one after another."""

    def __init__(self) -> None:
        self._sock = socket.create_server(("127.0.0.1", 0))
        self.port = self._sock.getsockname()[1]
        self._taken = fork.Queue()
        self._stop: Event = fork.Event()
        self._child = fork.Process(target=self._accept, daemon=True)
        self._child.start()

    def _accept(self) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        while not self._stop.is_set():
            sock, _ = self._sock.accept()
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            try:
                taken = serve_store(sock)
            except ConnectionError:  # a peer may end its association without a release
                taken = 0
            sock.close()
            if taken:
                self._taken.put(taken)

    def taken(self) -> int:
        """Bytes of the association that ended last."""
        return int(self._taken.get(timeout=60))

    def close(self) -> None:
        self._child.terminate()
        self._child.join(5)
        self._sock.close()


@contextmanager
def destination() -> Iterator[Destination]:
    made = Destination()
    try:
        yield made
    finally:
        made.close()
