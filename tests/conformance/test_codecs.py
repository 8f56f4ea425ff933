"""The table of codecs against the names of the transfer syntaxes (PS3.5 8.2, PS3.6 A)."""

from __future__ import annotations

import re

import pytest

from sagittal.dicom.syntaxes import EXPLICIT_BE, SYNTAXES, TransferSyntax
from sagittal.pixels.codecs import ROWS, codec, decodes, encodes

FILES = (
    ("JPEG Lossless", "jpeg_lossless"), ("JPEG-LS", "jpeg_ls"), ("High-Throughput", "htj2k"), ("JPEG 2000", "jpeg2000"),
    ("JPEG XL", "jpeg_xl"), ("JPEG", "jpeg"), ("RLE", "rle"), ("Image Frame", "deflate"), ("", "native"),
)  # fmt: skip


@pytest.mark.parametrize("row", [row for row in SYNTAXES.values() if row.storable], ids=lambda row: row.uid)
def test_a_syntax_has_the_codec_of_its_name(row: TransferSyntax) -> None:
    """All but video, hierarchical and arithmetic lossless JPEG, and data sets of other standards; retired and Part 2
    ones and recompressed JPEG are read only.
    """
    known = not row.video and not re.search(r", Hierarchical|Process 15|MIME|XML", row.name)
    assert decodes(row.uid) == known
    retired = row.retired and row.uid != EXPLICIT_BE
    assert encodes(row.uid) == (known and not retired and not re.search("Part 2|Recompression", row.name))
    if known:
        file, _, arguments, _ = ROWS[row.uid]
        assert file == next(file for name, file in FILES if name in row.name)
        bits = re.search(r"(\d+)Bit\Z", row.keyword)
        assert arguments in (((int(bits[1]),),) if bits else ((), (row.lossless is not True,)))
        assert (codec(row.uid).uid, codec(row.uid).name) == (row.uid, row.name)
