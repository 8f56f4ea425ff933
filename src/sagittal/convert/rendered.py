"""What workers do for /rendered and /thumbnail: one call, one picture or document (PS3.18 8.3.5).

Arguments are what JSON has; options were read and checked by whoever asks. Deliberately not here: which media type a
client wants, and which of many instances stands for them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from sagittal.convert import documents, waveform
from sagittal.convert.overlaid import film, shown_frame
from sagittal.convert.reports.media import MAKERS
from sagittal.errors import BadRequest, NotAcceptable, SagittalError
from sagittal.pixels.films import seconds_each
from sagittal.pixels.images import Image
from sagittal.pixels.lettering import fonts
from sagittal.pixels.rendering import pictures
from sagittal.pixels.rendering.attributes import Attributes
from sagittal.pixels.rendering.geometry import AREA_MAX, Viewport
from sagittal.pixels.rendering.grayscale import Window
from sagittal.pixels.rendering.over import regions
from sagittal.pixels.rendering.render import Options, Picture
from sagittal.workers.objects import opened
from sagittal.workers.worker import Input

Told = dict[str, Any]
_INPUTS = 2  # of one object


def still(
    inputs: Sequence[Input], objects: list[Told], frame: int, media_type: str, options: Told, quality: int | None = None
) -> bytes:
    """A frame of the first object; the second, if there is one, is a presentation state, a structure set or a
    segmentation over it.
    """
    image, over = _objects(inputs, objects)
    shown, profile = _shown(image, over, frame, options_of(options))
    return pictures.picture(media_type, shown, quality, profile)


def stills(
    inputs: Sequence[Input], objects: list[Told], frames: list[int], media_type: str, options: Told,
    quality: int | None = None,
) -> tuple[Told, bytes]:  # fmt: skip
    """Frames of the first object, a picture each, in the order of `frames`; `lengths` tells where each ends."""
    image, over = _objects(inputs, objects)
    asked, made = options_of(options), {}
    for frame in image.frames(sorted(frames)):  # a video has them in that order alone
        shown, profile = shown_frame(image, over, frame, asked)
        made[frame.number] = pictures.picture(media_type, shown, quality, profile)
    ordered = [made[number] for number in frames]
    return {"lengths": [len(each) for each in ordered]}, b"".join(ordered)


def several(inputs: Sequence[Input], objects: list[Told], of_each: str, **arguments: Any) -> tuple[Told, bytes]:
    """What `still` or `thumbnail` makes of the first frame of each object, alone; `lengths` as of `stills`, 0 of one
    that it can't be made of.
    """
    calls: dict[str, Callable[..., bytes]] = {"still": still, "thumbnail": thumbnail}
    make, made = calls[of_each], []
    for n, told in enumerate(objects):
        try:
            made.append(make(inputs[n * _INPUTS : (n + 1) * _INPUTS], [told], frame=1, **arguments))
        except SagittalError:  # told to who asks for that one
            made.append(b"")
    return {"lengths": [len(each) for each in made]}, b"".join(made)


def moving(
    inputs: Sequence[Input], objects: list[Told], frames: list[int], media_type: str, options: Told,
    quality: int | None = None,
) -> bytes:  # fmt: skip
    """Frames of the first object one after another, at the speed that it says."""
    image, over = _objects(inputs, objects)
    asked = options_of(options)
    if not image.count:
        raise NotAcceptable("the object has no frames to render")
    ordered = sorted(frames)
    seconds = seconds_each(image.attributes, ordered)
    return pictures.moving(media_type, film(image, over, ordered, asked), seconds, quality)


def thumbnail(inputs: Sequence[Input], objects: list[Told], frame: int, media_type: str, side: int) -> bytes:
    """A small picture that fits into a square; of an object without one, the kind it is of, in words."""
    if side * side > AREA_MAX:
        raise BadRequest(f"a thumbnail of {side} by {side} has more than {AREA_MAX} pixels: ask for a smaller one")
    image, over = _objects(inputs, objects)
    try:
        shown, _ = _shown(image, over, frame, Options(viewport=Viewport(side, side)))
    except SagittalError:
        shown = _card(image.attributes, side)
    return pictures.picture(media_type, shown, 80)


def document(inputs: Sequence[Input], objects: list[Told], media_type: str, links: dict[str, str]) -> bytes:
    """A report, or a waveform as image/svg+xml. `links`: SOP Instance UID → address."""
    image, _ = _objects(inputs, objects)
    if (make := MAKERS.get(media_type)) is not None:
        return make(image.attributes, lambda sop_class, uid: links.get(uid, ""))
    return waveform.svg(image.attributes).encode()


def encapsulated(inputs: Sequence[Input], objects: list[Told]) -> bytes:
    """The document that the object encapsulates, without padding."""
    image, _ = _objects(inputs, objects)
    return documents.document(image.attributes)


def references(inputs: Sequence[Input], objects: list[Told], frame: int = 0) -> Told:
    """The images that a presentation state, a structure set, a segmentation or a report refers to.

    `frame`: of a segmentation, the one whose images are wanted; 0: those of all, that with the most on it first.
    """
    from sagittal.pixels.rendering import states

    image, _ = _objects(inputs, objects)
    held = image.attributes
    if held.text("SOPClassUID") in states.STATES:
        found = [(each.sop_instance_uid, list(each.frames)) for each in states.references(held)]
    elif held.text("SOPClassUID") in (regions.RT_STRUCTURE_SET, *regions.SEGMENTATIONS):
        named = (regions.sources(held, frame) if frame else []) or regions.referenced_images(held)
        found = [(each.uid, list(each.frames)) for each in named]
    else:
        found = [(uid, []) for uid in _reported(held)]
    return {"images": found}


def _objects(inputs: Sequence[Input], objects: list[Told]) -> tuple[Image, Image | None]:
    made = [opened(inputs[n * _INPUTS : (n + 1) * _INPUTS], **told) for n, told in enumerate(objects)]
    return made[0], made[1] if len(made) > 1 else None


def options_of(told: Told) -> Options:
    """Options as JSON has them: windows and viewports as lists."""
    asked = dict(told)
    for name, kind in (("window", Window), ("viewport", Viewport)):
        if asked.get(name) is not None:
            asked[name] = kind(*asked[name])
    asked["annotations"] = frozenset(asked.get("annotations", ()))
    return Options(**asked)


def _shown(image: Image, over: Image | None, number: int, options: Options) -> tuple[Picture, bytes | None]:
    if not image.count:
        raise NotAcceptable("the object has no frames to render")
    return shown_frame(image, over, image.frame(number), options)


def _card(held: Attributes, side: int) -> Picture:
    from PIL import Image as Canvas
    from PIL import ImageDraw

    canvas = Canvas.new("L", (side, side), 40)
    draw = ImageDraw.Draw(canvas)
    font = fonts.regular(max(10, side // 4))
    draw.text((side / 2, side / 2), fonts.composed(held.text("Modality")[:8]) or "?", 220, font, anchor="mm")
    return np.asarray(canvas)


def _reported(held: Attributes) -> list[str]:
    """Every SOP Instance UID that the content of a report refers to, once."""
    found: dict[str, None] = {}
    below = [held]
    while below:
        item = below.pop()
        found.update((each.text("ReferencedSOPInstanceUID"), None) for each in item.items("ReferencedSOPSequence"))
        below += item.items("ContentSequence")
    return [uid for uid in found if uid]
