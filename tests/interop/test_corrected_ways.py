"""A corrected study by every way out of a served archive: C-GET, C-MOVE, WADO-RS, export. All say the same."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import pydicom
import pytest
from builders import CT, Built, build
from conftest import Served, serve
from conftest import sagittal_here as sagittal
from interop.peers import free_port, listening
from programs import need
from pynetdicom import AE, build_role, evt
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelGet  # type: ignore[attr-defined]

from sagittal.dicom.elements import encode
from sagittal.dicom.syntaxes import syntax

EXPLICIT_LE, IMPLICIT_LE, EXPLICIT_BE = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2", "1.2.840.10008.1.2.2"
OBJECTS = [build(number, syntax_uid=uid) for number, uid in enumerate((EXPLICIT_LE, IMPLICIT_LE, EXPLICIT_BE), 1)]


def with_name_last(built: Built) -> Built:
    """The same with the Patient's Name behind Pixel Data, where it should not be."""
    name = encode([(0x00100010, "PN", b"Doe^Jane")], syntax(built.syntax_uid))
    assert built.data.count(name) == 1
    return replace(built, data=built.data.replace(name, b"") + name)


OBJECTS += [with_name_last(build(number, syntax_uid=uid)) for number, uid in ((4, EXPLICIT_LE), (5, IMPLICIT_LE))]
STUDY = OBJECTS[0].study_uid


PORT = free_port()


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    served = serve(tmp_path_factory.mktemp("corrected") / "data", "--node", f"DEST@127.0.0.1:{PORT}")
    for built in OBJECTS:
        answer = httpx.post(f"{served.http}/dicom-web/studies", content=built.part10,
                            headers={"content-type": "application/dicom"}, timeout=60)  # fmt: skip
        assert answer.status_code == 200
    right = {"PatientName": "Дуэ^Ян", "StudyDescription": "Knee", "PatientBirthDate": None}
    answer = httpx.patch(
        f"{served.http}/api/studies/{STUDY}", json={"attributes": right, "reason": "mixed up"}, timeout=60
    )
    assert answer.status_code == 200
    yield served
    served.stop()


def said(found: pydicom.Dataset) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(json.dumps(found.to_json_dict()))
    return told


def of_file(file: Path) -> pydicom.Dataset:
    return pydicom.dcmread(file, force=True)


def expected(served: Served, built: Built) -> dict[str, Any]:
    address = f"{served.http}/dicom-web/studies/{STUDY}/series/{built.series_uid}/instances/{built.sop_instance_uid}"
    answer = httpx.get(address, headers={"accept": "application/dicom; transfer-syntax=*"}, timeout=60)
    assert int(answer.headers["content-length"]) == len(answer.content)
    found = pydicom.dcmread(BytesIO(answer.content))
    assert str(found.PatientName) == "Дуэ^Ян"
    assert found.PatientBirthDate == "" and found.StudyDescription == "Knee"
    assert found.pixel_array.tobytes() == pydicom.dcmread(BytesIO(built.part10)).pixel_array.tobytes()
    (original,) = found.OriginalAttributesSequence
    assert original.ReasonForTheAttributeModification == "CORRECT" and original.ModifyingSystem == "SAGITTAL"
    (before,) = original.ModifiedAttributesSequence
    assert (str(before.PatientName), before.PatientBirthDate) == ("Doe^Jane", "19700101")
    return said(found)


def same(served: Served, found: dict[str, pydicom.Dataset]) -> None:
    assert found.keys() == {built.sop_instance_uid for built in OBJECTS}
    for built in OBJECTS:
        told, wanted = said(found[built.sop_instance_uid]), expected(served, built)
        if built.syntax_uid == EXPLICIT_BE:  # words in the other order, unless it comes as it is stored
            told.pop("7FE00010"), wanted.pop("7FE00010")
        assert told == wanted


def test_c_get(archive: Served) -> None:
    found: dict[str, pydicom.Dataset] = {}

    def take(event: evt.Event) -> int:
        found[event.dataset.SOPInstanceUID] = event.dataset
        return 0x0000

    entity = AE(ae_title="GETTER")
    entity.add_requested_context(StudyRootQueryRetrieveInformationModelGet)
    entity.add_requested_context(CT, [EXPLICIT_LE])
    association = entity.associate(archive.host, archive.port, ext_neg=[build_role(CT, scp_role=True)],
                                   evt_handlers=[(evt.EVT_C_STORE, take)])  # fmt: skip
    assert association.is_established
    asked = pydicom.Dataset()
    asked.QueryRetrieveLevel, asked.StudyInstanceUID = "STUDY", STUDY
    *_, (status, _) = association.send_c_get(asked, StudyRootQueryRetrieveInformationModelGet)
    association.release()
    assert status.Status == 0x0000
    same(archive, found)


def test_c_move_to_storescp(archive: Served, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    with listening([need("storescp"), "-od", folder, "+xa", "-aet", "DEST", str(PORT)], PORT):
        command = [need("movescu"), "-S", "-aec", archive.aet, "-aem", "DEST", "-k", "QueryRetrieveLevel=STUDY"]
        command += ["-k", f"StudyInstanceUID={STUDY}", archive.host, str(archive.port)]
        assert subprocess.run(command, timeout=60).returncode == 0
    files = [of_file(file) for file in folder.iterdir()]
    same(archive, {found.SOPInstanceUID: found for found in files})


def test_wado_uri(archive: Served) -> None:
    found = {}
    for built in OBJECTS:
        named = {"studyUID": STUDY, "seriesUID": built.series_uid, "objectUID": built.sop_instance_uid}
        asked = {"requestType": "WADO", "contentType": "application/dicom", "transferSyntax": built.syntax_uid, **named}
        answer = httpx.get(f"{archive.http}/wado", params=asked, timeout=60)
        assert answer.status_code == 200, answer.text
        assert int(answer.headers["content-length"]) == len(answer.content)
        found[built.sop_instance_uid] = pydicom.dcmread(BytesIO(answer.content))
        # Without a transfer syntax it is Explicit VR Little Endian (PS3.18 9.1.2.4), and as corrected.
        plain = {name: value for name, value in asked.items() if name != "transferSyntax"}
        again = pydicom.dcmread(BytesIO(httpx.get(f"{archive.http}/wado", params=plain, timeout=60).content))
        assert again.file_meta.TransferSyntaxUID == EXPLICIT_LE
        assert (str(again.PatientName), again.StudyDescription) == ("Дуэ^Ян", "Knee")
    same(archive, found)


def test_metadata(archive: Served) -> None:
    answer = httpx.get(f"{archive.http}/dicom-web/studies/{STUDY}/metadata", timeout=60)
    assert answer.text.count("Doe^Jane") == answer.text.count("Ян") == len(OBJECTS)
    for found in answer.json():
        (item,) = found["04000561"]["Value"]
        assert found["00100010"]["Value"] == [{"Alphabetic": "Дуэ^Ян"}]
        assert item["04000550"]["Value"][0]["00100010"]["Value"] == [{"Alphabetic": "Doe^Jane"}]


def test_export(archive: Served, tmp_path: Path) -> None:
    done = sagittal("export", "--study", STUDY, "--data", archive.data, "-o", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    files = [of_file(file) for file in (tmp_path / "out").rglob("*.dcm")]
    same(archive, {found.SOPInstanceUID: found for found in files})
