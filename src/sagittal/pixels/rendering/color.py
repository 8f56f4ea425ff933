"""Color images to RGB of 8 bits: YBR to RGB, palettes, ICC profiles (PS3.3 C.7.6.3.1.2, C.11.15).

Codecs hand color over as the data set says it is, or already as RGB. Deliberately not here: chroma subsampling, which
codecs undo.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Literal

import numpy as np

from sagittal.errors import BadRequest, NotAcceptable
from sagittal.pixels.rendering.attributes import Attributes
from sagittal.pixels.rendering.tables import Table, palette_of, to_octets

Octets = np.ndarray[Any, np.dtype[np.uint8]]
Color = tuple[int, int, int]
Ink = int | Color  # a gray of 8 bits, or a color
Profile = Literal["no", "yes", "srgb", "adobergb", "rommrgb"]
# Inverse of the matrix of C.7.6.3.1.2, full range; and of ITU-R BT.601 for partial range.
_FULL = np.array([[1.0, 0.0, 1.402], [1.0, -0.344136, -0.714136], [1.0, 1.772, 0.0]])
_PARTIAL = np.array([[1.16438, 0.0, 1.59603], [1.16438, -0.391762, -0.812968], [1.16438, 2.01723, 0.0]])


def rgb_of(instance: Attributes, stored: np.ndarray[Any, Any], photometric: str, bits_stored: int) -> Octets:
    """A frame as RGB, shape (rows, columns, 3); `stored` has shape (rows, columns) for palettes, else (…, 3 or 4)."""
    if photometric == "PALETTE COLOR":
        tables = palette_of(instance)
        if tables is None:
            raise NotAcceptable("the palette of the image is missing")
        return through_palette(stored, tables)
    octets = _octets(stored, bits_stored)
    if photometric in ("RGB", "YBR_RCT", "YBR_ICT"):  # decoders of JPEG 2000 undo its transformations
        return octets[..., :3]
    if photometric in ("YBR_FULL", "YBR_FULL_422"):
        return rgb_of_ybr(octets)
    if photometric in ("YBR_PARTIAL_422", "YBR_PARTIAL_420"):
        return _matrix(octets, _PARTIAL, 16.0)
    if photometric == "ARGB":
        return octets[..., 1:4]
    if photometric == "CMYK":
        inks = 255 - octets.astype(np.uint16)
        return (inks[..., :3] * inks[..., 3:4] // 255).astype(np.uint8)
    if photometric == "HSV":
        return _hsv(octets)
    raise NotAcceptable(f"photometric interpretation {photometric[:16]!r} can't be rendered")


def rgb_of_ybr(octets: Octets) -> Octets:
    """YBR_FULL of 8 bits as RGB."""
    return _matrix(octets, _FULL, 0.0)


def through_palette(values: np.ndarray[Any, Any], tables: tuple[Table, Table, Table]) -> Octets:
    """Indices to colors."""
    columns = []
    for table, octets in zip(tables, to_octets(tables), strict=True):
        places = np.clip(values.astype(np.int64) - table.first, 0, len(octets) - 1)
        columns.append(octets[places])
    return np.stack(columns, axis=-1)


def convert_profile(rgb: Octets, embedded: bytes, wanted: Profile) -> tuple[Octets, bytes | None]:
    """Pixels in the color space asked for, and the ICC profile to put into the picture (PS3.18 8.3.5.1.5).

    `embedded` is the image's own profile; without one its colors are taken as sRGB. `no`: as they are, no profile.
    """
    if wanted == "no":
        return rgb, None
    if wanted == "yes":
        return rgb, embedded or profile("srgb")
    target = profile(wanted)
    if not embedded and wanted == "srgb":
        return rgb, target
    from PIL import Image, ImageCms

    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(embedded or profile("srgb")))
        into = ImageCms.ImageCmsProfile(io.BytesIO(target))
        converted = ImageCms.profileToProfile(Image.fromarray(rgb), source, into, outputMode="RGB")
    except (ImageCms.PyCMSError, OSError) as error:
        raise BadRequest(f"the image's ICC profile can't be used: {error}") from None
    assert converted is not None
    return np.asarray(converted), target


# Primaries of a space in D50, X Y Z each, and its gamma: Adobe RGB (1998) 4.3, ISO 22028-2 for ROMM RGB.
_SPACES = {
    "adobergb": ("Compatible with Adobe RGB (1998)", 2.19921875, (
        (0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457),
    )),
    "rommrgb": ("ROMM RGB", 1.8, (
        (0.79767, 0.28804, 0.0), (0.13519, 0.71188, 0.0), (0.03134, 0.00009, 0.82491),
    )),
}  # fmt: skip
_D50 = (0.9642, 1.0, 0.8249)


@lru_cache(maxsize=4)
def profile(name: str) -> bytes:
    """A well-known ICC profile: one that Pillow has, or a matrix profile (ICC.1:2001-04 6.3.1.2) of its primaries."""
    from PIL import ImageCms

    if name not in _SPACES:
        return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    title, gamma, primaries = _SPACES[name]
    ascii_ = title.encode() + b"\0"
    curve = b"curv" + struct.pack(">IIHxx", 0, 1, round(gamma * 256))
    tags = {
        b"desc": b"desc" + struct.pack(">II", 0, len(ascii_)) + ascii_ + bytes(78),
        b"cprt": b"text" + bytes(4) + b"No copyright, use freely\0",
        b"wtpt": _xyz(_D50),
        **{color + b"XYZ": _xyz(xyz) for color, xyz in zip((b"r", b"g", b"b"), primaries, strict=True)},
        **dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve),
    }
    return _icc(tags)


def _xyz(values: Sequence[float]) -> bytes:
    return b"XYZ " + struct.pack(">I3i", 0, *(round(value * 65536) for value in values))


def _icc(tags: dict[bytes, bytes]) -> bytes:
    at, rows, body = 128 + 4 + 12 * len(tags), b"", b""
    for signature, data in tags.items():
        rows += struct.pack(">4sII", signature, at + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    made_on = struct.pack(">6H", 2000, 1, 1, 0, 0, 0)  # always the same bytes
    head = struct.pack(">I4sI4s4s4s", at + len(body), b"", 0x02400000, b"mntr", b"RGB ", b"XYZ ") + made_on + b"acsp"
    head += bytes(28) + _xyz(_D50)[8:]
    return head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + rows + body


def as_rgb(picture: Octets) -> Octets:
    """A picture in color, whether it was gray or not."""
    return np.ascontiguousarray(picture if picture.ndim == 3 else np.repeat(picture[..., None], 3, axis=2))


def rgb_of_lab(encoded: list[int]) -> Color:
    """CIELab as PS3.3 C.10.7.1.1 encodes it, to sRGB."""
    lightness, a, b = encoded[0] * 100 / 65535, encoded[1] * 255 / 65535 - 128, encoded[2] * 255 / 65535 - 128
    middle = (lightness + 16) / 116
    values = np.array([middle + a / 500, middle, middle - b / 200])
    xyz = np.where(values > 6 / 29, values**3, 3 * (6 / 29) ** 2 * (values - 4 / 29)) * (0.9642, 1.0, 0.8249)  # D50
    linear = np.array([[3.1339, -1.6169, -0.4906], [-0.9788, 1.9161, 0.0335], [0.0719, -0.2290, 1.4052]]) @ xyz
    linear = np.clip(linear, 0, 1)
    shown = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    red, green, blue = (round(float(level) * 255) for level in shown)
    return red, green, blue


def _octets(stored: np.ndarray[Any, Any], bits_stored: int) -> Octets:
    if bits_stored > 8:
        return (stored.astype(np.uint32) >> (bits_stored - 8)).astype(np.uint8)
    if bits_stored < 8:
        return (stored.astype(np.uint16) * 255 // ((1 << bits_stored) - 1)).astype(np.uint8)
    return stored.astype(np.uint8, copy=False)


def _matrix(octets: Octets, matrix: np.ndarray[Any, Any], black: float) -> Octets:
    values = octets[..., :3].astype(np.float32)
    values[..., 0] -= black
    values[..., 1:] -= 128.0
    made: Octets = np.clip(np.round(values @ matrix.T.astype(np.float32)), 0, 255).astype(np.uint8)
    return made


def _hsv(octets: Octets) -> Octets:
    hue, saturation, value = (octets[..., n].astype(np.float64) / 255.0 for n in range(3))
    sector = np.floor(hue * 6.0)
    part = hue * 6.0 - sector
    low, falling, rising = (
        value * (1 - saturation), value * (1 - part * saturation), value * (1 - (1 - part) * saturation)
    )  # fmt: skip
    choices = [
        (value, rising, low), (falling, value, low), (low, value, rising),
        (low, falling, value), (rising, low, value), (value, low, falling),
    ]  # fmt: skip
    which = sector.astype(np.int64) % 6
    columns = [np.choose(which, [choice[n] for choice in choices]) for n in range(3)]
    made: Octets = np.round(np.stack(columns, axis=-1) * 255.0).astype(np.uint8)
    return made
