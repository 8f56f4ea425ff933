"""Structured reports as PDF: the page of `reports.page`, printed on A4 with the patient's name on every sheet.

There is one telling of a report, the HTML; this lays out the few elements that it is made of. A character that the
fonts do not have is refused, never left out or shown as a box: a report must not say less on paper. Deliberately not
here: links (a sheet leads nowhere), scripts that are written from right to left, Chinese, Japanese and Korean.
"""

from __future__ import annotations

import io
import re
from functools import cache
from html.parser import HTMLParser
from typing import Any
from xml.sax.saxutils import escape

from sagittal.convert.reports import page
from sagittal.errors import NotAcceptable
from sagittal.pixels.lettering import fonts
from sagittal.pixels.lettering.fonts import BOLD, REGULAR
from sagittal.pixels.rendering.attributes import Attributes

_MARGIN, _INDENT = 56, 12  # points
_INDENTS_MAX = 12  # deeper sections stay there, or nothing would fit beside them
_SIZES = {"h1": 16, "h2": 13, "h3": 11.5}
_HEADINGS = frozenset(("h1", "h2", "h3", "h4", "h5", "h6"))
_UNSEEN = dict.fromkeys((*range(9), 11, 12, *range(14, 32), 0xAD, 0xFEFF))
_SPACES = re.compile(r" (?= )|(?<=\n) |\t")  # that a line of print would lose: tables are written with them
_ENDLESS, _LINE_CHARACTERS = re.compile(r"[^ \n]{200,}"), 60  # words that would be broken slowly, letter by letter
_PIECES = re.compile(r"(?s).{1,2000}(?:[ \n]|\Z)")  # of a long text, at the end of a line or word
_MISSING_TOLD = 5


def pdf(held: Attributes) -> bytes:
    """The report as a PDF file, the same bytes each time. NotAcceptable when the fonts lack a character of it."""
    from reportlab.platypus import SimpleDocTemplate

    reader = _Reader()
    reader.feed(page.html(held))
    reader.close()
    who = " · ".join(filter(None, (_shown(page.person(held.text("PatientName"))), _shown(held.text("PatientID")))))
    _check(reader.said + who)
    target = io.BytesIO()
    margins = {f"{side}Margin": _MARGIN for side in ("left", "right", "top", "bottom")}
    document = SimpleDocTemplate(target, title=reader.title, invariant=1, **margins)

    def sheet(canvas: Any, laid_out: Any) -> None:
        canvas.setFont(REGULAR, 8)
        canvas.drawString(_MARGIN, _MARGIN / 2, who[:120])
        canvas.drawRightString(laid_out.pagesize[0] - _MARGIN, _MARGIN / 2, str(laid_out.page))

    document.build(reader.flowables, onFirstPage=sheet, onLaterPages=sheet)
    return target.getvalue()


class _Reader(HTMLParser):
    """Makes paragraphs of the elements that `page` writes."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        _register()
        self.flowables: list[Any] = []
        self.title = self.said = ""
        self._depth, self._inside, self._markup = 0, "", ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in ("p", "dt", "title", "style") or tag in _HEADINGS:
            self._end()
            self._inside = tag
        elif tag == "dd":  # beside its dt
            self._markup = f'<font name="{BOLD}">{self._markup}</font>  '
        elif tag == "b":
            self._markup += f'<font name="{BOLD}">'
        elif tag == "section":
            self._end()
            self._depth += 1

    def handle_endtag(self, tag: str) -> None:
        if tag == "b":
            self._markup += "</font>"
        elif tag != "a":
            self._end()
        if tag == "section":
            self._depth -= 1

    def handle_data(self, data: str) -> None:
        text = _shown(data)
        if self._inside == "title":
            self.title += text
        elif self._inside and self._inside != "style":
            self.said += text
            kept = _ENDLESS.sub(_broken, _SPACES.sub("\N{NO-BREAK SPACE}", text))
            *pieces, last = _PIECES.findall(kept) or [""]
            for piece in pieces:
                self._markup += _escaped(piece[:-1])
                self._go_on()
            self._markup += _escaped(last)

    def _end(self) -> None:
        if self._markup.strip():
            self.flowables.append(_paragraph(self._markup, self._inside, min(self._depth, _INDENTS_MAX) * _INDENT))
        self._inside, self._markup = "", ""

    def _go_on(self) -> None:
        """In another paragraph: a long one would be laid out anew for each sheet that it reaches."""
        inside, is_bold = self._inside, self._markup.count("<font") > self._markup.count("</font>")
        self._markup += "</font>" if is_bold else ""
        self._end()
        self._inside, self._markup = inside, f'<font name="{BOLD}">' if is_bold else ""


def _paragraph(markup: str, element: str, indent: int) -> Any:
    from reportlab.lib.styles import ParagraphStyle
    from reportlab.platypus import Paragraph

    is_heading = element in _HEADINGS
    size = _SIZES.get(element, 10)
    style = ParagraphStyle(
        element, fontName=BOLD if is_heading else REGULAR, fontSize=size, leading=size * 1.35, leftIndent=indent,
        spaceBefore=size * 0.8 if is_heading else 0, spaceAfter=3, splitLongWords=1, keepWithNext=int(is_heading),
    )  # fmt: skip
    return Paragraph(markup, style)


@cache
def _register() -> frozenset[str]:
    """Makes the fonts known; gives the characters that both have."""
    from reportlab.pdfbase import pdfmetrics
    from reportlab.pdfbase.ttfonts import TTFont

    characters: list[frozenset[str]] = []
    for name in (REGULAR, BOLD):
        font = TTFont(name, fonts.path(name))
        pdfmetrics.registerFont(font)
        characters.append(frozenset(map(chr, font.face.charToGlyph)))
    return characters[0] & characters[1]


def _shown(text: str) -> str:
    """As it is printed: composed, ends of lines as one, without what nobody sees."""
    return fonts.composed(text).translate(_UNSEEN)


def _escaped(text: str) -> str:
    return escape(text).replace("\n", "<br/>")


def _broken(word: re.Match[str]) -> str:
    text = word[0]
    return "\n".join(text[at : at + _LINE_CHARACTERS] for at in range(0, len(text), _LINE_CHARACTERS))


def _check(text: str) -> None:
    missing = sorted(set(text) - _register() - {"\n", "\t"})
    if missing:
        named = ", ".join(f"U+{ord(each):04X}" for each in missing[:_MISSING_TOLD])
        raise NotAcceptable(f"the report has characters that can't be printed here ({named}); take it as text/html")
