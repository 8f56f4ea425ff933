"""Frames, and whole objects moved, in a syntax that they are not stored in (PS3.4 Y.3.3, C.4.2), decoded by pydicom."""

from __future__ import annotations

from typing import Any

import pytest
from conftest import Served
from interop.parts import (
    CT_JPEG_LS,
    EXPLICIT_LE,
    HEART,
    IMPLICIT_LE,
    JPEG_LS,
    MR,
    ROOT_GET,
    ROOT_MOVE,
    SEG_BIG,
    SEG_DEFLATED,
    SEG_RLE,
    ULTRASOUND,
    US_MULTI_FRAME,
    frames_identifier,
    get,
    post_files,
)
from programs import corpus_folder
from pydicom import Dataset, dcmread
from pynetdicom import AE, evt

pytestmark = pytest.mark.filterwarnings("ignore")
FILES = (CT_JPEG_LS, ULTRASOUND, SEG_RLE, SEG_DEFLATED, SEG_BIG, MR, HEART)


@pytest.fixture(scope="module")
def held() -> dict[str, Dataset]:
    return {name: dcmread(corpus_folder() / name) for name in FILES}


@pytest.fixture(scope="module")
def archive(moving: Served) -> Served:
    post_files(moving, [corpus_folder() / name for name in FILES])
    return moving


def decoded(data_set: Dataset) -> Any:
    """The values of every frame by pydicom and its plugins, shape (frames, …)."""
    array = data_set.pixel_array
    return array if int(data_set.get("NumberOfFrames", 1)) > 1 else array[None]


# file, frames, what the peer takes; none of it is how the frames are stored
DECODED = [
    (CT_JPEG_LS, [2], [EXPLICIT_LE]),
    (ULTRASOUND, [2, 4, 6], [IMPLICIT_LE]),
    (ULTRASOUND, [1, 6], ["1.2.840.10008.1.2.5"]),
    (SEG_RLE, [1, 3], [EXPLICIT_LE]),
    (SEG_DEFLATED, [2, 3], [EXPLICIT_LE]),
    (SEG_BIG, [1, 2], [EXPLICIT_LE]),
    (MR, [1, 4, 10], [JPEG_LS]),
    (HEART, [3, 4, 9], ["1.2.840.10008.1.2.4.70"]),
]


@pytest.mark.parametrize(("name", "frames", "to"), DECODED)
def test_frames_are_decoded_for_a_peer_that_does_not_take_them(
    archive: Served, held: dict[str, Dataset], name: str, frames: list[int], to: list[str]
) -> None:
    source = held[name]
    asked = frames_identifier(source.SOPInstanceUID, SimpleFrameList=frames)
    received, status, _ = get(archive, ROOT_GET, asked, source.SOPClassUID, to)
    assert (status.Status, len(received)) == (0x0000, 1), status.get("ErrorComment")
    (made,) = received
    assert made.file_meta.TransferSyntaxUID == to[0]
    check_frames(made, source, name, frames)


def readable(source: Dataset, name: str) -> Dataset:
    """What has the same frames and is read by pydicom, which doesn't read 1-bit RLE and deflated frames."""
    if name in (SEG_RLE, SEG_DEFLATED, SEG_BIG):
        return dcmread(corpus_folder() / "SEG" / "pydicom-data__liver_j2k.dcm")
    return source


def check_frames(made: Dataset, source: Dataset, name: str, frames: list[int]) -> None:
    assert (decoded(made) == decoded(readable(source, name))[[number - 1 for number in frames]]).all()
    assert made.SOPInstanceUID != source.SOPInstanceUID and int(made.NumberOfFrames) == len(frames)
    assert made.FrameExtractionSequence[-1].MultiFrameSourceSOPInstanceUID == source.SOPInstanceUID
    assert made.ContributingEquipmentSequence[-1].Manufacturer == "Sagittal"
    assert made.get("LossyImageCompression") == source.get("LossyImageCompression")
    if "PerFrameFunctionalGroupsSequence" in source:
        assert len(made.PerFrameFunctionalGroupsSequence) == len(frames)
    assert "IconImageSequence" not in made or not source.file_meta.TransferSyntaxUID.is_encapsulated


def test_frames_without_a_context_that_loses_nothing_fail(archive: Served, held: dict[str, Dataset]) -> None:
    source = held[ULTRASOUND]
    asked = frames_identifier(source.SOPInstanceUID, SimpleFrameList=[2])
    received, status, data_set = get(archive, ROOT_GET, asked, US_MULTI_FRAME, ["1.2.840.10008.1.2.4.50"])
    assert (status.Status, status.NumberOfFailedSuboperations, received) == (0xA702, 1, [])
    assert data_set.FailedSOPInstanceUIDList == source.SOPInstanceUID


def moved(archive: Served, port: int, asked: Dataset, sop_class: str, taken: list[str]) -> tuple[list[Dataset], Any]:
    """By C-MOVE to a destination that takes these syntaxes only: what came there, and the final status."""
    received: list[Dataset] = []

    def stored(event: evt.Event) -> int:
        data_set = event.dataset
        data_set.file_meta = event.file_meta
        received.append(data_set)
        return 0x0000

    destination = AE("DEST")
    destination.add_supported_context(sop_class, taken)
    server = destination.start_server(("127.0.0.1", port), block=False, evt_handlers=[(evt.EVT_C_STORE, stored)])
    ae = AE("MOVER")
    ae.add_requested_context(ROOT_MOVE)
    association = ae.associate(archive.host, archive.port, ae_title=archive.aet)
    try:
        status, _ = list(association.send_c_move(asked, "DEST", ROOT_MOVE))[-1]
    finally:
        association.release()
        server.shutdown()
    return received, status


UNCOMPRESSED = [EXPLICIT_LE, IMPLICIT_LE]
MOVED = [(name, frames) for name, frames, _ in DECODED if name not in (MR, HEART)]  # those are stored uncompressed


@pytest.mark.parametrize("to", UNCOMPRESSED)
@pytest.mark.parametrize(("name", "frames"), MOVED)
def test_frames_are_decoded_for_a_destination_that_takes_only_uncompressed_syntaxes(
    archive: Served, held: dict[str, Dataset], destination_port: int, name: str, frames: list[int], to: str
) -> None:
    source = held[name]
    asked = frames_identifier(source.SOPInstanceUID, SimpleFrameList=frames)
    received, status = moved(archive, destination_port, asked, source.SOPClassUID, [to])
    assert (status.Status, len(received)) == (0x0000, 1), status.get("ErrorComment")
    assert received[0].file_meta.TransferSyntaxUID == to
    check_frames(received[0], source, name, frames)


@pytest.mark.parametrize("to", UNCOMPRESSED)
@pytest.mark.parametrize("name", sorted({name for name, _ in MOVED}))
def test_whole_objects_are_decoded_for_such_a_destination(
    archive: Served, held: dict[str, Dataset], destination_port: int, name: str, to: str
) -> None:
    source = held[name]
    asked = Dataset()
    asked.QueryRetrieveLevel, asked.SOPInstanceUID = "IMAGE", source.SOPInstanceUID
    received, status = moved(archive, destination_port, asked, source.SOPClassUID, [to])
    assert (status.Status, len(received)) == (0x0000, 1), status.get("ErrorComment")
    (made,) = received
    assert (made.file_meta.TransferSyntaxUID, made.SOPInstanceUID) == (to, source.SOPInstanceUID)
    assert (decoded(made) == decoded(readable(source, name))).all()


def test_a_destination_that_takes_only_lossy_syntaxes_gets_nothing(
    archive: Served, held: dict[str, Dataset], destination_port: int
) -> None:
    asked = frames_identifier(held[ULTRASOUND].SOPInstanceUID, SimpleFrameList=[2])
    received, status = moved(archive, destination_port, asked, US_MULTI_FRAME, ["1.2.840.10008.1.2.4.50"])
    assert (status.Status, status.NumberOfFailedSuboperations, received) == (0xA702, 1, [])
