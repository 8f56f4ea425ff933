"""The Native DICOM Model (PS3.19 A.1) from and to objects of the DICOM JSON Model (PS3.18 F).

An object is a mapping of eight hexadecimal digits to `{"vr": …, "Value" | "InlineBinary" | "BulkDataURI": …}`.
Writing: private elements are written with their creator and without block number, as other toolkits do; a character
that XML 1.0 has no room for becomes U+FFFD. Reading: numbers come back as JSON has them, decimal strings as text where
a number would not print the same. A private element comes to the block of its creator, which is reserved when it isn't.

Untrusted text is read with expat: no document type, hence no entities; depth, count of elements and gaps between
numbered values are bounded. Deliberately not here: fetching bulk data, and XML of any other shape.
"""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Iterator, Mapping
from typing import Any
from xml.parsers import expat

from sagittal.dicom.dictionary import NAME_GROUPS, keyword_of, tag_of, vr_of
from sagittal.dicom.elements import BINARY_VRS, INTEGER_VRS
from sagittal.errors import BadRequest, LimitExceeded
from sagittal.limits import ReaderLimits

Object = Mapping[str, Any]

NAMESPACE = "http://dicom.nema.org/PS3.19/models/NativeDICOM"
HEAD = f'<?xml version="1.0" encoding="UTF-8"?>\n<NativeDicomModel xmlns="{NAMESPACE}" xml:space="preserve">'.encode()
TAIL = b"</NativeDicomModel>"
_COMPONENTS = ("FamilyName", "GivenName", "MiddleName", "NamePrefix", "NameSuffix")
_DEPTH_MAX = 128  # of sequences that are written, by recursion
_SAFE_INTEGER = 1 << 53  # beyond it JSON has SV and UV as text
_GAPS_MAX = 65_536  # empty values that a document may imply by leaving numbers out

_SPECIAL = re.compile('[&<>"\t\n\r\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]')
_ESCAPES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "\r": "&#13;", "\n": "&#10;", "\t": "&#9;"}
_TAG = re.compile(r"[0-9A-Fa-f]{8}\Z")
_VR = re.compile(r"[A-Z]{2}\Z")


def to_xml(obj: Object) -> bytes:
    """The document of one object."""
    return HEAD + b"".join(attributes(obj)) + TAIL


def attributes(obj: Object, only: str = "") -> Iterator[bytes]:
    """One DicomAttribute after the other, or `only` one. LimitExceeded for sequences that are nested too deep."""
    for tag in (only,) if only else sorted(obj):
        yield "".join(_attribute(tag, obj[tag], obj, _DEPTH_MAX)).encode()


def opening(tag: str, vr: str, obj: Object) -> str:
    """The start tag of an attribute; the creator of a private one is looked for in `obj`."""
    number = int(tag, 16)
    creator = _creator(number, obj)
    if creator and _block_of(number >> 16, creator, obj) == number >> 8 & 0xFF:
        tag = f"{number & 0xFFFF00FF:08X}"
    private = f' privateCreator="{escaped(creator)}"' if creator else ""
    keyword = "" if number >> 16 & 1 else keyword_of(number)
    named = f' keyword="{keyword}"' if keyword else ""
    return f'<DicomAttribute tag="{tag}" vr="{vr}"{named}{private}>'


def escaped(text: str) -> str:
    """Text for XML 1.0, between tags or between double quotes."""
    return _SPECIAL.sub(lambda match: _ESCAPES.get(match[0], "\ufffd"), text)


def _creator(tag: int, obj: Object) -> str:
    block = tag >> 8 & 0xFF
    if not tag >> 16 & 1 or block < 0x10:
        return ""
    values = obj.get(f"{tag >> 16:04X}{block:04X}", {}).get("Value") or [""]
    return values[0] if isinstance(values[0], str) else ""


def _block_of(group: int, creator: str, obj: Object) -> int:
    """The first block that `creator` has reserved in `group`; 0 if none."""
    for block in range(0x10, 0x100):
        held = obj.get(f"{group:04X}{block:04X}")
        if held is not None and (held.get("Value") or [None])[0] == creator:
            return block
    return 0


def _attribute(tag: str, member: Mapping[str, Any], obj: Object, depth: int) -> Iterator[str]:
    vr = member.get("vr") or vr_of(int(tag, 16))
    yield opening(tag, vr, obj)
    if "BulkDataURI" in member:
        yield f'<BulkData uri="{escaped(member["BulkDataURI"])}"/>'
    elif "InlineBinary" in member:
        yield f"<InlineBinary>{escaped(member['InlineBinary'])}</InlineBinary>"
    values = member.get("Value", ())
    for number, value in enumerate(values, 1):
        if vr == "SQ":
            yield from item(number, value or {}, depth)
        elif value is not None or number == len(values):  # an empty one is left out, but the last: it tells how many
            yield _name(number, value or {}) if vr == "PN" else f'<Value number="{number}">{_text(value)}</Value>'
    yield "</DicomAttribute>"


def item(number: int, obj: Object, depth: int = _DEPTH_MAX) -> Iterator[str]:
    """One item of a sequence."""
    if depth <= 0:
        raise LimitExceeded("sequences are nested too deep (limits.depth_max)")
    yield f'<Item number="{number}">'
    for tag in sorted(obj):
        yield from _attribute(tag, obj[tag], obj, depth - 1)
    yield "</Item>"


def _text(value: Any) -> str:
    return escaped(value) if isinstance(value, str) else "" if value is None else str(value)


def _name(number: int, value: Any) -> str:
    groups = value if isinstance(value, Mapping) else {"Alphabetic": str(value)}
    written = []
    for group in NAME_GROUPS:
        parts = groups.get(group, "").split("^", len(_COMPONENTS) - 1)
        inside = "".join(f"<{name}>{escaped(p)}</{name}>" for name, p in zip(_COMPONENTS, parts, strict=False) if p)
        if inside:
            written.append(f"<{group}>{inside}</{group}>")
    return f'<PersonName number="{number}">{"".join(written)}</PersonName>'


def from_xml(data: bytes, limits: ReaderLimits = ReaderLimits()) -> dict[str, Any]:
    """The object of one document. BadRequest when it is none, LimitExceeded past a limit."""
    reader = _Reader(limits)
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.buffer_text = True
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.text
    parser.StartDoctypeDeclHandler = _refuse
    try:
        parser.Parse(data, True)
    except expat.ExpatError as error:
        raise BadRequest(f"not well-formed XML: {error}") from None
    except (ValueError, LookupError):  # of several bytes a character expat knows UTF-8 and UTF-16
        raise BadRequest("the XML is not in the encoding that it declares, or that is none of ours: UTF-8 is") from None
    return reader.root


def _refuse(*_: object) -> None:
    raise BadRequest("XML with a document type is not taken")


class _Attribute:
    """A DicomAttribute that is being read."""

    __slots__ = ("creator", "member", "tag", "values", "vr")

    def __init__(self, tag: int, vr: str, creator: str) -> None:
        self.tag, self.vr, self.creator = tag, vr, creator
        self.member: dict[str, Any] = {"vr": vr}
        self.values: list[Any] = []


class _Reader:
    """The handlers of expat: elements in, one object out."""

    def __init__(self, limits: ReaderLimits) -> None:
        self.root: dict[str, Any] = {}
        self._limits = limits
        self._path: list[str] = []  # local names of the open elements
        self._objects: list[dict[str, Any]] = []
        self._open: list[_Attribute] = []
        self._name: dict[str, list[str]] = {}  # the person name under way
        self._characters: list[str] = []
        self._elements = self._gaps = 0

    def start(self, name: str, given: dict[str, str]) -> None:
        local = name.rpartition(" ")[2]
        parent = self._path[-1] if self._path else ""
        if local not in _INSIDE.get(parent, ()):
            raise BadRequest(f"<{local[:64]}> within <{parent}> is not the Native DICOM Model")
        self._elements += 1
        if self._elements > self._limits.elements_max:
            raise LimitExceeded("more elements than limits.elements_max")
        self._path.append(local)
        self._characters = []
        if local == "NativeDicomModel":
            self._objects.append(self.root)
        elif local == "DicomAttribute":
            self._open.append(_opened(given))
        elif local in ("Value", "Item", "PersonName"):
            self._number(given)
            self._enter(local)
        elif local == "BulkData":
            self._open[-1].member["BulkDataURI"] = _address(given)

    def _enter(self, local: str) -> None:
        if local == "Item":
            if len(self._objects) > self._limits.depth_max:
                raise LimitExceeded("sequences are nested too deep (limits.depth_max)")
            self._objects.append({})
        elif local == "PersonName":
            self._name = {}

    def _number(self, given: dict[str, str]) -> None:
        """Fill up to the number that is given, which counts from 1; without one it is the next."""
        values, text = self._open[-1].values, given.get("number", "")
        if not text:
            return
        number = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0
        if number <= len(values):
            raise BadRequest("values are numbered from 1, in ascending order")
        gap = number - 1 - len(values)
        self._gaps += gap
        if self._gaps > _GAPS_MAX:
            raise LimitExceeded(f"more than {_GAPS_MAX} values left out")
        values.extend({} if self._open[-1].vr == "SQ" else None for _ in range(gap))

    def text(self, data: str) -> None:
        if self._path[-1] in _TEXTS:
            self._characters.append(data)
        elif not data.isspace():
            raise BadRequest(f"text within <{self._path[-1]}> is not the Native DICOM Model")

    def end(self, name: str) -> None:
        local = self._path.pop()
        if local in _COMPONENTS:
            components = self._name.setdefault(self._path[-1], [""] * len(_COMPONENTS))
            components[_COMPONENTS.index(local)] = "".join(self._characters)
        elif local == "Value":
            attribute = self._open[-1]
            attribute.values.append(_value(attribute.vr, "".join(self._characters)))
        elif local == "InlineBinary":
            self._open[-1].member["InlineBinary"] = _base64("".join(self._characters))
        elif local == "PersonName":
            groups = {group: "^".join(self._name[group]).rstrip("^") for group in NAME_GROUPS if group in self._name}
            self._open[-1].values.append({group: text for group, text in groups.items() if text} or None)
        elif local == "Item":
            self._open[-1].values.append(self._objects.pop())
        elif local == "DicomAttribute":
            self._close()

    def _close(self) -> None:
        attribute = self._open.pop()
        if attribute.values:
            if len(attribute.member) > 1:
                raise BadRequest(f"attribute {attribute.tag:08X} has values and binary data")
            attribute.member["Value"] = attribute.values
        obj = self._objects[-1]
        tag = f"{_placed(attribute, obj):08X}"
        if obj.get(tag, attribute.member) != attribute.member:  # a creator may be reserved before it is read
            raise BadRequest(f"attribute {tag} is given twice")
        obj[tag] = attribute.member


_INSIDE: dict[str, tuple[str, ...]] = {
    "": ("NativeDicomModel",),
    "NativeDicomModel": ("DicomAttribute",),
    "DicomAttribute": ("Value", "Item", "PersonName", "BulkData", "InlineBinary"),
    "Item": ("DicomAttribute",),
    "PersonName": NAME_GROUPS,
    **dict.fromkeys(NAME_GROUPS, _COMPONENTS),
}
_TEXTS = frozenset(("Value", "InlineBinary", *_COMPONENTS))


def _opened(given: dict[str, str]) -> _Attribute:
    text = given.get("tag", "")
    if _TAG.match(text):
        tag = int(text, 16)
    else:
        try:
            tag = tag_of(given.get("keyword", "") if not text else "")
        except KeyError:
            raise BadRequest("a DicomAttribute has no tag of eight hexadecimal digits") from None
    vr = given.get("vr") or vr_of(tag)
    if not _VR.match(vr):
        raise BadRequest(f"attribute {tag:08X} has no valid vr")
    return _Attribute(tag, vr, given.get("privateCreator", ""))


def _placed(attribute: _Attribute, obj: dict[str, Any]) -> int:
    """The tag with its block: that of the creator in this data set, reserved now if it isn't yet (PS3.5 7.8.1)."""
    tag, creator = attribute.tag, attribute.creator
    group = tag >> 16
    if not creator or not group & 1 or (0x10 <= tag & 0xFFFF <= 0xFF and attribute.values == [creator]):
        return tag
    block = tag >> 8 & 0xFF
    if block >= 0x10 and _creator(tag, obj) in ("", creator):
        _reserve(group, block, creator, obj)
        return tag
    block = _block_of(group, creator, obj) or next(
        (free for free in range(0x10, 0x100) if f"{group:04X}{free:04X}" not in obj), 0
    )
    if not block:
        raise BadRequest(f"group {group:04X} has no private block left")
    _reserve(group, block, creator, obj)
    return group << 16 | block << 8 | tag & 0xFF


def _reserve(group: int, block: int, creator: str, obj: dict[str, Any]) -> None:
    obj.setdefault(f"{group:04X}{block:04X}", {"vr": "LO", "Value": [creator]})


def _address(given: dict[str, str]) -> str:
    uri, uuid = given.get("uri", ""), given.get("uuid", "")
    if not uri and not uuid:
        raise BadRequest("BulkData has neither uri nor uuid")
    return uri or f"urn:uuid:{uuid.removeprefix('urn:uuid:')}"


def _base64(text: str) -> str:
    joined = "".join(text.split())
    try:
        b64decode(joined, validate=True)
    except ValueError:
        raise BadRequest("InlineBinary is not Base64") from None
    return joined


def _value(vr: str, text: str) -> Any:
    if vr in BINARY_VRS or vr == "SQ" or vr == "PN":
        raise BadRequest(f"an attribute of VR {vr} has no Value")
    if not text:
        return None
    if vr in INTEGER_VRS:
        return _integer(vr, text)
    if vr in ("FL", "FD", "DS"):
        return _decimal(vr, text)
    return text


def _integer(vr: str, text: str) -> int | str:
    digits = text.strip()
    if len(digits) < 24 and digits.lstrip("+-").isascii() and digits.lstrip("+-").isdigit():
        try:
            number = int(digits)
        except ValueError:
            return text
        return number if abs(number) <= _SAFE_INTEGER else digits
    if vr == "IS":
        return text
    raise BadRequest(f"{text[:32]!r} is no value of VR {vr}")


def _decimal(vr: str, text: str) -> int | float | str:
    try:
        number = float(text)
    except ValueError:
        if vr == "DS":
            return text
        raise BadRequest(f"{text[:32]!r} is no value of VR {vr}") from None
    if repr(number) == text and number - number == 0:
        return number
    if text.lstrip("-").isdigit() and str(int(text[:24])) == text:
        return int(text)
    return text if vr == "DS" or number - number != 0 else number
