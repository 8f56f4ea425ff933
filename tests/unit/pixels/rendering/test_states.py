"""Presentation states in their details: areas, layers, shutters, texts, and what a state leaves out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from images import attributes, lines_within

from sagittal.errors import NotAcceptable
from sagittal.pixels.description import Description
from sagittal.pixels.rendering.attributes import Attributes
from sagittal.pixels.rendering.geometry import Viewport
from sagittal.pixels.rendering.render import Frame, Options, render
from sagittal.pixels.rendering.states import GRAYSCALE, State, state_for

MIDDLE = 0x8080
RED_LAB = [34939, 53485, 50171]  # about sRGB's red, as C.10.7.1.1 encodes it


def state(**members: Any) -> State:
    return state_for(attributes(t00080016=[GRAYSCALE], **members), "1.2.3", 1, Description(6, 8))


def gray(rows: int = 6, columns: int = 8, instance: Attributes | None = None) -> Frame:
    held = attributes() if instance is None else instance
    return Frame(held, 1, np.full((rows, columns), MIDDLE, np.uint16), Description(rows, columns))


def bits(mask: Any) -> bytes:
    return np.packbits(np.asarray(mask, bool).reshape(-1), bitorder="little").tobytes()


def test_what_a_state_leaves_out_is_an_identity() -> None:
    image = attributes(t00281050=[10], t00281051=[20], t00281053=[2], t00281052=[-1024])
    frame = Frame(image, 1, np.array([[0, 2048, 4095]], np.uint16), Description(1, 3, 1, 16, 12, 11))
    assert render(frame, Options(), state())[0].tolist() == [[0, 128, 255]]
    with_slope = state(t00281053=[1], t00281052=[0], t00283110=[{"t00281050": [1024.5], "t00281051": [2049]}])
    assert render(frame, Options(), with_slope)[0].tolist() == [[0, 255, 255]]


def test_an_area_may_reach_beyond_the_image() -> None:
    shown, _ = render(gray(4, 4), Options(), state(t0070005a=[{"t00700052": [-1, 0], "t00700053": [6, 5]}]))
    expected = np.zeros((6, 8), int)
    expected[1:5, 2:6] = 128
    assert shown.tolist() == expected.tolist()


def test_an_area_beside_the_image_is_black() -> None:
    shown, _ = render(gray(4, 4), Options(), state(t0070005a=[{"t00700052": [10, 10], "t00700053": [12, 11]}]))
    assert shown.shape == (2, 3) and not shown.any()


NOWHERE = [float("nan"), 1.0], [float("inf"), 1.0]
FAR = [1e30, 1.0], [-3e38, 4.0]


def through(*points: list[float], kind: str = "POLYLINE", filled: str = "N") -> dict[str, Any]:
    drawn = {"t00700023": [kind], "t00700022": [n for point in points for n in point], "t00700024": [filled]}
    return {"t00700009": [drawn]}


@pytest.mark.parametrize("kind", ["POLYLINE", "INTERPOLATED", "CIRCLE", "ELLIPSE", "POINT"])
@pytest.mark.parametrize("filled", ["N", "Y"])
def test_of_what_leads_far_outside_no_more_is_drawn(kind: str, filled: str, monkeypatch: pytest.MonkeyPatch) -> None:
    held = state(t00700001=[through(*FAR, [2.0, 2.0], [3.0, 3.0], kind=kind, filled=filled)] * 4)
    lines = lines_within(16, monkeypatch)
    shown, _ = render(gray(), Options(), held)
    assert shown.shape == (6, 8)
    assert bool(lines) == (kind != "CIRCLE" and filled == "N")


def test_a_line_from_far_away_is_drawn_where_it_is() -> None:
    shown, _ = render(gray(), Options(), state(t00700001=[through([-1e6, 2.5], [4.5, 2.5], [4.5, 1e6])]))
    assert (shown == 255).tolist() == [[(r == 2 and c <= 4) or (r > 2 and c == 4) for c in range(8)] for r in range(6)]


@pytest.mark.parametrize("point", NOWHERE)
def test_what_is_nowhere_is_not_drawn(point: list[float]) -> None:
    text = {"t00700006": ["here"], "t00700014": point, "t00700004": ["PIXEL"]}
    box = {"t00700006": ["here"], "t00700010": point, "t00700011": [3, 3], "t00700003": ["PIXEL"]}
    shown, _ = render(gray(), Options(), state(t00700001=[through(point, [2.0, 2.0]), {"t00700008": [text, box]}]))
    assert (shown == 128).all()


@pytest.mark.parametrize("far", [1e7, 1e10, -1e20, 3e38])
def test_text_that_is_far_away_is_not_seen(far: float) -> None:
    text = {"t00700006": ["there"], "t00700014": [far, far], "t00700004": ["PIXEL"]}
    assert (render(gray(), Options(), state(t00700001=[{"t00700008": [text]}]))[0] == 128).all()


@pytest.mark.parametrize("times", [float("nan"), float("inf"), 0, -2])
def test_an_area_magnified_by_nothing_sensible_is_as_large_as_it_is(times: float) -> None:
    area = {"t00700052": [1, 1], "t00700053": [8, 6], "t00700100": ["MAGNIFY"], "t00700103": [times]}
    assert render(gray(), Options(), state(t0070005a=[area]))[0].shape == (6, 8)


def test_an_area_is_told_as_it_is_turned() -> None:
    frame = Frame(attributes(), 1, np.arange(12, dtype=np.uint8).reshape(3, 4), Description(3, 4, 1, 8, 8, 7))
    held = state(t0070005a=[{"t00700052": [3, 2], "t00700053": [1, 1]}], t00700042=[180])
    assert render(frame, Options(), held)[0].tolist() == [[6, 5, 4], [2, 1, 0]]


@pytest.mark.parametrize("mode", ["SCALE TO FIT", "TRUE SIZE", "MAGNIFY"])
def test_areas_are_magnified_unless_a_size_is_asked_for(mode: str) -> None:
    area = {"t00700052": [1, 1], "t00700053": [8, 6], "t00700100": [mode], "t00700103": [2.5]}
    shown, _ = render(gray(), Options(), state(t0070005a=[area]))
    assert shown.shape == ((15, 20) if mode == "MAGNIFY" else (6, 8))
    assert render(gray(), Options(viewport=Viewport(40, 40)), state(t0070005a=[area]))[0].shape == (30, 40)


def test_pixels_become_square() -> None:
    area = {"t00700052": [1, 1], "t00700053": [8, 6], "t00700101": [2.0, 1.0]}
    assert render(gray(), Options(), state(t0070005a=[area]))[0].shape == (12, 8)
    assert render(gray(), Options(), state(t0070005a=[area], t00700042=[90]))[0].shape == (8, 12)
    area["t00700102"] = [1, 2]
    del area["t00700101"]
    assert render(gray(), Options(), state(t0070005a=[area]))[0].shape == (6, 16)


@pytest.mark.parametrize(
    "area",
    [
        {"t00700052": [1, 1], "t00700053": [20_000, 6]},
        {"t00700052": [1, 1], "t00700053": [16_000, 16_000]},
        {"t00700052": [1, 1], "t00700053": [8, 6], "t00700100": ["MAGNIFY"], "t00700103": [1e9]},
    ],
)
def test_areas_have_an_end(area: dict[str, Any]) -> None:
    with pytest.raises(NotAcceptable, match="too"):
        render(gray(), Options(), state(t0070005a=[area]))


def overlay(mask: Any, group: int = 0x6000, **more: Any) -> dict[str, Any]:
    rows, columns = np.asarray(mask).shape
    made = {"0010": [rows], "0011": [columns], "0040": ["G"], "0050": [1, 1], "0100": [1], "0102": [0]}
    return {f"t{group:04x}{tail}": value for tail, value in (made | {"3000": bits(mask)} | more).items()}


CORNER = np.zeros((6, 8), bool)
CORNER[:2, :3] = True


def test_overlays_are_shown_when_a_layer_activates_them() -> None:
    layer = {"t00700060": [{"t00700002": ["OVL"], "t00700062": [1], "t00700066": [0x4000]}]}
    image = gray(instance=attributes(**overlay(CORNER)))
    assert (render(image, Options(), state())[0] == 128).all()
    active = render(image, Options(), state(**layer, t60001001=["OVL"]))[0]
    assert (active[:2, :3] == 0x40).all() and (active == 0x40).sum() == 6
    own = overlay(CORNER[::-1], 0x6002, **{"1001": ["OVL"]})
    shown = render(gray(), Options(), state(**layer, **own))[0]
    assert (shown[4:, :3] == 0x40).all() and (shown == 0x40).sum() == 6


def test_overlays_of_the_state_go_before_those_of_the_image() -> None:
    image = gray(instance=attributes(**overlay(CORNER)))
    own = overlay(CORNER[::-1], 0x6000, **{"1001": ["L"]})
    shown = render(image, Options(), state(**own))[0]
    assert (shown[4:, :3] == 255).all() and (shown == 255).sum() == 6


def test_a_bitmap_shutter_hides_what_it_covers() -> None:
    held = state(**overlay(CORNER), t00181600=["BITMAP"], t00181623=[0x6000], t00181622=[0x2000])
    shown = render(gray(), Options(), held)[0]
    assert (shown[:2, :3] == 0x20).all() and (shown == 128).sum() == 42


def test_a_shutter_in_color() -> None:
    held = state(**overlay(CORNER), t00181600=["BITMAP"], t00181623=[0x6000], t00181624=RED_LAB)
    shown = render(gray(), Options(), held)[0]
    assert shown.shape == (6, 8, 3)
    assert shown[5, 5].tolist() == [128] * 3 and np.abs(shown[0, 0].astype(int) - [255, 0, 0]).max() < 12


@pytest.mark.parametrize(("value", "gray_of_8_bits"), [(1 << 20, 255), (-5, 0)])
def test_no_gray_is_more_than_white(value: int, gray_of_8_bits: int) -> None:
    held = state(**overlay(CORNER), t00181600=["BITMAP"], t00181623=[0x6000], t00181622=[value])
    assert render(gray(), Options(), held)[0][0, 0] == gray_of_8_bits
    layer = {"t00700002": ["TOP"], "t00700066": [value]}
    shown = render(gray(), Options(), state(t00700001=[line("TOP", 2.5)], t00700060=[layer]))[0]
    assert (shown[2] == gray_of_8_bits).all()


@pytest.mark.parametrize("radius", ["1e308", "inf"])
def test_a_shutter_as_wide_as_the_world_hides_nothing(radius: str) -> None:
    held = state(t00181600=["CIRCULAR"], t00181610=[3, 4], t00181612=[radius])
    assert (render(gray(), Options(), held)[0] == 128).all()


WINDOW = {"t00281050": [MIDDLE], "t00281051": [65536], "t00281056": ["LINEAR_EXACT"]}
EDGES = {"t00181600": ["RECTANGULAR"], "t00181602": [2], "t00181604": [7], "t00181606": [1], "t00181608": [5]}


def open_parts(shown: Any) -> list[list[int]]:
    """Rows and columns where something is shown, from 1."""
    return [sorted({int(place) + 1 for place in places}) for places in shown.nonzero()]


def test_an_image_has_a_shutter_of_its_own() -> None:
    image = gray(instance=attributes(**WINDOW, **EDGES))
    assert open_parts(render(image, Options())[0]) == [[2, 3, 4], [3, 4, 5, 6]]
    inked = gray(instance=attributes(**EDGES, t00181622=[0x2000]))
    assert render(inked, Options())[0][0, 0] == 0x20
    assert (render(image, Options(), state())[0] == 128).all()  # a state tells what is hidden, this one nothing


def test_a_bitmap_shutter_of_an_image_is_no_overlay() -> None:
    image = gray(instance=attributes(**WINDOW, **overlay(CORNER), t00181600=["BITMAP"], t00181623=[0x6000]))
    shown = render(image, Options())[0]
    assert (shown[:2, :3] == 0).all() and (shown == 128).sum() == 42


def test_each_frame_has_its_shutter() -> None:
    """Frame Display Shutter (C.7.6.16.2.16): a frame's own, or that of all."""
    own, shared = ({"t00189472": [EDGES | {"t00181606": [row]}]} for row in (1, 2))
    image = attributes(**WINDOW, t52009229=[shared], t52009230=[own, {}])
    first, second = (Frame(image, number, np.full((6, 8), MIDDLE, np.uint16), Description(6, 8)) for number in (1, 2))
    assert open_parts(render(first, Options())[0])[0] == [2, 3, 4]
    assert open_parts(render(second, Options())[0])[0] == [3, 4]


def line(layer: str, row: float, **more: Any) -> dict[str, Any]:
    drawn = {"t00700005": ["PIXEL"], "t00700023": ["POLYLINE"], "t00700022": [0, row, 8, row]}
    return {"t00700002": [layer], "t00700009": [drawn | more]}


def test_layers_lie_in_order_and_have_colors() -> None:
    held = state(
        t00700001=[line("TOP", 2.5), line("LOW", 2.5), line("LOW", 4.5)],
        t00700060=[
            {"t00700002": ["TOP"], "t00700062": [2], "t00700401": RED_LAB},
            {"t00700002": ["LOW"], "t00700062": [1], "t00700066": [0xFFFF]},
        ],
    )
    shown = render(gray(), Options(), held)[0].astype(int)
    assert np.abs(shown[2] - [255, 0, 0]).max() < 12
    assert shown[4].tolist() == [[255] * 3] * 8 and shown[0].tolist() == [[128] * 3] * 8


def test_a_line_may_have_a_color_of_its_own() -> None:
    held = state(t00700001=[line("L", 1.5, t00700232=[{"t00700251": RED_LAB}])])
    assert np.abs(render(gray(), Options(), held)[0][1].astype(int) - [255, 0, 0]).max() < 12


def text_at(justification: str, **more: Any) -> Any:
    text = {
        "t00700006": ["MM"], "t00700003": ["PIXEL"], "t00700010": [20.0, 30.0], "t00700011": [90.0, 50.0],
        "t00700012": [justification],
    }  # fmt: skip
    held = state(t00700001=[{"t00700002": ["L"], "t00700008": [text | more]}])
    return np.argwhere(render(gray(100, 120), Options(), held)[0] > 140)


def test_a_compound_graphic_is_drawn_once_by_its_simple_graphics() -> None:
    """PS3.3 C.10.5.1.3.1: each has graphics of its Compound Graphic Instance ID that show the same."""
    line = {"t00700005": ["PIXEL"], "t00700023": ["POLYLINE"], "t00700022": [1, 3.5, 7, 3.5], "t00700226": [1]}
    ruler = {"t00700294": ["RULER"], "t00700226": [1], "t00700282": ["PIXEL"], "t00700022": [1, 3.5, 7, 3.5]}
    layer = {"t00700002": ["A"], "t00700062": [1], "t00700066": [0xFFFF]}
    both, simple = (
        render(
            gray(), Options(), state(t00700060=[layer], t00700001=[{"t00700002": ["A"], "t00700009": [line]} | more])
        )
        for more in ({"t00700209": [ruler]}, {})
    )
    assert (both[0] == simple[0]).all()
    assert np.flatnonzero((both[0] == 255).any(axis=1)).tolist() == [3]


def test_text_lies_in_its_box() -> None:
    lefts = {}
    for justification in ("LEFT", "CENTER", "RIGHT"):
        (top, left), (bottom, right) = text_at(justification).min(0), text_at(justification).max(0)
        assert 28 <= top < bottom <= 52
        assert 18 <= left < right <= 92
        lefts[justification] = left
    assert lefts["LEFT"] + 10 < lefts["CENTER"] < lefts["RIGHT"] - 10


def test_lines_of_a_text_lie_in_its_box() -> None:
    for justification in ("LEFT", "CENTER", "RIGHT"):
        shown = text_at(justification, t00700006=["MMMM\r\nM"])
        assert 28 <= shown.min(0)[0] < shown.max(0)[0] <= 52


def test_text_points_at_its_anchor_when_that_is_visible() -> None:
    anchor = {"t00700004": ["PIXEL"], "t00700014": [55.0, 90.0]}
    assert text_at("LEFT", **anchor, t00700015=["N"]).max(0)[0] <= 52
    assert text_at("LEFT", **anchor, t00700015=["Y"]).max(0)[0] in (89, 90)


def test_text_in_fractions_of_the_area_and_at_an_anchor_only() -> None:
    text = {"t00700006": ["MM"], "t00700004": ["DISPLAY"], "t00700014": [0.5, 0.5]}
    held = state(t00700001=[{"t00700002": ["L"], "t00700008": [text]}])
    places = np.argwhere(render(gray(100, 120), Options(), held)[0] > 140)
    assert (places.min(0) >= (50, 60)).all() and len(places)


def test_a_state_of_other_images_is_refused() -> None:
    image = {"t00081155": ["1.2.3"], "t00081160": [2, 3]}
    held = attributes(t00080016=[GRAYSCALE], t00081115=[{"t00081140": [image]}])
    assert state_for(held, "1.2.3", 2, Description(6, 8))
    for uid, frame in (("1.2.3", 1), ("1.2.4", 2)):
        with pytest.raises(NotAcceptable, match="not for this image"):
            state_for(held, uid, frame, Description(6, 8))


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        *((f"1.2.840.10008.5.1.4.1.1.11.{tail}", "is not rendered") for tail in range(4, 13)),
        *((f"1.2.840.10008.5.1.4.1.1.{tail}", "none that can be applied") for tail in ("2", "66", "481.5")),
    ],
)
def test_other_states_are_refused_by_what_they_do(kind: str, told: str) -> None:
    with pytest.raises(NotAcceptable, match=told):
        state_for(attributes(t00080016=[kind]), "1.2.3", 1, Description(6, 8))


def test_padding_is_background_whatever_the_polarity() -> None:
    image = attributes(t00280120=[100], t00280121=[102])
    values = np.array([[0, 50, 100, 101, 102, 200]], np.uint16)
    frame = Frame(image, 1, values, Description(1, 6, photometric="MONOCHROME1"))
    assert render(frame, Options())[0].tolist() == [[255, 191, 0, 0, 0, 0]]


@pytest.mark.parametrize(
    ("said", "colored"),
    [
        ({"t00089205": ["COLOR"]}, True),
        ({"t00089205": ["MIXED"]}, True),
        ({"t00089205": ["MIXED"], "t52009230": [{"t00189329": [{"t00089205": ["MONOCHROME"]}]}]}, False),
        ({"t00089205": ["MIXED"], "t52009230": [{"t00189226": [{"t00089205": ["COLOR"]}]}]}, True),
        ({"t00089205": ["MONOCHROME"]}, False),
        ({}, False),  # a palette that is only recommended, as for nuclear medicine: windows go before it
    ],
)
def test_a_supplemental_palette_colors_the_upper_values(said: dict[str, Any], colored: bool) -> None:
    words = {f"t0028120{n}": np.array(values, "<u2").tobytes() for n, values in
             ((1, [0xFFFF, 0]), (2, [0, 0xFFFF]), (3, [0, 0]))}  # fmt: skip
    words |= {f"t0028110{n}": [2, 254, 16] for n in (1, 2, 3)}
    image = attributes(**words, **said, t00281050=[127.5], t00281051=[256])
    frame = Frame(image, 1, np.array([[0, 128, 254, 255]], np.uint8), Description(1, 4, 1, 8, 8, 7))
    shown = render(frame, Options())[0].tolist()
    assert shown == ([[[0, 0, 0], [128] * 3, [255, 0, 0], [0, 255, 0]]] if colored else [[0, 128, 254, 255]])


def test_floats_and_long_integers_have_their_real_range() -> None:
    values = np.array([[-1.5, 0.0, 1.5, np.nan]], np.float32)
    frame = Frame(attributes(), 1, values, Description(1, 4, 1, 32, 32, 31, kind="float"))
    assert render(frame, Options())[0].tolist() == [[0, 128, 255, 0]]
    assert render(frame, Options(), state())[0].tolist() == [[0, 128, 255, 0]]
    long = np.array([[0, 2_000_000_000, 4_000_000_000]], np.uint32)
    frame = Frame(attributes(), 1, long, Description(1, 3, 1, 32, 32, 31))
    assert render(frame, Options())[0].tolist() == [[0, 128, 255]]
