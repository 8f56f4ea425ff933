"""Study Root Query/Retrieve MOVE and GET (PS3.4 C.4.2, C.4.3, C.6.2).

At STUDY, SERIES and IMAGE level with lists of UIDs. C-MOVE goes to configured nodes only, over one association at a
time. No relational retrieval, no frame level, no bulk data left out: none of them is negotiated.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, field

from sagittal.archive.access import Principal, authorize
from sagittal.archive.retrieve import InstanceRef
from sagittal.dicom.sopclasses import STUDY_ROOT_GET, STUDY_ROOT_MOVE
from sagittal.dicom.syntaxes import EXPLICIT_LE, IMPLICIT_LE, syntax
from sagittal.dimse.service import Request, Response, Service, Source
from sagittal.errors import NotFound, PeerError, SagittalError, UnknownDestination
from sagittal.net.client import Association, Peer, Proposal
from sagittal.services.identifier import STUDY_ROOT, UNIQUE_KEYS, check_retrieve, failure, read_identifier
from sagittal.services.site import Site
from sagittal.services.suboperations import CANCELLED, Pace, Send, Tally, send_instance

CONTEXTS_MAX = 128  # PS3.8 9.3.2.2: odd ids 1 to 255
_LOST_MAX = 3  # associations that end under way before we give a destination up


def get(site: Site) -> Service:
    """C-GET, for whoever may `get`."""

    async def handle(request: Request) -> AsyncIterator[Response]:
        try:
            refs = await find_instances(site, request)
        except SagittalError as error:
            yield failure(error)
            return
        accepted: dict[str, list[str]] = {}
        for context in request.association.contexts:
            if context.peer_scp:
                accepted.setdefault(context.abstract_syntax, []).append(context.transfer_syntax)
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
            authorize(request.association.principal, "move")
            aet = str(request.command.get("MoveDestination", ""))
            peer = site.destination(aet)
            if peer is None:
                raise UnknownDestination(f"{aet[:16]} is not a configured node")
            refs = await find_instances(site, request)
        except SagittalError as error:
            yield failure(error)
            return
        tally = Tally(len(refs))
        for batch in plan(refs):
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


@dataclass
class Batch:
    """What goes over one association of a C-MOVE."""

    proposals: list[Proposal] = field(default_factory=list)
    refs: list[InstanceRef] = field(default_factory=list)


def plan(refs: Sequence[InstanceRef]) -> list[Batch]:
    """Instances by SOP class, as many classes to an association as its 128 presentation contexts hold."""
    by_class: dict[str, list[InstanceRef]] = {}
    for ref in refs:
        by_class.setdefault(ref.sop_class_uid, []).append(ref)
    batches: list[Batch] = []
    for sop_class, members in by_class.items():
        proposals = propose(sop_class, (ref.syntax_uid for ref in members))
        if not batches or len(batches[-1].proposals) + len(proposals) > CONTEXTS_MAX:
            batches.append(Batch())
        batches[-1].proposals += proposals
        batches[-1].refs += members
    return batches


def propose(sop_class: str, stored: Iterable[str]) -> list[Proposal]:
    """One context for each stored syntax, and one with the plain syntaxes if something uncompressed might need them."""
    syntaxes = list(dict.fromkeys(stored))[: CONTEXTS_MAX - 1]
    proposals = [Proposal(sop_class, (uid,)) for uid in syntaxes]
    plain = tuple(uid for uid in (EXPLICIT_LE, IMPLICIT_LE) if uid not in syntaxes)
    if plain and any(syntax(uid).native for uid in syntaxes):
        proposals.append(Proposal(sop_class, plain))
    return proposals


class _Moving:
    """One batch on its way to the destination."""

    def __init__(self, site: Site, request: Request, peer: Peer, tally: Tally) -> None:
        self._site, self._request, self._peer, self._tally = site, request, peer, tally
        self._originator = (request.association.calling_aet, request.message_id)
        self._pace = Pace()

    async def run(self, batch: Batch) -> AsyncIterator[Response]:
        """Pending responses, then perhaps the one to a C-CANCEL. An association that ends is opened again."""
        refs, lost = list(reversed(batch.refs)), 0
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
        accepted: dict[str, list[str]] = {}
        for context in association.info.contexts:
            accepted.setdefault(context.abstract_syntax, []).append(context.transfer_syntax)
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
