"""The Native DICOM Model and DICOM JSON: there and back is where it began, and nothing else than declared errors."""

from __future__ import annotations

import contextlib
from base64 import b64encode
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from sagittal.dicom.models.xml import HEAD, TAIL, from_xml, to_xml
from sagittal.errors import BadRequest, LimitExceeded

_CHARACTERS = st.characters(exclude_categories=("Cs",), exclude_characters="\ufffe\uffff", min_codepoint=0x20)
_TEXT = st.text(_CHARACTERS | st.sampled_from('\r\n\t<&>"'), min_size=1, max_size=20)
_COMPONENT = st.text(st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="^\ufffe\uffff"), max_size=5)
_NAME = st.lists(_COMPONENT, min_size=1, max_size=5).map(lambda parts: "^".join(parts).rstrip("^"))
_NAMES = st.dictionaries(st.sampled_from(("Alphabetic", "Ideographic", "Phonetic")), _NAME.filter(bool), max_size=3)
_INTEGER = st.integers(-(1 << 53), 1 << 53)
_FLOAT = st.floats(allow_nan=False, allow_infinity=False)


def _values(element: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(st.none() | element, min_size=1, max_size=4)


def _member(vr: str, element: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.just({"vr": vr}) | _values(element).map(lambda values: {"vr": vr, "Value": values})


_BINARY = st.binary(min_size=1, max_size=9).map(lambda b: {"vr": "OB", "InlineBinary": b64encode(b).decode()})
_PLAIN = st.one_of(
    _member("LO", _TEXT),
    _member("PN", _NAMES.filter(bool)),
    _member("IS", _INTEGER),
    _member("DS", _FLOAT | _INTEGER | st.just("1.500")),
    _member("FD", _FLOAT | st.sampled_from(("NaN", "inf", "-inf"))),
    _member("SV", _INTEGER | st.just("-9223372036854775808")),
    _member("AT", st.just("00100020")),
    _BINARY,
    _TEXT.map(lambda text: {"vr": "OW", "BulkDataURI": text}),
)
_PUBLIC = st.integers(0x0008, 0x7FE0).filter(lambda group: not group & 1)
_TAGS = st.builds(lambda group, element: f"{group:04X}{element:04X}", _PUBLIC, st.integers(1, 0xFFFF))


@st.composite
def _with_private(draw: st.DrawFn, plain: st.SearchStrategy[Any]) -> dict[str, Any]:
    obj: dict[str, Any] = dict(draw(st.dictionaries(_TAGS, plain, max_size=4)))
    for block in draw(st.sets(st.integers(0x10, 0xFF), max_size=3)):
        obj[f"0009{block:04X}"] = {"vr": "LO", "Value": [draw(st.sampled_from(("ACME", 'A"B & C')))]}
        for element in draw(st.sets(st.integers(0, 0xFF), max_size=2)):
            obj[f"0009{block:02X}{element:02X}"] = draw(plain)
    return obj


def _sequence(items: list[dict[str, Any]]) -> dict[str, Any]:
    return {"vr": "SQ", "Value": items}


_OBJECTS = st.recursive(
    _with_private(_PLAIN),
    lambda inner: _with_private(_PLAIN | st.lists(inner, min_size=1, max_size=3).map(_sequence)),
    max_leaves=6,
)


@given(_OBJECTS)
def test_there_and_back(obj: dict[str, Any]) -> None:
    assert from_xml(to_xml(obj)) == obj


@given(st.text(max_size=60) | st.lists(st.sampled_from([
    "<DicomAttribute tag='00100010' vr='PN'>", "</DicomAttribute>", "<Value>", "<Value number='2'>", "</Value>",
    "<Item>", "</Item>", "<PersonName>", "</PersonName>", "<BulkData uri='x'/>", "<InlineBinary>", "</InlineBinary>",
    "<DicomAttribute tag='0009EE10' vr='SQ' privateCreator='A'>", "x", "<!DOCTYPE a>", "<![CDATA[1]]>",
]), max_size=12).map("".join))  # fmt: skip
def test_nothing_but_declared_errors(inside: str) -> None:
    with contextlib.suppress(BadRequest, LimitExceeded):
        from_xml(HEAD + inside.encode("utf-8", "replace") + TAIL)
