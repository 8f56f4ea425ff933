"""Deleting and undeleting studies, series and instances over REST. What is deleted can come back for a grace period."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from fastapi import FastAPI, Path, Query

from sagittal.archive.access import Principal
from sagittal.archive.index.removal import Target
from sagittal.web.api.models import Asking, Deleted, Reason, Undeleted, as_dict
from sagittal.web.routes import INSTANCE, SERIES, STUDY
from sagittal.web.wire import uri

if TYPE_CHECKING:
    from sagittal.web.house import House


def add_deletion(api: FastAPI, house: House) -> None:
    """The operations, on every level."""
    _add_delete(api, house)
    _add_undelete(api, house)

    @api.get("/tombstones", summary="The latest deletions")
    async def get_tombstones(
        asking: Asking, limit: Annotated[int, Query(ge=1, le=1000)] = 100, originals: bool = False
    ) -> list[dict[str, Any]]:
        """With `originals=true` instead the originals of what was transcoded by rule."""
        return [as_dict(row) for row in await house.archive.tombstones(asking, limit, originals)]


def _add_delete(api: FastAPI, house: House) -> None:
    async def delete(asking: Principal, target: Target, reason: str) -> Deleted:
        done = await house.archive.delete(asking, target, reason)
        return Deleted(tombstone=done.tombstone, instances=done.instances)

    @api.delete(STUDY, summary="Hide a study; its bytes go after the grace period")
    async def delete_study(asking: Asking, study: str, reason: Reason = "") -> Deleted:
        return await delete(asking, _target(study), reason)

    @api.delete(SERIES, summary="Hide a series")
    async def delete_series(asking: Asking, study: str, series: str, reason: Reason = "") -> Deleted:
        return await delete(asking, _target(study, series), reason)

    @api.delete(INSTANCE, summary="Hide an instance, with all its versions")
    async def delete_instance(asking: Asking, study: str, series: str, instance: str, reason: Reason = "") -> Deleted:
        return await delete(asking, _target(study, series, instance), reason)


def _add_undelete(api: FastAPI, house: House) -> None:
    async def undelete(asking: Principal, target: Target, tombstone: int | None = None) -> Undeleted:
        return Undeleted(instances=await house.archive.undelete(asking, target, tombstone))

    @api.post(STUDY + "/undelete", summary="Bring back what was deleted as this study")
    async def undelete_study(asking: Asking, study: str) -> Undeleted:
        return await undelete(asking, _target(study))

    @api.post(SERIES + "/undelete", summary="Bring back what was deleted as this series")
    async def undelete_series(asking: Asking, study: str, series: str) -> Undeleted:
        return await undelete(asking, _target(study, series))

    @api.post(INSTANCE + "/undelete", summary="Bring back what was deleted as this instance")
    async def undelete_instance(asking: Asking, study: str, series: str, instance: str) -> Undeleted:
        return await undelete(asking, _target(study, series, instance))

    @api.post("/tombstones/{number}/undelete", summary="Bring back what one deletion hid")
    async def undelete_tombstone(asking: Asking, number: Annotated[int, Path(ge=1, lt=1 << 63)]) -> Undeleted:
        return await undelete(asking, Target(), number)


def _target(study: str, series: str = "", instance: str = "") -> Target:
    return Target(
        uri.uid(study, "Study Instance UID"),
        series and uri.uid(series, "Series Instance UID"),
        instance and uri.uid(instance, "SOP Instance UID"),
    )
