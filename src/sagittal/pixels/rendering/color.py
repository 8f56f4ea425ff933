"""Color images to RGB of 8 bits: YBR to RGB, palettes, ICC profiles (PS3.3 C.7.6.3.1.2, C.11.15).

Codecs hand color over as the data set says it is, or already as RGB. Deliberately not here: chroma subsampling, which
codecs undo.
"""

from __future__ import annotations

import io
from functools import lru_cache
from typing import Any, Literal

import numpy as np

from sagittal.errors import BadRequest, NotAcceptable
from sagittal.pixels.rendering.attributes import Attributes
from sagittal.pixels.rendering.tables import Table, palette_of, to_octets

Octets = np.ndarray[Any, np.dtype[np.uint8]]
Profile = Literal["no", "yes", "srgb", "adobergb", "rommrgb"]
PROFILES = ("no", "yes", "srgb", "adobergb", "rommrgb")
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
        return _matrix(octets, _FULL, 0.0)
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


def through_palette(values: np.ndarray[Any, Any], tables: tuple[Table, Table, Table]) -> Octets:
    """Indices to colors."""
    columns = []
    for table in tables:
        octets = to_octets(table)
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
    if wanted != "srgb":
        raise NotAcceptable("iccprofile is one of no, yes, srgb here")
    if not embedded:
        return rgb, profile("srgb")
    from PIL import Image, ImageCms

    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(embedded))
        target = ImageCms.ImageCmsProfile(io.BytesIO(profile("srgb")))
        converted = ImageCms.profileToProfile(Image.fromarray(rgb), source, target, outputMode="RGB")
    except (ImageCms.PyCMSError, OSError) as error:
        raise BadRequest(f"the image's ICC profile can't be used: {error}") from None
    assert converted is not None
    return np.asarray(converted), profile("srgb")


@lru_cache(maxsize=4)
def profile(name: str) -> bytes:
    """A well-known ICC profile."""
    from PIL import ImageCms

    assert name == "srgb"
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


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
