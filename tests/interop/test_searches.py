"""QIDO-RS of a running archive, as dicomweb-client, OHIF and scripts ask: attributes, pages, order, numbers, forms."""

from __future__ import annotations

import csv
import io
import os
import subprocess
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from email.parser import BytesParser
from email.policy import HTTP
from pathlib import Path
from typing import Any

import httpx
import pytest
from builders import CT, uid
from conftest import Served, serve
from programs import need

pytestmark = pytest.mark.filterwarnings("ignore")

PRIVATE = 0x0009


def made(study: str, series: str, number: int, **said: Any) -> Any:
    """A data set of a study ("S1") and series ("A")."""
    from pydicom.dataset import Dataset, FileMetaDataset

    made = Dataset()
    made.SOPClassUID, made.SOPInstanceUID = CT, uid("instance", study, series, number)
    made.StudyInstanceUID, made.SeriesInstanceUID = uid("study", study), uid("series", study, series)
    made.SpecificCharacterSet, made.Modality, made.InstanceNumber = "ISO_IR 192", "CT", number
    for name, value in said.items():
        setattr(made, name, value)
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1"
    made.file_meta.MediaStorageSOPClassUID = CT
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID
    return made


def items(*pairs: dict[str, str]) -> list[Any]:
    from pydicom.dataset import Dataset

    found = []
    for pair in pairs:
        item = Dataset()
        for name, value in pair.items():
            setattr(item, name, value)
        found.append(item)
    return found


def with_private(data_set: Any, block: int, creator: str, element: int, value: str) -> Any:
    data_set.add_new(PRIVATE << 16 | block, "LO", creator)
    data_set.add_new(PRIVATE << 16 | block << 8 | element, "SH", value)
    return data_set


def objects() -> list[Any]:
    one = {"PatientID": "P1", "PatientName": "Smith^John", "StudyDate": "20200101", "StudyTime": "1000"}
    two = {"PatientID": "P2", "PatientName": "Müller^Jörg", "StudyDate": "20200102", "StudyTime": "0900"}
    three = {"PatientID": "P3", "PatientName": "Yamada^Tarou=山田^太郎", "StudyDate": "20210601", "StudyTime": "1200"}
    three["TimezoneOffsetFromUTC"] = "+0900"
    asked = {"ScheduledProcedureStepID": "7", "RequestedProcedureID": "1"}
    other = {"ScheduledProcedureStepID": "8", "RequestedProcedureID": "2"}
    mixed = {"ScheduledProcedureStepID": "7", "RequestedProcedureID": "2"}
    frames = items({"ImageComments": "per frame"})
    return [
        with_private(
            made("S1", "A", 1, **one, RequestAttributesSequence=items(asked, other), PatientComments="so so",
                 AccessionNumber="A1", KVP="120"), 0x10, "ACME", 2, "x1",
        ),
        with_private(
            with_private(made("S1", "A", 2, **one, AccessionNumber="A1", KVP="80"), 0x10, "OTHER", 2, "x9"),
            0x11, "ACME", 2, "x2",
        ),
        made("S1", "B", 1, **one, AccessionNumber="A1", SeriesDescription="=1+1"),
        made("S2", "A", 1, **two, RequestAttributesSequence=items(mixed), AccessionNumber="", PatientComments="well"),
        made("S3", "A", 1, **three, AccessionNumber="A3", KVP="120", PerFrameFunctionalGroupsSequence=frames),
    ]  # fmt: skip


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    served = serve(tmp_path_factory.mktemp("searches") / "data", "--durability", "off")
    try:
        client_of(served).store_instances(objects())
        yield served
    finally:
        served.stop()


def client_of(served: Served) -> Any:
    from dicomweb_client.api import DICOMwebClient

    return DICOMwebClient(served.http + "/dicom-web")


@pytest.fixture(scope="module")
def get(archive: Served) -> Iterator[Callable[..., httpx.Response]]:
    with httpx.Client() as client:

        def get(path: str, accept: str = "application/dicom+json", **query: str) -> httpx.Response:
            address = path if path.startswith("http") else f"{archive.http}/dicom-web{path}"
            return client.get(address, params=query or None, headers={"accept": accept})

        yield get


def names(rows: list[dict[str, Any]]) -> list[str]:
    """Which of the objects, series, studies these are."""
    known = {}
    for data_set in objects():
        study = next(name for name in ("S1", "S2", "S3") if uid("study", name) == data_set.StudyInstanceUID)
        series = next(name for name in "AB" if uid("series", study, name) == data_set.SeriesInstanceUID)
        known[data_set.StudyInstanceUID] = study
        known[data_set.SeriesInstanceUID] = study + series
        known[data_set.SOPInstanceUID] = f"{study}{series}{data_set.InstanceNumber}"
    told = [next(row[tag]["Value"][0] for tag in ("00080018", "0020000E", "0020000D") if tag in row) for row in rows]
    return [known[one] for one in told]


JSON, PLAIN, XML = "application/dicom+json", "application/json", 'multipart/related; type="application/dicom+xml"'


@pytest.mark.parametrize(
    ("headers", "told"),
    [
        ([], JSON),  # curl sends */* by itself
        (["Accept:"], JSON),  # none at all
        (["Accept;"], JSON),  # an empty one
        (["Accept: */*"], JSON),
        (["Accept: application/*"], JSON),
        (["Accept: application/json"], PLAIN),
        (["Accept: application/json;charset=utf-8"], PLAIN),
        (["Accept: application/dicom+json, application/json"], JSON),  # dicomweb-client
        (["Accept: application/json, text/plain, */*"], PLAIN),  # axios
        (["Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"], JSON),  # browsers
        (["Accept: text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2"], JSON),  # Java's own client
        (["Accept: text/html", "Accept: application/json"], PLAIN),  # as one header with both
        (["Accept: application/json;q=0.5", "Accept: application/dicom+json"], JSON),
        (["Accept: application/dicom+json;q=0", "Accept: */*"], PLAIN),
        ([f"Accept: {XML};q=0.9", "Accept: application/json;q=0.1"], "multipart/related"),
    ],
)
def test_what_clients_accept(archive: Served, headers: list[str], told: str) -> None:
    words = [word for header in headers for word in ("-H", header)]
    command = [need("curl"), "-sS", "-D", "-", *words, f"{archive.http}/dicom-web/studies"]
    head, _, body = subprocess.run(command, capture_output=True, check=True).stdout.partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    answered = dict(line.lower().split(": ", 1) for line in lines)
    assert status == "HTTP/1.1 200 OK"
    assert answered["content-type"].partition(";")[0] == told
    assert body.startswith(b"[" if told in (JSON, PLAIN) else b"--")


@pytest.mark.parametrize(
    ("resource", "query", "found"),
    [
        # outside the index
        ("studies", {"PatientComments": "so so"}, "S1"),
        ("studies", {"PatientComments": "*e*"}, "S2"),
        ("instances", {"KVP": "120"}, "S1A1 S3A1"),
        ("instances", {"00180060": "120", "PatientID": "P1"}, "S1A1"),
        ("series", {"KVP": "80"}, "S1A"),
        # in sequences: one item matches all
        ("series", {"RequestAttributesSequence.ScheduledProcedureStepID": "7"}, "S1A S2A"),
        ("series", {"00400275.00400009": "8"}, "S1A"),
        ("series", {"00400275.00400009": "7", "00400275.00401001": "2"}, "S2A"),
        # private, whatever the block
        ("instances", {"00091002": "x*", "00090010": "ACME"}, "S1A1 S1A2"),
        ("instances", {"00091102": "x2", "00090011": "ACME"}, "S1A2"),
        ("instances", {"00091002": "x9", "00090010": "ACME"}, ""),
        # a date and its time are one moment
        ("studies", {"StudyDate": "20200101-20200102", "StudyTime": "0930-0930"}, "S1 S2"),
        ("studies", {"StudyDate": "20200101-20200102", "StudyTime": "0930-0830"}, "S1"),
        # how it is matched
        ("studies", {"fuzzymatching": "true", "PatientName": "Smyth"}, "S1"),
        ("studies", {"emptyvaluematching": "true", "AccessionNumber": '""'}, "S2"),
        ("studies", {"StudyInstanceUID": f"{uid('study', 'S1')},{uid('study', 'S3')}"}, "S1 S3"),
        ("studies", {"StudyInstanceUID": f"{uid('study', 'S1')}\\{uid('study', 'S3')}"}, "S1 S3"),
        ("studies", {"orderby": "-StudyDate"}, "S3 S2 S1"),
        ("studies", {"orderby": "PatientName", "limit": "2"}, "S2 S1"),
        ("studies", {"orderby": "-StudyDate", "limit": "1", "offset": "1"}, "S2"),
    ],
)
def test_searches(get: Callable[..., httpx.Response], resource: str, query: dict[str, str], found: str) -> None:
    answer = get(f"/{resource}", **query)
    assert answer.status_code == 200, answer.text
    rows = names(answer.json())
    assert (rows if "orderby" in query else sorted(rows)) == found.split()
    if not query.keys() & {"limit", "offset"}:
        assert get(f"/{resource}/count", **query).json() == {"count": len(found.split())}


def test_dicomweb_client_asks_the_same(archive: Served) -> None:
    client = client_of(archive)
    (row,) = client.search_for_studies(search_filters={"PatientComments": "so so"}, fields=["PatientComments", "KVP"])
    assert row["00104000"]["Value"] == ["so so"] and row["00180060"]["Value"] == [120]
    rows = client.search_for_series(search_filters={"RequestAttributesSequence.ScheduledProcedureStepID": "7"})
    assert sorted(names(rows)) == ["S1A", "S2A"]
    assert len(client.search_for_instances(get_remaining=True, limit=2)) == len(objects())
    assert client.search_for_studies(fuzzymatching=True, search_filters={"PatientName": "Mueller"})


def test_what_ohif_asks(get: Callable[..., httpx.Response]) -> None:
    fields = "00081030,00080060,00080090,00100030"
    rows = get("/studies", limit="101", offset="0", fuzzymatching="false", includefield=fields).json()
    assert sorted(names(rows)) == ["S1", "S2", "S3"]
    assert all({"00081030", "00080090", "00100030", "00080061", "00201208"} <= row.keys() for row in rows)
    for query in (
        {"PatientName": "*smi*"},
        {"00100020": "*P1*"},
        {"AccessionNumber": "*A1*"},
        {"ModalitiesInStudy": "CT", "StudyDate": "20200101-20200101"},
        {"StudyInstanceUID": uid("study", "S1")},
    ):
        assert names(get("/studies", limit="101", fuzzymatching="false", **query).json()) == ["S1"]
    where = f"/studies/{uid('study', 'S1')}/series"
    rows = get(where, includefield="0008103E,00080021,00080031,00200011").json()
    assert sorted(names(rows)) == ["S1A", "S1B"]


def test_attributes_that_are_answered(get: Callable[..., httpx.Response], archive: Served) -> None:
    (row,) = get("/instances", SOPInstanceUID=uid("instance", "S1", "A", 1)).json()
    address = f"{archive.http}/dicom-web/studies/{uid('study', 'S1')}/series/{uid('series', 'S1', 'A')}"
    assert row["00081190"]["Value"] == [f"{address}/instances/{uid('instance', 'S1', 'A', 1)}"]
    assert (row["00080056"]["Value"], row["00080054"]["Value"]) == (["ONLINE"], [archive.aet])
    assert get(row["00081190"]["Value"][0], accept="*/*").status_code == 200
    rows = get(f"/studies/{uid('study', 'S1')}/series").json()
    steps = {name: row.get("00400275", {}).get("Value") for name, row in zip(names(rows), rows, strict=True)}
    assert [item["00400009"]["Value"] for item in steps["S1A"]] == [["7"], ["8"]]
    assert not steps["S1B"]


def test_the_offset_from_utc_is_answered_if_known(get: Callable[..., httpx.Response]) -> None:
    """PS3.18 Tables 10.6.3-3 to -5: at every level."""
    study, series = f"/studies/{uid('study', 'S3')}", f"/series/{uid('series', 'S3', 'A')}"
    within = (f"{study}/series", f"{study}/instances", f"{study}{series}/instances")
    for path in ("/studies", "/series", "/instances", *within):
        rows = get(path).json()
        told = {
            name: row["00080201"]["Value"] for name, row in zip(names(rows), rows, strict=True) if "00080201" in row
        }
        assert told == {name: ["+0900"] for name in names(rows) if name.startswith("S3")}, path


def test_includefield(get: Callable[..., httpx.Response]) -> None:
    query = {"StudyInstanceUID": uid("study", "S3")}
    (row,) = get("/instances", **query, includefield="all").json()
    assert row["00180060"]["Value"] == [120]
    assert "52009230" not in row
    (row,) = get("/instances", **query, includefield="PerFrameFunctionalGroupsSequence").json()
    assert row["52009230"]["Value"][0]["00204000"]["Value"] == ["per frame"]
    (row,) = get("/instances", InstanceNumber="2", includefield="00091002", **{"00090010": "ACME"}).json()
    assert {"x2"} == {value for tag in row if tag.startswith("0009") and tag[4] != "0" for value in row[tag]["Value"]}
    (row,) = get("/instances", InstanceNumber="2", includefield="all").json()
    assert row["00091002"]["Value"] == ["x9"] and row["00091102"]["Value"] == ["x2"]


def test_pages_that_nothing_moves(start_server: Callable[..., Served]) -> None:
    """What arrives between two pages neither repeats nor hides what was there."""
    served = start_server()
    client = client_of(served)
    client.store_instances([made(f"S{n}", "A", 1, PatientID=f"P{n}", StudyDate=f"2020010{n}") for n in range(1, 6)])
    seen: list[str] = []
    address = f"{served.http}/dicom-web/studies?limit=2&orderby=-StudyDate"
    answer = httpx.get(address)
    assert httpx.get(address.replace("studies?", "studies/count?")).json() == {"count": 5}  # whatever the limit
    told = "There are 3 additional results that can be requested"  # as PS3.18 8.3.4.4 has it
    assert answer.headers["warning"] == f"299 {served.http}/dicom-web: {told}"
    for _ in range(9):
        seen += [row["00100020"]["Value"][0] for row in answer.json()]
        client.store_instances([made(f"N{len(seen)}", "A", 1, PatientID="new", StudyDate="20200109")])
        if "next" not in answer.links:
            break
        answer = httpx.get(answer.links["next"]["url"])
    assert seen == ["P5", "P4", "P3", "P2", "P1"]


def test_xml(get: Callable[..., httpx.Response]) -> None:
    answer = get("/series", accept='multipart/related; type="application/dicom+xml"', PatientID="P3")
    head = f"Content-Type: {answer.headers['content-type']}\r\n\r\n".encode()
    (part,) = BytesParser(policy=HTTP).parsebytes(head + answer.content).get_payload()
    assert part["content-type"] == "application/dicom+xml"
    model = ET.fromstring(part.get_payload(decode=True).strip())
    space = "{http://dicom.nema.org/PS3.19/models/NativeDICOM}"
    attributes = {one.get("keyword"): one for one in model}
    assert attributes["SeriesInstanceUID"].findtext(f"{space}Value") == uid("series", "S3", "A")
    name = attributes["PatientName"].find(f"{space}PersonName/{space}Ideographic")
    assert name is not None and name.findtext(f"{space}FamilyName") == "山田"
    tags = [one.get("tag") or "" for one in model]
    assert tags == sorted(tags)


def test_csv(get: Callable[..., httpx.Response]) -> None:
    answer = get("/series", accept="text/csv", includefield="00400275.00400009,KVP", orderby="StudyDate,SeriesNumber")
    rows = list(csv.DictReader(io.StringIO(answer.text, newline="")))
    assert {row["PatientName"] for row in rows} == {"Smith^John", "Müller^Jörg", "Yamada^Tarou=山田^太郎"}
    assert {row["RequestAttributesSequence.ScheduledProcedureStepID"] for row in rows} == {"7\\8", "7", ""}
    assert "'=1+1" in {row["SeriesDescription"] for row in rows}


def test_too_much_to_look_through(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "SAGITTAL_LIMITS__SCAN_INSTANCES_MAX", "2")
    served = serve(tmp_path / "data", "--durability", "off")
    try:
        client_of(served).store_instances(objects())
        refused = httpx.get(f"{served.http}/dicom-web/instances?KVP=120")
        assert refused.status_code == 413
        assert refused.headers["content-type"] == "application/problem+json"
        assert "scan_instances_max" in refused.json()["detail"]
        narrowed = httpx.get(f"{served.http}/dicom-web/instances?KVP=120&PatientID=P3")
        assert narrowed.status_code == 200 and len(narrowed.json()) == 1
    finally:
        served.stop()
