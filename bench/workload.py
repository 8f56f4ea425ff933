"""What a row of the table is, and what it is measured with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bench.objects import Factory
from bench.peers import Server
from bench.probes import Destination


@dataclass
class Bench:
    """What a workload needs beside the server."""

    factory: Factory
    destination: Destination
    quick: bool
    notes: list[str]

    def size(self, full: int) -> int:
        return max(4, full // 10) if self.quick else full


Measure = Callable[[Server, Bench], float]


@dataclass(frozen=True)
class Row:
    """One line of the result. `bar`: ours over the best peer (or its inverse when lower is better) must reach it."""

    key: str
    title: str
    unit: str
    bar: float
    ours: type[Server]
    peers: tuple[type[Server], ...]
    measure: Measure
    lower: bool = False  # a smaller figure is better
    lasting: bool = False  # the servers live, with what they hold, through all repetitions
    ours_measure: Measure | None = None  # when ours does something else than the peer
    bare: type[Server] | None = None  # what the machine allows; told beside the ratio, not compared
