"""What workers do for PNG images that come in: decode one to native pixels, as Explicit VR Little Endian has them.

Who asks has read its head, and says what must come of it. Deliberately not here: the head (`dicom.streams.png`).
"""

from __future__ import annotations

from collections.abc import Sequence

from sagittal.errors import PixelsUndecodable
from sagittal.workers.worker import Input


def decoded(inputs: Sequence[Input], rows: int, columns: int, samples: int, bits: int) -> bytes:
    """The pixels of the image in `inputs[0]`, row by row, samples together. PixelsUndecodable."""
    import imagecodecs

    try:
        pixels = imagecodecs.png_decode(inputs[0].read())
    except (imagecodecs.PngError, ValueError, MemoryError) as error:
        raise PixelsUndecodable(f"the PNG image can't be decoded: {error}") from None
    expected = (rows, columns) if samples == 1 else (rows, columns, samples)
    if pixels.shape != expected or pixels.dtype.itemsize * 8 != bits:
        raise PixelsUndecodable("the PNG image is another one than its head says")
    return bytes(pixels.astype("<u2" if bits == 16 else "u1", copy=False).tobytes())
