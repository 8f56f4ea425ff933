"""What classic MR images say of the pulse sequence, out of what enhanced ones say of it.

Scanning Sequence, Sequence Variant and Scan Options (PS3.3 C.8.3.1) are lists of terms, each of which an attribute of
its own became (C.8.13.4, C.8.13.5): THE TABLE. Deliberately not here: terms that no attribute tells (MP, PPG).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from sagittal.convert.multiframe.elements import member
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
_SEQUENCE, _VARIANT, _OPTIONS = member.ScanningSequence, member.SequenceVariant, member.ScanOptions
TERMS: Mapping[str, tuple[Term, ...]] = {
    _SEQUENCE: (
        Term("SE", member.EchoPulseSequence, frozenset({"SPIN", "BOTH"})),
        Term("GR", member.EchoPulseSequence, frozenset({"GRADIENT", "BOTH"})),
        Term("IR", member.InversionRecovery, _YES),
        Term("EP", member.EchoPlanarPulseSequence, _YES),
    ),
    _VARIANT: (
        Term("SK", member.SegmentedKSpaceTraversal, frozenset({"SINGLE"}), others=True),
        Term("MTC", member.MagnetizationTransfer, _NONE, others=True),
        Term("TRSS", member.SteadyStatePulseSequence, frozenset({"TIME_REVERSED"})),
        Term("SS", member.SteadyStatePulseSequence, _NONE | {"TIME_REVERSED"}, others=True),
        Term("SP", member.Spoiling, _NONE, others=True),
        Term("OSP", member.OversamplingPhase, _NONE, others=True),
    ),
    _OPTIONS: (
        Term("PER", member.RectilinearPhaseEncodeReordering, frozenset({"LINEAR"}), others=True),
        Term("RG", member.RespiratoryMotionCompensationTechnique, frozenset({"GATING"})),
        Term("CG", member.CardiacSynchronizationTechnique, _NONE, others=True),
        Term("FC", member.FlowCompensation, _NONE, others=True),
        Term("PFF", member.PartialFourierDirection, frozenset({"FREQUENCY", "COMBINATION"})),
        Term("PFP", member.PartialFourierDirection, frozenset({"PHASE", "COMBINATION"})),
        Term("SP", member.SpatialPresaturation, _NONE, others=True),
        Term("FS", member.SpectrallySelectedSuppression, frozenset({"FAT", "FAT_AND_WATER"})),
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
