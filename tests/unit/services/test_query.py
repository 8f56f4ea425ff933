"""C-FIND: identifiers, character sets, what is answered."""

from __future__ import annotations

import re

import pytest
from counted import calls_of
from pydicom._dicom_dict import DicomDictionary
from pydicom.datadict import keyword_for_tag
from service_fakes import FakeArchive, answers, elements_of, request, site

from sagittal.archive.query import Private, Rows
from sagittal.dicom.elements import deflate, encode, encode_sequence
from sagittal.dicom.sopclasses import PATIENT_ROOT_FIND, PATIENT_STUDY_ONLY_FIND, STUDY_ROOT_FIND
from sagittal.dicom.syntaxes import DEFLATED_LE, EXPLICIT_BE, EXPLICIT_LE, IMPLICIT_LE, syntax
from sagittal.dicom.walk import decode_identifier
from sagittal.errors import LimitExceeded
from sagittal.limits import ReaderLimits
from sagittal.services import identifier as identifier_module
from sagittal.services.identifier import Identifier
from sagittal.services.matches import charsets_for, row_encoder
from sagittal.services.query import MATCHES_AT_ONCE, query

LEVEL, STUDY, SERIES, INSTANCE = 0x00080052, 0x0020000D, 0x0020000E, 0x00080018
NAME, ROWS, PATIENT = 0x00100010, 0x00280010, 0x00100020


def found(rows: Rows, *elements: tuple[int, str, str], cancel_after: int | None = None):
    archive = FakeArchive(rows=rows)
    return archive, answers(query(site(archive)), 0x0020, request(elements), cancel_after)


def test_matches_are_pending_then_success():
    rows = Rows((STUDY, NAME), [("1.2", "Doe^Jane"), ("1.3", None)])
    archive, responses = found(rows, (LEVEL, "CS", "STUDY"), (NAME, "PN", "D*"), (STUDY, "UI", ""))
    assert [r.status for r in responses] == [0xFF00, 0xFF00, 0x0000]
    first = elements_of(responses[0])
    assert first[NAME].text() == "Doe^Jane"
    assert first[0x00080054].text() == "SAGITTAL"
    assert first[LEVEL].text() == "STUDY"
    assert 0x00080005 not in first
    assert elements_of(responses[1])[NAME].text() == ""
    assert archive.asked[0].keys == {NAME: "D*", STUDY: ""}


def test_a_key_that_was_not_matched_is_told():
    rows = Rows((STUDY,), [("1.2",)], frozenset({0x00102160}))
    _, responses = found(rows, (LEVEL, "CS", "STUDY"), (0x00102160, "SH", "x"))
    assert [r.status for r in responses] == [0xFF01, 0x0000]


@pytest.mark.parametrize(
    ("elements", "offending"),
    [
        ([(STUDY, "UI", "1.2")], LEVEL),
        ([(LEVEL, "CS", "FRAME")], LEVEL),
        ([(LEVEL, "CS", "PATIENT")], LEVEL),
        ([(LEVEL, "CS", "SERIES")], STUDY),
        ([(LEVEL, "CS", "SERIES"), (STUDY, "UI", "")], STUDY),
        ([(LEVEL, "CS", "SERIES"), (STUDY, "UI", "1.2\\1.3")], STUDY),
        ([(LEVEL, "CS", "SERIES"), (STUDY, "UI", "1.*")], STUDY),
        ([(LEVEL, "CS", "IMAGE"), (STUDY, "UI", "1.2")], SERIES),
        ([(LEVEL, "CS", "STUDY"), (SERIES, "UI", "1.2.3")], SERIES),
        ([], LEVEL),
    ],
)
def test_what_does_not_fit_the_level_is_a900(elements, offending):
    _, responses = found(Rows((), []), *elements)
    assert [r.status for r in responses] == [0xA900]
    assert responses[0].extra["OffendingElement"] == [offending]


@pytest.mark.parametrize("level", ["", "CORRUPTED_LEVELS"])
def test_the_levels_that_there_are_fit_into_the_comment(level):
    _, responses = found(Rows((), []), (LEVEL, "CS", level))
    assert responses[0].comment.startswith("want STUDY, SERIES, IMAGE as Query/Retrieve Level, ")
    _, responses = found_with(Rows((), []), request([(LEVEL, "CS", level)], abstract_syntax=PATIENT_ROOT_FIND))
    assert responses[0].comment.startswith("want PATIENT, STUDY, SERIES, IMAGE as Query/Retrieve Level")


def test_keys_without_value_below_the_level_are_let_pass():
    _, responses = found(Rows((STUDY,), []), (LEVEL, "CS", "STUDY"), (SERIES, "UI", ""))
    assert [r.status for r in responses] == [0x0000]


def test_an_identifier_that_cannot_be_read_is_cxxx():
    asked = request()
    asked.identifier = b"\x08\x00\x52\x00\xff\xff\x00\x00x"
    responses = answers(query(site(FakeArchive())), 0x0020, asked)
    assert responses[0].status >> 12 == 0xC


@pytest.mark.parametrize("over", [-1, 0, 1])
def test_identifier_elements_max(over):
    """Each is decoded on the loop; in items, too."""
    most, row = ReaderLimits().identifier_elements_max, syntax(IMPLICIT_LE)
    item = encode([(0x00090000 + 2 * at, "LO", b"") for at in range(most - 3 + over)], row)
    nested = [(LEVEL, "CS", b"STUDY "), (0x00081110, "SQ", encode_sequence([item], row))]
    (last,) = answers(query(site(FakeArchive(rows=Rows((STUDY,), [])))), 0x0020, request(nested))
    assert (last.status, "elements_max" in last.comment) == ((0xA700, True) if over > 0 else (0, False))


@pytest.mark.parametrize("over", [-2, 0, 2])
def test_identifier_inflated_bytes_max(over):
    """A megabyte inflates to hundreds, which took the whole archive for minutes."""
    most, row = ReaderLimits().identifier_inflated_bytes_max, syntax(EXPLICIT_LE)
    text = "".join(f"{at:x}" for at in range(most // 4))  # no ratio that tells
    plain = encode([(LEVEL, "CS", b"STUDY "), (0x00104000, "UT", text[: most - 26 + over].encode())], row)
    assert len(plain) == most + over
    asked = request(syntax_uid=DEFLATED_LE)
    asked.identifier = deflate(plain)
    (last,) = answers(query(site(FakeArchive(rows=Rows((STUDY,), [])))), 0x0020, asked)
    assert (last.status, "inflate_bytes_max" in last.comment) == ((0xA700, True) if over > 0 else (0, False))


def test_cancel_ends_with_fe00():
    rows = Rows((STUDY,), [("1.2",)] * 5 * MATCHES_AT_ONCE)
    _, responses = found(rows, (LEVEL, "CS", "STUDY"), (STUDY, "UI", ""), cancel_after=MATCHES_AT_ONCE + 1)
    assert [r.status for r in responses] == [0xFF00] * 2 * MATCHES_AT_ONCE + [0xFE00]


@pytest.mark.parametrize(
    ("text", "requested", "answered"),
    [
        ("Doe", (), ()),
        ("Doe", ("ISO_IR 100",), ()),
        ("Müller", (), ("ISO_IR 100",)),
        ("Müller", ("ISO_IR 192",), ("ISO_IR 192",)),
        ("Люксембург", ("ISO_IR 144",), ("ISO_IR 144",)),
        ("Люксембург", ("ISO_IR 100",), ("ISO_IR 192",)),
        ("Müller", ("ISO_IR 144",), ("ISO_IR 192",)),
        ("山田", (), ("ISO_IR 192",)),
        ("Yamada^Tarou=山田^太郎", ("", "ISO 2022 IR 87"), ("", "ISO 2022 IR 87")),
    ],
)
def test_the_character_set_of_a_response(text, requested, answered):
    assert charsets_for(text, requested) == answered


def test_names_arrive_in_the_character_set_that_is_told():
    rows = Rows((NAME,), [("Müller^Jürgen",)])
    _, responses = found(rows, (LEVEL, "CS", "STUDY"), (NAME, "PN", ""))
    elements = elements_of(responses[0])
    assert elements[0x00080005].text() == "ISO_IR 100"
    assert elements[NAME].text(("ISO_IR 100",)) == "Müller^Jürgen"


@pytest.mark.parametrize("uid", [EXPLICIT_LE, EXPLICIT_BE])
def test_numbers_are_binary_where_their_vr_is(uid):
    identifier = Identifier("IMAGE", {ROWS: "", 0x00200013: ""})
    data = row_encoder((0x00200013, ROWS), identifier, "A", syntax(uid))((5, 512), {})
    elements = decode_identifier(data, syntax(uid), ReaderLimits())
    assert elements[ROWS].numbers() == [512]
    assert elements[0x00200013].text() == "5"


@pytest.mark.parametrize("uid", [IMPLICIT_LE, EXPLICIT_LE, EXPLICIT_BE, DEFLATED_LE])
@pytest.mark.parametrize("name", ["Doe^J", None, "Müller^J"])
def test_a_row_is_what_its_elements_are_in_order(uid, name):
    columns = (INSTANCE, LEVEL - 2, NAME, STUDY, ROWS)
    encode_row = row_encoder(columns, Identifier("IMAGE"), "ME", syntax(uid))
    rows_in_order = b"\2\0" if uid == EXPLICIT_BE else b"\0\2"
    expected = [
        (INSTANCE, "UI", b"1.2.3"),
        (LEVEL - 2, "SH", b""),
        (LEVEL, "CS", b"IMAGE"),
        (0x00080054, "AE", b"ME"),
        (0x00080056, "CS", b"ONLINE"),
        (NAME, "PN", (name or "").encode("latin-1")),
        (STUDY, "UI", b"1.2"),
        (ROWS, "US", rows_in_order),
    ]
    if name and not name.isascii():
        expected.append((0x00080005, "CS", b"ISO_IR 100"))
    for _ in range(2):  # the second from what was remembered
        assert encode_row(("1.2.3", "", name, "1.2", 512), {}) == encode(expected, syntax(uid))


def found_with(rows: Rows, asked, **more):
    archive = FakeArchive(rows=rows)
    responses = answers(query(site(archive, **more.pop("site", {}))), 0x0020, asked)
    return archive.asked, responses


@pytest.mark.parametrize(
    ("sop_class", "extended", "elements", "offending"),
    [
        (PATIENT_ROOT_FIND, None, [(LEVEL, "CS", "PATIENT"), (PATIENT, "LO", "")], None),
        (PATIENT_ROOT_FIND, None, [(LEVEL, "CS", "STUDY"), (PATIENT, "LO", "P1"), (STUDY, "UI", "")], None),
        (PATIENT_ROOT_FIND, None, [(LEVEL, "CS", "STUDY"), (STUDY, "UI", "")], PATIENT),
        (PATIENT_ROOT_FIND, b"\1", [(LEVEL, "CS", "STUDY"), (STUDY, "UI", "")], None),
        (PATIENT_ROOT_FIND, b"\0\1\1", [(LEVEL, "CS", "STUDY"), (STUDY, "UI", "")], PATIENT),
        (STUDY_ROOT_FIND, b"\1", [(LEVEL, "CS", "IMAGE"), (INSTANCE, "UI", "")], None),
        (STUDY_ROOT_FIND, b"\1", [(LEVEL, "CS", "STUDY"), (SERIES, "UI", "1.2")], None),
        (STUDY_ROOT_FIND, b"\1", [(LEVEL, "CS", "PATIENT")], LEVEL),
        (PATIENT_STUDY_ONLY_FIND, None, [(LEVEL, "CS", "STUDY"), (PATIENT, "LO", "P1")], None),
        (PATIENT_STUDY_ONLY_FIND, b"\1", [(LEVEL, "CS", "SERIES"), (PATIENT, "LO", "P1")], LEVEL),
    ],
)
def test_the_levels_and_the_hierarchy_of_each_root(sop_class, extended, elements, offending):
    asked = request(elements, abstract_syntax=sop_class, extended=extended)
    _, responses = found_with(Rows((), []), asked)
    assert [response.extra.get("OffendingElement") for response in responses] == [offending and [offending]]
    assert responses[0].status == (0xA900 if offending else 0x0000)


def test_what_is_granted_of_extended_negotiation():
    negotiate = query(site(FakeArchive())).negotiate
    assert negotiate(b"\1\1\1\1\1\1\1\1") == b"\1\1\1\1\0\1\1"  # PS3.4 Table C.5-2 has seven
    assert negotiate(b"\1") == b"\1"
    assert negotiate(b"\0\1\2\0\0\1") == b"\0\1\0\0\0\1"
    assert negotiate(b"") == b""


@pytest.mark.parametrize("granted", [b"\1\1\1\1\0\1\1", b"\0\0\0\0\0", None])
def test_the_engine_is_told_what_was_granted(granted):
    elements = [(LEVEL, "CS", "STUDY"), (STUDY, "UI", ""), (0x00080201, "SH", "+0100")]
    asked, _ = found_with(Rows((STUDY,), []), request(elements, extended=granted))
    terms = (asked[0].combined_datetime, asked[0].fuzzy, asked[0].multiple_value, asked[0].timezone)
    assert terms == ((True, True, True, "+0100") if granted and granted[0] else (False, False, False, ""))
    assert asked[0].keys == {STUDY: "", 0x00080201: ""}  # returned, not matched


@pytest.mark.parametrize("cancel_after", [None, 1, 2])
def test_matches_of_several_pages(cancel_after):
    """The engine gives no more at one time than it may read of metadata; the peer sees one row of matches."""
    pages = [Rows((STUDY,), [("1.2",)]), Rows((STUDY,), [("1.3",)], frozenset({NAME})), Rows((STUDY,), [("1.4",)])]
    archive, responses = found(pages, (LEVEL, "CS", "STUDY"), (STUDY, "UI", ""), cancel_after=cancel_after)
    if cancel_after is None:
        assert [r.status for r in responses] == [0xFF00, 0xFF01, 0xFF00, 0x0000]
        assert [elements_of(r)[STUDY].text() for r in responses[:3]] == ["1.2", "1.3", "1.4"]
    else:
        assert [r.status for r in responses][cancel_after:] == [0xFE00]
        assert archive.given == cancel_after + 1


def test_what_costs_too_much_ends_the_answer():
    pages = [Rows((STUDY,), [("1.2",)]), LimitExceeded("too much")]
    _, responses = found(pages, (LEVEL, "CS", "STUDY"), (STUDY, "UI", ""))
    assert [response.status for response in responses] == [0xFF00, 0xA700]


def test_sequences_and_private_keys_go_to_the_engine():
    item = encode([(0x00080100, "SH", b"T-A"), (0x00080104, "LO", b"")], syntax(IMPLICIT_LE))
    elements = [
        (LEVEL, "CS", "STUDY"),
        (0x00081032, "SQ", encode_sequence([item], syntax(IMPLICIT_LE))),
        (0x00081110, "SQ", b""),
        (0x00090010, "LO", "ACME"),
        (0x00091042, "LO", "x*"),
        (0x000B1042, "LO", "y"),
    ]
    asked, responses = found_with(Rows((), [()]), request(elements))
    assert asked[0].keys == {
        0x00081032: {0x00080100: "T-A", 0x00080104: ""},
        0x00081110: "",
        Private("ACME", 0x00090042): "x*",
    }
    assert [response.status for response in responses] == [0xFF01, 0x0000]  # (000B,1042) has no creator
    answer = elements_of(responses[0])
    assert answer[0x00090010].text() == "ACME"
    assert {tag: answer[tag].value for tag in (0x00091042, 0x000B1042)} == {0x00091042: b"", 0x000B1042: b""}
    assert answer[0x00081032].items == answer[0x00081110].items == []


@pytest.mark.parametrize("uid", [IMPLICIT_LE, EXPLICIT_LE, EXPLICIT_BE, DEFLATED_LE])
def test_attributes_outside_the_index_are_answered_from_metadata(uid):
    to = syntax(uid)
    plain = syntax(EXPLICIT_LE) if to.deflated else to
    nested = encode_sequence([encode([(0x00080100, "SH", b""), (0x00080104, "LO", b"")], plain)], plain)
    elements = [(LEVEL, "CS", "STUDY"), (NAME, "PN", ""), (0x00081032, "SQ", nested), (0x00081110, "SQ", b"")]
    elements += [(0x00090010, "LO", "ACME"), (0x00091042, "LO", ""), (0x00189073, "FD", b""), (0x00104000, "LT", "")]
    elements += [(0x00280009, "AT", b""), (0x00283010, "SQ", b""), (0x0040A043, "SQ", b"")]
    more = {
        "00081032": {"vr": "SQ", "Value": [{
            "00080100": {"vr": "SH", "Value": ["T"]}, "00080102": {"vr": "SH", "Value": ["left out"]},
            "00080104": {"vr": "LO", "Value": ["Größe", None]}}]},
        "00081110": {"vr": "SQ", "Value": [{"00081155": {"vr": "UI", "Value": ["1.2"]}}, {}]},
        "00090011": {"vr": "LO", "Value": ["ACME"]},
        "00091142": {"vr": "LO", "Value": ["Привет"]},
        "00189073": {"vr": "FD", "Value": [1.5]},
        "00280009": {"vr": "AT", "Value": ["00181063"]},
        "00283010": {"vr": "SQ", "BulkDataURI": "elsewhere"},
    }  # fmt: skip
    rows = Rows((NAME,), [("Doe^J",), ("Roe^J",)], extra=[more, {}])
    _, responses = found_with(rows, request(elements, syntax_uid=uid))
    answer = elements_of(responses[0], uid)
    assert answer[0x00080005].text() == "ISO_IR 192"
    assert [response.status for response in responses] == [0xFF00, 0xFF00, 0x0000]
    (item,) = answer[0x00081032].items
    assert {tag: element.text(("ISO_IR 192",)) for tag, element in item.items()} == {
        0x00080100: "T",
        0x00080104: "Größe\\",
    }
    assert [sorted(item) for item in answer[0x00081110].items] == [[0x00081155], []]
    assert answer[0x00090010].text() == "ACME"
    value = answer[0x00091042].value
    assert isinstance(value, bytes) and value.decode().strip() == "Привет"
    assert answer[0x00189073].numbers() == [1.5]
    assert answer[0x00280009].numbers() == [0x00181063]
    assert answer[0x00104000].value == b""
    assert answer[0x00283010].items == answer[0x0040A043].items == []
    assert list(answer) == sorted(answer)
    second = elements_of(responses[1], uid)
    assert second.keys() == answer.keys() - {0x00080005}
    assert second[0x00091042].value == b""


@pytest.mark.parametrize(
    ("declared", "raw", "otherwise", "text"),
    [
        ("", "Müller".encode("latin-1"), ("ISO_IR 100",), "Müller"),
        ("NO SUCH SET", "Müller".encode("latin-1"), ("ISO_IR 100",), "Müller"),
        ("ISO_IR 192", "Müller".encode("latin-1"), ("ISO_IR 100",), "Müller"),
        ("ISO_IR 192", "Müller".encode(), ("ISO_IR 100",), "Müller"),
        ("ISO_IR 144", "Иван".encode("iso8859_5"), ("ISO_IR 100",), "Иван"),
        ("", "Иван".encode("iso8859_5"), ("ISO_IR 144",), "Иван"),
    ],
)
def test_the_character_set_of_an_identifier(declared, raw, otherwise, text):
    elements = [(LEVEL, "CS", "STUDY"), (NAME, "PN", raw), (0x00080005, "CS", declared)]
    asked, responses = found_with(
        Rows((NAME,), [("Müller",)]), request(elements), site={"charsets": {"TEST": otherwise}.__getitem__}
    )
    assert asked[0].keys == {NAME: text}
    assert responses[0].status == 0xFF00


def test_a_hundred_studies_are_encoded_quickly():
    """A value that was there before is looked up, and a new one costs a call or two: no element is planned again."""
    tags = (0x00080020, 0x00080030, 0x00080050, 0x00080061, 0x00081030, NAME, 0x00100020, 0x00100030, STUDY, 0x00200010)
    row = ("20260101", "101112", "ACC1", "CT\\SR", "CHEST", "Doe^Jane", "4711", "19700101")
    identifier = Identifier("STUDY", dict.fromkeys(tags, ""))
    encode_row = row_encoder(tags, identifier, "SAGITTAL", syntax(EXPLICIT_LE))
    encode_row((*row, "1.2.0", "1"), {})
    calls = calls_of(lambda: [encode_row((*row, f"1.2.{number}", "1"), {}) for number in range(100)])
    assert calls < 100 * (len(tags) + 5)


def test_keys_of_an_identifier_are_called_so_by_ps3_6():
    named = {
        "CHARACTER_SET": "SpecificCharacterSet", "LEVEL": "QueryRetrieveLevel", "RETRIEVE_AET": "RetrieveAETitle",
        "AVAILABILITY": "InstanceAvailability", "TIMEZONE": "TimezoneOffsetFromUTC", "PATIENT_ID": "PatientID",
        "MEDIA_ID": "StorageMediaFileSetID", "MEDIA_UID": "StorageMediaFileSetUID", "STUDY_UID": "StudyInstanceUID",
        "SERIES_UID": "SeriesInstanceUID", "INSTANCE_UID": "SOPInstanceUID",
    }  # fmt: skip
    assert {name: keyword_for_tag(getattr(identifier_module, name)) for name in named} == named
    told = re.compile(
        "NumberOf(Patient|Study|Series)Related|ModalitiesInStudy|SOPClassesInStudy|StorageMediaFileSetU?ID"
    )
    of_entities = {tag for tag, row in DicomDictionary.items() if told.match(row[4])}  # PS3.4 Table C.3-1
    assert of_entities | {identifier_module.TIMEZONE} == identifier_module._TOLD
