"""What the tests of rendering store: an image, frames, colour, and what is shown over an image or instead of one."""

from __future__ import annotations

from typing import Any

import numpy as np

STORAGE = "1.2.840.10008.5.1.4.1.1."
STUDY = "2.25.77001"
RAMP = np.arange(64 * 48, dtype=np.int16).reshape(48, 64) - 1000


def dataset(number: int, sop_class: str, **more: Any) -> Any:
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian

    made = Dataset()
    made.SOPClassUID, made.SOPInstanceUID = STORAGE + sop_class, f"{STUDY}.3.{number}"
    made.StudyInstanceUID, made.SeriesInstanceUID = STUDY, f"{STUDY}.2.{sop_class}"
    made.PatientName, made.PatientID, made.InstanceNumber = "Doe^Jane", "77", number
    for name, value in more.items():
        setattr(made, name, value)
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.file_meta.MediaStorageSOPClassUID = made.SOPClassUID
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID
    return made


def image(number: int, pixels: Any, sop_class: str = "2", **more: Any) -> Any:
    held = np.asarray(pixels)
    frames = 1 if held.ndim == 2 or (held.ndim == 3 and held.shape[-1] == 3) else held.shape[0]
    color = held.shape[-1] == 3
    rows, columns = held.shape[-3:-1] if color else held.shape[-2:]
    bits = held.dtype.itemsize * 8
    made = dataset(
        number, sop_class, Rows=rows, Columns=columns, SamplesPerPixel=3 if color else 1, BitsAllocated=bits,
        BitsStored=bits, HighBit=bits - 1, PixelRepresentation=int(held.dtype.kind == "i"),
        PhotometricInterpretation="RGB" if color else "MONOCHROME2",
    )  # fmt: skip
    if color:
        made.PlanarConfiguration = 0
    if frames > 1:
        made.NumberOfFrames = frames
    for name, value in more.items():
        setattr(made, name, value)
    made.add_new(0x7FE00010, "OB" if bits == 8 else "OW", held.tobytes())
    return made


def item(**values: Any) -> Any:
    from pydicom.dataset import Dataset

    made = Dataset()
    for name, value in values.items():
        setattr(made, name, value)
    return made


PLANE = {"ImagePositionPatient": [0, 0, 0], "ImageOrientationPatient": [1, 0, 0, 0, 1, 0], "PixelSpacing": [1, 1]}
CODE = {"CodeValue": "1", "CodingSchemeDesignator": "99X", "CodeMeaning": "Finding"}


def objects() -> dict[str, Any]:
    """One data set of each kind that is rendered in a way of its own."""
    window = {"WindowCenter": 536, "WindowWidth": 3073, "RescaleSlope": 1, "RescaleIntercept": 0}
    frames = np.stack([np.full((32, 40), level, np.uint8) for level in (10, 120, 250)])
    color = np.zeros((20, 30, 3), np.uint8)
    color[:, :15, 0] = color[:, 15:, 2] = 255
    ct = image(1, RAMP, **window, **PLANE)
    made = {"ct": ct, "frames": image(2, frames, "7.2", FrameTime=250), "color": image(3, color, "7")}
    made |= _over(ct) | {"labels": _labels(ct, made["frames"]), "marked": _marked(made["frames"])} | _without_image(ct)
    return made | {"plan": dataset(11, "481.5", RTPlanLabel="P")}


def reference(to: Any) -> Any:
    return item(ReferencedSOPClassUID=to.SOPClassUID, ReferencedSOPInstanceUID=to.SOPInstanceUID)


def _over(ct: Any) -> dict[str, Any]:
    """What is shown over another image: a presentation state, structures, segments."""
    state = dataset(5, "11.1", PresentationLUTShape="INVERSE", ImageRotation=90, ImageHorizontalFlip="N")
    state.ReferencedSeriesSequence = [
        item(SeriesInstanceUID=ct.SeriesInstanceUID, ReferencedImageSequence=[reference(ct)])
    ]
    state.SoftcopyVOILUTSequence = [item(WindowCenter=536, WindowWidth=3073)]
    contour = item(
        ContourImageSequence=[reference(ct)], ContourGeometricType="CLOSED_PLANAR", NumberOfContourPoints=4,
        ContourData=[10, 10, 0, 30, 10, 0, 30, 30, 0, 10, 30, 0],
    )  # fmt: skip
    structures = dataset(6, "481.3")
    structures.ROIContourSequence = [item(ROIDisplayColor=[255, 0, 0], ContourSequence=[contour])]
    mask = np.zeros((48, 64), np.uint8)
    mask[:24] = 1
    segmentation = image(7, mask, "66.4", NumberOfFrames=1, SegmentationType="FRACTIONAL", MaximumFractionalValue=1)
    segmentation.SegmentSequence = [item(SegmentNumber=1, SegmentLabel="half")]
    segmentation.PerFrameFunctionalGroupsSequence = [
        item(
            DerivationImageSequence=[item(SourceImageSequence=[reference(ct)])],
            SegmentIdentificationSequence=[item(ReferencedSegmentNumber=1)],
        )
    ]
    alone = image(14, mask, "66.4", SegmentationType="FRACTIONAL", MaximumFractionalValue=1)  # nor Number of Frames
    alone.SegmentSequence = segmentation.SegmentSequence
    return {"state": state, "structures": structures, "segmentation": segmentation, "alone": alone}


def _labels(ct: Any, frames: Any) -> Any:
    """A label map of two frames: over an image, and over the third frame of another."""
    numbers = np.zeros((2, 48, 64), np.uint8)
    numbers[0, :24], numbers[1, :, :20] = 1, 2
    made = image(12, numbers, "66.7", SegmentationType="LABELMAP", PixelPaddingValue=0)
    red, green = [34939, 53485, 50171], [57000, 12000, 52000]
    made.SegmentSequence = [
        item(SegmentNumber=n, SegmentLabel=f"segment {n}", RecommendedDisplayCIELabValue=lab)
        for n, lab in ((1, red), (2, green))
    ]
    third = reference(frames)
    third.ReferencedFrameNumber = 3
    made.PerFrameFunctionalGroupsSequence = [
        item(DerivationImageSequence=[item(SourceImageSequence=[source])]) for source in (reference(ct), third)
    ]
    return made


def _marked(frames: Any) -> Any:
    """A segmentation of two frames, over the first and the third of an image."""
    mask = np.zeros((2, 32, 40), np.uint8)
    mask[:, :8] = 1
    made = image(13, mask, "66.4", SegmentationType="FRACTIONAL", MaximumFractionalValue=1)
    made.SegmentSequence = [item(SegmentNumber=1, SegmentLabel="top")]
    made.PerFrameFunctionalGroupsSequence = []
    for number in (1, 3):
        source = reference(frames)
        source.ReferencedFrameNumber = number
        made.PerFrameFunctionalGroupsSequence.append(
            item(
                DerivationImageSequence=[item(SourceImageSequence=[source])],
                SegmentIdentificationSequence=[item(ReferencedSegmentNumber=1)],
            )
        )
    return made


def _without_image(ct: Any) -> dict[str, Any]:
    """A report about an image, a document, a waveform."""
    report = dataset(8, "88.11", ValueType="CONTAINER", ConceptNameCodeSequence=[item(**CODE)])
    report.ContentSequence = [
        item(ValueType="TEXT", ConceptNameCodeSequence=[item(**CODE)], TextValue="<b>nothing</b>"),
        item(ValueType="IMAGE", ReferencedSOPSequence=[reference(ct)]),
    ]
    document = dataset(9, "104.1", MIMETypeOfEncapsulatedDocument="application/pdf")
    document.EncapsulatedDocument, document.EncapsulatedDocumentLength = b"%PDF-1.4 hello\n\0", 15
    channel = item(ChannelSensitivity=0.001, ChannelSensitivityUnitsSequence=[item(CodeValue="mV")])
    group = item(
        NumberOfWaveformChannels=1, NumberOfWaveformSamples=100, SamplingFrequency=100, WaveformBitsAllocated=16,
        WaveformSampleInterpretation="SS", ChannelDefinitionSequence=[channel],
    )  # fmt: skip
    group.add_new(0x54001010, "OW", np.arange(100, dtype=np.int16).tobytes())
    return {"report": report, "document": document, "ecg": dataset(10, "9.1.1", WaveformSequence=[group])}
