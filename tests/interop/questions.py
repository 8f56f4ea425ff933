"""A small archive and a table of questions with their answers: key by level by matching rule (PS3.4 C.2.2.2).

Objects are named by study, series and number ("S1/A/2"); a question is answered by such names. What is asked of DIMSE
or of QIDO-RS alone says so; the rest is asked of both.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import httpx
from builders import CT, MR, SC, Built, build, uid_of
from conftest import Served

SR = "1.2.840.10008.5.1.4.1.1.88.11"
UTF_8 = "ISO_IR 192"

# study → what all of its objects say
_STUDIES: dict[str, dict[str, Any]] = {
    "S1": {
        "patient_id": "P-001", "patient_name": "Doe^Jane", "study_date": "20200101",
        "extra": {"StudyTime": "0930", "AccessionNumber": "ACC1", "StudyDescription": "CT HEAD", "StudyID": "1",
                  "ReferringPhysicianName": "Roe^Richard"},
    },
    "S2": {
        "patient_id": "P-001", "patient_name": "Doe^Jane", "study_date": "20200615",
        "extra": {"StudyTime": "101530.25", "AccessionNumber": "ACC2", "StudyDescription": "MR KNEE", "StudyID": "1B",
                  "ReferringPhysicianName": "Poe^Edgar"},
    },
    "S3": {
        "patient_id": "P-002", "patient_name": "Doe^John^Q", "study_date": "20191231",
        "extra": {"StudyTime": "2359", "AccessionNumber": "ACC10", "StudyDescription": "ct head low",
                  "PatientBirthDate": "19651231", "PatientSex": "M"},
    },
    "S4": {
        "patient_id": "X 7", "patient_name": "Müller^Jörg", "study_date": "20210301", "charset": "ISO_IR 100",
        "extra": {"StudyTime": "000000", "AccessionNumber": "", "PatientBirthDate": "", "PatientSex": "O"},
    },
    "S5": {
        "patient_id": "P5", "patient_name": "Yamada^Tarou=山田^太郎=やまだ^たろう", "study_date": "20210302",
        "charset": UTF_8, "extra": {"StudyTime": "120000", "AccessionNumber": "ACC5", "StudyDescription": "頭部",
                                    "PatientBirthDate": "19991231"},
    },
    "S6": {
        "patient_id": "B[1]", "patient_name": "O'Hara^Scarlett", "study_date": "",
        "extra": {"StudyTime": "", "AccessionNumber": "ACC[6]", "PatientBirthDate": "20000101"},
    },
    "S7": {
        "patient_id": "", "patient_name": "Nemo", "study_date": "20200615",
        "extra": {"StudyTime": "08", "AccessionNumber": "ACC7", "StudyDescription": "CT HEAD", "PatientSex": ""},
    },
}  # fmt: skip

# study/series → how many objects, and what they say beside
_SERIES: dict[str, tuple[int, dict[str, Any]]] = {
    "S1/A": (2, {"modality": "CT", "extra": {
        "SeriesNumber": "1", "SeriesDescription": "thin", "BodyPartExamined": "HEAD", "ProtocolName": "Head^Routine",
        "Manufacturer": "ACME", "StationName": "CT1", "OperatorsName": "Poe^Ann\\Roe^Bob", "SeriesDate": "20200101",
        "PerformedProcedureStepStartDate": "20200101", "PerformedProcedureStepStartTime": "0931"}}),
    "S1/B": (1, {"modality": "CT", "extra": {
        "SeriesNumber": "2", "SeriesDescription": "thick", "BodyPartExamined": "HEAD", "ProtocolName": "Head^Late",
        "Manufacturer": "ACME", "StationName": "CT1", "PerformedProcedureStepStartDate": "20200102"}}),
    "S1/C": (1, {"modality": "SR", "sop_class_uid": SR, "extra": {"SeriesNumber": "99", "Manufacturer": "Other"}}),
    "S2/A": (3, {"modality": "MR", "sop_class_uid": MR, "extra": {"SeriesNumber": "1", "BodyPartExamined": "KNEE"}}),
    "S3/A": (1, {"modality": "CT", "extra": {}}),
    "S4/A": (1, {"modality": "OT", "sop_class_uid": SC, "extra": {}}),
    "S5/A": (1, {"modality": "OT", "sop_class_uid": SC, "extra": {}}),
    "S6/A": (1, {"modality": "OT", "sop_class_uid": SC, "extra": {}}),
    "S7/A": (1, {"modality": "CT", "extra": {}}),
}  # fmt: skip

# What single objects say differently
_OBJECTS: dict[str, dict[str, Any]] = {
    "S2/A/1": {"rows": 8, "extra": {"ContentDate": "20200615", "ContentTime": "1016"}},
    "S2/A/2": {"frames": 3, "extra": {"ContentDate": "20200616"}},
}


def seeds() -> dict[str, Built]:
    """Every object of the archive by its name."""
    made = {}
    for place, (count, of_series) in _SERIES.items():
        study = place.partition("/")[0]
        for number in range(1, count + 1):
            layers = (_STUDIES[study], of_series, _OBJECTS.get(f"{place}/{number}", {}))
            said = {name: value for layer in layers for name, value in layer.items() if name != "extra"}
            extra = {name: value for layer in layers for name, value in layer.get("extra", {}).items()}
            made[f"{place}/{number}"] = build(number, study=study, series=place, extra=extra, **said)
    return made


def store_seeds(served: Served) -> None:
    post(served, seeds().values())


def post(served: Served, objects: Iterable[Built]) -> None:
    """Store by STOW-RS, in one request."""
    head = b"--an-edge\r\nContent-Type: application/dicom\r\n\r\n"
    body = b"".join(head + built.part10 + b"\r\n" for built in objects) + b"--an-edge--\r\n"
    type_ = 'multipart/related; type="application/dicom"; boundary=an-edge'
    answer = httpx.post(f"{served.http}/dicom-web/studies", content=body, headers={"content-type": type_}, timeout=60)
    assert answer.status_code == 200, answer.text


class Question(NamedTuple):
    """What is asked at `level` below `within`, and the names of what has to be found."""

    level: str
    within: str
    keys: Mapping[str, str]
    found: str  # names, separated by blanks
    of: str = "both"  # "dimse" | "qido" | "both"

    @property
    def uids(self) -> list[str]:
        return sorted(map(uid_of, self.found.split()))

    @property
    def text(self) -> str:
        keys = " ".join(f"{name}={value}" for name, value in self.keys.items())
        return f"{self.level} {self.within} {keys}"


def _studies(found: str, of: str = "both", **keys: str) -> Question:
    return Question("STUDY", "", keys, found, of)


def _series(within: str, found: str, of: str = "both", **keys: str) -> Question:
    return Question("SERIES", within, keys, " ".join(f"{within}/{name}" for name in found.split()), of)


def _images(within: str, found: str, of: str = "both", **keys: str) -> Question:
    return Question("IMAGE", within, keys, " ".join(f"{within}/{name}" for name in found.split()), of)


def _anywhere(level: str, found: str, **keys: str) -> Question:
    """A relational query, which only QIDO-RS takes."""
    return Question(level, "", keys, found, "qido")


QUESTIONS: tuple[Question, ...] = (
    # Universal matching (C.2.2.2.3)
    _studies("S1 S2 S3 S4 S5 S6 S7"),
    _studies("S1 S2 S3 S4 S5 S6 S7", PatientID="*"),
    # Single value matching (C.2.2.2.1): case counts but for names
    _studies("S1 S2", PatientID="P-001"),
    _studies("", PatientID="p-001"),
    _studies("S6", PatientID="B[1]"),
    _studies("S1", AccessionNumber="ACC1"),
    _studies("S6", AccessionNumber="ACC[6]"),
    _studies("S1 S7", StudyDescription="CT HEAD"),
    _studies("S5", StudyDescription="頭部"),
    _studies("S1", StudyID="1"),
    _studies("S3", PatientSex="M"),
    _studies("S3", PatientBirthDate="19651231"),
    _studies("S2 S7", StudyDate="20200615"),
    _studies("S2", StudyTime="101530.25"),
    _studies("S2", StudyTime="1015"),
    _studies("S7", StudyTime="08"),
    # Person names: case and accents folded, any component group
    _studies("S1 S2", PatientName="doe^jane"),
    _studies("S3", PatientName="DOE^JOHN^Q"),
    _studies("S4", PatientName="Muller^Jorg"),
    _studies("S4", PatientName="Müller^Jörg"),
    _studies("S5", PatientName="やまだ^たろう"),
    _studies("S5", PatientName="Yamada^Tarou=山田^太郎"),
    _studies("S2", ReferringPhysicianName="poe^edgar"),
    # Wildcard matching (C.2.2.2.4)
    _studies("S1 S2 S3", PatientID="P-*"),
    _studies("S1 S2 S3", PatientID="P-00?"),
    _studies("S6", PatientID="B[?]"),
    _studies("S1 S3", AccessionNumber="ACC1*"),
    _studies("S1 S7", StudyDescription="*HEAD*"),
    _studies("S1 S2 S3", PatientName="Doe*"),
    _studies("S1 S2 S3 S4", PatientName="*^J*"),
    _studies("S5", PatientName="山田*"),
    _studies("S6", PatientName="O'H?ra*"),
    # Range matching (C.2.2.2.5)
    _studies("S1 S2 S7", StudyDate="20200101-20200615"),
    _studies("S4 S5", StudyDate="20210301-"),
    _studies("S3", StudyDate="-20191231"),
    _studies("S5 S6", PatientBirthDate="19991231-20000101"),
    _studies("S1", StudyTime="0900-1000"),
    _studies("S3", StudyTime="2300-"),
    _studies("S4", StudyTime="-0000"),
    # List of UID matching (C.2.2.2.2)
    _studies("S1 S4", StudyInstanceUID=f"{uid_of('S1')}\\{uid_of('S4')}\\1.2.3"),
    _studies("S2", StudyInstanceUID=uid_of("S2")),
    # Attributes that are told of a study as a whole (C.6.2.1.2)
    _studies("S1", ModalitiesInStudy="SR"),
    _studies("S1 S3 S7", ModalitiesInStudy="CT"),
    _studies("S2", SOPClassesInStudy=MR),
    _studies("S1", NumberOfStudyRelatedInstances="4"),
    _studies("S1", NumberOfStudyRelatedSeries="3"),
    # Several keys at once
    _studies("S7", StudyDate="20200615", StudyTime="-0900"),
    _studies("S3", PatientName="Doe*", ModalitiesInStudy="CT", StudyDate="-20191231"),
    _studies("", PatientName="Doe*", PatientSex="O"),
    # Series
    _series("S1", "A B C"),
    _series("S1", "C", Modality="SR"),
    _series("S1", "A B C", Modality="CT\\SR", of="dimse"),
    _series("S1", "B", SeriesNumber="2"),
    _series("S1", "A B", SeriesDescription="thi*"),
    _series("S1", "A B", BodyPartExamined="HEAD"),
    _series("S1", "A", ProtocolName="*^Routine"),
    _series("S1", "A B", Manufacturer="ACME", StationName="CT1"),
    _series("S1", "A", OperatorsName="Roe*"),
    _series("S1", "B", PerformedProcedureStepStartDate="20200102-20201231"),
    _series("S1", "A", PerformedProcedureStepStartTime="0900-0945"),
    _series("S1", "A C", SeriesInstanceUID=f"{uid_of('S1/A')}\\{uid_of('S1/C')}"),
    _series("S1", "", SeriesInstanceUID=uid_of("S2/A")),
    _series("S1", "A", NumberOfSeriesRelatedInstances="2"),
    _anywhere("SERIES", "S1/A S1/B S3/A S7/A", Modality="CT"),
    _anywhere("SERIES", "S1/A S1/B", Modality="CT", PatientID="P-001"),
    _anywhere("SERIES", "S2/A", StudyDate="20200615", BodyPartExamined="KNEE"),
    # Instances
    _images("S2/A", "1 2 3"),
    _images("S2/A", "2", InstanceNumber="2"),
    _images("S2/A", "1 3", SOPInstanceUID=f"{uid_of('S2/A/1')}\\{uid_of('S2/A/3')}"),
    _images("S2/A", "1 2 3", SOPClassUID=MR),
    _images("S2/A", "", SOPClassUID=CT),
    _images("S2/A", "1 2", ContentDate="20200615-20200616"),
    _images("S2/A", "1", ContentTime="1000-1030"),
    _images("S2/A", "1", Rows="8"),
    _images("S2/A", "2", NumberOfFrames="3"),
    _anywhere("IMAGE", "S2/A/2 S1/A/2", InstanceNumber="2"),
    _anywhere("IMAGE", "S5/A/1", PatientName="山田*"),
)
