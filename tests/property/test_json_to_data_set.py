"""DICOM JSON to a data set and back through the reader: there and back is where it began, in every plain syntax."""

from __future__ import annotations

import contextlib
import json
import math
from base64 import b64encode
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sagittal.dicom.models.encode import Bulk, Encapsulated, data_set
from sagittal.dicom.reader import Reader
from sagittal.dicom.syntaxes import DEFLATED_LE, EXPLICIT_BE, EXPLICIT_LE, IMPLICIT_LE, JPEG_BASELINE, syntax
from sagittal.errors import BadRequest, LimitExceeded
from sagittal.limits import ReaderLimits

_CHARACTERS = st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="\\^=\ufffd")
_TEXT = st.text(_CHARACTERS, min_size=1, max_size=20).map(lambda text: text.strip(" ")).filter(bool)
_NAMES = st.dictionaries(st.sampled_from(("Alphabetic", "Ideographic", "Phonetic")), _TEXT, min_size=1, max_size=3)
_FLOATS = st.floats(width=32)


def _several(element: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Any]]:
    return st.lists(st.none() | element, min_size=1, max_size=4).filter(lambda found: any(v is not None for v in found))


def _member(vr: str, values: st.SearchStrategy[list[Any]]) -> st.SearchStrategy[dict[str, Any]]:
    return st.just({"vr": vr}) | values.map(lambda found: {"vr": vr, "Value": found})


def _integers(low: int, high: int) -> st.SearchStrategy[list[int]]:
    return st.lists(st.integers(low, high), min_size=1, max_size=3)


def _binary(vr: str, word: int) -> st.SearchStrategy[dict[str, Any]]:
    octets = st.binary(min_size=1, max_size=4).map(lambda part: part * 2 * word)
    return octets.map(lambda found: {"vr": vr, "InlineBinary": b64encode(found).decode()})


_ELEMENTS = {
    "00080008": _member("CS", _several(st.sampled_from(("ORIGINAL", "PRIMARY", "AXIAL")))),
    "00081030": _member("LO", st.lists(_TEXT, min_size=1, max_size=1)),
    "00100010": _member("PN", st.lists(_NAMES, min_size=1, max_size=1)),
    "00101001": _member("PN", _several(_NAMES)),
    "00104000": _member("LT", st.lists(_TEXT, min_size=1, max_size=1)),
    "00180050": _member("DS", _several(st.integers(-(10**12), 10**12) | st.sampled_from((0.5, -1.25e-7)))),
    "00080032": _member("TM", st.lists(st.just("101530.25"), min_size=1, max_size=1)),
    "00280008": _member("IS", _several(st.integers(-(2**31), 2**31 - 1))),
    "00280010": _member("US", _integers(0, 65535)),
    "00189219": _member("SS", _integers(-32768, 32767)),
    "00186050": _member("UL", _integers(0, 2**32 - 1)),
    "00186020": _member("SL", _integers(-(2**31), 2**31 - 1)),
    "00280009": _member("AT", st.lists(st.sampled_from(("00181063", "7FE00010")), min_size=1, max_size=2)),
    "00189073": _member("FD", st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=3)),
    "00181320": _member("FL", st.lists(_FLOATS.filter(math.isfinite), min_size=1, max_size=3)),
    "00182043": _member("FL", st.lists(st.sampled_from(("NaN", "inf", "-inf")), min_size=1, max_size=2)),
    "00720082": _member("SV", st.lists(st.integers(-99, 99) | st.just("-9223372036854775808"), min_size=1)),
    "0008041B": _binary("OB", 1),
    "00281201": _binary("OW", 1),
    "00660016": _binary("OF", 2),
    "00091001": _binary("UN", 1),
    "00090010": st.just({"vr": "LO", "Value": ["ACME 1"]}),
}
_FLAT = st.fixed_dictionaries({}, optional=_ELEMENTS)
_NESTED = st.recursive(
    _FLAT,
    lambda inner: st.builds(
        lambda flat, items: {**flat, "00081140": {"vr": "SQ", **({"Value": items} if items else {})}},
        _FLAT,
        st.lists(inner, max_size=3),
    ),
    max_leaves=5,
)


def _none(uri: str) -> Bulk:
    raise BadRequest(f"no bulk data {uri}")


def _read(octets: bytes, uid: str) -> Any:
    texts: list[str] = []
    reader = Reader(syntax(uid), wanted=frozenset(), limits=ReaderLimits(), metadata=texts.append)
    reader.feed(octets)
    assert not set(reader.finish().defects) - {"charset-unknown"}
    return json.loads("".join(texts))


@given(_NESTED)
def test_the_reader_reads_what_was_put_in(obj: dict[str, Any]) -> None:
    octets = b"".join(data_set(obj, syntax(EXPLICIT_LE), _none))
    wanted = dict(obj)
    if not json.dumps(obj, ensure_ascii=False).isascii():
        wanted["00080005"] = {"vr": "CS", "Value": ["ISO_IR 192"]}
    assert _read(octets, EXPLICIT_LE) == wanted


@given(_FLAT, st.sampled_from((IMPLICIT_LE, EXPLICIT_BE, DEFLATED_LE)))
def test_other_plain_syntaxes_say_the_same(obj: dict[str, Any], uid: str) -> None:
    explicit = _read(b"".join(data_set(obj, syntax(EXPLICIT_LE), _none)), EXPLICIT_LE)
    other = _read(b"".join(data_set(obj, syntax(uid), _none)), uid)
    if uid == IMPLICIT_LE:  # the VR of a private element is not in the data set
        explicit.pop("00091001", None), other.pop("00091001", None)
    assert other == explicit


@given(st.lists(st.binary(max_size=300), max_size=5), st.integers(1, 64))
def test_bulk_data_is_taken_as_it_comes(fragments: list[bytes], step: int) -> None:
    def bulk(uri: str) -> Bulk | Encapsulated:
        found = [Bulk(len(f), [f[at : at + step] for at in range(0, len(f), step)]) for f in fragments]
        whole = b"".join(fragments)
        return Encapsulated(found) if uri == "frames" else Bulk(len(whole), (whole,))

    obj = {"00420011": {"vr": "OB", "BulkDataURI": "document"}, "7FE00010": {"vr": "OB", "BulkDataURI": "frames"}}
    octets = b"".join(data_set(obj, syntax(JPEG_BASELINE), bulk))
    whole = b"".join(fragments)
    padded = b"".join(
        b"\xfe\xff\x00\xe0" + len(f + b"\0" * (len(f) & 1)).to_bytes(4, "little") + f + b"\0" * (len(f) & 1)
        for f in fragments
    )
    document = whole + b"\0" * (len(whole) & 1)
    assert octets == (
        b"\x42\x00\x11\x00OB\0\0" + len(document).to_bytes(4, "little") + document
        + b"\xe0\x7f\x10\x00OB\0\0\xff\xff\xff\xff" + b"\xfe\xff\x00\xe0\0\0\0\0" + padded + b"\xfe\xff\xdd\xe0\0\0\0\0"
    )  # fmt: skip


_ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(("vr", "Value", "InlineBinary", "BulkDataURI", "00100010", "00081140")), inner
        )
    ),
    max_leaves=12,
)
_WILD = st.dictionaries(
    st.sampled_from(("00100010", "00081140", "00280010", "7FE00010", "x", "00020010")),
    st.dictionaries(st.sampled_from(("vr", "Value", "InlineBinary", "BulkDataURI")), _ANY_JSON)
    | st.fixed_dictionaries(
        {"vr": st.sampled_from(("PN", "SQ", "US", "OW", "FD", "AT", "DS", "ZZ"))},
        optional={"Value": _ANY_JSON | st.lists(_ANY_JSON, max_size=3)},
    ),
)


@given(_WILD)
def test_nothing_but_declared_errors(obj: dict[str, Any]) -> None:
    with contextlib.suppress(BadRequest, LimitExceeded):
        b"".join(data_set(obj, syntax(EXPLICIT_LE), _none))


def test_sequences_too_deep_are_refused() -> None:
    obj: dict[str, Any] = {}
    for _ in range(200):
        obj = {"00081140": {"vr": "SQ", "Value": [obj]}}
    with pytest.raises(LimitExceeded, match="depth_max"):
        list(data_set(obj, syntax(EXPLICIT_LE), _none))


def test_numbers_given_as_text_keep_their_digits() -> None:
    octets = b"".join(data_set({"00180050": {"vr": "DS", "Value": ["1.500", 2.0]}}, syntax(EXPLICIT_LE), _none))
    assert octets.endswith(b"1.500\\2.0 ")
    long = b"".join(data_set({"00180050": {"vr": "DS", "Value": [-0.12345678901234567]}}, syntax(EXPLICIT_LE), _none))
    whole = b"".join(data_set({"00280008": {"vr": "IS", "Value": [12.0, 7]}}, syntax(EXPLICIT_LE), _none))
    assert whole.endswith(b"12\\7")
    assert len(long) == 8 + 16 and math.isclose(float(long[8:]), -0.12345678901234567)


@pytest.mark.parametrize("value", [1.5, True, "1.5", -1, 65536, None, [1], "x"])
def test_what_is_no_whole_number_is_none_of_us(value: object) -> None:
    with pytest.raises(BadRequest, match="not a number of US"):
        list(data_set({"00280010": {"vr": "US", "Value": [value]}}, syntax(EXPLICIT_LE), _none))
