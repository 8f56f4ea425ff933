"""The PDUs of PS3.8 section 9.3 as values, with their user items (PS3.8 D.1, PS3.7 D.3.3).

`codec` encodes and decodes them. P-DATA-TF isn't among them: it is never held whole, `stream` reads its headers.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from sagittal.errors import SagittalError

APPLICATION_CONTEXT = "1.2.840.10008.3.1.1.1"  # PS3.7 A.2.1
ASSOCIATE_RQ, ASSOCIATE_AC, ASSOCIATE_RJ, P_DATA, RELEASE_RQ, RELEASE_RP, ABORT = range(1, 8)

ACCEPTANCE, USER_REJECTION, NO_REASON, ABSTRACT_SYNTAX_NOT_SUPPORTED, TRANSFER_SYNTAXES_NOT_SUPPORTED = range(5)


class InvalidPDU(SagittalError):
    """A PDU breaks PS3.8 9.3. `reason` is that of the A-ABORT to answer with (Table 9-26)."""

    def __init__(self, text: str, reason: int = 6) -> None:
        super().__init__(text)
        self.reason = reason  # 1 unrecognized PDU, 2 unexpected PDU, 4-6 parameter unrecognized, unexpected, invalid


@dataclass(frozen=True, slots=True)
class ProposedContext:
    """Presentation context item of an A-ASSOCIATE-RQ (9.3.2.2)."""

    id: int
    abstract_syntax: str
    transfer_syntaxes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ContextResult:
    """Presentation context item of an A-ASSOCIATE-AC (9.3.3.2); the syntax means nothing unless accepted."""

    id: int
    result: int
    transfer_syntax: str


@dataclass(frozen=True, slots=True)
class Role:
    """SCP/SCU role selection (PS3.7 D.3.3.4), of the requestor."""

    sop_class: str
    scu: bool
    scp: bool


@dataclass(frozen=True, slots=True)
class CommonExtended:
    """SOP class common extended negotiation (PS3.7 D.3.3.6)."""

    sop_class: str
    service_class: str
    related: tuple[str, ...] = ()


NAME, NAME_AND_PASSCODE, KERBEROS, SAML, WEB_TOKEN = range(1, 6)  # PS3.7 Table D.3-14


@dataclass(frozen=True, slots=True)
class UserIdentity:
    """User identity (PS3.7 D.3.3.7)."""

    kind: int
    primary: bytes
    secondary: bytes = b""
    response_wanted: bool = False


@dataclass(frozen=True, slots=True)
class UserInformation:
    """The user information item (9.3.2.3), sub-items by meaning."""

    pdu_bytes_max: int = 0  # 0: no limit (D.1.1); also when the item is missing
    implementation_class: str = ""
    implementation_version: str = ""
    asynchronous: tuple[int, int] | None = None  # operations invoked, performed; 0: unlimited
    roles: tuple[Role, ...] = ()
    extended: tuple[tuple[str, bytes], ...] = ()
    common_extended: tuple[CommonExtended, ...] = ()
    identity: UserIdentity | None = None
    identity_response: bytes | None = None


@dataclass(frozen=True, slots=True)
class AssociateRQ:
    """A-ASSOCIATE-RQ (9.3.2)."""

    called_aet: str
    calling_aet: str
    contexts: tuple[ProposedContext, ...]
    user: UserInformation = field(default_factory=UserInformation)
    application_context: str = APPLICATION_CONTEXT
    protocol_version: int = 1
    titles: bytes = field(default=b"", compare=False)  # both, and the reserved field behind them, as they were received


@dataclass(frozen=True, slots=True)
class AssociateAC:
    """A-ASSOCIATE-AC (9.3.3). The titles are those of the request, sent back and not tested."""

    called_aet: str
    calling_aet: str
    contexts: tuple[ContextResult, ...]
    user: UserInformation = field(default_factory=UserInformation)
    application_context: str = APPLICATION_CONTEXT
    protocol_version: int = 1
    titles: bytes = field(default=b"", compare=False)  # the request's: Table 9-17 wants them back as they were


@dataclass(frozen=True, slots=True)
class AssociateRJ:
    """A-ASSOCIATE-RJ (9.3.4)."""

    result: int  # 1 permanent, 2 transient
    source: int  # 1 service user, 2 provider (ACSE), 3 provider (presentation)
    reason: int


@dataclass(frozen=True, slots=True)
class ReleaseRQ:
    """A-RELEASE-RQ (9.3.6)."""


@dataclass(frozen=True, slots=True)
class ReleaseRP:
    """A-RELEASE-RP (9.3.7)."""


@dataclass(frozen=True, slots=True)
class Abort:
    """A-ABORT (9.3.8)."""

    source: int  # 0 service user, 2 provider
    reason: int = 0
