"""Query/Retrieve MOVE and GET of Patient Root, Study Root and Patient/Study Only (PS3.4 C.4.2, C.4.3, C.6).

With lists of UIDs, and relational retrieval where negotiated. C-MOVE goes to configured nodes only, over one
association at a time. Enhanced multi-frame conversion is never granted.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import Any

from sagittal.archive.access import Audited, authorize
from sagittal.archive.references import InstanceRef
from sagittal.dicom.sopclasses import (
    LEVELS,
    PATIENT_ROOT_GET,
    PATIENT_ROOT_MOVE,
    PATIENT_STUDY_ONLY_GET,
    PATIENT_STUDY_ONLY_MOVE,
    STUDY_ROOT_GET,
    STUDY_ROOT_MOVE,
)
from sagittal.dimse.commands import C_GET_RQ, C_MOVE_RQ
from sagittal.dimse.service import Handler, Request, Response, Service, Source
from sagittal.errors import NotFound, PeerError, SagittalError, UnknownDestination
from sagittal.net.client import Association, Peer
from sagittal.net.proposing import Batch, accepted_syntaxes, plan
from sagittal.services.extended import RETRIEVE_GRANTED, RetrieveTerms, negotiated, terms_of
from sagittal.services.identifier import UNIQUE_KEYS, check_retrieve, failure, read_identifier
from sagittal.services.site import Site
from sagittal.services.suboperations import WHOLE, Pace, Rendition, Send, Tally, send_instance

GET = frozenset({PATIENT_ROOT_GET, STUDY_ROOT_GET, PATIENT_STUDY_ONLY_GET})
MOVE = frozenset({PATIENT_ROOT_MOVE, STUDY_ROOT_MOVE, PATIENT_STUDY_ONLY_MOVE})
Found = tuple[list[InstanceRef], Rendition]
Find = Callable[[Request], Awaitable[Found]]
_NEGOTIATE = partial(negotiated, RETRIEVE_GRANTED)
_ARGUMENTS = {"PATIENT": "patient_id", "STUDY": "study_uid", "SERIES": "series_uid"}  # of `Archive.instances`
_LOST_MAX = 3  # associations in a row that end without one answer, before a destination is given up
_SILENT_SECONDS = 10.0  # pynetdicom waits 30 for a message
_CANCEL_SECONDS = 2.0  # for what is under way when a C-CANCEL comes: a destination may hang


def get(site: Site) -> Service:
    """C-GET, for whoever may `get`."""
    handler = getting(site, lambda request: find_instances(site, request))
    return Service("Get", GET, {C_GET_RQ: handler}, clause="PS3.4 C.6", negotiate=_NEGOTIATE)


def move(site: Site) -> Service:
    """C-MOVE, for whoever may `move`."""
    handler = moving(site, lambda request: find_instances(site, request))
    return Service("Move", MOVE, {C_MOVE_RQ: handler}, clause="PS3.4 C.6", negotiate=_NEGOTIATE)


def getting(site: Site, find: Find) -> Handler:
    """A handler of C-GET, whatever the information model."""

    async def handle(request: Request) -> AsyncIterator[Response]:
        try:
            refs, rendition = await find(request)
        except SagittalError as error:
            yield failure(error)
            return
        accepted = accepted_syntaxes(context for context in request.association.contexts if context.peer_scp)
        tally, pace = Tally(len(refs)), Pace()
        with _telling(request, tally):
            for ref in refs:
                if request.cancelled:
                    yield tally.cancelled(request)
                    return
                await send_instance(site, ref, accepted.get(ref.sop_class_uid, ()), request.store, tally, rendition)
                if tally.remaining and not request.cancelled and pace.due():
                    yield tally.pending()
        yield tally.final(request)

    return handle


def moving(site: Site, find: Find) -> Handler:
    """A handler of C-MOVE, whatever the information model."""

    async def handle(request: Request) -> AsyncIterator[Response]:
        try:
            with audited(site, request):
                authorize(request.association.principal, "move")
                peer = destination(site, request)
            refs, rendition = await find(request)
        except SagittalError as error:
            yield failure(error)
            return
        tally = Tally(len(refs))
        with _telling(request, tally):
            for batch in plan(refs, lambda ref: (ref.sop_class_uid, ref.syntax_uid)):
                async for response in _Moving(site, request, peer, tally, rendition).run(batch):
                    yield response
                if request.cancelled and tally.remaining:
                    yield tally.cancelled(request)
                    return
        yield tally.final(request)

    return handle


def destination(site: Site, request: Request) -> Peer:
    """Where the AE table has the Move Destination now. UnknownDestination."""
    aet = str(request.command.get("MoveDestination", ""))
    peer = site.destination(aet)
    if peer is None:
        raise UnknownDestination(f"{aet[:16]} is not a configured node")
    return peer


@contextmanager
def _telling(request: Request, tally: Tally) -> Iterator[None]:
    """A Pending response from time to time, however long a sub-operation takes: some requestors give up without."""
    loop = asyncio.get_running_loop()
    timer: asyncio.TimerHandle

    def tell() -> None:
        nonlocal timer
        request.tell(tally.pending())
        timer = loop.call_later(_SILENT_SECONDS, tell)

    timer = loop.call_later(_SILENT_SECONDS, tell)
    try:
        yield
    finally:
        timer.cancel()


async def find_instances(site: Site, request: Request) -> Found:
    """What the identifier asks for; no match is no error (PS3.4 C.4.2.2.1: a success without sub-operations)."""
    levels = LEVELS[request.context.abstract_syntax]
    relational = terms_of(RetrieveTerms, request.context.extended).relational
    charsets = site.charsets(request.association.calling_aet)
    with audited(site, request):
        identifier = read_identifier(request, levels, site.limits, relational=relational, charsets=charsets)
        check_retrieve(identifier)
    level, place = identifier.level, levels.index(identifier.level)
    wanted: dict[str, Any] = {}
    for above in levels[:place]:
        if value := identifier.value(UNIQUE_KEYS[above]):
            wanted[_ARGUMENTS[above]] = value
    uids = list(dict.fromkeys(identifier.uids(level)))
    if level == "IMAGE":
        return await instances(site, request, sop_instance_uids=uids, **wanted), WHOLE
    found: list[InstanceRef] = []
    for uid in uids:
        found += await instances(site, request, **wanted, **{_ARGUMENTS[level]: uid})
    return found, WHOLE


class _Moving:
    """One batch on its way to the destination, also if the AE table has that elsewhere meanwhile."""

    def __init__(self, site: Site, request: Request, peer: Peer, tally: Tally, rendition: Rendition) -> None:
        self._site, self._request, self._peer, self._tally, self._rendition = site, request, peer, tally, rendition
        self._originator = (request.association.calling_aet, request.message_id)
        self._pace = Pace()
        self._answered = False  # something on this association

    async def run(self, batch: Batch[InstanceRef]) -> AsyncIterator[Response]:
        """Pending responses, until all are sent or a C-CANCEL comes. An association that ends is opened again."""
        refs, lost = list(reversed(batch.items)), 0
        while refs and not self._request.cancelled:
            try:
                self._peer = destination(self._site, self._request)
                async with self._cancellable():
                    association = await self._site.connect(self._peer, batch.proposals)
            except SagittalError as error:
                self._give_up(refs, error)
                return
            try:
                async with association:
                    async for response in self._send(association, refs):
                        yield response
            except SagittalError as error:
                lost = 0 if self._answered else lost + 1
                if lost == _LOST_MAX:
                    self._give_up(refs, error)
                    return

    def _give_up(self, refs: list[InstanceRef], error: SagittalError) -> None:
        """These have failed, unless they are not wanted any more."""
        if not self._request.cancelled:
            # Who asked knows where to; a comment has 64 characters.
            self._tally.fail(reversed(refs), error.text.removeprefix(f"{self._peer}: "))

    @asynccontextmanager
    async def _cancellable(self) -> AsyncIterator[None]:
        """Around what waits for the destination: PeerError if that takes longer than a moment after a C-CANCEL."""
        request, now = self._request, asyncio.get_running_loop().time
        before = request.on_cancel
        try:
            async with asyncio.timeout(None) as patience:
                request.on_cancel = lambda: patience.reschedule(now() + _CANCEL_SECONDS)
                try:
                    yield
                finally:
                    request.on_cancel = before
        except TimeoutError:
            raise PeerError("cancelled before the destination answered") from None

    async def _send(self, association: Association, refs: list[InstanceRef]) -> AsyncIterator[Response]:
        """Takes instances from the end of `refs` as they are sent.

        One that is lost with the association goes once more if others were answered before: it need not be to blame.
        """
        accepted = accepted_syntaxes(association.info.contexts)
        send, self._answered = self._sender(association), False
        while refs and not self._request.cancelled:
            ref = refs.pop()
            of_class = accepted.get(ref.sop_class_uid, ())
            try:
                await send_instance(self._site, ref, of_class, send, self._tally, self._rendition)
            except PeerError as error:
                if self._answered and not self._request.cancelled:
                    refs.append(ref)
                else:
                    self._tally.fail([ref], error.text)
                raise
            if self._tally.remaining and not self._request.cancelled and self._pace.due():
                yield self._tally.pending()
            if association.over:  # the object could not be read to its end: the next one is not to blame
                return
            if self._site.destination(self._peer.aet) != self._peer:
                return

    def _sender(self, association: Association) -> Send:
        async def send(sop_class: str, instance: str, syntax_uid: str, data_set: Source) -> Response:
            async with self._cancellable():
                response = await association.store(sop_class, instance, syntax_uid, data_set, self._originator)
            self._answered = True
            return response

        return send


def audited(site: Site, request: Request) -> Audited:
    """Around what comes before the engine is asked: a retrieval that fails there is written down, too."""
    verb = "move" if request.command["CommandField"] == C_MOVE_RQ else "get"
    return site.archive.audited(request.association.principal, verb)


async def instances(site: Site, request: Request, **wanted: Any) -> list[InstanceRef]:
    """Those of the archive that are wanted, none if there are none."""
    command, act = request.command, {}
    if command["CommandField"] == C_MOVE_RQ:
        act = {"verb": "move", "detail": f"to {command['MoveDestination'][:16]}"}
    try:
        return await site.archive.instances(request.association.principal, **wanted, **act)
    except NotFound:
        return []
