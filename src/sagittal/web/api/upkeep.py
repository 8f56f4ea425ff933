"""What commands of this machine did beside the running archive, for its audit log.

`sagittal scrub`, `backup` and `export` read index and objects by themselves while a server holds the directory; only
the server writes. Deliberately not here: doing any of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from fastapi import Body, FastAPI

from sagittal.archive.access import audit_row
from sagittal.archive.upkeep import tasks
from sagittal.web.api.models import Asking, UpkeepIn

if TYPE_CHECKING:
    from sagittal.web.house import House


def add_upkeep(api: FastAPI, house: House) -> None:
    """The one operation."""

    @api.post("/upkeep", status_code=204, summary="Write into the audit log what was done beside the server")
    async def post_upkeep(asking: Asking, done: Annotated[UpkeepIn, Body()]) -> None:
        row = audit_row(asking, done.verb, done.outcome, detail=done.detail, number_of_instances=done.instances)
        tasks.note(house.archive, asking, row)
