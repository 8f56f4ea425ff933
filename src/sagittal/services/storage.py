"""Storage SOP classes (PS3.4 B): C-STORE of every class, known, unknown or private, in any storable transfer syntax.

The data set goes to the archive as it arrives; the answer comes when the archive has it durably. What the object is and
whether it may be kept is for the archive; this file turns its outcome into a status (PS3.4 B.2.3).
"""

from __future__ import annotations

import logging

from sagittal.archive.ingest import Outcome, Source
from sagittal.archive.ingest.transfer import Transfer
from sagittal.dicom.sopclasses import STORAGE_SERVICE, may_be_storage
from sagittal.dimse.service import Request, Response, Service, StoreSink
from sagittal.dimse.status import SUCCESS
from sagittal.services.site import Site
from sagittal.ul.negotiation import storable

KEPT_FIRST = 0xB000  # B000: coercion of data elements, the nearest that B.2.3 has
log = logging.getLogger("sagittal.storage")


def storage(site: Site) -> Service:
    """C-STORE, for whoever may `store`; and the storage classes that C-GET sends on the requestor's association."""

    def begin(request: Request) -> StoreSink:
        association, command = request.association, request.command
        calling = association.calling_aet
        source = Source("dimse", calling, association.called_aet, association.peer_address, *site.sender(calling))
        transfer = site.archive.store_begin(
            association.principal,
            source,
            syntax_uid=request.context.transfer_syntax,
            sop_class_uid=command["AffectedSOPClassUID"],
            sop_instance_uid=command["AffectedSOPInstanceUID"],
        )
        return _Sink(transfer, site.kept_is_success)

    return Service(
        "Storage",
        may_be_storage,
        store=begin,
        scu=True,
        syntaxes=storable,
        service_class=STORAGE_SERVICE,
        clause="PS3.4 B",
    )


class _Sink:
    """One C-STORE. `write`, `ready` and `abort` are the transfer's own, so that the hot path has no layer here."""

    __slots__ = ("_kept_is_success", "_transfer", "abort", "ready", "write")

    def __init__(self, transfer: Transfer, kept_is_success: bool) -> None:
        self._transfer, self._kept_is_success = transfer, kept_is_success
        self.write, self.ready, self.abort = transfer.write, transfer.ready, transfer.discard

    async def finish(self) -> Response:
        outcome = await self._transfer.commit()
        if outcome.warnings:
            fields = {"instance": outcome.sop_instance_uid, "defects": " ".join(outcome.warnings)}
            log.info("stored with defects", extra={"fields": fields})
        return response_for(outcome, self._kept_is_success)


def response_for(outcome: Outcome, kept_is_success: bool) -> Response:
    """Success, unless another content is held under the UID and was kept."""
    if outcome.status != "kept":
        return Response(SUCCESS)
    comment = "kept: another content was stored first under this UID"
    if kept_is_success:
        return Response(SUCCESS, comment=comment)
    extra = {} if outcome.offending is None else {"OffendingElement": [outcome.offending]}
    return Response(KEPT_FIRST, comment=comment, extra=extra)
