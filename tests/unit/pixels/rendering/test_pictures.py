"""File formats, viewports, overlays, presentation states."""

from __future__ import annotations

import io
from typing import Any

import imagecodecs
import numpy as np
import pytest
from images import attributes
from PIL import Image

from sagittal.errors import BadRequest, NotAcceptable
from sagittal.pixels.description import Description
from sagittal.pixels.rendering.attributes import Attributes
from sagittal.pixels.rendering.geometry import Viewport, scaled, shown
from sagittal.pixels.rendering.pictures import PROFILED, SINGLE, moving, picture
from sagittal.pixels.rendering.render import Frame, Options, render
from sagittal.pixels.rendering.states import COLOR, GRAYSCALE, PSEUDO_COLOR, references, state_for

RAMP = np.arange(48, dtype=np.uint8).reshape(6, 8)


@pytest.mark.parametrize("media_type", SINGLE)
@pytest.mark.parametrize("shape", [(16, 24), (16, 24, 3)])
def test_every_format_holds_the_picture(media_type: str, shape: tuple[int, ...]) -> None:
    pixels = np.linspace(0, 255, int(np.prod(shape))).astype(np.uint8).reshape(shape)
    data = picture(media_type, pixels)
    if media_type == "image/jxl":
        held = imagecodecs.jpegxl_decode(data)
    else:
        held = np.asarray(Image.open(io.BytesIO(data)).convert("RGB" if len(shape) == 3 else "L"))
    assert held.shape == shape
    worst = {"image/jpeg": 16, "image/gif": 40}.get(media_type, 0)
    assert np.abs(held.astype(int) - pixels).max() <= worst


def test_quality_makes_smaller_files() -> None:
    pixels = np.random.default_rng(1).integers(0, 255, (64, 64), np.uint8)
    for media_type in ("image/jpeg", "image/webp", "image/jxl", "image/jp2"):
        for profile in (None, b"profile") if media_type in PROFILED else (None,):
            assert len(picture(media_type, pixels, 20, profile)) < len(picture(media_type, pixels, 95, profile))


@pytest.mark.parametrize(
    ("media_type", "most"),
    [
        ("image/jpeg", 65_500),
        ("image/png", 65_535),
        ("image/gif", 65_535),
        ("image/webp", 16_383),
        ("image/jp2", 65_535),
    ],
)
def test_sides_that_a_format_has_not_are_told(media_type: str, most: int) -> None:
    """An image may have 65,535 rows."""
    assert Image.open(io.BytesIO(picture(media_type, np.zeros((1, most), np.uint8)))).convert("L").size == (most, 1)
    if most < 65_535:
        with pytest.raises(NotAcceptable, match="viewport"):
            picture(media_type, np.zeros((most + 1, 1), np.uint8))


@pytest.mark.parametrize("media_type", ["image/webp", "video/mp4"])
def test_sides_of_moving_pictures(media_type: str) -> None:
    with pytest.raises(NotAcceptable, match="viewport"):
        moving(media_type, [np.zeros((1, 16_385), np.uint8)] * 2, [0.1] * 2)


@pytest.mark.parametrize("sides", [(2, 20_000), (65_535, 1)])
def test_long_images_are_shown_whole(sides: tuple[int, int]) -> None:
    stored = np.arange(sides[0] * sides[1], dtype=np.uint32).reshape(sides).astype(np.uint16)
    frame = Frame(attributes(), 1, stored, Description(*sides))
    assert render(frame, Options())[0].shape == sides
    assert max(render(frame, Options(viewport=Viewport(100, 100)))[0].shape) == 100
    with pytest.raises(NotAcceptable, match="presentation state"):
        render(frame, Options(), state(t0070005a=[{"t00700052": [1, 1], "t00700053": [65_536, 65_536]}]))


def test_what_can_not_be_made_is_told() -> None:
    for call in (lambda: picture("image/x-xcf", RAMP), lambda: moving("image/png", [RAMP], [0.1])):
        with pytest.raises(NotAcceptable):
            call()


@pytest.mark.parametrize("media_type", ["image/gif", "image/webp"])
def test_moving_pictures(media_type: str) -> None:
    frames = [np.full((16, 16), level, np.uint8) for level in (0, 128, 255)]
    opened = Image.open(io.BytesIO(moving(media_type, frames, [0.25] * 3)))
    assert getattr(opened, "n_frames", 1) == 3
    levels = []
    for n in range(3):
        opened.seek(n)
        levels.append(int(np.asarray(opened.convert("L"))[8, 8]))
    assert np.abs(np.array(levels) - (0, 128, 255)).max() <= 4


@pytest.mark.parametrize(("media_type", "off"), [("image/gif", 5), ("image/webp", 0.5)])
def test_a_moving_picture_lasts_as_long_as_its_frames(media_type: str, off: float) -> None:
    """Neither format can say 33.333 ms; what is lost on one frame the next ones make good."""
    frames = [np.full((8, 8), 8 * level, np.uint8) for level in range(30)]
    opened = Image.open(io.BytesIO(moving(media_type, frames, [0.033333] * 30)))
    times = []
    for n in range(30):
        opened.seek(n)
        opened.load()
        times.append(opened.info["duration"])
    assert sum(times) == pytest.approx(1000, abs=off)
    assert max(times) - min(times) <= 10


@pytest.mark.parametrize("media_type", ["image/gif", "image/webp"])
def test_frames_that_are_seen_unequally_long(media_type: str) -> None:
    frames = [np.full((8, 8), 80 * level, np.uint8) for level in range(3)]
    opened = Image.open(io.BytesIO(moving(media_type, frames, [0.3, 0.05, 2])))
    times = []
    for n in range(3):
        opened.seek(n)
        opened.load()
        times.append(opened.info["duration"])
    assert times == [300, 50, 2000]


@pytest.mark.parametrize(("media_type", "least"), [("image/gif", 20), ("image/webp", 11)])
def test_no_frame_is_so_short_that_browsers_show_it_for_a_tenth_of_a_second(media_type: str, least: int) -> None:
    frames = [np.full((8, 8), 20 * level, np.uint8) for level in range(8)]
    opened = Image.open(io.BytesIO(moving(media_type, frames, [0.008] * 8)))
    for n in range(8):
        opened.seek(n)
        opened.load()
        assert opened.info["duration"] == least


def test_mp4_of_frames_that_are_seen_unequally_long() -> None:
    import av

    frames = [np.full((16, 16), 80 * level, np.uint8) for level in range(3)]
    with av.open(io.BytesIO(moving("video/mp4", frames, [0.3, 0.05, 2]))) as container:
        begins = [frame.time for frame in container.decode(video=0)]
    assert begins == pytest.approx([0, 0.3, 0.35])


def test_mp4() -> None:
    import av

    frames = [np.full((17, 33), level, np.uint8) for level in (0, 128, 255)]
    with av.open(io.BytesIO(moving("video/mp4", frames, [0.5] * 3))) as container:
        held = [frame.to_ndarray(format="gray") for frame in container.decode(video=0)]
        context = container.streams.video[0].codec_context
        said = context.colorspace, context.color_range, context.color_primaries, context.color_trc
    assert [frame.shape for frame in held] == [(18, 34)] * 3  # even, and nothing of an odd picture is lost
    assert said == (6, 1, 1, 13)  # BT.601, else browsers take a high one for BT.709
    assert [int(frame[8, 8]) for frame in held] == pytest.approx([0, 128, 255], abs=6)


@pytest.mark.parametrize(
    ("port", "expected"),
    [
        (Viewport(8, 6), RAMP),
        (Viewport(4, 3, 0, 0, 4, 3), RAMP[:3, :4]),
        (Viewport(4, 3, 4, 3, 4, 3), RAMP[3:, 4:]),
        (Viewport(8, 6, 0, 0, -8, 6), RAMP[:, ::-1]),
        (Viewport(8, 6, 0, 0, 8, -6), RAMP[::-1]),
        (Viewport(2, 2, left=6, region_height=2), RAMP[:2, 6:]),
    ],
)
def test_viewports(port: Viewport, expected: Any) -> None:
    assert shown(RAMP, port).tolist() == expected.tolist()


@pytest.mark.parametrize(("columns", "fewer"), [(38, 20), (888, 160), (999, 7), (513, 128)])
def test_no_column_is_lost_where_there_are_fewer(columns: int, fewer: int) -> None:
    assert scaled(np.eye(columns, dtype=np.uint8) * 255, fewer, columns).any(axis=1).all()


def test_viewports_keep_the_shape() -> None:
    assert shown(RAMP, Viewport(4, 100)).shape == (3, 4)
    assert shown(RAMP, Viewport(100, 12)).shape == (12, 16)
    assert shown(np.zeros((1000, 2), np.uint8), Viewport(10, 10)).shape == (10, 1)


def test_pictures_are_not_enlarged_beyond_measure() -> None:
    """However small the image is, the viewport would be made: seconds of a worker, and hundreds of megabytes."""
    for port in (Viewport(16_384, 16_384), Viewport(16_384, 16_384, 0, 0, 1, 1)):
        with pytest.raises(BadRequest, match="more than 67108864 pixels"):
            shown(RAMP, port)
    assert shown(RAMP, Viewport(16_384, 3)).shape == (3, 4)
    large = np.broadcast_to(np.uint8(7), (9000, 9000))  # as it is
    assert shown(large, Viewport(9000, 9000)) is not None


@pytest.mark.parametrize("region", [(4, 0, 8, 6), (0, -1, 8, 6), (8, 0)])
def test_regions_outside_the_image(region: tuple[float, ...]) -> None:
    with pytest.raises(BadRequest, match="region"):
        shown(RAMP, Viewport(8, 6, *region))


def flat(instance: Attributes, raw: Any = None, frames: int = 1) -> Frame:
    return Frame(
        instance, 1, np.zeros((4, 6), np.uint16), Description(4, 6, frames=frames, bits_stored=12, high_bit=11), raw
    )


def overlay(rows: int, columns: int, bits: list[int], row: int = 1, column: int = 1) -> dict[str, Any]:
    data = np.packbits(np.array(bits, np.uint8), bitorder="little").tobytes()
    return {
        "t60000010": [rows], "t60000011": [columns], "t60000040": ["G"], "t60000050": [row, column],
        "t60000100": [1], "t60000102": [0], "t60003000": data,
    }  # fmt: skip


def test_overlay_planes_lie_at_their_origin() -> None:
    picture_, _ = render(flat(attributes(**overlay(2, 2, [1, 0, 0, 1], 3, 6))), Options())
    assert np.argwhere(picture_ == 255).tolist() == [[2, 5]]
    picture_, _ = render(flat(attributes(**overlay(2, 2, [1, 0, 0, 1], 0, 0))), Options())
    assert np.argwhere(picture_ == 255).tolist() == [[0, 0]]
    assert not (render(flat(attributes(**overlay(2, 2, [1, 1, 1, 1]))), Options(overlays=False))[0] == 255).any()
    for rows, columns, row, column in ((2, 6, 1, 9), (2, 6, 1, -9), (6, 2, 7, 1), (6, 2, -7, 1)):  # beside the image
        held = attributes(**overlay(rows, columns, [1] * 12, row, column))
        assert not (render(flat(held), Options())[0] == 255).any()


def test_overlay_bits_within_the_pixels() -> None:
    raw = np.zeros((4, 6), np.uint16)
    raw[1, 2] = 0x8000
    held = attributes(t60000010=[4], t60000011=[6], t60000040=["G"], t60000050=[1, 1], t60000100=[16], t60000102=[15])
    assert np.argwhere(render(flat(held, raw), Options())[0] == 255).tolist() == [[1, 2]]
    nowhere = attributes(t60000010=[4], t60000011=[6], t60000040=["G"], t60000100=[8], t60000102=[300])
    assert not (render(flat(nowhere, raw.astype(np.uint8)), Options())[0] == 255).any()
    own = attributes(**overlay(2, 2, [1, 0, 0, 0]) | {"t60000100": [16], "t60000102": [15]})
    assert np.argwhere(render(flat(own, raw), Options())[0] == 255).tolist() == [[0, 0]]


def test_overlays_of_several_frames() -> None:
    held = attributes(**overlay(1, 2, [0, 1, 1, 0]), t60000015=[2], t60000051=[1])
    places = []
    for number in (1, 2, 3):
        frame = Frame(held, number, np.zeros((4, 6), np.uint16), Description(4, 6, frames=3))
        places.append(np.argwhere(render(frame, Options())[0] == 255).tolist())
    assert places == [[[0, 1]], [[0, 0]], []]


@pytest.mark.parametrize(
    ("more", "on"),
    [
        ({}, [1, 2, 3]),
        ({"t60000015": [1]}, [1, 2, 3]),
        ({"t60000051": [2]}, [2]),
        ({"t60000015": [1], "t60000051": [2]}, [2]),
    ],
)
def test_an_overlay_of_one_frame_lies_over_the_one_it_names(more: dict[str, Any], on: list[int]) -> None:
    """PS3.3 C.9.2: Image Frame Origin."""
    held, found = attributes(**overlay(1, 1, [1]), **more), []
    for number in (1, 2, 3):
        frame = Frame(held, number, np.zeros((4, 6), np.uint16), Description(4, 6, frames=3))
        found += [number] if (render(frame, Options())[0] == 255).any() else []
    assert found == on


@pytest.mark.parametrize("frames", ["inf", "nan", "1e999", "many"])
def test_numbers_that_are_none_are_as_if_not_there(frames: str) -> None:
    held = attributes(**overlay(1, 1, [1]), t60000015=[frames])
    assert (render(flat(held), Options())[0] == 255).sum() == 1


@pytest.mark.parametrize(("vr", "stored"), [("OW", b"\x00\x01\x80\x00"), ("OB", b"\x01\x00\x00\x80")])
def test_overlay_data_of_big_endian_data_sets(vr: str, stored: bytes) -> None:
    """Words are the other way round where they lie in the data set; octets are not."""
    members = {"60000010": [4], "60000011": [8], "60000040": ["G"], "60000050": [1, 1]}
    held: dict[str, Any] = {tag: {"vr": "XX", "Value": value} for tag, value in members.items()}
    held["60003000"] = {"vr": vr, "BulkDataURI": "?offset=0&length=4"}
    instance = Attributes(held, lambda at, length: stored[at : at + length], big_endian=True)
    frame = Frame(instance, 1, np.zeros((4, 8), np.uint16), Description(4, 8))
    assert np.argwhere(render(frame, Options())[0] == 255).tolist() == [[0, 0], [3, 7]]


def ramp_frame(instance: Attributes = attributes()) -> Frame:  # noqa: B008
    return Frame(instance, 1, RAMP.astype(np.uint16), Description(6, 8))


def state(kind: str = GRAYSCALE, **members: Any) -> Any:
    return state_for(attributes(t00080016=[kind], **members), "1.2.3", 1, Description(2, 3))


def test_a_state_turns_and_flips() -> None:
    window = {"t00281050": [23.5], "t00281051": [47], "t00281056": ["LINEAR_EXACT"]}
    plain, _ = render(ramp_frame(attributes(**window)), Options())
    for rotation, turns in ((0, 0), (90, 3), (180, 2), (270, 1)):
        for flip in ("N", "Y"):
            held = state(t00700042=[rotation], t00700041=[flip], t00283110=[window], t20500020=["IDENTITY"])
            turned, _ = render(ramp_frame(), Options(), held)
            expected = np.rot90(plain, turns)
            assert turned.tolist() == (expected[:, ::-1] if flip == "Y" else expected).tolist()


def test_a_state_is_for_the_images_it_names() -> None:
    named = {"t00080016": [GRAYSCALE], "t00283110": [
        {"t00081140": [{"t00081155": ["9.9"]}], "t00281050": [1], "t00281051": [1]},
        {"t00081140": [{"t00081155": ["1.2.3"], "t00081160": [2]}], "t00281050": [2], "t00281051": [2]},
        {"t00081140": [{"t00081155": ["1.2.3"], "t00081160": [1]}], "t00281050": [3], "t00281051": [3]},
    ]}  # fmt: skip
    assert state_for(attributes(**named), "1.2.3", 1, Description(2, 3)).voi.center == 3
    assert state_for(attributes(**named), "1.2.3", 2, Description(2, 3)).voi.center == 2
    assert state_for(attributes(**named), "9.9", 7, Description(2, 3)).voi.center == 1


def test_inverse_ignores_the_photometric_interpretation_of_the_image() -> None:
    described = Description(1, 2, 1, 16, 4, 3, photometric="MONOCHROME1")
    frame = Frame(attributes(), 1, np.array([[0, 15]], np.uint16), described)
    assert render(frame, Options(), state(t20500020=["INVERSE"]))[0].tolist() == [[255, 0]]
    assert render(frame, Options(), state(t20500020=["IDENTITY"]))[0].tolist() == [[0, 255]]


def test_displayed_area_shutter_and_graphics() -> None:
    held = state(
        t0070005a=[{"t00700052": [3, 2], "t00700053": [6, 5]}],
        t00181600=["RECTANGULAR"], t00181602=[2], t00181604=[7], t00181606=[1], t00181608=[5], t00181622=[0],
        t00700001=[{"t00700002": ["L"], "t00700009": [
            {"t00700005": ["PIXEL"], "t00700023": ["POLYLINE"], "t00700022": [2, 1.5, 6, 1.5], "t00700021": [2]},
        ]}],
        t00700060=[{"t00700002": ["L"], "t00700066": [0xC000]}],
    )  # fmt: skip
    frame = Frame(attributes(), 1, np.full((6, 8), 0x8080, np.uint16), Description(6, 8))
    cut, _ = render(frame, Options(), held)
    assert cut.shape == (4, 4)
    assert cut[0].tolist() == [0xC0] * 4
    assert cut[3].tolist() == [0] * 4  # row 5 lies under the shutter
    assert cut[1].tolist() == [128] * 4


def test_circles_and_polygons_hide_their_outside() -> None:
    frame = Frame(attributes(), 1, np.full((20, 20), 0x8080, np.uint16), Description(20, 20))
    round_, _ = render(frame, Options(), state(t00181600=["CIRCULAR"], t00181610=[10, 10], t00181612=[4]))
    assert round_[9, 9] == 128 and round_[0, 0] == 0 and round_[9, 15] == 0
    corners = {"t00181620": [5, 5, 5, 15, 15, 10]}
    triangle, _ = render(frame, Options(), state(t00181600=["POLYGONAL"], **corners, t00181610=[1, 1], t00181612=[4]))
    assert triangle[9, 9] == 128 and triangle[2, 9] == 0 and triangle[13, 6] == 0
    line, _ = render(frame, Options(), state(t00181600=["POLYGONAL"], t00181620=[5, 5, 5, 15]))
    assert (line == 128).all()


@pytest.mark.parametrize("media_type", SINGLE)
@pytest.mark.parametrize("shape", [(1, 1), (9, 1), (1, 9)])
def test_pictures_of_one_row_or_column(media_type: str, shape: tuple[int, int]) -> None:
    """Also those that are parts of others, or turned."""
    whole = np.full((*shape, 4), 70, np.uint8)
    for part in (whole[..., 1:], whole[..., 0], whole[::-1, ::-1, 0], whole[::-1, ::-1, 1:]):
        assert picture(media_type, part)


def test_pseudo_color() -> None:
    data = {f"t0028120{n}": np.array([0, 0x8000, 0xFFFF], "<u2").tobytes() for n in (1, 2)}
    data["t00281203"] = np.array([0, 0, 0], "<u2").tobytes()
    tables = {f"t0028110{n}": [3, 0, 16] for n in (1, 2, 3)}
    held = state(PSEUDO_COLOR, **tables, **data)
    frame = Frame(attributes(), 1, np.array([[0, 2, 3]], np.uint16), Description(1, 3, 1, 16, 2, 1))
    assert render(frame, Options(), held)[0].tolist() == [[[0, 0, 0], [128, 128, 0], [255, 255, 0]]]


def test_pseudo_color_has_as_many_colors_as_its_palette() -> None:
    entries = np.arange(1024, dtype="<u2") << 6
    entries[513] = 0xFFFF  # between two of 256 levels
    tables = {f"t0028110{n}": [1024, 0, 16] for n in (1, 2, 3)}
    held = state(PSEUDO_COLOR, **tables, **{f"t0028120{n}": entries.tobytes() for n in (1, 2, 3)})
    stored = np.arange(1024, dtype=np.uint16).reshape(8, 128)
    made = render(Frame(attributes(), 1, stored, Description(8, 128, 1, 16, 10, 9)), Options(), held)[0]
    assert made[..., 0].reshape(-1).tolist() == (entries >> 8).tolist()


def test_a_color_state_leaves_the_window_alone() -> None:
    held = state(COLOR, t00700042=[180], t00283110=[{"t00281050": [1], "t00281051": [1]}])
    frame = Frame(
        attributes(), 1, np.array([[[1, 2, 3], [4, 5, 6]]], np.uint8), Description(1, 2, 3, 8, 8, 7, photometric="RGB")
    )
    assert render(frame, Options(), held)[0].tolist() == [[[4, 5, 6], [1, 2, 3]]]


def test_other_states_are_not_rendered() -> None:
    with pytest.raises(NotAcceptable):
        state("1.2.840.10008.5.1.4.1.1.11.4")


def test_references_in_order() -> None:
    image = {"t00081150": ["1.2"], "t00081155": ["1.2.3"], "t00081160": [1, 3]}
    found = references(attributes(t00081115=[{"t0020000e": ["5"], "t00081140": [image]}]))
    assert [(each.series_uid, each.sop_instance_uid, each.frames) for each in found] == [("5", "1.2.3", (1, 3))]


def test_annotations_are_drawn_only_when_asked_for() -> None:
    name = {"vr": "PN", "Value": [{"Alphabetic": "DOE^JANE"}]}
    instance = Attributes({"00100010": name, "00080060": {"vr": "CS", "Value": ["CT"]}})
    frame = Frame(instance, 1, np.zeros((120, 200), np.uint16), Description(120, 200))
    plain = render(frame, Options())[0]
    patient = render(frame, Options(annotations=frozenset({"patient"})))[0]
    technique = render(frame, Options(annotations=frozenset({"technique"})))[0]
    assert (plain != patient)[:40, :100].any() and not (plain != patient)[:, 120:].any()
    assert (plain != technique)[:40, 120:].any() and not (plain != technique)[:, :100].any()
