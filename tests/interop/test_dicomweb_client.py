"""dicomweb-client against a running archive: store, search, retrieve, metadata, frames, bulk data.

Daily of one object of each transfer syntax and SOP class, under `slow` of all that the corpus has.
"""

from __future__ import annotations

import contextlib
import io
import warnings
from pathlib import Path
from typing import Any

import httpx
import pydicom
import pytest
from conftest import Served
from interop.corpus import Taken, corpus_files
from programs import corpus_folder

BYTES_MAX = 1_500_000
# Folders whose files are whole objects of one patient; see the corpus' MANIFEST.csv for what each file is for.
FOLDERS = (
    "ANN",
    "CR",
    "CT",
    "DX",
    "ECG",
    "MG",
    "MR",
    "NM",
    "OT",
    "PT",
    "RTDOSE",
    "RTPLAN",
    "RTSTRUCT",
    "SEG",
    "SM",
    "SR",
    "US",
    "XA",
)
ANY = (("application/dicom", "*"),)
DEFAULT = ("application/dicom",)  # no transfer syntax: Explicit VR Little Endian
# pydicom reads it, and writes its broken lengths again.
LEFT_OUT = {"dtf__rtplan_truncated.dcm"}


@pytest.fixture(scope="module")
def client(shared_server: Served) -> Any:
    from dicomweb_client.api import DICOMwebClient

    return DICOMwebClient(shared_server.http + "/dicom-web")


def readable(taken: Taken) -> list[tuple[Path, Any]]:
    """Files that pydicom reads and writes again, with the UIDs that an object needs."""
    files = (file for file in corpus_files(corpus_folder()) if file.name.partition("/")[0] in FOLDERS)
    wanted = [file for file in files if file.path.stat().st_size <= BYTES_MAX and file.path.name not in LEFT_OUT]
    seen: set[str] = set()
    found: list[tuple[Path, Any]] = []
    for path in (file.path for file in taken(wanted)):
        with contextlib.suppress(Exception):  # pydicom's own limits: not what this test is about
            data_set = pydicom.dcmread(path)
            uids = tuple(data_set.get(name) for name in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"))
            encoded(data_set)
            list(data_set.iterall())
            if all(uids) and all(uid.is_valid for uid in uids) and uids[2] not in seen:
                seen.add(uids[2])
                found.append((path, data_set))
    return found


def encoded(data_set: Any) -> bytes:
    """What dicomweb-client puts into a part."""
    with io.BytesIO() as file:
        pydicom.dcmwrite(file, data_set)
        return file.getvalue()


def content(part10: bytes) -> bytes:
    """The data set of a file."""
    from sagittal.dicom.part10 import Part10Head
    from sagittal.limits import ReaderLimits

    head = Part10Head(ReaderLimits())
    head.feed(part10)
    return head.rest


@pytest.fixture(scope="module")
def held(client: Any, taken: Taken) -> list[tuple[Path, Any]]:
    """The corpus or one of each kind, stored through dicomweb-client: several instances to a request, as it does."""
    warnings.simplefilter("ignore")
    files = readable(taken)
    assert len(files) > (100 if taken is list else 60)
    for at in range(0, len(files), 10):
        answer = client.store_instances([data_set for _, data_set in files[at : at + 10]])
        failed = [(f.ReferencedSOPInstanceUID, f.ErrorComment) for f in answer.get("FailedSOPSequence", [])]
        assert not failed, [(path.name, why) for uid, why in failed for path, d in files if d.SOPInstanceUID == uid]
        assert len(answer.ReferencedSOPSequence) == len(files[at : at + 10])
    return files


@pytest.fixture(scope="module")
def one(held: list[tuple[Path, Any]]) -> Any:
    """An uncompressed CT."""
    return next(
        d for path, d in held if path.parent.name == "CT" and d.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.1"
    )


def uids(data_set: Any) -> tuple[str, str, str]:
    return data_set.StudyInstanceUID, data_set.SeriesInstanceUID, data_set.SOPInstanceUID


def test_every_object_comes_back_as_it_was_sent(
    client: Any, held: list[tuple[Path, Any]], shared_server: Served
) -> None:
    plain = httpx.Client(headers={"accept": "application/dicom; transfer-syntax=*"})
    for path, data_set in held:
        study, series, instance = uids(data_set)
        back = client.retrieve_instance(study, series, instance, media_types=ANY)
        sent = pydicom.dcmread(io.BytesIO(made := encoded(data_set)))
        assert back == sent, path.name
        assert back.file_meta.TransferSyntaxUID == data_set.file_meta.TransferSyntaxUID
        address = f"{shared_server.http}/dicom-web/studies/{study}/series/{series}/instances/{instance}"
        raw = plain.get(address).content
        assert content(raw) == content(made), path.name


def test_uncompressed_objects_come_as_explicit_little_endian(client: Any, held: list[tuple[Path, Any]]) -> None:
    count = 0
    for path, data_set in held:
        if data_set.file_meta.TransferSyntaxUID.is_compressed or data_set.file_meta.TransferSyntaxUID.is_private:
            continue
        back = client.retrieve_instance(*uids(data_set), media_types=DEFAULT)
        assert back.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.1"
        if data_set.file_meta.TransferSyntaxUID != "1.2.840.10008.1.2.2":
            assert {e.tag for e in back if e.VR != "UN"} <= {e.tag for e in data_set}, path.name
            # an odd length is made even on the way out
            assert back.get("PixelData", b"")[: len(data_set.get("PixelData", b""))] == data_set.get("PixelData", b"")
        count += 1
    assert count > 30


def test_compressed_objects_are_decoded(client: Any, held: list[tuple[Path, Any]]) -> None:
    lossless = {"1.2.840.10008.1.2.4.70", "1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.5"}
    compressed = next(d for _, d in held if d.file_meta.TransferSyntaxUID in lossless)
    back = client.retrieve_instance(*uids(compressed), media_types=DEFAULT)
    assert back.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.1"
    assert (back.pixel_array == compressed.pixel_array).all()


def test_studies_and_series_come_whole(client: Any, held: list[tuple[Path, Any]], one: Any) -> None:
    study, series, _ = uids(one)
    of_study = {d.SOPInstanceUID for _, d in held if d.StudyInstanceUID == study}
    of_series = {d.SOPInstanceUID for _, d in held if (d.StudyInstanceUID, d.SeriesInstanceUID) == (study, series)}
    assert {d.SOPInstanceUID for d in client.retrieve_study(study, media_types=ANY)} == of_study
    assert {d.SOPInstanceUID for d in client.retrieve_series(study, series, media_types=ANY)} == of_series
    streamed = client.iter_series(study, series, media_types=ANY)
    assert {d.SOPInstanceUID for d in streamed} == of_series


def test_metadata_is_the_data_set(client: Any, held: list[tuple[Path, Any]]) -> None:
    checked = 0
    for path, data_set in held:
        found = client.retrieve_instance_metadata(*uids(data_set))
        for name in ("PatientName", "PatientID", "SOPClassUID", "StudyDate", "Modality", "InstanceNumber", "Rows"):
            if data_set.get(name) not in (None, ""):
                tag = f"{data_set[name].tag:08X}"
                element = pydicom.Dataset.from_json({tag: found[tag]})[name]
                assert element.value == data_set[name].value, (path.name, name)
                checked += 1
    assert checked > 500
    study = held[0][1].StudyInstanceUID
    assert len(client.retrieve_study_metadata(study)) == len(
        {d.SOPInstanceUID for _, d in held if d.StudyInstanceUID == study}
    )


def test_bulk_data_resolves(client: Any, held: list[tuple[Path, Any]], one: Any) -> None:
    found = client.retrieve_instance_metadata(*uids(one))
    (pixels,) = client.retrieve_bulkdata(found["7FE00010"]["BulkDataURI"])
    assert pixels == one.PixelData
    compressed = next(d for _, d in held if d.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.4.50")
    found = client.retrieve_instance_metadata(*uids(compressed))
    frames = list(client.retrieve_bulkdata(found["7FE00010"]["BulkDataURI"]))
    assert len(frames) == int(compressed.get("NumberOfFrames", 1))
    assert all(frame.startswith(b"\xff\xd8") for frame in frames)


def test_frames(client: Any, held: list[tuple[Path, Any]]) -> None:
    from pydicom.encaps import generate_frames

    checked = 0
    for path, data_set in held:
        syntax, frames = data_set.file_meta.TransferSyntaxUID, str(data_set.get("NumberOfFrames") or 1)
        if "PixelData" not in data_set or not frames.isdigit() or int(frames) > 50:
            continue
        count = int(frames)
        if syntax.is_encapsulated:
            expected = list(generate_frames(data_set.PixelData, number_of_frames=count))
            got = client.retrieve_instance_frames(
                *uids(data_set), list(range(1, count + 1)), media_types=(("application/octet-stream", "*"),)
            )
            assert [bytes(frame) for frame in got] == expected, path.name
        elif syntax.is_little_endian and not syntax.is_deflated and data_set.BitsAllocated > 1:
            bits = data_set.Rows * data_set.Columns * data_set.SamplesPerPixel * data_set.BitsAllocated
            if data_set.get("PhotometricInterpretation") == "YBR_FULL_422":
                continue
            got = client.retrieve_instance_frames(*uids(data_set), list(range(1, count + 1)))
            assert b"".join(got) == data_set.PixelData[: bits // 8 * count], path.name
        else:
            continue
        checked += 1
    assert checked > 50


def test_frames_beyond_the_last(client: Any, one: Any) -> None:
    import requests

    with pytest.raises(requests.HTTPError, match="404"):
        client.retrieve_instance_frames(*uids(one), [2])


QUESTIONS = [
    ("PatientID", lambda d: d.get("PatientID")),
    ("StudyInstanceUID", lambda d: d.StudyInstanceUID),
    ("AccessionNumber", lambda d: d.get("AccessionNumber")),
    ("StudyDate", lambda d: d.get("StudyDate")),
]


@pytest.mark.parametrize(("name", "value_of"), QUESTIONS)
def test_searches_for_studies(client: Any, held: list[tuple[Path, Any]], one: Any, name: str, value_of: Any) -> None:
    value = value_of(one)
    if not value:
        return  # the CT has no such value to ask for
    first = {d.StudyInstanceUID: d for _, d in reversed(held)}  # a study shows what its first instance said
    found = {row["0020000D"]["Value"][0] for row in client.search_for_studies(search_filters={name: value})}
    assert one.StudyInstanceUID in found
    assert found == {study for study, d in first.items() if value_of(d) == value}


def test_wildcards_ranges_and_pages(client: Any, held: list[tuple[Path, Any]]) -> None:
    every = client.search_for_studies(get_remaining=True, limit=7)
    studies = {d.StudyInstanceUID for _, d in held}
    assert {row["0020000D"]["Value"][0] for row in every} == studies
    assert len(every) == len(studies)
    assert client.search_for_studies(search_filters={"PatientID": "no such patient"}) == []
    ranged = client.search_for_studies(search_filters={"StudyDate": "20000101-20101231"})
    assert ranged and all("2000" <= row["00080020"]["Value"][0][:4] <= "2010" for row in ranged)
    named = client.search_for_studies(search_filters={"PatientName": "*a*"})
    assert named and all("a" in row["00100010"]["Value"][0]["Alphabetic"].lower() for row in named)
    two = sorted(studies)[:2]
    listed = client.search_for_studies(search_filters={"StudyInstanceUID": ",".join(two)})
    assert sorted(row["0020000D"]["Value"][0] for row in listed) == two


def test_searches_below_a_study(client: Any, held: list[tuple[Path, Any]], one: Any) -> None:
    study, series, instance = uids(one)
    rows = client.search_for_series(study)
    assert {row["0020000E"]["Value"][0] for row in rows} == {
        d.SeriesInstanceUID for _, d in held if d.StudyInstanceUID == study
    }
    assert client.search_for_series(study, search_filters={"Modality": "CT"})
    found = client.search_for_instances(study, series, fields=["ContentDate"])
    assert instance in {row["00080018"]["Value"][0] for row in found}
    everywhere = client.search_for_instances(search_filters={"SOPInstanceUID": instance})
    assert len(everywhere) == 1
    assert everywhere[0]["00100020"]["Value"] == [one.PatientID]


def test_a_refusal_names_its_reason(client: Any, one: Any) -> None:
    import copy

    import requests

    broken = copy.deepcopy(one)
    del broken.StudyInstanceUID
    with pytest.raises(requests.HTTPError) as refused:
        client.store_instances([broken])
    assert refused.value.response.status_code == 409
    (failed,) = refused.value.response.json()["00081198"]["Value"]
    assert failed["00081197"]["Value"] == [0xA900]
    assert "Study Instance UID" in failed["00000902"]["Value"][0]
