"""Every setting of `sagittal serve`, with its default: what there is to be said, and nothing of how it is said."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

from sagittal.archive import DuplicatePolicy
from sagittal.archive.transcoding import rules
from sagittal.errors import UsageError
from sagittal.hosts import is_loopback
from sagittal.limits import Limits

if TYPE_CHECKING:
    from sagittal.archive.nodes import Node


@dataclass(frozen=True, slots=True)
class NodeSettings:
    """A node of the AE table given in the configuration: `nodes = ["AET@host:port"]` or a table with these keys."""

    aet: str  # its AE title
    host: str  # where we connect to for C-MOVE
    port: int  # its DIMSE port
    tls: bool = False  # we connect to it with TLS
    duplicates: DuplicatePolicy | None = None  # None: as the archive's
    name: str = ""  # for people
    verbs: tuple[str, ...] = ("echo", "store", "find", "get", "move")  # what it may do
    addresses: tuple[str, ...] = ()  # addresses and networks it calls from; none: those of its host
    syntax_order: tuple[str, ...] = ()  # transfer syntaxes by preference, * for every other one; none: the archive's
    character_set: str = ""  # of what it sends without one, or with one that is not defined: as (0008,0005)
    issuer_of_patient_id: str = ""  # of Patient IDs that it sends without one
    timezone: str = ""  # its offset from UTC, as +0100
    store: str = ""  # the store that it works in, whatever title it calls

    def node(self) -> Node:
        """The row of the AE table, its terms as the Standard writes them. UsageError for what can't be."""
        from sagittal.archive.nodes import Node, check_node

        given = {setting.name: getattr(self, setting.name) for setting in dataclasses.fields(self)}
        try:
            return check_node(Node(**given | {"verbs": frozenset(self.verbs), "duplicates": self.duplicates or ""}))
        except UsageError as error:
            raise UsageError(f"nodes: {self.aet}: {error.text}") from None


@dataclass(frozen=True, slots=True)
class TokenSettings:
    """A bearer token by its SHA-256; the token itself is printed once, when it is made, and kept nowhere."""

    name: str  # of who holds it, for the audit log
    sha256: str  # of the token, in hexadecimal
    verbs: tuple[str, ...] = ("echo", "store", "find", "get", "move")  # what it lets do
    store: str = ""  # the only store that it lets into, unless it lets do admin; none: main


@dataclass(frozen=True, slots=True)
class DimseSettings:
    """The DIMSE listener."""

    port: int = 11112  # 0: a free one
    kept_status: Literal["warning", "success"] = "warning"  # B000 or 0000 when the first version was kept
    prefer: tuple[str, ...] = ()  # transfer syntaxes chosen before the usual order
    called_aets: tuple[str, ...] = ()  # AE titles by which we may be called, beside our own
    user_identity: Literal["optional", "required"] = "optional"  # required: only users whose token was verified
    tls_certificate: Path | None = None  # PEM, with its chain; given, the port speaks TLS only
    tls_key: Path | None = None  # PEM, without a passphrase; none: it is in the file of the certificate
    tls_authorities: Path | None = None  # of client certificates, which are then required
    tls_node_authorities: Path | None = None  # of the nodes we connect to; none: the system's

    @property
    def senders(self) -> tuple[str, str]:
        """How DCMTK and `sagittal store` send to this port: program and options, files of the sender by names that are
        to be replaced. dcmsend has no TLS.
        """
        if self.tls_certificate is None:
            return "dcmsend --no-halt", "sagittal store"
        dcmtk, own = "storescu --no-halt +cf CA.pem", "sagittal store --tls --tls-ca CA.pem"
        if self.tls_authorities is None:
            return f"{dcmtk} +tla", own
        return f"{dcmtk} +tls KEY.pem CERTIFICATE.pem", f"{own} --tls-cert CERTIFICATE.pem --tls-key KEY.pem"


@dataclass(frozen=True, slots=True)
class WebSettings:
    """The HTTP listener."""

    port: int = 8042  # 0: a free one
    hosts: tuple[str, ...] = ()  # names a browser may use for us, beside the bind address and loopback
    origins: tuple[str, ...] = ()  # of pages elsewhere that may read and write, as https://viewer.example
    public_url: str | None = None  # what clients see in front of a proxy
    trusted_proxies: tuple[str, ...] = ()  # addresses or networks whose (X-)Forwarded headers are believed

    @property
    def names(self) -> frozenset[str]:
        """What Host may say, beside the bind address and loopback: `hosts`, and the host of `public_url`."""
        public = urlsplit(self.public_url or "").hostname
        return frozenset(name.lower() for name in (*self.hosts, public) if name)


@dataclass(frozen=True, slots=True)
class IndexSettings:
    """What the index holds besides the usual keys."""

    attributes: tuple[str, ...] = ()  # keywords, tags, or 0029,1009@ACME for private ones


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """A store: made when it is first named here, and kept. Its NAME is in URLs; `main` is there without."""

    called_aets: tuple[str, ...] = ()  # AE titles by which it is called, which no other store has


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings of `sagittal serve`, with their defaults."""

    data: Path = Path("sagittal-data")  # made when missing
    host: str = "127.0.0.1"  # beyond loopback only with nodes and tokens
    aet: str = "SAGITTAL"  # our AE title
    durability: Literal["full", "off"] = "full"  # off: nothing is synced, for benchmarks
    duplicates: DuplicatePolicy = "keep-first"  # other content under a held SOP Instance UID
    character_set: str = ""  # of objects and queries without one, or with one that is not defined: as (0008,0005)
    timezone: str = ""  # the offset from UTC of objects that say none, as +0100
    log_level: Literal["debug", "info", "warning", "error"] = "info"  # the least that is told on stderr
    dimse: DimseSettings = DimseSettings()
    web: WebSettings = WebSettings()
    index: IndexSettings = IndexSettings()
    limits: Limits = field(default_factory=Limits)
    stores: Mapping[str, StoreSettings] = field(default_factory=dict)  # NAME: what it is
    nodes: tuple[NodeSettings, ...] = ()  # beside those kept; this table alone changes them
    tokens: tuple[TokenSettings, ...] = ()  # beside those kept; this table alone changes them
    transcode: tuple[rules.Rule, ...] = ()  # what becomes of objects that came in; the first that fits decides

    @property
    def loopback(self) -> bool:
        """Whether both listeners can be reached from this machine only."""
        return is_loopback(self.host)
