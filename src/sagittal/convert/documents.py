"""Encapsulated documents (PS3.3 A.45, A.85, A.104, C.24.2): which class holds what, and the document taken out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from sagittal.errors import NotFound

if TYPE_CHECKING:
    from sagittal.pixels.rendering.attributes import Attributes

_P = "1.2.840.10008.5.1.4.1.1.104."
_TEXTS = frozenset((".xml", ".obj", ".mtl"))


class Document(NamedTuple):
    """What a SOP class encapsulates."""

    media_type: str
    ending: str  # of a file
    what: str  # for a person


DOCUMENTS: Mapping[str, Document] = {
    _P + "1": Document("application/pdf", ".pdf", "a PDF document"),
    _P + "2": Document("text/xml", ".xml", "a CDA document"),
    _P + "3": Document("model/stl", ".stl", "an STL model"),
    _P + "4": Document("model/obj", ".obj", "an OBJ model"),
    _P + "5": Document("model/mtl", ".mtl", "an MTL model"),
}


def document(held: Attributes) -> bytes:
    """The document, without the byte that made its length even. NotFound.

    Its length tells whether there is one; where that is missing, a text ends before it: no text has a NUL.
    """
    body = held.octets("EncapsulatedDocument")
    if not body:
        raise NotFound("the object has no encapsulated document")
    length, kind = held.integer("EncapsulatedDocumentLength"), DOCUMENTS.get(held.text("SOPClassUID"))
    is_text = kind is not None and kind.ending in _TEXTS
    padded = length == len(body) - 1 or (not length and is_text and body.endswith(b"\0"))
    return body[:-1] if padded else body
