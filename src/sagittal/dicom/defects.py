"""THE POLICY TABLE: what is wrong with bytes, and what is done about it (PS3.4 B.2.3, PS3.18 I.2).

One line a defect. refuse: the object isn't stored, and the statuses are what its sender gets. warn: it is stored exactly as
received, and the name is kept with it. Structure that can be read in one way only is tolerated; structure that two readers
would read differently is refused. `limit-exceeded` stands for every limit of `limits.ReaderLimits`.
"""

# ruff: noqa: E501  (one line a row)

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple


class Policy(NamedTuple):
    """One row."""

    action: Literal["refuse", "warn"]
    dimse_status: int
    http_status: int
    text: str


_CANNOT_UNDERSTAND = 0xC000
_DOES_NOT_MATCH = 0xA900  # Data Set does not match SOP Class (Error)
_OUT_OF_RESOURCES = 0xA700


def _refuse(text: str, status: int = _CANNOT_UNDERSTAND, http: int = 409) -> Policy:
    return Policy("refuse", status, http, text)


def _warn(text: str) -> Policy:
    return Policy("warn", 0x0000, 200, text)


POLICY: Mapping[str, Policy] = {
    # Structure (PS3.5 7), refused
    "truncated": _refuse("the data set ends inside an element, an item or a deflate stream"),
    "length-over-long": _refuse("an element or item is longer than the item or sequence that it is in"),
    "length-undefined": _refuse("a value of undefined length that is neither a sequence nor encapsulated"),
    "item-expected": _refuse("something else where a sequence or encapsulated data has its next item"),
    "item-stray": _refuse("an item outside a sequence"),
    "delimiter-missing": _refuse("a sequence or item of undefined length isn't ended"),
    "padding-not-zero": _refuse("the data set goes on after zeros"),
    "deflate-invalid": _refuse("the deflate stream is damaged"),
    "pixel-data-short": _refuse("Pixel Data is shorter than its geometry needs, or has fewer fragments than frames"),
    "limit-exceeded": _refuse("the data set costs more than a limit allows", _OUT_OF_RESOURCES, 413),
    # The file around the data set (PS3.10), refused
    "not-dicom": _refuse("no DICOM file and no data set"),
    "empty": _refuse("an empty data set"),
    "syntax-missing": _refuse("no Transfer Syntax UID, and the data set doesn't show which"),
    # The file around the data set, read all the same
    "no-preamble": _warn("a file without preamble and prefix"),
    "no-meta": _warn("a file without meta group; its transfer syntax is the one that its first element shows"),
    "meta-length-missing": _warn("a meta group without (0002,0000)"),
    "meta-length-wrong": _warn("(0002,0000) isn't the length of the meta group; its elements count"),
    "meta-not-explicit-le": _warn("a meta group that isn't in Explicit VR Little Endian"),
    "meta-duplicate": _warn("an element of the meta group comes twice; the first counts"),
    "syntax-guessed": _warn("no Transfer Syntax UID, or none that is one; it is the one that the first element shows"),
    "syntax-wrong": _warn(
        "the first element shows another uncompressed transfer syntax than meta group or context say; it counts"
    ),
    # Identity (PS3.4 B.2.3), refused by the archive
    "sop-class-uid-missing": _refuse(
        "no SOP Class UID: neither (0008,0016), nor the command or meta group", _DOES_NOT_MATCH
    ),
    "sop-instance-uid-missing": _refuse("SOP Instance UID (0008,0018) is missing or empty", _DOES_NOT_MATCH),
    "study-instance-uid-missing": _refuse("Study Instance UID (0020,000D) is missing or empty", _DOES_NOT_MATCH),
    "series-instance-uid-missing": _refuse("Series Instance UID (0020,000E) is missing or empty", _DOES_NOT_MATCH),
    "uid-missing": _refuse("a file without SOP Class UID or SOP Instance UID", _DOES_NOT_MATCH),
    "uid-invalid": _refuse("a UID that identifies the instance or its class isn't a UID (PS3.5 9.1)", _DOES_NOT_MATCH),
    "uid-mismatch": _refuse(
        "a UID differs from the one in the command; that of a meta group may differ", _DOES_NOT_MATCH
    ),
    # Encoding that can be read in one way, stored
    "odd-length": _warn("a value of odd length"),
    "trailing-padding": _warn("zeros after the last element, or bytes after the deflate stream"),
    "vr-mismatch": _warn("an element has another VR than PS3.6 gives it"),
    "vr-unknown": _warn("a VR that PS3.5 doesn't know, read as UN"),
    "vr-missing": _warn("an element without a VR in an explicit VR data set, read as implicit"),
    "tag-order": _warn("elements aren't in ascending order"),
    "element-duplicate": _warn("an element comes twice in a row; the last counts"),
    "group-stray": _warn("elements of group 0000 or 0002 inside the data set; they are ignored"),
    "delimiter-stray": _warn("a delimiter where nothing is to be ended; it is ignored"),
    "delimiter-length": _warn("a delimiter with a length; the length is ignored"),
    # Values, stored
    "charset-misspelt": _warn("Specific Character Set has a misspelt defined term"),
    "charset-unknown": _warn("Specific Character Set has a term that isn't defined"),
    "text-undecodable": _warn("text with bytes that its character set doesn't have"),
    "number-invalid": _warn("a DS or IS value that is no number"),
    "value-length-uneven": _warn("a value's length is no multiple of what one number takes"),
    "value-too-long": _warn("an attribute that the index wants is too long for it"),
    "number-of-frames-invalid": _warn("Number of Frames is no positive number; taken as 1"),
    "patient-id-missing": _warn("Patient ID is missing or empty"),
    # Pixel data, stored
    "pixel-data-long": _warn("Pixel Data is longer than its geometry needs, or has more code streams than frames"),
    "pixel-geometry-missing": _warn("Pixel Data without Rows, Columns or Bits Allocated: no frame index"),
    "pixel-data-encapsulated": _warn("encapsulated Pixel Data in a transfer syntax that has none: no frame index"),
    "pixel-data-not-encapsulated": _warn("native Pixel Data in a transfer syntax that has none: no frame index"),
    "pixel-data-delimiter-missing": _warn("the data set ends after the last fragment, without the delimiter"),
    "offset-table-invalid": _warn("an offset table doesn't fit the fragments; it is ignored"),
    "frames-undetermined": _warn("which fragment belongs to which frame can't be told: no frame index"),
}


def policy(defect: str) -> Policy:
    """The row of a defect. An unknown name is a mistake of this program, and raises KeyError."""
    return POLICY[defect]
