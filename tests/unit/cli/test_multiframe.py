"""`sagittal multiframe`: enhanced images to single frames and back; independent reading by pydicom."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import (
    MPEG2MPML,
    UID,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)

from sagittal.cli.images.multiframe import command
from sagittal.errors import NotAcceptable, UsageError

CT, ENHANCED_CT = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.2.1"


def item(**given: Any) -> Dataset:
    made = Dataset()
    for name, value in given.items():
        setattr(made, name, value)
    return made


def run(*words: Any) -> Result:
    return CliRunner().invoke(command, list(map(str, words)), standalone_mode=False, catch_exceptions=False)


def image(sop_class: str, uid: str, pixels: Any, **more: Any) -> Dataset:
    made = item(SOPClassUID=sop_class, SOPInstanceUID=uid, StudyInstanceUID="1.2.3", SeriesInstanceUID="1.2.3.4")
    made.PatientName, made.PatientID, made.Modality, made.InstanceNumber = "Doe^Jane", "P1", "CT", 3
    made.Rows, made.Columns = pixels.shape[-2:]
    bits = pixels.dtype.itemsize * 8
    made.SamplesPerPixel, made.BitsAllocated, made.BitsStored, made.HighBit = 1, bits, bits, bits - 1
    made.PixelRepresentation, made.PhotometricInterpretation = 0, "MONOCHROME2"
    made.PixelData = pixels.tobytes()
    made["PixelData"].VR = "OW" if bits == 16 else "OB"
    for name, value in more.items():
        setattr(made, name, value)
    return made


def write(path: Path, made: Dataset, syntax: str = ExplicitVRLittleEndian) -> Path:
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    if syntax == RLELossless:
        made.compress(RLELossless, generate_instance_uid=False)
    elif syntax == ExplicitVRBigEndian:
        made.PixelData = np.frombuffer(made.PixelData, "<u2").astype(">u2").tobytes()
    made.file_meta.TransferSyntaxUID = UID(syntax)
    path.parent.mkdir(exist_ok=True)
    made.save_as(path, enforce_file_format=True)
    return path


def enhanced(frames: int = 3) -> Dataset:
    pixels = np.random.default_rng(7).integers(0, 65536, (frames, 6, 5), np.uint16)
    made = image(ENHANCED_CT, "1.2.3.4.5", pixels, NumberOfFrames=frames, ImageType=["MIXED", "PRIMARY", "X", "NONE"])
    shared = item(
        PixelMeasuresSequence=Sequence([item(PixelSpacing=[0.5, 0.25], SliceThickness=2)]),
        PlaneOrientationSequence=Sequence([item(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])]),
        PixelValueTransformationSequence=Sequence([item(RescaleIntercept=-1024, RescaleSlope=1, RescaleType="HU")]),
    )
    block = shared.private_block(0x0021, "ACME", create=True)
    block.add_new(1, "LO", "kept")
    per_frame = []
    for number in range(1, frames + 1):
        content = item(FrameAcquisitionNumber=number + 7, FrameAcquisitionDateTime="20260102101530.5")
        exposure = item(ExposureTimeInms=500.0, XRayTubeCurrentInmA=120.4)
        kind = item(FrameType=["ORIGINAL", "PRIMARY", "VOLUME", "NONE"])
        place = item(ImagePositionPatient=[0, 0, 2.5 * number])
        group = item(FrameContentSequence=Sequence([content]), PlanePositionSequence=Sequence([place]))
        group.CTExposureSequence, group.CTImageFrameTypeSequence = Sequence([exposure]), Sequence([kind])
        per_frame.append(group)
    made.SharedFunctionalGroupsSequence, made.PerFrameFunctionalGroupsSequence = Sequence([shared]), Sequence(per_frame)
    return made


SYNTAXES = [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian, RLELossless]


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_an_enhanced_ct_becomes_classic_ones(tmp_path: Path, syntax: str) -> None:
    source = enhanced()
    pixels = np.frombuffer(source.PixelData, "<u2").reshape(3, 6, 5)
    done = run("split", write(tmp_path / "e.dcm", source, syntax), "-o", tmp_path / "out", "--json")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.return_value == 0 and [row["frame"] for row in rows] == [1, 2, 3]
    for number, row in enumerate(rows, start=1):
        made = dcmread(row["written"])
        assert made.file_meta.TransferSyntaxUID == (ExplicitVRLittleEndian if syntax == SYNTAXES[2] else syntax)
        assert (made.pixel_array == pixels[number - 1]).all()
        assert made.SOPClassUID == CT and "NumberOfFrames" not in made and made.InstanceNumber == 30_000 + number
        assert made.SOPInstanceUID == row["sop_instance_uid"] == made.file_meta.MediaStorageSOPInstanceUID
        assert made.SeriesInstanceUID != source.SeriesInstanceUID and made.StudyInstanceUID == "1.2.3"
        assert made.ImagePositionPatient == [0, 0, 2.5 * number] and made.PixelSpacing == [0.5, 0.25]
        assert (made.RescaleIntercept, made.SliceThickness) == (-1024, 2)
        assert (made.ExposureTime, made.XRayTubeCurrent) == (500, 120)
        assert (made.AcquisitionNumber, made.AcquisitionTime) == (number + 7, "101530.5")
        assert made.ImageType == ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
        assert made.private_block(0x0021, "ACME")[1].value in ("kept", b"kept")
        came_from = made.SourceImageSequence[0]
        assert came_from.ReferencedSOPInstanceUID == "1.2.3.4.5" and came_from.ReferencedFrameNumber == number


def test_folders_keep_their_shape(tmp_path: Path) -> None:
    made = image("1.2.840.10008.5.1.4.1.1.7.2", "1.2.9.1", np.zeros((2, 4, 4), np.uint8), NumberOfFrames=2)
    (tmp_path / "in" / "sub").mkdir(parents=True)
    write(tmp_path / "in" / "sub" / "a.dcm", made)
    assert run("split", tmp_path / "in", "-o", tmp_path / "out").return_value == 0
    assert sorted(path.name for path in (tmp_path / "out" / "sub").iterdir()) == ["a-0001.dcm", "a-0002.dcm"]


def test_splitting_again_gives_the_same_instances(tmp_path: Path) -> None:
    path = write(tmp_path / "e.dcm", enhanced())
    run("split", path, "-o", tmp_path / "a")
    run("split", path, "-o", tmp_path / "b", "--keep-series")
    one, other = dcmread(tmp_path / "a" / "e-0002.dcm"), dcmread(tmp_path / "b" / "e-0002.dcm")
    assert one.SOPInstanceUID == other.SOPInstanceUID and other.SeriesInstanceUID == "1.2.3.4"


@pytest.mark.parametrize("syntax", SYNTAXES[:2] + SYNTAXES[3:])
def test_single_frames_joined_and_split_are_as_they_were(tmp_path: Path, syntax: str) -> None:
    originals = []
    for number in (1, 2, 3):
        pixels = np.random.default_rng(number).integers(0, 65536, (6, 5), np.uint16)
        made = image(CT, f"1.2.9.{number}", pixels, InstanceNumber=number, ImagePositionPatient=[0, 0, number])
        made.ImageOrientationPatient, made.PixelSpacing, made.KVP = [1, 0, 0, 0, 1, 0], [1, 1], "120"
        made.RescaleSlope, made.RescaleIntercept, made.ImageComments = 1, -number, f"slice {number} ü"
        made.SpecificCharacterSet, made.ImageType = "ISO_IR 100", ["ORIGINAL", "PRIMARY", "AXIAL"]
        made.AcquisitionNumber, made.AcquisitionDate, made.AcquisitionTime = 4, "20260102", f"10000{number}"
        made.ReferencedImageSequence = Sequence([item(ReferencedSOPInstanceUID=f"1.2.8.{number}")])
        block = made.private_block(0x0029, "ACME", create=True)
        for at, vr, value in ((1, "LO", "the same"), (2, "LO", f"of {number}"), (3, "OB", b"\1" * 9000)):
            block.add_new(at, vr, value)
        originals.append(made)
        write(tmp_path / "in" / f"{9 - number}.dcm", made, syntax)
    path = tmp_path / "no" / "folder" / "joined.dcm"
    assert run("join", tmp_path / "in", "-o", path).return_value == 0
    joined = dcmread(path)
    assert joined.SOPClassUID == "1.2.840.10008.5.1.4.1.1.2.2" and joined.NumberOfFrames == 3
    assert joined.file_meta.TransferSyntaxUID == syntax and joined.PatientName == "Doe^Jane"
    assert (joined.pixel_array == np.stack([made.pixel_array for made in originals])).all()
    shared, per_frame = joined.SharedFunctionalGroupsSequence[0], joined.PerFrameFunctionalGroupsSequence
    assert shared.PixelMeasuresSequence[0].PixelSpacing == [1, 1] and "KVP" not in joined
    assert shared.UnassignedSharedConvertedAttributesSequence[0].KVP == 120
    assert [one.PlanePositionSequence[0].ImagePositionPatient[2] for one in per_frame] == [1, 2, 3]
    assert [one.ConversionSourceAttributesSequence[0].ReferencedSOPInstanceUID for one in per_frame] == [
        made.SOPInstanceUID for made in originals
    ]
    run("split", path, "-o", tmp_path / "out")
    own = {"SOPInstanceUID", "SeriesInstanceUID", "InstanceNumber", "SpecificCharacterSet", "PixelData"}
    for number, original in enumerate(originals, start=1):
        again = dcmread(tmp_path / "out" / f"joined-{number:04}.dcm")
        for element in original:
            if element.keyword not in own:
                value = again[element.tag].value  # bytes where Implicit VR does not say what they are
                assert value == (
                    element.value.encode() if isinstance(value, bytes) and element.VR == "LO" else element.value
                )
        assert (again.pixel_array == original.pixel_array).all()


def test_pet_stays_as_it_was(tmp_path: Path) -> None:
    pet = "1.2.840.10008.5.1.4.1.1.128"
    for number in (1, 2):
        pixels = np.full((4, 4), number, np.uint16)
        made = image(pet, f"1.2.9.{number}", pixels, InstanceNumber=number, ImageType=["ORIGINAL", "PRIMARY"])
        made.ActualFrameDuration, made.FrameTime, made.RescaleSlope, made.RescaleIntercept = 180_000, 250, number, 0
        write(tmp_path / "in" / f"{number}.dcm", made)
    run("join", tmp_path / "in", "-o", tmp_path / "joined.dcm")
    run("split", tmp_path / "joined.dcm", "-o", tmp_path / "out")
    for number in (1, 2):
        again = dcmread(tmp_path / "out" / f"joined-{number:04}.dcm")
        assert (again.SOPClassUID, again.RescaleSlope, again.ImageType) == (pet, number, ["ORIGINAL", "PRIMARY"])
        assert (again.ActualFrameDuration, again.FrameTime) == (180_000, 250)  # without them no uptake can be told


def test_an_enhanced_pet_says_how_long_it_took(tmp_path: Path) -> None:
    made = image("1.2.840.10008.5.1.4.1.1.130", "1.2.9", np.zeros((2, 4, 4), np.uint16), NumberOfFrames=2)
    made.PerFrameFunctionalGroupsSequence = Sequence(
        [item(FrameContentSequence=Sequence([item(FrameAcquisitionDuration=float(ms))])) for ms in (60_000, 90_000)]
    )
    run("split", write(tmp_path / "pet.dcm", made), "-o", tmp_path / "out")
    found = [dcmread(path).ActualFrameDuration for path in sorted((tmp_path / "out").iterdir())]
    assert found == [60_000, 90_000]


@pytest.mark.parametrize(
    ("said", "sequence", "variant", "options"),
    [
        ({"EchoPulseSequence": "SPIN"}, "SE", "NONE", None),
        (
            {"EchoPulseSequence": "BOTH", "InversionRecovery": "YES", "EchoPlanarPulseSequence": "YES",
             "InversionTimes": [120.5]}, ["SE", "GR", "IR", "EP"], "NONE", None,
        ),
        (
            {"EchoPulseSequence": "GRADIENT", "EchoPlanarPulseSequence": "NO", "SegmentedKSpaceTraversal": "PARTIAL",
             "MagnetizationTransfer": "ON_RESONANCE", "SteadyStatePulseSequence": "TIME_REVERSED", "Spoiling": "RF",
             "OversamplingPhase": "2D"}, "GR", ["SK", "MTC", "TRSS", "SP", "OSP"], None,
        ),
        (
            {"EchoPulseSequence": "SPIN", "SegmentedKSpaceTraversal": "SINGLE", "SteadyStatePulseSequence": "NONE",
             "RectilinearPhaseEncodeReordering": "CENTRIC", "CardiacSynchronizationTechnique": "PROSPECTIVE",
             "FlowCompensation": "NONE", "PartialFourierDirection": "PHASE", "SpatialPresaturation": "SLAB",
             "SpectrallySelectedSuppression": "FAT"}, "SE", "NONE", ["PER", "CG", "PFP", "SP", "FS"],
        ),
        ({"ScanningSequence": "RM", "EchoPulseSequence": "SPIN"}, "RM", None, None),  # as it was before it was joined
    ],
)  # fmt: skip
def test_an_enhanced_mr_tells_its_pulse_sequence_in_classic_terms(
    tmp_path: Path, said: dict[str, Any], sequence: Any, variant: Any, options: Any
) -> None:
    made = image("1.2.840.10008.5.1.4.1.1.4.1", "1.2.9", np.zeros((4, 4), np.uint16), NumberOfFrames=1)
    made.SharedFunctionalGroupsSequence = Sequence([item(MRModifierSequence=Sequence([item(**said)]))])
    run("split", write(tmp_path / "mr.dcm", made), "-o", tmp_path / "out")
    one = dcmread(tmp_path / "out" / "mr-0001.dcm")
    assert one.SOPClassUID == "1.2.840.10008.5.1.4.1.1.4" and one.ScanningSequence == sequence
    assert (one.get("SequenceVariant"), one.get("ScanOptions") or None) == (variant, options)
    assert one.get("InversionTime") == said.get("InversionTimes", [None])[0]


def test_what_is_no_ct_mr_or_pet_becomes_secondary_capture(tmp_path: Path) -> None:
    pixels = np.arange(4 * 6 * 5, dtype=np.uint8).reshape(4, 6, 5)
    for number in range(4):
        us = image("1.2.840.10008.5.1.4.1.1.6.1", f"1.2.9.{number}", pixels[number], InstanceNumber=number)
        write(tmp_path / "in" / f"{number}.dcm", us)
    run("join", tmp_path / "in", "-o", tmp_path / "joined.dcm")
    joined = dcmread(tmp_path / "joined.dcm")
    assert joined.SOPClassUID == "1.2.840.10008.5.1.4.1.1.7.2" and (joined.pixel_array == pixels).all()
    assert joined.FrameIncrementPointer == 0x52009230 and joined.BurnedInAnnotation == "YES"
    run("join", tmp_path / "in", "-o", tmp_path / "kept.dcm", "--keep-series")
    assert dcmread(tmp_path / "kept.dcm").SeriesInstanceUID == us.SeriesInstanceUID != joined.SeriesInstanceUID


@pytest.mark.parametrize("entries", [256, 65_535])  # short enough for the metadata, and by place
def test_images_of_one_palette_are_joined_and_others_not(tmp_path: Path, entries: int) -> None:
    palette = np.arange(entries, dtype="<u2")
    pixels = np.arange(12, dtype=np.uint8).reshape(3, 4)
    for number in (1, 2, 3):
        more: dict[str, Any] = {"PhotometricInterpretation": "PALETTE COLOR", "ICCProfile": bytes(70_000)}
        for color in ("Red", "Green", "Blue"):
            more[f"{color}PaletteColorLookupTableDescriptor"] = [entries, 0, 16]
            more[f"{color}PaletteColorLookupTableData"] = (palette + (number == 3)).tobytes()
        made = image("1.2.840.10008.5.1.4.1.1.7", f"1.2.3.{number}", pixels, InstanceNumber=number, **more)
        write(tmp_path / f"{number}.dcm", made)
    run("join", tmp_path / "1.dcm", tmp_path / "2.dcm", "-o", tmp_path / "j.dcm")
    joined = dcmread(tmp_path / "j.dcm")
    assert joined.RedPaletteColorLookupTableData == palette.tobytes() and len(joined.ICCProfile) == 70_000
    assert "PresentationLUTShape" not in joined  # that is of MONOCHROME2 (PS3.3 C.8.6.3)
    with pytest.raises(NotAcceptable, match=r"differ in \(0028,1201\)"):
        run("join", *(tmp_path / f"{number}.dcm" for number in (1, 2, 3)), "-o", tmp_path / "other.dcm")


def test_bits_that_begin_inside_a_byte(tmp_path: Path) -> None:
    bits = np.random.default_rng(3).integers(0, 2, (3, 3, 5), np.uint8)
    made = image("1.2.840.10008.5.1.4.1.1.7.1", "1.2.9", np.zeros((3, 5), np.uint8), NumberOfFrames=3)
    made.BitsAllocated, made.BitsStored, made.HighBit = 1, 1, 0
    made.PixelData = np.packbits(bits.reshape(-1), bitorder="little").tobytes()
    run("split", write(tmp_path / "bits.dcm", made), "-o", tmp_path / "out")
    assert (np.stack([dcmread(path).pixel_array for path in sorted((tmp_path / "out").iterdir())]) == bits).all()
    run("join", tmp_path / "out", "-o", tmp_path / "joined.dcm")
    joined = dcmread(tmp_path / "joined.dcm")
    assert joined.SOPClassUID == "1.2.840.10008.5.1.4.1.1.7.1" and (joined.pixel_array == bits).all()


def test_vectors_angles_and_overlays_by_frame(tmp_path: Path) -> None:
    made = image("1.2.840.10008.5.1.4.1.1.12.1", "1.2.9", np.zeros((3, 4, 4), np.uint8), NumberOfFrames=3)
    made.FrameTimeVector, made.FrameIncrementPointer = [0, 10, 10], 0x00181065
    made.PositionerPrimaryAngle, made.PositionerPrimaryAngleIncrement = -10, [0, 1.5, 3]
    for element, vr, value in ((0x10, "US", 2), (0x11, "US", 2), (0x15, "IS", 2), (0x51, "US", 2), (0x100, "US", 1)):
        made.add_new(0x60000000 | element, vr, value)
    made.add_new(0x60003000, "OW", b"\xc9\x00")  # of frames 2 and 3: 1001, 0011 (the first pixel is the lowest bit)
    run("split", write(tmp_path / "xa.dcm", made), "-o", tmp_path / "out")
    first, second, third = (dcmread(path) for path in sorted((tmp_path / "out").iterdir()))
    assert [one.PositionerPrimaryAngle for one in (first, second, third)] == [-10, -8.5, -7]
    assert "FrameTimeVector" not in second and "FrameIncrementPointer" not in second
    assert 0x60003000 not in first and 0x60000010 not in first
    assert second[0x60003000].value == b"\x09\x00" and third[0x60003000].value == b"\x0c\x00"
    assert 0x60000015 not in third


def test_frames_of_a_concatenation_are_counted_on(tmp_path: Path) -> None:
    for part, offset in ((1, 0), (2, 3)):
        made = enhanced()
        made.SOPInstanceUID, made.ConcatenationFrameOffsetNumber, made.InConcatenationNumber = (
            f"1.2.{part}",
            offset,
            part,
        )
        made.ConcatenationUID = "1.2.5"
        run("split", write(tmp_path / f"{part}.dcm", made), "-o", tmp_path / "out")
    found = [dcmread(path) for path in sorted((tmp_path / "out").iterdir())]
    assert [one.InstanceNumber for one in found] == [30_001 + n for n in range(6)]
    assert not any("ConcatenationUID" in one or "ConcatenationFrameOffsetNumber" in one for one in found)


def test_no_result_takes_the_place_of_a_source_or_of_another_result(tmp_path: Path) -> None:
    source = tmp_path / "in"
    source.mkdir()
    one, two = write(source / "a.dcm", enhanced()), write(source / "a.img", enhanced())
    with pytest.raises(UsageError, match="would have the same names"):
        run("split", source, "-o", tmp_path / "out")
    two.rename(source / "a-0001.dcm")
    with pytest.raises(UsageError, match=r"a-0001\.dcm is one of the sources"):
        run("split", source, "-o", source)
    with pytest.raises(UsageError, match=r"a\.dcm is one of the sources"):
        run("join", one, "-o", one)
    assert sorted(path.name for path in source.iterdir()) == ["a-0001.dcm", "a.dcm"]
    assert not (tmp_path / "out").exists()


def test_what_does_not_fit(tmp_path: Path) -> None:
    one = image(CT, "1.2.9.1", np.zeros((4, 4), np.uint16))
    wide = image(CT, "1.2.9.2", np.zeros((4, 5), np.uint16))
    other = image(CT, "1.2.9.3", np.zeros((4, 4), np.uint16), SeriesInstanceUID="1.2.3.9")
    paths = [write(tmp_path / f"{number}.dcm", made) for number, made in enumerate((one, wide, other))]
    for pair, told in (((0, 1), "differ in (0028,0011)"), ((0, 2), "2 different Series"), ((0, 0), "twice")):
        with pytest.raises(NotAcceptable, match=told.replace("(", r"\(").replace(")", r"\)")):
            run("join", *(paths[at] for at in pair), "-o", tmp_path / "joined.dcm")
    (tmp_path / "no.dcm").write_text("no DICOM")
    with pytest.raises(NotAcceptable, match=r"no\.dcm: not a DICOM file"):
        run("join", paths[0], tmp_path / "no.dcm", "-o", tmp_path / "joined.dcm")
    assert not (tmp_path / "joined.dcm").exists()
    segmentation = image("1.2.840.10008.5.1.4.1.1.66.4", "1.2.9.4", np.zeros((2, 4, 4), np.uint8), NumberOfFrames=2)
    done = run("split", write(tmp_path / "s.dcm", segmentation), "-o", tmp_path / "out")
    assert done.return_value == 1 and "no single-frame form" in done.stderr


def test_a_video_of_one_frame_is_not_joined(tmp_path: Path) -> None:
    made = image(CT, "1.2.3.9", np.zeros((4, 4), np.uint8), NumberOfFrames=1)
    made.PixelData = encapsulate([b"\0\0\x01\xb3"])
    source = write(tmp_path / "film.dcm", made, MPEG2MPML)
    with pytest.raises(NotAcceptable, match="video"):
        run("join", source, "-o", tmp_path / "joined.dcm")
    assert not (tmp_path / "joined.dcm").exists()


def test_a_pipe_that_nobody_writes_to_keeps_nobody_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    done = run("split", tmp_path / "pipe", "-o", tmp_path / "out")
    assert done.return_value == 1 and "pipe: not a regular file" in done.stderr
    with pytest.raises(NotAcceptable, match="pipe: not a regular file"):
        run("join", tmp_path / "pipe", "-o", tmp_path / "made.dcm")


def test_nothing_is_joined_of_an_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(NotAcceptable, match="no files to join"):
        run("join", tmp_path, "-o", tmp_path / "made.dcm")
