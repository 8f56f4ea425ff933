"""/api, imported when it is first asked for: FastAPI costs a second and 30 MB that most archives never need."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from sagittal.web.app import House


class LazyApi:
    """Stands where the sub-application is mounted."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._made: asyncio.Future[ASGIApp] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._made is None or (self._made.done() and self._made.exception()):
            # On a thread: the import may take long, and associations go on meanwhile.
            self._made = asyncio.ensure_future(asyncio.to_thread(self._make))
        api = await asyncio.shield(self._made)
        await api(scope, receive, send)

    def _make(self) -> ASGIApp:
        from sagittal.web.api.rest import create_api

        return create_api(self._house)
