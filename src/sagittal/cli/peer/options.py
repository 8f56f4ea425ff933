"""What the commands that talk to a peer have in common: the peer, our AE title, TLS, keys."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from sagittal.dicom.dictionary import keyword_of, tag_of, vr_of
from sagittal.dicom.elements import (
    NUMBERS,
    Element,
    charsets_of,
    decode_identifier,
    encode,
    encode_numbers,
    encode_text,
)
from sagittal.dicom.reader import Reader
from sagittal.dicom.syntaxes import EXPLICIT_LE, IMPLICIT_LE, syntax
from sagittal.dimse.address import parse_peer
from sagittal.dimse.service import NoContext
from sagittal.errors import PeerRefused, UsageError
from sagittal.limits import NetLimits, ReaderLimits
from sagittal.net.client import Association, Peer, Proposal, connect
from sagittal.net.tls import client_context

F = TypeVar("F", bound=Callable[..., Any])
PLAIN = (EXPLICIT_LE, IMPLICIT_LE)
LEVELS = ("patient", "study", "series", "image")
CHARACTER_SET, LEVEL = 0x00080005, 0x00080052
UNIQUE_KEYS = {"PatientID": "patient", "StudyInstanceUID": "study", "SeriesInstanceUID": "series"}


def peer_options(command: F) -> F:
    """PEER and how to reach it; the command gets `peer` (a Peer) and `aet`."""
    for decorate in reversed(
        (
            click.argument("peer", metavar="PEER", callback=_peer),
            click.option("--aet", default="SAGITTAL", show_default=True, help="Our AE title."),
            click.option("--tls", is_flag=True, is_eager=True, help="Use TLS."),
            click.option(
                "--tls-ca", type=click.Path(path_type=Path), is_eager=True, help="Authorities of the peer (PEM)."
            ),
            click.option("--tls-cert", type=click.Path(path_type=Path), is_eager=True, help="Our certificate (PEM)."),
            click.option("--tls-key", type=click.Path(path_type=Path), is_eager=True, help="Our key (PEM)."),
        )
    ):
        command = decorate(command)
    return command


def _peer(context: click.Context, _parameter: click.Parameter, value: str) -> Peer:
    options = {name: context.params.pop(name, None) for name in ("tls", "tls_ca", "tls_cert", "tls_key")}
    try:
        return Peer(*parse_peer(value), _tls(**options))
    except UsageError as error:
        raise click.BadParameter(error.text) from None


def _tls(tls: bool, tls_ca: Path | None, tls_cert: Path | None, tls_key: Path | None) -> ssl.SSLContext | None:
    if not (tls or tls_ca or tls_cert):
        return None
    return client_context(ca=tls_ca, certificate=tls_cert, key=tls_key)


async def open_association(peer: Peer, aet: str, contexts: Sequence[Proposal]) -> Association:
    """An association with the usual limits."""
    return await connect(peer, aet, contexts, limits=NetLimits())


def syntax_for(association: Association, sop_class: str) -> str:
    """The transfer syntax of the accepted context of a class; PeerRefused without one."""
    try:
        return association.context(sop_class).transfer_syntax
    except NoContext as error:
        raise PeerRefused(str(error)) from None


def tag_for(name: str) -> int:
    """A tag from a keyword or from eight hexadecimal digits."""
    try:
        return tag_of(name)
    except KeyError:
        raise UsageError(f"{name!r} is neither a keyword of PS3.6 nor a tag") from None


def parse_keys(keys: Sequence[str]) -> dict[int, str]:
    """`Keyword=value` or `Keyword` (universal matching); a keyword given twice makes a list."""
    found: dict[int, str] = {}
    for key in keys:
        name, _, value = key.partition("=")
        tag = tag_for(name)
        found[tag] = f"{found[tag]}\\{value}" if found.get(tag) else value
    return found


def level_of(keys: dict[int, str]) -> str:
    """The lowest level whose UID is among the keys."""
    if 0x00080018 in keys:
        return "image"
    if 0x0020000E in keys:
        return "series"
    return "study"


def identifier(level: str, keys: dict[int, str], syntax_uid: str) -> bytes:
    """An identifier, in UTF-8 when ASCII does not do."""
    to = syntax(syntax_uid)
    charsets = () if all(value.isascii() for value in keys.values()) else ("ISO_IR 192",)
    elements = [(LEVEL, "CS", level.upper().encode())]
    if charsets:
        elements.append((CHARACTER_SET, "CS", charsets[0].encode()))
    for tag, value in keys.items():
        vr = vr_of(tag)
        if vr in NUMBERS and value:
            elements.append((tag, vr, encode_numbers(vr, [float(n) for n in value.split("\\")], to)))
        else:
            elements.append((tag, vr, b"" if vr == "SQ" else encode_text(vr, value, charsets)))
    return encode(elements, to)


def read_response(data: bytes | None, syntax_uid: str) -> dict[int, str]:
    """The elements of a response as text; sequences are left out."""
    if not data:
        return {}
    elements: dict[int, Element] = decode_identifier(data, syntax(syntax_uid), ReaderLimits())
    charsets = charsets_of(elements)
    return {tag: element.text(charsets) for tag, element in elements.items() if element.vr != "SQ"}


def json_model(data: bytes, syntax_uid: str) -> str:
    """A response as one DICOM JSON object, sequences included."""
    pieces: list[str] = []
    reader = Reader(syntax(syntax_uid), wanted=frozenset(), limits=ReaderLimits(), metadata=pieces.append)
    reader.feed(data)
    reader.finish()
    return "".join(pieces)


def name_of_tag(tag: int) -> str:
    """The keyword, or the tag in hexadecimal."""
    return keyword_of(tag) or f"{tag >> 16:04X},{tag & 0xFFFF:04X}"
