"""Presentation states of several images, states that are refused, and color spaces, asked for over HTTP."""

from __future__ import annotations

import io
from typing import Any

import httpx
import numpy as np
import pytest
from conftest import Served
from interop.pictured import dataset, image, item
from PIL import Image

STUDY = "2.25.77055"
SERIES = f"{STUDY}.1"


def stored(served: Served, held: Any, series: str = SERIES) -> str:
    import pydicom

    held.StudyInstanceUID, held.SeriesInstanceUID, held.SOPInstanceUID = STUDY, series, f"{STUDY}.{held.InstanceNumber}"
    held.file_meta.MediaStorageSOPInstanceUID = held.SOPInstanceUID
    file = io.BytesIO()
    pydicom.dcmwrite(file, held, enforce_file_format=True)
    kind = {"content-type": "application/dicom"}
    answer = httpx.post(served.http + "/dicom-web/studies", content=file.getvalue(), headers=kind, timeout=60)
    assert answer.status_code == 200, answer.text
    return f"{served.http}/dicom-web/studies/{STUDY}/series/{series}/instances/{held.SOPInstanceUID}"


@pytest.fixture(scope="module")
def held(shared_server: Served) -> dict[str, str]:
    """Three images, a state that turns the first two, a blending state, an image in color."""
    addresses = {}
    ramp = np.arange(20 * 30, dtype=np.uint16).reshape(20, 30) * 100
    for number in (101, 102, 103):
        addresses[str(number)] = stored(shared_server, image(number, ramp + number, WindowCenter=1, WindowWidth=2))
    state = dataset(104, "11.1", PresentationLUTShape="IDENTITY", ImageRotation=90, ImageHorizontalFlip="N")
    named = [
        item(ReferencedSOPClassUID="1.2.840.10008.5.1.4.1.1.2", ReferencedSOPInstanceUID=f"{STUDY}.{number}")
        for number in (102, 101)
    ]
    state.ReferencedSeriesSequence = [item(SeriesInstanceUID=SERIES, ReferencedImageSequence=named)]
    addresses["state"] = stored(shared_server, state, f"{STUDY}.2")
    addresses["blending"] = stored(shared_server, dataset(105, "11.4"), f"{STUDY}.3")
    color = np.full((20, 30, 3), (255, 0, 0), np.uint8)
    addresses["color"] = stored(shared_server, image(106, color, "7"), f"{STUDY}.4")
    return addresses


def get(address: str, accept: str = "image/png") -> httpx.Response:
    return httpx.get(address, headers={"accept": accept}, timeout=60)


def sizes(answer: httpx.Response) -> list[tuple[int, int]]:
    assert answer.status_code == 200, answer.text
    starts = [at for at in range(len(answer.content)) if answer.content.startswith(b"\x89PNG", at)]
    return [Image.open(io.BytesIO(answer.content[at:])).size for at in starts]


PARTS = 'multipart/related; type="image/png"'


def test_a_state_over_all_its_images(held: dict[str, str]) -> None:
    assert Image.open(io.BytesIO(get(held["state"] + "/rendered").content)).size == (20, 30)
    answer = get(held["state"] + "/rendered", PARTS)
    assert sizes(answer) == [(20, 30), (20, 30)]
    places = [answer.content.find(f"{held[name]}/frames/1/rendered".encode()) for name in ("102", "101")]
    assert 0 < places[0] < places[1]  # in the order of the state


def test_a_series_with_a_state_is_the_images_that_it_names(held: dict[str, str]) -> None:
    series = held["101"].partition("/instances/")[0]
    assert sizes(get(series + "/rendered", PARTS)) == [(30, 20)] * 3
    answer = get(f"{series}/rendered?presentationUID={STUDY}.104", PARTS)
    assert sizes(answer) == [(20, 30)] * 2
    assert held["103"].encode() not in answer.content


def test_a_state_of_other_images_is_refused(held: dict[str, str]) -> None:
    answer = get(f"{held['103']}/rendered?presentationUID={STUDY}.104")
    assert answer.status_code == 406 and "not for this image" in answer.json()["detail"]
    answer = get(f"{held['101']}/rendered?presentationUID={STUDY}.102")
    assert answer.status_code == 406 and "presentation state" in answer.json()["detail"]


def test_states_that_blend_are_refused(held: dict[str, str]) -> None:
    answer = get(held["blending"] + "/rendered")
    assert answer.status_code == 406 and "blends two series" in answer.json()["detail"]
    assert get(held["blending"] + "/thumbnail").status_code == 200  # a card
    answer = get(f"{held['101']}/rendered?presentationUID={STUDY}.105")
    assert answer.status_code == 406 and "blends two series" in answer.json()["detail"]


def test_color_spaces(held: dict[str, str]) -> None:
    for name, red in (("srgb", (255, 0, 0)), ("adobergb", (219, 0, 0)), ("rommrgb", (179, 70, 26))):
        shown = Image.open(io.BytesIO(get(f"{held['color']}/rendered?iccprofile={name}").content))
        assert shown.info["icc_profile"][36:40] == b"acsp"
        assert np.abs(np.asarray(shown)[5, 5].astype(int) - red).max() <= 2
    assert get(f"{held['color']}/rendered?iccprofile=srgb", "image/gif").status_code == 406
    assert get(f"{held['color']}/rendered", "image/gif").status_code == 200
