"""Every image there is, against an independent decoder: the corpus and pydicom's own files.

Daily one of each transfer syntax and SOP class, the others under `slow`.

Lossless syntaxes exactly; lossy ones within LOSSY, (largest, mean) difference in units of the last bit: decoders may
round differently (ISO/IEC 10918-2 and 15444-4 allow it). Which images have no independent decoder, or cannot be
decoded, is listed: a file that joins either list fails the test.
"""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

import numpy
import pytest
from images import framed, image, independent
from interop.corpus import described, one_of_each
from programs import corpus_folder

from sagittal.dicom.syntaxes import syntax
from sagittal.errors import SagittalError
from sagittal.pixels.codecs import codec

LOSSY: dict[str, tuple[int, float]] = {
    "1.2.840.10008.1.2.4.50": (2, 0.1),
    "1.2.840.10008.1.2.4.51": (2, 0.1),
    "1.2.840.10008.1.2.4.53": (2, 0.1),
    "1.2.840.10008.1.2.4.55": (2, 0.1),
    "1.2.840.10008.1.2.4.91": (1, 0.1),
    "1.2.840.10008.1.2.4.203": (1, 0.1),
}

# Neither pydicom with its plugins nor DCMTK reads these.
ALONE = {
    "badVR.dcm",  # Number of Frames is no number: one, we say
    "dtf__badVR.dcm",
    "dcm4che__will-jxl.dcm",  # JPEG XL
    "dtf__emri_small_jpeg_2k_lossless_too_short.dcm",  # without meta group
    "pydicom-data__liver_deflate.dcm",  # Deflated Image Frame; the same picture as liver_j2k, see below
    "pydicom-data__liver_nonbyte_aligned_deflate.dcm",
    "pydicom-data__liver_rle.dcm",  # RLE of 1-bit pixels
}

# No decoder can: damaged on purpose, or no pixels that can be told apart.
UNDECODABLE = {
    "JPEG2000-embedded-sequence-delimiter.dcm",  # a size that isn't there, so as to hold the bytes of a delimiter
    "meta_missing_tsyntax.dcm",  # no Bits Allocated
    "nested_priv_SQ.dcm",  # no Bits Allocated
}

# Lossy streams of more precision than Bits Stored: we clip what overshoots, others let it wrap around.
OVERSHOOTS = {"dtf__RG3_JPLY"}


@cache
def files() -> list[Path]:
    import pydicom.data

    held = Path(pydicom.data.__file__).parent
    folders = [held / "test_files", held / "palettes"]
    try:
        corpus = corpus_folder()
    except pytest.skip.Exception:
        corpus = None
    found = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    if corpus is not None:
        found += [path for path in corpus.rglob("*") if path.is_file() and not {"malformed", "video"} & set(path.parts)]
    once = {hashlib.sha256(path.read_bytes()).digest(): path for path in sorted(found, reverse=True)}
    return sorted(once.values())


def named(path: Path) -> str:
    return path.name


def cases() -> list[object]:
    """All files; but for the smallest of each transfer syntax and SOP class they are slow."""
    daily = {file.path for file in one_of_each(described(path.name, path) for path in files())}
    return [pytest.param(path, marks=() if path in daily else pytest.mark.slow) for path in files()]


@pytest.mark.parametrize("path", cases(), ids=named)
def test_decodes_as_others_do(path: Path, tmp_path: Path) -> None:
    try:
        held = image(path)
        if held is None:
            return  # no pixels
        if held.index is None:
            raise SagittalError("no frame index")
        found = numpy.stack([array for array, _ in held.decoded()])
        after = codec(held.uid).decoded(held.description)
    except SagittalError as error:
        assert path.name in UNDECODABLE, f"{path.name}: {error}"
        return
    assert path.name not in UNDECODABLE
    other = independent(path, tmp_path, after.photometric == "RGB")
    if other is None:
        assert path.name in ALONE, f"{path.name}: no independent decoder for {syntax(held.uid).name}"
        return
    assert path.name not in ALONE
    other = framed(other, held.description)
    assert found.shape == other.shape
    largest, mean = LOSSY.get(held.uid, (0, 0.0))
    if not largest:
        numpy.testing.assert_array_equal(found, other)
        return
    difference = numpy.abs(found.astype("float64") - other)
    if path.name in OVERSHOOTS:
        assert (difference > largest).any()
        difference = difference[found != after.highest]
    assert difference.max() <= largest
    assert difference.mean() <= mean


def test_one_segmentation_in_every_syntax(corpus_dir: Path) -> None:
    """What has no independent decoder holds the same picture as what has one."""
    pictures = []
    for name in ("liver_j2k", "liver_rle", "liver_deflate"):
        held = image(corpus_dir / "SEG" / f"pydicom-data__{name}.dcm")
        assert held is not None
        pictures.append(numpy.stack([array for array, _ in held.decoded()]))
    assert pictures[0].any()
    numpy.testing.assert_array_equal(pictures[0], pictures[1])
    numpy.testing.assert_array_equal(pictures[0], pictures[2])
