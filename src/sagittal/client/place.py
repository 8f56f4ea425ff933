"""Where an archive is and how to reach it: `AET@host:port`, an http(s) URL, or a data directory of our own."""

from __future__ import annotations

import asyncio
import json
import os
import ssl
from base64 import b64encode
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import monotonic
from urllib.parse import unquote, urlsplit, urlunsplit

from sagittal.archive import SERVER_FILE
from sagittal.dimse.address import PeerAddress, check_aet, parse_peer
from sagittal.errors import DirectoryHeld, UsageError
from sagittal.hosts import is_loopback
from sagittal.limits import NetLimits
from sagittal.ul.pdu import NAME, NAME_AND_PASSCODE, WEB_TOKEN, UserIdentity

TOKEN, USER = "SAGITTAL_TOKEN", "SAGITTAL_USER"  # environment: a bearer token; NAME:PASSWORD
_STARTING_SECONDS = 10.0  # a server holds its directory for a moment before it says where it listens
_SECRET_BYTES_MAX = 0x8000  # the item of an association request that it goes in has twice as many


@dataclass(frozen=True, slots=True)
class Access:
    """How to reach an archive: who we are, and TLS. Of use to one kind of archive or the other."""

    aet: str = "SAGITTAL"  # our AE title
    tls: bool = False  # for DIMSE; a URL says it itself
    tls_ca: str | os.PathLike[str] | None = None  # authorities of the peer (PEM); None: the system's
    tls_certificate: str | os.PathLike[str] | None = None
    tls_key: str | os.PathLike[str] | None = None
    token: str = field(default="", repr=False)  # bearer token; to a peer a JSON Web Token
    user: str = field(default="", repr=False)  # NAME:PASSWORD; to a peer NAME is enough
    store: str = ""  # of a data directory; "": main. A peer is called by the title of its store, a URL names it
    limits: NetLimits = field(default_factory=NetLimits)

    def with_environment(self) -> Access:
        """Credentials that were not given are taken from the environment."""
        if self.token or self.user:
            return self
        return replace(self, token=os.environ.get(TOKEN, ""), user=os.environ.get(USER, ""))

    def __post_init__(self) -> None:
        """UsageError for an AE title that is none, and a key alone."""
        check_aet(self.aet)
        if self.tls_key and not self.tls_certificate:
            raise UsageError("a TLS key without its certificate is of no use")

    def tls_context(self) -> ssl.SSLContext | None:
        """For DIMSE: None without TLS."""
        return self._context() if self.tls or self.tls_ca or self.tls_certificate else None

    def verification(self) -> ssl.SSLContext | bool:
        """For HTTP: what `httpx` takes as `verify`."""
        return self._context() if self.tls_ca or self.tls_certificate else True

    def _context(self) -> ssl.SSLContext:
        from sagittal.net.tls import client_context

        return client_context(ca=self.tls_ca, certificate=self.tls_certificate, key=self.tls_key)

    def identity(self) -> UserIdentity | None:
        """For DIMSE: the token, or the user (PS3.7 D.3.3.7), to be confirmed by the peer."""
        secret = (self.token or self.user).encode("utf-8", "surrogateescape")
        if len(secret) > _SECRET_BYTES_MAX:
            raise UsageError(f"a user identity has at most {_SECRET_BYTES_MAX} bytes")
        if self.token:
            return UserIdentity(WEB_TOKEN, secret, response_wanted=True)
        name, colon, passcode = secret.partition(b":")
        return UserIdentity(NAME_AND_PASSCODE if colon else NAME, name, passcode, True) if secret else None

    def authorization(self, user: str = "") -> dict[str, str]:
        """For HTTP: the header, if any (RFC 6750, RFC 7617). A user in the URL goes first, then a token."""
        if self.token and not user:
            return bearer(self.token)
        told = user or self.user
        return {"authorization": f"Basic {b64encode(told.encode()).decode('ascii')}"} if told else {}


def bearer(token: str) -> dict[str, str]:
    """The header for a token (RFC 6750 2.1). UsageError for what no header takes."""
    if not (token.isascii() and token.isprintable()):
        raise UsageError("the bearer token has other characters than printable ASCII")
    return {"authorization": f"Bearer {token}"}


@dataclass(frozen=True, slots=True)
class Url:
    """The base of DICOMweb services, without credentials; those it had are in `user`."""

    base: str
    user: str = field(default="", repr=False)

    def __str__(self) -> str:
        return self.base

    @property
    def may_be_proxied(self) -> bool:
        """Whether requests go through the proxy that the environment names: on the way to this machine there is none,
        and who is given the token of an archive on loopback may do all there.
        """
        return not is_loopback(urlsplit(self.base).hostname or "")


async def listener_of(data: Path) -> tuple[str, str]:
    """Address and token of the server that holds a data directory of ours, which may just be starting. DirectoryHeld
    when it does not say them.
    """
    deadline = monotonic() + _STARTING_SECONDS
    while True:
        try:
            told = json.loads((data / SERVER_FILE).read_text(encoding="utf-8"))
            return told["http"], told["token"]
        except (FileNotFoundError, PermissionError, ValueError, TypeError, KeyError) as error:
            # Not there yet, or what a power cut left of it.
            if isinstance(error, PermissionError) or monotonic() > deadline:
                raise DirectoryHeld(f"another process holds {data} and does not say where it listens") from None
        await asyncio.sleep(0.1)


Place = PeerAddress | Url | Path


def parse_place(text: str) -> Place:
    """A URL, a peer or a data directory; UsageError for anything else."""
    if text.lower().startswith(("http://", "https://")):
        return parse_url(text)
    if (Path(text) / "index.db").is_file():
        return Path(text)
    if "@" in text:
        return parse_peer(text)
    raise UsageError(f"{text!r} is neither AET@host:port nor an http(s) URL nor a data directory")


def parse_url(text: str) -> Url:
    """The base URL of DICOMweb services; `http://host:port` alone is taken as one of ours, `…/dicom-web`."""
    try:
        parts = urlsplit(text)
        right = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0 and text.isprintable()
    except ValueError:
        right = False
    if not right:
        raise UsageError(f"{text!r} is not an http or https URL")
    credentials, at, address = parts.netloc.rpartition("@")
    path = parts.path.rstrip("/") or "/dicom-web"
    return Url(urlunsplit((parts.scheme, address, path, "", "")), unquote(credentials) if at else "")
