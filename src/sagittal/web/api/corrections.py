"""Corrections over REST: put attributes of a study or series right beside the objects, see what was, take it back."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import Body, FastAPI
from pydantic import BaseModel, Field

from sagittal.archive.access import Principal
from sagittal.web.api.models import Asking
from sagittal.web.routes import SERIES, STUDY
from sagittal.web.wire import uri

if TYPE_CHECKING:
    from sagittal.archive.index.corrections import Row
    from sagittal.web.house import House


class CorrectionIn(BaseModel, extra="forbid"):
    """What is right, and why."""

    attributes: dict[str, Any] = Field(
        min_length=1,
        max_length=100,
        examples=[{"PatientName": "Doe^Jane", "00081030": {"vr": "LO", "Value": ["Head"]}, "AccessionNumber": None}],
        description="by keyword or tag: an element of DICOM JSON, its Value, or null for an empty value",
    )
    reason: str = Field(min_length=1, max_length=500)
    code: str = Field(
        "CORRECT", pattern="^(CORRECT|COERCE)$", description="Reason for the Attribute Modification (PS3.3 C.12.1.1.9)"
    )


class Corrected(BaseModel):
    correction: int


class MergeIn(BaseModel, extra="forbid"):
    """Which patient remains, and why."""

    into: str = Field(min_length=1, max_length=64, description="Patient ID")
    into_issuer: str = Field("", max_length=64, description="of the patient who remains")
    issuer: str = Field("", max_length=64, description="of the patient who is merged")
    reason: str = Field(min_length=1, max_length=500)


class Merged(BaseModel):
    corrections: list[int] = Field(description="one for each study; taking them back takes the merge back")


class UndoIn(BaseModel, extra="forbid"):
    """Corrections to take back together: those of a merge, for instance."""

    corrections: list[Annotated[int, Field(ge=1, lt=1 << 63)]] = Field(min_length=1, max_length=100_000)


class Correction(BaseModel):
    """One correction; those that were not taken back are in force."""

    id: int
    series: str = Field(description="empty: of the study")
    attributes: dict[str, Any] = Field(description="DICOM JSON")
    replaced: dict[str, str] = Field(description="what the index had from the objects, by tag")
    code: str
    reason: str
    principal: str
    at: int = Field(description="microseconds since 1970, UTC")
    undone_at: int | None
    undone_by: str


def add_corrections(api: FastAPI, house: House) -> None:
    """Correct, list, take back."""
    archive = house.archive

    async def correct(asking: Principal, where: tuple[str, str], given: CorrectionIn) -> Corrected:
        number = await archive.correct(asking, where, given.attributes, given.reason, given.code)
        return Corrected(correction=number)

    @api.patch(STUDY, summary="Correct attributes of a study or its patient; no object is changed")
    async def patch_study(asking: Asking, study: str, given: Annotated[CorrectionIn, Body()]) -> Corrected:
        return await correct(asking, (uri.uid(study, "Study Instance UID"), ""), given)

    @api.patch(SERIES, summary="Correct attributes of a series; no object is changed")
    async def patch_series(
        asking: Asking, study: str, series: str, given: Annotated[CorrectionIn, Body()]
    ) -> Corrected:
        where = uri.uid(study, "Study Instance UID"), uri.uid(series, "Series Instance UID")
        return await correct(asking, where, given)

    @api.post("/patients/{patient:path}/merge", summary="Make every study of a patient another one's")
    async def merge_patient(asking: Asking, patient: str, given: Annotated[MergeIn, Body()]) -> Merged:
        from_, into = (patient, given.issuer), (given.into, given.into_issuer)
        return Merged(corrections=await archive.merge_patient(asking, from_, into, given.reason))

    @api.get(STUDY + "/corrections", summary="The corrections of a study, the oldest first")
    async def get_corrections(asking: Asking, study: str) -> list[Correction]:
        return [_told(row) for row in await archive.corrections_of(asking, uri.uid(study, "Study Instance UID"))]

    @api.delete(STUDY + "/corrections/{number}", status_code=204, summary="Take a correction back")
    async def delete_correction(asking: Asking, study: str, number: int) -> None:
        await archive.undo_correction(asking, uri.uid(study, "Study Instance UID"), number)

    @api.post("/corrections/undo", status_code=204, summary="Take several corrections back, all or none")
    async def undo_corrections(asking: Asking, given: Annotated[UndoIn, Body()]) -> None:
        await archive.undo_corrections(asking, given.corrections)


def _told(row: Row) -> Correction:
    return Correction(
        id=row.id,
        series=row.series_uid,
        attributes=json.loads(row.attributes),
        replaced=json.loads(row.replaced),
        code=row.code,
        reason=row.reason,
        principal=row.principal,
        at=row.at,
        undone_at=row.undone_at,
        undone_by=row.undone_by,
    )
