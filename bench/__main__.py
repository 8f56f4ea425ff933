"""`python -m bench [--quick] [--only ROW,…] [--repetitions N] [--ours-only] [--json FILE]`: measure, print the table.

Within a repetition every server gets the same work in turn, each on a fresh and empty archive; rows on a held archive
load it once and then take turns. Absolute figures hold for this machine and minute only; the ratios are the result.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median

from bench.objects import Factory
from bench.peers import Ours, Server
from bench.probes import destination
from bench.rows import ROWS
from bench.workload import Bench, Row

CPU = " CPU"  # behind a name: milliseconds of processor time a round
BARE = "bare"  # in place of a peer's name: what the machine allows
Figures = dict[tuple[str, str], list[float]]  # (row, "ours" or the peer's name) -> one figure a repetition


def main() -> int:
    arguments = parse()
    rows = [row for row in ROWS if not arguments.only or row.key in arguments.only.split(",")]
    if not rows:
        print("no such row; there are:", ", ".join(row.key for row in ROWS), file=sys.stderr)
        return 2
    # pynetdicom's own `storescu` lies among Python's scripts; DCMTK's is meant.
    folders = os.environ.get("PATH", os.defpath).split(os.pathsep)
    os.environ["PATH"] = os.pathsep.join(sorted(folders, key=lambda folder: folder == str(Path(sys.prefix) / "bin")))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # through the blocks that stop the servers
    figures: Figures = {}
    making = making_microseconds()
    with destination() as target:
        bench = Bench(Factory(), target, arguments.quick, [])
        for repetition in range(arguments.repetitions):
            for row in rows:
                if not row.lasting:
                    turn(row, bench, figures, repetition, arguments.ours_only)
        if lasting := [row for row in rows if row.lasting]:
            on_lasting(lasting, bench, figures, arguments)
    missed = report(rows, figures, bench, making)
    if arguments.json:
        Path(arguments.json).write_text(json.dumps([[*key, values] for key, values in figures.items()], indent=1))
    return min(1, missed)


def making_microseconds(files: int = 20) -> float:
    """What a new file costs here before anything was measured: ten times as much for minutes after many were removed
    (ext4), which is the disk's history and nobody's speed.
    """
    with tempfile.TemporaryDirectory(prefix="sagittal-bench-") as folder:
        started = time.monotonic()
        for n in range(files):
            Path(folder, str(n)).touch()
        return (time.monotonic() - started) / files * 1e6


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench", description="Ratios against other archives, in one run")
    parser.add_argument("--quick", action="store_true", help="a tenth of the work, one repetition: does it run at all")
    parser.add_argument("--only", help="rows by key, separated by commas")
    parser.add_argument("--repetitions", type=int, help="default 3")
    parser.add_argument("--ours-only", action="store_true", help="no peers: for profiling")
    parser.add_argument("--keep", type=Path, help="folder for archives that take long to fill; the next run finds them")
    parser.add_argument("--json", help="write all figures to this file")
    arguments = parser.parse_args()
    arguments.repetitions = arguments.repetitions or (1 if arguments.quick else 3)
    return arguments


def sides(row: Row, ours_only: bool) -> Iterator[tuple[str, type[Server]]]:
    yield "ours", row.ours
    for peer in () if ours_only else row.peers:
        if peer.available():
            yield ("alone" if issubclass(peer, Ours) else peer.__name__), peer
        else:
            print(f"{row.key}: {peer.__name__} is not installed (bench/install.sh)", file=sys.stderr)
    if row.bare:
        yield BARE, row.bare


def measured(row: Row, name: str, server: Server, bench: Bench, figures: Figures) -> None:
    function = row.ours_measure if name == "ours" and row.ours_measure else row.measure
    try:
        figure = function(server, bench)
    except Exception as error:
        print(f"{row.key}, {name}: {error!r}", file=sys.stderr)
        bench.notes.append(f"{row.key}, {name}: {error!r}")
        return
    figures.setdefault((row.key, name), []).append(figure)
    if server.cpu_each is not None:
        figures.setdefault((row.key, f"{name}{CPU}"), []).append(server.cpu_each * 1000)
        server.cpu_each = None
    print(f"  {row.key} {name} {figure:.4g} {row.unit}", file=sys.stderr, flush=True)


@contextmanager
def running(kind: type[Server], bench: Bench, keep: Path | None = None) -> Iterator[Server | None]:
    folder = keep / kind.__name__ if keep else None
    try:
        if folder:
            folder.mkdir(parents=True, exist_ok=True)
        server = kind(bench.destination.port, folder)
    except (RuntimeError, OSError) as error:
        print(f"{kind.__name__} does not start: {error}", file=sys.stderr)
        yield None
        return
    try:
        yield server
    finally:
        server.stop()


def turn(row: Row, bench: Bench, figures: Figures, repetition: int, ours_only: bool) -> None:
    """One repetition of a row; who begins changes from one to the next."""
    order = list(sides(row, ours_only))
    for name, kind in order if repetition % 2 == 0 else order[::-1]:
        with running(kind, bench) as server:
            if server:
                measured(row, name, server, bench, figures)


def on_lasting(rows: list[Row], bench: Bench, figures: Figures, arguments: argparse.Namespace) -> None:
    """Rows that ask archives with much in them: all are started and filled once, then asked in turn."""
    kinds = dict.fromkeys(kind for row in rows for _, kind in sides(row, arguments.ours_only))
    with ExitStack() as stack:
        servers: dict[type[Server], Server] = {}
        for kind in kinds:
            started = time.monotonic()
            server = stack.enter_context(running(kind, bench, arguments.keep))
            if server:
                server.fill()
                servers[kind] = server
                bench.notes.append(f"{kind.__name__} was ready after {time.monotonic() - started:.0f} s")
        for repetition in range(arguments.repetitions):
            for row in rows:
                order = list(sides(row, arguments.ours_only))
                for name, kind in order if repetition % 2 == 0 else order[::-1]:
                    if kind in servers:
                        measured(row, name, servers[kind], bench, figures)


def report(rows: list[Row], figures: Figures, bench: Bench, making: float) -> int:
    """Print the table; the number of rows below their bar or without a figure of ours."""
    machine = f"{os.cpu_count()} cores, Python {platform.python_version()}, load {os.getloadavg()[0]:.1f}"
    machine += f", a new file {making:.0f} µs"
    print(f"\n{machine}{', quick' if bench.quick else ''}\n")
    print("| workload | ours | peer | ratio (range) | bar | | CPU | of bare |\n|---|---|---|---|---|---|---|---|")
    missed = 0
    for row in rows:
        ours = figures.get((row.key, "ours"), [])
        others = {name: values for (key, name), values in figures.items() if key == row.key and name[-4:] != CPU}
        others.pop("ours", None)
        bare = others.pop(BARE, None)
        if not ours or not others:
            missed += not ours
            print(f"| {row.title} | {shown(ours, row)} | - | - | {row.bar:g} | no figure | | |")
            continue
        best = (min if row.lower else max)(others, key=lambda name: median(others[name]))
        ratios = sorted(b / a if row.lower else a / b for a, b in zip(ours, others[best], strict=False))
        ratio = median(others[best]) / median(ours) if row.lower else median(ours) / median(others[best])
        missed += ratio < row.bar
        peers = "; ".join(f"{name} {shown(values, row)}" for name, values in others.items())
        spent = [figures.get((row.key, name + CPU)) for name in (best, "ours")]
        cpu = f"{median(spent[0]) / median(spent[1]):.2f}" if spent[0] and spent[1] else ""
        print(
            f"| {row.title} | {shown(ours, row)} | {peers} | {ratio:.2f} ({ratios[0]:.2f}-{ratios[-1]:.2f}) "
            f"| {row.bar:g} | {'ok' if ratio >= row.bar else 'BELOW'} | {cpu} "
            f"| {f'{median(ours) / median(bare):.2f} of {shown(bare, row)}' if bare else ''} |"
        )
    print("\n".join(["", *bench.notes]))
    return missed


def shown(values: list[float], row: Row) -> str:
    return f"{median(values):.4g} {row.unit}" if values else "-"


if __name__ == "__main__":
    raise SystemExit(main())
