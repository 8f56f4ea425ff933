"""Every image of the corpus looks as DCMTK renders it; as pydicom's transformations do where DCMTK has no codec.

Daily one of each modality, transfer syntax and SOP class, all of them under `slow`.
"""

from __future__ import annotations

import io
import subprocess
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from interop.corpus import Taken, corpus_files
from PIL import Image
from programs import corpus_folder, need

from sagittal.convert.files import object_in
from sagittal.errors import NotFound, SagittalError
from sagittal.pixels.rendering import grayscale
from sagittal.pixels.rendering.render import Frame, Options, render
from sagittal.workers.worker import Input

LARGE = ["CR", "DX", "RG"]  # some seconds each
MODALITIES = ["CT", "MG", "MR", "NM", "OP", "PT", "RTDOSE", "RTIMAGE", "SM", "US", "XA", "XC", "OT"]
APART = {  # files that both renderers show otherwise than we do, and why
    "dicomParser__CT1_UNC.explicit_big_endian.dcm": "DCMTK counts padding when it looks for the window",
    "healthcare-dicom-dicom__example-mg.dcm": "a JFIF stream is YBR, whatever the data set says; DCMTK shows it as RGB",
    "dtf__rtdose_expb.dcm": "DCMTK swaps 32-bit words wrongly; the same file in little endian is as it should be",
    "dtf__rtdose_expb_1frame.dcm": "the same",
    "dicom-validator-ts__iod-sop-class-unknown.dcm": "one value everywhere: gray here, black there",
    "highdicom__sm_image_grayscale.dcm": "the same",
    "highdicom__sm_image_grayscale_reversed.dcm": "the same",
    "dtf__gdcm-US-ALOKA-16.dcm": "neither reads its palette",
    "dtf__SC_rgb_gdcm_KY.dcm": "a J2K stream in another color space than it says",
}
LARGEST_BYTES = 40_000_000


def ours(path: Path, *, square: bool = False) -> tuple[Any, Frame] | None:
    """The first frame without overlays, its pixels made square or as they are; None for what is no image."""
    with path.open("rb") as file:
        try:
            image = object_in(Input(file.fileno(), 0, path.stat().st_size))
            frame = image.frame(1)
            if not square:
                frame.instance.recall("aspect", lambda: 1.0)
            return render(frame, Options(overlays=False))[0], frame
        except (NotFound, SagittalError) as error:
            assert isinstance(error, NotFound) or "ends inside" in error.text, f"{path.name}: {error}"
            return None


def by_dcmtk(path: Path, frame: Frame, gray: bool, made: Path) -> Any | None:
    voi = grayscale.frame_voi(frame.instance, 1, signed=True)
    window = ["+Wm"] if voi is None else ["+Wi", "1"] if isinstance(voi, grayscale.Window) else ["+Wl", "1"]
    if 0x52009229 in frame.instance:
        return None  # it does not look into functional groups
    command = [need("dcmj2pnm"), "-O", "+F", "1", *(window if gray else []), "+on", str(path), str(made)]
    if subprocess.run(command, capture_output=True).returncode:
        return None
    return np.asarray(Image.open(made))


def images(modality: str, taken: Taken) -> list[Path]:
    files = (file for file in corpus_files(corpus_folder()) if file.name.startswith(f"{modality}/"))
    small = [file for file in files if file.path.stat().st_size <= LARGEST_BYTES and file.path.name not in APART]
    return [file.path for file in taken(small)]


def flattened(held: Any) -> Any:
    """With what the functional groups say of the first frame's values, which pydicom's functions don't look for."""
    shared = held.get("SharedFunctionalGroupsSequence") or []
    frames = held.get("PerFrameFunctionalGroupsSequence") or []
    for group in (*shared[:1], *frames[:1]):
        for macro in ("PixelValueTransformationSequence", "FrameVOILUTSequence"):
            for element in (group.get(macro) or [[]])[0]:
                held.add(element)
    return held


def by_pydicom(path: Path, frame: Frame, gray: bool) -> Any | None:
    import pydicom
    from pydicom.pixels import apply_modality_lut, apply_voi_lut, pixel_array

    held = flattened(pydicom.dcmread(path, force=True))
    try:
        pixels = pixel_array(held, index=0)
    except Exception:  # no plugin, or a defect that it does not take
        return None
    if not gray:
        return pixels if pixels.dtype == np.uint8 and pixels.ndim == 3 else None
    values = apply_modality_lut(pixels, held).astype(float)
    if "WindowCenter" in held or "VOILUTSequence" in held:
        if "BitsStored" not in held:  # of floats, which it takes for integers here
            return None
        shown = apply_voi_lut(values, held).astype(float)
        low, high = apply_voi_lut(np.array([-1e9, 1e9]), held)
    else:
        shown, low, high = values, values.min(), values.max()
    octets = np.round(np.clip((shown - low) / max(high - low, 1e-9), 0, 1) * 255)
    return 255 - octets if held.PhotometricInterpretation == "MONOCHROME1" else octets


def comparable(shown: Any, other: Any) -> tuple[Any, Any]:
    """Both in color when one is."""
    both = [np.asarray(each).astype(int) for each in (shown, other)]
    if both[0].ndim != both[1].ndim:
        both = [each if each.ndim == 3 else np.repeat(each[..., None], 3, axis=2) for each in both]
    return both[0], both[1]


@pytest.mark.parametrize("modality", [*MODALITIES, *(pytest.param(each, marks=pytest.mark.slow) for each in LARGE)])
def test_looks_as_elsewhere(modality: str, taken: Taken, tmp_path: Path) -> None:
    need("dcmj2pnm")
    warnings.simplefilter("ignore")
    counts: Counter[str] = Counter()
    for path in images(modality, taken):
        if (made := ours(path)) is None:
            continue
        shown, frame = made
        gray = frame.description.photometric.startswith("MONOCHROME")
        other, judge = by_dcmtk(path, frame, gray, tmp_path / "made.png"), "dcmtk"
        if other is None:
            other, judge = by_pydicom(path, frame, gray), "pydicom"
        counts[judge if other is not None else "none"] += 1
        if other is None:
            print(f"{path.name}: no other renderer")
            continue
        left, right = comparable(shown, other)
        assert left.shape == right.shape, path.name
        apart = np.abs(left - right)
        padding = grayscale.padding_of(frame.instance, frame.stored, signed=frame.description.signed) if gray else None
        if padding is not None:
            apart[padding] = 0  # background here, values like others there
        if gray and 0x00281101 in frame.instance:  # a supplemental palette, which no other renderer has
            colored = frame.stored >= frame.instance.numbers(0x00281101)[1]
            assert (np.ptp(shown[colored].astype(int), axis=1) > 0).mean() > 0.9
            apart[colored] = 0
        assert apart.mean() <= 1.0, f"{path.name}: {apart.mean():.2f} from {judge}"
        assert (apart > 4).mean() <= 0.001, f"{path.name}: {(apart > 4).sum()} pixels from {judge}"
    print(dict(counts))
    assert counts["dcmtk"] + counts["pydicom"] >= 1
    assert counts["none"] <= {"SM": 0, "OT": 8, "US": 3}.get(modality, 2)


@pytest.mark.parametrize(
    "name",
    ["US/dcm4che__US-RGB-8-esopecho", "US/healthcare-dicom-dicom__*.201235357587280", "dicomdir/**/98892001/CT2N/6293"],
)
def test_pixels_are_made_as_square_as_dcmtk_makes_them(name: str, tmp_path: Path) -> None:
    (path,) = corpus_folder().glob(name)
    made = ours(path, square=True)
    assert made is not None
    (rows, columns), shown = made[1].stored.shape[:2], made[0]
    longer = ("+Sxv", str(columns)) if shown.shape[1] == columns else ("+Syv", str(rows))
    command = [need("dcmj2pnm"), "-O", "+F", "1", "+on", *longer, str(path), str(tmp_path / "made.png")]
    subprocess.run(command, check=True, capture_output=True)
    other = np.asarray(Image.open(tmp_path / "made.png"))
    assert shown.shape[:2] != (rows, columns)
    assert np.abs(np.subtract(shown.shape[:2], other.shape[:2])).max() <= 1  # it cuts off what we round


def test_the_same_dose_in_both_byte_orders() -> None:
    folder = corpus_folder() / "RTDOSE"
    little, big = ours(folder / "dtf__rtdose.dcm"), ours(folder / "dtf__rtdose_expb.dcm")
    assert little is not None and big is not None and (little[0] == big[0]).all()


def test_overlays_lie_where_dcmtk_puts_them(tmp_path: Path) -> None:
    """An image of ours, since the corpus' overlays are empty: written by pydicom, rendered by DCMTK with overlays."""
    import pydicom
    from golden_objects import bits, body, ellipse
    from interop.pictured import image

    held = image(1, body(0, 500, 900, 200).astype(np.uint16), WindowCenter=500, WindowWidth=1000)
    ring, shape = ellipse(30, 30, 20, 20) & ~ellipse(30, 30, 17, 17), (64, 96)
    held.add_new(0x60000010, "US", shape[0])
    held.add_new(0x60000011, "US", shape[1])
    held.add_new(0x60000040, "CS", "G")
    held.add_new(0x60000050, "SS", [3, 5])
    held.add_new(0x60000100, "US", 1)
    held.add_new(0x60000102, "US", 0)
    held.add_new(0x60003000, "OW", bits(ring))
    file = io.BytesIO()
    pydicom.dcmwrite(file, held, enforce_file_format=True)
    path = tmp_path / "overlay.dcm"
    path.write_bytes(file.getvalue())
    command = [need("dcmj2pnm"), "+O", "0", "+Omr", "+Wi", "1", "+on", str(path), str(tmp_path / "made.png")]
    assert not subprocess.run(command, capture_output=True).returncode
    with path.open("rb") as opened:
        frame = object_in(Input(opened.fileno(), 0, path.stat().st_size)).frame(1)
        shown = render(frame, Options())[0].astype(int)
    assert np.abs(shown - np.asarray(Image.open(tmp_path / "made.png"))).max() <= 1
