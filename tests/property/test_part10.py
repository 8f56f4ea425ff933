"""Any split of the bytes gives the same head; garbage raises only declared errors."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sagittal.dicom.part10 import Part10Head, meta_group
from sagittal.dicom.syntaxes import DEFLATED_LE, EXPLICIT_BE, EXPLICIT_LE, IMPLICIT_LE
from sagittal.errors import LimitExceeded, Malformed
from sagittal.limits import ReaderLimits

LIMITS = ReaderLimits(meta_group_bytes_max=600)
UIDS = st.sampled_from([IMPLICIT_LE, EXPLICIT_LE, EXPLICIT_BE, DEFLATED_LE, "1.2.840.10008.1.2.4.50", "1.2.3.4"])
FIRST = st.sampled_from(
    [b"\x08\0\x16\0UI\x04\x00", b"\x08\0\x16\0\x04\0\0\0", b"\0\x08\0\x16UI\x00\x04", b"", b"\x02\0"]
)


def outcome(data: bytes, cuts: list[int]) -> object:
    head = Part10Head(LIMITS)
    fed = rest = 0
    try:
        for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True):
            if head.done:
                break
            head.feed(data[start:end])
            fed = end
        head.finish()
    except (Malformed, LimitExceeded) as error:
        return type(error), getattr(error, "defect", "")
    rest = fed - len(head.rest)
    assert head.data_set_offset == rest and data[rest:fed] == head.rest
    return head.syntax_uid, head.sop_class_uid, head.sop_instance_uid, head.data_set_offset, head.defects


@given(st.data())
def test_any_split_of_a_file_gives_the_same(data: st.DataObject) -> None:
    head = meta_group("1.2.840.10008.5.1.4.1.1.2", "1.2.3", data.draw(UIDS))
    start = data.draw(st.sampled_from([0, 0, 128, 132, 144]))  # whole, no preamble, no prefix, no group length
    file = bytearray(head[start:] + data.draw(FIRST) + data.draw(st.binary(max_size=40)))
    for _ in range(data.draw(st.integers(0, 3))):
        file[data.draw(st.integers(0, len(file) - 1))] = data.draw(st.integers(0, 255))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(file)), max_size=6)))
    assert outcome(bytes(file), cuts) == outcome(bytes(file), [])
    assert outcome(bytes(file), list(range(len(file)))) == outcome(bytes(file), [])


@given(st.binary(max_size=400), st.booleans())
def test_garbage_raises_only_declared_errors(garbage: bytes, prefixed: bool) -> None:
    outcome((bytes(128) + b"DICM" if prefixed else b"") + garbage, [])
