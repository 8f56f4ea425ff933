"""Attributes of studies and series: PS3.3's modules by keyword, as their tables print them."""

from __future__ import annotations

import pytest

from sagittal.dicom.dictionary import lookup, tag_of
from sagittal.dicom.models.entities import SERIES, STUDY

MODULES = {
    "C.7.1.1 Patient": (STUDY, "PatientName PatientID PatientSex OtherPatientIDsSequence PatientComments"),
    "C.7.1.3 Clinical Trial Subject": (STUDY, "ClinicalTrialSiteID IssuerOfClinicalTrialSiteID ClinicalTrialSubjectID"),
    "C.7.2.1 General Study": (STUDY, "StudyInstanceUID StudyDate ConsultingPhysicianName ProcedureCodeSequence"),
    "C.7.2.2 Patient Study": (STUDY, "PatientAge Allergies ReasonForVisit ReasonForVisitCodeSequence AdmissionID"),
    "C.7.2.3 Clinical Trial Study": (STUDY, "ClinicalTrialTimePointID ClinicalTrialTimePointTypeCodeSequence"),
    "C.7.3.1 General Series": (SERIES, "Modality Laterality AnatomicalOrientationType TreatmentSessionUID"),
    "C.7.3.2 Clinical Trial Series": (SERIES, "ClinicalTrialSeriesID IssuerOfClinicalTrialSeriesID"),
    "C.7.4.1 Frame of Reference": (SERIES, "FrameOfReferenceUID PositionReferenceIndicator"),
    "C.7.5.1 General Equipment": (
        SERIES,
        "Manufacturer GantryID SpatialResolution DateOfManufacture PixelPaddingValue",
    ),
    "C.7.6 and the like": (frozenset(), "ContrastBolusAgent AnatomicRegionSequence ViewCodeSequence ImageType Rows"),
}


@pytest.mark.parametrize(("level", "keywords"), MODULES.values(), ids=MODULES)
def test_attributes_of_a_module(level: frozenset[str], keywords: str) -> None:
    for keyword in keywords.split():
        tag = f"{tag_of(keyword):08X}"
        assert (tag in STUDY, tag in SERIES) == (level is STUDY, level is SERIES), keyword


def test_all_are_attributes() -> None:
    assert not STUDY & SERIES
    assert [tag for tag in STUDY | SERIES if lookup(int(tag, 16)) is None] == []
