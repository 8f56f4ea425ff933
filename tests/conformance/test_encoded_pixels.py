"""What we encode is read by others, pydicom with its plugins and DCMTK: lossless to the bit, lossy within a table.

LOSSY is the table of the errors that our own encoders make by default: (largest, mean) over a smooth picture with some
noise, as parts of a thousand of the range of Bits Stored.
"""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy
import pytest
from programs import need

from sagittal.dicom.syntaxes import (
    EXPLICIT_LE,
    HTJ2K_LOSSLESS,
    JPEG_2000,
    JPEG_2000_LOSSLESS,
    JPEG_BASELINE,
    JPEG_LOSSLESS_SV1,
    JPEG_LS_LOSSLESS,
    RLE_LOSSLESS,
    syntax,
)
from sagittal.errors import NotAcceptable
from sagittal.pixels import frames, transcode
from sagittal.pixels.codecs import codec
from sagittal.pixels.codecs.interface import Options
from sagittal.pixels.description import Description

P14, JPEG_EXTENDED, NEAR = "1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.4.51", "1.2.840.10008.1.2.4.81"
RPCL, HTJ2K, XL = "1.2.840.10008.1.2.4.202", "1.2.840.10008.1.2.4.203", "1.2.840.10008.1.2.4.112"
LOSSLESS = (RLE_LOSSLESS, P14, JPEG_LOSSLESS_SV1, JPEG_LS_LOSSLESS, JPEG_2000_LOSSLESS, HTJ2K_LOSSLESS, RPCL)
LOSSY = {
    JPEG_BASELINE: (60, 10),
    JPEG_EXTENDED: (25, 5),
    NEAR: (8, 8),
    JPEG_2000: (15, 3),
    HTJ2K: (15, 2),
    XL: (60, 7),
}
DESCRIBED = {
    "u8": Description(64, 48, 1, 8, 8, 7),
    "u8in16": Description(64, 48, 1, 16, 8, 7),
    "u12": Description(64, 48, 1, 16, 12, 11),
    "s12": Description(64, 48, 1, 16, 12, 11, True),
    "u16": Description(64, 48, 1, 16, 16, 15),
    "s16": Description(64, 48, 1, 16, 16, 15, True),
    "u32": Description(64, 48, 1, 32, 32, 31),
    "rgb": Description(64, 48, 3, 8, 8, 7, False, "RGB"),
    "ybr": Description(64, 48, 3, 8, 8, 7, False, "YBR_FULL"),
    "palette": Description(64, 48, 1, 8, 8, 7, False, "PALETTE COLOR"),
}


def picture(described: Description, seed: int = 0) -> Any:
    """A slope with a bump and noise of a hundredth, over the whole range."""
    random = numpy.random.default_rng(seed)
    y, x = numpy.mgrid[0 : described.rows, 0 : described.columns]
    plane = 0.2 + 0.5 * x / described.columns + 0.25 * numpy.exp(-((x - 20) ** 2 + (y - 30) ** 2) / 150)
    planes = numpy.stack([plane * (1 - 0.2 * sample) for sample in range(described.samples)], -1)
    planes = planes + random.normal(0, 0.004, planes.shape)
    span = described.highest - described.lowest
    values = numpy.clip(numpy.rint(planes * span) + described.lowest, described.lowest, described.highest)
    return values.astype(described.dtype).reshape(described.shape)


def encoded(described: Description, uid: str) -> tuple[Any, transcode.Plan, list[bytes]]:
    """Two frames: the arrays that went in, how, and what they became."""
    arrays = [picture(described, number) for number in range(2)]
    made = transcode.plan(replace(described, frames=2), EXPLICIT_LE, uid)
    native = codec(EXPLICIT_LE)
    return numpy.stack(arrays), made, [made.frame(native.encode(array, described, Options())) for array in arrays]


def written(described: Description, uid: str, path: Path) -> Any:
    """A file of two frames in syntax `uid`; gives the arrays that went in."""
    import pydicom
    from pydicom.dataset import FileDataset, FileMetaDataset

    arrays, made, streams = encoded(described, uid)
    members = transcode.changes(described.members(), made, sum(map(len, streams)), "2.25.2").members
    members = described.members() | members | {"00280008": {"vr": "IS", "Value": [2]}}
    members.pop("7FE00010")
    meta = FileMetaDataset()
    meta.TransferSyntaxUID, meta.MediaStorageSOPInstanceUID = pydicom.uid.UID(uid), pydicom.uid.UID("2.25.2")
    meta.MediaStorageSOPClassUID = pydicom.uid.SecondaryCaptureImageStorage
    held = FileDataset(str(path), pydicom.Dataset.from_json(members), file_meta=meta, preamble=b"\0" * 128)
    held.SOPClassUID, held.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    table = frames.table([len(stream) for stream in streams])
    held.PixelData = b"".join(frames.encapsulated(streams, table.basic))[: -len(frames.DELIMITER)]
    held["PixelData"].VR = "OB"
    held["PixelData"].is_undefined_length = True
    held.save_as(path, implicit_vr=False, little_endian=True)
    return arrays


def taken(described: Description, uid: str) -> bool:
    try:
        return bool(transcode.plan(described, EXPLICIT_LE, uid))
    except NotAcceptable:
        return False


def keyword(uid: str) -> str:
    return syntax(uid).keyword


@pytest.mark.parametrize("uid", LOSSLESS, ids=keyword)
@pytest.mark.parametrize("name", [name for name in DESCRIBED if name != "u32"])
def test_lossless_by_pydicom(uid: str, name: str, tmp_path: Path) -> None:
    import pydicom
    from pydicom.pixels import pixel_array

    described = DESCRIBED[name]
    arrays = written(described, uid, tmp_path / "one.dcm")
    read = pixel_array(pydicom.dcmread(tmp_path / "one.dcm"), raw=True)
    numpy.testing.assert_array_equal(read, arrays)


def test_32_bits_by_pydicom(tmp_path: Path) -> None:
    """Most syntaxes stop before 32 bits."""
    import pydicom
    from pydicom.pixels import pixel_array

    described = DESCRIBED["u32"]
    assert [uid for uid in LOSSLESS if taken(described, uid)] == [RLE_LOSSLESS]
    arrays = written(described, RLE_LOSSLESS, tmp_path / "one.dcm")
    numpy.testing.assert_array_equal(pixel_array(pydicom.dcmread(tmp_path / "one.dcm")), arrays)


@pytest.mark.parametrize(
    ("uid", "program"),
    [(P14, "dcmdjpeg"), (JPEG_LOSSLESS_SV1, "dcmdjpeg"), (JPEG_LS_LOSSLESS, "dcmdjpls"), (RLE_LOSSLESS, "dcmdrle")],
    ids=["p14", "sv1", "jpeg-ls", "rle"],
)
@pytest.mark.parametrize("name", ["u8", "u12", "s12", "u16", "s16", "rgb", "palette"])
def test_lossless_by_dcmtk(uid: str, program: str, name: str, tmp_path: Path) -> None:
    import pydicom

    arrays = written(DESCRIBED[name], uid, tmp_path / "one.dcm")
    done = subprocess.run([need(program), tmp_path / "one.dcm", tmp_path / "two.dcm"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    read = pydicom.dcmread(tmp_path / "two.dcm")
    numpy.testing.assert_array_equal(read.pixel_array, arrays)


@pytest.mark.parametrize("uid", LOSSLESS, ids=keyword)
@pytest.mark.filterwarnings("error")
def test_colours_by_pydicom(uid: str, tmp_path: Path) -> None:
    """The stream says nothing of its colours that contradicts the data set, and would be believed."""
    import pydicom
    from pydicom.pixels import pixel_array
    from pydicom.pixels.processing import convert_color_space

    arrays = written(DESCRIBED["ybr"], uid, tmp_path / "one.dcm")
    read = pixel_array(pydicom.dcmread(tmp_path / "one.dcm"))
    numpy.testing.assert_array_equal(read, convert_color_space(arrays, "YBR_FULL", "RGB"))


@pytest.mark.parametrize("program", ["dcmdjpeg", "dcmdjpls"])
@pytest.mark.parametrize("signed", [False, True])
def test_few_bits_in_wide_cells_by_dcmtk(program: str, signed: bool, tmp_path: Path) -> None:
    """As many bits as a byte has, or fewer, in cells of two: the stream must not look like one of bytes."""
    import pydicom

    uid = JPEG_LOSSLESS_SV1 if program == "dcmdjpeg" else JPEG_LS_LOSSLESS
    for bits in (5, 8):
        arrays = written(Description(128, 96, 1, 16, bits, bits - 1, signed), uid, tmp_path / "one.dcm")
        done = subprocess.run([need(program), tmp_path / "one.dcm", tmp_path / "two.dcm"], capture_output=True)
        assert done.returncode == 0, done.stderr
        numpy.testing.assert_array_equal(pydicom.dcmread(tmp_path / "two.dcm").pixel_array, arrays)


@pytest.mark.parametrize(("bits", "samples"), [(5, 3), (7, 1)])
@pytest.mark.parametrize("uid", [JPEG_LS_LOSSLESS, NEAR], ids=["lossless", "near"])
def test_few_bits_in_bytes_by_dcmtk(uid: str, bits: int, samples: int, tmp_path: Path) -> None:
    import pydicom

    described = Description(128, 144, samples, 8, bits, bits - 1, False, "RGB" if samples == 3 else "MONOCHROME2")
    arrays = written(described, uid, tmp_path / "one.dcm")
    done = subprocess.run(
        [need("dcmdjpls"), tmp_path / "one.dcm", tmp_path / "two.dcm"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    difference = pydicom.dcmread(tmp_path / "two.dcm").pixel_array.astype(int) - arrays
    assert numpy.abs(difference).max() <= (Options().near if uid == NEAR else 0)


@pytest.mark.parametrize("uid", LOSSY, ids=keyword)
@pytest.mark.parametrize("name", ["u8", "u12", "s12", "u16", "rgb"])
def test_lossy_errors(uid: str, name: str, tmp_path: Path) -> None:
    """By our own decoder, and by pydicom where it has one: both within the table."""
    import pydicom
    from pydicom.pixels import pixel_array

    described = DESCRIBED[name]
    assert taken(described, uid) == ((name, keyword(uid)) not in REFUSED_WITH_LOSS)
    if not taken(described, uid):
        return
    arrays, made, streams = encoded(described, uid)
    assert made.loses
    readings = [numpy.stack([codec(uid).decode(stream, made.target) for stream in streams])]
    if uid not in (XL, JPEG_EXTENDED):
        written(described, uid, tmp_path / "one.dcm")
        readings.append(pixel_array(pydicom.dcmread(tmp_path / "one.dcm")))
    for read in readings:
        difference = numpy.abs(read.astype("float64") - arrays) * 1000 / (described.highest - described.lowest)
        largest, mean = LOSSY[uid]
        print(keyword(uid), name, round(difference.max(), 2), round(difference.mean(), 3))
        assert 0 < difference.max() <= largest
        assert difference.mean() <= mean


REFUSED_WITH_LOSS = {
    *((name, "JPEGBaseline8Bit") for name in ("u12", "s12", "u16")),
    *((name, "JPEGExtended12Bit") for name in ("s12", "u16")),
    ("s12", "JPEGXL"),
}


@pytest.mark.parametrize(
    ("uid", "name"), [(JPEG_2000, "u16"), (JPEG_2000, "s16"), (HTJ2K, "u16"), (HTJ2K, "s16"), (XL, "u16")]
)
def test_few_values_of_many_bits_are_not_blurred_away(uid: str, name: str) -> None:
    """As images of 16 bits seldom use more than 12: quality is that of the values that there are."""
    described = DESCRIBED[name]
    few = picture(DESCRIBED["u12"]).astype(described.dtype) // 4 + described.lowest // 2
    made = transcode.plan(described, EXPLICIT_LE, uid)
    stream = made.encoded(few, described)
    difference = numpy.abs(codec(uid).decode(stream, made.target).astype(int) - few)
    assert difference.max() <= 12 and difference.mean() <= 2
    assert uid != XL or not difference.any()  # so near to them libjxl can't come with a loss
    assert len(stream) < described.frame_bytes / 2


@pytest.mark.parametrize("near", [0, 1, 5, 20])
@pytest.mark.parametrize("name", ["u8", "u12", "s12", "u16", "rgb"])
def test_near_is_the_largest_error(near: int, name: str) -> None:
    described = DESCRIBED[name]
    made = transcode.plan(described, EXPLICIT_LE, NEAR, Options(near=near))
    frame = codec(EXPLICIT_LE).encode(picture(described), described, Options())
    assert made.error(frame, made.frame(frame)) <= near
    assert made.loses == (near > 0)


@pytest.mark.parametrize("uid", [JPEG_2000, HTJ2K, NEAR], ids=keyword)
@pytest.mark.parametrize("described", [DESCRIBED["u12"], DESCRIBED["s12"]], ids=["u12", "s12"])
def test_ends_of_bits_stored_by_pydicom(uid: str, described: Description, tmp_path: Path, monkeypatch: Any) -> None:
    """A loss takes no value of black and white noise over an end: masked by readers, it would be at the other one."""
    import pydicom
    from pydicom.pixels import pixel_array

    ends = numpy.random.default_rng(1).choice([described.lowest, described.highest], described.shape)
    monkeypatch.setitem(globals(), "picture", lambda described, seed: ends.astype(described.dtype))
    written(described, uid, tmp_path / "one.dcm")
    read = pixel_array(pydicom.dcmread(tmp_path / "one.dcm"), raw=True)
    assert (read.min(), read.max()) == (described.lowest, described.highest)
    assert numpy.abs(read.astype(int) - ends).max() < 60
