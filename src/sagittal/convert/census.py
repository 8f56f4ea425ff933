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
        held.text("Modality"), image.inflated_from or image.syntax_uid,
        rows=held.integer("Rows"), columns=held.integer("Columns"), samples=held.integer("SamplesPerPixel", 1),
        bits_allocated=held.integer("BitsAllocated"), bits_stored=held.integer("BitsStored"),
        photometric=held.text("PhotometricInterpretation"),
        frames=image.count or max(held.integer("NumberOfFrames", 1), 1),
        pixel_bytes=index.pixel_bytes if index is not None and not image.inflated_from else 0,
    )  # fmt: skip
    return {"seen": list(seen), "study": held.text("StudyInstanceUID"), "series": held.text("SeriesInstanceUID")}
