"""C-STORE sub-operations of C-MOVE and C-GET (PS3.4 C.4.2, C.4.3): what is sent, how it went, what is answered.

What goes out of an object is a `Rendition`, usually `WHOLE`: as it is stored if a presentation context for that was
accepted, else in an accepted syntax that loses nothing, uncompressed by preference. Uncompressed objects are re-encoded
on the way, for the others a worker decodes; what it can't do fails that sub-operation only. Never lossy.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from sagittal.archive.references import InstanceRef, OpenObject
from sagittal.archive.transcoding.maker import Made
from sagittal.dicom.elements import encode
from sagittal.dicom.reencode import can_reencode, reencode
from sagittal.dicom.syntaxes import syntax
from sagittal.dimse.service import FileRegion, Request, Response, Source
from sagittal.dimse.status import CANCEL, PENDING, SUCCESS, kind
from sagittal.errors import PeerError, SagittalError, words_of
from sagittal.net.proposing import data_set_source
from sagittal.pixels.reach import first_carrying, without_loss
from sagittal.services.parts.slices import taking_turns
from sagittal.services.site import Site

SOME_FAILED, ALL_FAILED = 0xB000, 0xA702
FAILED_UIDS = 0x00080058
_COUNT_MAX = 0xFFFF  # VR US (PS3.7 Table E.1-1): a patient may have more instances than can be told
_CHUNK_BYTES = 64 * 1024  # of a corrected object: what is made at once
_PENDING_SECONDS = 0.2  # a Pending response for every object would cost more than it tells

Send = Callable[[str, str, str, Source], Awaitable[Response]]  # class, instance, syntax, data set → answer


class Rendition(Protocol):
    """What is sent of each object: all of it, or a part."""

    def syntaxes(self, site: Site, ref: InstanceRef, accepted: Iterable[str]) -> Sequence[str]:
        """The transfer syntaxes that it may be sent in, of those accepted for the class, the best first."""

    def uid(self, ref: InstanceRef) -> str:
        """The SOP Instance UID it has when sent."""

    async def opened(self, site: Site, ref: InstanceRef, to: str) -> OpenObject:
        """The object to take it from; its owner closes it."""

    async def source(self, site: Site, opened: OpenObject, ref: InstanceRef, to: str) -> Source:
        """The data set, in the syntax `to`; the object stays open until it is sent."""


class _Whole:
    """Objects as they are."""

    def syntaxes(self, site: Site, ref: InstanceRef, accepted: Iterable[str]) -> Sequence[str]:
        able = without_loss(ref.syntax_uid, frozenset(accepted))
        if site.maker is None:
            return [to for to in able if can_reencode(syntax(ref.syntax_uid), syntax(to))]
        return able

    def uid(self, ref: InstanceRef) -> str:
        return ref.sop_instance_uid

    async def opened(self, site: Site, ref: InstanceRef, to: str) -> OpenObject:
        if site.maker is None or can_reencode(syntax(ref.syntax_uid), syntax(to)):
            return site.archive.open_object(ref)
        return await site.maker.instance(ref, to)

    async def source(self, site: Site, opened: OpenObject, ref: InstanceRef, to: str) -> Source:
        if isinstance(opened, Made):
            return made_source(opened)
        if ref.corrections:
            corrected = opened.data_set(_CHUNK_BYTES)
            return taking_turns(reencode(corrected, syntax(ref.syntax_uid), syntax(to), site.limits))
        at, length = opened.data_set_offset, ref.data_set_length
        return data_set_source(opened.fd, at, length, ref.syntax_uid, to, site.limits)


WHOLE: Rendition = _Whole()


def made_source(made: Made) -> Source:
    """The data set of an instance that a worker made, with the corrections in force."""
    if made.corrected:
        return taking_turns(made.data_set(_CHUNK_BYTES, pauses=True))
    return FileRegion(made.fd, 0, made.length)


@dataclass
class Tally:
    """How the sub-operations of one request went."""

    remaining: int
    completed: int = 0
    warnings: int = 0
    failed: list[str] = field(default_factory=list)
    reason: str = ""  # of the first failure

    def count(self, uid: str, status: int, reason: str = "") -> None:
        """One more is done."""
        self.remaining -= 1
        if status == SUCCESS:
            self.completed += 1
        elif kind(status) == "warning":
            self.warnings += 1
        else:
            self.failed.append(uid)
            self.reason = self.reason or reason

    def answered(self, uid: str, answer: Response) -> None:
        """One more is done, by the receiver's word."""
        status, comment = f"a peer answered {answer.status:04X}", answer.comment
        self.count(uid, answer.status, f"{status}: {comment}" if comment else status)

    def fail(self, refs: Iterable[InstanceRef], reason: str) -> None:
        """These can't be sent any more."""
        for ref in refs:
            self.count(ref.sop_instance_uid, ALL_FAILED, reason)

    def pending(self) -> Response:
        return Response(PENDING, extra=self._counts(remaining=True))

    def cancelled(self, request: Request) -> Response:
        return Response(CANCEL, self._failed_list(request), extra=self._counts(remaining=True))

    def final(self, request: Request) -> Response:
        """PS3.4 C.4.2.1.5, C.4.2.3.1."""
        if not self.failed and not self.warnings:
            return Response(SUCCESS, extra=self._counts())
        status = SOME_FAILED if self.completed or self.warnings else ALL_FAILED
        return Response(status, self._failed_list(request), self.reason, self._counts())

    def _counts(self, remaining: bool = False) -> dict[str, Any]:
        counts = {
            "NumberOfCompletedSuboperations": self.completed,
            "NumberOfFailedSuboperations": len(self.failed),
            "NumberOfWarningSuboperations": self.warnings,
        }
        counts |= {"NumberOfRemainingSuboperations": self.remaining} if remaining else {}
        return {keyword: min(count, _COUNT_MAX) for keyword, count in counts.items()}

    def _failed_list(self, request: Request) -> bytes | None:
        if not self.failed:
            return None
        value = "\\".join(self.failed).encode("ascii", "replace")
        return encode([(FAILED_UIDS, "UI", value)], syntax(request.context.transfer_syntax))


class Pace:
    """Says when another Pending response is due: after the first sub-operation, then five times a second."""

    def __init__(self) -> None:
        self._next = 0.0

    def due(self) -> bool:
        now = asyncio.get_running_loop().time()
        if now < self._next:
            return False
        self._next = now + _PENDING_SECONDS
        return True


async def send_instance(
    site: Site, ref: InstanceRef, accepted: Sequence[str], send: Send, tally: Tally, rendition: Rendition = WHOLE
) -> None:
    """One sub-operation; counts it, unless the association is gone: PeerError."""
    uid = ref.sop_instance_uid
    able = rendition.syntaxes(site, ref, accepted)
    if not able:
        tally.count(uid, ALL_FAILED, f"no context accepted for {ref.syntax_uid if accepted else ref.sop_class_uid}")
        return
    try:
        to, opened = await first_carrying(able, lambda to: rendition.opened(site, ref, to))
        try:
            source = await rendition.source(site, opened, ref, to)
            tally.answered(uid, await send(ref.sop_class_uid, rendition.uid(ref), to, source))
        finally:
            opened.close()
    except PeerError:
        raise
    except SagittalError as error:
        tally.count(uid, ALL_FAILED, error.text)
    except OSError as error:
        tally.count(uid, ALL_FAILED, f"the object can't be read: {words_of(error)}")
