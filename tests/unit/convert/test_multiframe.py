"""What joining and splitting make of attributes, without files: orders, types, private blocks, classes."""

from __future__ import annotations

import re
from base64 import b64encode
from contextlib import ExitStack
from pathlib import Path
from struct import pack
from typing import Any

import orjson
import pytest
from builders import build
from pydicom._dicom_dict import DicomDictionary
from pydicom.datadict import dictionary_VR, tag_for_keyword

from sagittal.convert.multiframe.elements import items, member
from sagittal.convert.multiframe.files import join, object_of
from sagittal.convert.multiframe.joining import class_for, joined, ordered
from sagittal.convert.multiframe.splitting import Splitting
from sagittal.dicom.elements import encode
from sagittal.dicom.models.members import element, text, values
from sagittal.dicom.syntaxes import EXPLICIT_LE, syntax
from sagittal.errors import NotAcceptable
from sagittal.pixels.description import Description
from sagittal.pixels.images import Image
from sagittal.pixels.rendering.attributes import Attributes
from sagittal.pixels.rendering.grayscale import frame_modality, frame_voi
from sagittal.pixels.rendering.tables import Table
from sagittal.workers.worker import Input

PLAIN = syntax(EXPLICIT_LE)
SHARED, PER_FRAME = member.SharedFunctionalGroupsSequence, member.PerFrameFunctionalGroupsSequence
CT, ENHANCED_CT = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.2.1"


def instance(number: int, **more: Any) -> dict[str, Any]:
    made = {"00080016": element("UI", CT), "00080018": element("UI", f"1.2.{number}"), "0020000E": element("UI", "1.3")}
    return made | {"00200013": element("IS", str(number))} | more


def nothing(tag: int) -> bytes:
    raise AssertionError("no bytes are asked for")


def test_order_is_by_number_then_place_then_as_given() -> None:
    assert ordered([instance(3), instance(1), instance(2)]) == [1, 2, 0]
    turned = {"00200037": element("DS", "0", "1", "0", "0", "0", "1")}  # the normal is x
    placed = [instance(1, **turned, **{"00200032": element("DS", x, "0", "0")}) for x in ("5", "-3", "1")]
    assert ordered(placed) == [1, 2, 0]
    assert ordered([instance(1), instance(1)]) == [0, 1]


@pytest.mark.parametrize("number", ["--5", "NaN", "1e999", "first"])
def test_numbers_that_are_none_order_nothing(number: str) -> None:
    told = {"00200013": element("IS", number)}
    assert ordered([instance(2), instance(1, **told)]) == [0, 1]
    told |= {"00200032": element("DS", 1, 2, number), "00200037": element("DS", 1, 0, 0, 0, 1, 0)}
    assert ordered([instance(2, **told), instance(1, **told)]) == [0, 1]


def test_overlays_and_angles_of_no_numbers() -> None:
    """An overlay whose frames can't be told apart goes, an angle stays as it is."""
    number = "none"
    odd = {"60000010": 1, "60000011": 8, "60000015": number, "60000051": number, "60003000": 0, "00181510": number}
    members = instance(1, **{tag: element("IS", value) for tag, value in odd.items()})
    members |= {"00080016": element("UI", ENHANCED_CT), "00181520": element("DS", 0, 1)}
    made = Splitting(members, 2, lambda _: b"\0", keep_series=True).members(2)
    assert not [tag for tag in made if tag.startswith("6000")]
    assert text(made, "00181510") == number


def test_image_type_of_frames_that_differ_is_mixed() -> None:
    one = instance(1, **{"00080008": element("CS", "ORIGINAL", "PRIMARY", "AXIAL")})
    other = instance(2, **{"00080008": element("CS", "DERIVED", "PRIMARY", "AXIAL", "MIP")})
    made = joined([one, other], Description(4, 4))
    assert values(made, "00080008") == ["MIXED", "PRIMARY", "AXIAL", "MIXED"]
    groups = items(made, PER_FRAME)
    assert [values(items(group, "00189329")[0], "00089007")[3] for group in groups] == ["NONE", "MIP"]


def test_what_is_so_of_one_frame_is_so_of_the_image() -> None:
    first = instance(1, **{"00282110": element("CS", "00")})
    lossy = instance(2, **{"00282110": element("CS", "01"), "00280301": element("CS", "YES")})
    made = joined([first, lossy], Description(4, 4))
    assert (text(made, "00282110"), text(made, "00280301")) == ("01", "YES")
    apart = [text(Splitting(made, 2, nothing).members(frame), "00282110") for frame in (1, 2)]
    assert apart == ["00", "01"]  # each as it was
    assert text(joined([first], Description(4, 4)), "00282110") == "00"


def test_what_is_equal_is_said_once() -> None:
    shared = {"00281053": element("DS", "2"), "00181210": element("SH", "B30")}
    shared |= {"00180010": element("LO", "Iodine"), "00181008": element("LO", "G1"), "00081050": element("PN", "A^B")}
    both = [instance(n, **shared, **{"00201041": element("DS", str(n))}) for n in (1, 2)]
    made = joined(both, Description(4, 4))
    (group,) = items(made, SHARED)
    assert text(items(group, "00289145")[0], "00281053") == "2"
    assert text(items(group, "00209170")[0], "00181210") == "B30"
    assert "00181210" not in made and "00281053" not in made
    assert [text(made, tag) for tag in ("00180010", "00181008")] == ["Iodine", "G1"]  # PS3.3 C.7.6.4, C.7.5.1
    assert [text(items(one, "00209171")[0], "00201041") for one in items(made, PER_FRAME)] == ["1", "2"]


def table(last: int) -> dict[str, Any]:
    """Two entries, 0 and `last`."""
    entries = b64encode(bytes(2) + last.to_bytes(2, "little")).decode()
    return {"00283002": element("US", 2, 0, 16), "00283006": {"vr": "OW", "InlineBinary": entries}}


@pytest.mark.parametrize("lasts", [(7, 9), (7, 7)])
def test_voi_tables_go_with_their_frames(lasts: tuple[int, int]) -> None:
    both = [instance(n, **{"00283010": element("SQ", table(last))}) for n, last in enumerate(lasts, 1)]
    made = joined(both, Description(4, 4))
    apart = [Splitting(made, 2, nothing).members(n) for n in (1, 2)]
    voi = [frame_voi(Attributes(made), n, signed=False) for n in (1, 2)]
    voi += [frame_voi(Attributes(one), 1, signed=False) for one in apart]
    assert [each.entries[1] for each in voi if isinstance(each, Table)] == [*lasts, *lasts]


def test_what_a_frame_was_derived_from_becomes_that_of_its_image() -> None:
    def source(uid: str) -> dict[str, Any]:
        return {"00082111": element("ST", "sum"), "00082112": element("SQ", {"00081155": element("UI", uid)})}

    macro = {"00089124": element("SQ", source("9.1"), source("9.2"))}
    made = instance(1, **source("9.0") | {"00080016": element("UI", ENHANCED_CT), PER_FRAME: element("SQ", macro)})
    found = Splitting(made, 1, nothing).members(1)
    assert [text(one, "00081155") for one in items(found, "00082112")] == ["9.0", "9.1", "9.2", "1.2.1"]
    assert text(found, "00082111") == "sum" and "00089124" not in found


def test_colors_and_shapes_of_pixels_are_those_of_the_frames() -> None:
    shape = {"00280034": element("IS", "4", "5"), "00089205": element("CS", "COLOR")}
    made = joined([instance(1, **shape), instance(2, **shape)], Description(4, 4))
    assert values(made, "00280034") == ["4", "5"] and text(made, "00089205") == "COLOR"
    made = joined([instance(1, **shape), instance(2)], Description(4, 4))
    frames = [text(items(group, "00189329")[0], "00089205") for group in items(made, PER_FRAME)]
    assert (text(made, "00089205"), frames) == ("MIXED", ["COLOR", "MONOCHROME"])


def test_modality_tables_are_of_all_frames_or_none_is_joined() -> None:
    both = [instance(n, **{"00283000": element("SQ", table(7))}) for n in (1, 2)]
    made = frame_modality(Attributes(joined(both, Description(4, 4))), 2, signed=False)
    assert made.table is not None and made.table.entries[1] == 7
    both[1]["00283000"] = element("SQ", table(9))
    with pytest.raises(NotAcceptable, match="0028,3000"):
        joined(both, Description(4, 4))


def test_private_blocks_that_meet_get_other_numbers() -> None:
    macro = {"00290010": element("LO", "INNER"), "00291001": element("LO", "inner")}
    made = instance(1, **{"00080016": element("UI", ENHANCED_CT), SHARED: element("SQ", macro)})
    made |= {"00290010": element("LO", "OUTER"), "00291001": element("LO", "outer")}
    found = Splitting(made, 1, nothing).members(1)
    assert {tag: text(found, tag) for tag in found if tag.startswith("0029")} == {
        "00290010": "OUTER", "00291001": "outer", "00290011": "INNER", "00291101": "inner",
    }  # fmt: skip


def test_private_elements_stay_with_their_creators() -> None:
    """They are equal, but of different things."""
    both = [
        instance(n, **{"00290010": element("LO", creator), "00291001": element("LO", "1")})
        for n, creator in enumerate("AB", 1)
    ]
    made = joined(both, Description(4, 4))
    apart = [Splitting(made, 2, nothing).members(n) for n in (1, 2)]
    assert [[text(one, tag) for tag in ("00290010", "00291001")] for one in apart] == [["A", "1"], ["B", "1"]]


def test_a_time_of_its_own_is_kept() -> None:
    told = {"0008002A": element("DT", "20200102111100"), "00080032": element("TM", "111059.5")}
    made = joined([instance(1, **told)], Description(4, 4))
    found = Splitting(made, 1, nothing).members(1)
    assert [text(found, tag) for tag in ("00080022", "00080032")] == ["20200102", "111059.5"]


def test_groups_that_are_not_one_for_each_frame() -> None:
    made = instance(1, **{"00080016": element("UI", ENHANCED_CT), PER_FRAME: element("SQ", {}, {})})
    with pytest.raises(NotAcceptable, match="2 items of functional groups for 3 frames"):
        Splitting(made, 3, nothing)


@pytest.mark.parametrize(
    ("described", "ending"),
    [
        (Description(4, 4, bits_allocated=1, bits_stored=1, high_bit=0), "7.1"),
        (Description(4, 4, bits_allocated=8, bits_stored=8, high_bit=7), "7.2"),
        (Description(4, 4), "7.3"),
        (Description(4, 4, 3, 8, 8, 7, photometric="RGB"), "7.4"),
    ],
)
def test_secondary_capture_by_pixels(described: Description, ending: str) -> None:
    assert class_for("1.2.840.10008.5.1.4.1.1.6.1", described) == f"1.2.840.10008.5.1.4.1.1.{ending}"


def test_no_class_for_signed_pixels() -> None:
    with pytest.raises(NotAcceptable):
        class_for("1.2.840.10008.5.1.4.1.1.6.1", Description(4, 4, signed=True))
    assert class_for(CT, Description(4, 4, signed=True)) == "1.2.840.10008.5.1.4.1.1.2.2"


# What PS3.6 calls attributes that only an image of several frames has.
OF_SEVERAL_FRAMES = re.compile(
    "NumberOfFrames$|Frame(IncrementPointer|Time|TimeVector|Delay|NumbersOfInterest|OfInterest.*)$|St(art|op)Trim$"
    "|RecommendedDisplayFrameRate$|RepresentativeFrameNumber$|RWavePointer$|IVUSPullback.*FrameNumber$"
    "|MaskSubtractionSequence$|(Shared|PerFrame)FunctionalGroupsSequence$|Dimension(Organization|Index)(Sequence|Type)$"
    "|(Concatenation|InConcatenation|SOPInstanceUIDOfConcatenation).*|VolumeFrameOfReferenceUID$"
    "|Table.*Increment$|Positioner.*Increment$|ExtendedOffsetTable"
)


def test_nothing_of_several_frames_is_said_of_one() -> None:
    named = {
        f"{tag:08X}": vr for tag, (vr, _, _, _, keyword) in DicomDictionary.items() if OF_SEVERAL_FRAMES.match(keyword)
    }
    members = instance(1, **{"00080016": element("UI", ENHANCED_CT)})
    members |= {tag: element(vr, {}, {}) if vr == "SQ" else element(vr, "1", "2") for tag, vr in named.items()}
    assert not named.keys() & Splitting(members, 2, nothing).members(1).keys()


def test_smallest_and_largest_value_of_all_frames_are_not_those_of_one() -> None:
    """PS3.3 C.7.6.3: of this image. What each frame said of itself before it was joined, it says again."""
    extremes = {"00280106": element("US", 0), "00280107": element("US", 900)}
    enhanced = instance(1, **extremes, **{"00080016": element("UI", ENHANCED_CT)})
    assert not extremes.keys() & Splitting(enhanced, 2, nothing).members(1).keys()
    film = joined([instance(1, **extremes), instance(2)], Description(4, 4))
    assert extremes.items() <= Splitting(film, 2, nothing).members(1).items()


# Attributes of the enhanced images and of the classic ones that say the same (PS3.3 C.8.13, C.8.15 and C.8.2, C.8.3).
CLASSIC = {
    "FrameAcquisitionNumber": "AcquisitionNumber", "FrameComments": "ImageComments", "EffectiveEchoTime": "EchoTime",
    "ExposureTimeInms": "ExposureTime", "XRayTubeCurrentInmA": "XRayTubeCurrent", "ExposureInmAs": "Exposure",
    "FrameLaterality": "ImageLaterality", "NominalCardiacTriggerDelayTime": "TriggerTime",
    "RFEchoTrainLength": "EchoTrainLength", "InversionTimes": "InversionTime",
}  # fmt: skip


@pytest.mark.parametrize("enhanced", CLASSIC)
def test_what_is_called_otherwise_is_said_in_the_classic_way(enhanced: str) -> None:
    tag, classic = (f"{tag_for_keyword(keyword):08X}" for keyword in (enhanced, CLASSIC[enhanced]))
    told = element(dictionary_VR(int(tag, 16)), "L" if enhanced == "FrameLaterality" else 12)
    members = instance(1, **{"00080016": element("UI", ENHANCED_CT)})
    members[PER_FRAME] = element("SQ", {"00209111": element("SQ", {tag: told})}, {})
    made = Splitting(members, 2, nothing).members(1)
    assert (made[classic]["vr"], text(made, classic)) == (dictionary_VR(int(classic, 16)), str(told["Value"][0]))


def test_objects_of_a_series_are_left_as_they_are(tmp_path: Path) -> None:
    """What their headers have in common is parsed once for all of them."""
    content = encode([(0x00283002, "US", pack("<3H", 4096, 0, 16)), (0x00283006, "OW", bytes(range(256)) * 32)], PLAIN)
    lut = b"\xfe\xff\x00\xe0" + len(content).to_bytes(4, "little") + content
    with ExitStack() as stack:

        def image(number: int) -> Image:
            path = tmp_path / str(number)
            path.write_bytes(build(number, extra={"VOILUTSequence": lut}).part10)
            return object_of(Input(stack.enter_context(path.open("rb")).fileno(), 0, path.stat().st_size))

        before = [image(number) for number in range(1, 7)]
        told = orjson.dumps([dict(one.members) for one in before])
        first, again = (b"".join(join(images)[1]) for images in (before, [image(number) for number in range(1, 7)]))
        assert first == again and first.count(bytes(range(256)) * 32) == 1
        assert orjson.dumps([dict(one.members) for one in before]) == told
