"""`python -m bench [--quick] [--only ROW,…] [--repetitions N] [--ours-only] [--json FILE]`: measure, print the table.

Within a repetition every server gets the same work in turn, each on a fresh and empty archive; rows on a held archive
load it once and then take turns. Absolute figures hold for this machine and minute only; the ratios are the result.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median

from bench.objects import Factory
from bench.peers import Ours, Server
from bench.probes import destination
from bench.rows import ROWS, Bench, Row
from bench.sender import send

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
    with destination() as target:
        bench = Bench(Factory(), target, arguments.quick, [])
        for repetition in range(arguments.repetitions):
            for row in rows:
                if not row.held:
                    turn(row, bench, figures, repetition, arguments.ours_only)
        if held := [row for row in rows if row.held]:
            on_held(held, bench, figures, arguments)
    missed = report(rows, figures, bench)
    if arguments.json:
        Path(arguments.json).write_text(json.dumps([[*key, values] for key, values in figures.items()], indent=1))
    return min(1, missed)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench", description="Ratios against other archives, in one run")
    parser.add_argument("--quick", action="store_true", help="a tenth of the work, one repetition: does it run at all")
    parser.add_argument("--only", help="rows by key, separated by commas")
    parser.add_argument("--repetitions", type=int, help="default 3")
    parser.add_argument("--ours-only", action="store_true", help="no peers: for profiling")
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


def measured(row: Row, name: str, server: Server, bench: Bench, figures: Figures) -> None:
    function = row.ours_measure if name == "ours" and row.ours_measure else row.measure
    try:
        figure = function(server, bench)
    except Exception as error:
        print(f"{row.key}, {name}: {error!r}", file=sys.stderr)
        bench.notes.append(f"{row.key}, {name}: {error!r}")
        return
    figures.setdefault((row.key, name), []).append(figure)
    print(f"  {row.key} {name} {figure:.4g} {row.unit}", file=sys.stderr, flush=True)


@contextmanager
def running(kind: type[Server], bench: Bench) -> Iterator[Server | None]:
    try:
        server = kind(bench.destination.port)
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


def on_held(rows: list[Row], bench: Bench, figures: Figures, arguments: argparse.Namespace) -> None:
    """Rows that ask an archive with many studies: all servers loaded once, then asked in turn."""
    kinds = dict(pair for row in rows for pair in sides(row, arguments.ours_only))
    studies = 1_000 if arguments.quick else max(row.held for row in rows)
    items = bench.factory.studies("small", studies)
    with ExitStack() as stack:
        servers = {name: stack.enter_context(running(kind, bench)) for name, kind in kinds.items()}
        for name, server in servers.items():
            if server:
                stored = send(server, items, 4)
                server.held = items
                bench.notes.append(f"loading {studies} studies, {name}: {stored.per_second:.0f}/s")
        for _ in range(arguments.repetitions):
            for row in rows:
                for name, server in servers.items():
                    if server:
                        measured(row, name, server, bench, figures)


def report(rows: list[Row], figures: Figures, bench: Bench) -> int:
    """Print the table; the number of rows below their bar or without a figure of ours."""
    print(f"\n{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}{', quick' if bench.quick else ''}\n")
    print("| workload | ours | peer | ratio (range) | bar | |\n|---|---|---|---|---|---|")
    missed = 0
    for row in rows:
        ours = figures.get((row.key, "ours"), [])
        others = {name: values for (key, name), values in figures.items() if key == row.key and name != "ours"}
        if not ours or not others:
            missed += not ours
            print(f"| {row.title} | {shown(ours, row)} | - | - | {row.bar:g} | no figure |")
            continue
        best = (min if row.lower else max)(others, key=lambda name: median(others[name]))
        ratios = sorted(b / a if row.lower else a / b for a, b in zip(ours, others[best], strict=False))
        ratio = median(others[best]) / median(ours) if row.lower else median(ours) / median(others[best])
        missed += ratio < row.bar
        peers = "; ".join(f"{name} {shown(values, row)}" for name, values in others.items())
        print(
            f"| {row.title} | {shown(ours, row)} | {peers} | {ratio:.2f} ({ratios[0]:.2f}-{ratios[-1]:.2f}) "
            f"| {row.bar:g} | {'ok' if ratio >= row.bar else 'BELOW'} |"
        )
    print("\n".join(["", *bench.notes]))
    return missed


def shown(values: list[float], row: Row) -> str:
    return f"{median(values):.4g} {row.unit}" if values else "-"


if __name__ == "__main__":
    raise SystemExit(main())
