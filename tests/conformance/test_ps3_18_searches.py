"""PS3.18 Tables 10.6.3-3 to 10.6.3-5: what a search answers, by keyword as the tables print them, and what we add."""

from __future__ import annotations

import pytest
from pydicom.datadict import tag_for_keyword

from sagittal.web.search import levels

PRINTED = {
    "STUDY": "StudyDate StudyTime AccessionNumber InstanceAvailability ModalitiesInStudy ReferringPhysicianName "
    "TimezoneOffsetFromUTC RetrieveURL PatientName PatientID PatientBirthDate PatientSex StudyInstanceUID StudyID "
    "NumberOfStudyRelatedSeries NumberOfStudyRelatedInstances",
    "SERIES": "Modality TimezoneOffsetFromUTC SeriesDescription RetrieveURL SeriesInstanceUID SeriesNumber "
    "NumberOfSeriesRelatedInstances PerformedProcedureStepStartDate PerformedProcedureStepStartTime "
    "RequestAttributesSequence",
    "IMAGE": "SOPClassUID SOPInstanceUID InstanceAvailability TimezoneOffsetFromUTC RetrieveURL InstanceNumber Rows "
    "Columns BitsAllocated NumberOfFrames",
}
ADDED = {"STUDY": "StudyDescription", "SERIES": "", "IMAGE": "AvailableTransferSyntaxUID"}
OF_EVERY_ROW = "RetrieveURL RetrieveAETitle InstanceAvailability QueryRetrieveLevel"
UNIQUE = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")


def tags(keywords: str) -> set[int]:
    return {int(tag_for_keyword(keyword) or 0) for keyword in keywords.split()}


@pytest.mark.parametrize("level", PRINTED)
def test_what_a_row_of_a_level_says(level: str) -> None:
    above = UNIQUE[: list(PRINTED).index(level) + 1]
    told = tags(" ".join(above))
    wanted = tags(f"{PRINTED[level]} {ADDED[level]} {' '.join(above)}") - levels.ADDED
    assert levels.answered(level, told) == wanted
    assert set(levels.UIDS[level]) == told and tags(OF_EVERY_ROW) == levels.ADDED


def test_a_row_tells_of_what_is_above_it_unless_that_is_said() -> None:
    """10.6.3.3: of All Series and All Instances."""
    study, series = levels.answered("STUDY", ()), levels.answered("SERIES", tags("StudyInstanceUID"))
    assert levels.answered("SERIES", ()) == series | study
    own = levels.answered("IMAGE", tags("StudyInstanceUID SeriesInstanceUID"))
    assert levels.answered("IMAGE", ()) == own | study | series - tags("RequestAttributesSequence")
