"""The Native DICOM Model as other toolkits write it, and what is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sagittal.dicom.models.xml import HEAD, NAMESPACE, TAIL, from_xml, to_xml
from sagittal.errors import BadRequest, LimitExceeded
from sagittal.limits import ReaderLimits


def document(inside: str) -> bytes:
    return HEAD + inside.encode() + TAIL


class TestWriting:
    def test_an_attribute_has_tag_vr_and_keyword(self) -> None:
        text = to_xml({"00100020": {"vr": "LO", "Value": ["A&B"]}, "00100030": {"vr": "DA"}})
        assert text == document(
            '<DicomAttribute tag="00100020" vr="LO" keyword="PatientID"><Value number="1">A&amp;B</Value>'
            '</DicomAttribute><DicomAttribute tag="00100030" vr="DA" keyword="PatientBirthDate"></DicomAttribute>'
        )

    def test_a_name_by_its_components(self) -> None:
        text = to_xml({"00100010": {"vr": "PN", "Value": [{"Alphabetic": "Yamada^Tarou", "Ideographic": "山田^太郎"}]}})
        assert (
            '<PersonName number="1"><Alphabetic><FamilyName>Yamada</FamilyName><GivenName>Tarou</GivenName>'
            "</Alphabetic><Ideographic><FamilyName>山田</FamilyName><GivenName>太郎</GivenName></Ideographic></PersonName>"
        ) in text.decode()

    def test_a_private_attribute_has_its_creator_and_no_block(self) -> None:
        text = to_xml({"00290011": {"vr": "LO", "Value": ["ACME"]}, "00291108": {"vr": "CS", "Value": ["X"]}}).decode()
        assert '<DicomAttribute tag="00290008" vr="CS" privateCreator="ACME">' in text
        assert '<DicomAttribute tag="00290011" vr="LO"><Value number="1">ACME</Value>' in text

    def test_an_empty_value_is_left_out_by_its_number_unless_it_is_the_last(self) -> None:
        text = to_xml({"00080008": {"vr": "CS", "Value": ["ORIGINAL", None, "AXIAL", None]}}).decode()
        assert '<Value number="1">ORIGINAL</Value><Value number="3">AXIAL</Value><Value number="4"></Value><' in text
        text = to_xml({"00101001": {"vr": "PN", "Value": [None, {"Alphabetic": "A"}, None, None]}}).decode()
        assert text.count("<PersonName ") == 2 and '<PersonName number="4"></PersonName>' in text

    def test_characters_that_xml_has_no_room_for(self) -> None:
        obj = {"00104000": {"vr": "LT", "Value": ["a\x0cb\x1bc\r\nd"]}}
        assert from_xml(to_xml(obj))["00104000"]["Value"] == ["a\ufffdb\ufffdc\r\nd"]

    def test_too_deep(self) -> None:
        obj: dict[str, object] = {}
        for _ in range(130):
            obj = {"00081140": {"vr": "SQ", "Value": [obj]}}
        with pytest.raises(LimitExceeded, match="depth_max"):
            to_xml(obj)


class TestReading:
    def test_whatever_the_prefix_and_the_encoding(self) -> None:
        text = (
            f'<?xml version="1.0" encoding="ISO-8859-1"?><d:NativeDicomModel xmlns:d="{NAMESPACE}">\n'
            '<d:DicomAttribute tag="00100020" vr="LO"><d:Value number="1">é</d:Value></d:DicomAttribute>'
            "</d:NativeDicomModel>"
        )
        assert from_xml(text.encode("latin-1")) == {"00100020": {"vr": "LO", "Value": ["é"]}}

    @pytest.mark.parametrize("encoding", ["UTF08", "Shift_JIS", "GB18030", "UTF-7", "hex", "idna", "cp037"])
    def test_an_encoding_that_is_none(self, encoding: str) -> None:
        with pytest.raises(BadRequest, match="encoding"):
            from_xml(f'<?xml version="1.0" encoding="{encoding}"?><NativeDicomModel xmlns="{NAMESPACE}"/>'.encode())

    def test_a_keyword_or_a_missing_vr_is_enough(self) -> None:
        text = '<DicomAttribute keyword="PatientID"><Value>1</Value></DicomAttribute>'
        assert from_xml(document(text)) == {"00100020": {"vr": "LO", "Value": ["1"]}}

    def test_bulk_data(self) -> None:
        text = (
            '<DicomAttribute tag="7FE00010" vr="OW"><BulkData uuid="1-2"/></DicomAttribute>'
            '<DicomAttribute tag="00420011" vr="OB"><BulkData uri="http://x/y"/></DicomAttribute>'
            '<DicomAttribute tag="00282000" vr="OB"><InlineBinary>AAE=\n</InlineBinary></DicomAttribute>'
        )
        assert from_xml(document(text)) == {
            "7FE00010": {"vr": "OW", "BulkDataURI": "urn:uuid:1-2"},
            "00420011": {"vr": "OB", "BulkDataURI": "http://x/y"},
            "00282000": {"vr": "OB", "InlineBinary": "AAE="},
        }

    def test_a_private_attribute_reserves_a_block(self) -> None:
        text = (
            '<DicomAttribute tag="00290010" vr="LO"><Value number="1">OTHER</Value></DicomAttribute>'
            '<DicomAttribute tag="00290008" vr="CS" privateCreator="ACME"><Value number="1">X</Value></DicomAttribute>'
            '<DicomAttribute tag="00292009" vr="CS" privateCreator="THIRD"><Value number="1">Y</Value></DicomAttribute>'
        )
        found = from_xml(document(text))
        assert found["00291108"] == {"vr": "CS", "Value": ["X"]}
        assert found["00290011"] == {"vr": "LO", "Value": ["ACME"]}
        assert found["00292009"] == {"vr": "CS", "Value": ["Y"]}
        assert found["00290020"] == {"vr": "LO", "Value": ["THIRD"]}

    @pytest.mark.parametrize(
        "inside",
        [
            "<Value>1</Value>",
            "text",
            '<DicomAttribute tag="0010" vr="LO"/>',
            '<DicomAttribute tag="00100020" vr="lo"/>',
            '<DicomAttribute tag="00100020" vr="LO"><Value number="0">1</Value></DicomAttribute>',
            '<DicomAttribute tag="00100020" vr="LO"><Value number="2">1</Value><Value number="1"/></DicomAttribute>',
            '<DicomAttribute tag="00100020" vr="LO"><Value number="1">1</Value><BulkData uri="x"/></DicomAttribute>',
            '<DicomAttribute tag="00100020" vr="LO"/><DicomAttribute tag="00100020" vr="SH"/>',
            '<DicomAttribute tag="7FE00010" vr="OW"><InlineBinary>*</InlineBinary></DicomAttribute>',
            '<DicomAttribute tag="7FE00010" vr="OW"><BulkData/></DicomAttribute>',
            '<DicomAttribute tag="7FE00010" vr="OW"><Value number="1">1</Value></DicomAttribute>',
            '<DicomAttribute tag="00280010" vr="US"><Value number="1">many</Value></DicomAttribute>',
            '<DicomAttribute tag="00720074" vr="FD"><Value number="1">many</Value></DicomAttribute>',
            "<DicomAttribute",
        ],
    )
    def test_refused(self, inside: str) -> None:
        with pytest.raises(BadRequest):
            from_xml(document(inside))

    def test_no_document_type(self) -> None:
        text = '<!DOCTYPE NativeDicomModel [<!ENTITY a "b">]><NativeDicomModel>&a;</NativeDicomModel>'
        with pytest.raises(BadRequest, match="document type"):
            from_xml(text.encode())

    def test_depth(self) -> None:
        def nested(depth: int) -> bytes:
            opening = '<DicomAttribute tag="00081140" vr="SQ"><Item number="1">' * depth
            return document(opening + "</Item></DicomAttribute>" * depth)

        limits = replace(ReaderLimits(), depth_max=5)
        assert from_xml(nested(5), limits)
        with pytest.raises(LimitExceeded, match="depth_max"):
            from_xml(nested(6), limits)

    def test_count_and_gaps(self) -> None:
        text = '<DicomAttribute tag="00100020" vr="LO"><Value number="3">1</Value></DicomAttribute>'
        assert from_xml(document(text), replace(ReaderLimits(), elements_max=3))
        with pytest.raises(LimitExceeded, match="elements_max"):
            from_xml(document(text), replace(ReaderLimits(), elements_max=2))
        with pytest.raises(LimitExceeded, match="left out"):
            from_xml(document(text.replace('"3"', '"99999999"')))
