"""Corrections of studies and series: what is wrong in objects is put right beside them, never in them.

The index shows the corrected (effective) values; every way out lays them over the objects (`retrieve`, `dicom.models.
overlay`), for instances that come later too. Each correction has who, when and why, and can be taken back. Which
attributes: those of the patient, study and series modules and of the equipment (PS3.3 C.7.1 to C.7.3, C.7.5), never
a UID that identifies, a character set, or anything of the pixels.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Callable, Hashable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sagittal.archive.access import Principal, audit_row, authorize
from sagittal.archive.acts import Act
from sagittal.archive.index import clock
from sagittal.archive.index import corrections as rows
from sagittal.archive.index.connection import Readers
from sagittal.archive.index.corrections import Acting, Row
from sagittal.dicom.dictionary import NAME_GROUPS, lookup, name_of, tag_of
from sagittal.dicom.models.encode import data_set
from sagittal.dicom.models.fit import fits
from sagittal.dicom.models.overlay import Correction
from sagittal.dicom.reader import Reader
from sagittal.dicom.syntaxes import EXPLICIT_LE, syntax
from sagittal.errors import BadRequest, DamagedObject, StorageUnavailable
from sagittal.limits import ReaderLimits

if TYPE_CHECKING:
    from sagittal.archive.references import InstanceRef, OpenObject

CODES = ("CORRECT", "COERCE")  # PS3.3 C.12.1.1.9: Reason for the Attribute Modification
SYSTEM = "SAGITTAL"
_REASON_CHARACTERS_MAX = 500
_SIZES_HELD = 50_000  # some 10 MB

_PATIENT = (
    "PatientName PatientID IssuerOfPatientID TypeOfPatientID IssuerOfPatientIDQualifiersSequence PatientBirthDate "
    "PatientBirthTime PatientSex OtherPatientIDsSequence OtherPatientIDs OtherPatientNames PatientBirthName "
    "PatientMotherBirthName EthnicGroup PatientComments PatientSpeciesDescription PatientBreedDescription "
    "ResponsiblePerson ResponsiblePersonRole ResponsibleOrganization"
)
_STUDY = (
    "StudyDate StudyTime TimezoneOffsetFromUTC AccessionNumber IssuerOfAccessionNumberSequence StudyID "
    "StudyDescription ReferringPhysicianName ConsultingPhysicianName PhysiciansOfRecord NameOfPhysiciansReadingStudy "
    "RequestingService ProcedureCodeSequence ReasonForPerformedProcedureCodeSequence AdmissionID PatientAge "
    "PatientSize PatientWeight Occupation AdditionalPatientHistory MedicalAlerts Allergies PregnancyStatus "
    "AdmittingDiagnosesDescription"
)
_SERIES = (
    "Modality SeriesNumber Laterality SeriesDate SeriesTime SeriesDescription PerformingPhysicianName ProtocolName "
    "OperatorsName BodyPartExamined PatientPosition PerformedProcedureStepID PerformedProcedureStepStartDate "
    "PerformedProcedureStepStartTime PerformedProcedureStepDescription RequestAttributesSequence "
    "CommentsOnThePerformedProcedureStep Manufacturer InstitutionName InstitutionAddress StationName "
    "InstitutionalDepartmentName ManufacturerModelName DeviceSerialNumber"
)


def _tags(keywords: str) -> frozenset[int]:
    return frozenset(map(tag_of, keywords.split()))


async def correct(
    act: Act, principal: Principal, where: tuple[str, str], attributes: Mapping[str, Any], reason: str, code: str
) -> int:
    """Correct attributes, by keyword or tag, of (study, series or ""); gives the correction's number.

    A value is an element of DICOM JSON, its Value, or null: empty. BadRequest, NotFound.
    """
    authorize(principal, "change")
    _check_reason(reason)
    if code not in CODES:
        raise BadRequest(f"the code is {' or '.join(CODES)}")
    obj, values = canonical(attributes, "series" if where[1] else "study")
    _check_fit(obj)
    acting = Acting(principal.name, code, reason.strip(), clock())

    def run(connection: sqlite3.Connection) -> int:
        return rows.correct(connection, principal.store, where, obj, values, acting)

    detail = f"{where[1]} {' '.join(obj)} {reason.strip()}".strip()
    number: int = await act(run, audit_row(principal, "correct", "done", "", where[0], detail))
    return number


async def merge(
    act: Act, principal: Principal, patient: tuple[str, str], into: tuple[str, str], reason: str
) -> list[int]:
    """Every study of a patient (identifier, issuer) becomes another one's; gives the numbers of the corrections.

    `undo_all` of those takes the merge back. BadRequest, NotFound.
    """
    authorize(principal, "change")
    _check_reason(reason)
    if patient == into:
        raise BadRequest("a patient can't be merged into itself")
    acting = Acting(principal.name, "CORRECT", reason.strip(), clock())

    def run(connection: sqlite3.Connection) -> list[int]:
        known, _ = rows.patient_of(connection, principal.store, into)
        _, studies = rows.patient_of(connection, principal.store, patient)
        obj, values = canonical({f"{tag:08X}": text or None for tag, text in known.items()}, "study")
        values = {tag: values.get(tag, "") for tag in known}
        return [rows.correct(connection, principal.store, (study, ""), obj, values, acting) for study in studies]

    detail = f"{patient[0][:64]} into {into[0][:64]}: {reason.strip()}"
    numbers: list[int] = await act(run, audit_row(principal, "merge", detail=detail))
    return numbers


def _check_reason(reason: str) -> None:
    if not reason.strip() or len(reason) > _REASON_CHARACTERS_MAX:
        raise BadRequest(f"a reason of at most {_REASON_CHARACTERS_MAX} characters is required")


async def undo(act: Act, principal: Principal, study_uid: str, number: int) -> None:
    """Take a correction back. NotFound."""
    authorize(principal, "change")
    at = clock()
    audit = audit_row(principal, "undo correction", "done", "", study_uid, str(number))
    await act(lambda connection: rows.undo(connection, principal.store, study_uid, number, principal.name, at), audit)


async def undo_all(act: Act, principal: Principal, numbers: Sequence[int]) -> None:
    """Take several corrections back, of any studies, all or none. BadRequest, NotFound."""
    authorize(principal, "change")
    if not numbers:
        raise BadRequest("no correction is named")
    at, store = clock(), principal.store

    def run(connection: sqlite3.Connection) -> None:
        for number in sorted(set(numbers), reverse=True):
            rows.undo(connection, store, rows.study_of(connection, store, number), number, principal.name, at)

    detail = " ".join(map(str, numbers))
    await act(run, audit_row(principal, "undo correction", detail=detail))


async def history(readers: Readers, principal: Principal, study_uid: str) -> list[Row]:
    """All corrections of a study, undone ones too, the oldest first."""
    return await readers.run(rows.history, principal.store, study_uid)


def in_force(found: Sequence[Row], series_uid: str | None) -> tuple[Correction, ...]:
    """Those of `found`, of one study, that bear on the instances of a series, as they are laid over objects."""
    return tuple(
        Correction({int(tag, 16): element for tag, element in json.loads(row.attributes).items()},
                   _date_time(row.at), SYSTEM, row.code)
        for row in found
        if row.series_uid in ("", series_uid)
    )  # fmt: skip


class Sizes:
    """How long corrected objects are when they are sent; found by reading their beginnings, and remembered."""

    def __init__(self, opened: Callable[[InstanceRef], OpenObject]) -> None:
        self._opened = opened
        self._known: dict[Hashable, int] = {}  # by all that the size comes from

    async def told(self, refs: list[InstanceRef]) -> list[InstanceRef]:
        """The references, those of corrected objects with their size."""
        if not any(ref.corrections for ref in refs):
            return refs
        loop = asyncio.get_running_loop()
        return [
            ref._replace(corrected_size=await loop.run_in_executor(None, self._size, ref)) if ref.corrections else ref
            for ref in refs
        ]

    def _size(self, ref: InstanceRef) -> int:
        key = ref.store, ref.digest, ref.corrected_at, ref.peculiar
        known = self._known.get(key)
        if known is None:
            try:
                with self._opened(ref) as opened:
                    known = opened.sent_size()
            except (DamagedObject, StorageUnavailable):  # whoever sends it is told; all others are none the worse
                return 0
            while len(self._known) >= _SIZES_HELD:
                self._known.pop(next(iter(self._known)), None)
            self._known[key] = known
        return known


def canonical(attributes: Mapping[str, Any], level: str) -> tuple[dict[str, Any], dict[int, str]]:
    """The attributes as the reader would give them, and their texts. BadRequest when one can't be corrected."""
    if not attributes:
        raise BadRequest("no attribute is named to correct")
    allowed = _tags(_SERIES) if level == "series" else _tags(_PATIENT) | _tags(_STUDY)
    obj: dict[str, Any] = {}
    for name, value in attributes.items():
        try:
            tag = tag_of(name)
        except KeyError:
            raise BadRequest(f"{name[:64]!r} is neither a keyword nor a tag") from None
        if tag not in allowed:
            raise BadRequest(f"{name[:64]} is no attribute that can be corrected for a {level}")
        obj[f"{tag:08X}"] = _element(tag, value)
    return _read(obj)


def _element(tag: int, value: Any) -> dict[str, Any]:
    entry = lookup(tag)
    assert entry is not None
    vr = entry.vr
    if isinstance(value, Mapping) and ("vr" in value or "Value" in value):
        if value.get("vr", vr) != vr:
            raise BadRequest(f"{entry.keyword} has VR {vr}")
        if set(value) - {"vr", "Value"}:
            raise BadRequest(f"{entry.keyword} is given by its Value")
        value = value.get("Value")
    values = [] if value is None or value == "" else value if isinstance(value, list) else [value]
    if vr == "PN":
        values = [_name(found) for found in values]
    return {"vr": vr, "Value": values}


def _name(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    groups = zip(NAME_GROUPS, value.split("="), strict=False)
    return {name: group for name, group in groups if group}


def _read(obj: Mapping[str, Any]) -> tuple[dict[str, Any], dict[int, str]]:
    """The attributes as they are read back when they are written as a data set, and their texts. BadRequest."""
    octets = b"".join(data_set(obj, syntax(EXPLICIT_LE)))
    texts: list[str] = []
    wanted = frozenset(int(tag, 16) for tag in obj)
    reader = Reader(syntax(EXPLICIT_LE), wanted=wanted, limits=ReaderLimits(), metadata=texts.append)
    reader.feed(octets)
    parsed = reader.finish()
    if parsed.defects:
        raise BadRequest(f"the values are not fit for their attributes: {', '.join(parsed.defects)}")
    made: dict[str, Any] = json.loads("".join(texts))
    if "BulkDataURI" in "".join(texts):
        raise BadRequest("a value is too long to be corrected")
    made.pop("00080005", None)
    return made, {tag: value for tag, value in parsed.values.items() if f"{tag:08X}" in made}


def _check_fit(obj: Mapping[str, Any]) -> None:
    """BadRequest for a value that its VR doesn't allow, in sequences too: a correction must not bring a new fault."""
    for tag, element in obj.items():
        for value in element.get("Value") or ():
            if element["vr"] == "SQ":
                _check_fit(value or {})
            elif not fits(element["vr"], value):
                raise BadRequest(f"a value of {name_of(tag)} is no {element['vr']} (PS3.5 6.2)")


def _date_time(at: int) -> str:
    """Microseconds UTC as DT (PS3.5 6.2)."""
    return datetime.fromtimestamp(at / 1e6, UTC).strftime("%Y%m%d%H%M%S.%f+0000")
