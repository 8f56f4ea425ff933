"""Verification SOP class (PS3.4 A): C-ECHO."""

from __future__ import annotations

from collections.abc import AsyncIterator

from sagittal.dicom.sopclasses import VERIFICATION
from sagittal.dimse.commands import C_ECHO_RQ
from sagittal.dimse.service import Request, Response, Service
from sagittal.dimse.status import SUCCESS
from sagittal.services.site import Site


def verification(site: Site) -> Service:
    """C-ECHO, for whoever may `echo`."""

    async def echo(request: Request) -> AsyncIterator[Response]:
        site.archive.permit(request.association.principal, "echo")
        yield Response(SUCCESS)

    return Service("Verification", frozenset({VERIFICATION}), {C_ECHO_RQ: echo}, clause="PS3.4 A")
