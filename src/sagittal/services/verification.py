"""Verification SOP class (PS3.4 A): C-ECHO."""

from __future__ import annotations

from collections.abc import AsyncIterator

from sagittal.dicom.sopclasses import VERIFICATION
from sagittal.dimse.service import Request, Response, Service
from sagittal.services.site import Site


def verification(site: Site) -> Service:
    """C-ECHO, for whoever may `echo`."""

    async def echo(request: Request) -> AsyncIterator[Response]:
        site.archive.permit(request.association.principal, "echo")
        yield Response(0x0000)

    return Service("Verification", frozenset({VERIFICATION}), {0x0030: echo}, clause="PS3.4 A")
