"""Grayscale presentation states over an image, as DCMTK's dcmp2pgm renders them: every way to turn, window and invert.

Its sigmoid is a line, so none is here.
"""

from __future__ import annotations

import subprocess
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from golden_objects import body
from interop.pictured import dataset, image, item, reference
from PIL import Image
from programs import need

from sagittal.convert.files import object_in
from sagittal.convert.overlaid import shown_frame
from sagittal.pixels.rendering.render import Options
from sagittal.workers.worker import Input

CORNERS: dict[str, Any] = {"DisplayedAreaTopLeftHandCorner": [1, 1], "PresentationPixelAspectRatio": [1, 1]}
NAMED = ("StudyDate", "StudyTime", "ReferringPhysicianName", "StudyID", "AccessionNumber", "SeriesNumber")
NAMED += ("PatientBirthDate", "PatientSex", "Manufacturer", "ContentDescription", "ContentCreatorName")


def table(entries: Any, first: int, bits: int) -> Any:
    made = item()
    made.add_new(0x00283002, "US", [len(entries), first, bits])
    made.add_new(0x00283006, "OW", np.asarray(entries).astype("<u2").tobytes())
    return made


VOI = {
    "window": item(WindowCenter=500, WindowWidth=700),
    "table": item(VOILUTSequence=[table(np.linspace(0, 1, 900) ** 2 * 4095, 50, 12)]),
}
PRESENTATION: dict[str, dict[str, Any]] = {
    "identity": {"PresentationLUTShape": "IDENTITY"},
    "inverse": {"PresentationLUTShape": "INVERSE"},
    "table": {"PresentationLUTSequence": [table(1023 - np.arange(1024), 0, 10)]},
}


def rendered(state: Any, held: Any, folder: Path) -> tuple[Any, Any]:
    """By us, and by DCMTK."""
    for name, each in (("image", held), ("state", state)):
        each.save_as(folder / f"{name}.dcm", enforce_file_format=True)
    with (folder / "image.dcm").open("rb") as first, (folder / "state.dcm").open("rb") as second:
        one, over = (object_in(Input(file.fileno(), 0, Path(file.name).stat().st_size)) for file in (first, second))
        shown = shown_frame(one, over, one.frame(1), Options())[0]
    command = [need("dcmp2pgm"), "-p", folder / "state.dcm", folder / "image.dcm", folder / "made.pgm"]
    subprocess.run(command, check=True, capture_output=True)
    return shown, np.asarray(Image.open(folder / "made.pgm"))


@pytest.mark.parametrize(("rotation", "flip"), list(product((0, 90, 180, 270), "NY")))
@pytest.mark.parametrize(("photometric", "voi", "presentation"), [
    ("MONOCHROME2", "window", "identity"), ("MONOCHROME1", "window", "inverse"), ("MONOCHROME2", "table", "table"),
    ("MONOCHROME1", "table", "identity"), ("MONOCHROME2", None, "inverse"),
])  # fmt: skip
def test_as_dcmtk(
    rotation: int, flip: str, photometric: str, voi: str | None, presentation: str, tmp_path: Path
) -> None:
    held = image(1, body(0, 500, 900, 200).astype(np.uint16), "7", PhotometricInterpretation=photometric)
    held.BitsStored, held.HighBit = 12, 11
    whole = item(DisplayedAreaBottomRightHandCorner=[96, 64], PresentationSizeMode="SCALE TO FIT", **CORNERS)
    state = dataset(2, "11.1", ImageRotation=rotation, ImageHorizontalFlip=flip, **PRESENTATION[presentation])
    for name in NAMED:
        setattr(state, name, "")
    state.Modality, state.ContentLabel, state.PresentationCreationDate = "PR", "TURNED", "20260101"
    state.PresentationCreationTime = "120000"
    named = item(SeriesInstanceUID=held.SeriesInstanceUID, ReferencedImageSequence=[reference(held)])
    state.ReferencedSeriesSequence, state.DisplayedAreaSelectionSequence = [named], [whole]
    if voi is not None:
        state.SoftcopyVOILUTSequence = [VOI[voi]]
    ours, theirs = rendered(state, held, tmp_path)
    assert ours.shape == theirs.shape == ((64, 96) if rotation % 180 == 0 else (96, 64))
    assert np.ptp(theirs) > 40
    assert np.abs(ours.astype(int) - theirs).max() <= 2
