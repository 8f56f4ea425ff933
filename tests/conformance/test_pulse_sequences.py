"""PS3.3 C.8.13.4, C.8.13.5: what enhanced MR images say of their pulse sequence, and the terms of C.8.3.1 for it."""

from __future__ import annotations

from typing import Any

import pytest
from pydicom.datadict import tag_for_keyword

from sagittal.convert.multiframe.pulses import TERMS, tell
from sagittal.dicom.models.members import element, values

TOLD = {
    "ScanningSequence": {
        "EchoPulseSequence": {"SPIN": "SE", "GRADIENT": "GR", "BOTH": "SE GR"},
        "InversionRecovery": {"YES": "IR", "NO": ""},
        "EchoPlanarPulseSequence": {"YES": "EP", "NO": ""},
    },
    "SequenceVariant": {
        "SegmentedKSpaceTraversal": {"SINGLE": "", "PARTIAL": "SK", "FULL": "SK"},
        "MagnetizationTransfer": {"ON_RESONANCE": "MTC", "OFF_RESONANCE": "MTC", "NONE": ""},
        "SteadyStatePulseSequence": {
            "FREE_PRECESSION": "SS", "TRANSVERSE": "SS", "LONGITUDINAL": "SS", "TIME_REVERSED": "TRSS", "NONE": "",
        },
        "Spoiling": {"RF": "SP", "GRADIENT": "SP", "RF_AND_GRADIENT": "SP", "NONE": ""},
        "OversamplingPhase": {"2D": "OSP", "3D": "OSP", "2D_3D": "OSP", "NONE": ""},
    },
    "ScanOptions": {
        "RectilinearPhaseEncodeReordering": {
            "LINEAR": "", "CENTRIC": "PER", "SEGMENTED": "PER", "REVERSE_LINEAR": "PER", "REVERSE_CENTRIC": "PER",
        },
        "RespiratoryMotionCompensationTechnique": {"GATING": "RG", "BREATH_HOLD": "", "TRACKING": "", "NONE": ""},
        "CardiacSynchronizationTechnique": {
            "REALTIME": "CG", "PROSPECTIVE": "CG", "RETROSPECTIVE": "CG", "PACED": "CG", "NONE": "",
        },
        "FlowCompensation": {"ACCELERATION": "FC", "VELOCITY": "FC", "OTHER": "FC", "NONE": ""},
        "PartialFourierDirection": {"PHASE": "PFP", "FREQUENCY": "PFF", "SLICE_SELECT": "", "COMBINATION": "PFF PFP"},
        "SpatialPresaturation": {"SLAB": "SP", "NONE": ""},
        "SpectrallySelectedSuppression": {
            "FAT": "FS", "FAT_AND_WATER": "FS", "WATER": "", "SILICON_GEL": "", "NONE": "",
        },
    },
}  # fmt: skip
CASES = [
    (classic, keyword, value, terms)
    for classic, attributes in TOLD.items()
    for keyword, told in attributes.items()
    for value, terms in told.items()
]


def tag(keyword: str) -> str:
    return f"{tag_for_keyword(keyword):08X}"


@pytest.mark.parametrize(("classic", "keyword", "value", "terms"), CASES)
def test_a_value_is_told_by_its_terms(classic: str, keyword: str, value: str, terms: str) -> None:
    own = keyword == "EchoPulseSequence"
    made: dict[str, Any] = {
        tag("EchoPulseSequence"): element("CS", value if own else "SPIN"),
        tag(keyword): element("CS", value),
    }
    tell(made)
    usual = {"ScanningSequence": "" if own else "SE", "SequenceVariant": "", "ScanOptions": ""}
    expected = {name: [*always.split(), *(terms.split() if name == classic else [])] for name, always in usual.items()}
    expected["SequenceVariant"] = expected["SequenceVariant"] or ["NONE"]
    assert {name: values(made, tag(name)) for name in TOLD} == expected


def test_every_attribute_of_the_table_is_here() -> None:
    told = {tag(name): {tag(keyword) for keyword in attributes} for name, attributes in TOLD.items()}
    assert told == {name: {term.told_by for term in terms} for name, terms in TERMS.items()}
