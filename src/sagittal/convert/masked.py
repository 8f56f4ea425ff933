"""What workers do to set rectangles of a file's pixels: `inputs[0]` into the file of `inputs[1]`.

A lossless syntax is kept. A lossy one (or one that may be either) becomes Explicit VR Little Endian, so that nothing is
lost twice, unless it is asked for again. Deliberately not here: where files go.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sagittal.convert.files import object_in
from sagittal.convert.transcoded import SOP_CLASS, SOP_INSTANCE, write
from sagittal.dicom.part10 import meta_group
from sagittal.dicom.syntaxes import EXPLICIT_LE, syntax
from sagittal.errors import NotAcceptable
from sagittal.pixels.codecs import encodes
from sagittal.pixels.codecs.interface import Options
from sagittal.pixels.masking import Masking, Rectangle
from sagittal.workers.worker import Input


def file(
    inputs: Sequence[Input], rectangles: list[list[int]], value: float | None = None, lossy: str = "native",
    instance_uid: str = "",
) -> dict[str, Any]:  # fmt: skip
    """`lossy`: what happens to lossy syntaxes, "native", "again" or "refuse"."""
    image = object_in(inputs[0])
    to_syntax = _target(image.inflated_from or image.syntax_uid, lossy)
    options = Options(reversible=lossy != "again")
    asked = [Rectangle(*each) for each in rectangles]
    made = Masking(image, image.chunks, to_syntax, asked, value, options, instance_uid)
    uid = instance_uid or image.attributes.text(SOP_INSTANCE)
    write(made, inputs[1].fd, verify=False, head=meta_group(image.attributes.text(SOP_CLASS), uid, to_syntax))
    return {"sop_instance_uid": uid, "transfer_syntax_uid": to_syntax}


def _target(syntax_uid: str, lossy: str) -> str:
    stored = syntax(syntax_uid)
    if stored.video:
        raise NotAcceptable("a video can't be masked frame by frame")
    if stored.lossless:
        return syntax_uid if encodes(syntax_uid) else EXPLICIT_LE
    if lossy == "refuse":
        raise NotAcceptable(f"{stored.name} is lossy")
    if lossy == "again" and not encodes(syntax_uid):
        raise NotAcceptable(f"{stored.name} can be decoded here, not encoded")
    return syntax_uid if lossy == "again" else EXPLICIT_LE
