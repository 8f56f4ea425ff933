"""What a request for a rendered resource asks for: PS3.18 8.3.5 (query parameters) and 8.7.4 (media types).

A parameter that is given twice, empty or out of bounds is a bad request; one that is not known is ignored. Names are
those of the RESTful services; WADO-URI has others, and makes an `Asked` of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from starlette.datastructures import QueryParams

from sagittal.errors import BadRequest, NotAcceptable
from sagittal.web.wire.accept import MediaType, accepted, accepts

if TYPE_CHECKING:
    from starlette.requests import Request

ANNOTATIONS = frozenset({"patient", "technique"})
PROFILES = ("no", "yes", "srgb", "adobergb", "rommrgb")
FUNCTIONS = {"linear": "LINEAR", "linear-exact": "LINEAR_EXACT", "sigmoid": "SIGMOID"}
SIDE_MAX = 16_384
_REMEMBERED = 64  # questions understood already; each of at most `request_line_and_headers_bytes_max`
SMALL = ("image/jpeg", "image/png", "image/webp", "image/gif")
STILL = ("image/jpeg", "image/png", "image/gif", "image/webp", "image/jxl", "image/jp2")
PARAMETERS = ("annotation", "window", "viewport", "iccprofile", "quality", "presentationUID")
MOVING = ("image/gif", "image/webp", "video/mp4")


@dataclass(frozen=True, slots=True)
class Asked:
    """The parameters, checked, as the workers take them."""

    options: Mapping[str, Any] = field(default_factory=dict)  # of `pixels.rendering.render.Options`, as JSON
    quality: int | None = None
    state_uid: str = ""  # a presentation state to apply
    key: str = field(init=False)  # the same for the same picture

    def __post_init__(self) -> None:
        object.__setattr__(self, "key", repr((sorted(self.options.items()), self.quality, self.state_uid)))


def asked(request: Request) -> Asked:
    """Read the query parameters of a rendered resource. BadRequest."""
    return _read(request.scope["query_string"])


@lru_cache(maxsize=_REMEMBERED)
def _read(query: bytes) -> Asked:
    given = QueryParams(query)
    options: dict[str, Any] = {}
    if text := _one(given, "annotation"):
        options["annotations"] = annotation(text)
    if text := _one(given, "window"):
        options["window"] = window(text)
    if text := _one(given, "viewport"):
        options["viewport"] = viewport(text)
    if text := _one(given, "iccprofile"):
        if text not in PROFILES:
            raise BadRequest(f"iccprofile is one of {', '.join(PROFILES)}")
        options["profile"] = text
    return Asked(options, _quality(_one(given, "quality")), _one(given, "presentationUID"))


def _one(given: QueryParams, name: str) -> str:
    values = given.getlist(name)
    if len(values) > 1:
        raise BadRequest(f"{name} is given more than once")
    if values and not values[0].strip():
        raise BadRequest(f"{name} is empty")
    return values[0].strip() if values else ""


def annotation(text: str) -> list[str]:
    """Some of `ANNOTATIONS` (8.3.5.1.1)."""
    wanted = {part.strip().lower() for part in text.split(",")}
    if wanted - ANNOTATIONS:
        raise BadRequest(f"annotation is of {', '.join(sorted(ANNOTATIONS))}")
    return sorted(wanted)


def window(text: str) -> list[Any]:
    """`center,width` or `center,width,function` (8.3.5.1.2)."""
    parts = [part.strip() for part in text.split(",")]
    function = parts[2].lower().replace("_", "-") if len(parts) == 3 else "linear"
    try:
        center, width = float(parts[0]), float(parts[1])
        if len(parts) > 3 or not (abs(center) < 1e30 and width < 1e30) or function not in FUNCTIONS:
            raise ValueError
    except (ValueError, IndexError):
        raise BadRequest(f"window is center,width or center,width,function of {', '.join(FUNCTIONS)}") from None
    if width < (1 if function == "linear" else 1e-30):
        raise BadRequest("the window width is at least 1 for linear, and more than 0 for the others")
    return [center, width, FUNCTIONS[function]]


def viewport(text: str) -> list[Any]:
    """`vw,vh` or `vw,vh,sx,sy,sw,sh`, the last four perhaps empty (8.3.5.1.3)."""
    parts = [part.strip() for part in text.split(",")]
    try:
        if len(parts) not in (2, 6):
            raise ValueError
        width, height = int(parts[0]), int(parts[1])
        left, top, wide, high = (float(part) if part else None for part in (parts[2:] or [""] * 4))
    except ValueError:
        raise BadRequest("viewport is vw,vh or vw,vh,sx,sy,sw,sh") from None
    if not (0 < width <= SIDE_MAX and 0 < height <= SIDE_MAX):
        raise BadRequest(f"the viewport's sides are 1 to {SIDE_MAX} pixels")
    if wide == 0 or high == 0 or any(n is not None and not abs(n) < 1e9 for n in (left, top, wide, high)):
        raise BadRequest("the viewport shows no region of the image")
    return [width, height, left or 0.0, top or 0.0, wide, high]


def _quality(text: str) -> int | None:
    if not text:
        return None
    if not (text.isascii() and text.isdigit()) or not 1 <= int(text[:9]) <= 100:
        raise BadRequest("quality is a number from 1 to 100")
    return int(text)


def choice(request: Request, offers: tuple[str, ...], what: str, ranges_max: int) -> tuple[str, bool]:
    """`chosen` by what the client takes: the query parameter before the header."""
    accept = tuple(value for name, value in request.scope["headers"] if name == b"accept")
    return _chosen(accept, request.scope["query_string"], offers, what, ranges_max)


@lru_cache(maxsize=_REMEMBERED)
def _chosen(
    accept: tuple[bytes, ...], query: bytes, offers: tuple[str, ...], what: str, ranges_max: int
) -> tuple[str, bool]:
    named = QueryParams(query).getlist("accept")
    return chosen(accepted([value.decode("latin-1") for value in accept], named, ranges_max), offers, what)


def chosen(ranges: Sequence[MediaType], offers: Sequence[str], what: str) -> tuple[str, bool]:
    """The media type to answer with, and whether as parts. NotAcceptable names what there is."""
    if not offers:
        raise NotAcceptable(what)
    singles = [wanted for wanted in ranges if not wanted.multipart]
    if (type_ := accepts(singles, *offers)) is not None:
        return type_, False
    roots = [replace(wanted, type=wanted.root) for wanted in ranges if wanted.multipart]
    if (type_ := accepts(roots, *offers)) is not None:
        return type_, True
    raise NotAcceptable(f"{what} is rendered as {', '.join(offers)}")
