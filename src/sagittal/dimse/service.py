"""The meeting point of services and the network: a service is a value, a handler is an async generator of responses.

`services/` builds `Service` values; `net` negotiates what they list, calls their handlers and puts the responses on the
wire. PS3.7 sections 9 and 10 say what the operations mean; nothing here encodes or sends.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from sagittal.dicom.syntaxes import DEFLATED_LE, EXPLICIT_BE, EXPLICIT_LE, IMPLICIT_LE
from sagittal.errors import SagittalError
from sagittal.ul.pdu import UserIdentity

# What messages without pixels (identifiers, attribute lists) can be encoded in: PS3.5 Annex A without encapsulation.
PLAIN_SYNTAXES = frozenset({IMPLICIT_LE, EXPLICIT_LE, DEFLATED_LE, EXPLICIT_BE})

Command = Mapping[str, Any]
"""A command set (PS3.7 Annex E) by keyword: UIDs and texts as str, numbers as int, tags (AT) as list of int."""


class Response(NamedTuple):
    """One answer. A Pending status (FF00, FF01) announces more; anything else ends the operation.

    `comment` becomes Error Comment (0000,0902), cut to 64 characters; `extra` are further elements of the command set
    by keyword: OffendingElement (list of tags), NumberOfRemainingSuboperations, AffectedSOPInstanceUID, ErrorID, …
    """

    status: int
    data_set: bytes | None = None  # encoded in the transfer syntax of the request's context
    comment: str = ""
    extra: Mapping[str, Any] = {}


class Matches(NamedTuple):
    """Pending responses that differ by their data sets only: as many as are made without a pause."""

    status: int
    data_sets: Sequence[bytes]


@dataclass(frozen=True, slots=True)
class FileRegion:
    """Bytes `[offset, offset + length)` of an open file; whoever opened `fd` closes it after the sending."""

    fd: int
    offset: int
    length: int


Source = bytes | FileRegion | Iterable["bytes | FileRegion"] | AsyncIterable["bytes | FileRegion"]
"""A data set to send: bytes, a region of a file (the fast way), or pieces of either kind, in order."""


class NoContext(SagittalError):
    """No presentation context was accepted for this SOP class, transfer syntax and role."""

    dimse_status = 0x0122  # Refused: SOP class not supported


@dataclass(frozen=True, slots=True)
class Context:
    """An accepted presentation context (PS3.8 7.1.1.13) and the roles the *peer* may play in it (PS3.7 D.3.3.4)."""

    id: int
    abstract_syntax: str
    transfer_syntax: str
    peer_scu: bool = True  # the peer may invoke the operations of this class
    peer_scp: bool = False  # the peer performs them: we may invoke them (C-STORE sub-operations of a C-GET)
    extended: bytes | None = None  # service-class application information, as accepted (PS3.7 D.3.3.5); None: none


@dataclass(frozen=True, slots=True)
class AssociationInfo:
    """With whom an association is, and what was agreed. `principal` is what the admission decided (opaque here)."""

    calling_aet: str
    called_aet: str
    peer_address: str  # numeric host
    peer_port: int
    contexts: tuple[Context, ...] = ()
    principal: Any = None
    user_identity: UserIdentity | None = None
    implementation_class: str = ""
    implementation_version: str = ""
    peer_pdu_bytes_max: int = 0  # Maximum Length Received of the peer; 0: no limit
    extended: Mapping[str, bytes] = field(default_factory=dict)  # SOP class → application information, as proposed
    identity_response: bytes | None = None  # of an acceptor that confirms our user identity


SubStore = Callable[[str, str, str, Source], Awaitable[Response]]
EventReport = Callable[[Context, str, str, int, "bytes | None"], Awaitable["Response"]]


def _unheard(*_: object) -> None:
    """Nobody listens."""


class Request:
    """One request as a handler sees it."""

    __slots__ = (
        "_report", "_store", "association", "cancelled", "command", "context", "identifier", "on_cancel", "tell",
    )  # fmt: skip

    def __init__(
        self,
        association: AssociationInfo,
        context: Context,
        command: Command,
        identifier: bytes | None = None,
        store: SubStore | None = None,
        report: EventReport | None = None,
    ) -> None:
        self.association = association
        self.context = context
        self.command = command
        self.identifier = identifier  # the whole data set, bounded; None without, and of C-STORE: the sink takes it
        self.cancelled = False  # a C-CANCEL came for this message
        self.on_cancel: Callable[[], object] = _unheard  # set by a handler that waits for another peer
        self.tell: Callable[[Response], object] = _unheard  # sends a Pending response beside those that are yielded
        self._store = store
        self._report = report

    @property
    def message_id(self) -> int:
        return int(self.command["MessageID"])

    def cancel(self) -> None:
        """A C-CANCEL came."""
        self.cancelled = True
        self.on_cancel()

    async def store(self, sop_class: str, sop_instance: str, syntax: str, source: Source) -> Response:
        """C-STORE sub-operation on this same association (C-GET); what the peer answered.

        Raises NoContext if no context with the SCP role for the peer has this class and syntax, PeerError when the
        association ends meanwhile.
        """
        if self._store is None:
            raise NoContext("this request has no association to send on")
        return await self._store(sop_class, sop_instance, syntax, source)

    async def report(
        self,
        sop_instance: str,
        event_type: int,
        data_set: bytes | None = None,
        *,
        sop_class: str = "",
        context: Context | None = None,
    ) -> Response:
        """N-EVENT-REPORT to the peer on this same association, with or after the answer to this request.

        `sop_class` is that of the context unless given (an instance of a meta SOP class). The peer must be the SCU of
        `context`, by default this request's. Raises NoContext otherwise, PeerError when the association ends.
        """
        context = context or self.context
        if self._report is None or not context.peer_scu:
            raise NoContext("this request has no association to report events on")
        return await self._report(context, sop_class or context.abstract_syntax, sop_instance, event_type, data_set)


class StoreSink(Protocol):
    """Takes the data set of one C-STORE-RQ. Either `finish` is awaited or `abort` is called, once.

    Errors of the error tree raised by `write` or `finish` become the response with their status; after an error in
    `write` the rest of the data set is read and dropped, `abort` is called, and the association goes on.
    """

    def write(self, fragments: Sequence[memoryview], last: bool = False) -> None:
        """All fragments of one socket read; after the `last` none follow. The views are invalid once this returns."""

    def ready(self) -> Awaitable[object] | None:
        """None, or what to wait for before more is read from the socket. Asked after each `write`."""

    async def finish(self) -> Response:
        """The data set is complete: keep it and answer."""

    def abort(self) -> None:
        """The association ended, or the data set is refused: forget it. Never raises."""


Handler = Callable[[Request], AsyncIterator[Response | Matches]]
"""C-ECHO, C-FIND, C-MOVE, C-GET, N-*. Single-answer operations yield once, queries `Matches`. Errors of the error
tree become a final response.

After a C-CANCEL `request.cancelled` is True. A handler that notices yields its own final status (FE00 with counts);
one that yields another Pending is closed there, and FE00 goes out with that response's `extra`. When the association
ends, the task that runs the generator is cancelled."""

StoreHandler = Callable[[Request], StoreSink]
"""C-STORE: called when the command set is complete; may raise to refuse before any data is taken."""


@dataclass(frozen=True)
class Service:
    """One SOP class family: what it lists is what is negotiated and what the conformance statement prints."""

    name: str
    sop_classes: frozenset[str] | Callable[[str], bool]
    handlers: Mapping[int, Handler] = field(default_factory=dict)  # command field of the request → handler
    store: StoreHandler | None = None  # for C-STORE-RQ (0001H)
    scp: bool = True  # we perform its operations
    scu: bool = False  # we invoke its operations on associations that others opened (C-GET's stores): role selection
    syntaxes: Callable[[str], bool] = PLAIN_SYNTAXES.__contains__  # acceptable for it; storage: `storable`
    # Extended negotiation: application information as proposed → as accepted (PS3.7 D.3.3.5); None: not answered
    negotiate: Callable[[bytes], bytes] | None = None
    service_class: str = ""  # UID of PS3.4's service class, by which requestors declare classes of their own
    clause: str = ""

    def covers(self, sop_class: str) -> bool:
        """Whether `sop_class` is of this family."""
        if callable(self.sop_classes):
            return self.sop_classes(sop_class)
        return sop_class in self.sop_classes

    def lists(self, sop_class: str) -> bool:
        """Whether `sop_class` is of this family by its name, not by a guess about unknown ones."""
        return not callable(self.sop_classes) and sop_class in self.sop_classes
