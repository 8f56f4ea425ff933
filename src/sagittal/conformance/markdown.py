"""Tables and headings of the statement."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def section(heading: str, *parts: str, depth: int = 2) -> str:
    return "\n".join([f"{'#' * depth} {heading}\n", *parts])


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def tag(number: int) -> str:
    return f"({number >> 16:04X},{number & 0xFFFF:04X})"
