"""The predicate of PS3.4 C.2.2.2 on the DICOM JSON Model, rule by rule; names and times by themselves."""

from __future__ import annotations

import json
import unicodedata
from functools import partial
from typing import Any

import pytest

from sagittal.dicom.matching import names, times
from sagittal.dicom.matching.predicate import Keys, Matcher, Private, pattern
from sagittal.dicom.matching.rules import Options, number_of
from sagittal.errors import BadRequest

KVP, NAME, DATE, TIME, MOMENT, CODES = 0x00180060, 0x00100010, 0x00080020, 0x00080030, 0x0008002A, 0x00081032
SINGLE = 0x00089459  # of VR FL
ITEMS = [{"00080100": {"vr": "SH", "Value": ["A"]}, "00080102": {"vr": "SH", "Value": ["DCM"]}}, {}]
FOUND: dict[str, Any] = {
    "00080018": {"vr": "UI", "Value": ["1.2.3"]},
    "00080020": {"vr": "DA", "Value": ["20240229"]},
    "00080021": {"vr": "DA", "Value": ["20240229"]},
    "00080030": {"vr": "TM", "Value": ["2330"]},
    "0008002A": {"vr": "DT", "Value": ["20240229233000.5-0500"]},
    "00080032": {"vr": "TM", "Value": ["101530.5"]},
    "00080008": {"vr": "CS", "Value": ["ORIGINAL", None, "AXIAL"]},
    "00080201": {"vr": "SH", "Value": ["-0500"]},
    "00081032": {"vr": "SQ", "Value": ITEMS},
    "00081140": {"vr": "SQ"},
    "00100010": {"vr": "PN", "Value": [{"Alphabetic": "González^Ana", "Ideographic": "山田"}]},
    "00104000": {"vr": "LT", "Value": ["one \\ two"]},
    "00180060": {"vr": "DS", "Value": [120.0]},
    "00089459": {"vr": "FL", "Value": [0.10000000149011612]},
    "00189074": {"vr": "DT"},
    "00280010": {"vr": "US", "Value": [512]},
    "00290011": {"vr": "LO", "Value": ["ACME"]},
    "00291105": {"vr": "UN", "InlineBinary": "cmVkIA=="},
    "00291107": {"vr": "DT", "Value": ["20240229233000"]},
    "00280106": {"vr": "US", "Value": [0]},
    "0040A13A": {"vr": "DT", "Value": [None]},
}


@pytest.mark.parametrize(
    ("keys", "options", "expected"),
    [
        ({}, {}, True),
        ({0x00080018: "1.2.3"}, {}, True),
        ({0x00080018: "1.2.*"}, {}, False),
        ({0x00080018: "1\\1.2.3"}, {}, True),
        ({0x00080008: "AXIAL"}, {}, True),
        ({0x00080008: "AX*"}, {}, True),
        ({0x00080008: "LOCALIZER"}, {}, False),
        # Multiple Value Matching (PS3.4 C.2.2.2.8) wants all of them, where there can be several.
        ({0x00080008: "AXIAL\\LOCALIZER"}, {}, True),
        ({0x00080008: "AXIAL\\LOCALIZER"}, {"multiple_value": True}, False),
        ({0x00080008: "AX*\\ORIGINAL"}, {"multiple_value": True}, True),
        ({0x00080008: "AXIAL\\*"}, {"multiple_value": True}, True),
        ({0x00080018: "1\\1.2.3"}, {"multiple_value": True}, True),
        ({0x00081030: '""\\x'}, {"multiple_value": True, "empty_value": True}, True),  # of VM 1
        ({0x00080008: '""'}, {"empty_value": True}, False),
        ({0x00189074: '""'}, {"empty_value": True}, True),
        ({0x0040A13A: '""'}, {"empty_value": True}, True),
        ({0x00181030: '""'}, {"empty_value": True}, True),
        ({0x00181030: '""\\x'}, {"empty_value": True}, True),
        ({0x00181030: "x"}, {}, False),
        ({0x00181030: "*"}, {}, True),
        ({0x00181030: "?*"}, {}, False),
        ({0x00104000: "one \\ two"}, {}, True),
        ({0x00104000: "one*"}, {}, True),
        ({0x00104000: "two"}, {}, False),
        ({KVP: "120"}, {}, True),
        ({KVP: "1.2e2"}, {}, True),
        ({KVP: "12"}, {}, False),
        ({0x00280010: "00512"}, {}, True),
        ({0x00280106: "0"}, {}, True),
        ({NAME: "gonzalez^ana"}, {}, True),
        ({NAME: "山*"}, {}, True),
        ({NAME: "*=山?"}, {}, True),
        ({NAME: "ana"}, {}, False),
        ({NAME: "gonsales"}, {"fuzzy": True}, True),
        ({NAME: "ana gonzales"}, {"fuzzy": True}, True),
        ({NAME: "gonsales^juan"}, {"fuzzy": True}, False),
        ({DATE: "20240229", TIME: "23"}, {}, True),
        ({DATE: "20240301", TIME: "0430"}, {"timezone": 0}, True),
        ({DATE: "20240229"}, {"timezone": 0}, False),
        ({TIME: "0530"}, {"timezone": 60}, True),
        ({0x00080032: "101530.500000"}, {}, True),
        ({0x00080032: "101530.50-11"}, {}, True),
        ({0x00080032: "101530.51-11"}, {}, False),
        ({DATE: "20240228-20240301", TIME: "2300-0100"}, {}, False),
        ({DATE: "20240228-20240301", TIME: "2300-0100"}, {"combined_datetime": True}, True),
        ({DATE: "20240229-20240301", TIME: "2331-0100"}, {"combined_datetime": True}, False),
        ({DATE: "20240301-", TIME: "0430-"}, {"combined_datetime": True, "timezone": 0}, True),
        ({DATE: "-20240301", TIME: "-0429"}, {"combined_datetime": True, "timezone": 0}, False),
        # Ranges of two forms are matched each for itself (PS3.4 C.2.2.2.5.4).
        ({DATE: "20240228-", TIME: "-0100"}, {"combined_datetime": True}, False),
        ({DATE: "20240228-20240301", TIME: "2330-"}, {"combined_datetime": True}, True),
        ({DATE: "20240227-20240301", TIME: "0900"}, {"combined_datetime": True}, False),
        # A single date is no range, and what has no time is not of a range of times.
        ({0x00080021: "20240229", 0x00080031: "-1200"}, {"combined_datetime": True}, False),
        ({DATE: "20240229", TIME: "-2330"}, {"combined_datetime": True}, True),
        ({MOMENT: "20240229"}, {}, True),
        ({MOMENT: "20240301"}, {"timezone": 0}, True),
        ({MOMENT: "20240301043000+0000-20240301043001+0000"}, {}, True),
        ({MOMENT: "2024-2025"}, {}, True),
        ({MOMENT: "202403010430+0000"}, {}, True),
        ({MOMENT: "20240301050000+0030-2024030104+0000"}, {}, True),
        ({MOMENT: "20240229-2024030103+0000"}, {}, False),
        ({MOMENT: "20240229"}, {"timezone": -300}, True),
        ({MOMENT: "20240229"}, {"timezone": 0}, False),
        ({Private("ACME", 0x00290007): "202403010430+0000"}, {}, True),
        ({SINGLE: "0.1"}, {}, True),
        ({SINGLE: "0.10000000149011612"}, {}, True),
        ({SINGLE: "0.1001"}, {}, False),
        ({SINGLE: "1e39"}, {}, False),
        ({MOMENT: "-20240228"}, {}, False),
        ({CODES: {0x00080100: "A", 0x00080102: "DCM"}}, {}, True),
        ({CODES: {0x00080100: "A", 0x00080102: "99X"}}, {}, False),
        ({CODES: {0x00080100: "A", 0x00080104: '""'}}, {"empty_value": True}, True),
        ({CODES: {0x00080100: '""'}}, {"empty_value": True}, True),  # the item without anything
        ({0x00081140: {0x00081150: '""'}}, {"empty_value": True}, False),  # no item
        ({0x00081140: '""'}, {"empty_value": True}, True),
        ({CODES: '""'}, {"empty_value": True}, False),
        ({Private("ACME", 0x00290005): "red"}, {}, True),
        ({Private("ACME", 0x00290005): "re?"}, {}, True),
        ({Private("ACME", 0x00290006): "red"}, {}, False),
        ({Private("OTHER", 0x00290005): "red"}, {}, False),
        ({Private("OTHER", 0x00290005): '""'}, {"empty_value": True}, True),
    ],
)
def test_the_predicate(keys: Keys, options: dict[str, Any], expected: bool) -> None:
    assert Matcher(keys, Options(**options))(FOUND) == expected


@pytest.mark.parametrize(
    "keys", [{CODES: "A"}, {0x7FE00010: "x"}, {DATE: "soon"}, {KVP: "much"}, {MOMENT: "20240229-x"}]
)
def test_keys_that_cannot_be(keys: Keys) -> None:
    with pytest.raises(BadRequest):
        Matcher(keys)


@pytest.mark.parametrize(("number", "refused"), [(99, False), (100, False), (101, True)])
def test_so_many_values_may_all_have_to_match(number: int, refused: bool) -> None:
    matcher = partial(Matcher, {0x00080008: "\\".join(["AXIAL"] * number)}, Options(multiple_value=True))
    if refused:
        with pytest.raises(BadRequest, match="100 values"):
            matcher()
    else:
        assert matcher()(FOUND)


def test_what_is_needed_of_a_text() -> None:
    matcher = Matcher({KVP: "1", CODES: {0x00080100: "A"}, Private("ACME", 0x00290005): "x", 0x00181030: ""})
    assert set(matcher.needs) == {b'"00180060"', b'"00081032"', b'"00080100"', b'"ACME"'}
    assert Matcher({KVP: '""'}, Options(empty_value=True)).needs == ()


@pytest.mark.parametrize("keys", [{0x00181030: "x\\*"}, {0x00081050: "^"}, {Private("ACME", 0x00290005): "x\\*"}])
def test_what_matches_all_needs_nothing(keys: Keys) -> None:
    """One of the values is universal, or all of a name; an object without the attribute is found, too."""
    matcher = Matcher(keys)
    assert matcher({}) and matcher.needs == ()


@pytest.mark.parametrize(
    ("text", "may"),
    [
        ('{"00180060":{"vr":"DS","Value":[120]}}', True),
        ('{"00180060":{"vr":"DS","Value":[121]}}', False),
        ('{"00400555":{"vr":"SQ","Value":[{"00180060":{"vr":"DS","Value":[120]}}]},"00180060":{"vr":"DS"}}', True),
        ('{"00104000":{"vr":"LT","Value":["\\"00180060\\":{}"]}}', False),
        ('{"00180060": 12', True),
    ],
)
def test_a_glance_at_a_text(text: str, may: bool) -> None:
    assert Matcher({KVP: "120"}).may_match(text) == may


def test_a_glance_does_not_tell_of_a_moment_whose_offset_is_elsewhere() -> None:
    matcher = Matcher({MOMENT: "20240229120000+0000"})
    text = '{"00080201":{"vr":"SH","Value":["+0200"]},"0008002A":{"vr":"DT","Value":["20240229140000"]}}'
    assert matcher(json.loads(text)) and matcher.may_match(text)


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        ("gonzalez", "gonsales", True),
        ("hernandez", "ernandes", True),
        ("jimenez", "gimenez", True),
        ("vazquez", "basques", True),
        ("llanos", "yanos", True),
        ("katherine", "catherine", True),
        ("meyer", "maier", True),
        ("muller", "mueller", True),
        ("schmidt", "schmitt", True),
        ("smith", "simth", True),
        ("doe", "roe", False),
        ("garcia", "martinez", False),
        ("山田", "山本", False),
    ],
)
def test_words_that_are_alike(one: str, other: str, alike: bool) -> None:
    assert (not names.codes(one).isdisjoint(names.codes(other))) == alike


def test_words_of_a_name() -> None:
    assert names.words("O'Neil-Díaz^Mary Ann^^Dr.=山田^太郎") == {"oneil", "diaz", "mary", "ann", "dr", "山田", "太郎"}
    assert names.key_words("gonz* * ^?") == ("gonz*", "?")
    assert names.key_words("^^=") == ()


@pytest.mark.parametrize(("length", "spellings"), [(63, 63), (64, 64), (65, 0)])
def test_a_word_longer_than_a_name_may_be_has_no_spellings(length: int, spellings: int) -> None:
    word = "".join(chr(0x3400 + at) for at in range(length))  # no two letters alike, and none that sounds
    assert len(names.codes(word)) == 1 + spellings


@pytest.mark.parametrize(("number", "kept"), [(99, 99), (100, 100), (101, 100)])
def test_so_many_words_of_a_name_are_kept(number: int, kept: int) -> None:
    assert len(names.words(" ".join(f"w{at}" for at in range(number)))) == kept


@pytest.mark.parametrize(("length", "kept"), [(255, 1), (256, 1), (257, 0)])
def test_names_that_are_none_are_not_kept_folded(length: int, kept: int) -> None:
    names._known.cache_clear()
    assert names.fold_name("Ä" * length) == "a" * length
    assert names._known.cache_info().currsize == kept


@pytest.mark.parametrize("length", [255, 256, 257, 513])
def test_long_names_fold_alike(length: int) -> None:
    text = ("e\u0323\u0301\u1ed9\ufb01\u0130\uac01" * length)[:length]
    whole = "".join(c for c in unicodedata.normalize("NFKD", text.casefold()) if not unicodedata.combining(c))
    assert names.fold_name(text) == whole


def test_marks_without_end_take_no_time() -> None:
    """Sorting 60,000 of them took seconds, in which nothing else ran."""
    assert names.fold_name("a" + "\u0301\u0316" * 30_000) == "a"


def test_moments() -> None:
    assert times.shifted("20240229", "2330", 60) == ("20240301", "003000")
    assert times.shifted("20240229", "233000.25", -1440) == ("20240228", "233000.25")
    assert times.shifted("", "2330", 60) == ("", "003000")
    for date, clock in (("20240230", "1000"), ("20240229", ""), ("20240229", "2460"), ("x", "10"), ("20240229", "100")):
        assert times.shifted(date, clock, 60) == (date, clock)
    assert times.in_zone("20240229233000.5-0500", None, 0) == "20240301043000.5"
    assert times.in_zone("2024022923", -300, 30, "235959") == "20240301052959"
    assert times.in_zone("2024", 60, 0) == "2024"
    assert times.date_time_range("2020-1200", None) == ("2020", f"2020{times.LAST}", -720)  # an offset, not a year
    assert times.with_offset("2024", -90) == "2024-0130"


def test_a_moment_of_unknown_offset_is_taken_as_one_of_the_keys() -> None:
    found = {"0008002A": {"vr": "DT", "Value": ["20240229233000"]}}
    assert Matcher({MOMENT: "2024022923"}, Options(timezone=60))(found)
    assert Matcher({MOMENT: "202402292330+0900"})(found)
    assert not Matcher({MOMENT: "202402292230+0000"})(found)


@pytest.mark.parametrize(("text", "number"), [("+7", 7), ("007", 7), ("7.50", 7.5), ("1e3", 1000.0), ("-0", 0)])
def test_numbers(text: str, number: float) -> None:
    assert number_of(text) == number


@pytest.mark.parametrize("text", ["", "x", "1_000", "\u0661", "1a", "inf", "nan", "1" * 100, "0x10", "+-1"])
def test_no_numbers(text: str) -> None:
    assert number_of(text) is None


def test_a_hostile_pattern_takes_no_time() -> None:
    """With one way less to try again than it has asterisks it would take as good as for ever."""
    assert not pattern("*a" * 30 + "*b").match("a" * 20_000)
