"""THE TABLE of workloads: what is measured, against whom, and the bar. A function returns one figure for one server."""

from __future__ import annotations

import atexit
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from bench import pictures, probes, queries, transcoding
from bench.objects import Item
from bench.peers import (
    Bare,
    Orthanc,
    Ours,
    OursUnsynced,
    QrScpDcmtk,
    QrScpPynetdicom,
    Server,
    StoreScp,
    StoreScpAsShipped,
)
from bench.probes import timed
from bench.sender import Loops, c_store, send, stow
from bench.workload import Bench, Measure, Row


def store(kind: str, connections: int, count: int, job: Callable[..., int] = c_store) -> Measure:
    """Objects a second: new studies of 50 objects, spread over the connections."""

    def measure(server: Server, bench: Bench) -> float:
        each = min(50, bench.size(count))
        items = bench.factory.studies(kind, max(1, bench.size(count) // each), each)
        stored = send(server, items, connections, job)
        if stored.refused:
            raise probes.Wrong(f"{stored.refused} of {stored.objects} objects were refused")
        return stored.per_second

    return measure


def mixed(server: Server, bench: Bench) -> float:
    """C-STORE over 4 associations while echo, QIDO and WADO loops run; the echo's 99th percentile is noted."""
    held = bench.factory.study("ct", 20)
    send(server, held, 1)
    loops = Loops(
        lambda: probes.echoes(server),
        lambda: probes.qido(server, [f"studies?PatientID={held[0].patient}"], 1),
        lambda: probes.wado_study(server, held[:1]),
    )
    with loops:
        rate = store("ct", 4, 600)(server, bench)
    echo, query, retrieve = loops.seconds
    bench.notes.append(
        f"mixed, {server.aet}: echo p99 {sorted(echo)[int(len(echo) * 0.99)] * 1000:.1f} ms of {len(echo)}; "
        f"{len(query)} QIDO and {len(retrieve)} WADO studies meanwhile"
    )
    return rate


def stock_sender(server: Server, bench: Bench) -> float:
    """DCMTK's storescu as shipped (Nagle on), small objects from files, process start included."""
    folder = Path(tempfile.mkdtemp(prefix="sagittal-bench-"))
    items = bench.factory.study("small", bench.size(300))
    for n, item in enumerate(items):
        (folder / f"{n:05d}.dcm").write_bytes(item.part10_head() + item.header + item.pixels)
    call = ["storescu", "-aec", server.aet, "+sd", "127.0.0.1", str(server.dimse_port), str(folder)]
    started = time.monotonic()
    subprocess.run(call, check=True, capture_output=True, timeout=300)
    seconds = time.monotonic() - started
    atexit.register(shutil.rmtree, folder)
    return len(items) / seconds


def study_probe(make: Callable[[Server, list[Item], Bench], probes.Probe]) -> Measure:
    """MB/s of retrieving a CT study of 100 objects."""

    def measure(server: Server, bench: Bench) -> float:
        items = bench.factory.study("ct", bench.size(100))
        send(server, items, 1)
        seconds = timed(make(server, items, bench), 3)
        return sum(item.size for item in items) / seconds / 1e6

    return measure


def first_metadata(server: Server, bench: Bench) -> float:
    """Milliseconds of the first metadata request for a series that has just come in."""
    items = bench.factory.study("small", bench.size(500))
    send(server, items, 4)
    return timed(probes.metadata(server, items), 1, warm=0) * 1000


def start_seconds(server: Server, bench: Bench) -> float:
    return server.start_seconds


def idle_megabytes(server: Server, bench: Bench) -> float:
    time.sleep(1)
    return server.memory() / 1e6


def hundred_megabytes(server: Server, bench: Bench) -> float:
    return 120.0


ORTHANC, BOTH = (Orthanc,), (Orthanc, QrScpDcmtk)
ROWS = (
    Row("store-ct-1", "C-STORE CT, 1 association", "/s", 3, Ours, ORTHANC, store("ct", 1, 400), bare=Bare),
    Row("store-ct-4", "C-STORE CT, 4 associations", "/s", 2, Ours, ORTHANC, store("ct", 4, 600), bare=Bare),
    Row("store-small-1", "C-STORE small, 1 association", "/s", 2, Ours, ORTHANC, store("small", 1, 1000), bare=Bare),
    Row("store-small-4", "C-STORE small, 4 associations", "/s", 2, Ours, ORTHANC, store("small", 4, 2000), bare=Bare),
    Row(
        "mixed",
        "C-STORE CT x4 with QIDO and WADO loops / alone",
        "/s",
        0.6,
        Ours,
        (Ours,),
        store("ct", 4, 600),
        ours_measure=mixed,
    ),
    Row(
        "nagle",
        "C-STORE small, stock DCMTK sender / storescp as shipped",
        "/s",
        5,
        Ours,
        (StoreScpAsShipped,),
        stock_sender,
    ),
    Row(
        "off-ct-1",
        "--durability off, CT, 1 association / storescp",
        "/s",
        0.4,
        OursUnsynced,
        (StoreScp,),
        store("ct", 1, 400),
    ),
    Row(
        "off-ct-4",
        "--durability off, CT, 4 associations / storescp",
        "/s",
        0.4,
        OursUnsynced,
        (StoreScp,),
        store("ct", 4, 600),
    ),
    Row("stow-ct-4", "STOW-RS CT, 4 connections", "/s", 1.5, Ours, ORTHANC, store("ct", 4, 600, stow)),
    Row("stow-small-4", "STOW-RS small, 4 connections", "/s", 2, Ours, ORTHANC, store("small", 4, 1500, stow)),
    Row("get-ct", "C-GET CT study", "MB/s", 1, Ours, BOTH, study_probe(lambda s, i, b: probes.get(s, i))),
    Row(
        "move-ct",
        "C-MOVE CT study",
        "MB/s",
        1,
        Ours,
        BOTH,
        study_probe(lambda s, i, b: probes.move(s, i, b.destination)),
    ),
    Row("wado-ct", "WADO-RS CT study", "MB/s", 1, Ours, ORTHANC, study_probe(lambda s, i, b: probes.wado_study(s, i))),
    Row(
        "metadata", "metadata of a 500-slice series, first request", "ms", 10, Ours, ORTHANC, first_metadata, lower=True
    ),
    Row(
        "start", "start to first C-ECHO / pynetdicom qrscp", "s", 1, Ours, (QrScpPynetdicom,), start_seconds, lower=True
    ),
    Row(
        "idle",
        "idle memory / 120 MB",
        "MB",
        1,
        Ours,
        (Ours,),
        hundred_megabytes,
        lower=True,
        ours_measure=idle_megabytes,
    ),
    *queries.ROWS,
    *pictures.ROWS,
    *transcoding.ROWS,
)
