"""Re-encoding: there and back gives the same, in any split; garbage raises only declared errors."""

from __future__ import annotations

from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st
from trees import PLAIN, TREES, Tree, encoded

from sagittal.dicom.dump import lines
from sagittal.dicom.part10 import meta_group
from sagittal.dicom.reencode import reencode
from sagittal.dicom.syntaxes import DEFLATED_LE, EXPLICIT_BE, EXPLICIT_LE, IMPLICIT_LE, TransferSyntax, syntax
from sagittal.errors import LimitExceeded, Malformed
from sagittal.limits import ReaderLimits

LIMITS = ReaderLimits(depth_max=8, elements_max=500)
ALL = st.sampled_from([syntax(uid) for uid in (IMPLICIT_LE, EXPLICIT_LE, EXPLICIT_BE, DEFLATED_LE)])


def pieces(data: bytes, cuts: list[int]) -> Iterator[bytes]:
    for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True):
        yield data[start:end]


def through(data: bytes, source: TransferSyntax, *targets: TransferSyntax, cuts: list[int] | None = None) -> bytes:
    for target in targets:
        data = b"".join(reencode(pieces(data, cuts or []), source, target, LIMITS))
        source, cuts = target, None
    return data


@given(TREES, st.data())
def test_there_and_back(tree: Tree, data: st.DataObject) -> None:
    little, big, deflated = syntax(EXPLICIT_LE), syntax(EXPLICIT_BE), syntax(DEFLATED_LE)
    written = encoded(tree, little)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(written)), max_size=6)))
    regular = through(written, little, big, little)  # undefined lengths from here on
    assert through(written, little, big, little, cuts=cuts) == regular
    assert through(regular, little, big, deflated, big, little) == regular
    assert through(encoded(tree, big), big, syntax(IMPLICIT_LE)) == through(
        encoded(tree, big), big, little, syntax(IMPLICIT_LE)
    )


@given(TREES, PLAIN, ALL, st.data())
def test_damage_raises_only_declared_errors(
    tree: Tree, source: TransferSyntax, target: TransferSyntax, data: st.DataObject
) -> None:
    damaged = bytearray(encoded(tree, source)) or bytearray(b"\0")
    for _ in range(data.draw(st.integers(0, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    attempt(bytes(damaged), source, target)


@given(st.binary(max_size=200), ALL, ALL)
def test_garbage_raises_only_declared_errors(garbage: bytes, source: TransferSyntax, target: TransferSyntax) -> None:
    attempt(garbage, source, target)


def attempt(data: bytes, source: TransferSyntax, target: TransferSyntax) -> None:
    """Re-encodes and dumps; what a regular output is made of can be read again."""
    try:
        found = through(data, source, target)
        if target.uid != source.uid and not (source.deflated or target.deflated):
            through(found, target, syntax(EXPLICIT_LE))
    except (Malformed, LimitExceeded):
        pass
    try:
        for _ in lines([meta_group("1.2", "1.2", source.uid), data], LIMITS):
            pass
    except (Malformed, LimitExceeded):
        pass
