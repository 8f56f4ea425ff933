"""`sagittal transcode` of a CT series against the codec's library in a plain loop, on as many processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from bench.peers import Server
from bench.pictures import phantom, series
from bench.probes import Wrong
from bench.sender import fork
from bench.workload import Bench, Row

_FEW, _SIDE = 8, 512
Encode = Callable[[Any], Any]


class Command(Server):
    """No server: what runs in processes of the benchmark, with a folder."""

    def __init__(self, destination: int = 0, folder: Path | None = None) -> None:
        self.folder = folder or Path(tempfile.mkdtemp(prefix="sagittal-bench-"))
        self.passing = folder is None
        self.held = []
        self.cpu_each = None

    @classmethod
    def available(cls) -> bool:
        return True

    def stop(self) -> None:
        self.remove_in_the_end()


class Codec(Command):
    """The library alone."""


class Files(Command):
    """The library, and what the disk costs: each image read from a file, its result written to one. The loop knows
    where the pixels lie, and nothing of DICOM: not a peer but a measure of the machine.
    """


def _jpeg2000(array: Any) -> Any:
    import imagecodecs

    return imagecodecs.jpeg2k_encode(
        array, level=0, codecformat="J2K", bitspersample=16, resolutions=6, reversible=True, numthreads=1
    )


def _htj2k(array: Any) -> Any:
    import imagecodecs

    return imagecodecs.htj2k_encode(array, planar=False, resolutions=5, reversible=True, tlm=True)


def _jpeg_ls(array: Any) -> Any:
    import imagecodecs

    return imagecodecs.jpegls_encode(array.view("uint16"))


def _command(to: str, count: int, server: Server, bench: Bench) -> float:
    """Images a second, of many more than of few: what starting costs drops out."""
    many = _FEW + bench.size(count)
    seconds = [_converted(to, number, server.folder) for number in (_FEW, many)]
    return (many - _FEW) / max(seconds[1] - seconds[0], 1e-6)


def _converted(to: str, count: int, folder: Path) -> float:
    source = _written(folder, count)
    target = Path(tempfile.mkdtemp(dir=folder))
    call = [sys.executable, "-m", "sagittal", "transcode", str(source), "--to", to, "-o", str(target)]
    started = time.monotonic()
    subprocess.run(call, check=True, capture_output=True, timeout=300)
    seconds = time.monotonic() - started
    made = sum(1 for path in target.rglob("*") if path.is_file())
    if made != count:
        raise Wrong(f"{made} files in place of {count}")
    return seconds


def _written(folder: Path, count: int) -> Path:
    """A folder with so many images of a series."""
    source = folder / f"series-{count}"
    if not source.exists():
        source.mkdir()
        items = series()
        for n in range(count):
            item = items[n % len(items)]
            (source / f"{n:05d}.dcm").write_bytes(item.part10_head() + item.header + item.pixels)
    return source


def _alone(encode: Encode, count: int, server: Server, bench: Bench) -> float:
    """Images a second of so many processes, each of which encodes its share again and again."""
    processes = os.cpu_count() or 1
    each = max(1, bench.size(count) // processes)
    barrier, results = fork.Barrier(processes), fork.Queue()
    folder = _written(server.folder, each * processes) if isinstance(server, Files) else None
    arguments = (encode, each, folder, barrier, results)
    children = [fork.Process(target=_child, args=(n * each, *arguments)) for n in range(processes)]
    for child in children:
        child.start()
    ended = [results.get(timeout=300) for _ in children]
    for child in children:
        child.join(10)
    seconds: float = max(end for _, end in ended) - min(start for start, _ in ended)
    return each * processes / seconds


def _child(first: int, encode: Encode, count: int, folder: Path | None, barrier: Any, results: Any) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    arrays = [phantom(_SIDE, n).view("int16") for n in range(4)]
    encode(arrays[0])
    barrier.wait(120)
    started = time.monotonic()
    for n in range(count):
        if folder is None:
            encode(arrays[n % len(arrays)])
        else:
            _file_to_file(encode, folder / f"{first + n:05d}.dcm")
    results.put((started, time.monotonic()))


def _file_to_file(encode: Encode, path: Path) -> None:
    import numpy

    data = path.read_bytes()
    pixels = len(data) - _SIDE * _SIDE * 2
    encoded = encode(numpy.frombuffer(data, "<i2", offset=pixels).reshape(_SIDE, _SIDE))
    beside = path.with_suffix(".unfinished")
    with beside.open("wb") as file:
        file.writelines((data[:pixels], encoded))
    beside.rename(path.with_suffix(".encoded"))


def _row(to: str, encode: Encode, count: int) -> Row:
    alone, ours = partial(_alone, encode, count), partial(_command, to, count)
    title = f"transcoding CT images to {to} / the codec in a loop"
    return Row(f"transcode-{to}", title, "/s", 0.9, Command, (Codec,), alone, ours_measure=ours, bare=Files)


ROWS = (_row("jpeg2000", _jpeg2000, 80), _row("jpeg-ls", _jpeg_ls, 240), _row("htj2k", _htj2k, 400))
