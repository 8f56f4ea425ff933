"""A node that names no character set, or one that there is none of: what it sends and asks is read as its row says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import pydicom
import pytest
from builders import CT, build
from conftest import Served, serve
from pynetdicom import AE
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelFind as FIND  # type: ignore[attr-defined]

from sagittal.dicom import elements
from sagittal.dicom.syntaxes import EXPLICIT_LE, syntax
from sagittal.dicom.walk import decode_identifier
from sagittal.net.client import Peer, Proposal, connect

NAME, ALPHABETIC, IDEOGRAPHIC = "Wang^XiaoDong=王^小东", "Wang^XiaoDong", "王^小东"
WRITTEN = NAME.encode("gb18030")
# What (0008,0005) says -> the study that says it.
SAID = {b"": "missing", b"KLINGON": "unknown", b"ISO_IR 999": "no such number"}
OBJECTS = {
    said: build(1, study=study, patient_id=study, extra={"PatientName": WRITTEN, "SpecificCharacterSet": said})
    for said, study in SAID.items()
}


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    import asyncio

    folder: Path = tmp_path_factory.mktemp("charset")
    file = folder / "sagittal.toml"
    file.write_text('[[nodes]]\naet = "OLD"\nhost = "192.0.2.1"\nport = 104\ncharacter_set = "GB18030"\n')
    served = serve(folder / "data", "--config", str(file))

    async def send() -> None:
        peer = Peer(served.aet, served.host, served.port)
        async with await connect(peer, "OLD", [Proposal(CT, [EXPLICIT_LE])]) as association:
            for built in OBJECTS.values():
                answer = await association.store(CT, built.sop_instance_uid, EXPLICIT_LE, built.data)
                assert answer.status == 0x0000

    asyncio.run(send())
    yield served
    served.stop()


def ask(archive: Served, path: str, accept: str = "application/dicom+json") -> httpx.Response:
    return httpx.get(f"{archive.http}/dicom-web/{path}", headers={"accept": accept}, timeout=60)


@pytest.mark.parametrize("said", SAID, ids=SAID.values())
def test_what_it_sent_is_read_by_every_way(archive: Served, said: bytes) -> None:
    built = OBJECTS[said]
    (row,) = ask(archive, f"studies?StudyInstanceUID={built.study_uid}&PatientName=*小东*").json()
    (metadata,) = ask(archive, f"studies/{built.study_uid}/metadata").json()
    for obj in (row, metadata):
        assert obj["00100010"]["Value"] == [{"Alphabetic": ALPHABETIC, "Ideographic": IDEOGRAPHIC}]
    stored = ask(archive, f"studies/{built.study_uid}/series/{built.series_uid}/instances/{built.sop_instance_uid}",
                 "application/dicom; transfer-syntax=*")  # fmt: skip
    assert stored.content == built.part10  # as it came


async def found(archive: Served, calling: str, said: bytes, key: bytes) -> list[dict[int, Any]]:
    """The matches of C-FIND for a patient's name, in the bytes of the requestor."""
    asked = [(0x00080052, "CS", b"STUDY "), (0x00100010, "PN", key + b" " * (len(key) % 2)), (0x0020000D, "UI", b"")]
    if said:
        asked.append((0x00080005, "CS", said + b" " * (len(said) % 2)))
    peer = Peer(archive.aet, archive.host, archive.port)
    async with await connect(peer, calling, [Proposal(str(FIND), [EXPLICIT_LE])]) as association:
        identifier = elements.encode(asked, syntax(EXPLICIT_LE))
        return [
            decode_identifier(response.data_set, syntax(EXPLICIT_LE), _limits())
            async for response in association.find(str(FIND), identifier)
            if response.data_set
        ]


def _limits() -> Any:
    from sagittal.limits import ReaderLimits

    return ReaderLimits()


@pytest.mark.parametrize("said", SAID, ids=SAID.values())
@pytest.mark.parametrize("key", [WRITTEN, "*小东*".encode("gb18030")], ids=["single value", "wild card"])
def test_what_it_asks_is_read_and_answered_so(archive: Served, said: bytes, key: bytes) -> None:
    import asyncio

    matches = asyncio.run(found(archive, "OLD", said, key))
    assert {match[0x0020000D].text() for match in matches} == {built.study_uid for built in OBJECTS.values()}
    for match in matches:  # named, so that nobody needs to know
        assert match[0x00080005].text() == "GB18030"
        assert match[0x00100010].value.rstrip(b" ") == WRITTEN


def test_a_stranger_is_read_as_the_standard_says(archive: Served) -> None:
    import asyncio

    assert asyncio.run(found(archive, "STRANGER", b"", "*小东*".encode("gb18030"))) == []
    assert len(asyncio.run(found(archive, "STRANGER", b"ISO_IR 192", "*小东*".encode()))) == len(OBJECTS)


def test_pynetdicom_asks_with_a_good_one(archive: Served) -> None:
    ae = AE("OLD")
    ae.add_requested_context(FIND)
    association = ae.associate(archive.host, archive.port, ae_title=archive.aet)
    assert association.is_established
    asked = pydicom.Dataset()
    asked.SpecificCharacterSet, asked.QueryRetrieveLevel, asked.PatientName = "ISO_IR 192", "STUDY", "王*"
    asked.PatientName, asked.StudyInstanceUID = "*王*", ""
    names = [str(match.PatientName) for _, match in association.send_c_find(asked, FIND) if match]
    association.release()
    assert names == [NAME] * len(OBJECTS)


@pytest.mark.parametrize("said", SAID, ids=SAID.values())
def test_a_correction_keeps_what_the_node_meant(archive: Served, said: bytes) -> None:
    """The corrected object names a character set, in which its other texts still say the same."""
    built = OBJECTS[said]
    for right in ("Knee", "膝"):  # as ASCII, and in characters that the object has no character set for
        body = {"attributes": {"StudyDescription": right}, "reason": "why"}
        assert httpx.patch(f"{archive.http}/api/studies/{built.study_uid}", json=body, timeout=60).status_code == 200
        path = f"studies/{built.study_uid}/series/{built.series_uid}/instances/{built.sop_instance_uid}"
        sent = ask(archive, path, "application/dicom; transfer-syntax=*")
        (metadata,) = json.loads(ask(archive, f"{path}/metadata").content)
        assert metadata["00081030"]["Value"] == [right]
        assert metadata["00100010"]["Value"] == [{"Alphabetic": ALPHABETIC, "Ideographic": IDEOGRAPHIC}]
        obj = pydicom.dcmread(BytesIO(sent.content))
        assert obj.StudyDescription == right
        if right.isascii():
            assert obj["PatientName"].value.original_string.rstrip(b" ") == WRITTEN
        else:
            assert obj.SpecificCharacterSet == "ISO_IR 192"
            assert str(obj.PatientName) == NAME
