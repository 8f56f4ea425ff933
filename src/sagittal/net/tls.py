"""TLS for DICOM: the BCP 195 profile of PS3.15 B.12 (TLS 1.2 at least), server and client contexts.

Cipher suites are OpenSSL's defaults for these versions. Files are read here, again when they change; certificates are
checked by OpenSSL.
"""

from __future__ import annotations

import logging
import os
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from sagittal.errors import UsageError

File = str | os.PathLike[str]
ClientCertificate = Literal["none", "optional", "required"]
log = logging.getLogger("sagittal.net")
_NO_TLS = {"WRONG_VERSION_NUMBER", "HTTP_REQUEST"}  # what OpenSSL makes of bytes that are no record of TLS


class _HandshakeFailed(ssl.SSLError):
    """As OpenSSL says it, with the alert that the event loops would not send."""

    def __init__(self, error: ssl.SSLError, alert: bytes) -> None:
        super().__init__(*error.args)
        self.reason, self.verify_message = error.reason, getattr(error, "verify_message", "")
        self.alert = alert


class _Session(ssl.SSLObject):
    """Takes along, in the error of a handshake that fails, the alert."""

    outgoing: ssl.MemoryBIO

    def do_handshake(self) -> None:
        try:
            super().do_handshake()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError, ssl.SSLSyscallError):  # the loop goes on after these
            raise
        except ssl.SSLError as error:
            raise _HandshakeFailed(error, self.outgoing.read()) from error


class _Context(ssl.SSLContext):
    """Makes such sessions."""

    sslobject_class = _Session

    def wrap_bio(self, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO, *more: Any, **named: Any) -> ssl.SSLObject:
        session = super().wrap_bio(incoming, outgoing, *more, **named)
        assert isinstance(session, _Session)
        session.outgoing = outgoing
        return session


class Renewing:
    """The context that `make` makes of `files`, made anew when one of them has changed: certificates are renewed while
    a server runs. What can't be used, such as a pair of which half is written, leaves the former in force.
    """

    def __init__(self, make: Callable[[], ssl.SSLContext], *files: File | None) -> None:
        self._make, self._files = make, [Path(file) for file in files if file is not None]
        self._context: ssl.SSLContext | None = None
        self._made_of: list[object] = []

    def __call__(self) -> ssl.SSLContext:
        """The context for the next connection. UsageError if there never was one."""
        found = [_state(file) for file in self._files]
        if self._context is None:
            self._context = self._make()
        elif found != self._made_of:
            try:
                self._context = self._make()
                log.info("certificates were renewed: %s", ", ".join(file.name for file in self._files))
            except UsageError as error:
                log.warning("the former certificates stay in force: %s", error.text)
        self._made_of = found
        return self._context


def _state(file: Path) -> object:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def send_alert(connection: socket.socket, error: OSError) -> None:
    """Tell the peer of a handshake that failed (RFC 8446 6.2), so that its log says why too. `connection`: a duplicate
    of the event loop's, which the loop closes with the alert unsent.
    """
    with suppress(OSError):
        connection.send(error.alert if isinstance(error, _HandshakeFailed) else b"")
        connection.shutdown(socket.SHUT_WR)


def describe(error: OSError) -> str:
    """Why a handshake failed: OpenSSL's word, and what is wrong with a certificate."""
    reason, certificate = getattr(error, "reason", None), getattr(error, "verify_message", "")
    if reason in _NO_TLS:
        return f"the peer does not speak TLS ({reason})"
    return f"{reason}: {certificate}" if certificate else reason or str(error) or "the peer closed the connection"


def server_context(
    certificate: File, key: File | None = None, *, ca: File | None = None, client: ClientCertificate = "none"
) -> ssl.SSLContext:
    """For a listener. If clients show certificates, `ca` holds the authorities those must come from."""
    if client != "none" and ca is None:
        raise UsageError("client certificates can't be checked without the certificates of their authorities")
    context = _Context(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    _load_chain(context, certificate, key)
    if ca is not None:
        _load_authorities(context, ca)
    verify = {"none": ssl.CERT_NONE, "optional": ssl.CERT_OPTIONAL, "required": ssl.CERT_REQUIRED}
    context.verify_mode = verify[client]
    return context


def client_context(
    *, ca: File | None = None, certificate: File | None = None, key: File | None = None
) -> ssl.SSLContext:
    """For a requestor: `ca` (None: the system's authorities) must have signed for the peer's host name."""
    context = _Context(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if ca is not None:
        _load_authorities(context, ca)
    else:
        context.load_default_certs()
    if certificate is not None:
        _load_chain(context, certificate, key)
    return context


def _load_chain(context: ssl.SSLContext, certificate: File, key: File | None) -> None:
    try:
        context.load_cert_chain(certificate, key, _no_passphrase)
    except (OSError, ssl.SSLError) as error:
        raise UsageError(f"the certificate {Path(certificate).name} or its key can't be used: {error}") from None


def _no_passphrase() -> str:
    """In place of OpenSSL's question on the terminal, where a service would wait for ever."""
    raise UsageError("the key is encrypted; give one without a passphrase, readable by us only")


def _load_authorities(context: ssl.SSLContext, ca: File) -> None:
    try:
        context.load_verify_locations(ca)
    except (OSError, ssl.SSLError) as error:
        raise UsageError(f"the authorities in {Path(ca).name} can't be used: {error}") from None
