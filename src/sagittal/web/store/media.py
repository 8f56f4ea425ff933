"""Bulk data of a store request by its media type: what it may be the value of, and how pixel data of it is encoded.

PS3.18 8.7.3.3 (Tables 8.7.3-4 and -5) and 10.5.1.1.2. The transfer syntax of a compressed image or video is found by
its own head; a `transfer-syntax` parameter may choose among those that fit. What the metadata says of the pixels must
agree with the head, and what it leaves out is taken from there. PNG images come decoded (`native`); GIF and the like
are refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from sagittal.dicom.models.encode import Bulk, Encapsulated
from sagittal.dicom.models.jsontext import first_text, first_value
from sagittal.dicom.models.members import element
from sagittal.dicom.streams.stills import Still, read_rle, read_still
from sagittal.dicom.streams.videos import read_video
from sagittal.dicom.syntaxes import EXPLICIT_LE, SYNTAXES, syntax
from sagittal.errors import BadRequest, UnsupportedMedia
from sagittal.web.store.bulk import BulkPart, Held
from sagittal.web.store.native import Native
from sagittal.web.wire.accept import OCTET_STREAM

PIXEL_DATA, DOCUMENT = "7FE00010", "00420011"
_STILLS = frozenset({"image/jpeg", "image/jls", "image/jp2", "image/jpx", "image/jph", "image/jphc", "image/jxl"})
_RLE, _VIDEOS = "image/dicom-rle", frozenset({"video/mpeg", "video/mp4", "video/mpeg2", "video/h264", "video/h265"})

# Media types of encapsulated documents, and the SOP classes that hold them (PS3.3 A.45, A.85, A.86, A.104).
_P = "1.2.840.10008.5.1.4.1.1.104."
DOCUMENTS: Mapping[str, str] = {
    "application/pdf": _P + "1",
    "text/xml": _P + "2",
    "application/xml": _P + "2",
    "model/stl": _P + "3",
    "application/sla": _P + "3",
    "model/obj": _P + "4",
    "model/mtl": _P + "5",
}


def plain_value(held: Held, address: str, tag: str, sop_class_uid: str) -> Bulk:
    """Bulk data that is not compressed pixel data."""
    parts = held.named(address)
    if len(parts) > 1:
        raise BadRequest("several parts have the Content-Location of one value")
    part = parts[0]
    if part.type in DOCUMENTS and tag == DOCUMENT:
        if DOCUMENTS[part.type] != sop_class_uid:
            raise BadRequest(f"{part.type} is not what SOP Class {sop_class_uid or 'UID (missing)'} encapsulates")
    elif part.type != OCTET_STREAM:
        raise UnsupportedMedia(f"{part.type[:80]} can't be the value of an element, as {address[:200]!r} is")
    return held.bulk(part)


@dataclass(frozen=True, slots=True)
class Pixels:
    """Pixel data ready to be encoded, its transfer syntax, and the attributes that its head adds."""

    value: Bulk | Encapsulated
    syntax_uid: str
    added: Mapping[str, Any]


def pixels(held: Held, address: str, obj: Mapping[str, Any], native: Native | None = None) -> Pixels:
    """The pixel data of the instance `obj`, whose parts are its frames in order; `native` are those of PNG images."""
    parts = held.named(address)
    kinds = {(part.type, part.parameters.get("transfer-syntax", "")) for part in parts}
    if len(kinds) > 1:
        raise BadRequest("the parts of the pixel data have different media types")
    ((kind, wanted),) = kinds
    if native is not None:
        return _decoded(native, parts, wanted, obj)
    if kind == OCTET_STREAM:
        return _octets(held, parts, wanted, obj)
    if kind in _VIDEOS:
        return _video(held, parts, wanted, obj)
    if kind in _STILLS or kind == _RLE:
        return _images(held, parts, kind, wanted, obj)
    raise UnsupportedMedia(f"pixel data as {kind} is not taken: it would have to be decoded")


def _decoded(native: Native, parts: Sequence[BulkPart], wanted: str, obj: Mapping[str, Any]) -> Pixels:
    """Color comes as RGB, sample by sample; numbers below zero can't."""
    if wanted not in ("", EXPLICIT_LE):
        raise BadRequest("a PNG image has no transfer syntax: it is kept uncompressed, in Explicit VR Little Endian")
    if native.head.samples > 1 and first_text(obj, "00280004") not in ("", "RGB"):
        raise BadRequest(f"Photometric Interpretation {first_text(obj, '00280004')}, but a PNG image of colors is RGB")
    for tag, what in (("00280006", "Planar Configuration"), ("00280103", "Pixel Representation")):
        if _number(obj, tag):
            raise BadRequest(f"{what} is {_number(obj, tag)}, but that of a PNG image is 0")
    added = {**_described(native.head, obj), **_frames(parts, obj)}
    return Pixels(native.bulk(), EXPLICIT_LE, added)


def _octets(held: Held, parts: Sequence[BulkPart], wanted: str, obj: Mapping[str, Any]) -> Pixels:
    uid = wanted or EXPLICIT_LE
    if uid == EXPLICIT_LE:
        if len(parts) > 1 and _number(obj, "00280100") == 1:
            raise BadRequest("frames of single bits come as one part: they don't begin at bytes")
        length = sum(part.length for part in parts)
        if length % 2 and length < (needed := _native_bytes(obj)):  # the byte of padding would be taken for a pixel
            raise BadRequest(f"Pixel Data has {length} bytes where its geometry needs {needed}")
        chunks = (chunk for part in parts for chunk in held.bulk(part).chunks)
        return Pixels(Bulk(length, chunks), uid, {})
    if uid not in SYNTAXES or not syntax(uid).encapsulated:
        raise BadRequest("uncompressed pixel data is taken in Explicit VR Little Endian")
    return Pixels(Encapsulated([held.bulk(part) for part in parts]), uid, _frames(parts, obj))


def _native_bytes(obj: Mapping[str, Any]) -> int:
    """Of all frames without compression, each sample of each pixel there."""
    bits = prod(_number(obj, tag) for tag in ("00280010", "00280011", "00280002", "00280100"))
    return -(-bits * (_number(obj, "00280008") or 1) // 8)


def _video(held: Held, parts: Sequence[BulkPart], wanted: str, obj: Mapping[str, Any]) -> Pixels:
    if len(parts) > 1:
        raise BadRequest("a video comes as one part")
    found = read_video(held.reader(parts[0]), parts[0].length)
    added = _agreed(obj, {"00280010": found.rows, "00280011": found.columns, "00280002": 3, "00280100": 8})
    if not _number(obj, "00280008"):
        raise BadRequest("Number of Frames (0028,0008) is missing: it is not told by the head of a video")
    return Pixels(Encapsulated([held.bulk(parts[0])]), _chosen(found.syntaxes, wanted), added)


def _images(held: Held, parts: Sequence[BulkPart], kind: str, wanted: str, obj: Mapping[str, Any]) -> Pixels:
    fragments, heads = [], []
    for part in parts:
        found = (read_rle if kind == _RLE else read_still)(held.reader(part), part.length)
        if kind == _RLE:
            _check_segments(found, obj)
        heads.append(found)
        fragments.append(held.bulk(part, found.start, found.length))
    first = heads[0]
    if len({(head.rows, head.columns, head.samples, head.bits) for head in heads}) > 1:
        raise BadRequest("the frames differ in size, samples or bits")
    # A syntax that takes every frame: one that is lossy makes them all so.
    common = [uid for uid in first.syntaxes if all(uid in head.syntaxes for head in heads)]
    common += [
        uid for head in heads for uid in head.syntaxes if uid not in common and all(uid in h.syntaxes for h in heads)
    ]
    if not common:
        raise BadRequest("no transfer syntax takes all of the frames")
    added = {} if kind == _RLE else _described(first, obj)
    return Pixels(Encapsulated(fragments), _chosen(common, wanted), {**added, **_frames(parts, obj)})


def _chosen(fitting: Sequence[str], wanted: str) -> str:
    if wanted and wanted not in fitting:
        raise BadRequest(f"the compressed stream does not fit transfer syntax {wanted}; it fits {' or '.join(fitting)}")
    return wanted or fitting[0]


def _check_segments(found: Still, obj: Mapping[str, Any]) -> None:
    """PS3.5 G.2: a segment for each byte of each sample."""
    samples, bits = _number(obj, "00280002"), _number(obj, "00280100")
    if found.samples != samples * -(-bits // 8):
        raise BadRequest(f"{found.samples} RLE segments for {samples} samples of {bits} bits")


def _described(found: Still, obj: Mapping[str, Any]) -> dict[str, Any]:
    """Attributes of the Image Pixel Description Macro that the head adds; BadRequest where it says otherwise."""
    facts = {"00280010": found.rows, "00280011": found.columns, "00280002": found.samples}
    if not found.samples:  # JPEG XL: not read here
        return _agreed(obj, facts)
    whole = -(-found.bits // 8) * 8
    if not (found.bits == 1 == _number(obj, "00280100")):
        facts["00280100"] = whole
    added = _agreed(obj, facts)
    for tag, value in (("00280101", found.bits), ("00280102", (_number(obj, "00280101") or found.bits) - 1)):
        if not _number(obj, tag) and value:
            added[tag] = element("US", value)
    if "00280103" not in obj:
        added["00280103"] = element("US", 0)
    if found.samples > 1 and "00280006" not in obj:
        added["00280006"] = element("US", 0)
    said = first_text(obj, "00280004")
    if not said:
        added["00280004"] = element("CS", found.photometric)
    elif (found.samples == 1) != (said in ("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR")):
        raise BadRequest(f"Photometric Interpretation {said} for an image of {found.samples} samples")
    elif said in ("YBR_RCT", "YBR_ICT") and found.photometric != said:
        raise BadRequest(f"Photometric Interpretation {said}, but the stream has {found.photometric}")
    return added


def _agreed(obj: Mapping[str, Any], facts: Mapping[str, int]) -> dict[str, Any]:
    """The facts that `obj` does not have; BadRequest where it has another."""
    added: dict[str, Any] = {}
    for tag, fact in facts.items():
        if not fact:
            continue
        said = _number(obj, tag)
        if said and said != fact:
            raise BadRequest(f"({tag[:4]},{tag[4:]}) is {said}, but the head of the stream says {fact}")
        if not said:
            added[tag] = element("US", fact)
    return added


def _frames(parts: Sequence[BulkPart], obj: Mapping[str, Any]) -> dict[str, Any]:
    said = _number(obj, "00280008")
    if (said or 1) == len(parts):
        return {}
    if said:
        raise BadRequest(f"{len(parts)} parts for {said} frames")
    return {"00280008": element("IS", len(parts))}


def _number(obj: Mapping[str, Any], tag: str) -> int:
    """A whole number of the metadata; 0 when it is missing or none."""
    try:
        return int(float(first_value(obj, tag) or 0))
    except (TypeError, ValueError, OverflowError):
        return 0
