"""Random small data sets for property tests: trees of (VR, value or items) by tag, and their encoding."""

from __future__ import annotations

from hypothesis import strategies as st

from sagittal.dicom.elements import LONG_VRS, SHORT_VRS, encode, encode_sequence
from sagittal.dicom.syntaxes import EXPLICIT_BE, EXPLICIT_LE, IMPLICIT_LE, TransferSyntax, syntax

PLAIN = st.sampled_from([syntax(uid) for uid in (IMPLICIT_LE, EXPLICIT_LE, EXPLICIT_BE)])
VRS = st.sampled_from(sorted((LONG_VRS | SHORT_VRS) - {"SQ"}))
PRIVATE = st.integers(0x00091000, 0x000910FF)
VALUES = st.binary(max_size=20)
Tree = dict[int, tuple[str, "bytes | list[Tree]"]]
TREES: st.SearchStrategy[Tree] = st.recursive(
    st.dictionaries(PRIVATE, st.tuples(VRS, VALUES), max_size=4),
    lambda inner: st.dictionaries(
        PRIVATE, st.one_of(st.tuples(VRS, VALUES), st.tuples(st.just("SQ"), st.lists(inner, max_size=3))), max_size=4
    ),
    max_leaves=8,
)


def encoded(tree: Tree, row: TransferSyntax) -> bytes:
    return encode(
        (
            (tag, vr, value if isinstance(value, bytes) else encode_sequence([encoded(i, row) for i in value], row))
            for tag, (vr, value) in tree.items()
        ),
        row,
    )
