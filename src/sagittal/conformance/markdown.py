"""Tables and headings of the statement."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

_HEADING = re.compile(r"^(#{2,4}) (.+)$", re.MULTILINE)


def section(heading: str, *parts: str, depth: int = 2) -> str:
    return "\n".join([f"{'#' * depth} {heading}\n", *parts])


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def numbered(text: str) -> str:
    """The headings with their numbers, and a list of the first two ranks in place of `{contents}`."""
    at = [0, 0, 0]
    contents = []

    def number(match: re.Match[str]) -> str:
        depth = len(match[1]) - 2
        at[depth:] = [at[depth] + 1, *(0 for _ in at[depth + 1 :])]
        heading = f"{'.'.join(map(str, at[: depth + 1]))} {match[2]}"
        if depth < 2:
            contents.append(f"{'  ' * depth}- {heading}")
        return f"{match[1]} {heading}"

    text = _HEADING.sub(number, text)
    return text.replace("{contents}", "\n".join(contents) + "\n")
