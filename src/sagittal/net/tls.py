"""TLS for DICOM: the BCP 195 profiles of PS3.15 B.9 and B.10 (TLS 1.2 at least), server and client contexts.

Cipher suites are OpenSSL's defaults for these versions. Files are read here, once; certificates are checked by OpenSSL.
"""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Literal

from sagittal.errors import UsageError

ClientCertificate = Literal["none", "optional", "required"]


def server_context(
    certificate: Path, key: Path | None = None, *, ca: Path | None = None, client: ClientCertificate = "none"
) -> ssl.SSLContext:
    """For a listener. If clients show certificates, `ca` holds the authorities those must come from."""
    if client != "none" and ca is None:
        raise UsageError("client certificates can't be checked without the certificates of their authorities")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    _load_chain(context, certificate, key)
    if ca is not None:
        _load_authorities(context, ca)
    verify = {"none": ssl.CERT_NONE, "optional": ssl.CERT_OPTIONAL, "required": ssl.CERT_REQUIRED}
    context.verify_mode = verify[client]
    return context


def client_context(
    *, ca: Path | None = None, certificate: Path | None = None, key: Path | None = None, verify: bool = True
) -> ssl.SSLContext:
    """For a requestor: `ca` (None: the system's authorities) must have signed for the peer's host name."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif ca is not None:
        _load_authorities(context, ca)
    else:
        context.load_default_certs()
    if certificate is not None:
        _load_chain(context, certificate, key)
    return context


def _load_chain(context: ssl.SSLContext, certificate: Path, key: Path | None) -> None:
    try:
        context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        raise UsageError(f"the certificate {certificate.name} or its key can't be used: {error}") from None


def _load_authorities(context: ssl.SSLContext, ca: Path) -> None:
    try:
        context.load_verify_locations(ca)
    except (OSError, ssl.SSLError) as error:
        raise UsageError(f"the authorities in {ca.name} can't be used: {error}") from None
