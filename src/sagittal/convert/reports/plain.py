"""Structured reports as plain text: the page of `reports.page`, a line for each of its elements (PS3.18 8.7.4).

Sections are indented, and so is what a value of several lines goes on with. Deliberately not here: links, widths.
"""

from __future__ import annotations

from html.parser import HTMLParser

from sagittal.convert.reports import page
from sagittal.pixels.rendering.attributes import Attributes

_INDENT = "  "
_HEADINGS = frozenset(("h1", "h2", "h3", "h4", "h5", "h6"))
_LINES = frozenset(("p", "dt")) | _HEADINGS
_UNSEEN = dict.fromkeys((*range(9), 11, 12, *range(14, 32), 127))


def text(held: Attributes) -> str:
    """The report, its lines ended by LF."""
    reader = _Reader()
    reader.feed(page.html(held))
    reader.close()
    return "".join(f"{line.rstrip()}\n" for line in [*reader.lines, reader.line] if line is not None)


class _Reader(HTMLParser):
    """Makes lines of the elements that `page` writes."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.lines: list[str] = []
        self.line: str | None = None  # the one that is being written; none before the first and within headers
        self._depth = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _LINES:
            self._end()
            self.line = _INDENT * (self._depth - (tag in _HEADINGS))  # a heading stands before what it heads
        elif tag == "dd":
            self._say(": ")
        elif tag == "section":
            self._depth += 1
        elif tag in ("title", "style", "main"):
            self._end()
            if tag == "main":
                self.lines.append("")

    def handle_endtag(self, tag: str) -> None:
        if tag == "b":
            self._say(":")
        elif tag == "section":
            self._depth -= 1

    def handle_data(self, data: str) -> None:
        shown = data.replace("\r\n", "\n").replace("\r", "\n").translate(_UNSEEN)
        self._say(shown.replace("\n", "\n" + _INDENT * (self._depth + 1)))

    def _say(self, some: str) -> None:
        if self.line is not None:
            self.line += some

    def _end(self) -> None:
        if self.line is not None:
            self.lines.append(self.line)
        self.line = None
