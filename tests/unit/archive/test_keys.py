"""The table of keys against PS3.6: every tag is an attribute that can hold what its column holds."""

from __future__ import annotations

import pytest

from sagittal.archive.index.keys import LEVELS, OWN, Key
from sagittal.dicom.dictionary import lookup

VRS_OF = {
    "uid": {"UI"},
    "name": {"PN"},
    "any-name": {"PN"},
    "date": {"DA"},
    "time": {"TM"},
    "number": {"IS", "US"},
    "text": {"CS", "LO", "SH"},
    "any": {"CS", "UI"},
    "": {"IS", "SH"},
}


@pytest.mark.parametrize("key", [key for level in LEVELS for key in OWN[level]], ids=lambda key: f"{key.tag:08X}")
def test_the_vr_fits_how_it_is_matched(key: Key) -> None:
    entry = lookup(key.tag)
    assert entry is not None
    assert entry.vr in VRS_OF[key.kind]
