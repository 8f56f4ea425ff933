"""What workers do to count a file among images (`pixels.census`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sagittal.convert.files import object_in
from sagittal.pixels.census import Seen
from sagittal.workers.worker import Input


def file(inputs: Sequence[Input]) -> dict[str, Any]:
    """`seen`: the fields of `Seen`; and the UIDs of its study and series."""
    image = object_in(inputs[0])
    held, index = image.attributes, image.index
    seen = Seen(
        held.text(0x00080060), image.inflated_from or image.syntax_uid,
        rows=held.integer(0x00280010), columns=held.integer(0x00280011), samples=held.integer(0x00280002, 1),
        bits_allocated=held.integer(0x00280100), bits_stored=held.integer(0x00280101),
        photometric=held.text(0x00280004), frames=image.count or max(held.integer(0x00280008, 1), 1),
        pixel_bytes=index.pixel_bytes if index is not None and not image.inflated_from else 0,
    )  # fmt: skip
    return {"seen": list(seen), "study": held.text(0x0020000D), "series": held.text(0x0020000E)}
