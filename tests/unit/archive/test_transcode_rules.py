"""Rules of `[[transcode]]`: which object they fit, what they would do, and which rules are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from builders import CT, MR

from sagittal.archive.index.transcoding.queue import Candidate
from sagittal.archive.transcoding.rules import Rule, first
from sagittal.config import load
from sagittal.dicom.syntaxes import (
    DEFLATED_LE,
    EXPLICIT_LE,
    IMPLICIT_LE,
    JPEG_2000,
    JPEG_BASELINE,
    JPEG_LS_LOSSLESS,
    RLE_LOSSLESS,
)
from sagittal.errors import UsageError

JPEG_XL_RECOMPRESSION = "1.2.840.10008.1.2.4.111"
MPEG2 = "1.2.840.10008.1.2.4.100"
STORES = {"main": 1, "research": 2}
CAME = Candidate(1, 7, CT, EXPLICIT_LE, "CT", True, True, "dimse", "CT1", "")
TO = Rule(JPEG_LS_LOSSLESS)


@pytest.mark.parametrize(
    ("rule", "changes", "fits"),
    [
        ({}, {}, True),
        ({}, {"syntax_uid": JPEG_LS_LOSSLESS}, False),  # it is so already
        ({}, {"syntax_uid": RLE_LOSSLESS}, True),
        ({}, {"syntax_uid": JPEG_BASELINE}, False),  # it lost something before: only when named
        ({"syntaxes": (JPEG_BASELINE,)}, {"syntax_uid": JPEG_BASELINE}, True),
        ({"syntaxes": (IMPLICIT_LE,)}, {}, False),
        ({"syntaxes": (MPEG2,)}, {"syntax_uid": MPEG2, "has_frames": False}, False),
        ({}, {"has_frames": False}, False),  # a report
        ({}, {"has_frames": False, "syntax_uid": DEFLATED_LE}, True),  # its frames have no places
        ({}, {"has_frames": False, "has_rows": False, "syntax_uid": DEFLATED_LE}, False),
        ({"to": EXPLICIT_LE}, {"has_frames": False, "syntax_uid": IMPLICIT_LE}, True),
        ({"sop_classes": (MR,)}, {}, False),
        ({"sop_classes": (MR, CT)}, {}, True),
        ({"modalities": ("MR",)}, {}, False),
        ({"modalities": ("CT",)}, {}, True),
        ({"calling_aets": ("CT1",)}, {}, True),
        ({"calling_aets": ("CT2",)}, {}, False),
        ({"calling_aets": ("CT1",)}, {"kind": "stow"}, False),
        ({"stores": ("research",)}, {}, False),
        ({"stores": ("research",)}, {"store": 2}, True),
        ({"lossy": True, "to": JPEG_2000}, {}, True),
        ({}, {"kind": "transcode"}, False),  # what a rule made
    ],
)
def test_what_a_rule_fits(rule: dict[str, Any], changes: dict[str, Any], fits: bool) -> None:
    made = Rule(**{"to": JPEG_LS_LOSSLESS, **rule})
    assert (first([made], CAME._replace(**changes), STORES) is made) is fits


def test_the_first_that_fits_decides() -> None:
    stay, other = Rule(EXPLICIT_LE, modalities=("CT",)), TO
    assert first([stay, other], CAME, STORES) is None
    assert first([stay, other], CAME._replace(modality="MR"), STORES) is other
    assert first([], CAME, STORES) is None


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"to": "1.2.3"}, "no transfer syntax UID"),
        ({"to": JPEG_LS_LOSSLESS, "syntaxes": ["1.2.3"]}, "no transfer syntax UID"),
        ({"to": JPEG_BASELINE}, "add lossy = true"),
        ({"to": MPEG2}, "nothing can be transcoded"),
        ({"to": JPEG_XL_RECOMPRESSION, "syntaxes": [EXPLICIT_LE]}, "nothing can be transcoded"),
        ({"to": JPEG_LS_LOSSLESS, "quality": 50}, "quality is for lossy"),
        ({"to": JPEG_BASELINE, "lossy": True, "quality": 101}, "from 1 to 100"),
        ({"to": JPEG_2000, "lossy": True, "ratio": 0.5}, "from 1 to 1000"),
        ({"to": JPEG_2000, "lossy": True, "quality": 50}, "quality says nothing of JPEG 2000"),
        ({"to": JPEG_LS_LOSSLESS, "stores": ["nowhere"]}, "no store nowhere"),
        ({"to": JPEG_LS_LOSSLESS, "modality": ["CT"]}, "unknown setting"),
        ({"modalities": ["CT"]}, "to: is missing"),
        ({"to": JPEG_LS_LOSSLESS, "calling_aets": ["TOO LONG A TITLE FOR ONE"]}, "AE title"),
    ],
)
def test_what_is_refused(given: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        load(None, {"transcode": [given]})


def test_a_file(tmp_path: Path) -> None:
    file = tmp_path / "sagittal.toml"
    file.write_text(
        f'[[transcode]]\nto = "{JPEG_LS_LOSSLESS}"\nmodalities = ["CT", "MR"]\n'
        f'[[transcode]]\nto = "{JPEG_2000}"\nlossy = true\nratio = 10\nkeep_original = false\ncalling_aets = ["US1"]\n'
        f'[[transcode]]\nto = "{JPEG_XL_RECOMPRESSION}"\nsyntaxes = ["{JPEG_BASELINE}"]\n'
    )
    rules = load(file).transcode
    assert rules[0] == Rule(JPEG_LS_LOSSLESS, modalities=("CT", "MR"))
    assert rules[1] == Rule(JPEG_2000, lossy=True, ratio=10.0, keep_original=False, calling_aets=("US1",))
    assert (rules[0].options, rules[1].options) == ({"reversible": True}, {"ratio": 10.0})
    assert load(None).transcode == ()


def test_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAGITTAL_TRANSCODE", f'[{{"to": "{JPEG_LS_LOSSLESS}"}}]')
    assert load(None).transcode == (TO,)
