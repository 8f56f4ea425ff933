"""The head of a file: written deterministically, read whatever it looks like."""

from __future__ import annotations

import re
import struct
from io import BytesIO
from pathlib import Path

import pytest

from sagittal.dicom import part10
from sagittal.dicom.defects import POLICY
from sagittal.dicom.part10 import Part10Head, guess_syntax, head_of, meta_group
from sagittal.dicom.syntaxes import DEFLATED_LE, EXPLICIT_BE, EXPLICIT_LE, IMPLICIT_LE
from sagittal.errors import LimitExceeded, Malformed
from sagittal.limits import ReaderLimits

CT = "1.2.840.10008.5.1.4.1.1.2"
LIMITS = ReaderLimits()
DATA_SETS = {
    IMPLICIT_LE: b"\x08\0\x16\0\x04\0\0\0" + b"1.2\0",
    EXPLICIT_LE: b"\x08\0\x16\0UI\x04\x00" + b"1.2\0",
    EXPLICIT_BE: b"\0\x08\0\x16UI\x00\x04" + b"1.2\0",
}


def read(data: bytes) -> Part10Head:
    head = Part10Head(LIMITS)
    head.feed(data)
    head.finish()
    return head


def element(number: int, vr: str, value: bytes) -> bytes:
    if vr == "OB":
        return struct.pack("<HH2s2xI", 2, number, b"OB", len(value)) + value
    return struct.pack("<HH2sH", 2, number, vr.encode(), len(value)) + value


def meta(uid: str = EXPLICIT_LE, **changes: bytes) -> bytes:
    """Prefix and a meta group of class, instance and syntax without group length."""
    parts = {"sop_class": element(2, "UI", CT.encode() + b"\0"), "sop_instance": element(3, "UI", b"1.2.3\0")}
    parts |= {"syntax": element(0x10, "UI", uid.encode() + b"\0" * (len(uid) % 2))}
    return bytes(128) + b"DICM" + b"".join((parts | changes).values())


def test_meta_group_is_the_same_each_time_and_pydicom_reads_it() -> None:
    from pydicom import dcmread

    head = meta_group(CT, "1.2.3", EXPLICIT_LE)
    assert head == meta_group(CT, "1.2.3", EXPLICIT_LE)
    assert head[:132] == bytes(128) + b"DICM"
    theirs = dcmread(BytesIO(head + DATA_SETS[EXPLICIT_LE]))
    assert theirs.file_meta.MediaStorageSOPClassUID == CT
    assert theirs.file_meta.MediaStorageSOPInstanceUID == "1.2.3"
    assert theirs.file_meta.TransferSyntaxUID == EXPLICIT_LE
    assert theirs.file_meta.FileMetaInformationGroupLength == len(head) - 144
    assert theirs.file_meta.FileMetaInformationVersion == b"\0\1"
    assert "SourceApplicationEntityTitle" not in theirs.file_meta


@pytest.mark.parametrize("uid", [IMPLICIT_LE, EXPLICIT_LE, EXPLICIT_BE, DEFLATED_LE, "1.2.840.10008.1.2.4.50"])
def test_reads_what_it_writes(uid: str) -> None:
    data_set = DATA_SETS.get(uid, DATA_SETS[EXPLICIT_LE])
    written = meta_group(CT, "1.2.3", uid)
    head = read(written + data_set)
    assert (head.sop_class_uid, head.sop_instance_uid, head.syntax_uid) == (CT, "1.2.3", uid)
    assert (head.data_set_offset, head.rest, head.defects) == (len(written), data_set, ())


def test_done_before_the_end_and_bytes_after_are_the_callers() -> None:
    head = Part10Head(LIMITS)
    written = meta_group(CT, "1.2.3", EXPLICIT_LE)
    head.feed(written)
    assert not head.done  # the next element may still belong to the meta group
    head.feed(DATA_SETS[EXPLICIT_LE])
    assert head.done and head.rest == DATA_SETS[EXPLICIT_LE]


@pytest.mark.parametrize("uid", list(DATA_SETS))
def test_no_preamble_no_meta(uid: str) -> None:
    head = read(DATA_SETS[uid])
    assert (head.syntax_uid, head.data_set_offset, head.rest) == (uid, 0, DATA_SETS[uid])
    assert (head.sop_class_uid, head.sop_instance_uid) == (None, None)
    assert head.defects == ("no-preamble", "no-meta")


def test_meta_without_preamble_with_and_without_prefix() -> None:
    for cut in (128, 132):
        head = read(meta()[cut:] + DATA_SETS[EXPLICIT_LE])
        assert head.syntax_uid == EXPLICIT_LE and head.sop_class_uid == CT
        assert head.defects == ("no-preamble", "meta-length-missing")


def test_dicm_inside_a_data_set_is_no_prefix() -> None:
    data = b"\x08\0\x05\0CS\x0a\0ISO_IR 100\x08\0\x81\0ST\x78\0" + b"x" * 102 + b"DICM" + b"y" * 14
    assert data[128:132] == b"DICM"
    assert read(data).data_set_offset == 0


def test_preamble_and_prefix_but_no_meta() -> None:
    head = read(bytes(128) + b"DICM" + DATA_SETS[IMPLICIT_LE])
    assert (head.syntax_uid, head.data_set_offset, head.defects) == (IMPLICIT_LE, 132, ("no-meta",))


@pytest.mark.parametrize(("length", "defects"), [(0, ("meta-length-wrong",)), (9999, ("meta-length-wrong",))])
def test_group_length_is_not_believed(length: int, defects: tuple[str, ...]) -> None:
    data = meta()[:132] + element(0, "UL", struct.pack("<I", length)) + meta()[132:] + DATA_SETS[EXPLICIT_LE]
    head = read(data)
    assert (head.syntax_uid, head.rest, head.defects) == (EXPLICIT_LE, DATA_SETS[EXPLICIT_LE], defects)


def test_deflated_bytes_that_look_like_a_meta_element() -> None:
    written = meta_group(CT, "1.2.3", DEFLATED_LE)
    assert read(written + b"\x02\0\x10\0UI\x04\x00abcd").data_set_offset == len(written)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("explicit", [True, False])
def test_meta_in_another_encoding(order: str, explicit: bool) -> None:
    if order == "<" and explicit:
        return
    value = EXPLICIT_LE.encode() + b"\0"
    shape = struct.pack(order + ("HH2sH" if explicit else "HHI"), 2, 0x10, *([b"UI"] if explicit else []), len(value))
    head = read(bytes(128) + b"DICM" + shape + value + DATA_SETS[EXPLICIT_LE])
    assert head.syntax_uid == EXPLICIT_LE
    assert head.defects == ("meta-not-explicit-le", "meta-length-missing")


@pytest.mark.parametrize("uid", list(DATA_SETS))
def test_missing_syntax_is_guessed(uid: str) -> None:
    head = read(meta(syntax=b"") + DATA_SETS[uid])
    assert head.syntax_uid == uid and "syntax-guessed" in head.defects


@pytest.mark.parametrize("none", ["../../x", "1.2\r\nX-Other: 1", "1" * 65, "1.02"])
def test_a_syntax_that_is_no_uid_counts_as_missing(none: str) -> None:
    head = read(meta(none) + DATA_SETS[IMPLICIT_LE])
    assert head.syntax_uid == IMPLICIT_LE and "syntax-guessed" in head.defects


@pytest.mark.parametrize("declared", list(DATA_SETS))
@pytest.mark.parametrize("actual", list(DATA_SETS))
def test_another_plain_syntax_than_declared(declared: str, actual: str) -> None:
    head = read(meta(declared) + DATA_SETS[actual])
    assert head.syntax_uid == actual
    assert ("syntax-wrong" in head.defects) == (declared != actual)


def test_sequence_of_undefined_length_in_meta_is_passed_over() -> None:
    item = b"\xfe\xff\x00\xe0\xff\xff\xff\xff\xfe\xff\x0d\xe0\0\0\0\0\xfe\xff\xdd\xe0\0\0\0\0"
    head = read(meta(other=struct.pack("<HH2s2xI", 2, 0x102, b"SQ", 0xFFFFFFFF) + item) + DATA_SETS[EXPLICIT_LE])
    assert head.rest == DATA_SETS[EXPLICIT_LE]


def test_empty_and_repeated_elements() -> None:
    head = read(meta(sop_instance=element(3, "UI", b""), again=element(2, "UI", b"9\0")) + DATA_SETS[EXPLICIT_LE])
    assert (head.sop_class_uid, head.sop_instance_uid) == (CT, None)
    assert head.defects == ("meta-duplicate", "meta-length-missing")


@pytest.mark.parametrize(
    ("data", "defect"),
    [
        (b"", "not-dicom"),
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "not-dicom"),
        (b"PK\x03\x04" + bytes(200), "not-dicom"),
        (b"\x89PNG\r\n\x1a\n" + bytes(200), "not-dicom"),
        (b"\xff\xd8\xff\xe0\0\x10JFIF" + bytes(200), "not-dicom"),
        (bytes(300), "not-dicom"),
        (b'{"a": 1}' * 30, "not-dicom"),
        (bytes(128) + b"DICM", "truncated"),
        (meta()[:-4], "truncated"),
        (meta_group(CT, "1.2.3", EXPLICIT_LE)[:200], "truncated"),
        (meta(syntax=b"") + b"\x99\x99\x99\x99UI\x04\x001.2\0", "syntax-missing"),
    ],
)
def test_refused(data: bytes, defect: str) -> None:
    with pytest.raises(Malformed) as caught:
        read(data)
    assert caught.value.defect == defect


def test_meta_group_limit_at_below_and_above() -> None:
    limits = ReaderLimits(meta_group_bytes_max=1024)
    fixed = len(meta()) - 132 + 12
    for size, refused in ((1023, False), (1024, False), (1025, True)):
        head = Part10Head(limits)
        data = meta(other=element(0x102, "OB", bytes(size - fixed))) + DATA_SETS[EXPLICIT_LE]
        if refused:
            with pytest.raises(LimitExceeded):
                head.feed(data)
        else:
            head.feed(data)
            assert head.done


def test_meta_element_of_4_gib_is_refused_at_once() -> None:
    with pytest.raises(LimitExceeded):
        read(meta(other=struct.pack("<HH2s2xI", 2, 0x102, b"OB", 0xFFFFFFFE)))
    with pytest.raises(LimitExceeded):
        read(meta(other=struct.pack("<HH2s2xI", 2, 0x102, b"SQ", 0xFFFFFFFF)) + bytes(70_000))


def test_every_defect_is_in_the_policy_table() -> None:
    names = set(re.findall(r'_defect\("([a-z-]+)"\)', Path(part10.__file__).read_text()))
    assert {"no-preamble", "syntax-wrong"} <= names
    assert {POLICY[name].action for name in names} == {"warn"}


def test_guess_needs_8_bytes() -> None:
    assert guess_syntax(DATA_SETS[EXPLICIT_LE][:7]) is None


def test_no_more_pieces_are_taken_than_the_head_needs() -> None:
    data = meta() + DATA_SETS[EXPLICIT_LE]
    pieces = iter([data[:100], data[100:200], data[200:], b"more", b"and more"])
    head = head_of(pieces, ReaderLimits())
    assert head.done and head.rest == data[head.data_set_offset :]
    assert list(pieces) == [b"more", b"and more"]
    with pytest.raises(Malformed):
        head_of([b"", b"no DICOM"], ReaderLimits())
