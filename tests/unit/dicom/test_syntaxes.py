"""The table of transfer syntaxes against pydicom's copy of PS3.6 Table A-1."""

from __future__ import annotations

import re
from importlib.util import find_spec, module_from_spec
from typing import Any

import pytest

from sagittal.dicom import syntaxes
from sagittal.dicom.syntaxes import SYNTAXES

# Entered the Standard after the edition in pydicom 3.0.2.
NEWER = {f"1.2.840.10008.1.2.{end}" for end in ("4.110", "4.111", "4.112", "8.1")}


def test_same_rows_names_and_keywords_as_pydicom() -> None:
    spec = find_spec("pydicom._uid_dict")
    assert spec is not None and spec.loader is not None
    fresh = module_from_spec(spec)  # other tests' libraries add rows to the one that is imported
    spec.loader.exec_module(fresh)
    theirs = {uid: row for uid, row in fresh.UID_dictionary.items() if row[1] == "Transfer Syntax"}
    assert set(SYNTAXES) - NEWER == set(theirs)
    for uid, (name, _, _, retired, keyword) in theirs.items():
        row = SYNTAXES[uid]
        assert (row.name, row.keyword, row.retired) == (name, keyword, retired == "Retired")


def test_same_encoding_as_pydicom() -> None:
    from pydicom.uid import UID

    for uid, row in SYNTAXES.items():
        # pydicom counts whatever it doesn't list as native among the compressed ones.
        if uid in NEWER or row.retired or not row.storable:
            continue
        theirs = UID(uid)
        assert row.implicit == theirs.is_implicit_VR, uid
        assert row.little_endian == theirs.is_little_endian, uid
        assert row.deflated == theirs.is_deflated, uid
        assert row.encapsulated == theirs.is_encapsulated, uid


# What a name says of a syntax; the first that fits. Frames and losses: PS3.5 8.2, A.4.
FRAMES = (
    ("JPIP|SMPTE|Deflated Explicit", "none"), ("MPEG|H\\.26", "stream"), ("RLE|Encapsulated|Image Frame", "fragment"),
    ("Explicit|Implicit|MIME|XML", "native"), ("", "fragments"),
)  # fmt: skip
LOSSLESS = (
    ("Lossy|Baseline|Extended|Spectral|Progression|Recompression|MPEG|H\\.26", False),
    ("Lossless|RLE|SMPTE|Explicit|Implicit|MIME|XML|Deflated", True),
    ("", None),
)


@pytest.mark.parametrize("row", SYNTAXES.values(), ids=lambda row: row.uid)
def test_what_a_name_says(row: syntaxes.TransferSyntax) -> None:
    def said(table: tuple[tuple[str, Any], ...]) -> Any:
        return next(value for pattern, value in table if re.search(pattern, row.name))

    assert (row.frames, row.lossless) == (said(FRAMES), said(LOSSLESS))
    assert row.video == bool(re.search(r"MPEG|H\.26|Active Video", row.name))
    assert row.written == (not re.search("MIME|XML|Papyrus", row.name))
    assert row.encapsulated == (row.frames in ("fragment", "fragments", "stream"))


def test_keywords_and_uids_are_unique() -> None:
    assert len({row.keyword for row in SYNTAXES.values()}) == len(SYNTAXES) == len(syntaxes._ROWS)


@pytest.mark.parametrize("end", ["4.94", "4.95", "4.204", "4.205", "7.1", "7.2", "7.3"])
def test_no_self_contained_data_set_is_not_storable(end: str) -> None:
    assert not SYNTAXES[f"1.2.840.10008.1.2.{end}"].storable


def test_unknown_is_explicit_little_endian_and_may_be_encapsulated() -> None:
    row = syntaxes.syntax("1.2.3.4")
    assert (row.uid, row.implicit, row.little_endian, row.deflated, row.encapsulated) == (
        "1.2.3.4",
        False,
        True,
        False,
        True,
    )
    assert row.storable


def test_constants_are_rows() -> None:
    for name, value in vars(syntaxes).items():
        if name.isupper() and isinstance(value, str) and not name.startswith("_"):
            assert value in SYNTAXES, name
