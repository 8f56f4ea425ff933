"""Files to a peer by C-STORE: over several associations, each with a window, changed on the way if so wanted.

A file that fails costs nobody else. An association that ends under way is opened again, unless that happens again and
again; what was lost with it goes once more, from then on one at a time. To blame is the file that an association ends
with first and alone.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from sagittal.client.outcome import Stored
from sagittal.client.remote import Sending
from sagittal.client.storing.files import ObjectFile
from sagittal.client.storing.rewrite import Changes, Rewriting
from sagittal.client.storing.transcoding import Transcoder
from sagittal.dicom.syntaxes import syntax
from sagittal.dimse.service import FileRegion, Source
from sagittal.errors import PeerError, PeerRefused, SagittalError, words_of
from sagittal.folders import pieces_of
from sagittal.limits import ReaderLimits
from sagittal.net.client import Association, Proposal
from sagittal.net.proposing import CONTEXTS_MAX, Batch, accepted_syntaxes, choose_syntax, data_set_source, plan, propose
from sagittal.pixels.reach import first_carrying, without_loss

Associate = Callable[[Sequence[Proposal], int], Awaitable[Association]]
"""An association in these contexts, with so many operations outstanding at most."""
_LIMITS = ReaderLimits()
_LOST_MAX = 3  # associations in a row that end without one answer, before a peer is given up
_READ_BYTES = 1 << 16
_HELD_BYTES_MAX = 4 << 20  # of a changed header before any of it is sent


async def send(associate: Associate, files: Sequence[ObjectFile], sending: Sending) -> AsyncIterator[Stored]:
    """An answer for each file, in the order in which they come."""
    async with Transcoder() as transcoder:
        async for answer in _send(associate, files, sending, transcoder):
            yield answer


async def _send(
    associate: Associate, files: Sequence[ObjectFile], sending: Sending, transcoder: Transcoder
) -> AsyncIterator[Stored]:
    answers: asyncio.Queue[Stored | None] = asyncio.Queue()
    for batch in batches(files, sending):
        waiting = deque(batch.items)
        senders = [
            asyncio.create_task(_Sender(associate, batch.proposals, waiting, sending, answers, transcoder).run())
            for _ in range(min(sending.associations, len(waiting)))
        ]
        left = len(senders)
        try:
            while left:
                answer = await answers.get()
                if answer is None:
                    left -= 1
                else:
                    yield answer
                    if answer.failed and sending.halt:
                        return
            if waiting:
                for sender in senders:
                    sender.result()  # what kept all of them from the rest
        finally:
            for sender in senders:
                sender.cancel()
            await asyncio.gather(*senders, return_exceptions=True)


def batches(files: Sequence[ObjectFile], sending: Sending) -> list[Batch[ObjectFile]]:
    """Files and contexts, as many to an association as it has contexts."""
    changes = sending.changes
    if not sending.syntaxes and not sending.proposals:
        return plan(
            files, lambda file: (changes.sop_class(file.sop_class_uid), file.syntax_uid), decoding=sending.transcode
        )
    found: list[Batch[ObjectFile]] = []
    by_class: dict[str, list[ObjectFile]] = {}
    for file in files:
        by_class.setdefault(changes.sop_class(file.sop_class_uid), []).append(file)
    for sop_class, members in by_class.items():
        wanted = sending.proposals.get(sop_class) or sending.syntaxes
        stored = (file.syntax_uid for file in members)
        proposals = (
            [Proposal(sop_class, (uid,)) for uid in wanted]
            if wanted
            else propose(sop_class, stored, decoding=sending.transcode)
        )
        if not found or len(found[-1].proposals) + len(proposals) > CONTEXTS_MAX:
            found.append(Batch())
        found[-1].proposals += proposals
        found[-1].items += members
    return found


class _Sender:
    """One association at a time, until nothing waits."""

    def __init__(
        self,
        associate: Associate,
        proposals: Sequence[Proposal],
        waiting: deque[ObjectFile],
        sending: Sending,
        answers: asyncio.Queue[Stored | None],
        transcoder: Transcoder,
    ) -> None:
        self._associate, self._proposals, self._waiting = associate, proposals, waiting
        self._sending, self._answers, self._transcoder = sending, answers, transcoder

    async def run(self) -> None:
        unanswered, window = 0, self._sending.window
        try:
            while self._waiting:
                if unanswered == _LOST_MAX:
                    raise PeerRefused(f"the peer ended {unanswered} associations without an answer to anything")
                async with await self._associate(self._proposals, window) as association:
                    accepted, lost = accepted_syntaxes(association.info.contexts), list[tuple[ObjectFile, str]]()
                    pipes = [self._pipe(association, accepted, lost) for _ in range(association.window)]
                    answered = any(await asyncio.gather(*pipes))
                if answered:
                    unanswered = 0
                elif len(lost) == 1:
                    unanswered += 1
                    file, why = lost.pop()
                    self._answers.put_nowait(Stored(file.path, self._uid(file), comment=why))
                if len(lost) > 1:  # any of them, or that they were so many
                    window = 1
                self._waiting.extendleft(file for file, _ in reversed(lost))
        finally:
            self._answers.put_nowait(None)

    async def _pipe(
        self, association: Association, accepted: dict[str, list[str]], lost: list[tuple[ObjectFile, str]]
    ) -> bool:
        """One file after the other; whether there was an answer. The one that goes with the association is added to
        `lost`, with the reason.
        """
        answered = False
        while self._waiting and not (answered and association.over):
            file = self._waiting.popleft()
            try:
                answer = await self._store(association, file, self._uid(file), accepted)
            except PeerError as error:
                lost.append((file, error.text))
                break
            self._answers.put_nowait(answer)
            answered = True
        return answered

    def _uid(self, file: ObjectFile) -> str:
        """Under which it is sent."""
        return self._sending.changes.sop_instance(file.sop_instance_uid)

    async def _store(
        self, association: Association, file: ObjectFile, uid: str, accepted: dict[str, list[str]]
    ) -> Stored:
        sop_class = self._sending.changes.sop_class(file.sop_class_uid)
        offered = accepted.get(sop_class, ())
        to = choose_syntax(file.syntax_uid, offered)
        others = without_loss(file.syntax_uid, offered) if to is None and self._sending.transcode else []
        if to is None and not others:
            return Stored(file.path, uid, comment=f"the peer accepts {sop_class} not in {file.syntax_uid}")
        try:
            async with self._opened(file, others) as (fd, found):
                to = to or found.syntax_uid
                source = _source(fd, found, to, self._sending.changes)
                response = await association.store(sop_class, uid, to, source)
        except PeerError:
            raise
        except (SagittalError, OSError) as error:
            return Stored(file.path, uid, comment=words_of(error))
        return Stored(file.path, uid, f"{response.status:04X}", response.comment)

    @asynccontextmanager
    async def _opened(self, file: ObjectFile, others: Sequence[str]) -> AsyncIterator[tuple[int, ObjectFile]]:
        """The file as it is, or made in the first of other syntaxes that carries it."""
        if others:
            async with AsyncExitStack() as stack:

                def made_in(to: str) -> Awaitable[tuple[int, ObjectFile]]:
                    return stack.enter_async_context(self._transcoder.transcoded(file, to))

                yield (await first_carrying(others, made_in))[1]
            return
        with file.path.open("rb") as opened:
            yield opened.fileno(), file


def _source(fd: int, file: ObjectFile, to: str, changes: Changes) -> Source:
    if not changes:
        return data_set_source(fd, file.offset, file.length, file.syntax_uid, to, _LIMITS)
    return changed(fd, file, to, changes)


def changed(fd: int, file: ObjectFile, to: str, changes: Changes) -> Iterator[bytes | FileRegion]:
    """The data set with its changes; the pixels as a region of the file where they stay as they are.

    What can't be changed is noticed here, and not when half of the message is sent, unless the header is very long.
    """
    chunks = pieces_of(fd, file.offset, file.length, _READ_BYTES)
    rewriting = Rewriting(chunks, syntax(file.syntax_uid), syntax(to), changes, _LIMITS)
    pieces, first, held = rewriting.pieces(), [], 0
    for piece in pieces:
        first.append(piece)
        held += len(piece)
        if held > _HELD_BYTES_MAX:
            break

    def rest() -> Iterator[bytes | FileRegion]:
        yield b"".join(first)
        yield from pieces
        if rewriting.rest_at >= 0:
            yield FileRegion(fd, file.offset + rewriting.rest_at, file.length - rewriting.rest_at)

    return rest()
