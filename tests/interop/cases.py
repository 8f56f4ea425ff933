"""A seeded archive and a table of query cases with their answers (`query_cases.csv`): key by matching rule by level.

Names in nine scripts, each in a character set of its own; private elements, sequences, several values, empty ones.
Objects are named by study, series and number ("A/1/2"), and a case is answered by such names. A key is a keyword, a
path through a sequence ("ProcedureCodeSequence.CodeValue") or a private element with its creator ("ACME:00090001"); a
value's "@A/1" stands for the UID of that.
"""

# ruff: noqa: RUF001  (letters of other scripts are meant)
from __future__ import annotations

import csv
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from builders import CT, MR, SC, Built, build, uid_of

from sagittal.dicom.dictionary import tag_of, vr_of
from sagittal.dicom.elements import encode, encode_sequence, encode_text
from sagittal.dicom.syntaxes import EXPLICIT_LE, syntax

TABLE = Path(__file__).parent / "query_cases.csv"
UTF_8 = "ISO_IR 192"

# Study → its character set and what all of its objects say.
STUDIES: dict[str, tuple[str, dict[str, str]]] = {
    "A": ("ISO_IR 100", {
        "PatientName": "Müller^Jörg", "PatientID": "PID-1", "PatientSex": "M", "PatientBirthDate": "19500102",
        "StudyDate": "20200101", "StudyTime": "093000", "AccessionNumber": "ACC-001", "StudyID": "1",
        "StudyDescription": "CT Schädel", "ReferringPhysicianName": "Groß^Änne", "EthnicGroup": "north",
        "PatientComments": "Größe unklar", "ProcedureCodeSequence.CodeValue": "T-1", "ACME:00090001": "blue",
        "ProcedureCodeSequence.CodeMeaning": "Head", "PatientWeight": "72.5"}),
    "B": ("ISO_IR 144", {
        "PatientName": "Люксембург^Иван", "PatientID": "PID-2", "PatientSex": "M", "PatientBirthDate": "19600229",
        "StudyDate": "20200102", "StudyTime": "0930", "AccessionNumber": "ACC-002", "StudyID": "2",
        "StudyDescription": "МРТ колена", "ReferringPhysicianName": "Чехов^Антон", "EthnicGroup": "east",
        "ACME:00090001": "green", "ProcedureCodeSequence.CodeValue": "T-2",
        "ProcedureCodeSequence.CodeMeaning": "Knee", "PatientWeight": "80"}),
    "C": ("ISO_IR 126", {
        "PatientName": "Διονυσιος^Νικος", "PatientID": "PID-3", "PatientSex": "M", "PatientBirthDate": "19700303",
        "StudyDate": "20200331", "StudyTime": "235959", "AccessionNumber": "ACC-003", "StudyID": "3",
        "StudyDescription": "Θωρακας", "ReferringPhysicianName": "Gross^Anne", "EthnicGroup": "",
        "ProcedureCodeSequence.CodeValue": "T-1", "ProcedureCodeSequence.CodeMeaning": "Skull"}),
    "D": ("\\ISO 2022 IR 87", {
        "PatientName": "Yamada^Tarou=山田^太郎=やまだ^たろう", "PatientID": "JP4", "PatientSex": "M",
        "PatientBirthDate": "19800404", "StudyDate": "20200401", "StudyTime": "000000", "AccessionNumber": "",
        "StudyID": "", "StudyDescription": "頭部", "ReferringPhysicianName": "Suzuki^Ichiro=鈴木^一郎",
        "EthnicGroup": "north-east", "OTHER:00090001": "blue"}),
    "E": ("\\ISO 2022 IR 149", {
        "PatientName": "Hong^Gildong=洪^吉洞=홍^길동", "PatientID": "KR5", "PatientSex": "F", "PatientBirthDate": "",
        "StudyDate": "20201231", "StudyTime": "120000.5", "AccessionNumber": "KR-1", "StudyID": "5",
        "StudyDescription": "흉부", "ReferringPhysicianName": "", "EthnicGroup": "east"}),
    "F": ("GB18030", {
        "PatientName": "Wang^XiaoDong=王^小东", "PatientID": "CN6", "PatientSex": "F", "PatientBirthDate": "19900606",
        "StudyDate": "20210101", "StudyTime": "08", "AccessionNumber": "CN-1", "StudyID": "6",
        "StudyDescription": "胸部", "ReferringPhysicianName": "Li^Na=李^娜", "EthnicGroup": "east",
        "PatientWeight": "60"}),
    "G": ("ISO_IR 127", {
        "PatientName": "قباني^لنزار", "PatientID": "AR7", "PatientSex": "O", "PatientBirthDate": "19230321",
        "StudyDate": "20210102", "StudyTime": "081530", "AccessionNumber": "AR-1", "StudyID": "7",
        "StudyDescription": "صدر", "ReferringPhysicianName": "Doe^John", "PatientComments": "multi\nline"}),
    "H": ("ISO_IR 166", {
        "PatientName": "สมชาย^ใจดี", "PatientID": "TH8", "PatientSex": "", "PatientBirthDate": "20000101",
        "StudyDate": "", "StudyTime": "", "AccessionNumber": "TH[1]", "StudyID": "8*",
        "StudyDescription": "ทรวงอก", "ReferringPhysicianName": "Doe^Jane^Q^Dr"}),
    "I": (UTF_8, {
        "PatientName": "O'Brien-Smith^Siobhán^Æ^Dr^III", "PatientID": "PID-1", "PatientSex": "F",
        "PatientBirthDate": "19500102", "StudyDate": "20191231", "StudyTime": "1801", "AccessionNumber": "100%_x",
        "StudyID": "1B", "StudyDescription": "knee [left] ☃", "ReferringPhysicianName": "Doe^john",
        "EthnicGroup": "NORTH", "PatientWeight": "72.50", "ACME:00090001": "Blue"}),
    "J": ("ISO_IR 138", {
        "PatientName": "שרון^דבורה", "PatientID": "HE10", "PatientSex": "F", "PatientBirthDate": "19631001",
        "StudyDate": "20220615", "StudyTime": "101530", "AccessionNumber": "HE-1", "StudyID": "10",
        "StudyDescription": "CT HEAD", "ReferringPhysicianName": "Schmidt^Meyer"}),
}  # fmt: skip

# Study/series → objects, and what they say beside.
SERIES: dict[str, tuple[int, dict[str, str]]] = {
    "A/1": (3, {"Modality": "CT", "SeriesNumber": "1", "SeriesDescription": "thin", "BodyPartExamined": "HEAD",
                "ProtocolName": "Head^Routine", "Manufacturer": "ACME Inc", "StationName": "CT1", "KVP": "120",
                "OperatorsName": "Poe^Ann\\Roe^Bob", "SeriesDate": "20200101", "SeriesTime": "0931",
                "ImageType": "ORIGINAL\\PRIMARY\\AXIAL", "ContrastBolusAgent": "iodine"}),
    "A/2": (1, {"Modality": "CT", "SeriesNumber": "2", "SeriesDescription": "thick", "BodyPartExamined": "HEAD",
                "ProtocolName": "Head^Late", "Manufacturer": "ACME Inc", "StationName": "CT1", "KVP": "80.0",
                "SeriesDate": "20200102", "SeriesTime": "1005", "ImageType": "DERIVED\\SECONDARY\\MPR"}),
    "A/3": (1, {"Modality": "SR", "SeriesNumber": "99", "SeriesDescription": "", "SOPClassUID":
                "1.2.840.10008.5.1.4.1.1.88.11", "Manufacturer": "Other", "SeriesDate": ""}),
    "B/1": (4, {"Modality": "MR", "SeriesNumber": "1", "SeriesDescription": "t1", "BodyPartExamined": "KNEE",
                "SOPClassUID": MR, "Manufacturer": "Sehr Gut", "SeriesDate": "20200103",
                "ImageType": "ORIGINAL\\PRIMARY"}),
    "C/1": (1, {"Modality": "CT", "SeriesNumber": "1", "BodyPartExamined": "CHEST", "KVP": "120.00"}),
    "D/1": (1, {"Modality": "CT", "SeriesNumber": "1", "BodyPartExamined": "HEAD", "KVP": "100"}),
    "E/1": (1, {"Modality": "CR", "SeriesNumber": "1", "BodyPartExamined": "CHEST", "SOPClassUID": SC}),
    "F/1": (1, {"Modality": "OT", "SeriesNumber": "7", "SOPClassUID": SC}),
    "G/1": (1, {"Modality": "OT", "SeriesNumber": "1", "SOPClassUID": SC}),
    "H/1": (1, {"Modality": "OT", "SeriesNumber": "", "SOPClassUID": SC}),
    "I/1": (1, {"Modality": "MR", "SeriesNumber": "1", "SOPClassUID": MR, "BodyPartExamined": "KNEE"}),
    "J/1": (2, {"Modality": "CT", "SeriesNumber": "4", "SOPClassUID": CT, "KVP": "120"}),
}  # fmt: skip

# What single objects say differently.
OBJECTS: dict[str, dict[str, str]] = {
    "A/1/1": {"ContentDate": "20200101", "ContentTime": "093100", "AcquisitionDateTime": "20200101093100",
              "SliceThickness": "1.25", "ImageComments": "first"},
    "A/1/2": {"ContentDate": "20200101", "ContentTime": "093105", "AcquisitionDateTime": "20200101093105.5",
              "SliceThickness": "1.250", "ImageComments": "second one"},
    "A/1/3": {"ContentDate": "20200102", "ContentTime": "10", "SliceThickness": "5", "ImageComments": ""},
    "B/1/1": {"EchoTime": "30", "ReferencedImageSequence.ReferencedSOPInstanceUID": "1.2.3.1"},
    "B/1/2": {"EchoTime": "60", "ReferencedImageSequence.ReferencedSOPInstanceUID": "1.2.3.2",
              "ACME:00110002": "left\\upper"},
    "B/1/3": {"EchoTime": "90", "NumberOfFrames": "3"},
    "B/1/4": {"EchoTime": "", "ACME:00110002": "right"},
}  # fmt: skip
FRAMES = {"B/1/3": 3}


def said(name: str) -> dict[str, str]:
    """What one object says, by key."""
    study, series, number = name.split("/")
    own = {"InstanceNumber": number, "SOPClassUID": CT, "NumberOfFrames": "", "Rows": "4"}
    return own | STUDIES[study][1] | SERIES[f"{study}/{series}"][1] | OBJECTS.get(name, {})


def names() -> list[str]:
    return [f"{series}/{number}" for series, (count, _) in SERIES.items() for number in range(1, count + 1)]


def seeds() -> list[Built]:
    """Every object."""
    return [_object(name) for name in names()]


def _object(name: str) -> Built:
    study, series, number = name.split("/")
    charset = STUDIES[study][0]
    values = said(name)
    extra: dict[str, str | bytes] = {}
    for key, value in values.items():
        if key not in ("SOPClassUID", "Modality", "PatientName", "PatientID", "StudyDate", "NumberOfFrames", "Rows"):
            extra.update(_element(key, value, values, charset))
    return build(
        int(number),
        patient_id=values["PatientID"],
        patient_name=values["PatientName"],
        study=study,
        series=f"{study}/{series}",
        sop_class_uid=values["SOPClassUID"],
        modality=values["Modality"],
        study_date=values["StudyDate"],
        frames=FRAMES.get(name, 1),
        charset=charset,
        extra=extra,
    )


def _element(key: str, value: str, values: Mapping[str, str], charset: str) -> dict[str, str | bytes]:
    if ":" in key:
        creator, _, tag = key.partition(":")
        group, element = tag[:4], tag[6:]
        return {f"{group}0011": creator, f"{group}11{element}": value.encode()}
    if "." not in key:
        return {key: value}
    sequence = key.partition(".")[0]
    within = {inner.partition(".")[2]: text for inner, text in values.items() if inner.startswith(f"{sequence}.")}
    charsets = tuple(charset.split("\\"))
    item = [(tag_of(word), vr_of(tag_of(word)), encode_text(vr_of(tag_of(word)), text, charsets))
            for word, text in within.items()]  # fmt: skip
    to = syntax(EXPLICIT_LE)
    return {sequence: encode_sequence([encode(item, to)], to)}


class Case(NamedTuple):
    """One row: what is asked at `level` below `within`, under which terms, of whom, and the names of what is found."""

    number: int
    level: str
    within: str
    keys: Mapping[str, str]
    terms: frozenset[str]  # relational fuzzy combined empty; an offset from UTC
    charset: str
    of: frozenset[str]  # P S O: the DIMSE root; Q: QIDO-RS
    found: tuple[str, ...]

    @property
    def uids(self) -> list[str]:
        """At PATIENT level the names are Patient IDs."""
        return sorted(self.found if self.level == "PATIENT" else map(uid_of, self.found))


def cases() -> list[Case]:
    """The table."""
    with TABLE.open(encoding="utf-8", newline="") as file:
        return [_case(number, row) for number, row in enumerate(csv.DictReader(file), 1)]


def _case(number: int, row: Mapping[str, Any]) -> Case:
    text = re.sub(r"@([A-Z][/0-9]*)", lambda match: uid_of(match[1]), row["keys"])
    keys = dict(pair.split("=", 1) for pair in text.split("&") if pair)
    return Case(
        number,
        row["level"],
        row["within"],
        keys,
        frozenset(row["terms"].split()),
        row["charset"] or UTF_8,
        frozenset(row["of"]),
        tuple(row["found"].split()),
    )
