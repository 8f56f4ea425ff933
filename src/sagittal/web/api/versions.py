"""Instance versions over REST: what came under one SOP Instance UID, their files, which is current; discrepancies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from fastapi import FastAPI, Path, Query
from starlette.responses import Response

from sagittal.archive.access import Principal
from sagittal.archive.index import CURRENT, DELETED, DELETED_OTHER, OTHER
from sagittal.archive.references import InstanceRef
from sagittal.errors import Gone, NotFound
from sagittal.web.api.models import Asking, Discrepancy, Version
from sagittal.web.retrieve.objects import Stored
from sagittal.web.wire import uri
from sagittal.web.wire.accept import DICOM
from sagittal.web.wire.stream import Streamed

if TYPE_CHECKING:
    from sagittal.web.house import House

VERSIONS = "/instances/{instance}/versions"
STATES = {CURRENT: "current", OTHER: "other", DELETED: "deleted", DELETED_OTHER: "deleted"}
Name = Annotated[str, Path(pattern="^([0-9]{1,18}|[0-9a-f]{64})$", description="its id, or its digest")]


def add_versions(api: FastAPI, house: House) -> None:
    """List, read, promote."""
    stored = Stored.of(house)

    async def find(asking: Principal, instance: str, name: str) -> InstanceRef:
        held = await house.archive.versions(asking, uri.uid(instance, "SOP Instance UID"))
        return _named(held, name)

    @api.get(VERSIONS, summary="Every version held under a SOP Instance UID, the oldest first")
    async def get_versions(asking: Asking, instance: str) -> list[Version]:
        held = await house.archive.versions(asking, uri.uid(instance, "SOP Instance UID"))
        if not held:
            raise NotFound("nothing is held under this SOP Instance UID")
        return [_version(ref) for ref in held]

    @api.get(
        VERSIONS + "/{version}/file",
        summary="The file of a version, as stored",
        response_class=Response,
        responses={200: {"content": {DICOM: {}}, "description": "a Part 10 file"}},
    )
    async def get_file(asking: Asking, instance: str, version: Name) -> Response:
        ref = await find(asking, instance, version)
        if ref.state not in (CURRENT, OTHER):
            raise Gone("this version was deleted")
        return Streamed(house.readers, stored.file(ref, ref.syntax_uid), DICOM, ref.size)

    @api.post(VERSIONS + "/{version}/promote", summary="Make a version that lies beside the current one current")
    async def promote(asking: Asking, instance: str, version: Name) -> list[Version]:
        await house.archive.promote(asking, await find(asking, instance, version))
        return [_version(ref) for ref in await house.archive.versions(asking, instance)]


def add_discrepancies(api: FastAPI, house: House) -> None:
    """What did not fit into a study or series."""

    @api.get("/discrepancies", summary="The latest values that differ from the ones kept for a study or series")
    async def get_discrepancies(
        asking: Asking, study: str = "", limit: Annotated[int, Query(ge=1, le=10_000)] = 100
    ) -> list[Discrepancy]:
        of = study and uri.uid(study, "Study Instance UID")
        found = await house.archive.discrepancies(asking, of, limit)
        return [
            Discrepancy(level=row.level, study=row.study_uid, series=row.series_uid, instance=row.sop_instance_uid,
                        tag=f"{row.tag:08X}", kept=row.kept, value=row.value, instances=row.instances, at=row.at)
            for row in found
        ]  # fmt: skip


def _named(held: list[InstanceRef], name: str) -> InstanceRef:
    """By its id or its digest; of several with one digest the one that is not deleted."""
    found = [ref for ref in held if name in (str(ref.id), ref.digest)]
    if not found:
        raise NotFound("no such version of this instance")
    return min(found, key=lambda ref: ref.state not in (CURRENT, OTHER))


def _version(ref: InstanceRef) -> Version:
    return Version(
        id=ref.id,
        state=STATES.get(ref.state, "purged"),
        digest=ref.digest,
        size=ref.size,
        transfer_syntax=ref.syntax_uid,
        sop_class=ref.sop_class_uid,
        study=ref.study_uid or "",
        series=ref.series_uid or "",
        frames=ref.frames,
    )
