"""What objects are rendered as: by SOP class and transfer syntax to a row of one table (PS3.18 8.7.4).

Deliberately not here: rendering.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from sagittal.convert import documents
from sagittal.dicom.sopclasses import WITHOUT_PIXELS, is_report, is_waveform
from sagittal.dicom.syntaxes import syntax
from sagittal.web.render.asked import MOVING, STILL
from sagittal.web.wire.accept import COMPRESSED_TYPES

if TYPE_CHECKING:
    from sagittal.archive.references import InstanceRef

_STORAGE = "1.2.840.10008.5.1.4.1.1."


class Kind(NamedTuple):
    """How an object is rendered, and the media types it can be had as, the default first."""

    name: str  # image, over (over images that it refers to), report, waveform, document, video, refused
    types: tuple[str, ...]
    what: str  # for a person


IMAGE = Kind("image", STILL, "an image")
MOVIE = Kind("image", tuple(dict.fromkeys(STILL + MOVING)), "an image of several frames")
FRAME = Kind("image", STILL, "a frame of a video")
REPORT = Kind("report", ("text/html", "text/plain", "application/pdf"), "a report")
WAVEFORM = Kind("waveform", ("image/svg+xml",), "a waveform")
OVER = Kind("over", STILL, "what lies over an image")
_SEGMENTATIONS = frozenset(_STORAGE + tail for tail in ("66.4", "66.7"))
_OVER = _SEGMENTATIONS | {_STORAGE + tail for tail in ("11.1", "11.2", "11.3", "481.3")}
_DOCUMENTS = {
    sop_class: Kind("document", (held.media_type,), held.what) for sop_class, held in documents.DOCUMENTS.items()
}
DOCUMENTS = tuple(kind.types[0] for kind in _DOCUMENTS.values())


def shown_alone(ref: InstanceRef) -> bool:
    """Whether what lies over an image can be shown without it: it has frames, if only one that nobody counted."""
    return ref.sop_class_uid in _SEGMENTATIONS


def kind_of(ref: InstanceRef) -> Kind:
    """The row of an instance. Classes that nobody knows are taken for images: whether they are shows in decoding."""
    sop_class = ref.sop_class_uid
    if sop_class in _DOCUMENTS:
        return _DOCUMENTS[sop_class]
    if sop_class in WITHOUT_PIXELS:
        return Kind("refused", (), f"what {WITHOUT_PIXELS[sop_class]} is not rendered")
    if sop_class in _OVER:
        return OVER
    if is_report(sop_class):
        return REPORT
    if is_waveform(sop_class):
        return WAVEFORM
    if syntax(ref.syntax_uid).video:
        own = COMPRESSED_TYPES.get(ref.syntax_uid, "video/mp4")  # it is its own rendering, and goes first
        return Kind("video", (own, *(each for each in STILL + MOVING if each != own)), "a video")
    return MOVIE if (ref.frames or 1) > 1 else IMAGE


def frame_kind(ref: InstanceRef) -> Kind:
    """How a frame is rendered: one of a video as an image."""
    kind = kind_of(ref)
    return FRAME if kind.name == "video" else kind


def content_type(kind: Kind, media_type: str) -> str:
    """What an answer says that it is. Reports are written here; a document says itself what characters it has."""
    return f"{media_type}; charset=utf-8" if kind is REPORT and media_type.startswith("text/") else media_type
