"""Study Root Query/Retrieve MOVE and GET (PS3.4 C.4.2, C.4.3, C.6.2).

At STUDY, SERIES and IMAGE level with lists of UIDs. C-MOVE goes to configured nodes only, over one association at a
time. No relational retrieval, no frame level, no bulk data left out: none of them is negotiated.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

from sagittal.archive.access import Principal
from sagittal.archive.retrieve import InstanceRef
from sagittal.dicom.sopclasses import STUDY_ROOT_GET, STUDY_ROOT_MOVE
from sagittal.dimse.service import Request, Response, Service, Source
from sagittal.errors import NotFound, PeerError, SagittalError, UnknownDestination
from sagittal.net.client import Association, Peer
from sagittal.net.proposing import Batch, accepted_syntaxes, plan
from sagittal.services.identifier import STUDY_ROOT, UNIQUE_KEYS, check_retrieve, failure, read_identifier
from sagittal.services.site import Site
from sagittal.services.suboperations import CANCELLED, Pace, Send, Tally, send_instance

_LOST_MAX = 3  # associations that end under way before we give a destination up


def get(site: Site) -> Service:
    """C-GET, for whoever may `get`."""

    async def handle(request: Request) -> AsyncIterator[Response]:
        try:
            refs = await find_instances(site, request)
        except SagittalError as error:
            yield failure(error)
            return
        accepted = accepted_syntaxes(context for context in request.association.contexts if context.peer_scp)
        tally, pace = Tally(len(refs)), Pace()
        for ref in refs:
            if request.cancelled:
                yield tally.cancelled(request)
                return
            await send_instance(site, ref, accepted.get(ref.sop_class_uid, ()), request.store, tally)
            if tally.remaining and pace.due():
                yield tally.pending()
        yield tally.final(request)

    return Service("Study Root Get", frozenset({STUDY_ROOT_GET}), {0x0010: handle}, clause="PS3.4 C.6.2")


def move(site: Site) -> Service:
    """C-MOVE, for whoever may `move`."""

    async def handle(request: Request) -> AsyncIterator[Response]:
        try:
            aet = str(request.command.get("MoveDestination", ""))
            site.archive.permit(request.association.principal, "move", f"to {aet[:16]}")
            peer = site.destination(aet)
            if peer is None:
                raise UnknownDestination(f"{aet[:16]} is not a configured node")
            refs = await find_instances(site, request)
        except SagittalError as error:
            yield failure(error)
            return
        tally = Tally(len(refs))
        for batch in plan(refs, _kind):
            async for response in _Moving(site, request, peer, tally).run(batch):
                yield response
                if response.status == CANCELLED:
                    return
        yield tally.final(request)

    return Service("Study Root Move", frozenset({STUDY_ROOT_MOVE}), {0x0021: handle}, clause="PS3.4 C.6.2")


async def find_instances(site: Site, request: Request) -> list[InstanceRef]:
    """What the identifier asks for; no match is no error (PS3.4 C.4.2.2.1: a success without sub-operations)."""
    identifier = read_identifier(request, STUDY_ROOT, site.limits)
    check_retrieve(identifier)
    parents = {level: identifier.keys.get(UNIQUE_KEYS[level]) or None for level in STUDY_ROOT}
    found: list[InstanceRef] = []
    principal = request.association.principal
    if identifier.level == "IMAGE":
        uids = identifier.uids("IMAGE")
        return await _instances(site, principal, parents["STUDY"], parents["SERIES"], uids)
    for uid in dict.fromkeys(identifier.uids(identifier.level)):
        study, series = (uid, None) if identifier.level == "STUDY" else (parents["STUDY"], uid)
        found += await _instances(site, principal, study, series)
    return found


class _Moving:
    """One batch on its way to the destination."""

    def __init__(self, site: Site, request: Request, peer: Peer, tally: Tally) -> None:
        self._site, self._request, self._peer, self._tally = site, request, peer, tally
        self._originator = (request.association.calling_aet, request.message_id)
        self._pace = Pace()

    async def run(self, batch: Batch[InstanceRef]) -> AsyncIterator[Response]:
        """Pending responses, then perhaps the one to a C-CANCEL. An association that ends is opened again."""
        refs, lost = list(reversed(batch.items)), 0
        while refs:
            try:
                association = await self._site.connect(self._peer, batch.proposals)
            except PeerError as error:
                self._tally.fail(reversed(refs), error.text)
                return
            try:
                async with association:
                    async for response in self._send(association, refs):
                        yield response
                        if response.status == CANCELLED:
                            return
            except PeerError as error:
                lost += 1
                if lost == _LOST_MAX:
                    self._tally.fail(reversed(refs), error.text)
                    return

    async def _send(self, association: Association, refs: list[InstanceRef]) -> AsyncIterator[Response]:
        """Takes instances from the end of `refs` as they are sent."""
        accepted = accepted_syntaxes(association.info.contexts)
        send = self._sender(association)
        while refs:
            if self._request.cancelled:
                yield self._tally.cancelled(self._request)
                return
            ref = refs.pop()
            await send_instance(self._site, ref, accepted.get(ref.sop_class_uid, ()), send, self._tally)
            if self._tally.remaining and self._pace.due():
                yield self._tally.pending()

    def _sender(self, association: Association) -> Send:
        async def send(sop_class: str, instance: str, syntax_uid: str, data_set: Source) -> int:
            return (await association.store(sop_class, instance, syntax_uid, data_set, self._originator)).status

        return send


async def _instances(
    site: Site, principal: Principal, study: str | None, series: str | None, uids: list[str] | None = None
) -> list[InstanceRef]:
    try:
        return await site.archive.instances(principal, study_uid=study, series_uid=series, sop_instance_uids=uids)
    except NotFound:
        return []


def _kind(ref: InstanceRef) -> tuple[str, str]:
    return ref.sop_class_uid, ref.syntax_uid
