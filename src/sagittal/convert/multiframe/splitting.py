"""A multi-frame instance as single-frame ones: their data sets as DICOM JSON (PS3.3 C.7.6.16).

Functional groups are flattened: what holds for a frame, its own or shared, goes to the top level under the names that
the classic IODs have. Vectors and overlays by frame give the frame's part. Elements by place in the source (bulk data)
stay such. Deliberately not here: pixels, and classes that have no single-frame form.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sagittal.convert.multiframe import elements as el
from sagittal.convert.multiframe import pulses
from sagittal.convert.multiframe.elements import items, member, named, numbers, whole
from sagittal.dicom.models.members import Members, code, element, reference, text, values
from sagittal.errors import NotAcceptable
from sagittal.pixels.frames import shifted
from sagittal.uid import derived_uid

_P = "1.2.840.10008.5.1.4.1.1."
# Multi-frame SOP class → the classic one of the same images; those of one class take both.
CLASSES: Mapping[str, str] = {
    _P + "2.1": _P + "2", _P + "2.2": _P + "2",  # Enhanced CT, Legacy Converted Enhanced CT
    _P + "4.1": _P + "4", _P + "4.4": _P + "4", _P + "4.3": _P + "7",  # MR; MR Color as Secondary Capture
    _P + "130": _P + "128", _P + "128.1": _P + "128",  # PET
    _P + "3": _P + "6.1", _P + "3.1": _P + "6.1",  # US
    _P + "12.1": _P + "12.1", _P + "12.1.1": _P + "12.1",  # XA
    _P + "12.2": _P + "12.2", _P + "12.2.1": _P + "12.2",  # XRF
    _P + "7.1": _P + "7", _P + "7.2": _P + "7", _P + "7.3": _P + "7", _P + "7.4": _P + "7",  # Secondary Capture
}  # fmt: skip

# Macros that a classic image has as a sequence of the same name: referenced images, source images, real world values.
_KEPT = named("ReferencedImageSequence SourceImageSequence RealWorldValueMappingSequence")
_DERIVATION_IMAGE = member.DerivationImageSequence  # of what one or several images, each item with its sources
_CODE_VALUE = member.CodeValue
_OFFSET = member.ConcatenationFrameOffsetNumber
# Conversion source, and what only orders frames.
_DROPPED_MACROS = named("ConversionSourceAttributesSequence")
_DROPPED = el.LEFT_OUT | named("""
    NumberOfFrames FrameIncrementPointer SharedFunctionalGroupsSequence PerFrameFunctionalGroupsSequence
    DimensionOrganizationSequence DimensionIndexSequence DimensionOrganizationType VolumeFrameOfReferenceUID
    ConcatenationUID InConcatenationNumber InConcatenationTotalNumber FunctionalGroupPointer
    ConcatenationFrameOffsetNumber FrameTimeVector FrameDelay StartTrim StopTrim RecommendedDisplayFrameRate
    RepresentativeFrameNumber FrameNumbersOfInterest FrameOfInterestDescription FrameOfInterestType RWavePointer
    MaskSubtractionSequence TimeRange IVUSPullbackStartFrameNumber IVUSPullbackStopFrameNumber
    TableVerticalIncrement TableLateralIncrement TableLongitudinalIncrement StackID InStackPositionNumber
    DimensionIndexValues FrameComments SOPInstanceUIDOfConcatenationSource
""")
# Of all frames where the multi-frame image says them, else of each single frame (PET, converted ones).
_OF_FILM = named("FrameTime ActualFrameDuration SmallestImagePixelValue LargestImagePixelValue")
# An attribute of a functional group → the same of the classic IODs: (tag, VR).
_CLASSIC = {
    member.FrameAcquisitionNumber: (member.AcquisitionNumber, "IS"),
    member.FrameComments: (member.ImageComments, "LT"),
    member.EffectiveEchoTime: (member.EchoTime, "DS"),
    member.ExposureTimeInms: (member.ExposureTime, "IS"),
    member.XRayTubeCurrentInmA: (member.XRayTubeCurrent, "IS"),
    member.ExposureInmAs: (member.Exposure, "IS"),
    member.FrameLaterality: (member.ImageLaterality, "CS"),
    member.NominalCardiacTriggerDelayTime: (member.TriggerTime, "DS"),
    member.RFEchoTrainLength: (member.EchoTrainLength, "IS"),
    member.InversionTimes: (member.InversionTime, "DS"),
}
_PET, _MR = _P + "128", _P + "4"
_DURATION, _CLASSIC_DURATION = member.FrameAcquisitionDuration, member.ActualFrameDuration  # of PET, both in ms
_VECTORS = named("""
    PageNumberVector FrameLabelVector FramePrimaryAngleVector FrameSecondaryAngleVector SliceLocationVector
    DisplayWindowLabelVector
""")
# Angles to those of the first frame.
_INCREMENTS = {
    member.PositionerPrimaryAngleIncrement: member.PositionerPrimaryAngle,
    member.PositionerSecondaryAngleIncrement: member.PositionerSecondaryAngle,
}
_NUMBER_MAX = (1 << 31) - 1
Octets = Callable[[int], bytes]


class Splitting:
    """One instance. NotAcceptable at once when it has no single-frame form."""

    def __init__(self, members: Members, count: int, octets: Octets, *, keep_series: bool = False) -> None:
        """`count`: its frames; `octets` gives the value of an element of bytes, wherever it is."""
        self._members, self._count, self._octets = members, count, octets
        source = text(members, member.SOPClassUID)
        if source not in CLASSES:
            raise NotAcceptable(f"SOP Class {source or '(none)'} has no single-frame form here")
        if not count:
            raise NotAcceptable("the object's frames can't be told apart")
        per_frame = items(members, member.PerFrameFunctionalGroupsSequence)
        if per_frame and len(per_frame) != count:
            raise NotAcceptable(f"{len(per_frame)} items of functional groups for {count} frames")
        self._class = CLASSES[source]
        self._per_frame, self._shared = per_frame, next(iter(items(members, member.SharedFunctionalGroupsSequence)), {})
        self._keep_series = keep_series

    def uid(self, frame: int) -> str:
        """The SOP Instance UID of the instance of a frame: always the same one."""
        return derived_uid(text(self._members, member.SOPInstanceUID), str(frame))

    def members(self, frame: int) -> Members:
        """The data set of the instance of a frame (1 is the first), without its pixels."""
        source = self._members
        dropped = _DROPPED | _OF_FILM | el.PIXELS
        made = {tag: one for tag, one in source.items() if tag not in dropped}
        groups = (self._shared, self._per_frame[frame - 1] if self._per_frame else {})
        for group in groups:
            self._flatten(group, made)
        self._classic(groups, made)
        self._vectors(made, frame)
        self._overlays(made, frame)
        made[member.SOPClassUID], made[member.SOPInstanceUID] = (
            element("UI", self._class),
            element("UI", self.uid(frame)),
        )
        if not self._keep_series:
            made[member.SeriesInstanceUID] = element(
                "UI", derived_uid(text(source, member.SeriesInstanceUID), "single-frame")
            )
        made[member.InstanceNumber] = element("IS", str(self._number(frame)))
        purpose = code("121322", "Source image for image processing operation")
        came_from = reference(source) | {member.ReferencedFrameNumber: element("IS", str(frame))}
        came_from[member.PurposeOfReferenceCodeSequence] = element("SQ", purpose)
        made[member.SourceImageSequence] = element("SQ", *items(made, member.SourceImageSequence), came_from)
        return made

    def _classic(self, groups: Sequence[Members], made: Members) -> None:
        """What the classic class wants besides, and what was classic once says as it said it."""
        converted = (
            member.UnassignedSharedConvertedAttributesSequence,
            member.UnassignedPerFrameConvertedAttributesSequence,
        )
        for item in (item for group in groups for tag in converted for item in items(group, tag)):
            if member.ImageType in item:
                made[member.ImageType] = item[member.ImageType]  # not the four values of Frame Type
        if self._class == _MR:
            pulses.tell(made)
        if self._class == _PET and _CLASSIC_DURATION not in made and (lasted := numbers(made, _DURATION)):
            made[_CLASSIC_DURATION] = element("IS", f"{lasted[0]:.0f}")

    def _number(self, frame: int) -> int:
        """The source's Instance Number and four digits of the frame, so that several instances don't get in each
        other's way. Those of a concatenation have one number, and count their frames on (C.7.6.16).
        """
        of_source, before = text(self._members, member.InstanceNumber), text(self._members, _OFFSET)
        offset = int(before) if before.isdecimal() and len(before) < 10 else 0
        frame += offset
        number = int(of_source) * 10_000 + frame if of_source.isdecimal() and len(of_source) < 10 else frame
        return number if number <= _NUMBER_MAX and offset + self._count < 10_000 else frame

    def _flatten(self, group: Members, made: Members) -> None:
        _with_private(group, made)
        for tag, macro in group.items():
            if el.is_private(tag) or tag in _DROPPED_MACROS:
                continue
            inners, sources = items(group, tag), items(made, member.SourceImageSequence)
            if tag in _KEPT or macro.get("vr") != "SQ" or any(_CODE_VALUE in inner for inner in inners):
                made[tag] = macro
                continue
            for inner in inners[:1]:
                _with_private(inner, made)
                for name, value in inner.items():
                    if not el.is_private(name) and name not in _DROPPED:
                        _set(name, value, made)
                if member.FrameComments in inner:
                    _set(member.FrameComments, inner[member.FrameComments], made)
            if tag == _DERIVATION_IMAGE:
                sources += (one for inner in inners for one in items(inner, member.SourceImageSequence))
                made[member.SourceImageSequence] = element("SQ", *sources)

    def _vectors(self, made: Members, frame: int) -> None:
        for tag in _VECTORS & made.keys():
            found = made[tag].get("Value") or []
            if len(found) == self._count:
                made[tag] = {"vr": made[tag]["vr"], "Value": [found[frame - 1]]}
        for tag, angle in _INCREMENTS.items():
            steps, first = numbers(made, tag), numbers(made, angle)
            made.pop(tag, None)
            if len(steps) == self._count and first:
                made[angle] = element("DS", f"{first[0] + steps[frame - 1]:.10g}")

    def _overlays(self, made: Members, frame: int) -> None:
        """An overlay of several frames gives the one of this frame, or goes (PS3.3 C.9.3)."""
        for group in range(0x6000, 0x6020, 2):
            name = f"{group:04X}"
            if f"{name}0015" not in made or f"{name}3000" not in made:
                continue
            count, at = whole(made, f"{name}0015", 1), frame - whole(made, f"{name}0051", 1)
            bits = whole(made, f"{name}0010") * whole(made, f"{name}0011")
            octets = self._octets(group << 16 | 0x3000) if 0 <= at < count else b""
            if len(octets) * 8 >= (at + 1) * bits > 0:
                first = at * bits // 8
                plane = shifted(octets[first : ((at + 1) * bits + 7) // 8], at * bits % 8, bits)
                made[f"{name}3000"] = {"vr": "OW", "InlineBinary": b64encode(plane).decode()}
                made.pop(f"{name}0015"), made.pop(f"{name}0051", None)
            else:
                for tag in [tag for tag in made if tag.startswith(name)]:
                    del made[tag]


def _set(name: str, value: Any, made: Members) -> None:
    """An attribute of a functional group, under the name that a classic image has for it."""
    if name == member.FrameType:
        made[member.ImageType] = value
    elif name == member.FrameAcquisitionDateTime:
        _moment(text({name: value}, name), member.AcquisitionDate, member.AcquisitionTime, made)
    elif name == member.FrameReferenceDateTime:
        _moment(text({name: value}, name), member.ContentDate, member.ContentTime, made)
    elif name in _CLASSIC and (found := values({name: value}, name)):
        tag, vr = _CLASSIC[name]
        number = {"IS": "{:.0f}", "DS": "{:.10g}"}.get(vr, "{}")
        made[tag] = element(vr, number.format(found[0]) if isinstance(found[0], float) else str(found[0]))
    else:
        made[name] = value


def _moment(stamp: str, date: str, time: str, made: Members) -> None:
    """A DT as date and time, where the image says none itself."""
    stamp = stamp.partition("+")[0].partition("-")[0]
    if len(stamp) >= 8 and not text(made, date):
        made[date] = element("DA", stamp[:8])
        if len(stamp) > 8 and not text(made, time):
            made[time] = element("TM", stamp[8:])


def _with_private(group: Mapping[str, Any], made: Members) -> None:
    """The private elements of an item among those of another data set, in blocks that are free there (PS3.5 7.8.1)."""
    for reserved in sorted(tag for tag in group if el.is_private(tag) and "0010" <= tag[4:] <= "00FF"):
        creator = text(group, reserved)
        head, block = reserved[:4], reserved[6:]
        free = [block, *(f"{number:02X}" for number in range(0x10, 0x100))]
        here = [number for number in free if text(made, f"{head}00{number}") == creator]
        room = [number for number in free if f"{head}00{number}" not in made]
        if not creator or not (here or room):
            continue
        to = (here or room)[0]
        made[f"{head}00{to}"] = group[reserved]
        made.update({f"{head}{to}{tag[6:]}": group[tag] for tag in group if tag[:6] == head + block})
