"""Images of files for tests: our reader and codecs on one side, independent decoders on the other.

And attributes of images that no file has.
"""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import warnings
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy
import pytest

from sagittal.dicom.frameindex import FrameIndex
from sagittal.dicom.part10 import Part10Head
from sagittal.dicom.reader import Reader
from sagittal.dicom.syntaxes import EXPLICIT_LE, syntax
from sagittal.errors import SagittalError
from sagittal.limits import ReaderLimits
from sagittal.pixels import frames
from sagittal.pixels.codecs import codec
from sagittal.pixels.description import Description, describe
from sagittal.pixels.rendering.attributes import Attributes


def attributes(**members: Any) -> Attributes:
    """`t00281050=[40]`: tags and values; bytes become InlineBinary, dicts items."""

    def member(value: Any) -> dict[str, Any]:
        if isinstance(value, bytes):
            return {"vr": "OW", "InlineBinary": base64.b64encode(value).decode()}
        return {"vr": "XX", "Value": [item(each) if isinstance(each, dict) else each for each in value]}

    def item(found: dict[str, Any]) -> dict[str, Any]:
        return {name[1:].upper(): member(value) for name, value in found.items()}

    return Attributes(item(members))


def lines_within(side: int, patch: pytest.MonkeyPatch) -> list[Any]:
    """Lines that Pillow is asked for from now on, which may lead so far outside a picture only: it goes along all of
    a line, pixel by pixel.
    """
    from PIL.ImageDraw import ImageDraw

    lines: list[Any] = []
    draw = ImageDraw.line

    def line(self: ImageDraw, xy: Any, *more: Any, **named: Any) -> None:
        assert numpy.abs(xy).max() <= side
        lines.append(xy)
        draw(self, xy, *more, **named)

    patch.setattr(ImageDraw, "line", line)
    return lines


@dataclass(frozen=True)
class Image:
    """A file's pixels, as the archive would know them."""

    uid: str  # transfer syntax
    data: bytes  # the data set, inflated
    members: dict[str, Any]
    index: FrameIndex | None
    description: Description
    pixel_data: tuple[int, int] | None

    def read(self, offset: int, length: int) -> bytes:
        return self.data[offset : offset + length]

    def frame(self, number: int) -> bytes:
        assert self.index is not None
        return frames.frame_bytes(self.read, self.index, number, self.description, self.uid)

    def decoded(self) -> Iterator[tuple[Any, Description]]:
        one = codec(self.uid)
        for number in range(1, self.description.frames + 1):
            yield one.decode(self.frame(number), self.description), one.decoded(self.description)


def image(path: Path) -> Image | None:
    """The image of a file; None when it has no pixels, or is no object."""
    whole = path.read_bytes()
    head = Part10Head(ReaderLimits())
    text: list[str] = []
    try:
        head.feed(whole)
        head.finish()
        data, uid = whole[head.data_set_offset :], head.syntax_uid
        if syntax(uid).deflated:
            data, uid = zlib.decompressobj(-15).decompress(data), EXPLICIT_LE
        reader = Reader(syntax(uid), wanted=frozenset(), limits=ReaderLimits(), metadata=text.append)
        reader.feed(data)
        parsed = reader.finish()
    except SagittalError:
        return None
    if parsed.pixel_data is None:
        return None
    members = json.loads("".join(text))
    return Image(uid, data, members, parsed.frames, describe(members), parsed.pixel_data)


def independent(path: Path, folder: Path, as_rgb: bool) -> Any:
    """All frames by pydicom with its plugins, else by DCMTK. None: neither can."""
    found = _pydicom(path, as_rgb)
    if found is not None or shutil.which("dcmdjpeg") is None:
        return found
    made = folder / "decoded.dcm"
    done = subprocess.run(["dcmdjpeg", str(path), str(made)], capture_output=True, timeout=60)
    return _pydicom(made, as_rgb) if done.returncode == 0 else None


def _pydicom(path: Path, as_rgb: bool) -> Any:
    import pydicom
    from pydicom.pixels import pixel_array

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            read = pydicom.dcmread(path, force=True)
            if not read.file_meta.get("TransferSyntaxUID"):
                read.file_meta.TransferSyntaxUID = pydicom.uid.ImplicitVRLittleEndian
            return pixel_array(read, raw=not as_rgb)
        except Exception:  # whatever it raises, it has no answer
            return None


def framed(array: Any, description: Description) -> Any:
    """pydicom's array with a dimension of frames."""
    return array if array.ndim == len(description.shape) + 1 else array[numpy.newaxis]
