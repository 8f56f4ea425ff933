"""The reader under any split of the bytes, any memory of former data sets, and any damage."""

from __future__ import annotations

import json
import zlib
from dataclasses import replace
from functools import partial

from hypothesis import example, given, settings
from hypothesis import strategies as st
from lengths import examples
from reading import SEQUENCE_END, UNDEFINED, Outcome, cut, explicit, image, implicit, item, open_item, read

from sagittal.dicom.charset import decode, decode_checked, encode, normalise
from sagittal.dicom.defects import POLICY
from sagittal.dicom.elements import BINARY_VRS
from sagittal.dicom.reader import Memo
from sagittal.dicom.scanning.values import WRITERS, members, plain_text
from sagittal.dicom.syntaxes import DEFLATED_LE, EXPLICIT_BE, EXPLICIT_LE, IMPLICIT_LE, JPEG_BASELINE
from sagittal.limits import ReaderLimits
from sagittal.pixels.images import read_whole

SYNTAXES = (IMPLICIT_LE, EXPLICIT_LE, EXPLICIT_BE, DEFLATED_LE, JPEG_BASELINE)
SEQUENCES = (0x00081032, 0x00081111, 0x00400275, 0x00091010)
PLAIN = {
    0x00080008: "CS",
    0x00080018: "UI",
    0x00080020: "DA",
    0x00080104: "LO",
    0x00091011: "UN",
    0x00100010: "PN",
    0x00181000: "LO",
    0x00200013: "IS",
    0x00200032: "DS",
    0x00209157: "UL",
    0x00280009: "AT",
    0x00281201: "OW",
    0x00420011: "OB",
}
SMALL = {"sequence_whole_bytes_max": 60, "metadata_flush_characters": 200, "value_binary_bytes_max": 40}


@st.composite
def data_sets(draw: st.DrawFn, depth: int = 3, implicit_vr: bool = False) -> bytes:
    """A data set that follows the rules, little endian."""
    tags = draw(st.lists(st.sampled_from([*PLAIN, *(SEQUENCES if depth else ())]), max_size=6, unique=True))
    parts = []
    for tag in sorted(tags):
        if tag not in SEQUENCES:
            value = draw(st.binary(max_size=12) | st.sampled_from([b"1.5\\2 ", b"A^B=C ", b"x" * 50, b"20200101"]))
            parts.append(implicit(tag, value) if implicit_vr else explicit(tag, PLAIN[tag], value))
            continue
        inner = draw(st.lists(data_sets(depth=depth - 1, implicit_vr=implicit_vr), max_size=3))
        repeated = inner * draw(st.integers(1, 3))
        items = b"".join(open_item(one) if draw(st.booleans()) else item(one) for one in repeated)
        if draw(st.booleans()) or (implicit_vr and tag & 0x10000):
            items, length = items + SEQUENCE_END, UNDEFINED
        else:
            length = len(items)
        parts.append(implicit(tag, items, length) if implicit_vr else explicit(tag, "SQ", items, length))
    return b"".join(parts)


@st.composite
def objects(draw: st.DrawFn) -> tuple[bytes, str]:
    """A data set with pixel data, in some syntax (Big Endian ones are mostly malformed)."""
    uid = draw(st.sampled_from(SYNTAXES))
    data = draw(data_sets(implicit_vr=uid == IMPLICIT_LE))
    if uid == IMPLICIT_LE:
        data += implicit(0x7FE00010, b"abcd")
    elif uid == JPEG_BASELINE:
        fragments = draw(st.lists(st.binary(max_size=20), max_size=4))
        data += explicit(0x7FE00010, "OB", item(b"") + b"".join(map(item, fragments)) + SEQUENCE_END, UNDEFINED)
    else:
        data += image(1, 2, 8, 2) + explicit(0x7FE00010, "OW", b"abcd")
    if uid == DEFLATED_LE:
        packer = zlib.compressobj(6, zlib.DEFLATED, -15)
        data = packer.compress(data) + packer.flush()
    return data, uid


@st.composite
def damaged(draw: st.DrawFn) -> tuple[bytes, str]:
    """An object with some bytes changed, gone or put in."""
    data, uid = draw(objects())
    body = bytearray(data)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(body)))
        piece = draw(
            st.binary(max_size=9) | st.sampled_from([b"\xff" * 4, SEQUENCE_END, b"\xfe\xff\x00\xe0", bytes(12)])
        )
        body[at : at + draw(st.integers(0, 9))] = piece
    return bytes(body), uid


places = st.lists(st.integers(0, 600), max_size=12)


def same(one: Outcome, other: Outcome) -> bool:
    """Whether nothing differs; a damaged deflate stream may be refused for what came out of it before the damage."""
    return one == other or (bool(one.refused and other.refused) and "deflate-invalid" in (one.refused, other.refused))


@given(objects() | damaged(), places, st.booleans())
def test_any_split_gives_the_same(made: tuple[bytes, str], at: list[int], small: bool) -> None:
    data, uid = made
    limits = SMALL if small else {}
    whole = read(data, uid, **limits)
    assert same(read(data, uid, pieces=cut(data, *at), **limits), whole)
    assert same(read(data, uid, pieces=map(memoryview, cut(data, *at)), **limits), whole)
    assert same(read(data, uid, pieces=cut(data, *range(len(data))), **limits), whole)


@given(objects() | damaged(), st.integers(1, 40), st.booleans())
def test_leaps_change_nothing(made: tuple[bytes, str], step: int, small: bool) -> None:
    """What is passed over unseen is missed all the same when it is not there; only the place told may differ."""
    data, uid = made
    limits = SMALL if small else {}
    for held in (data, data[:-1]):
        whole, leapt = read(held, uid, **limits), read(held, uid, leaping=step, **limits)
        assert same(replace(leapt, reason=""), replace(whole, reason=""))


# An odd UN, then a sequence of undefined length whose head has no VR.
HEADLESS = (
    b"\x09\0\x11\x10UN\0\0\x09\0\0\0" + bytes(9) + b"\0\x01\x01\0" + b"\xff" * 4
    + b"\xfe\xff\0\xe0" + bytes(4) + b"\xfe\xff\xdd\xe0" + bytes(4)
)  # fmt: skip


@settings(max_examples=examples(60))
@example([(HEADLESS, EXPLICIT_LE)], [], False)
@given(st.lists(objects() | damaged(), min_size=1, max_size=4), places, st.booleans())
def test_what_is_remembered_changes_nothing(made: list[tuple[bytes, str]], at: list[int], small: bool) -> None:
    limits = SMALL if small else {}
    memo, tiny = Memo(), Memo(2_000)
    for data, uid in made * 3:
        alone = read(data, uid, **limits)
        assert read(data, uid, memo=memo, **limits) == alone
        assert same(read(data, uid, memo=tiny, pieces=cut(data, *at), **limits), alone)


def part_of(data: bytes, at: int, length: int) -> bytes:
    return data[at : at + length]


@settings(max_examples=examples(60))
@given(st.lists(objects(), min_size=1, max_size=4), st.booleans())
def test_members_are_what_the_text_says(made: list[tuple[bytes, str]], small: bool) -> None:
    """Those of the second and third reading come in pieces that were parsed before."""
    limits, memo = SMALL if small else {}, Memo()
    for data, uid in [one for one in made if one[1] != DEFLATED_LE] * 3:
        alone = read(data, uid, **limits)
        if not alone.refused:
            image = read_whole(uid, partial(part_of, data), ReaderLimits(**limits), memo=memo)
            assert (image.members, list(image.members)) == (alone.metadata, list(alone.metadata))


@settings(max_examples=examples(200))
@given(damaged() | st.tuples(st.binary(max_size=300), st.sampled_from(SYNTAXES)))
@example((b"\xff" * 100, EXPLICIT_LE))
def test_only_declared_outcomes(made: tuple[bytes, str]) -> None:
    result = read(*made)  # anything but Malformed and LimitExceeded goes through
    if result.parsed is None:
        assert POLICY[result.refused].action == "refuse"
    else:
        assert isinstance(json.loads(result.text), dict)
        assert all(POLICY[defect].action == "warn" for defect in result.parsed.defects)
        assert result.parsed.size == len(made[0])


@given(st.sampled_from(sorted(WRITERS)), st.binary(max_size=64), st.booleans())
def test_any_value_is_valid_json(vr: str, raw: bytes, little_endian: bool) -> None:
    charsets = ("ISO 2022 IR 13", "ISO 2022 IR 87")
    text, defect = members(vr, raw, charsets, little_endian)
    assert set(json.loads("{" + text[1:] + "}")) <= {"Value", "InlineBinary", "sagittal:bytes"}
    assert not defect or POLICY[defect].action == "warn"
    assert bool(plain_text(vr, raw, charsets, little_endian)) <= (vr not in BINARY_VRS)


SETS = ["", "ISO_IR 100", "ISO_IR 13", "ISO_IR 192", "GB18030", "GBK", "ISO 2022 IR 6", "ISO 2022 IR 13"]
SETS += ["ISO 2022 IR 87", "ISO 2022 IR 159", "ISO 2022 IR 149", "ISO 2022 IR 58", "ISO 2022 IR 144", "unknown"]
charset_lists = st.lists(st.sampled_from(SETS), max_size=3).map(tuple)


@given(st.binary(max_size=60), charset_lists, st.sampled_from(["PN", "LO", "LT"]))
def test_any_bytes_decode_in_any_set(data: bytes, charsets: tuple[str, ...], vr: str) -> None:
    text, good = decode_checked(data, charsets, vr)
    assert good or "�" in text or "\x1b" in text or data
    text.encode("utf-8")


@given(st.text(st.characters(min_codepoint=32, exclude_categories=["Cs"]), max_size=20), charset_lists)
def test_what_encodes_without_loss_decodes_to_itself(text: str, charsets: tuple[str, ...]) -> None:
    data = encode(text, charsets, "LO")
    if b"?" not in data:
        assert decode(data, charsets, "LO") == text


@given(st.text(max_size=20))
def test_any_charset_term_is_taken(term: str) -> None:
    meant, defect = normalise(term)
    assert normalise(meant)[1] in ("", "charset-unknown")
    assert defect in ("", "charset-misspelt", "charset-unknown")
