"""Small data sets: what is encoded is decoded again; garbage raises only declared errors."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from trees import PLAIN, TREES, Tree, encoded

from sagittal.dicom.elements import Element
from sagittal.dicom.syntaxes import DEFLATED_LE, EXPLICIT_BE, EXPLICIT_LE, IMPLICIT_LE, TransferSyntax, syntax
from sagittal.dicom.walk import decode_identifier
from sagittal.errors import LimitExceeded, Malformed
from sagittal.limits import ReaderLimits

LIMITS = ReaderLimits(depth_max=8, elements_max=500)


def matches(tree: Tree, found: dict[int, Element]) -> bool:
    return tree.keys() == found.keys() and all(
        found[tag].vr == vr
        and (
            all(matches(item, decoded) for item, decoded in zip(value, found[tag].items, strict=True))
            if isinstance(value, list)
            else found[tag].value[: len(value)] == value and len(found[tag].value) == len(value) + len(value) % 2
        )
        for tag, (vr, value) in tree.items()
    )


@given(TREES, st.sampled_from([syntax(EXPLICIT_LE), syntax(EXPLICIT_BE)]))
def test_round_trip(tree: Tree, row: TransferSyntax) -> None:
    assert matches(tree, decode_identifier(encoded(tree, row), row, LIMITS))


@given(TREES, PLAIN, st.data())
def test_damage_raises_only_declared_errors(tree: Tree, row: TransferSyntax, data: st.DataObject) -> None:
    damaged = bytearray(encoded(tree, row)) or bytearray(b"\0")
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    attempt(bytes(damaged), row)


@given(st.binary(max_size=200), st.sampled_from([*map(syntax, (IMPLICIT_LE, EXPLICIT_LE, EXPLICIT_BE, DEFLATED_LE))]))
def test_garbage_raises_only_declared_errors(garbage: bytes, row: TransferSyntax) -> None:
    attempt(garbage, row)


def attempt(data: bytes, row: TransferSyntax) -> None:
    try:
        found = decode_identifier(data, row, LIMITS)
    except (Malformed, LimitExceeded):
        return
    told(found)


def told(elements: dict[int, Element]) -> None:
    for element in elements.values():
        element.text(["ISO 2022 IR 100", "ISO 2022 IR 87"])
        for item in element.items:
            told(item)
