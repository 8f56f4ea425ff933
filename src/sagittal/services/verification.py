"""Verification SOP class (PS3.4 A): C-ECHO."""

from __future__ import annotations

from collections.abc import AsyncIterator

from sagittal.archive.access import authorize
from sagittal.dicom.sopclasses import VERIFICATION
from sagittal.dimse.service import Request, Response, Service
from sagittal.services.site import Site


def verification(site: Site) -> Service:
    """C-ECHO, for whoever may `echo`."""
    return Service("Verification", frozenset({VERIFICATION}), {0x0030: _echo}, clause="PS3.4 A")


async def _echo(request: Request) -> AsyncIterator[Response]:
    authorize(request.association.principal, "echo")
    yield Response(0x0000)
