"""What one object tells the index: which attributes are wanted of it, and the record that ingest hands over.

Deliberately not here: statements, and where the bytes of the object are before they are an object.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from sagittal.archive.index import MAIN_STORE
from sagittal.dicom.dictionary import vr_of
from sagittal.dicom.matching.times import REGULAR

SOP_CLASS_UID, SOP_INSTANCE_UID = 0x00080016, 0x00080018
STUDY_INSTANCE_UID, SERIES_INSTANCE_UID = 0x0020000D, 0x0020000E
MODALITY = 0x00080060
TIMEZONE_OFFSET_FROM_UTC = 0x00080201
PATIENT_ID, ISSUER_OF_PATIENT_ID, PATIENT_NAME = 0x00100020, 0x00100021, 0x00100010

# Attribute -> column. The first value wins within the study or series; another one is listed as a discrepancy.
PATIENT_COLUMNS: Mapping[int, str] = {
    PATIENT_ID: "patient_id",
    ISSUER_OF_PATIENT_ID: "issuer_of_patient_id",
    PATIENT_NAME: "patient_name",
    0x00100030: "patient_birth_date",
    0x00100040: "patient_sex",
}
STUDY_COLUMNS: Mapping[int, str] = {
    **PATIENT_COLUMNS,
    0x00080020: "study_date",
    0x00080030: "study_time",
    TIMEZONE_OFFSET_FROM_UTC: "timezone_offset_from_utc",
    0x00080050: "accession_number",
    0x00200010: "study_id",
    0x00081030: "study_description",
    0x00080090: "referring_physician_name",
}
SERIES_COLUMNS: Mapping[int, str] = {
    MODALITY: "modality",
    0x00200011: "series_number",
    0x0008103E: "series_description",
    0x00080021: "series_date",
    0x00080031: "series_time",
    0x00180015: "body_part_examined",
    0x00200060: "laterality",
    0x00181030: "protocol_name",
    0x00400244: "performed_procedure_step_start_date",
    0x00400245: "performed_procedure_step_start_time",
    0x00400253: "performed_procedure_step_id",
    0x00080070: "manufacturer",
    0x00081090: "manufacturer_model_name",
    0x00080080: "institution_name",
    0x00081010: "station_name",
    0x00081070: "operators_name",
    0x00200052: "frame_of_reference_uid",
}
INSTANCE_TEXTS: Mapping[int, str] = {
    0x00200013: "instance_number",
    0x00080023: "content_date",
    0x00080033: "content_time",
}
INSTANCE_NUMBERS: Mapping[int, str] = {
    0x00280010: "rows",
    0x00280011: "columns",
    0x00280100: "bits_allocated",
    0x00280008: "number_of_frames",
}
NAMES = frozenset({PATIENT_NAME, 0x00080090, 0x00081070})  # these have a `_search` column beside them

WANTED = frozenset(
    {SOP_CLASS_UID, SOP_INSTANCE_UID, STUDY_INSTANCE_UID, SERIES_INSTANCE_UID}
    | {*STUDY_COLUMNS, *SERIES_COLUMNS, *INSTANCE_TEXTS, *INSTANCE_NUMBERS}
)

_REGULAR = {tag: REGULAR[vr] for tag in sorted(WANTED) if (vr := vr_of(tag)) in REGULAR}
_NUMBER_MAX = 2**31 - 1  # more is no number of rows, columns, bits or frames (PS3.5 IS, US)


class Encodes(NamedTuple):
    """What an object that comes in is another encoding of, without loss."""

    instance: int  # the version that gives way to it, if that is current still
    digest: str  # of the file that was held against that version
    pixels: str  # `pixels.fingerprint` of that version


@dataclass(slots=True)
class Arrival:
    """One object on its way into the index."""

    sop_class_uid: str
    sop_instance_uid: str
    study_uid: str  # "" as series_uid: a non-patient object
    series_uid: str
    syntax_uid: str
    digest: str
    length: int  # of the whole file
    header_length: int
    values: Mapping[int, str]
    received_at: int
    store: int = MAIN_STORE
    kind: str = ""
    calling_aet: str = ""
    called_aet: str = ""
    address: str = ""
    principal: str = ""
    principal_kind: str = ""
    character_set: str = ""  # in which it was read because it names none; "": it does, or the default repertoire
    defects: tuple[str, ...] = ()
    frames: bytes | None = None
    key: str = ""
    encodes: Encodes | None = None
    metadata: Iterable[bytes] = field(default=())  # compressed parts in order; read once, when the row is written


def number(text: str | None) -> int | None:
    """An attribute's integer, None when it is absent, none, or beyond what such an attribute can hold."""
    try:
        value = int(text) if text and "_" not in text else -1
    except ValueError:
        return None
    return value if 0 <= value <= _NUMBER_MAX else None


def columns_of(values: Mapping[int, str]) -> dict[int, str]:
    """Wanted attributes as their columns have them: what a database takes; ACR-NEMA's dates and times as DICOM's, so
    that they are found.
    """
    texts = {tag: storable(value) for tag, value in values.items()}
    for tag, regular in _REGULAR.items():
        if text := texts.get(tag):
            texts[tag] = regular(text)
    return texts


def with_senders(values: Mapping[int, str], issuer: str, timezone: str) -> Mapping[int, str]:
    """Values with what their sender's node says where the object says nothing."""
    if issuer and values.get(PATIENT_ID) and not values.get(ISSUER_OF_PATIENT_ID):
        values = {**values, ISSUER_OF_PATIENT_ID: issuer}
    if timezone and not values.get(TIMEZONE_OFFSET_FROM_UTC):
        values = {**values, TIMEZONE_OFFSET_FROM_UTC: timezone}
    return values


def storable(text: str) -> str:
    """Text that a database takes: no lone surrogates, no NUL."""
    if text.isascii():
        return text.replace("\0", "") if "\0" in text else text
    return text.encode("utf-8", "replace").decode("utf-8").replace("\0", "")
