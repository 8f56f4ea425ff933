"""An archive that speaks DIMSE: C-FIND and C-GET as one asks them; C-STORE is in `sending`.

What extended negotiation asks for and a peer does not grant is remarked upon, and the query goes on without it.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import orjson

from sagittal.client.folder import Dropped, Folder
from sagittal.client.keys import PATIENT_ID, STUDY_UID, Question, advice, identifier
from sagittal.client.match import json_of
from sagittal.client.outcome import Retrieved, Stored, Unanswered
from sagittal.client.place import Access
from sagittal.client.remote import Arrived, Remark, Sending, named
from sagittal.client.storing.files import ObjectFile
from sagittal.dicom import sopclasses as classes
from sagittal.dicom.syntaxes import (
    EXPLICIT_LE,
    IMPLICIT_LE,
    JPEG_2000,
    JPEG_2000_LOSSLESS,
    JPEG_BASELINE,
    JPEG_LOSSLESS_SV1,
    JPEG_LS_LOSSLESS,
    RLE_LOSSLESS,
    SYNTAXES,
    syntax,
)
from sagittal.dicom.walk import decode_identifier
from sagittal.dimse.address import PeerAddress
from sagittal.dimse.service import NoContext, Request, Response, StoreSink
from sagittal.dimse.status import is_pending, is_refusal, kind, words
from sagittal.errors import IdentifierMismatch, Malformed, PeerRefused, SagittalError
from sagittal.limits import ReaderLimits
from sagittal.net.client import Association, Peer, Proposal, connect
from sagittal.net.proposing import CONTEXTS_MAX

PLAIN = (EXPLICIT_LE, IMPLICIT_LE)
MODELS = {  # information model → FIND, MOVE, GET (PS3.4 C.6)
    "patient": (classes.PATIENT_ROOT_FIND, classes.PATIENT_ROOT_MOVE, classes.PATIENT_ROOT_GET),
    "study": (classes.STUDY_ROOT_FIND, classes.STUDY_ROOT_MOVE, classes.STUDY_ROOT_GET),
    "patient-study": (classes.PATIENT_STUDY_ONLY_FIND, classes.PATIENT_STUDY_ONLY_MOVE, classes.PATIENT_STUDY_ONLY_GET),
}
_OPTIONS = ("relational queries", "combined date-time matching", "fuzzy matching of names", "time zone adjustment")
_SOP_CLASSES_IN_STUDY, _FAILED_UIDS = "00080062", 0x00080058
_STORAGE = [uid for uid in classes.WELL_KNOWN if uid in classes.STORAGE]  # in an order that is always the same
_IMAGES = [uid for uid in _STORAGE if "Image" in classes.WELL_KNOWN[uid].name]
# What archives keep images in: for a peer that doesn't tell which classes there are, all of them in all syntaxes would
# take dozens of associations.
_USUAL = (JPEG_BASELINE, JPEG_LOSSLESS_SV1, JPEG_2000_LOSSLESS, JPEG_2000, JPEG_LS_LOSSLESS, RLE_LOSSLESS)
_OTHERS = tuple(row.uid for row in SYNTAXES.values() if row.storable and row.uid not in PLAIN)


@asynccontextmanager
async def open_dimse(address: PeerAddress, access: Access, remark: Remark) -> AsyncIterator[DimseArchive]:
    """Associations are opened as they are needed."""
    yield DimseArchive(Peer(*address, access.tls_context()), access, remark)


def syntax_for(association: Association, sop_class: str) -> str:
    """The transfer syntax of the accepted context of a class; PeerRefused without one."""
    try:
        return association.context(sop_class).transfer_syntax
    except NoContext as error:
        raise PeerRefused(str(error)) from None


class DimseArchive:
    """A peer that we query, retrieve from and store to."""

    def __init__(self, peer: Peer, access: Access, remark: Remark) -> None:
        self.peer, self.access, self.remark = peer, access, remark
        self._identity = access.identity()
        self._unconfirmed = False

    async def associate(
        self, contexts: Sequence[Proposal], window: int = 1, extended: Mapping[str, bytes] | None = None
    ) -> Association:
        """An association with the usual limits, as the user that we are; a peer that does not confirm that is remarked
        upon once.
        """
        access, identity = self.access, self._identity
        association = await connect(
            self.peer,
            access.aet,
            contexts,
            limits=access.limits,
            user_identity=identity,
            window=window,
            extended=extended,
        )
        if identity is not None and association.info.identity_response is None and not self._unconfirmed:
            self._unconfirmed = True
            self.remark("the peer does not confirm who we are")
        return association

    async def find(self, question: Question) -> AsyncGenerator[dict[str, Any], None]:
        model = "patient" if question.level == "patient" and question.model == "study" else question.model
        sop_class, count = MODELS[model][0], 0
        asked = _extended(question)
        extended = {sop_class: asked} if asked else {}
        async with await self.associate([Proposal(sop_class, PLAIN)], extended=extended) as association:
            syntax_uid = syntax_for(association, sop_class)
            self._declined(asked, association.info.extended.get(sop_class, b""))
            async with aclosing(association.find(sop_class, identifier(question, syntax_uid))) as responses:
                async for response in responses:
                    if not is_pending(response.status):
                        _check(response, question)
                        return
                    yield orjson.loads(json_of(response.data_set or b"", syntax_uid))
                    count += 1
                    if count == question.limit:
                        return

    def _declined(self, asked: bytes, granted: bytes) -> None:
        for place, what in enumerate(_OPTIONS):
            if asked[place : place + 1] == b"\1" and granted[place : place + 1] != b"\1":
                self.remark(f"the peer does not do {what}")

    async def get(self, question: Question, out: Path, arrived: Arrived) -> Retrieved:
        whole = Retrieved.nothing()
        for one in await named(self, question):
            whole.add(await self._get(one, out, arrived))
        return whole

    async def _get(self, question: Question, out: Path, arrived: Arrived) -> Retrieved:
        received: set[str] = set()
        begun: set[str] = set()
        outcome, sent = Retrieved(), 0

        def landed(path: Path, request: Request) -> None:
            uid = request.command["AffectedSOPInstanceUID"]
            received.add(uid)
            arrived(path, uid)

        def store(request: Request) -> StoreSink:
            nonlocal sent
            sent += 1
            # Asked once more for what failed, a peer may send all it can in another syntax: the first stays.
            if (uid := request.command["AffectedSOPInstanceUID"]) in received:
                return Dropped()
            begun.add(uid)
            return folder.store(request)

        folder, sop_class = Folder(out, landed), MODELS[question.model][2]
        extended = {sop_class: b"\1"} if question.relational else {}
        for number, contexts in enumerate(proposals(sop_class, await self._classes_in(question))):
            part, before, sent = (outcome if number == 0 else Retrieved()), len(received), 0
            async with await self.associate(contexts, extended=extended) as association:
                syntax_uid = syntax_for(association, sop_class)
                responses = association.get(sop_class, identifier(question, syntax_uid), store)
                await follow(responses, question, syntax_uid, part)
            part.came(sent)
            outcome.came_later(received, len(received) - before if number else 0)
            if not (outcome.failed or outcome.failed_uids):
                break
        outcome.lost(begun - received)
        return outcome

    async def _classes_in(self, question: Question) -> tuple[str, ...]:
        """The SOP classes of the studies, if the peer tells; so contexts aren't spent on others."""
        told = {tag: question.keys[tag] for tag in (PATIENT_ID, STUDY_UID) if tag in question.keys}
        keys = {STUDY_UID: "", int(_SOP_CLASSES_IN_STUDY, 16): "", **told}
        found: dict[str, None] = {}
        try:
            async for match in self.find(Question("study", keys)):
                found.update(dict.fromkeys(match.get(_SOP_CLASSES_IN_STUDY, {}).get("Value", ())))
        except SagittalError:  # what it answered is no use, or can't be read; only more contexts are spent
            return ()
        return tuple(uid for uid in found if uid)

    def store(self, files: Sequence[ObjectFile], sending: Sending) -> AsyncIterator[Stored]:
        from sagittal.client.storing.sending import send

        return send(self.associate, files, sending)


async def follow(responses: AsyncIterator[Response], question: Question, syntax_uid: str, outcome: Retrieved) -> None:
    """Read the responses of a C-GET or C-MOVE to the final one."""
    async for response in responses:
        counts = response.extra
        outcome.completed = counts.get("NumberOfCompletedSuboperations", outcome.completed)
        outcome.warnings = counts.get("NumberOfWarningSuboperations", outcome.warnings)
        outcome.failed = counts.get("NumberOfFailedSuboperations", outcome.failed)
        if not is_pending(response.status):
            outcome.status, outcome.comment = response.status, _comment(response, question)
            if response.data_set:
                outcome.failed_uids = _failed_uids(response.data_set, syntax_uid)
                outcome.failed = max(outcome.failed, len(outcome.failed_uids))  # there are peers that don't count


def _failed_uids(data_set: bytes, syntax_uid: str) -> list[str]:
    """Those that the final response lists; none if that can't be read: the counts are in the command set."""
    try:
        told = decode_identifier(data_set, syntax(syntax_uid), ReaderLimits())
    except Malformed:
        return []
    text = told[_FAILED_UIDS].text() if _FAILED_UIDS in told else ""  # a thousand are too many for JSON
    return [uid for uid in text.split("\\") if uid]


def proposals(get: str, sop_classes: Iterable[str]) -> list[list[Proposal]]:
    """For each association: C-GET itself, then each class in each transfer syntax, one a context; uncompressed first.

    One context for each syntax, so that the peer can send what it stores as it is: within a context it has no choice.
    Where the classes aren't known they are all proposed, uncompressed, and then images in usual compressed syntaxes.
    """
    sop_classes = list(sop_classes)
    if not sop_classes:
        usual_first = sorted(_STORAGE, key=lambda uid: classes.WELL_KNOWN[uid].retired)
        found = [Proposal(sop_class, PLAIN, "scp") for sop_class in usual_first]
        found += [Proposal(sop_class, (uid,), "scp") for uid in _USUAL for sop_class in _IMAGES]
    elif 2 * len(sop_classes) >= CONTEXTS_MAX:
        found = [Proposal(sop_class, PLAIN, "scp") for sop_class in sop_classes]
    else:
        found = [Proposal(sop_class, (uid,), "scp") for uid in (*PLAIN, *_OTHERS) for sop_class in sop_classes]
    room = CONTEXTS_MAX - 1
    return [[Proposal(get, PLAIN), *found[at : at + room]] for at in range(0, len(found), room)]


def _extended(question: Question) -> bytes:
    """Service-class application information (PS3.4 C.5.1.1.1); the defaults are left out."""
    wanted = (question.relational, question.combined_datetime, question.fuzzy, bool(question.timezone))
    return bytes(wanted).rstrip(b"\0")


def _check(response: Response, question: Question) -> None:
    # A query has no warnings, but some peers end with one all the same; and this one we did not cancel.
    if kind(response.status) in ("failure", "cancel"):
        error = PeerRefused if is_refusal(response.status) else Unanswered
        comment = _comment(response, question) or words(response.status)
        raise error(f"the peer ended with {response.status:04X}: {comment}")


def _comment(response: Response, question: Question) -> str:
    """The peer's, and what may help where it found the identifier short of keys."""
    more = advice(question) if response.status == IdentifierMismatch.dimse_status else ""
    return "; ".join(text for text in (response.comment, more) if text)
