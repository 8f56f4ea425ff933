"""What a codec is: one transfer syntax, one frame at a time, arrays on one side and code streams on the other.

`decode` takes the bytes of one frame (its fragments joined) and gives an array as `Description` says; `decoded` says
what that array is. `encoded` says what `encode` will write, or raises NotAcceptable when the syntax cannot carry it:
it is asked first, and needs no pixels. Libraries are imported when first used.

A native library's complaint becomes PixelsUndecodable. What it does when it does not complain but crashes is
contained by the worker pool, not here.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias

from sagittal.errors import NotAcceptable, PixelsUndecodable, SagittalError
from sagittal.pixels.description import Description

if TYPE_CHECKING:
    import numpy

Array: TypeAlias = "numpy.ndarray[Any, Any]"  # a text when it runs: numpy comes with the first frame

YBR = frozenset(("YBR_FULL", "YBR_FULL_422"))
COLOUR_TRANSFORMED = frozenset(("YBR_RCT", "YBR_ICT", "XYB"))  # photometric interpretations that only code streams have


@dataclass(frozen=True, slots=True)
class Options:
    """How to encode; each codec reads what concerns it."""

    quality: int = 90  # JPEG, 1 to 100
    subsampling: bool = True  # JPEG of colours: chrominance of every second column (YBR_FULL_422)
    near: int = 2  # JPEG-LS near-lossless: the largest error of a value
    psnr: float = 60.0  # JPEG 2000 and HTJ2K lossy: decibels to the range of a frame's values, about
    ratio: float = 0.0  # the same by native bytes to compressed bytes, at least; several attempts are made; 0: by psnr
    distance: float = 1.0  # JPEG XL lossy: 0 to 15, 1 is visually lossless
    effort: int = 3  # JPEG XL, 1 to 9
    deflate_level: int = 6
    reversible: bool = False  # syntaxes that take both: without loss


@dataclass(frozen=True, slots=True)
class Takes:
    """What a syntax can carry (PS3.5 8.2) and the library behind it encodes."""

    bits: range  # Bits Stored
    signed: bool = True
    samples: frozenset[int] = frozenset((1, 3))
    kinds: frozenset[str] = frozenset(("integer",))
    palette: bool = True  # indices: nothing lossy takes them


class Codec(ABC):
    """One row of the table. Subclasses are stateless."""

    cells = False  # whether whole cells are kept, bits outside Bits Stored too
    takes: Takes | None = None  # None: decode only
    method = ""  # Lossy Image Compression Method (0028,2114), where a frame may lose

    def __init__(self, uid: str, name: str, lossy: bool = False) -> None:
        """`lossy`: whether frames of the syntax may lose information."""
        self.uid, self.name, self.lossy = uid, name, lossy

    def loses(self, options: Options) -> bool:
        """Whether `encode` with these options loses information."""
        return False

    @abstractmethod
    def decode(self, data: bytes, description: Description) -> Array:
        """One frame; PixelsUndecodable when it is damaged or another image than described."""

    def decoded(self, description: Description) -> Description:
        """What `decode` gives for frames so described: colour transforms undone, colours by pixel."""
        photometric = full(description.photometric) if description.samples == 3 else description.photometric
        return replace(description, planar=0, photometric="RGB" if photometric in COLOUR_TRANSFORMED else photometric)

    def encode(self, array: Array, description: Description, options: Options) -> bytes:
        """One frame, for a description that `encoded` took."""
        raise NotAcceptable(f"{self.name} can be decoded here, not encoded")

    def encoded(self, description: Description, options: Options) -> Description:
        """What the data set says of frames that `encode` writes. NotAcceptable when it can't."""
        self.check(description, options)
        if self.cells:
            return replace(description, planar=0)
        allocated, stored = description.bits_allocated, description.bits_stored
        most = 8 if stored <= 8 and self.loses(options) else 16
        if stored <= most:  # more has no form in JPEG and JPEG-LS (PS3.5 8.2.1, 8.2.3), and few readers elsewhere
            allocated = min(allocated, most)
        return replace(description, planar=0, bits_allocated=allocated, high_bit=stored - 1)

    def check(self, description: Description, options: Options) -> None:
        """NotAcceptable when the syntax does not take frames so described."""
        takes = self.takes
        if takes is None:
            raise NotAcceptable(f"{self.name} can be decoded here, not encoded")
        if description.kind not in takes.kinds:
            raise NotAcceptable(f"{self.name} does not take {description.kind} pixels")
        if description.kind == "integer" and description.bits_stored not in takes.bits:
            told = f"{takes.bits.start} to {takes.bits.stop - 1} bits"
            raise NotAcceptable(f"{self.name} takes {told}, not {description.bits_stored}")
        if description.signed and not takes.signed and description.kind == "integer":
            raise NotAcceptable(f"{self.name} does not take signed pixels")
        if description.samples not in takes.samples:
            raise NotAcceptable(f"{self.name} does not take {description.samples} samples per pixel")
        if description.photometric == "PALETTE COLOR" and (not takes.palette or self.loses(options)):
            raise NotAcceptable("indices of a palette would become other colours by lossy compression")


def complaints(name: str) -> AbstractContextManager[None]:
    """What a library raises about a code stream, as PixelsUndecodable."""
    return _raising(PixelsUndecodable, f"the {name} code stream can't be decoded")


def refusals(name: str) -> AbstractContextManager[None]:
    """What a library raises when it cannot encode, as NotAcceptable."""
    return _raising(NotAcceptable, f"{name}: this frame can't be encoded")


@contextmanager
def _raising(kind: type[SagittalError], text: str) -> Iterator[None]:
    try:
        yield
    except (SagittalError, MemoryError):
        raise
    except Exception as failure:  # libraries raise classes of their own, and plain ones
        raise kind(f"{text}: {str(failure)[:200]}") from failure


def values(array: Array, description: Description, precision: int, clip: bool = False) -> Array:
    """A decoder's integers as the description has them: of its shape and type, within Bits Stored, signed as declared.

    Libraries give unsigned numbers for signed pixels, and signed ones where the stream's sign differs from Pixel
    Representation: bits count, not numbers. `precision`: bits of the stream's numbers. Those that reach to the High Bit
    are whole cells; fewer are values, whatever High Bit was left in the data set. `clip`: a lossy stream of more
    precision than Bits Stored may overshoot.
    """
    import numpy

    if array.shape != description.shape:
        array = _reshaped(array, description)
    if array.dtype.kind not in "ui":
        raise PixelsUndecodable(f"a code stream of {array.dtype} where integers are described")
    if precision > description.high_bit:
        array = array >> description.high_bit + 1 - description.bits_stored
    low, high = description.lowest, description.highest
    if array.dtype.kind == "i" or not description.signed:
        if clip:
            return numpy.clip(array, low, high).astype(description.dtype)
        if not description.signed and array.dtype.kind == "u":
            kept = array & array.dtype.type(high) if high < numpy.iinfo(array.dtype).max else array
            return kept.astype(description.dtype, copy=False)
    return extended(array, description)


def extended(array: Array, description: Description) -> Array:
    """The low Bits Stored bits of integers of any type, as values."""
    size = max(array.dtype.itemsize * 8, description.container_bits)
    unsigned = array.astype(f"uint{size}", copy=False) if array.dtype.kind == "u" else array.astype(f"int{size}")
    moved = unsigned.view(f"uint{size}") << (size - description.bits_stored)
    typed = moved.view(f"int{size}") if description.signed else moved
    values: Array = typed >> (size - description.bits_stored)
    return values.astype(description.dtype, copy=False)


def masked(array: Array, description: Description) -> Array:
    """Values as unsigned numbers of Bits Stored bits, in the smallest type that has them: what most encoders want.

    Strides are those of the shape, also along sides of one pixel, where numpy leaves any and encoders refuse them.
    """
    import numpy

    size = next(size for size in (8, 16, 32, 64) if size >= description.bits_stored)
    unsigned = array.view(f"uint{array.dtype.itemsize * 8}")
    if description.bits_stored < array.dtype.itemsize * 8:
        unsigned = unsigned & unsigned.dtype.type((1 << description.bits_stored) - 1)
    plain = numpy.ascontiguousarray(unsigned.astype(f"uint{size}", copy=False))
    return plain.ravel().reshape(plain.shape) if 1 in plain.shape else plain


def used(array: Array, description: Description) -> float:
    """How much of the range of Bits Stored the values take, up to 1.0. Images of 16 bits seldom use more than 12: a
    loss in proportion to the whole range would blur them.
    """
    return max(int(array.max()) - int(array.min()), 1) / (description.highest - description.lowest)


def _reshaped(array: Array, description: Description) -> Array:
    planes = (description.samples, description.rows, description.columns)
    if description.samples > 1 and array.shape == planes:
        import numpy

        return numpy.moveaxis(array, 0, -1)
    if array.size == description.values and array.squeeze().shape == tuple(n for n in description.shape if n != 1):
        return array.reshape(description.shape)
    told = " x ".join(map(str, array.shape))
    raise PixelsUndecodable(
        f"the code stream holds {told}, the data set says {' x '.join(map(str, description.shape))}"
    )


def full(photometric: str) -> str:
    """The photometric interpretation when each pixel has its own chrominance, in the full range."""
    return "YBR_FULL" if photometric.startswith(("YBR_FULL_4", "YBR_PARTIAL")) else photometric


def same_image(description: Description, rows: int, columns: int, samples: int) -> None:
    """PixelsUndecodable when a code stream's header says another image than the data set: before it is decoded."""
    if (rows, columns, samples) != (description.rows, description.columns, description.samples):
        told = f"{rows} x {columns} x {samples} (rows, columns, samples)"
        said = f"{description.rows} x {description.columns} x {description.samples}"
        raise PixelsUndecodable(f"the code stream holds {told}, the data set says {said}")
