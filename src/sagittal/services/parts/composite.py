"""Composite Instance Root Retrieve MOVE and GET, and Composite Instance Retrieve Without Bulk Data GET (PS3.4 Y, Z).

Instances are named by their SOP Instance UIDs alone, and at FRAME level one of them by the frames wanted. Neither has
extended negotiation.
"""

from __future__ import annotations

from sagittal.dicom.elements import Element
from sagittal.dicom.sopclasses import COMPOSITE_ROOT_GET, COMPOSITE_ROOT_MOVE, LEVELS, WITHOUT_BULK_GET
from sagittal.dimse.commands import C_GET_RQ, C_MOVE_RQ
from sagittal.dimse.service import Request, Service
from sagittal.services.identifier import INSTANCE_UID, KeyMismatch, check_uids, decode_request
from sagittal.services.parts.framelist import frame_list
from sagittal.services.parts.frames import FramesOf
from sagittal.services.parts.withoutbulk import WITHOUT_BULK
from sagittal.services.retrieve import Found, audited, getting, instances, moving
from sagittal.services.site import Site
from sagittal.services.suboperations import WHOLE


def composite_get(site: Site) -> Service:
    """C-GET of instances and frames, for whoever may `get`."""
    handler = getting(site, lambda request: _find(site, request))
    return Service("Composite Instance Get", frozenset({COMPOSITE_ROOT_GET}), {C_GET_RQ: handler}, clause="PS3.4 Y")


def composite_move(site: Site) -> Service:
    """C-MOVE of instances and frames, for whoever may `move`."""
    handler = moving(site, lambda request: _find(site, request))
    return Service("Composite Instance Move", frozenset({COMPOSITE_ROOT_MOVE}), {C_MOVE_RQ: handler}, clause="PS3.4 Y")


def get_without_bulk(site: Site) -> Service:
    """C-GET of instances without their bulk data, for whoever may `get`."""

    async def find(request: Request) -> Found:
        refs, _ = await _find(site, request)
        return refs, WITHOUT_BULK

    handler = getting(site, find)
    return Service("Get Without Bulk Data", frozenset({WITHOUT_BULK_GET}), {C_GET_RQ: handler}, clause="PS3.4 Z")


async def _find(site: Site, request: Request) -> Found:
    with audited(site, request):
        elements, level = decode_request(request, LEVELS[request.context.abstract_syntax], site.limits)
        uids = _uids(elements)
        if level == "FRAME" and len(uids) != 1:
            raise KeyMismatch("the FRAME level wants one SOP Instance UID", INSTANCE_UID)
        check_uids(uids, "IMAGE")
        asked = frame_list(elements) if level == "FRAME" else None
    refs = await instances(site, request, sop_instance_uids=uids)
    if asked is None or not refs:
        return refs, WHOLE
    return refs[:1], await FramesOf.prepared(site, refs[0], asked)


def _uids(elements: dict[int, Element]) -> list[str]:
    text = elements[INSTANCE_UID].text() if INSTANCE_UID in elements else ""
    return list(dict.fromkeys(uid for uid in text.split("\\") if uid))
