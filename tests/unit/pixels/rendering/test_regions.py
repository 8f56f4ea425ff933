"""Contours and segments brought to the pixels of an image."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from images import lines_within

from sagittal.pixels.rendering.attributes import Attributes
from sagittal.pixels.rendering.over.regions import (
    Segment,
    contours,
    frames_over,
    label_colors,
    laid_over,
    plane_of,
    referenced_images,
    rgb_of_lab,
    segment_colors,
    segment_of,
    sources,
    tile_of,
    with_contours,
    with_segments,
)


def member(*values: Any) -> dict[str, Any]:
    return {"vr": "XX", "Value": list(values)}


def image(
    position: list[float], cosines: list[float], spacing: list[float], uid: str = "1.1", space: str = ""
) -> Attributes:
    return Attributes(
        {
            "00080018": member(uid),
            "00200032": member(*position),
            "00200037": member(*cosines),
            "00280030": member(*spacing),
            "00200052": member(space),
        }
    )


SAGITTAL = [0.0, 1.0, 0.0, 0.0, 0.0, -1.0]


def test_points_in_a_sagittal_plane() -> None:
    plane = plane_of(image([10, -20, 30], SAGITTAL, [0.5, 2.0]))
    assert plane is not None
    points = np.array([[10, -20, 30], [10, -16, 29], [13, -20, 30]], float)
    assert plane.pixels(points).tolist() == [[0, 0, 0], [2, 2, 0], pytest.approx([0, 0, -3])]
    assert plane.pixels(plane.points(2, 3))[:, :2].round(9).tolist() == [[c, r] for r in range(2) for c in range(3)]


def test_planes_of_frames_and_of_nothing() -> None:
    shared = {"00209116": member({"00200037": member(*SAGITTAL)}), "00289110": member({"00280030": member(1, 1)})}
    frames = [{"00209113": member({"00200032": member(x, 0, 0)})} for x in (1, 2)]
    enhanced = Attributes({"52009229": member(shared), "52009230": member(*frames)})
    planes = [plane_of(enhanced, number) for number in (1, 2)]
    assert [plane.position[0] for plane in planes if plane] == [1, 2]
    assert plane_of(Attributes({})) is None
    assert plane_of(image([0, 0, 0], SAGITTAL, [0, 0])) is None
    for nowhere in (float("nan"), 1e308):
        assert plane_of(image([0, 0, 0], SAGITTAL, [nowhere, 1])) is None
        assert plane_of(image([nowhere, 0, 0], SAGITTAL, [1, 1])) is None


def structures(*found: dict[str, Any]) -> Attributes:
    roi = {"3006002A": member(10, 200, 30), "30060040": member(*found)}
    return Attributes({"00080016": member("1.2.840.10008.5.1.4.1.1.481.3"), "30060039": member(roi)})


def contour(points: list[float], *uids: str, kind: str = "CLOSED_PLANAR") -> dict[str, Any]:
    named = {"30060016": member(*({"00081155": member(uid)} for uid in uids))} if uids else {}
    return {"30060042": member(kind), "30060050": member(*points)} | named


SQUARE = [2, 2, 0, 6, 2, 0, 6, 6, 0, 2, 6, 0]


def test_contours_of_the_image_are_drawn_in_their_color() -> None:
    axial = plane_of(image([0, 0, 0], [1, 0, 0, 0, 1, 0], [1, 1]))
    assert axial is not None
    held = structures(contour(SQUARE, "1.1"), contour([0, 0, 0, 9, 9, 0], "2.2"))
    made = with_contours(np.zeros((10, 10), np.uint8), axial, "1.1", contours(held))
    drawn = {tuple(place) for place in np.argwhere(made[..., 1] == 200).tolist()}
    assert drawn == {(r, c) for r in range(2, 7) for c in range(2, 7) if r in (2, 6) or c in (2, 6)}
    assert made[2, 2].tolist() == [10, 200, 30]


@pytest.mark.parametrize(("far", "drawn"), [(1e30, True), (float("nan"), False), (float("inf"), False)])
def test_contours_that_lead_far_outside(far: float, drawn: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    axial = plane_of(image([0, 0, 0], [1, 0, 0, 0, 1, 0], [1, 1]))
    assert axial is not None
    held = list(contours(structures(*[contour([far, 2, 0, 6, -far, 0, 6, 6, 0, 3, 6, 0], "1.1")] * 4)))
    lines = lines_within(20, monkeypatch)
    made = with_contours(np.zeros((10, 10), np.uint8), axial, "1.1", held)
    assert bool(lines) == drawn
    assert made[6, 3:7, 1].tolist() == [200 * drawn] * 4


def test_contours_without_image_are_drawn_where_they_lie() -> None:
    held = list(contours(structures(contour([3, 3, 0], kind="POINT"), contour(SQUARE[:6], kind="OPEN_PLANAR"))))
    for z, drawn in ((0, True), (4, False)):
        plane = plane_of(image([0, 0, z], [1, 0, 0, 0, 1, 0], [1, 1]))
        assert plane is not None
        assert with_contours(np.zeros((10, 10), np.uint8), plane, "1.1", held).any() == drawn


@pytest.mark.parametrize(
    ("roi", "whole", "drawn"),
    [("", "", True), ("5.5", "", True), ("6.6", "", False), ("", "6.6", False), ("5.5", "6.6", True)],
)
def test_contours_of_another_frame_of_reference(roi: str, whole: str, drawn: bool) -> None:
    """The region says it (C.8.8.5), or the whole structure set; an image that is named is the one."""
    plane = plane_of(image([0, 0, 0], [1, 0, 0, 0, 1, 0], [1, 1], space="5.5"))
    assert plane is not None
    for names, seen in (((), drawn), (("1.1",), True)):
        region = {"30060084": member(7), "30060040": member(contour(SQUARE, *names))}
        about = {"30060022": member(7), "30060024": member(roi)}
        held = {"30060020": member(about), "30060039": member(region), "00200052": member(whole)}
        made = with_contours(np.zeros((10, 10), np.uint8), plane, "1.1", contours(Attributes(held)))
        assert made.any() == seen


def test_the_image_with_the_most_on_it_comes_first() -> None:
    held = structures(contour(SQUARE, "1.1"), contour(SQUARE, "2.2"), contour(SQUARE, "2.2"))
    assert referenced_images(held) == [("2.2", ()), ("1.1", ())]


def segmentation(*frames: dict[str, Any], **more: Any) -> Attributes:
    """`more`: members by tag, with a t before it."""
    numbers = [{"00620004": member(1), "0062000D": member(35154, 53485, 50171)}, {"00620004": member(2)}]
    others = {tag[1:]: value for tag, value in more.items()}
    return Attributes({"52009230": member(*frames), "00620002": member(*numbers)} | others)


def over(uid: str, segment: int, *frames: int) -> dict[str, Any]:
    named = {"00081155": member(uid)} | ({"00081160": member(*frames)} if frames else {})
    source = member({"00082112": member(named)})
    return {"00089124": source, "0062000A": member({"0062000B": member(segment)})}


def at(z: float) -> dict[str, Any]:
    return {
        "00209113": member({"00200032": member(0, 0, z)}),
        "00209116": member({"00200037": member(1, 0, 0, 0, 1, 0)}),
        "00289110": member({"00280030": member(1, 1), "00180050": member(2)}),
    }


def lying_over(held: Attributes, shown: Attributes, frame: int) -> list[int]:
    return frames_over(held, max(held.integer(0x00280008), len(held.items(0x52009230))), shown, frame)


def test_frames_over_an_image_by_name_and_by_place() -> None:
    axial = image([0, 0, 5], [1, 0, 0, 0, 1, 0], [1, 1], "1.1")
    named = segmentation(over("1.1", 2), over("3.3", 1), over("1.1", 1))
    assert lying_over(named, axial, 1) == [1, 3]
    assert [segment_of(named, number) for number in (1, 2, 3)] == [2, 1, 1]
    assert referenced_images(named) == [("1.1", ()), ("3.3", ())]
    assert lying_over(segmentation(at(3), at(5), at(5.4)), axial, 1) == [2, 3]


def test_only_frames_that_are_there_are_looked_at() -> None:
    """Whatever Number of Frames says."""
    axial, many = image([0, 0, 5], [1, 0, 0, 0, 1, 0], [1, 1], "1.1"), member(2**31 - 1)
    assert referenced_images(segmentation(over("1.1", 2), t00280008=many)) == [("1.1", ())]
    assert frames_over(segmentation(at(5), at(5), t00280008=many), 1, axial, 1) == [1]


def test_frames_across_an_image_are_not_over_it() -> None:
    coronal = image([0, 0, 0], [1, 0, 0, 0, 0, 1], [1, 1], "1.1")  # each axial frame begins in its plane
    assert lying_over(segmentation(at(0), at(5)), coronal, 1) == []


def test_places_of_another_frame_of_reference_are_no_places() -> None:
    axial = image([0, 0, 5], [1, 0, 0, 0, 1, 0], [1, 1], "1.1", "1.5")
    for own, found in (("1.5", [1]), ("1.6", [])):
        assert lying_over(segmentation(at(5), t00200052=member(own)), axial, 1) == found
        assert lying_over(segmentation(over("1.1", 1) | at(9), t00200052=member(own)), axial, 1) == [1]  # named


def test_frames_without_a_plane_over_the_only_image() -> None:
    radiograph = Attributes({"00080018": member("1.1")})
    mask = {"0062000A": member({"0062000B": member(1)})}
    listed = {"t00081115": member({"0008114A": member({"00081155": member("1.1")})})}
    shared = {"t52009229": member({"00089124": over("1.1", 1)["00089124"]})}
    for refers in (listed, shared, listed | shared):
        held = segmentation(mask, mask, **refers)
        assert [named.uid for named in referenced_images(held)] == ["1.1"]
        assert lying_over(held, radiograph, 1) == [1, 2]
        assert lying_over(held, Attributes({"00080018": member("2.2")}), 1) == []
    several = {"t00081115": member({"0008114A": member({"00081155": member("1.1")}, {"00081155": member("2.2")})})}
    assert lying_over(segmentation(mask, **several), radiograph, 1) == []
    placed = segmentation(mask | at(0), mask | at(5), **shared)
    assert lying_over(placed, image([0, 0, 5], [1, 0, 0, 0, 1, 0], [1, 1], "1.1"), 1) == [2]  # by its plane


def enhanced(*positions: float) -> Attributes:
    """An image of several frames, one a place."""
    shared = {
        "00209116": member({"00200037": member(1, 0, 0, 0, 1, 0)}),
        "00289110": member({"00280030": member(1, 1)}),
    }
    frames = [{"00209113": member({"00200032": member(0, 0, z)})} for z in positions]
    return Attributes({
        "00080018": member("1.1"), "00280008": member(len(positions)), "52009229": member(shared),
        "52009230": member(*frames),
    })  # fmt: skip


def test_frames_over_a_frame_of_an_image_of_several() -> None:
    image_of_three = enhanced(0, 5, 10)
    by_number = segmentation(over("1.1", 1, 2), over("1.1", 2, 2, 3), over("2.2", 1, 3))
    assert [lying_over(by_number, image_of_three, number) for number in (1, 2, 3)] == [[], [1, 2], [2]]
    assert referenced_images(by_number) == [("1.1", (2, 3)), ("2.2", (3,))]
    assert sources(by_number, 3) == [("2.2", (3,))] and sources(by_number, 9) == []
    by_place = segmentation(over("1.1", 1) | at(0), over("1.1", 1) | at(10))
    assert [lying_over(by_place, image_of_three, number) for number in (1, 2, 3)] == [[1], [], [2]]
    nowhere = segmentation(over("1.1", 1))
    assert lying_over(nowhere, image_of_three, 2) == [1]


def tiled(**more: dict[str, Any]) -> Attributes:
    """20 x 15 pixels in tiles of 10 x 10: two across, two down."""
    made = {
        "00080018": member("1.1"), "00209311": member("TILED_FULL"), "00480006": member(20), "00480007": member(15),
        "00280010": member(10), "00280011": member(10), "00280008": member(4),
    }  # fmt: skip
    return Attributes(made | {f"{tag[1:]}": value for tag, value in more.items()})


def test_tiles_of_slides() -> None:
    slide = tiled()
    assert [tile_of(slide, number) for number in (1, 2, 3, 4)] == [(1, 1), (11, 1), (1, 11), (11, 11)]
    place = member({"0048021E": member(11), "0048021F": member(1)})
    sparse = segmentation({"0048021A": place}, {"0048021A": member({"0048021E": member(1), "0048021F": member(11)})})
    assert [lying_over(sparse, slide, number) for number in (1, 2, 3)] == [[], [1], [2]]
    segments = member({"00620004": member(7)}, {"00620004": member(9)})
    whole = tiled(t00280008=member(8), t00620002=segments)
    assert [lying_over(whole, slide, number) for number in (1, 4)] == [[1, 5], [4, 8]]
    for planes in (1, 0):  # focal planes
        whole = tiled(t00280008=member(8), t00620002=segments, t00480303=member(planes))
        assert [segment_of(whole, number) for number in (1, 4, 5, 8)] == [7, 7, 9, 9]


def test_contours_of_one_frame() -> None:
    named = contour(SQUARE) | {"30060016": member({"00081155": member("1.1"), "00081160": member(2)})}
    plane = plane_of(image([0, 0, 0], [1, 0, 0, 0, 1, 0], [1, 1]))
    assert plane is not None
    black = np.zeros((10, 10), np.uint8)
    drawn = [with_contours(black, plane, "1.1", contours(structures(named)), n).any() for n in (1, 2)]
    assert drawn == [False, True]
    assert referenced_images(structures(named)) == [("1.1", (2,))]


def test_colors_of_a_label_map() -> None:
    labels = np.array([[0, 1, 2], [2, 9, 1]], np.uint8)
    found = label_colors(segmentation(), labels)
    assert found.shape == (2, 3, 3) and found.dtype == np.uint8
    assert found[0, 1].tolist() == list(segment_colors(segmentation())[1]) == found[1, 2].tolist()
    assert found[0, 2].tolist() == [80, 200, 255]
    tables = {f"0028110{n}": member(4, 0, 16) for n in (1, 2, 3)}
    words = [[0, 0x1100, 0x2200, 0x3300], [0, 0x4400, 0x5500, 0x6600], [0, 0x7700, 0x8800, 0x9900]]
    tables |= {f"0028120{n}": member(*ramp) for n, ramp in enumerate(words, 1)}
    assert label_colors(Attributes(tables), labels)[0].tolist() == [[0, 0, 0], [0x11, 0x44, 0x77], [0x22, 0x55, 0x88]]


def test_many_segments_without_colors_can_be_told_apart() -> None:
    many = Attributes({"00620002": member(*({"00620004": member(n)} for n in range(1, 121)))})
    assert len(set(segment_colors(many).values())) == 120


@pytest.mark.parametrize("number", ["NaN", "1e999", "red"])
def test_a_color_of_no_numbers_is_none(number: str) -> None:
    held = {"00620004": member(1), "0062000D": member(number, 1, 2)}
    assert segment_colors(Attributes({"00620002": member(held)})) == segment_colors(
        Attributes({"00620002": member({"00620004": member(1)})})
    )
    roi = {"30060084": member(1), "3006002A": member(number, 0, 0), "30060040": member({"30060050": member(1, 2, 3)})}
    (contour,) = contours(Attributes({"30060039": member(roi)}))
    assert number not in map(str, contour.color)


def test_long_lists_of_text_may_hold_other_words() -> None:
    """Bulk data of a DS: what is no number is passed over, as among values."""
    held = Attributes({"30060050": {"vr": "DS", "BulkDataURI": "x?offset=0&length=8"}}, lambda *_: b"1\\two\\3 ")
    assert held.numbers(0x30060050) == [1.0, 3.0]


def test_segments_are_blended_in_their_recommended_color() -> None:
    colors = segment_colors(segmentation())
    assert colors[1][0] > colors[1][1] and colors[2] == (80, 200, 255)
    mask = np.zeros((2, 2))
    mask[0, 0] = 1
    made = with_segments(np.full((2, 2), 100, np.uint8), [Segment((200, 0, 100), mask)])
    assert made[0, 0].tolist() == [145, 55, 100] and made[1, 1].tolist() == [100, 100, 100]


def test_masks_of_another_grid_are_laid_over_by_their_planes() -> None:
    fine = plane_of(image([0, 0, 0], [1, 0, 0, 0, 1, 0], [1, 1]))
    coarse = plane_of(image([0.5, 0.5, 0], [1, 0, 0, 0, 1, 0], [2, 2]))
    mask = np.array([[0.0, 1.0], [0.0, 0.0]])
    assert fine is not None and coarse is not None
    made = laid_over(mask, coarse, fine, (4, 4))
    assert made.tolist() == [[0, 0, 1, 1], [0, 0, 1, 1], [0] * 4, [0] * 4]
    assert laid_over(mask, None, fine, (3, 3)).tolist() == [[0, 1, 0], [0, 0, 0], [0, 0, 0]]
    assert laid_over(mask, coarse, coarse, (2, 2)) is mask
    beside = replace(coarse, position=coarse.position - coarse.down)
    assert laid_over(mask, beside, coarse, (2, 2)).tolist() == [mask[1].tolist(), [0, 0]]
    assert laid_over(mask, replace(coarse, space="5.5"), replace(fine, space="6.6"), (2, 2)) is mask


def test_a_mask_of_as_many_pixels_that_are_a_little_larger_is_not_laid_over_as_it_is() -> None:
    """After some hundred of them the places are millimetres apart."""
    small = plane_of(image([0, 0, 0], [1, 0, 0, 0, 1, 0], [0.7, 0.7]))
    large = plane_of(image([0, 0, 0], [1, 0, 0, 0, 1, 0], [0.7, 0.735]))
    mask = np.zeros((1, 512))
    mask[0, 400] = 1
    assert small is not None and large is not None
    assert np.flatnonzero(laid_over(mask, large, small, (1, 512))).tolist() == [420]


@pytest.mark.parametrize(
    ("lab", "rgb"),
    [((0, 32896, 32896), (0, 0, 0)), ((65535, 32896, 32896), (255, 255, 255)), ((35573, 53513, 50115), (255, 0, 0))],
)
def test_cielab(lab: tuple[int, int, int], rgb: tuple[int, int, int]) -> None:
    assert np.abs(np.array(rgb_of_lab(list(lab))) - rgb).max() <= 12
