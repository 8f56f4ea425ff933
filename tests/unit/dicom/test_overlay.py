"""Corrections laid over data sets of every syntax, and over their metadata: both say the same."""

from __future__ import annotations

import json
from typing import Any

import pytest
from builders import build

from sagittal.dicom.elements import encode, encode_sequence
from sagittal.dicom.models.overlay import Correction, Head, needs_unicode
from sagittal.dicom.models.overlayjson import Incomplete, overlaid_json
from sagittal.dicom.reader import Reader
from sagittal.dicom.reencode import deflated
from sagittal.dicom.syntaxes import DEFLATED_LE, EXPLICIT_BE, EXPLICIT_LE, IMPLICIT_LE, JPEG_BASELINE, syntax
from sagittal.limits import ReaderLimits

LIMITS = ReaderLimits()
SYNTAXES = (EXPLICIT_LE, IMPLICIT_LE, EXPLICIT_BE, DEFLATED_LE, JPEG_BASELINE)
PATIENT_NAME, PATIENT_ID, COMMENTS, PROCEDURE = 0x00100010, 0x00100020, 0x00104000, 0x00081032


def name(text: str, at: str = "20260102101530") -> Correction:
    groups = dict(zip(("Alphabetic", "Ideographic"), text.split("="), strict=False))
    element = {"vr": "PN", "Value": [groups]}
    return Correction({PATIENT_NAME: element}, at, "SAGITTAL", "CORRECT")


def corrected(octets: bytes, uid: str, *corrections: Correction, step: int = 1000) -> bytes:
    def opened() -> list[bytes]:
        return [octets[at : at + step] for at in range(0, len(octets), step)]

    head = Head(opened, syntax(uid), corrections, LIMITS)
    made = b"".join(head)
    return made if head.rest is None else made + octets[head.rest :]


def text_of(octets: bytes, uid: str) -> str:
    texts: list[str] = []
    reader = Reader(syntax(uid), wanted=frozenset(), limits=LIMITS, metadata=texts.append)
    reader.feed(octets)
    assert not {"tag-order", "element-duplicate", "odd-length"} & set(reader.finish().defects)
    return "".join(texts)


def said(text: str) -> Any:
    """Without the places of bulk data, which differ."""
    obj = json.loads(text)
    for element in obj.values():
        element.pop("BulkDataURI", None)
    return obj


@pytest.mark.parametrize("uid", SYNTAXES)
@pytest.mark.parametrize("step", [1, 7, 100_000])
def test_what_was_there_before_is_told(uid: str, step: int) -> None:
    built = build(syntax_uid=uid, rows=64, columns=64, extra={"PatientComments": ""})
    comments = Correction({COMMENTS: {"vr": "LT", "Value": ["checked"]}, PATIENT_ID: {"vr": "LO", "Value": ["P2"]}},
                          "20260103", "SAGITTAL", "COERCE")  # fmt: skip
    corrections = (name("Roe^Jane"), comments, name("Roe^Joan", "20260104"))
    made = corrected(built.data, uid, *corrections, step=step)
    after, before = said(text_of(made, uid)), said(text_of(built.data, uid))
    assert after["00100010"]["Value"] == [{"Alphabetic": "Roe^Joan"}]
    assert after["00104000"]["Value"] == ["checked"]
    items = after.pop("04000561")["Value"]
    assert [item["04000550"]["Value"][0] for item in items] == [
        {"00100010": {"vr": "PN", "Value": [{"Alphabetic": "Doe^Jane"}]}},
        {"00100020": {"vr": "LO", "Value": ["P1"]}, "00104000": {"vr": "LT"}},
        {"00100010": {"vr": "PN", "Value": [{"Alphabetic": "Roe^Jane"}]}},
    ]
    assert [item["04000565"]["Value"] for item in items] == [["CORRECT"], ["COERCE"], ["CORRECT"]]
    assert items[1]["04000562"]["Value"] == ["20260103"]
    assert {key: value for key, value in after.items() if key not in ("00100010", "00100020", "00104000")} == {
        key: value for key, value in before.items() if key not in ("00100010", "00100020", "00104000")
    }
    if uid != DEFLATED_LE:
        assert made.endswith(built.data[-64 * 64 * 2 :])  # all pixels
    assert said(overlaid_json(text_of(built.data, uid), corrections)) == said(text_of(made, uid))
    assert corrected(built.data, uid, *corrections) == made  # each time the same


@pytest.mark.parametrize("uid", SYNTAXES)
def test_characters_that_the_object_has(uid: str) -> None:
    built = build(syntax_uid=uid, charset="ISO_IR 100", patient_name="Müller^Jörg")
    correction = name("Möller^Jörg")
    assert not needs_unicode([correction], ("ISO_IR 100",))
    made = corrected(built.data, uid, correction)
    assert uid == DEFLATED_LE or (b"ISO_IR 100" in made and "Möller^Jörg".encode("latin-1") in made)
    assert said(text_of(made, uid)) == said(overlaid_json(text_of(built.data, uid), [correction]))


@pytest.mark.parametrize("uid", SYNTAXES)
@pytest.mark.parametrize("charset", ["", "ISO_IR 100"])
def test_other_characters_bring_the_object_to_unicode(uid: str, charset: str) -> None:
    plain = build(syntax_uid=uid, charset=charset, patient_name="Müller^Jörg" if charset else "Mueller")
    own = encode(
        [(0x00080005, "CS", b"ISO_IR 144"), (0x00081030, "LO", "Дом".encode("iso8859_5"))], syntax(EXPLICIT_LE)
    )
    inherits = encode([(0x00081030, "LO", "é".encode("latin-1") if charset else b"e")], syntax(EXPLICIT_LE))
    extra: dict[str, str | bytes] = {"StudyDescription": "Schädel" if charset else "Head"}
    if uid in (EXPLICIT_LE, JPEG_BASELINE):
        extra["ReferencedStudySequence"] = encode_sequence([own, inherits], syntax(EXPLICIT_LE))
    built = build(syntax_uid=uid, charset=charset, patient_name="Müller^Jörg" if charset else "Mueller", extra=extra)
    correction = name("Дом^Ян=山田^太郎")
    assert needs_unicode([correction], (charset,) if charset else ())
    made = corrected(built.data, uid, correction, step=333)
    found = said(text_of(made, uid))
    assert found["00080005"]["Value"] == ["ISO_IR 192"]
    assert uid == DEFLATED_LE or b"ISO_IR 100" not in made
    assert found["00081030"] == said(text_of(built.data, uid))["00081030"]
    original = found["04000561"]["Value"][0]["04000550"]["Value"][0]["00100010"]
    assert original == said(text_of(plain.data, uid))["00100010"]
    assert found == said(overlaid_json(text_of(built.data, uid), [name("Дом^Ян=山田^太郎")]))


@pytest.mark.parametrize("uid", [EXPLICIT_LE, IMPLICIT_LE, EXPLICIT_BE])
@pytest.mark.parametrize("undefined", [False, True])
def test_earlier_items_stay(uid: str, undefined: bool) -> None:
    to = syntax(uid)
    order = "little" if to.little_endian else "big"
    item = encode([(0x04000565, "CS", b"COERCE")], to)
    value = encode_sequence([item], to)
    built = build(syntax_uid=uid)
    if undefined:
        head = (0x0400).to_bytes(2, order) + (0x0561).to_bytes(2, order)
        head += b"\xff" * 4 if to.implicit else b"SQ\0\0" + b"\xff" * 4
        end = (0xFFFE).to_bytes(2, order) + (0xE0DD).to_bytes(2, order) + bytes(4)
        element = head + value + end
    else:
        element = encode([(0x04000561, "SQ", value)], to)
    at = built.data.index((0x7FE0).to_bytes(2, order) + (0x0010).to_bytes(2, order))
    octets = built.data[:at] + element + built.data[at:]
    made = corrected(octets, uid, name("Roe"))
    items = said(text_of(made, uid))["04000561"]["Value"]
    assert [found["04000565"]["Value"] for found in items] == [["COERCE"], ["CORRECT"]]
    assert said(overlaid_json(text_of(octets, uid), [name("Roe")])) == said(text_of(made, uid))


def test_an_object_without_anything_after() -> None:
    octets = encode([(0x00080000, "UL", b"\4\0\0\0"), (PATIENT_ID, "LO", b"P1")], syntax(EXPLICIT_LE))
    found = said(text_of(corrected(octets, EXPLICIT_LE, name("Roe")), EXPLICIT_LE))
    assert sorted(found) == ["00100010", "00100020", "04000561"]
    previous = found["04000561"]["Value"][0]["04000550"]["Value"]
    assert previous == [{"00100010": {"vr": "PN"}}]  # it was not there


def test_sequences_are_corrected_too() -> None:
    code = {
        "vr": "SQ",
        "Value": [{"00080100": {"vr": "SH", "Value": ["1"]}, "00080104": {"vr": "LO", "Value": ["Дом"]}}],
    }
    correction = Correction({PROCEDURE: code}, "20260102", "SAGITTAL", "CORRECT")
    built = build()
    made = corrected(built.data, EXPLICIT_LE, correction)
    assert said(text_of(made, EXPLICIT_LE))["00081032"] == code
    assert said(text_of(made, EXPLICIT_LE)) == said(overlaid_json(text_of(built.data, EXPLICIT_LE), [correction]))


def test_a_value_that_is_too_long_is_named_only() -> None:
    long = encode([(COMMENTS, "LT", b"")], syntax(EXPLICIT_LE))[:4] + b"UT\0\0" + (3 << 20).to_bytes(4, "little")
    octets = long + b"x" * (3 << 20) + encode([(0x7FE00010, "OB", b"ab")], syntax(EXPLICIT_LE))
    correction = Correction({COMMENTS: {"vr": "LT", "Value": ["short"]}}, "20260102", "SAGITTAL", "CORRECT")
    found = said(text_of(corrected(octets, EXPLICIT_LE, correction, step=65536), EXPLICIT_LE))
    assert found["04000561"]["Value"][0]["04000550"]["Value"] == [{"00104000": {"vr": "LT"}}]


def test_metadata_in_parts() -> None:
    text = text_of(build(rows=64, columns=64).data, EXPLICIT_LE)
    whole = overlaid_json(text, [name("Roe")])
    cut = text.index('"7FE00010"') + 12
    assert overlaid_json(text[:cut], [name("Roe")], whole=False) + text[cut:] == whole
    with pytest.raises(Incomplete):
        overlaid_json(text[:100], [name("Roe")], whole=False)


OUT_OF_ORDER = [
    (PATIENT_NAME, "PN", b"Doe^Jane"), (PATIENT_ID, "LO", b"P1"), (0x00280010, "US", b"\4\4"),
    (0x0040A730, "SQ", b""), (0x52009229, "SQ", b""), (0x60000010, "US", b"\2\0"), (0x7FE00010, "OW", b"ab"),
]  # fmt: skip


@pytest.mark.parametrize("uid", (EXPLICIT_LE, IMPLICIT_LE, EXPLICIT_BE, DEFLATED_LE))
@pytest.mark.parametrize(
    "order",
    [
        (1, 0, 2, 6),
        (1, 2, 0, 6),
        (2, 0, 1),
        (4, 0, 1, 2, 3, 6),
        (5, 4, 3, 2, 1, 0, 6),
        (1, 2, 4, 5, 0),
        (4, 6),
        (1, 2, 6, 0),
        (6, 0),
        (2, 6, 0, 1, 3),
        (4, 6, 5, 0, 2),
    ],
)
def test_elements_out_of_order_are_corrected(uid: str, order: tuple[int, ...]) -> None:
    """Wherever they come, behind Pixel Data, too; and their metadata say the same."""
    named = OUT_OF_ORDER
    written = EXPLICIT_LE if uid == DEFLATED_LE else uid
    octets = b"".join(encode([named[at]], syntax(written)) for at in order)
    stored = b"".join(deflated([octets])) if uid == DEFLATED_LE else octets
    head = Head(lambda: [stored[at : at + 7] for at in range(0, len(stored), 7)], syntax(uid), [name("Roe^Tom")],
                LIMITS, unordered=True)  # fmt: skip
    made = b"".join(head)
    made = made if head.rest is None else made + stored[head.rest :]
    was: list[str] = []
    reader = Reader(syntax(uid), wanted=frozenset(), limits=LIMITS, metadata=was.append)
    reader.feed(stored)
    reader.finish()
    texts: list[str] = []
    reader = Reader(syntax(uid), wanted=frozenset(), limits=LIMITS, metadata=texts.append)
    reader.feed(made)
    assert set(reader.finish().defects) <= {"tag-order", "pixel-geometry-missing"}  # nothing is there twice
    obj = json.loads("".join(texts))
    assert obj.keys() == {f"{named[at][0]:08X}" for at in order} | {"00100010", "04000561"}
    assert obj["00100010"]["Value"] == [{"Alphabetic": "Roe^Tom"}]
    (item,) = obj["04000561"]["Value"]
    before = {"Value": [{"Alphabetic": "Doe^Jane"}]} if 0 in order else {}
    assert item["04000550"]["Value"] == [{"00100010": {"vr": "PN", **before}}]
    behind = [named[at][0] for at in order[order.index(6) :] if at] if 6 in order else []
    assert [int(tag, 16) for tag in list(obj)[-len(behind) :]] == behind or not behind  # stay where they are
    text = overlaid_json("".join(was), [name("Roe^Tom")], unordered=True)
    assert text.count('"00100010"') == 2 and said(text) == said("".join(texts))


def test_what_is_in_order_is_walked_no_further_than_needed() -> None:
    octets = b"".join(encode([each], syntax(EXPLICIT_LE)) for each in OUT_OF_ORDER)
    rests = []
    for unordered in (False, True):
        head = Head(lambda: [octets], syntax(EXPLICIT_LE), [name("Roe^Tom")], LIMITS, unordered=unordered)
        made = b"".join(head)
        assert head.rest is not None
        rests.append(head.rest)
        assert made.count(b"Roe^Tom") == made.count(b"Doe^Jane") == 1
    pixels = octets.index(encode([OUT_OF_ORDER[6]], syntax(EXPLICIT_LE)))
    assert rests == [octets.index(encode([OUT_OF_ORDER[4]], syntax(EXPLICIT_LE))), pixels]


def test_a_long_header_lets_others_have_their_turn() -> None:
    """What is made between two pauses is bounded, however many elements there are."""
    many = [(0x00190000 | 0x1000 + number, "LO", b"ab") for number in range(2000)]
    octets = encode([(PATIENT_NAME, "PN", b"Doe^Jane"), *many, (0x7FE00010, "OW", b"ab")], syntax(EXPLICIT_LE))
    head = Head(lambda: [octets], syntax(EXPLICIT_LE), [name("Roe^Tom")], LIMITS)
    steps = list(head.steps())
    assert steps.count(b"") >= 2000 // 64
    again = Head(lambda: [octets], syntax(EXPLICIT_LE), [name("Roe^Tom")], LIMITS)
    assert b"".join(steps) == b"".join(again)
    assert all(again)
