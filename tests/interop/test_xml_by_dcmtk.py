"""The Native DICOM Model (PS3.19 A.1) as DCMTK writes it: read by us, and written by us, the same."""

from __future__ import annotations

import subprocess
import xml.etree.ElementTree as ET
from typing import Any

import pytest
from builders import CT
from programs import need
from pydicom.dataset import Dataset, FileMetaDataset

from sagittal.dicom.models.xml import from_xml, to_xml

VALUES: dict[str, Any] = {
    "SpecificCharacterSet": "ISO_IR 192", "SOPClassUID": CT, "SOPInstanceUID": "1.2.3.4", "StudyDate": "20240229",
    "PatientName": "Adams^John Robert Quincy^M^Rev.^B.A. M.Div.=山田^太郎=やまだ^たろう", "PatientID": "a<b&c",
    "OtherPatientNames": ["A^B", "C^^D"], "ImageType": ["ORIGINAL", "PRIMARY"], "InstanceNumber": 7,
    "FrameTime": "1.5", "SimpleFrameList": [1 << 31, 2], "ReferencePixelX0": -1, "ExaminedBodyThickness": 0.25,
    "AcquisitionDuration": 0.5, "TagAngleSecondAxis": -2, "FrameIncrementPointer": 0x00181063, "Rows": 65535,
    "TextValue": "two\\values it is not", "PatientComments": "",
    "SelectorSVValue": -(1 << 40), "SelectorUVValue": 1 << 40,
}  # fmt: skip


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], bytes]:
    """A data set as pydicom's DICOM JSON and as DCMTK's XML."""
    made, path = Dataset(), tmp_path_factory.mktemp("xml") / "x.dcm"
    for keyword, value in VALUES.items():
        setattr(made, keyword, value)
    inner = Dataset()
    inner.CodeValue, inner.CodeMeaning = "1", "one"
    made.ProcedureCodeSequence = [inner, Dataset()]
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1"
    made.save_as(path, enforce_file_format=True)
    told = subprocess.run((need("dcm2xml"), "-nat", "+Xn", path), check=True, capture_output=True).stdout
    return made.to_json_dict(), told


def plain(document: bytes) -> list[tuple[str, dict[str, str], str]]:
    """Every element in order, without the white space between them and what DCMTK leaves out."""
    found = []
    for element in ET.fromstring(document).iter():
        text = (element.text or "") if len(element) == 0 else ""
        found.append((element.tag, dict(element.attrib), text.strip()))
    return found


def test_it_is_read_as_pydicom_reads_the_file(both: tuple[dict[str, Any], bytes]) -> None:
    expected, document = both
    assert from_xml(document) == expected


def test_it_is_written_as_dcmtk_writes_it(both: tuple[dict[str, Any], bytes]) -> None:
    members, document = both
    assert plain(to_xml(members)) == plain(document)
