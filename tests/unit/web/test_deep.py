"""An object as deep as the reader lets in (limits.depth_max) is answered by every way that shows data sets."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from archived import answers, instance_of
from builders import Built, build

from sagittal.limits import ReaderLimits

DEPTH = ReaderLimits().depth_max
XML = 'multipart/related; type="application/dicom+xml"'


def deep() -> Built:
    held = build(1)
    opened = b"\x40\x00\x30\xa7SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff" * DEPTH
    closed = b"\xfe\xff\x0d\xe0\0\0\0\0\xfe\xff\xdd\xe0\0\0\0\0" * DEPTH
    at = held.data.index(b"\xe0\x7f\x10\x00")
    return replace(held, data=held.data[:at] + opened + closed + held.data[at:])


def test_a_deep_object_is_answered(tmp_path: Path) -> None:
    """orjson writes 254 levels, a sequence takes three: one such object made searches for every attribute fail."""
    held = deep()
    search = "/dicom-web/instances?includefield="
    metadata, *others = answers(
        tmp_path,
        [held, build(2)],
        (instance_of(held) + "/metadata", {}),
        (search + "all", {}),
        (search + "ContentSequence", {}),
        (search + "all", {"accept": XML}),
        (search + "all", {"accept": "text/csv"}),
        (instance_of(held) + "/metadata", {"accept": XML}),
        (instance_of(held), {"accept": "application/dicom"}),
    )
    assert [answer.status_code for answer in others] == [200] * len(others)
    told = metadata.json()[0]["0040A730"]
    for answer in others[:2]:
        assert told in [row.get("0040A730") for row in answer.json()]
    for answer in others[2:5]:
        assert answer.text.count("0040A730") >= DEPTH - 1  # CSV names the outermost in its head
