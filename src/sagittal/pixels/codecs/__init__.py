"""THE TABLE: transfer syntax → codec.

`codec(uid)` imports the file that its row names, and the library comes with the first frame.

A syntax that has no row is stored, forwarded and served as it is. Video is in `codecs.video`: its frames can't be had
one by one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

from sagittal.dicom.syntaxes import SYNTAXES, syntax
from sagittal.errors import PixelsUndecodable

if TYPE_CHECKING:
    from sagittal.pixels.codecs.interface import Codec


class Row(NamedTuple):
    """Where a syntax's codec is made: a name in a file of this room, and what it is called with."""

    file: str
    name: str
    arguments: tuple[Any, ...] = ()
    encodes: bool = True


_P = "1.2.840.10008.1.2"
_NATIVE, _READ_ONLY = Row("native", "Native"), Row("jpeg", "Jpeg", (), False)

ROWS: Mapping[str, Row] = {
    _P: _NATIVE,
    _P + ".1": _NATIVE,
    _P + ".1.98": _NATIVE,
    _P + ".1.99": _NATIVE,
    _P + ".2": _NATIVE,
    "1.2.840.10008.1.20": Row("native", "Native", (), False),
    _P + ".4.50": Row("jpeg", "Jpeg", (8,)),
    _P + ".4.51": Row("jpeg", "Jpeg", (12,)),
    _P + ".4.52": _READ_ONLY,
    _P + ".4.53": _READ_ONLY,
    _P + ".4.54": _READ_ONLY,
    _P + ".4.55": _READ_ONLY,
    _P + ".4.56": _READ_ONLY,
    _P + ".4.57": Row("jpeg_lossless", "JpegLossless"),
    _P + ".4.70": Row("jpeg_lossless", "JpegLossless"),
    _P + ".4.80": Row("jpeg_ls", "JpegLs", (False,)),
    _P + ".4.81": Row("jpeg_ls", "JpegLs", (True,)),
    _P + ".4.90": Row("jpeg2000", "Jpeg2000", (False,)),
    _P + ".4.91": Row("jpeg2000", "Jpeg2000", (True,)),
    _P + ".4.92": Row("jpeg2000", "Part2", (False,), False),
    _P + ".4.93": Row("jpeg2000", "Part2", (True,), False),
    _P + ".4.110": Row("jpeg_xl", "JpegXl", (False,)),
    _P + ".4.111": Row("jpeg_xl", "Recompressed", (), False),
    _P + ".4.112": Row("jpeg_xl", "JpegXl", (True,)),
    _P + ".4.201": Row("htj2k", "Htj2k", (False,)),
    _P + ".4.202": Row("htj2k", "Htj2k", (False,)),
    _P + ".4.203": Row("htj2k", "Htj2k", (True,)),
    _P + ".5": Row("rle", "Rle"),
    _P + ".8.1": Row("deflate", "DeflatedFrame"),
}


def decodes(uid: str) -> bool:
    """Whether frames of this syntax can be decoded one by one."""
    return uid in ROWS


def encodes(uid: str) -> bool:
    """Whether frames can be encoded in this syntax; which ones, `Codec.encoded` says."""
    return uid in ROWS and ROWS[uid].encodes


@cache
def codec(uid: str) -> Codec:
    """The codec of a transfer syntax; PixelsUndecodable when there is none."""
    row = ROWS.get(uid)
    if row is None:
        raise PixelsUndecodable(f"there is no codec for {syntax(uid).name} ({uid})")
    make: Callable[..., Codec] = getattr(import_module(f"{__name__}.{row.file}"), row.name)
    return make(uid, SYNTAXES[uid].name, *row.arguments)
