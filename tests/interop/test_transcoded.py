"""Compressed objects go out to peers that take other syntaxes: DCMTK and pynetdicom, by C-GET and C-MOVE."""

from __future__ import annotations

import json
import subprocess
import urllib.request
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy
import pydicom
import pytest
from conftest import Served, serve
from conftest import sagittal_here as sagittal
from interop.corpus import read
from interop.held import associated, identifier
from interop.peers import free_port, listening
from programs import corpus_folder, need
from pydicom.encaps import encapsulate, generate_frames
from pynetdicom import AE, build_role, evt
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    CTImageStorage,
    StudyRootQueryRetrieveInformationModelGet,
    StudyRootQueryRetrieveInformationModelMove,
)

IMPLICIT_LE, EXPLICIT_LE = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"
JPEG, JPEG_LS, JPEG_2000_LOSSLESS = "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.90"
FILES = (
    "CT/dtf__CT2_JLSL",
    "CT/dcm4che__CT-JPEGLosslessSV1.dcm",
    "MR/dtf__MR_small_RLE.dcm",
    "MR/dtf__emri_small_jpeg_2k_lossless.dcm",
    "OT/dtf__SC_rgb_rle_16bit_2frame.dcm",
)
CT = FILES[0]


@pytest.fixture(scope="module")
def originals() -> dict[str, pydicom.Dataset]:
    return {name: read(corpus_folder() / name) for name in FILES}


@pytest.fixture(scope="module")
def port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def archive(port: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    node = "--node", f"DEST@127.0.0.1:{port}"
    with holding(tmp_path_factory.mktemp("transcoded"), FILES, *node) as served:
        yield served


@contextmanager
def holding(folder: Path, names: Iterable[str], *options: str) -> Iterator[Served]:
    """An archive with these files of the corpus and a damaged one; that may be missing, before anything runs."""
    files = damaged(folder), *(corpus_folder() / name for name in names)
    served = serve(folder / "data", *options)
    try:
        done = sagittal("store", served.peer, "-q", *files)
        assert done.returncode == 0, done.stderr
        yield served
    finally:
        served.stop()


def damaged(folder: Path) -> Path:
    """A CT in a study of its own with a sound one, whose code stream is cut."""
    data_set = pydicom.dcmread(corpus_folder() / CT)
    data_set.SOPInstanceUID = data_set.file_meta.MediaStorageSOPInstanceUID = "1.2.3.99"
    (frame,) = generate_frames(data_set.PixelData, number_of_frames=1)
    data_set.PixelData = encapsulate([frame[:60] + bytes(1000)])
    data_set.save_as(folder / "damaged.dcm")
    return folder / "damaged.dcm"


def same(sent: pydicom.Dataset, original: pydicom.Dataset) -> None:
    """The same image, and the same of it but for what pixels in another form say."""
    assert numpy.array_equal(sent.pixel_array, original.pixel_array)
    about_pixels = {0x7FE00010, 0x00280006, 0x00280102, 0x00880200, 0xFFFCFFFC}
    ours = {e.tag: e.value for e in sent if e.tag not in about_pixels and not e.tag.is_private}
    theirs = {e.tag: e.value for e in original if e.tag not in about_pixels and not e.tag.is_private}
    assert ours == {tag: value for tag, value in theirs.items() if tag.element}


def got(archive: Served, original: pydicom.Dataset, syntaxes: list[str], **more: str) -> tuple[list, list]:
    """By C-GET of pynetdicom: the responses, and what came."""
    received: list[pydicom.Dataset] = []

    def stored(event) -> int:
        data_set = event.dataset
        data_set.file_meta = event.file_meta
        received.append(data_set)
        return 0

    ae = AE("GETTER")
    ae.add_requested_context(StudyRootQueryRetrieveInformationModelGet)
    sop_class = original.SOPClassUID
    ae.add_requested_context(sop_class, syntaxes)
    roles = [build_role(sop_class, scp_role=True)]
    association = associated(archive, ae, ext_neg=roles, evt_handlers=[(evt.EVT_C_STORE, stored)])
    asked = identifier("STUDY", StudyInstanceUID=original.StudyInstanceUID)
    if more:
        asked.QueryRetrieveLevel = "IMAGE"
        asked.SeriesInstanceUID, asked.SOPInstanceUID = original.SeriesInstanceUID, more["uid"]
    responses = list(association.send_c_get(asked, StudyRootQueryRetrieveInformationModelGet))
    association.release()
    return responses, received


@pytest.mark.parametrize("name", FILES)
def test_getscu_gets_what_it_can_read(name, archive, originals, tmp_path):
    original = originals[name]
    command = [need("getscu"), "-S", "-aec", archive.aet, "-od", str(tmp_path), "-k", "QueryRetrieveLevel=IMAGE"]
    for key in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"):
        command += ["-k", f"{key}={original.get(key)}"]
    done = subprocess.run([*command, archive.host, str(archive.port)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (path,) = tmp_path.iterdir()
    sent = pydicom.dcmread(path)
    assert sent.file_meta.TransferSyntaxUID == EXPLICIT_LE
    same(sent, original)


@pytest.mark.parametrize("syntax_uid", [IMPLICIT_LE, "1.2.840.10008.1.2.2", JPEG_2000_LOSSLESS])
def test_pynetdicom_gets_in_the_only_syntax_it_takes(syntax_uid, archive, originals):
    original = originals[CT]
    responses, (sent,) = got(archive, original, [syntax_uid], uid=original.SOPInstanceUID)
    assert responses[-1][0].Status == 0x0000
    assert sent.file_meta.TransferSyntaxUID == syntax_uid
    same(sent, original)


def test_nothing_goes_with_loss(archive, originals):
    original = originals[CT]
    responses, received = got(archive, original, [JPEG], uid=original.SOPInstanceUID)
    assert (responses[-1][0].Status, received) == (0xA702, [])
    assert "no context" in responses[-1][0].ErrorComment


def test_what_cannot_be_decoded_fails_alone(archive, originals):
    original = originals[CT]
    responses, received = got(archive, original, [EXPLICIT_LE])
    final, failed = responses[-1]
    assert final.Status == 0xB000
    assert failed.FailedSOPInstanceUIDList == "1.2.3.99"
    assert "decoded" in final.ErrorComment
    assert [sent.SOPInstanceUID for sent in received] == [original.SOPInstanceUID]


def test_a_corrected_object_stays_corrected(archive, originals):
    original = originals[FILES[2]]
    body = {"attributes": {"00100010": {"vr": "PN", "Value": [{"Alphabetic": "Right^Name"}]}}, "reason": "test"}
    request = urllib.request.Request(
        f"{archive.http}/api/studies/{original.StudyInstanceUID}",
        json.dumps(body).encode(), {"content-type": "application/json"}, method="PATCH",
    )  # fmt: skip
    with urllib.request.urlopen(request) as answer:
        assert answer.status in (200, 201)
    _, (sent,) = got(archive, original, [IMPLICIT_LE], uid=original.SOPInstanceUID)
    assert sent.PatientName == "Right^Name"
    assert sent.OriginalAttributesSequence[0].ModifiedAttributesSequence[0].PatientName == original.PatientName
    assert numpy.array_equal(sent.pixel_array, original.pixel_array)


def test_movescu_to_a_storescp_of_implicit_vr(archive, originals, port, tmp_path):
    folder = tmp_path / "moved"
    folder.mkdir()
    command = [need("storescp"), "+xi", "-aet", "DEST", "-od", str(folder), str(port)]
    with listening(command, port):
        original = originals[FILES[1]]
        command = [need("movescu"), "-S", "-aec", archive.aet, "-aem", "DEST", "-k", "QueryRetrieveLevel=STUDY"]
        command += ["-k", f"StudyInstanceUID={original.StudyInstanceUID}", archive.host, str(archive.port)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
    sent = pydicom.dcmread(next(folder.iterdir()), force=True)
    assert sent.file_meta.TransferSyntaxUID == IMPLICIT_LE
    same(sent, original)


def test_a_move_tells_what_could_not_be_decoded(archive, originals, port):
    received: list[pydicom.Dataset] = []

    def stored(event) -> int:
        received.append(event.dataset)
        return 0

    ae = AE("DEST")
    ae.add_supported_context(CTImageStorage, [EXPLICIT_LE])
    server = ae.start_server(("127.0.0.1", port), block=False, evt_handlers=[(evt.EVT_C_STORE, stored)])
    mover = AE("MOVER")
    mover.add_requested_context(StudyRootQueryRetrieveInformationModelMove)
    association = associated(archive, mover)
    asked = identifier("STUDY", StudyInstanceUID=originals[CT].StudyInstanceUID)
    responses = list(association.send_c_move(asked, "DEST", StudyRootQueryRetrieveInformationModelMove))
    association.release()
    server.shutdown()
    final, failed = responses[-1]
    assert (final.Status, failed.FailedSOPInstanceUIDList) == (0xB000, "1.2.3.99")
    assert [sent.SOPInstanceUID for sent in received] == [originals[CT].SOPInstanceUID]


class Scp:
    """pynetdicom as a C-STORE SCP that takes CT, or another class, in these syntaxes."""

    def __init__(self, port: int, syntaxes: list[str], sop_class: str = CTImageStorage) -> None:
        self.received: list[pydicom.Dataset] = []
        self._ae, self._port = AE("DEST"), port
        self._ae.add_supported_context(sop_class, syntaxes)

    def __enter__(self) -> Scp:
        def stored(event) -> int:
            data_set = event.dataset
            data_set.file_meta = event.file_meta
            self.received.append(data_set)
            return 0

        handlers = [(evt.EVT_C_STORE, stored)]
        self._server = self._ae.start_server(("127.0.0.1", self._port), block=False, evt_handlers=handlers)
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()


@pytest.mark.parametrize("syntax_uid", [EXPLICIT_LE, IMPLICIT_LE])
def test_store_sends_what_the_peer_takes(syntax_uid, originals, port, tmp_path):
    files = [corpus_folder() / CT, damaged(tmp_path)]
    with Scp(port, [syntax_uid]) as scp:
        done = sagittal("store", f"DEST@127.0.0.1:{port}", "-q", "--set", "PatientName=New^Name", *files)
    assert done.returncode == 1
    assert "1 sent" in done.stderr and "damaged.dcm" in done.stderr and "decoded" in done.stderr
    (sent,) = scp.received
    assert sent.file_meta.TransferSyntaxUID == syntax_uid
    assert sent.PatientName == "New^Name"
    assert numpy.array_equal(sent.pixel_array, originals[CT].pixel_array)


def test_store_sends_another_lossless_syntax_but_never_with_loss(originals, port):
    where = f"DEST@127.0.0.1:{port}"
    with Scp(port, [JPEG_2000_LOSSLESS]) as scp:
        done = sagittal("store", where, "-q", "--syntax", JPEG_2000_LOSSLESS, corpus_folder() / CT)
        assert done.returncode == 0, done.stderr
    same(scp.received[0], originals[CT])
    with Scp(port, [JPEG]) as scp:
        assert sagittal("store", where, "-q", "--syntax", JPEG, corpus_folder() / CT).returncode == 1
    assert not scp.received


def test_store_transcodes_nothing_when_told_so(originals, port):
    with Scp(port, [EXPLICIT_LE, JPEG]) as scp:
        done = sagittal("store", f"DEST@127.0.0.1:{port}", "-q", "--no-transcode", corpus_folder() / CT)
    assert done.returncode != 0
    assert not scp.received
