"""Structured reports as PDF, read by pypdf: what the page of HTML says, in three scripts, on all its sheets."""

from __future__ import annotations

import io
import re
from html.parser import HTMLParser
from typing import Any

import pytest
from counted import calls_of
from pypdf import PdfReader
from unit.convert.test_report import REPORT, item, member

from sagittal.convert.reports.page import html
from sagittal.convert.reports.printed import pdf
from sagittal.errors import NotAcceptable
from sagittal.pixels.rendering.attributes import Attributes

CYRILLIC, GREEK, LATIN = "Очаг в правом лёгком", "Αλλοίωση στον πνεύμονα", "Größe ≥ 5 µm², Łódź → kontrola"


def sheets(body: bytes) -> list[str]:
    """The text of each."""
    return [page.extract_text() for page in PdfReader(io.BytesIO(body)).pages]


def words(text: str) -> list[str]:
    return re.sub(r"\s+", " ", text.replace("\N{NO-BREAK SPACE}", " ")).split()


class _Body(HTMLParser):
    """The words of the page, without its head."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.said = ""
        self.feed(page[page.index("<header>") :])

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.said += " " if tag in ("p", "dt", "dd", "section") or tag[0] == "h" else ""

    def handle_data(self, data: str) -> None:
        self.said += data


def report(*texts: str, **more: Any) -> Attributes:
    content = member(*(item("TEXT", "Finding", t0040a160=member(text)) for text in texts))
    return Attributes(item("CONTAINER", "Report of the chest", t0040a730=content, **more))


def test_the_sheet_says_what_the_page_says() -> None:
    held = Attributes(REPORT)
    (sheet,) = sheets(pdf(held))
    said = words(_Body(html(held)).said)
    assert words(sheet)[:3] == ["DOE", "JANE", "1"]  # who it is about, and the number of the sheet
    assert words(sheet)[3:] == said and len(said) > 50
    assert PdfReader(io.BytesIO(pdf(held))).metadata.title == "Chest & abdomen"


@pytest.mark.parametrize("text", [CYRILLIC, GREEK, LATIN, "e\N{COMBINING ACUTE ACCENT}", "☐ no"])
def test_scripts(text: str) -> None:
    (sheet,) = sheets(pdf(report(text)))
    assert text.replace("e\N{COMBINING ACUTE ACCENT}", "é") in sheet


@pytest.mark.parametrize("text", ["東京", "שלום", "سلام", "🫁"])
def test_what_cannot_be_printed_is_refused(text: str) -> None:
    with pytest.raises(NotAcceptable, match=f"U\\+{ord(min(text)):04X}.*text/html"):
        pdf(report("before", text))
    with pytest.raises(NotAcceptable):
        pdf(report("the name", t00100010=member({"Alphabetic": text})))


def test_nothing_of_a_report_is_markup() -> None:
    nasty = '<b>x</b> </p> <font name="y"> &amp; <img src="file:///etc/passwd"/> <br/>'
    (sheet,) = sheets(pdf(report(nasty)))
    assert words(sheet)[-len(words(nasty)) :] == words(nasty)


def test_lines_and_columns_of_plain_text_stay() -> None:
    (sheet,) = sheets(pdf(report("a    b\n  c\td")))
    lines = [line.replace("\N{NO-BREAK SPACE}", " ") for line in sheet.splitlines()]
    assert any("a    b" in line for line in lines) and any(line.startswith("  c d") for line in lines)


def test_many_sheets_each_with_the_patient() -> None:
    name = {"t00100010": member({"Alphabetic": "ROE^RICHARD"}), "t00100020": member("P-4711")}
    told = sheets(pdf(report(*(f"line {number} " + "x" * 3000 for number in range(40)), **name)))
    assert len(told) > 20
    for number, sheet in enumerate(told, 1):
        assert sheet.splitlines()[:2] == ["ROE RICHARD · P-4711", str(number)]
    assert re.findall(r"line (\d+)", "".join(told)) == [str(number) for number in range(40)]


LONG = ["xword " * 50_000, "x\n" * 3_000, "\u00a0x" * 50_000]


@pytest.mark.parametrize("text", ["x" * 100_000, *(pytest.param(text, marks=pytest.mark.slow) for text in LONG)])
def test_long_texts_are_laid_out_in_time(text: str) -> None:
    """ReportLab alone takes the square of their length: five seconds for 100,000 letters."""
    made: list[bytes] = []
    parts = text[: len(text) // 10], text
    short, long = (calls_of(lambda part=part: made.append(pdf(report(part)))) for part in parts)
    assert long < 20 * short
    assert "".join(sheets(made[-1])).count("x") == text.count("x")


def test_deep_sections_stay_on_the_sheet() -> None:
    within = item("TEXT", "Deepest", t0040a160=member("here it is"))
    for level in range(60):
        within = item("CONTAINER", f"Level {level}", t0040a730=member(within))
    assert "here it is" in "".join(sheets(pdf(Attributes(within))))


def test_the_same_report_is_the_same_file() -> None:
    assert pdf(Attributes(REPORT)) == pdf(Attributes(REPORT))


def test_a_report_without_content_has_a_title() -> None:
    assert "Report" in sheets(pdf(Attributes({})))[0]
