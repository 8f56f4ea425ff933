"""Frames that a peer retrieves in a syntax that they are not stored in (PS3.4 Y.3.3), decoded by pydicom."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from conftest import Served, serve
from interop.parts import (
    CT_JPEG_LS,
    EXPLICIT_LE,
    HEART,
    IMPLICIT_LE,
    JPEG_LS,
    MR,
    ROOT_GET,
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

pytestmark = pytest.mark.filterwarnings("ignore")
FILES = (CT_JPEG_LS, ULTRASOUND, SEG_RLE, SEG_DEFLATED, SEG_BIG, MR, HEART)


@pytest.fixture(scope="module")
def held() -> dict[str, Dataset]:
    return {name: dcmread(corpus_folder() / name) for name in FILES}


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory, held: Any) -> Iterator[Served]:
    served = serve(tmp_path_factory.mktemp("decoded") / "data", "--durability", "off")
    try:
        post_files(served, [corpus_folder() / name for name in FILES])
        yield served
    finally:
        served.stop()


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
    assert (status.Status, made.file_meta.TransferSyntaxUID) == (0x0000, to[0])
    whole = source
    if name in (SEG_RLE, SEG_DEFLATED, SEG_BIG):  # pydicom doesn't read 1-bit RLE, deflated frames: the same picture
        whole = dcmread(corpus_folder() / "SEG" / "pydicom-data__liver_j2k.dcm")
    assert (decoded(made) == decoded(whole)[[number - 1 for number in frames]]).all()
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
