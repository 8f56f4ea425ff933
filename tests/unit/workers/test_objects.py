"""Objects that a worker had lately: found again by all that they are told by, read through the request at work."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import orjson

from sagittal.dicom.frameindex import FrameIndex
from sagittal.dicom.syntaxes import EXPLICIT_LE
from sagittal.pixels.images import Image
from sagittal.workers.objects import Lately, _Source, opened
from sagittal.workers.worker import Input

NUMBERS = {"00280010": 2, "00280011": 2, "00280100": 16, "00280101": 12, "00280102": 11, "00280103": 0, "00280002": 1}
INDEX = FrameIndex("native", 2, 0, 64).encode()


def told(window: int, digest: str) -> tuple[Input, dict[str, Any]]:
    members = {tag: {"vr": "US", "Value": [number]} for tag, number in NUMBERS.items()}
    members |= {"00280008": {"vr": "IS", "Value": [2]}, "7FE00010": {"vr": "OW"}}
    members |= {"00281050": {"vr": "DS", "Value": [window]}}
    part = zlib.compress(orjson.dumps(members))
    kept = Input(-1, 0, len(part) + len(INDEX), part + INDEX)
    return kept, {"digest": digest, "syntax_uid": EXPLICIT_LE, "parts": [len(part)], "index": len(INDEX)}


def pixels(first: int) -> Input:
    data = b"".join(number.to_bytes(2, "little") for number in range(first, first + 8))
    return Input(-1, 0, len(data), data)


def test_an_object_is_read_through_the_request_at_work() -> None:
    kept, how = told(40, "read through")
    image = opened([pixels(0), kept], **how)
    assert image.frame(2).stored.tolist() == [[4, 5], [6, 7]]
    again = opened([pixels(100), kept], **how)  # the same object, by a file that was opened anew
    assert again is image
    assert again.frame(2).stored.tolist() == [[104, 105], [106, 107]]
    assert again.attributes is image.attributes


def test_a_correction_makes_it_another() -> None:
    for digest, window in (("corrected", 40), ("corrected 20240101", 50), ("corrected", 40)):
        kept, how = told(window, digest)
        assert opened([pixels(0), kept], **how).attributes.integer(0x00281050) == window


def test_the_least_used_are_given_up_first() -> None:
    lately, source = Lately(100), _Source(pixels(0))
    images = [Image({}, None, EXPLICIT_LE, source) for _ in range(4)]
    for name in range(3):
        lately.put(name, (images[name], source), 40)
        assert lately.get(0) is not None  # the one used last
    assert [lately.get(name) is not None for name in range(3)] == [True, False, True]
    lately.put(3, (images[3], source), 5 << 20)  # too large to be remembered
    assert lately.get(3) is None
    for name in (4, 5):  # two are, whatever they are together: an image and what lies over it
        lately.put(name, (images[3], source), 90)
    assert [lately.get(name) is not None for name in (0, 2, 4, 5)] == [False, False, True, True]


def test_a_file_is_read_where_its_range_says(tmp_path: Path) -> None:
    (tmp_path / "object").write_bytes(b"head" + bytes(range(16)))
    kept, how = told(40, "in a file")
    with (tmp_path / "object").open("rb") as file:
        image = opened([Input(file.fileno(), 4, 16), kept], **how)
        assert image.frame(1).stored.tolist() == [[0x100, 0x302], [0x504, 0x706]]
