"""Structured reports as HTML and as text: every kind of content item; nothing is markup to the browser."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any

from sagittal.convert.reports import plain
from sagittal.convert.reports.page import html
from sagittal.pixels.rendering.attributes import Attributes


def member(*values: Any) -> dict[str, Any]:
    return {"vr": "XX", "Value": list(values)}


def code(meaning: str, value: str = "x") -> dict[str, Any]:
    return member({"00080100": member(value), "00080104": member(meaning)})


def item(kind: str, name: str, **more: Any) -> dict[str, Any]:
    return {"0040A040": member(kind), "0040A043": code(name)} | {key[1:].upper(): value for key, value in more.items()}


NASTY = '<script>alert("1")</script> & "x"'
REPORT = item(
    "CONTAINER", "Chest & abdomen",
    t00100010=member({"Alphabetic": "DOE^JANE"}),
    t0040a493=member("VERIFIED"),
    t0040a073=member({"0040A075": member({"Alphabetic": "READER^ANN"}), "0040A030": member("20260102")}),
    t0040a730=member(
        item("TEXT", "Finding", t0040a160=member(NASTY),
             t0040a730=member(item("CODE", "Site", t0040a168=code("Lung")))),
        item("CONTAINER", "Measurements", t0040a730=member(
            item("NUM", "Diameter", t0040a300=member({"0040A30A": member(12.5), "004008EA": code("millimeter", "mm")})),
            item("NUM", "Count", t0040a300=member({"0040A30A": member(3), "004008EA": code("no units", "1")})),
            item("NUM", "Nothing", t0040a301=code("Not a number")),
            item("NUM", "Too much", t0040a301=code("Value out of range"),
                 t0040a300=member({"0040A30A": member(99), "004008EA": code("millimeter", "mm")})),
        )),
        item("DATE", "On", t0040a121=member("20260101")), item("TIME", "At", t0040a122=member("1200")),
        item("DATETIME", "When", t0040a120=member("20260101120000")),
        item("UIDREF", "Which", t0040a124=member("1.2.3")),
        item("PNAME", "Who", t0040a123=member({"Alphabetic": "ROE^RICHARD"})),
        item("IMAGE", "Image", t00081199=member({
            "00081150": member("1.2.840"), "00081155": member("9.8.7"), "00081160": member(2, 3)})),
        item("SCOORD", "Line", t00700023=member("POLYLINE"), t00700022=member(1.0, 2.0)),
        item("TCOORD", "Beat", t0040a130=member("POINT"), t0040a138=member("0.5")),
        {"0040DB73": member(1, 2)},
        item("NEWKIND", "Unknown"),
    ),
)  # fmt: skip


class _Read(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""
        self.addresses: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("href", "src")]

    def handle_data(self, data: str) -> None:
        self.text += data


def test_every_kind_of_content_is_shown() -> None:
    read = _Read(html(Attributes(REPORT), lambda sop_class, sop_instance: f"/{sop_class}/{sop_instance}"))
    for text in (
        "Chest & abdomen", "DOE JANE", "VERIFIED", "READER ANN 20260102", "Finding", NASTY, "Site", "Lung",
        "Measurements", "12.5 mm", "Count 3", "Not a number", "99 mm (Value out of range)",
        "20260101120000", "ROE RICHARD", "9.8.7 frames 2 3",
        "POLYLINE 1 2", "POINT 0.5", "see item 1.2", "NEWKIND",
    ):  # fmt: skip
        assert text in read.text, text
    assert read.addresses == ["/1.2.840/9.8.7"]


def test_nothing_of_a_report_is_markup() -> None:
    page = html(Attributes(REPORT | {"00080006": code("x", '"><script>')}), lambda *_: 'javascript:"onclick=x')
    read = _Read(page)
    assert "script" not in read.tags
    assert page.count("<script") == 0


def test_a_report_without_content_has_a_title() -> None:
    assert "<h1>Report</h1>" in html(Attributes({}))


def test_text_has_a_line_for_each_item_and_sections_are_indented() -> None:
    lines = plain.text(Attributes(REPORT)).split("\n")
    assert lines[:5] == ["Chest & abdomen", "Patient: DOE JANE", "Verification: VERIFIED",
                         "Verified by: READER ANN 20260102", ""]  # fmt: skip
    assert lines[5:14] == [
        f"Finding: {NASTY}", "  Site: Lung", "Measurements", "  Diameter: 12.5 mm", "  Count: 3",
        "  Nothing: Not a number", "  Too much: 99 mm (Value out of range)", "On: 20260101", "At: 1200",
    ]  # fmt: skip
    assert lines[-1] == "" and "Image: 9.8.7 frames 2 3" in lines and "see item 1.2" in lines
    assert plain.text(Attributes({})) == "Report\n\n"


def test_a_value_of_several_lines_goes_on_below_its_name() -> None:
    told = item("CONTAINER", "Top", t0040a730=member(item("TEXT", "Said", t0040a160=member("one\r\n\x1btwo"))))
    assert plain.text(Attributes(told)).endswith("\nSaid: one\n  two\n")
