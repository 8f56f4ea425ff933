"""One object by every way out: each gives the bytes that C-GET gives; dicomweb-client and a viewer's requests work."""

from __future__ import annotations

import io
import json
import subprocess
import urllib.request
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from archived import instance_of, study_of
from builders import CT, Built, build
from conftest import Served, serve
from conftest import sagittal_here as sagittal
from interop.questions import post
from programs import need
from pydicom import Dataset
from pynetdicom import AE, build_role, evt
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelGet

from sagittal.dicom.syntaxes import (
    EXPLICIT_BE,
    EXPLICIT_LE,
    IMPLICIT_LE,
    JPEG_2000_LOSSLESS,
    JPEG_BASELINE,
)

DOCUMENT = bytes(range(256)) * 9
HELD = [
    build(number, frames=2, syntax_uid=syntax, extra={"EncapsulatedDocument": DOCUMENT})
    for number, syntax in enumerate((EXPLICIT_LE, IMPLICIT_LE, EXPLICIT_BE, JPEG_2000_LOSSLESS, JPEG_BASELINE), 1)
]


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    served = serve(tmp_path_factory.mktemp("out") / "data")
    post(served, HELD)
    yield served
    served.stop()


@pytest.fixture(scope="module")
def by_c_get(archive: Served) -> dict[str, bytes]:
    """SOP Instance UID -> data set, as pynetdicom was sent it; each context has one transfer syntax."""
    found: dict[str, bytes] = {}

    def keep(event: Any) -> int:
        found[str(event.request.AffectedSOPInstanceUID)] = event.request.DataSet.getvalue()
        return 0

    for held in HELD:
        ae = AE()
        ae.add_requested_context(StudyRootQueryRetrieveInformationModelGet)
        ae.add_requested_context(CT, held.syntax_uid)
        roles = [build_role(CT, scp_role=True)]
        handlers = [(evt.EVT_C_STORE, keep)]
        association = ae.associate(archive.host, archive.port, ext_neg=roles, evt_handlers=handlers)
        asked = Dataset()
        asked.QueryRetrieveLevel = "IMAGE"
        asked.StudyInstanceUID, asked.SeriesInstanceUID = held.study_uid, held.series_uid
        asked.SOPInstanceUID = held.sop_instance_uid
        responses = list(association.send_c_get(asked, StudyRootQueryRetrieveInformationModelGet))
        association.release()
        assert responses[-1][0].Status == 0
    return found


def get(archive: Served, path: str, accept: str, **headers: str) -> tuple[bytes, Any]:
    request = urllib.request.Request(archive.http + path, headers={"Accept": accept, **headers})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return answer.read(), answer.headers


@pytest.mark.parametrize("held", HELD, ids=lambda held: held.syntax_uid)
def test_the_same_bytes(archive: Served, by_c_get: dict[str, bytes], held: Built) -> None:
    stored = "application/dicom; transfer-syntax=*"
    alone, headers = get(archive, instance_of(held), stored)
    assert alone == held.part10
    assert alone[len(held.meta) :] == by_c_get[held.sop_instance_uid]
    part, _ = get(archive, instance_of(held), 'multipart/related; type="application/dicom"; transfer-syntax=*')
    assert alone in part
    zipped, _ = get(archive, instance_of(held), "application/zip")
    with zipfile.ZipFile(io.BytesIO(zipped)) as opened:
        assert opened.read(opened.namelist()[0]) == alone
    uids = f"studyUID={held.study_uid}&seriesUID={held.series_uid}&objectUID={held.sop_instance_uid}"
    query = f"/wado?requestType=WADO&{uids}&contentType=application/dicom&transferSyntax={held.syntax_uid}"
    assert get(archive, query, "*/*")[0] == alone
    pieces = [
        get(archive, instance_of(held), stored, Range=f"bytes={at}-{at + 999}")[0] for at in range(0, len(alone), 1000)
    ]
    assert b"".join(pieces) == alone
    assert headers["etag"].startswith('"')


def test_a_zip_file_of_the_study(archive: Served, tmp_path: Path) -> None:
    content, _ = get(archive, study_of(HELD[0]), "application/zip")
    path = tmp_path / "study.zip"
    path.write_bytes(content)
    listed = subprocess.run([need("unzip"), "-tq", str(path)], capture_output=True, text=True)
    assert listed.returncode == 0, listed.stdout
    back = tmp_path / "again"
    assert sagittal("import", path, "--data", back).returncode == 0
    with zipfile.ZipFile(path) as opened:
        assert sorted(opened.read(name) for name in opened.namelist()) == sorted(held.part10 for held in HELD)


def test_dicomweb_client_fetches_bulk_data(archive: Served) -> None:
    from dicomweb_client.api import DICOMwebClient

    client = DICOMwebClient(archive.http + "/dicom-web")
    for obj in client.retrieve_study_metadata(HELD[0].study_uid):
        (document,) = client.retrieve_bulkdata(obj["00420011"]["BulkDataURI"])
        assert document == DOCUMENT


def test_dicomweb_client_deletes(start_server: Any) -> None:
    from dicomweb_client.api import DICOMwebClient

    served = start_server()
    post(served, HELD[:1])
    client = DICOMwebClient(served.http + "/dicom-web")
    client.delete_study(HELD[0].study_uid)
    assert client.search_for_studies() == []


def test_a_viewers_requests(archive: Served) -> None:
    """As OHIF's DICOMweb data source makes them: metadata of a series, then frames, thumbnails by bulk data."""
    series = f"{study_of(HELD[0])}/series/{HELD[0].series_uid}"
    objects = json.loads(get(archive, f"{series}/metadata", "application/dicom+json")[0])
    assert len(objects) == len(HELD)
    by_uid = {held.sop_instance_uid: held for held in HELD}
    frames = "multipart/related; type=application/octet-stream; transfer-syntax=*"
    for obj in objects:
        held = by_uid[obj["00080018"]["Value"][0]]
        body, _ = get(archive, f"{instance_of(held)}/frames/2", frames)
        pixels = held.frames[1]
        if held.syntax_uid == EXPLICIT_BE:
            pixels = b"".join(pixels[at : at + 2][::-1] for at in range(0, len(pixels), 2))
        assert pixels in body
