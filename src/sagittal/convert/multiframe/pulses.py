"""What classic MR images say of the pulse sequence, out of what enhanced ones say of it.

Scanning Sequence, Sequence Variant and Scan Options (PS3.3 C.8.3.1) are lists of terms, each of which an attribute of
its own became (C.8.13.4, C.8.13.5): THE TABLE. Deliberately not here: terms that no attribute tells (MP, PPG).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from sagittal.dicom.models.members import Members, element, text


class Term(NamedTuple):
    """A term, the attribute that tells it, and which values of that do: these, or with `others` all but these."""

    name: str
    told_by: str
    values: frozenset[str]
    others: bool = False

    def holds(self, members: Members) -> bool:
        """Whether an image of these members has it."""
        value = text(members, self.told_by)
        return value != "" and (value in self.values) != self.others


_YES, _NONE = frozenset({"YES"}), frozenset({"NONE"})
_SEQUENCE, _VARIANT, _OPTIONS = "00180020", "00180021", "00180022"
TERMS: Mapping[str, tuple[Term, ...]] = {
    _SEQUENCE: (
        Term("SE", "00189008", frozenset({"SPIN", "BOTH"})),  # Echo Pulse Sequence
        Term("GR", "00189008", frozenset({"GRADIENT", "BOTH"})),
        Term("IR", "00189009", _YES),  # Inversion Recovery
        Term("EP", "00189018", _YES),  # Echo Planar Pulse Sequence
    ),
    _VARIANT: (
        Term("SK", "00189033", frozenset({"SINGLE"}), others=True),  # Segmented k-Space Traversal
        Term("MTC", "00189020", _NONE, others=True),  # Magnetization Transfer
        Term("TRSS", "00189017", frozenset({"TIME_REVERSED"})),  # Steady State Pulse Sequence
        Term("SS", "00189017", _NONE | {"TIME_REVERSED"}, others=True),
        Term("SP", "00189016", _NONE, others=True),  # Spoiling
        Term("OSP", "00189029", _NONE, others=True),  # Oversampling Phase
    ),
    _OPTIONS: (
        Term("PER", "00189034", frozenset({"LINEAR"}), others=True),  # Rectilinear Phase Encode Reordering
        Term("RG", "00189170", frozenset({"GATING"})),  # Respiratory Motion Compensation Technique
        Term("CG", "00189037", _NONE, others=True),  # Cardiac Synchronization Technique
        Term("FC", "00189010", _NONE, others=True),  # Flow Compensation
        Term("PFF", "00189036", frozenset({"FREQUENCY", "COMBINATION"})),  # Partial Fourier Direction
        Term("PFP", "00189036", frozenset({"PHASE", "COMBINATION"})),
        Term("SP", "00189027", _NONE, others=True),  # Spatial Pre-saturation
        Term("FS", "00189025", frozenset({"FAT", "FAT_AND_WATER"})),  # Spectrally Selected Suppression
    ),
}


def tell(made: Members) -> None:
    """The classic attributes where the image says none of them itself: what was classic before has them still."""
    found = {tag: [term.name for term in terms if term.holds(made)] for tag, terms in TERMS.items()}
    if made.keys() & TERMS.keys() or not found[_SEQUENCE]:
        return
    made[_SEQUENCE] = element("CS", *found[_SEQUENCE])
    made[_VARIANT] = element("CS", *(found[_VARIANT] or ["NONE"]))
    made[_OPTIONS] = element("CS", *found[_OPTIONS])  # type 2: may be empty
