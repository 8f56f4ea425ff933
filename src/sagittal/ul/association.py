"""One association, either role, without I/O: bytes and primitives in, indications and bytes out (PS3.8 7 and 9.2).

The owner of the transport feeds `receive`, calls the primitives, sends what `take_output` gives, closes when `closing`
is set, and calls `expired` once `deadline` has passed. Time comes in as an argument. Which contexts are accepted is
`negotiation`; messages are `dimse.exchange`.
"""

from __future__ import annotations

from typing import NamedTuple

from sagittal.ul.codec import Pdu, encode
from sagittal.ul.fsm import Effect, Event, step
from sagittal.ul.pdu import (
    Abort,
    AssociateAC,
    AssociateRJ,
    AssociateRQ,
    ReleaseRP,
    ReleaseRQ,
)
from sagittal.ul.stream import Invalid, PduStream, Run

ESTABLISHED = 6


class Aborted(NamedTuple):
    """A-ABORT or A-P-ABORT indication: who ended it (0 service user, 2 provider), Table 9-26's reason, and in words."""

    source: int
    reason: int
    text: str


class ReleaseRequested(NamedTuple):
    """A-RELEASE indication: answer with `respond_release`."""


class Released(NamedTuple):
    """A-RELEASE confirmation."""


Indication = AssociateRQ | AssociateAC | AssociateRJ | Run | ReleaseRequested | Released | Aborted

# Table 9-26
ABORT_REASONS = {0: "reason not specified", 1: "unrecognized PDU", 2: "unexpected PDU", 4: "unrecognized PDU parameter",
                 5: "unexpected PDU parameter", 6: "invalid PDU parameter value"}  # fmt: skip

_EVENTS = {AssociateAC: Event.ASSOCIATE_AC, AssociateRJ: Event.ASSOCIATE_RJ, AssociateRQ: Event.ASSOCIATE_RQ,
           Run: Event.DATA, ReleaseRQ: Event.RELEASE_RQ, ReleaseRP: Event.RELEASE_RP, Abort: Event.ABORT,
           Invalid: Event.INVALID_PDU}  # fmt: skip


class Association:
    """The machine. `state` is a number of PS3.8 9.2.2: 6 established, 13 awaiting the close, 1 over or not begun."""

    def __init__(self, *, requestor: bool, pdu_bytes_max: int, associate_bytes_max: int, artim_seconds: float) -> None:
        self.requestor = requestor
        self.state = 1
        self.deadline: float | None = None  # of ARTIM
        self.closing = False  # the transport is to be closed once all output is sent
        self.problem = ""  # why this side aborted, for the log
        self._artim_seconds = artim_seconds
        self._stream = PduStream(pdu_bytes_max=pdu_bytes_max, associate_bytes_max=associate_bytes_max)
        self._output: list[bytes] = []
        self._request: AssociateRQ | None = None

    @property
    def established(self) -> bool:
        return self.state == ESTABLISHED

    @property
    def inside_pdu(self) -> bool:
        """Whether a PDU has begun to arrive and isn't complete."""
        return self._stream.inside

    @property
    def has_output(self) -> bool:
        return bool(self._output)

    def take_output(self) -> bytes:
        """What to send now."""
        output = b"".join(self._output)
        self._output.clear()
        return output

    # From the transport

    def connected(self, now: float) -> None:
        """The transport is open."""
        if self.requestor:
            self._step(Event.TRANSPORT_CONFIRMED, now, self._request)
        else:
            self._step(Event.TRANSPORT_INDICATED, now)

    def receive(self, view: memoryview, now: float) -> list[Indication]:
        """Indications of the bytes in `view`. Fragments in a Run are views of it."""
        indications: list[Indication] = []
        for piece in self._stream.receive(view):
            if self.state == ESTABLISHED and piece.__class__ is Run:  # DT-2, the cell all data passes
                indications.append(piece)
            elif not self.closing:
                indications += self._received(piece, now)
        return indications

    def closed(self, now: float) -> list[Indication]:
        """The transport is gone."""
        if self.state == 1:
            return []
        return self._step(Event.TRANSPORT_CLOSED, now, Aborted(2, 0, "the connection was closed"))

    def expired(self, now: float) -> list[Indication]:
        """`deadline` has passed."""
        self.problem = self.problem or "ARTIM expired"
        return self._step(Event.ARTIM_EXPIRED, now)

    def _received(self, piece: Pdu | Run | Invalid, now: float) -> list[Indication]:
        event = _EVENTS[type(piece)]
        if isinstance(piece, Invalid):
            self.problem = self.problem or str(piece.error)
            return self._step(event, now, Aborted(2, getattr(piece.error, "reason", 6), str(piece.error)))
        before = self.state
        told: Indication | Pdu = piece
        if isinstance(piece, ReleaseRQ):
            told = ReleaseRequested()
        elif isinstance(piece, ReleaseRP):
            told = Released()
        elif isinstance(piece, Abort):
            told = Aborted(piece.source, piece.reason, describe_abort(piece))
        elif isinstance(piece, AssociateRQ) and before == 2 and not piece.protocol_version & 1:
            # 9.3.2: only bit 0 is tested
            return self._step(event, now, AssociateRJ(1, 2, 2), acceptable=False)
        return self._step(event, now, told, unexpected="P-DATA-TF" if isinstance(piece, Run) else type(piece).__name__)

    # From the local user

    def request(self, request: AssociateRQ, now: float) -> None:
        """A-ASSOCIATE request; sent when the transport is open."""
        self._request = request
        self._step(Event.ASSOCIATE_REQUEST, now)

    def accept(self, answer: AssociateAC, now: float) -> None:
        self._step(Event.ASSOCIATE_ACCEPT, now, answer)

    def reject(self, answer: AssociateRJ, now: float) -> None:
        self._step(Event.ASSOCIATE_REJECT, now, answer)

    def request_release(self, now: float) -> None:
        self._step(Event.RELEASE_REQUEST, now, ReleaseRQ())

    def respond_release(self, now: float) -> None:
        self._step(Event.RELEASE_RESPONSE, now, ReleaseRP())

    def abort(self, now: float, text: str = "") -> None:
        """A-ABORT request, in any state: nothing happens where nothing is left to abort."""
        self.problem = self.problem or text
        if self.state == 2:  # awaiting a request: PS3.8 has no primitive here, what AA-2 does on ARTIM is right
            self._step(Event.ARTIM_EXPIRED, now)
        elif self.state not in (1, 13):
            self._step(Event.ABORT_REQUEST, now)

    def abort_provider(self, now: float, reason: int, text: str) -> list[Indication]:
        """What arrived inside a valid PDU cannot be (a message that breaks PS3.7): treated as an invalid PDU."""
        self.problem = self.problem or text
        if self.state == 1:  # the peer's abort came right behind it
            return []
        return self._step(Event.INVALID_PDU, now, Aborted(2, reason, text))

    def send_data(self, data: bytes, now: float) -> None:
        """P-DATA request: whole P-DATA-TF PDUs. NotPossible unless established or answering a release request."""
        self._step(Event.DATA_REQUEST, now, data)

    @property
    def may_send_data(self) -> bool:
        """Whether P-DATA requests are possible: DT-1 and AR-7."""
        return self.state in (ESTABLISHED, 8)

    def _step(
        self,
        event: Event,
        now: float,
        what: Indication | Pdu | bytes | None = None,
        *,
        acceptable: bool = True,
        unexpected: str = "",
    ) -> list[Indication]:
        state, action, effects = step(self.state, event, requestor=self.requestor, acceptable=acceptable)
        if action in ("AA-1", "AA-7", "AA-8") and event is not Event.ABORT_REQUEST and event is not Event.INVALID_PDU:
            self.problem = self.problem or f"unexpected {unexpected} in Sta{self.state}"
            what = Aborted(2, 2, self.problem)
        self.state = state
        told: list[Indication] = []
        for effect in effects:
            if effect == "tell":
                told.append(what)  # type: ignore[arg-type]  # the callers above pair events with their indications
            else:
                self._carry_out(effect, what, now)
        return told

    def _carry_out(self, effect: Effect, what: Indication | Pdu | bytes | None, now: float) -> None:
        match effect:
            case "send":
                assert what is not None
                self._output.append(what if isinstance(what, bytes) else encode(what))  # type: ignore[arg-type]
            case "abort":
                self._output.append(encode(Abort(0, 0)))
            case "p-abort":
                self._output.append(encode(Abort(2, what.reason if isinstance(what, Aborted) else 2)))
            case "start":
                self.deadline = now + self._artim_seconds
            case "stop":
                self.deadline = None
            case "close":
                self.deadline, self.closing = None, True
            case "connect" | "tell":
                pass  # the owner opens the transport; indications go back as results


def describe_abort(abort: Abort) -> str:
    """For a person."""
    if abort.source == 0:
        return "aborted by the peer's application"
    return f"aborted by the peer's upper layer: {ABORT_REASONS.get(abort.reason, f'reason {abort.reason}')}"
