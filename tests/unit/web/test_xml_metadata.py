"""Metadata as XML: the same as the JSON says, whatever its size and however it comes in pieces."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from archived import asking, instance_of, parts, study_of
from builders import build
from hypothesis import given
from hypothesis import strategies as st

from sagittal.dicom.models.xml import from_xml, to_xml
from sagittal.dicom.models.xmlstream import XmlStream
from sagittal.errors import LimitExceeded

XML = "application/dicom+xml"
SEQUENCE = {"vr": "SQ", "Value": [{"00080100": {"vr": "SH", "Value": [f"é{n}"]}} for n in range(3)] + [{}]}
OBJECT: dict[str, Any] = {
    "00080005": {"vr": "CS", "Value": ["ISO_IR 192"]},
    "00081032": SEQUENCE,
    "00081140": {"vr": "SQ"},
    "00090010": {"vr": "LO", "Value": ["ACME"]},
    "00091001": {"vr": "SQ", "Value": [{"00090010": {"vr": "LO", "Value": ["ACME"]}, "00091002": {"vr": "SH"}}]},
    "00091003": {"vr": "DS", "Value": [1.5]},
    "00200037": {"vr": "DS", "Value": [1, 0.5, None, 7]},
    "7FE00010": {"vr": "OW", "BulkDataURI": "http://h/x?a=1&b=2"},
}
TEXT = json.dumps(OBJECT, separators=(",", ":"), ensure_ascii=False)


@given(st.lists(st.integers(1, len(TEXT) - 1), max_size=30))
def test_any_split(cuts: list[int]) -> None:
    stream = XmlStream(10_000)
    found = b""
    at = 0
    for cut in [*sorted(cuts), len(TEXT)]:
        found += b"".join(stream.feed(TEXT[at:cut]))
        at = cut
    found += b"".join(stream.finish())
    assert found == to_xml(OBJECT)


def test_an_empty_object() -> None:
    stream = XmlStream(100)
    assert b"".join([*stream.feed("{"), *stream.feed("}"), *stream.finish()]) == to_xml({})


def test_a_text_cut_short() -> None:
    stream = XmlStream(10_000)
    list(stream.feed(TEXT[:-30]))
    with pytest.raises(ValueError, match="ends within"):
        list(stream.finish())


def test_a_value_that_is_too_long() -> None:
    stream = XmlStream(100)
    with pytest.raises(LimitExceeded, match="more than 100"):
        list(stream.feed('{"00104000":{"vr":"LT","Value":["' + "x" * 101))


def test_numbers_as_the_text_has_them() -> None:
    stream = XmlStream(100)
    text = '{"00180050":{"vr":"DS","Value":[1.500,2e1]}}'
    assert b'<Value number="1">1.500</Value><Value number="2">2e1</Value>' in b"".join(stream.feed(text))


async def test_the_same_as_json(tmp_path: Path) -> None:
    held = [build(1, frames=600), build(2, charset="ISO_IR 192", patient_name="Müller^Jörg=山田"), build(3, series=2)]
    async with asking(tmp_path, held) as (client, _):
        path = study_of(held[0]) + "/metadata"
        answer = await client.get(path, headers={"accept": f'multipart/related; type="{XML}"'})
        assert answer.headers["content-type"].startswith(f'multipart/related; type="{XML}"; boundary=')
        documents = [from_xml(body) for _, body in parts(answer)]
        assert [headers["content-type"] for headers, _ in parts(answer)] == [XML] * 3
        assert documents == (await client.get(path)).json()


@pytest.mark.parametrize(
    ("accept", "type_"),
    [
        (XML, XML),
        (f'multipart/related; type="{XML}", application/dicom+json', "multipart/related"),
        (f'multipart/related; type="{XML}"; q=0.5, application/dicom+json', "application/dicom+json"),
        ("*/*", "application/dicom+json"),
        ("text/html", "application/problem+json"),
        ('multipart/related; type="application/dicom"', "application/problem+json"),
    ],
)
async def test_which_form(tmp_path: Path, accept: str, type_: str) -> None:
    held = build()
    async with asking(tmp_path, [held]) as (client, _):
        answer = await client.get(instance_of(held) + "/metadata", headers={"accept": accept})
    assert answer.headers["content-type"].partition(";")[0] == type_
    if type_ == XML:
        assert from_xml(answer.content)["00080018"]["Value"] == [held.sop_instance_uid]


async def test_several_alone(tmp_path: Path) -> None:
    async with asking(tmp_path, [build(1), build(2)]) as (client, _):
        answer = await client.get(study_of(build()) + "/metadata", headers={"accept": XML})
    assert answer.status_code == 406
