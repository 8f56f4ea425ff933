"""Single-frame instances of one series as one multi-frame instance: its data set as DICOM JSON.

CT, MR and PET become Legacy Converted Enhanced ones (PS3.3 A.70 to A.72), all else multi-frame Secondary Capture (PS3.3
A.8.2 to A.8.5). What is equal is said once, what is not by frame: in the functional group macros that have it, or as
unassigned converted attributes (PS3.3 C.7.6.16.2.25 and .26), so that nothing of the single frames is lost.
Deliberately not here: pixels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sagittal.convert.multiframe import elements as el
from sagittal.convert.multiframe.elements import items, member, named, numbers
from sagittal.dicom.dictionary import member_of
from sagittal.dicom.models.entities import SERIES, STUDY
from sagittal.dicom.models.members import Members, element, reference, text, values
from sagittal.errors import NotAcceptable
from sagittal.pixels.description import Description
from sagittal.uid import derived_uid

_P = "1.2.840.10008.5.1.4.1.1."
# Classic SOP class → (Legacy Converted Enhanced class, the macro that has its Frame Type).
LEGACY: Mapping[str, tuple[str, str]] = {
    _P + "2": (_P + "2.2", member.CTImageFrameTypeSequence),
    _P + "4": (_P + "4.4", member.MRImageFrameTypeSequence),
    _P + "128": (_P + "128.1", member.PETFrameTypeSequence),
}
# Functional group macro → its attributes, under the same names as in classic images.
_MACROS: Mapping[str, tuple[str, ...]] = {
    member_of(macro): tuple(map(member_of, keywords.split()))
    for macro, keywords in {
        "PixelMeasuresSequence": "PixelSpacing SliceThickness SpacingBetweenSlices",
        "PlanePositionSequence": "ImagePositionPatient",
        "PlaneOrientationSequence": "ImageOrientationPatient",
        "PixelValueTransformationSequence": "RescaleIntercept RescaleSlope RescaleType",
        "FrameVOILUTSequence": "WindowCenter WindowWidth WindowCenterWidthExplanation VOILUTFunction VOILUTSequence",
        "ReferencedImageSequence": "ReferencedImageSequence",
    }.items()
}
# Of the modules of patient, study, series, equipment and frame of reference; of image pixel, image, contrast/bolus
# (C.7.6.4) and SOP common; and of secondary capture.
_TOP_GROUPS = ("0010", "0012", "0032", "0038")
_TOP = (
    STUDY
    | SERIES
    | named("""
    BurnedInAnnotation RecognizableVisualFeatures LossyImageCompression LossyImageCompressionRatio
    LossyImageCompressionMethod ICCProfile ColorSpace PixelPaddingValue PixelPaddingRangeLimit
    PresentationLUTShape PixelAspectRatio ImagerPixelSpacing NominalScannedPixelSpacing ConversionType
    SecondaryCaptureDeviceManufacturer SecondaryCaptureDeviceManufacturerModelName
    SecondaryCaptureDeviceSoftwareVersions ContrastBolusAgent ContrastBolusAgentSequence
    ContrastBolusAdministrationRouteSequence ContrastBolusRoute ContrastBolusVolume ContrastBolusStartTime
    ContrastBolusStopTime ContrastBolusTotalDose ContrastFlowRate ContrastFlowDuration ContrastBolusIngredient
    ContrastBolusIngredientConcentration
""")
)
_GEOMETRY = named("""
    SamplesPerPixel PhotometricInterpretation PlanarConfiguration Rows Columns BitsAllocated BitsStored HighBit
    PixelRepresentation
""")
_MODALITY_LUT = member.ModalityLUTSequence  # no macro has one (PS3.3 C.7.6.16.2.9)
_PALETTE = named("""
    RedPaletteColorLookupTableDescriptor GreenPaletteColorLookupTableDescriptor
    BluePaletteColorLookupTableDescriptor RedPaletteColorLookupTableData GreenPaletteColorLookupTableData
    BluePaletteColorLookupTableData SegmentedRedPaletteColorLookupTableData
    SegmentedGreenPaletteColorLookupTableData SegmentedBluePaletteColorLookupTableData
""")
# What is so of one frame is so of the image.
_OF_ANY = {member.LossyImageCompression: "01", member.BurnedInAnnotation: "YES"}
_OWN = el.LEFT_OUT | el.PIXELS | named("SOPClassUID SOPInstanceUID NumberOfFrames FrameIncrementPointer")
_FRAME_TYPED = {
    member.PixelPresentation: "MONOCHROME",
    member.VolumetricProperties: "VOLUME",
    member.VolumeBasedCalculationTechnique: "NONE",
}
_LEAST_TYPES = ("ORIGINAL", "PRIMARY", "NONE", "NONE")


def ordered(instances: Sequence[Members]) -> list[int]:
    """The places of instances in the order of their frames: by Instance Number, along the normal, else as given."""
    told = [number for one in instances for number in numbers(one, member.InstanceNumber)[:1]]
    if len(set(told)) == len(instances):
        return sorted(range(len(instances)), key=told.__getitem__)
    depths = [depth for one in instances if (depth := _depth(one))]
    if len(depths) == len(instances) and len({orientation for orientation, _ in depths}) == 1:
        return sorted(range(len(instances)), key=lambda at: depths[at][1])
    return list(range(len(instances)))


def _depth(members: Members) -> tuple[tuple[float, ...], float] | None:
    """Orientation, and the place along its normal."""
    at, along = numbers(members, member.ImagePositionPatient), numbers(members, member.ImageOrientationPatient)
    if len(at) != 3 or len(along) != 6:
        return None
    x, y = along[:3], along[3:]
    normal = (x[1] * y[2] - x[2] * y[1], x[2] * y[0] - x[0] * y[2], x[0] * y[1] - x[1] * y[0])
    return tuple(round(n, 4) for n in along), sum(a * b for a, b in zip(at, normal, strict=True))


def class_for(sop_class: str, described: Description) -> str:
    """The multi-frame SOP class of such frames. NotAcceptable when there is none."""
    if sop_class in LEGACY:
        return LEGACY[sop_class][0]
    if described.kind != "integer" or described.signed:
        raise NotAcceptable("multi-frame Secondary Capture has unsigned integers only")
    if described.samples == 3 and described.bits_allocated == 8:
        return _P + "7.4"
    if described.samples == 1 and described.bits_allocated in (1, 8, 16):
        return _P + {1: "7.1", 8: "7.2", 16: "7.3"}[described.bits_allocated]
    raise NotAcceptable("no multi-frame Secondary Capture class has pixels like these")


def joined(instances: Sequence[Members], described: Description, *, keep_series: bool = False) -> Members:
    """The data set of the frames of `instances`, in their order, without pixels. NotAcceptable when they don't fit."""
    _check(instances)
    first, count = instances[0], len(instances)
    sop_class = class_for(text(first, member.SOPClassUID), described)
    own = [{tag: one for tag, one in held.items() if tag not in _OWN} for held in instances]
    equal = _reserved({tag for tag, one in own[0].items() if all(held.get(tag) == one for held in own)})
    made = {tag: own[0][tag] for tag in equal if _is_top(tag)}
    shared, per_frame = _groups(own, equal)
    by_frame = text(first, member.SOPClassUID) in LEGACY
    for number, (held, groups) in enumerate(zip(instances, per_frame, strict=True), start=1):
        groups[member.FrameContentSequence] = element("SQ", _content(held, number))
        groups[member.ConversionSourceAttributesSequence] = element("SQ", reference(held))
        if by_frame:
            frame_type = {member.FrameType: element("CS", *_type_of(held)), **_common(held)}
            groups[LEGACY[text(first, member.SOPClassUID)][1]] = element("SQ", frame_type)
    made |= {
        member.SharedFunctionalGroupsSequence: element("SQ", shared),
        member.PerFrameFunctionalGroupsSequence: element("SQ", *per_frame),
    }
    made |= _heads(instances, sop_class, count, keep_series=keep_series)
    return made | (_common(*instances) if by_frame else _secondary(made, described))


def _common(*instances: Members) -> Members:
    """Pixel Presentation and the like of some images, as they say it of themselves (PS3.3 C.8.16.2)."""
    found: Members = {}
    for tag, otherwise in _FRAME_TYPED.items():
        told = {text(one, tag) or otherwise for one in instances}
        found[tag] = element("CS", told.pop() if len(told) == 1 else "MIXED")
    return found


def _check(instances: Sequence[Members]) -> None:
    for tag, name in (
        (member.SeriesInstanceUID, "Series"),
        (member.SOPClassUID, "SOP Class"),
        (member.StudyInstanceUID, "Study"),
    ):
        found = {text(one, tag) for one in instances}
        if len(found) > 1:
            raise NotAcceptable(f"instances of {len(found)} different {name} UIDs: one at a time")
    uids = [text(one, member.SOPInstanceUID) for one in instances]
    if len(set(uids)) < len(uids):
        raise NotAcceptable("an instance is there twice")
    for tag in sorted(_GEOMETRY | _PALETTE | {_MODALITY_LUT}):
        if any(one.get(tag) != instances[0].get(tag) for one in instances):
            raise NotAcceptable(f"the instances differ in ({tag[:4]},{tag[4:]}): their frames are not of one kind")


def _is_top(tag: str) -> bool:
    return tag in _TOP or tag in _GEOMETRY or tag in _PALETTE or tag == _MODALITY_LUT or tag[:4] in _TOP_GROUPS


def _groups(own: Sequence[Members], equal: set[str]) -> tuple[Members, list[Members]]:
    """The shared functional groups and those of each frame."""
    shared: Members = {}
    per_frame: list[Members] = [{} for _ in own]
    for macro, tags in _MACROS.items():
        found = [{tag: held[tag] for tag in tags if tag in held} for held in own]
        if all(one == found[0] for one in found):
            _add(shared, macro, found[0])
        else:
            for groups, one in zip(per_frame, found, strict=True):
                _add(groups, macro, one)
    taken = {tag for tag in equal if _is_top(tag)}.union(*_MACROS.values())
    rest = {tag: own[0][tag] for tag in sorted(equal - taken)}
    shared[member.UnassignedSharedConvertedAttributesSequence] = element("SQ", rest)
    for groups, held in zip(per_frame, own, strict=True):
        differing = {tag: held[tag] for tag in sorted(held.keys() - equal - taken)}
        groups[member.UnassignedPerFrameConvertedAttributesSequence] = element(
            "SQ", differing | _creators(differing, rest)
        )
    return shared, per_frame


def _reserved(equal: set[str]) -> set[str]:
    """Without private elements whose blocks are not reserved alike: they are equal by chance."""
    blocks = {f"{tag[:4]}{tag[6:]}" for tag in equal if el.is_private(tag) and tag[4:6] == "00"}
    return {tag for tag in equal if not el.is_private(tag) or tag[4:6] == "00" or tag[:6] in blocks}


def _add(groups: Members, macro: str, found: Members) -> None:
    """A macro with what was found of it, if anything was."""
    if found:
        groups[macro] = found[macro] if macro == member.ReferencedImageSequence else element("SQ", found)


def _creators(private: Members, shared: Members) -> Members:
    """The reservations, among what is shared, of the blocks that private elements are in (PS3.5 7.8.1)."""
    blocks = {tag[:6] for tag in private if el.is_private(tag)}
    reserved = {tag: one for tag, one in shared.items() if el.is_private(tag) and "0010" <= tag[4:] <= "00FF"}
    return {tag: one for tag, one in reserved.items() if tag[:4] + tag[6:] in blocks}


def _content(held: Members, number: int) -> Members:
    """Frame Content (PS3.3 C.7.6.16.2.2)."""
    found = {
        member.StackID: element("SH", "1"),
        member.InStackPositionNumber: element("UL", number),
        member.DimensionIndexValues: element("UL", number),
    }
    acquisition, date = text(held, member.AcquisitionNumber), text(held, member.AcquisitionDate)
    if acquisition.isdecimal() and int(acquisition) < 1 << 16:
        found[member.FrameAcquisitionNumber] = element("US", int(acquisition))
    stamp = text(held, member.AcquisitionDateTime) or (date + text(held, member.AcquisitionTime) if date else "")
    if stamp:
        found[member.FrameAcquisitionDateTime] = element("DT", stamp)
    return found


def _type_of(held: Members) -> list[str]:
    """Frame Type: the four values that enhanced images have (PS3.3 C.8.16.1)."""
    given = [str(value) for value in values(held, member.ImageType)][:4]
    return [*given, *_LEAST_TYPES[len(given) :]]


def _heads(instances: Sequence[Members], sop_class: str, count: int, *, keep_series: bool) -> Members:
    """What the new instance says of itself."""
    first = instances[0]
    uids = [text(one, member.SOPInstanceUID) for one in instances]
    series = text(first, member.SeriesInstanceUID)
    types = [_type_of(one) for one in instances]
    image_type = [column[0] if len(set(column)) == 1 else "MIXED" for column in zip(*types, strict=True)]
    organization = derived_uid(*uids, "dimensions")
    pointer = {
        member.DimensionOrganizationUID: element("UI", organization),
        member.DimensionIndexPointer: element("AT", member.InStackPositionNumber),
        member.FunctionalGroupPointer: element("AT", member.FrameContentSequence),
    }
    found = {
        member.SOPClassUID: element("UI", sop_class),
        member.SOPInstanceUID: element("UI", derived_uid(*uids)),
        member.SeriesInstanceUID: element("UI", series if keep_series else derived_uid(series, "multi-frame")),
        member.InstanceNumber: element("IS", "1"),
        member.ImageType: element("CS", *image_type),
        member.NumberOfFrames: element("IS", str(count)),
        member.DimensionOrganizationSequence: element(
            "SQ", {member.DimensionOrganizationUID: element("UI", organization)}
        ),
        member.DimensionIndexSequence: element("SQ", pointer),
    }
    for tag, value in _OF_ANY.items():
        if any(text(one, tag) == value for one in instances):
            found[tag] = element("CS", value)
    for tag in (member.ContentDate, member.ContentTime):  # of the first frame
        if tag in first:
            found[tag] = first[tag]
    return found


def _secondary(made: Members, described: Description) -> Members:
    """What multi-frame Secondary Capture wants besides (PS3.3 C.8.6.3). What may be burned in is not denied."""
    found = {member.FrameIncrementPointer: element("AT", member.PerFrameFunctionalGroupsSequence)}
    for tag, vr, value in ((member.ConversionType, "CS", "WSD"), (member.BurnedInAnnotation, "CS", "YES")):
        if not items(made, tag) and not text(made, tag):
            found[tag] = element(vr, value)
    if described.photometric == "MONOCHROME2" and described.bits_allocated > 1:
        found[member.PresentationLUTShape] = element("CS", "IDENTITY")
    return found
