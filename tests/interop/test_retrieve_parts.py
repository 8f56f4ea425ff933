"""pynetdicom retrieves frames, instances by UID alone, and instances without bulk data (PS3.4 Y, Z)."""

from __future__ import annotations

from typing import Any

import pydicom
import pytest
from builders import build, uid
from conftest import Served
from interop.parts import (
    BULKLESS_GET,
    CINE,
    CT,
    CT_JPEG_LS,
    DOSE,
    EXPLICIT_LE,
    FILES,
    HEART,
    IMPLICIT_LE,
    JPEG_LS,
    MR,
    MULTI_FRAME_TRUE_COLOR,
    OVERLAY,
    REPORT,
    ROOT_GET,
    ROOT_MOVE,
    SEG,
    SEG_BIG,
    SEG_DEFLATED,
    SEG_RLE,
    SLIDE,
    ULTRASOUND,
    US_MULTI_FRAME,
    WAVES,
    WAVES_DEFLATED,
    frames_identifier,
    get,
    post_files,
)
from interop.questions import post
from programs import corpus_folder
from pydicom import Dataset, dcmread
from pydicom.encaps import generate_fragmented_frames
from pydicom.sequence import Sequence
from pynetdicom import AE, evt

pytestmark = pytest.mark.filterwarnings("ignore")
VIDEO, MPEG2 = "1.2.840.10008.5.1.4.1.1.77.1.1.1", "1.2.840.10008.1.2.4.100"


@pytest.fixture(scope="module")
def held() -> dict[str, Dataset]:
    return {name: dcmread(corpus_folder() / name) for name in FILES}


@pytest.fixture(scope="module")
def archive(moving: Served) -> Served:
    post_files(moving, [corpus_folder() / name for name in FILES])
    post(moving, [timed(), build(1, study="single")])
    return moving


def timed() -> Any:
    """Six frames with 40 ms between them, a private attribute, an overlay by frame and a pointer to a frame."""
    extra = {"FrameTime": "40", "FrameIncrementPointer": b"\x18\x00\x63\x10", "RepresentativeFrameNumber": b"\2\0"}
    extra |= {"SpecificCharacterSet": "", "PatientComments": "x" * 200}
    return build(1, study="timed", frames=6, sop_class_uid=MULTI_FRAME_TRUE_COLOR, extra=extra)


def pixel_frames(data_set: Dataset) -> list[Any]:
    """The raw bytes of each frame; those of one bit a pixel as text of noughts and ones."""
    count = int(data_set.get("NumberOfFrames", 1))
    if data_set.file_meta.TransferSyntaxUID.is_encapsulated:
        return list(generate_fragmented_frames(data_set.PixelData, number_of_frames=count))
    pixels = data_set.Rows * data_set.Columns * data_set.get("SamplesPerPixel", 1)
    if data_set.BitsAllocated == 1:
        bits = "".join(f"{byte:08b}"[::-1] for byte in data_set.PixelData)
        return [bits[number * pixels : (number + 1) * pixels] for number in range(count)]
    size = pixels * data_set.BitsAllocated // 8
    return [data_set.PixelData[number * size : (number + 1) * size] for number in range(count)]


# file, key, value, which frames that is
LISTS = [
    (CT, "SimpleFrameList", 2, [2]),
    (MR, "SimpleFrameList", [1, 4, 10], [1, 4, 10]),
    (MR, "SimpleFrameList", [9, 10, 11, 99], [9, 10]),
    (MR, "CalculatedFrameList", [1, 4, 2, 7, 0xFFFFFFFF, 1], [1, 3, 7, 8, 9, 10]),
    (CINE, "CalculatedFrameList", [2, 3, 1], [2, 3]),
    (HEART, "SimpleFrameList", [3, 4, 9], [3, 4, 9]),
    (DOSE, "CalculatedFrameList", [1, 0xFFFFFFFF, 7], [1, 8, 15]),
    (SEG, "SimpleFrameList", [2, 3], [2, 3]),
    (CT_JPEG_LS, "SimpleFrameList", 2, [2]),
    (ULTRASOUND, "SimpleFrameList", [2, 4, 6], [2, 4, 6]),
    (SEG_RLE, "SimpleFrameList", [1, 3], [1, 3]),
    (SEG_DEFLATED, "SimpleFrameList", [3], [3]),
]


@pytest.mark.parametrize(("name", "key", "value", "frames"), LISTS)
def test_frames_become_a_new_instance(
    archive: Served, held: dict[str, Dataset], name: str, key: str, value: Any, frames: list[int]
) -> None:
    source = held[name]
    asked = frames_identifier(source.SOPInstanceUID, **{key: value})
    syntax = source.file_meta.TransferSyntaxUID
    received, status, _ = get(archive, ROOT_GET, asked, source.SOPClassUID, [syntax])
    assert (status.Status, status.NumberOfCompletedSuboperations) == (0x0000, 1)
    (made,) = received
    all_frames = pixel_frames(source)
    assert pixel_frames(made) == [all_frames[number - 1] for number in frames]
    check_header(source, made, frames, key, value)


def check_header(source: Dataset, made: Dataset, frames: list[int], key: str, value: Any) -> None:
    assert made.SOPInstanceUID != source.SOPInstanceUID
    assert made.file_meta.TransferSyntaxUID == source.file_meta.TransferSyntaxUID
    assert int(made.NumberOfFrames) == len(frames)
    extraction = made.FrameExtractionSequence[-1]
    assert extraction.MultiFrameSourceSOPInstanceUID == source.SOPInstanceUID
    asked = extraction[key].value
    assert (asked if isinstance(asked, int) else list(asked)) == (value[0] if value == frames[:1] else value)
    purpose = made.ContributingEquipmentSequence[-1].PurposeOfReferenceCodeSequence[0]
    assert purpose.CodeValue == "109105"
    per_frame = "PerFrameFunctionalGroupsSequence"
    if per_frame in source:
        groups = [without_private(source[per_frame][number - 1]) for number in frames]
        assert list(made[per_frame].value) == groups
    changed = {"SOPInstanceUID", "NumberOfFrames", "FrameExtractionSequence", "ContributingEquipmentSequence"}
    changed |= {"PixelData", per_frame, "SliceVector", "FrameTime", "FrameIncrementPointer", "FrameTimeVector"}
    changed |= {"GridFrameOffsetVector", "DataSetTrailingPadding", "DigitalSignaturesSequence", "MACParametersSequence"}
    changed |= {"ExtendedOffsetTable", "ExtendedOffsetTableLengths"}
    changed |= {"SmallestImagePixelValue", "LargestImagePixelValue"}  # the instance has to agree with itself (Y.3.3)
    before = {element.tag: element for element in without_private(source) if element.keyword not in changed}
    after = {element.tag: element for element in made if element.keyword not in changed}
    assert after == {tag: element for tag, element in before.items() if element.tag.element}


def without_private(data_set: Dataset) -> Dataset:
    kept = Dataset()
    for element in data_set:
        if element.tag.is_private or element.tag.group == 2:
            continue
        if element.VR == "SQ":
            kept.add_new(element.tag, "SQ", Sequence([without_private(item) for item in element.value]))
        else:
            kept.add(element)
    return kept


def test_vectors_follow_their_frames(archive: Served, held: dict[str, Dataset]) -> None:
    for name, keyword, values in ((HEART, "SliceVector", [2, 5]), (DOSE, "GridFrameOffsetVector", [1, 5])):
        source = held[name]
        asked = frames_identifier(source.SOPInstanceUID, SimpleFrameList=values)
        syntax = source.file_meta.TransferSyntaxUID
        received, _, _ = get(archive, ROOT_GET, asked, source.SOPClassUID, [syntax])
        expected = [source[keyword].value[number - 1] for number in values]
        assert list(received[0][keyword].value) == expected


def test_frame_times_of_chosen_frames_become_a_vector(archive: Served, held: dict[str, Dataset]) -> None:
    source = held[ULTRASOUND]
    asked = frames_identifier(source.SOPInstanceUID, SimpleFrameList=[2, 3, 6])
    received, _, _ = get(archive, ROOT_GET, asked, US_MULTI_FRAME, [JPEG_LS])
    assert [float(step) for step in received[0].FrameTimeVector] == [0, 76, 228]
    assert received[0].FrameIncrementPointer == 0x00181065
    assert "FrameTime" not in received[0]
    asked = frames_identifier(source.SOPInstanceUID, SimpleFrameList=[4, 5])
    received, _, _ = get(archive, ROOT_GET, asked, US_MULTI_FRAME, [JPEG_LS])
    assert float(received[0].FrameTime) == 76


@pytest.mark.parametrize("syntax", [EXPLICIT_LE, IMPLICIT_LE])
@pytest.mark.parametrize(
    ("seconds", "frames"), [([0.0, 0.05], [1, 2]), ([0.04, 0.12], [2, 3, 4]), ([0.15, 9.0], [5, 6])]
)
def test_a_range_of_seconds(archive: Served, seconds: list[float], frames: list[int], syntax: str) -> None:
    built = timed()
    asked = frames_identifier(built.sop_instance_uid, TimeRange=seconds)
    received, status, _ = get(archive, ROOT_GET, asked, MULTI_FRAME_TRUE_COLOR, [syntax])
    assert status.Status == 0x0000
    assert pixel_frames(received[0]) == [built.frames[number - 1] for number in frames]
    assert list(received[0].FrameExtractionSequence[0].TimeRange) == seconds
    assert "RepresentativeFrameNumber" not in received[0]
    assert received[0].PatientComments == "x" * 200


def test_an_extraction_of_an_extraction_tells_both(archive: Served) -> None:
    built = timed()
    asked = frames_identifier(built.sop_instance_uid, SimpleFrameList=[2, 4, 6])
    (first,), _, _ = get(archive, ROOT_GET, asked, MULTI_FRAME_TRUE_COLOR, [EXPLICIT_LE])
    path = archive.data.parent / "extracted.dcm"
    first.save_as(path, enforce_file_format=True)
    post_files(archive, [path])
    asked = frames_identifier(first.SOPInstanceUID, SimpleFrameList=[3])
    (second,), _, _ = get(archive, ROOT_GET, asked, MULTI_FRAME_TRUE_COLOR, [EXPLICIT_LE])
    sources = [item.MultiFrameSourceSOPInstanceUID for item in second.FrameExtractionSequence]
    assert sources == [built.sop_instance_uid, first.SOPInstanceUID]
    assert len(second.ContributingEquipmentSequence) == 2
    assert pixel_frames(second) == [built.frames[5]]


@pytest.mark.parametrize(
    ("name", "keys", "status"),
    [
        (MR, {"SimpleFrameList": [11, 12]}, 0xAA00),
        (SLIDE, {"SimpleFrameList": [1]}, 0xAA01),
        (WAVES, {"SimpleFrameList": [1]}, 0xAA01),
        (DOSE, {"SimpleFrameList": [2]}, 0xAA01),
        (SEG_BIG, {"SimpleFrameList": [1, 2]}, None),
        (MR, {"TimeRange": [0.0, 1.0]}, 0xAA03),
        (MR, {}, 0xAA04),
        (MR, {"SimpleFrameList": [2, 1]}, 0xAA04),
        (MR, {"SimpleFrameList": [1, 1]}, 0xAA04),
        (MR, {"SimpleFrameList": [0]}, 0xAA04),
        (MR, {"SimpleFrameList": [1], "TimeRange": [0.0, 1.0]}, 0xAA04),
        (MR, {"CalculatedFrameList": [1, 2]}, 0xAA04),
        (MR, {"CalculatedFrameList": [1, 5, 0]}, 0xAA04),
        (MR, {"CalculatedFrameList": [1, 5, 1, 5, 6, 1]}, 0xAA04),
        (MR, {"TimeRange": [1.0, 0.0]}, 0xAA04),
        (MR, {"TimeRange": [1.0]}, 0xAA04),
    ],
)
def test_frames_that_cannot_be_had(
    archive: Served, held: dict[str, Dataset], name: str, keys: dict[str, Any], status: int | None
) -> None:
    source = held[name]
    asked = frames_identifier(source.SOPInstanceUID, **keys)
    received, answered, _ = get(archive, ROOT_GET, asked, source.SOPClassUID, [source.file_meta.TransferSyntaxUID])
    if status is not None:
        assert (answered.Status, received) == (status, [])
    else:
        assert answered.Status == 0x0000
        assert pixel_frames(received[0]) == pixel_frames(source)[:2]


@pytest.mark.parametrize("keys", [{"SimpleFrameList": [1]}, {"CalculatedFrameList": [1, 0xFFFFFFFF, 1]}])
def test_frames_that_are_only_said(archive: Served, keys: dict[str, Any]) -> None:
    """Nobody makes a list of two thousand millions of them."""
    said = {"NumberOfFrames": str(2**31 - 1), "FrameTime": "40"}
    built = build(1, study="said", sop_class_uid=VIDEO, syntax_uid=MPEG2, extra=said)
    post(archive, [built])
    asked = frames_identifier(built.sop_instance_uid, **keys)
    received, status, _ = get(archive, ROOT_GET, asked, VIDEO, [MPEG2])
    assert (status.Status, received) == (0xAA01, [])


@pytest.mark.parametrize("uids", [[], ["1.2", "1.3"], ["not a UID"]])
def test_a_frame_level_identifier_names_one_instance(archive: Served, uids: list[str]) -> None:
    asked = frames_identifier("", SimpleFrameList=[1])
    asked.SOPInstanceUID = uids
    received, status, _ = get(archive, ROOT_GET, asked, US_MULTI_FRAME, [EXPLICIT_LE])
    assert (status.Status, received) == (0xA900, [])


def test_instances_by_their_uids_alone(archive: Served, held: dict[str, Dataset]) -> None:
    asked = Dataset()
    asked.QueryRetrieveLevel = "IMAGE"
    asked.SOPInstanceUID = [held[ULTRASOUND].SOPInstanceUID, "1.2.3.4.5", held[MR].SOPInstanceUID]
    received, status, _ = get(archive, ROOT_GET, asked, US_MULTI_FRAME, [JPEG_LS])
    assert (status.Status, status.NumberOfCompletedSuboperations) == (0xB000, 1)
    assert status.NumberOfFailedSuboperations == 1
    assert received == [held[ULTRASOUND]]


def test_frames_are_moved(archive: Served, held: dict[str, Dataset], destination_port: int) -> None:
    source = held[MR]
    kept: list[bytes] = []
    requests: list[Any] = []

    def stored(event: evt.Event) -> int:
        kept.append(event.dataset.PixelData)
        requests.append(event.request)
        return 0x0000

    destination = AE("DEST")
    destination.add_supported_context(source.SOPClassUID, [EXPLICIT_LE])
    server = destination.start_server(
        ("127.0.0.1", destination_port), block=False, evt_handlers=[(evt.EVT_C_STORE, stored)]
    )
    ae = AE("MOVER")
    ae.add_requested_context(ROOT_MOVE)
    association = ae.associate(archive.host, archive.port, ae_title=archive.aet)
    asked = frames_identifier(source.SOPInstanceUID, CalculatedFrameList=[2, 6, 4])
    final, _ = list(association.send_c_move(asked, "DEST", ROOT_MOVE, msg_id=9))[-1]
    association.release()
    server.shutdown()
    assert (final.Status, final.NumberOfCompletedSuboperations) == (0x0000, 1)
    (request,) = requests
    assert request.AffectedSOPInstanceUID != source.SOPInstanceUID
    assert (request.MoveOriginatorApplicationEntityTitle, request.MoveOriginatorMessageID) == ("MOVER", 9)
    frames = pixel_frames(source)
    assert kept == [frames[1] + frames[5]]


@pytest.mark.parametrize(
    ("name", "to"),
    [
        *((name, "") for name in (MR, CINE, CT_JPEG_LS, WAVES, WAVES_DEFLATED, REPORT, OVERLAY, SEG_BIG)),
        (WAVES, IMPLICIT_LE),
        (WAVES_DEFLATED, EXPLICIT_LE),
        (CT_JPEG_LS, EXPLICIT_LE),
        (ULTRASOUND, IMPLICIT_LE),
        (CINE, EXPLICIT_LE),
    ],
)
def test_instances_without_bulk_data(archive: Served, held: dict[str, Dataset], name: str, to: str) -> None:
    source = pydicom.dcmread(corpus_folder() / name)
    asked = Dataset()
    asked.QueryRetrieveLevel = "IMAGE"
    asked.SOPInstanceUID = source.SOPInstanceUID
    syntax = to or source.file_meta.TransferSyntaxUID
    received, status, _ = get(archive, BULKLESS_GET, asked, source.SOPClassUID, [syntax])
    assert (status.Status, status.NumberOfCompletedSuboperations) == (0x0000, 1)
    (made,) = received
    assert made.file_meta.TransferSyntaxUID == syntax
    for keyword in ("PixelData", "FloatPixelData"):
        assert keyword not in made
        source.pop(keyword, None)
    for group in range(0x6000, 0x6020, 2):
        assert (group, 0x3000) not in made
        source.pop((group, 0x3000), None)
    for item in source.get("WaveformSequence", ()):
        del item.WaveformData
    for each in (source, made):
        for element in [element for element in each if not element.tag.element]:
            del each[element.tag]
    if to == IMPLICIT_LE:  # which forgets the VRs of private elements
        made, source = without_private(made), without_private(source)
    assert made == source


def test_an_unknown_instance_is_no_error(archive: Served) -> None:
    asked = Dataset()
    asked.QueryRetrieveLevel = "IMAGE"
    asked.SOPInstanceUID = uid("nothing")
    for model in (ROOT_GET, BULKLESS_GET):
        received, status, _ = get(archive, model, asked, US_MULTI_FRAME, [EXPLICIT_LE])
        assert (status.Status, received) == (0x0000, [])
