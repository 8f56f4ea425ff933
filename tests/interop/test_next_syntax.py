"""Where the best transfer syntax that is taken can't carry an object, the next is sent: by C-GET, `store`, DICOMweb."""

from __future__ import annotations

import io
from collections.abc import Iterator

import httpx
import numpy
import pydicom
import pytest
from conftest import Served
from conftest import sagittal_here as sagittal
from interop.corpus import read
from interop.held import associated, identifier
from interop.peers import free_port
from interop.test_transcoded import CT, Scp, holding, same
from interop.test_transcoded_web import path_of
from programs import corpus_folder
from pydicom.encaps import generate_frames
from pynetdicom import AE, build_role, evt
from pynetdicom.presentation import build_context
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    StudyRootQueryRetrieveInformationModelGet,
)

EXPLICIT_LE, RLE = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.5"
JPEG_LOSSLESS, JPEG_LS, JPEG_2000_LOSSLESS = (f"1.2.840.10008.1.2.4.{tail}" for tail in ("70", "80", "90"))
DOSE = "RTDOSE/dtf__rtdose_1frame.dcm"  # 32 bits: RLE takes them, JPEG Lossless and JPEG-LS do not
REPORT = "SR/dcmjs__sample-sr.dcm"
OBJECT = "application/dicom; transfer-syntax="


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with holding(tmp_path_factory.mktemp("next"), (DOSE, REPORT)) as served:
        yield served


def got(archive: Served, original: pydicom.Dataset, syntaxes: list[str]) -> tuple[list, list[pydicom.Dataset]]:
    """By C-GET of pynetdicom with a context for each syntax: the responses, and what came."""
    received: list[pydicom.Dataset] = []

    def stored(event: evt.Event) -> int:
        data_set = event.dataset
        data_set.file_meta = event.file_meta
        received.append(data_set)
        return 0

    sop_class, model = original.SOPClassUID, StudyRootQueryRetrieveInformationModelGet
    ae = AE("GETTER")
    ae.requested_contexts = [build_context(model), *(build_context(sop_class, [each]) for each in syntaxes)]
    roles = [build_role(sop_class, scp_role=True)]
    association = associated(archive, ae, ext_neg=roles, evt_handlers=[(evt.EVT_C_STORE, stored)])
    responses = list(association.send_c_get(identifier("STUDY", StudyInstanceUID=original.StudyInstanceUID), model))
    association.release()
    return responses, received


def test_a_peer_with_several_contexts_gets_the_one_that_carries_the_pixels(archive: Served) -> None:
    original = read(corpus_folder() / DOSE)
    responses, (sent,) = got(archive, original, [JPEG_LOSSLESS, JPEG_LS, RLE])
    assert responses[-1][0].Status == 0x0000
    assert sent.file_meta.TransferSyntaxUID == RLE
    same(sent, original)


def test_a_peer_without_any_is_told_about_the_best(archive: Served) -> None:
    responses, received = got(archive, read(corpus_folder() / DOSE), [JPEG_LS, JPEG_LOSSLESS])
    assert (responses[-1][0].Status, received) == (0xA702, [])
    assert "JPEG Lossless" in responses[-1][0].ErrorComment


def test_store_tries_the_next(archive: Served) -> None:
    port = free_port()
    with Scp(port, [JPEG_LOSSLESS, RLE], read(corpus_folder() / DOSE).SOPClassUID) as scp:
        options = ["--syntax", JPEG_LOSSLESS, "--syntax", RLE]
        done = sagittal("store", f"DEST@127.0.0.1:{port}", "-q", *options, corpus_folder() / DOSE)
        assert done.returncode == 0, done.stderr
    assert scp.received[0].file_meta.TransferSyntaxUID == RLE
    same(scp.received[0], read(corpus_folder() / DOSE))


@pytest.mark.parametrize(
    ("name", "second", "answered"),
    [(DOSE, RLE, RLE), (DOSE, "*", ""), (REPORT, EXPLICIT_LE, EXPLICIT_LE), (REPORT, "*", ""), (CT, "*", JPEG_LS)],
)
def test_an_instance_by_the_next_range(web: httpx.Client, name: str, second: str, answered: str) -> None:
    original = read(corpus_folder() / name)
    path = path_of(original)
    if name == CT:  # whose code stream is cut: it can be had as stored only
        path = path.rpartition("/")[0] + "/1.2.3.99"
    first = JPEG_2000_LOSSLESS if name == CT else JPEG_LS
    accept = f"{OBJECT}{first}, {OBJECT}{second};q=0.5"
    answer = web.get(path, headers={"accept": accept})
    assert answer.status_code == 200, answer.text
    sent = pydicom.dcmread(io.BytesIO(answer.content))
    assert sent.file_meta.TransferSyntaxUID == (answered or original.file_meta.TransferSyntaxUID)
    again = web.get(path, headers={"accept": accept, "if-none-match": answer.headers["etag"]})
    assert again.status_code == 304
    if name == DOSE:
        same(sent, original)


def test_an_instance_in_none_says_why_not_the_first(web: httpx.Client) -> None:
    accept = f"{OBJECT}{JPEG_LS}, {OBJECT}{JPEG_LOSSLESS};q=0.5"
    answer = web.get(path_of(read(corpus_folder() / DOSE)), headers={"accept": accept})
    assert answer.status_code == 406
    assert "JPEG-LS" in answer.json()["detail"]


def test_each_part_of_a_study_names_its_own_syntax(web: httpx.Client) -> None:
    study = path_of(read(corpus_folder() / REPORT)).partition("/series/")[0]
    root = 'multipart/related; type="application/dicom"; transfer-syntax='
    answer = web.get(study, headers={"accept": f"{root}{JPEG_LS}, {root}{EXPLICIT_LE};q=0.1"})
    assert answer.status_code == 200
    assert f"transfer-syntax={EXPLICIT_LE}".encode() in answer.content
    assert JPEG_LS.encode() not in answer.content


@pytest.mark.parametrize("what", ["frames/1", "bulkdata/7FE00010"])
def test_frames_by_the_next_range(web: httpx.Client, what: str) -> None:
    original = read(corpus_folder() / DOSE)
    frame = original.pixel_array.astype("<u4").tobytes()
    path = f"{path_of(original)}/{what}"
    if what == "frames/1":  # native bulk data is answered as it is
        accept = f"image/jls; transfer-syntax={JPEG_LS}, image/dicom-rle; transfer-syntax={RLE};q=0.5"
        answer = web.get(path, headers={"accept": accept})
        assert (answer.status_code, answer.headers["content-type"]) == (200, "image/dicom-rle")
        original.file_meta.TransferSyntaxUID = RLE
        original.PixelData = pydicom.encaps.encapsulate([answer.content])
        original["PixelData"].is_undefined_length = True
        assert numpy.array_equal(original.pixel_array.astype("<u4").tobytes(), frame)
        assert next(generate_frames(original.PixelData, number_of_frames=1)).startswith(b"\4")
    answer = web.get(path, headers={"accept": "image/jls, application/octet-stream;q=0.5"})
    assert (answer.status_code, answer.content) == (200, frame)
