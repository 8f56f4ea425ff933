"""DELETE of a study, a series or an instance below /dicom-web, as other archives have it; PS3.18 leaves it open.

What is deleted is hidden, with a tombstone that says who and why, and can come back by POST …/undelete of /api until
its grace period is over. The reason is the query parameter `reason`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.responses import Response

from sagittal.archive.index.removal import Target
from sagittal.errors import BadRequest
from sagittal.web.wire import uri

if TYPE_CHECKING:
    from starlette.requests import Request

    from sagittal.web.house import House

_REASON_CHARACTERS_MAX = 1000


class Removal:
    """DELETE of studies, series and instances."""

    def __init__(self, house: House) -> None:
        self._archive = house.archive

    async def delete(self, request: Request) -> Response:
        study, series, instance = uri.uids(request.path_params)
        reason = request.query_params.get("reason", "")
        if len(reason) > _REASON_CHARACTERS_MAX:
            raise BadRequest(f"the reason has more than {_REASON_CHARACTERS_MAX} characters")
        await self._archive.delete(request.scope["principal"], Target(study, series or "", instance or ""), reason)
        return Response(status_code=204)
