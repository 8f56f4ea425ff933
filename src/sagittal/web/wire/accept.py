"""Media types and content negotiation: RFC 9110 12.5.1 and PS3.18 8.7.

Reads `Content-Type` and `Accept` values (and the `accept` query parameter of PS3.18 8.3.3.1, which takes precedence)
and chooses among what a resource can offer. It deliberately knows no archive and no codec: an offer is a media type
and a transfer syntax that are there already, or can be made.

What is taken more kindly than PS3.18 says, because clients need it:
- a missing `Accept` is `*/*` (PS3.18 8.7.7 would have 406), and `*/*` takes any transfer syntax;
- `type=image/jpeg` without quotes, as OHIF sends it;
- a media type of compressed pixel data without a transfer syntax takes every stored syntax of that type before its
  default.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import chain, groupby, product
from typing import TYPE_CHECKING

from sagittal.dicom.syntaxes import EXPLICIT_LE
from sagittal.errors import BadRequest, NotAcceptable

if TYPE_CHECKING:
    from starlette.requests import Request

ANY_SYNTAX = "*"
DICOM = "application/dicom"
DICOM_JSON = "application/dicom+json"
DICOM_XML = "application/dicom+xml"
OCTET_STREAM = "application/octet-stream"
MULTIPART = "multipart/related"

# PS3.18 Table 8.7.3-5: transfer syntax -> media type of its compressed pixel data.
_P = "1.2.840.10008.1.2"
COMPRESSED_TYPES: Mapping[str, str] = {
    **{f"{_P}.4.{n}": "image/jpeg" for n in (*range(50, 67), 70)},
    f"{_P}.5": "image/dicom-rle",
    f"{_P}.4.80": "image/jls",
    f"{_P}.4.81": "image/jls",
    f"{_P}.4.90": "image/jp2",
    f"{_P}.4.91": "image/jp2",
    f"{_P}.4.92": "image/jpx",
    f"{_P}.4.93": "image/jpx",
    **{f"{_P}.4.{n}": "image/jphc" for n in (201, 202, 203)},
    **{f"{_P}.4.{n}": "image/jxl" for n in (110, 111, 112)},
    **{f"{_P}.4.{n}{part}": "video/mpeg" for n in (100, 101) for part in ("", ".1")},
    **{f"{_P}.4.{n}{part}": "video/mp4" for n in (102, 103, 104, 105, 106) for part in ("", ".1")},
    **{f"{_P}.4.{n}": "video/mp4" for n in (107, 108)},
}

# The same table: media type -> its default transfer syntax, which loses nothing.
DEFAULT_SYNTAXES: Mapping[str, str] = {
    "image/jpeg": f"{_P}.4.70",
    "image/dicom-rle": f"{_P}.5",
    "image/jls": f"{_P}.4.80",
    "image/jp2": f"{_P}.4.90",
    "image/jphc": f"{_P}.4.201",
    "image/jxl": f"{_P}.4.110",
}

_REMEMBERED_CHARACTERS = 1_000  # of an `Accept` or `Content-Type` that is remembered; browsers send some 150
_UNENCODED_PLUS = re.compile(r"(?<=\w) (?=\w)")  # `accept=application/dicom+json`, as people type it
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"\Z')


@dataclass(frozen=True, slots=True)
class MediaType:
    """One media type or range: `type` in lower case, its parameters by lower-case name."""

    type: str
    parameters: Mapping[str, str] = field(default_factory=dict)
    q: float = 1.0
    but: tuple[str, ...] = ()  # ranges within this one that the client wants otherwise, or not at all

    @property
    def multipart(self) -> bool:
        return self.type in (MULTIPART, "multipart/*")

    @property
    def root(self) -> str:
        """The media type of the parts, or the type itself when it isn't multipart."""
        return self.parameters.get("type", "*/*").lower() if self.multipart else self.type

    @property
    def syntax(self) -> str | None:
        return self.parameters.get("transfer-syntax")

    def covers(self, type_: str) -> bool:
        """Whether a media type, of the parts where it is multipart, is one of those meant here."""
        return _covers(self.root, type_) and not any(_covers(other, type_) for other in self.but)


@dataclass(frozen=True, slots=True)
class Offer:
    """What can be answered: a media type in a transfer syntax ("": it has none), `stored` when nothing
    is changed.
    """

    type: str
    syntax: str
    stored: bool = True
    default: bool = False  # taken where no transfer syntax is named

    @property
    def media_type(self) -> str:
        """As parts are labelled with it."""
        return f"{self.type};transfer-syntax={self.syntax}" if self.syntax else self.type


@dataclass(frozen=True, slots=True)
class Choice:
    offer: Offer
    multipart: bool


def _outside_quotes(text: str, mark: str) -> list[str]:
    if '"' not in text:
        return text.split(mark)
    parts: list[str] = []
    current: list[str] = []
    quoted = escaped = False
    for character in text:
        if escaped:
            escaped = False
        elif quoted and character == "\\":
            escaped = True
        elif character == '"':
            quoted = not quoted
        elif character == mark and not quoted:
            parts.append("".join(current))
            current = []
            continue
        current.append(character)
    parts.append("".join(current))
    return parts


def _value(text: str) -> str:
    text = text.strip()
    match = _QUOTED.match(text)
    return re.sub(r"\\(.)", r"\1", match[1]) if match else text.strip('"')


def media_type(text: str) -> MediaType:
    """Read one media type with its parameters; `BadRequest` when it is none."""
    return (_remembered_type if len(text) <= _REMEMBERED_CHARACTERS else _read_type)(text)


def _read_type(text: str) -> MediaType:
    head, *rest = _outside_quotes(text, ";")
    name = head.strip().lower()
    if name.count("/") != 1 or any(c.isspace() for c in name):
        raise BadRequest(f"{head.strip()[:80]!r} is not a media type")
    parameters: dict[str, str] = {}
    q = 1.0
    for item in rest:
        key, equals, value = item.partition("=")
        key = key.strip().lower()
        if not equals or not key:
            continue
        if key == "q":
            q = _quality(value)
        else:
            parameters.setdefault(key, _value(value))
    return MediaType(name, parameters, q)


def _quality(text: str) -> float:
    try:
        return min(1.0, max(0.0, float(text.strip())))
    except ValueError:
        return 0.0


def accepted(values: Iterable[str], query: Iterable[str] = (), ranges_max: int = 64) -> list[MediaType]:
    """The acceptable media ranges, best first. Invalid ones are ignored (PS3.18 8.7.7), none at all is `*/*`."""
    given = tuple(_UNENCODED_PLUS.sub("+", value) for value in query) or tuple(values)
    known = sum(map(len, given)) <= _REMEMBERED_CHARACTERS
    return list((_remembered if known else _read)(given, ranges_max))


def acceptable(request: Request, ranges_max: int) -> list[MediaType]:
    """What the client takes: the `accept` query parameter goes before the header (PS3.18 8.3.3.1)."""
    query = request.query_params.getlist("accept") if request.scope["query_string"] else ()
    return accepted(request.headers.getlist("accept"), query, ranges_max)


def _read(given: tuple[str, ...], ranges_max: int) -> Sequence[MediaType]:
    texts = [text for value in given for text in _outside_quotes(value, ",") if text.strip()]
    if len(texts) > ranges_max:
        raise BadRequest(f"more than {ranges_max} media ranges to accept (limits.accept_ranges_max)")
    ranges: list[MediaType] = []
    for text in texts:
        try:
            ranges.append(media_type(text))
        except BadRequest:
            continue
    if not texts:
        return [MediaType("*/*")]
    return sorted((_narrowed(r, ranges) for r in ranges if r.q > 0), key=lambda r: -r.q)


def _narrowed(one: MediaType, ranges: Sequence[MediaType]) -> MediaType:
    """A range without the narrower ones, which go before it whatever its quality (RFC 9110 12.5.1)."""
    if "*" not in one.root:
        return one
    narrower = (
        other.root
        for other in ranges
        if other.multipart == one.multipart and other.q < one.q and other.syntax is None
        and other.root != one.root and _covers(one.root, other.root)
    )  # fmt: skip
    return replace(one, but=tuple(narrower))


# A client says the same with each of its requests, and reading it costs more than finding what is asked for.
_remembered = lru_cache(maxsize=256)(_read)
_remembered_type = lru_cache(maxsize=256)(_read_type)


def accepts(ranges: Iterable[MediaType], *types: str) -> str | None:
    """The first of `types` that a range takes, in the order of the ranges."""
    for wanted in ranges:
        for type_ in types:
            if not wanted.multipart and wanted.covers(type_):
                return type_
    return None


def _covers(range_: str, type_: str) -> bool:
    if range_ in (type_, "*/*"):
        return True
    # "image/" is what dicomweb-client means by "image/*".
    return range_.endswith(("/*", "/")) and type_.startswith(range_.rstrip("*"))


def _takes(wanted: MediaType, offer: Offer) -> bool:
    if not wanted.covers(offer.type):
        return False
    syntax = wanted.syntax
    if syntax == ANY_SYNTAX or (syntax is None and wanted.root.endswith(("*", "/"))):  # as stored, if that is meant too
        return offer.stored or offer.syntax == DEFAULT_SYNTAXES.get(offer.type)
    if syntax is None:  # PS3.18 8.7.3: the default is Explicit VR Little Endian, unless the type itself says the codec
        if offer.default or offer.type in (DICOM, OCTET_STREAM):
            return offer.default or offer.syntax == EXPLICIT_LE
        return offer.stored or offer.syntax == DEFAULT_SYNTAXES.get(offer.type)
    return syntax == offer.syntax


def choose(ranges: Iterable[MediaType], offers: Collection[Offer], *, single: bool) -> Choice:
    """The first of `choices`. NotAcceptable says what can be had."""
    first = next(choices(ranges, offers, single=single), None)
    if first is None:
        raise NotAcceptable(f"this is answered as {names(offers)}")
    return first


def names(offers: Iterable[Offer]) -> str:
    """Offers for a person."""
    return ", ".join(dict.fromkeys(offer.media_type for offer in offers))


def names_of_parts(offers: Iterable[Offer]) -> str:
    """Offers of parts for a person."""
    return "multipart/related; type=" + " or ".join(dict.fromkeys(f'"{offer.type}"' for offer in offers))


def choices(ranges: Iterable[MediaType], offers: Iterable[Offer], *, single: bool) -> Iterator[Choice]:
    """The offers that the best range takes, then those of the next; before all ranges of one quality, what is stored
    and named by any of them. Viewers of slides name all that they decode, and mean no order by it.

    `single`: whether a single-part answer is possible. `*/*` gives multipart, the default of PS3.18 10.4.4.
    """
    offers = list(offers)
    stored = [offer for offer in offers if offer.stored]
    for _, group in groupby(ranges, key=lambda wanted: wanted.q):
        alike = list(group)
        for wanted, offer in chain(product(filter(_names, alike), stored), product(alike, offers)):
            if not _takes(wanted, offer):
                continue
            if wanted.multipart or wanted.type == "*/*":
                yield Choice(offer, True)
            elif single:
                yield Choice(offer, False)


def _names(wanted: MediaType) -> bool:
    """Whether a range says what it means; the others are what clients take if there is nothing else."""
    return wanted.syntax != ANY_SYNTAX and not wanted.root.endswith(("*", "/"))
