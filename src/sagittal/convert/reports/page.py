"""Structured reports as HTML: the content tree of PS3.3 C.17.3, readable, and nothing that a browser would run.

Every value is escaped; no script, no address from the report. Deliberately not here: templates (TID) and their layouts,
graphics of spatial coordinates (they are listed as numbers).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from html import escape

from sagittal.convert.reports.look import STYLE
from sagittal.pixels.rendering.attributes import Attributes

Link = Callable[[str, str], str]  # (SOP class, SOP instance) → address, "" for none
_HEAD = (
    ("Patient", "PatientName"), ("Patient ID", "PatientID"), ("Born", "PatientBirthDate"), ("Sex", "PatientSex"),
    ("Study", "StudyDescription"), ("Study date", "StudyDate"), ("Accession number", "AccessionNumber"),
    ("Content date", "ContentDate"), ("Completion", "CompletionFlag"), ("Verification", "VerificationFlag"),
)  # fmt: skip
_PLAIN = {  # value type -> the attribute that has the value
    "TEXT": "TextValue", "DATETIME": "DateTime", "DATE": "Date", "TIME": "Time", "UIDREF": "UID",
    "PNAME": "PersonName",
}  # fmt: skip
_REFERENCES = frozenset({"IMAGE", "COMPOSITE", "WAVEFORM"})


def nowhere(sop_class: str, sop_instance: str) -> str:
    """The link to what has no address."""
    return ""


def html(report: Attributes, link: Link = nowhere) -> str:
    """The report as one HTML page; `link` gives addresses of objects that it refers to."""
    title = _concept(report) or "Report"
    language = report.item("LanguageCodeSequence").text("CodeValue") or "en"
    rows = "".join(
        f"<dt>{name}<dd>{escape(person(report.text(tag)))}" for name, tag in _HEAD if report.text(tag)
    ) + "".join(
        f"<dt>Verified by<dd>{escape(person(each.text('VerifyingObserverName')))} "
        f"{escape(each.text('VerificationDateTime'))}"
        for each in report.items("VerifyingObserverSequence")
    )
    body = "".join(_content(report, link, 2))
    return (
        f'<!doctype html><html lang="{escape(language, quote=True)}"><meta charset="utf-8">'
        f"<title>{escape(title)}</title>"
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style>'
        f"<header><h1>{escape(title)}</h1><dl>{rows}</dl></header><main>{body}</main></html>"
    )


def _content(parent: Attributes, link: Link, level: int) -> Iterator[str]:
    """The content items below one; depth is bounded by the reader's."""
    for item in parent.items("ContentSequence"):
        kind, name = item.text("ValueType"), _concept(item)
        if kind == "CONTAINER":
            heading = f"h{min(level, 6)}"
            yield f"<section><{heading}>{escape(name)}</{heading}>" if name else "<section>"
            yield from _content(item, link, level + 1)
            yield "</section>"
            continue
        reference = ".".join(item.texts("ReferencedContentItemIdentifier"))  # its place in the tree
        value = _value(item, kind, link) if kind else f"see item {escape(reference)}" if reference else ""
        yield f"<p><b>{escape(name)}</b> {value}</p>" if name else f"<p>{value}</p>"
        below = "".join(_content(item, link, level + 1))
        if below:
            yield f"<section>{below}</section>"


def _value(item: Attributes, kind: str, link: Link) -> str:
    """One value as HTML."""
    if kind in _PLAIN:
        text = "; ".join(item.texts(_PLAIN[kind])) if kind != "PNAME" else item.text(_PLAIN[kind])
        return escape(person(text) if kind == "PNAME" else text)
    if kind == "CODE":
        return escape(_meaning(item.item("ConceptCodeSequence")))
    if kind == "NUM":
        return escape(_measured(item))
    if kind in _REFERENCES:
        return ", ".join(_reference(each, link) for each in item.items("ReferencedSOPSequence"))
    if kind in ("SCOORD", "SCOORD3D"):
        points = " ".join(f"{number:g}" for number in item.numbers("GraphicData"))
        return escape(f"{item.text('GraphicType')} {points}")
    if kind == "TCOORD":
        references = ("ReferencedSamplePositions", "ReferencedTimeOffsets", "ReferencedDateTime")
        places = next(filter(None, map(item.texts, references)), [])
        return escape(f"{item.text('TemporalRangeType')} {' '.join(places)}")
    return escape(kind)


def _measured(item: Attributes) -> str:
    """A number with its units, and what is to be known of it: that it is out of range, or why there is none."""
    measured, qualifier = item.item("MeasuredValueSequence"), _meaning(item.item("NumericValueQualifierCodeSequence"))
    number, units = measured.text("NumericValue"), measured.item("MeasurementUnitsCodeSequence")
    if not number:
        return qualifier
    shown = number if units.text("CodeValue") == "1" else f"{number} {_units(units)}".strip()
    return f"{shown} ({qualifier})" if qualifier else shown


def _reference(item: Attributes, link: Link) -> str:
    sop_class, sop_instance = item.text("ReferencedSOPClassUID"), item.text("ReferencedSOPInstanceUID")
    frames = " ".join(f"{number:g}" for number in item.numbers("ReferencedFrameNumber"))
    text = escape(sop_instance + (f" frames {frames}" if frames else ""))
    address = link(sop_class, sop_instance)
    return f'<a href="{escape(address, quote=True)}">{text}</a>' if address else text


def _concept(item: Attributes) -> str:
    return _meaning(item.item("ConceptNameCodeSequence"))


def _meaning(code: Attributes) -> str:
    return code.text("CodeMeaning") or code.text("CodeValue")


def _units(code: Attributes) -> str:
    """UCUM's own sign where it is short, as people write it."""
    value = code.text("CodeValue")
    return value if value and len(value) <= 8 and not value.startswith("{") else _meaning(code)


def person(name: str) -> str:
    """A value of PN as people write it."""
    return " ".join(part for part in name.replace("=", " ").split("^") if part)
