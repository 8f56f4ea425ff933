"""Frames with structure sets and segmentations over them, label maps too; segmentations alone."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from interop import pictured

from sagittal.convert import overlaid
from sagittal.convert.files import object_in
from sagittal.convert.overlaid import film, shown_frame
from sagittal.dicom.syntaxes import EXPLICIT_LE, JPEG_2000_LOSSLESS
from sagittal.errors import NotAcceptable, PixelsUndecodable
from sagittal.pixels.images import Image
from sagittal.pixels.rendering.geometry import Viewport
from sagittal.pixels.rendering.over import regions
from sagittal.pixels.rendering.render import Frame, Options
from sagittal.workers.worker import Input

PLAIN = Options()


def read(path: Path) -> Image:
    fd = os.open(path, os.O_RDONLY)
    return object_in(Input(fd, 0, path.stat().st_size))


def slide(corpus_dir: Path) -> Image:
    return read(corpus_dir / "SM" / "highdicom__sm_image_control.dcm")


def segmentation(corpus_dir: Path, name: str) -> Image:
    return read(corpus_dir / "SEG" / f"highdicom__seg_image_sm_{name}.dcm")


@pytest.mark.parametrize("kind", sorted(regions.SEGMENTATIONS))
def test_a_segmentation_in_color_is_none(kind: str, tmp_path: Path) -> None:
    made = pictured.image(1, np.zeros((4, 4, 3), np.uint8), kind.removeprefix(pictured.STORAGE))
    made.save_as(tmp_path / "seg.dcm", enforce_file_format=True)
    held = read(tmp_path / "seg.dcm")
    with pytest.raises(NotAcceptable, match="one sample per pixel"):
        shown_frame(held, None, held.frame(1), PLAIN)


def fractions(tmp_path: Path, *stored: int, kind: str = "FRACTIONAL", most: int | None = 255) -> list[int]:
    """The grey of the pixels of a segmentation alone, whose color is told nowhere: it is white."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian

    held = Dataset()
    held.file_meta = FileMetaDataset()
    held.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    held.SOPClassUID, held.SOPInstanceUID = regions.SEGMENTATION, "2.25.1"
    held.Rows, held.Columns, held.BitsAllocated, held.BitsStored, held.HighBit = 1, len(stored), 8, 8, 7
    held.SamplesPerPixel, held.PixelRepresentation, held.PhotometricInterpretation = 1, 0, "MONOCHROME2"
    held.SegmentationType, held.MaximumFractionalValue = kind, most
    held.add_new(0x7FE00010, "OB", bytes(stored))
    held.save_as(tmp_path / "seg.dcm", enforce_file_format=True)
    image = read(tmp_path / "seg.dcm")
    shown = shown_frame(image, None, image.frame(1), PLAIN)[0]
    assert (shown == shown[..., :1]).all()
    return shown[0, :, 0].tolist()  # type: ignore[no-any-return]


def test_fractions_are_of_the_most_that_there_can_be(tmp_path: Path) -> None:
    """PS3.3 C.8.20.2.3: whatever the greatest of a frame is."""
    assert fractions(tmp_path, 0, 1, 0, 1) == [0, 1, 0, 1]
    assert fractions(tmp_path, 0, 51, 255, 1) == [0, 51, 255, 1]
    assert fractions(tmp_path, 0, 5, 10, 0, most=10) == [0, 128, 255, 0]
    assert fractions(tmp_path, 0, 1, 1, 0, kind="BINARY", most=None) == [0, 255, 255, 0]


def test_a_label_map_holds_the_segments_of_its_binary_twin(corpus_dir: Path) -> None:
    """The same segmentation of the same slide, as bit planes and as labels: each segment has the same pixels."""
    binary, labels = segmentation(corpus_dir, "control"), segmentation(corpus_dir, "control_labelmap")
    masks: dict[int, list[Any]] = {}
    for number in range(1, binary.count + 1):
        segment = regions.segment_of(binary.attributes, number)
        masks.setdefault(segment, []).append(shown_frame(binary, None, binary.frame(number), PLAIN)[0].any(axis=2))
    found = Counter[int]()
    for number in range(1, labels.count + 1):
        (label,) = set(np.unique(labels.frame(number).stored).tolist()) - {0}
        shown = shown_frame(labels, None, labels.frame(number), PLAIN)[0]
        assert any(np.array_equal(shown.any(axis=2), mask) for mask in masks[label])
        assert len(np.unique(shown.reshape(-1, 3), axis=0)) == 2
        found[label] += 1
    assert found == Counter({segment: len(each) for segment, each in masks.items()})


def test_a_palette_is_the_color_of_labels(corpus_dir: Path) -> None:
    held = segmentation(corpus_dir, "control_labelmap_palette_color")
    stored = held.frame(4).stored
    shown = shown_frame(held, None, held.frame(4), PLAIN)[0]
    expected = regions.label_colors(held.attributes, stored)
    assert (shown[stored > 0] == expected[stored > 0]).all() and not shown[stored == 0].any()
    assert shown_frame(held, None, held.frame(4), Options(viewport=Viewport(40, 40)))[0].shape == (40, 40, 3)


@pytest.mark.parametrize("name", ["control", "control_labelmap"])
def test_only_the_frame_that_it_names(corpus_dir: Path, name: str) -> None:
    image, over = slide(corpus_dir), segmentation(corpus_dir, name)
    named = {int(n) for each in range(1, over.count + 1) for n in regions.sources(over.attributes, each)[0].frames}
    for number in range(1, image.count + 1):
        bare = shown_frame(image, None, image.frame(number), PLAIN)[0]
        covered = shown_frame(image, over, image.frame(number), PLAIN)[0]
        assert np.array_equal(bare, covered) == (number not in named)


def test_labels_on_another_grid_are_laid_over_by_their_planes(corpus_dir: Path) -> None:
    """The nearest label, never one between two; outside of the label map nothing."""
    from sagittal.convert import overlaid

    labels = np.array([[1.0, 8.0], [3.0, 0.0]]) + 1
    coarse = regions.Plane(np.array([0.5, 0.5, 0]), np.array([2.0, 0, 0]), np.array([0, 2.0, 0]))
    fine = regions.Plane(np.zeros(3), np.array([1.0, 0, 0]), np.array([0, 1.0, 0]))
    segment = overlaid._labels(
        segmentation(corpus_dir, "control_labelmap"), regions.laid_over(labels, coarse, fine, (4, 6))
    )
    assert segment.mask.tolist() == [[1, 1, 1, 1, 0, 0]] * 2 + [[1, 1, 0, 0, 0, 0]] * 2
    assert len(np.unique(np.asarray(segment.color)[segment.mask > 0], axis=0)) == 3


def test_annotations_and_viewports_hold_for_what_lies_over(corpus_dir: Path) -> None:
    image, over = slide(corpus_dir), segmentation(corpus_dir, "control")
    frame = image.frame(1)
    plain = shown_frame(image, over, frame, Options(viewport=Viewport(200, 200)))[0]
    told = shown_frame(image, over, frame, Options(viewport=Viewport(200, 200), annotations=frozenset({"patient"})))[0]
    assert plain.shape == told.shape == (200, 200, 3) and (plain != told).any()


@pytest.mark.parametrize(
    ("said", "shown"), [({}, [[0, 51], [102, 255]]), ({"WindowCenter": 5, "WindowWidth": 10}, None)]
)
def test_frames_of_a_film_are_as_bright_as_each_other(said: dict[str, Any], shown: Any, tmp_path: Path) -> None:
    """Each by its own range, a dose or a perfusion would be as high in all of them."""
    frames = np.array([[[0, 20]], [[40, 100]]], np.uint16)
    pictured.image(1, frames, "7.3", **said).save_as(tmp_path / "film.dcm", enforce_file_format=True)
    held = read(tmp_path / "film.dcm")
    made = [picture[0].tolist() for picture in film(held, None, [1, 2], PLAIN)]
    assert made == (shown or [shown_frame(held, None, held.frame(n), PLAIN)[0][0].tolist() for n in (1, 2)])


@pytest.mark.parametrize(
    ("said", "beside"),
    [({"RescaleSlope": "0.0001", "RescaleIntercept": "0"}, 0), ({"PixelPaddingValue": 9000}, 9000)],
)
def test_a_frame_with_nothing_on_it_leaves_the_others_of_a_film_as_they_are(
    said: dict[str, Any], beside: int, tmp_path: Path
) -> None:
    frames = np.array([[[beside, beside]], [[0, 100]]], np.uint16)
    pictured.image(1, frames, "7.3", **said).save_as(tmp_path / "film.dcm", enforce_file_format=True)
    held = read(tmp_path / "film.dcm")
    assert [picture[0].tolist() for picture in film(held, None, [1, 2], PLAIN)] == [[0, 0], [0, 255]]


def test_frames_of_a_film_share_their_range_below_what_lies_over_them(tmp_path: Path) -> None:
    frames = np.array([[[0, 20]], [[40, 100]]], np.uint16)
    pictured.image(1, frames, "7.3").save_as(tmp_path / "film.dcm", enforce_file_format=True)
    held = read(tmp_path / "film.dcm")
    structures = {"00080016": {"vr": "UI", "Value": [regions.RT_STRUCTURE_SET]}}
    over = replace(held, members={**held.members, **structures})
    assert [picture[0].tolist() for picture in film(held, over, [1, 2], PLAIN)] == [[0, 51], [102, 255]]


@pytest.mark.parametrize(("room", "decoded"), [(1 << 20, [1, 2, 3]), (8, [1, 2, 3, 3]), (0, [1, 2, 3, 1, 2, 3])])
def test_frames_of_a_film_are_decoded_once_where_there_is_room(
    room: int, decoded: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames = np.array([[[0, 20]], [[40, 60]], [[80, 100]]], np.uint16)
    pictured.image(1, frames, "7.3").save_as(tmp_path / "film.dcm", enforce_file_format=True)
    held, numbers, frame_of = read(tmp_path / "film.dcm"), list[int](), Image.frame

    def frame(image: Image, number: int) -> Frame:
        numbers.append(number)
        return frame_of(image, number)

    monkeypatch.setattr(Image, "frame", frame)
    monkeypatch.setattr(overlaid, "_HELD_BYTES", room)
    assert [made[0].tolist() for made in film(held, None, [1, 2, 3], PLAIN)] == [[0, 51], [102, 153], [204, 255]]
    assert numbers == decoded


def test_pictures_of_frames_share_their_range_where_a_look_at_all_is_cheap(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def shown(held: Image, number: int) -> list[int]:
        return shown_frame(held, None, held.frame(number), PLAIN)[0][0].tolist()  # type: ignore[no-any-return]

    def other(name: str, **more: Any) -> Image:
        pictured.image(1, frames, "7.3", **more).save_as(tmp_path / name, enforce_file_format=True)
        return read(tmp_path / name)

    frames = np.array([[[0, 20]], [[40, 60]], [[80, 100]]], np.uint16)
    held, frame_of = other("plain"), Image.frame
    assert [shown(held, number) for number in (1, 2, 3)] == [[0, 51], [102, 153], [204, 255]]
    assert [made[0].tolist() for made in film(held, None, [2], PLAIN)] == [[102, 153]]
    assert shown(other("windowed", WindowCenter=50, WindowWidth=20), 2) == [0, 255]

    def frame(image: Image, number: int) -> Frame:
        if number == 3:
            raise PixelsUndecodable("broken")
        return frame_of(image, number)

    with monkeypatch.context() as broken:
        broken.setattr(Image, "frame", frame)
        assert shown(other("broken"), 2) == [0, 255]
    monkeypatch.setattr(overlaid, "_LOOKED_BYTES", 3 * ((1 << 14) + 4) - 1)
    assert shown(other("dear"), 2) == [0, 255]


def test_of_compressed_frames_fewer_are_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[str] = []
    monkeypatch.setattr(overlaid, "_range", lambda image: looked.append(image.syntax_uid))
    monkeypatch.setattr(overlaid, "_LOOKED_BYTES", 3 * ((1 << 14) + 4))
    pictured.image(1, np.zeros((3, 1, 2), np.uint16), "7.3").save_as(tmp_path / "three", enforce_file_format=True)
    for syntax_uid in (EXPLICIT_LE, JPEG_2000_LOSSLESS):
        held = read(tmp_path / "three")
        shown_frame(replace(held, syntax_uid=syntax_uid), None, held.frame(1), PLAIN)
    assert looked == [EXPLICIT_LE]
