"""`sagittal mask`: what is set and what is not, what an image says of itself afterwards, what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, JPEGLSLossless, RLELossless

from sagittal.cli.images.mask import command
from sagittal.errors import UsageError


def run(*words: Any) -> Result:
    given = [*map(str, words), "--jobs", "1"]
    return CliRunner().invoke(command, given, standalone_mode=False, catch_exceptions=False)


def write(path: Path, pixels: Any, syntax: str = ExplicitVRLittleEndian, **more: Any) -> Path:
    made = Dataset()
    made.SOPClassUID, made.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.7.3", "1.2.9"
    made.SamplesPerPixel = 3 if pixels.ndim == 4 else 1
    made.NumberOfFrames, made.Rows, made.Columns = pixels.shape[:3]
    bits = pixels.dtype.itemsize * 8
    made.BitsAllocated, made.BitsStored, made.HighBit, made.PixelRepresentation = bits, bits, bits - 1, 0
    made.PhotometricInterpretation = "RGB" if made.SamplesPerPixel == 3 else "MONOCHROME2"
    if made.SamplesPerPixel == 3:
        made.PlanarConfiguration = 0
    for name, value in more.items():
        setattr(made, name, value)
    made.PixelData = pixels.tobytes()
    made["PixelData"].VR = "OW" if bits == 16 else "OB"
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    if UID(syntax).is_encapsulated:
        made.compress(UID(syntax), generate_instance_uid=False)
    made.file_meta.TransferSyntaxUID = UID(syntax)
    made.save_as(path, enforce_file_format=True)
    return path


@pytest.mark.parametrize(
    "syntax", [ExplicitVRLittleEndian, DeflatedExplicitVRLittleEndian, RLELossless, JPEGLSLossless]
)
@pytest.mark.parametrize("colour", [False, True])
def test_every_frame_is_set_there_and_nowhere_else(tmp_path: Path, syntax: str, colour: bool) -> None:
    kind = np.uint8 if colour else np.uint16
    shape = (3, 8, 10, 3) if colour else (3, 8, 10)
    pixels = np.random.default_rng(5).integers(1, 250, shape).astype(kind)
    path = write(tmp_path / "a.dcm", pixels, syntax, ImageType=["ORIGINAL", "PRIMARY", "AXIAL"])
    done = run(path, "--rectangle", "2,1,3,2", "--rectangle", "9,7,5,5", "-o", tmp_path / "b.dcm", "--json")
    row = json.loads(done.stdout)
    assert done.return_value == 0 and row["transfer_syntax_uid"] == syntax
    made, expected = dcmread(tmp_path / "b.dcm"), pixels.copy()
    expected[:, 1:3, 2:5] = 0
    expected[:, 7, 9] = 0
    assert (made.pixel_array == expected).all() and made.file_meta.TransferSyntaxUID == syntax
    assert made.ImageType == ["DERIVED", "PRIMARY", "AXIAL"] and made.BurnedInAnnotation == "NO"
    assert made.SOPInstanceUID == row["sop_instance_uid"] == made.file_meta.MediaStorageSOPInstanceUID != "1.2.9"
    assert made.SourceImageSequence[0].ReferencedSOPInstanceUID == "1.2.9"
    assert made.DerivationCodeSequence[0].CodeValue == "113047"
    assert made.DerivationDescription == "Pixels set to 0 in 2 rectangles"
    assert "LossyImageCompression" not in made


def test_black_of_a_palette_is_its_darkest_color(tmp_path: Path) -> None:
    tables = [bytes((200, 90, 0, 250)), bytes((9, 80, 100, 9)), bytes((9, 70, 0, 250))]
    names = [f"{color}PaletteColorLookupTable" for color in ("Red", "Green", "Blue")]
    colors = {f"{name}Descriptor": [4, 2, 8] for name in names}
    colors |= {f"{name}Data": table for name, table in zip(names, tables, strict=True)}  # type: ignore[dict-item]
    pixels = np.full((1, 4, 4), 5, np.uint8)
    path = write(tmp_path / "a.dcm", pixels, PhotometricInterpretation="PALETTE COLOR", **colors)
    run(path, "--rectangle", "0,0,2,2", "-o", tmp_path / "b.dcm")
    assert dcmread(tmp_path / "b.dcm").pixel_array.tolist() == [[4, 4, 5, 5]] * 2 + [[5] * 4] * 2


def test_value_and_uid(tmp_path: Path) -> None:
    path = write(tmp_path / "a.dcm", np.zeros((1, 4, 4), np.uint16))
    run(path, "--rectangle", "0,0,2,2", "--value", 700, "--keep-uid", "-o", tmp_path / "b.dcm")
    made = dcmread(tmp_path / "b.dcm")
    assert made.pixel_array.tolist() == [[700, 700, 0, 0]] * 2 + [[0] * 4] * 2
    assert made.SOPInstanceUID == "1.2.9" and "SourceImageSequence" not in made
    for value in ("70000", "1.5", "nan", "inf"):
        done = run(path, "--rectangle", "0,0,2,2", "--value", value, "-o", tmp_path / "c.dcm")
        assert done.return_value == 1 and "0 to 65535" in done.stderr and not (tmp_path / "c.dcm").exists()


@pytest.mark.parametrize(("photometric", "black"), [("MONOCHROME1", 2047), ("MONOCHROME2", -2048)])
def test_black_is_what_looks_black(tmp_path: Path, photometric: str, black: int) -> None:
    pixels = np.zeros((1, 4, 4), np.uint16)
    more: dict[str, Any] = {
        "BitsStored": 12,
        "HighBit": 11,
        "PixelRepresentation": 1,
        "PhotometricInterpretation": photometric,
    }
    path = write(tmp_path / "a.dcm", pixels, **more)
    run(path, "--rectangle", "1,1,1,1", "-o", tmp_path / "b.dcm")
    assert dcmread(tmp_path / "b.dcm").pixel_array[1, 1] == black


def test_overlays_in_unused_bits_go_with_the_pixels(tmp_path: Path) -> None:
    pixels = np.full((1, 4, 4), 0x8005, np.uint16)
    path = write(tmp_path / "a.dcm", pixels, BitsStored=12, HighBit=11)
    run(path, "--rectangle", "0,0,4,1", "-o", tmp_path / "b.dcm")
    held = np.frombuffer(dcmread(tmp_path / "b.dcm").PixelData, "<u2").reshape(4, 4)
    assert held.tolist() == [[0] * 4] + [[0x8005] * 4] * 3


def test_lossy_images(tmp_path: Path) -> None:
    path = Path(str(get_testdata_file("SC_rgb_jpeg_dcmtk.dcm")))
    before = dcmread(path).pixel_array
    run(path, "--rectangle", "0,0,20,20", "-o", tmp_path / "native.dcm")
    native = dcmread(tmp_path / "native.dcm")
    assert native.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian and native.LossyImageCompression == "01"
    assert (native.pixel_array[:20, :20] == 0).all()
    assert abs(native.pixel_array[21:].astype(int) - before[21:]).max() <= 2
    run(path, "--rectangle", "0,0,24,24", "--lossy", "again", "-o", tmp_path / "again.dcm")
    again = dcmread(tmp_path / "again.dcm")
    assert again.file_meta.TransferSyntaxUID == dcmread(path).file_meta.TransferSyntaxUID
    assert again.pixel_array[:16, :16].max() < 4
    done = run(path, "--rectangle", "0,0,20,20", "--lossy", "refuse", "-o", tmp_path / "no.dcm")
    assert done.return_value == 1 and "lossy" in done.stderr


def test_black_of_luminance_and_chrominance(tmp_path: Path) -> None:
    pixels = np.full((1, 2, 2, 3), 9, np.uint8)
    path = write(tmp_path / "a.dcm", pixels, PhotometricInterpretation="YBR_FULL")
    run(path, "--rectangle", "0,0,2,1", "-o", tmp_path / "b.dcm")
    made = dcmread(tmp_path / "b.dcm")
    assert made.PhotometricInterpretation == "YBR_FULL"
    assert made.PixelData == bytes([0, 128, 128] * 2 + [9] * 6)


def test_what_can_not_be(tmp_path: Path) -> None:
    path = write(tmp_path / "a.dcm", np.zeros((1, 4, 4), np.uint16))
    done = run(path, "--rectangle", "4,0,2,2", "-o", tmp_path / "b.dcm")
    assert done.return_value == 1 and "outside the image" in done.stderr
    for wrong in ("1,2,3", "a,b,c,d", "0,0,0,1", "0,0,1,0", "-1,0,2,2"):
        with pytest.raises(UsageError):
            run(path, f"--rectangle={wrong}", "-o", tmp_path / "b.dcm")
