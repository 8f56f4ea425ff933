"""Rules by which objects get another transfer syntax once they have come in: rows of `[[transcode]]`.

The first rule that fits an object decides, and there are none unless the configuration has some. A rule loses nothing
unless it says so. Deliberately not here: when it is done, and how (`byrule`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sagittal.errors import UsageError

if TYPE_CHECKING:
    from sagittal.archive.index.transcoding.queue import Candidate

_BOUNDS = {"quality": (1, 100), "near": (1, 255), "ratio": (1, 1000)}


@dataclass(frozen=True, slots=True)
class Rule:
    """A row of `[[transcode]]`; what it does not name, it does not ask about."""

    to: str  # the transfer syntax that objects get, by its UID
    syntaxes: tuple[str, ...] = ()  # those in which they came; none: every one without loss
    sop_classes: tuple[str, ...] = ()  # their SOP classes
    modalities: tuple[str, ...] = ()  # the modalities of their series
    calling_aets: tuple[str, ...] = ()  # who sent them by C-STORE; named, no other way in counts
    stores: tuple[str, ...] = ()  # the stores that they came into
    lossy: bool = False  # information may be lost: what is made is an instance of its own
    keep_original: bool = True  # beside a lossy one; otherwise it is deleted, and can come back for the grace period
    quality: int | None = None  # JPEG, 1 to 100
    near: int | None = None  # JPEG-LS near-lossless: the largest error of a value
    ratio: float | None = None  # JPEG 2000 and HTJ2K: native bytes to compressed ones, at least

    @property
    def options(self) -> dict[str, Any]:
        """For the codec."""
        given = {name: value for name in _BOUNDS if (value := getattr(self, name)) is not None}
        return given if self.lossy else given | {"reversible": True}

    def fits(self, one: Candidate, stores: Mapping[str, int]) -> bool:
        """Whether the rule is about an object that came in; `stores` are the numbers of the names."""
        return (
            self._takes(one.syntax_uid)
            and (not self.sop_classes or one.sop_class_uid in self.sop_classes)
            and (not self.modalities or one.modality in self.modalities)
            and (not self.calling_aets or (one.kind == "dimse" and one.calling_aet in self.calling_aets))
            and (not self.stores or one.store in [stores.get(name) for name in self.stores])
        )

    def _takes(self, syntax_uid: str) -> bool:
        from sagittal.dicom.syntaxes import syntax

        if self.syntaxes:
            return syntax_uid in self.syntaxes
        return syntax(syntax_uid).lossless is True or syntax_uid == self.to

    def changes(self, one: Candidate) -> bool:
        """Whether there is anything to do for an object that it fits."""
        from sagittal.dicom.reencode import can_reencode
        from sagittal.dicom.syntaxes import syntax
        from sagittal.pixels.reach import reaches

        if one.syntax_uid == self.to or one.kind == "transcode":
            return False
        if can_reencode(syntax(one.syntax_uid), syntax(self.to)):
            return True
        is_image = one.has_frames or (one.has_rows and syntax(one.syntax_uid).deflated)
        return is_image and reaches(one.syntax_uid, self.to)


def first(rules: Iterable[Rule], one: Candidate, stores: Mapping[str, int]) -> Rule | None:
    """The rule by which an object gets another transfer syntax; None when it stays as it is."""
    rule = next((rule for rule in rules if rule.fits(one, stores)), None)
    return rule if rule is not None and rule.changes(one) else None


def check(rules: Iterable[Rule]) -> None:
    """UsageError for a rule that can do nothing, or that would lose information without saying so."""
    for number, rule in enumerate(rules):
        if fault := _fault(rule):
            raise UsageError(f"transcode[{number}]: {fault}")


def _fault(rule: Rule) -> str:
    from sagittal.dicom.syntaxes import SYNTAXES, syntax
    from sagittal.pixels.codecs import ROWS
    from sagittal.pixels.reach import READ_BY, may_be_lossless, reaches

    unknown = [uid for uid in (rule.to, *rule.syntaxes) if uid not in SYNTAXES]
    if unknown:
        return f"{unknown[0]} is no transfer syntax UID of PS3.6"
    came = rule.syntaxes or [uid for uid in ROWS if syntax(uid).lossless is True]
    from_ = [uid for uid in came if uid != rule.to and reaches(uid, rule.to)]
    if not from_:
        return f"nothing can be transcoded to {syntax(rule.to).name}"
    if not rule.lossy and not any(may_be_lossless(uid, rule.to) for uid in from_):
        return f"{syntax(rule.to).name} loses information; add lossy = true if that is what you want"
    for name, (least, most) in _BOUNDS.items():
        value = getattr(rule, name)
        if value is not None and not rule.lossy:
            return f"{name} is for lossy = true"
        if value is not None and not least <= value <= most:
            return f"{name} is a number from {least} to {most}"
        if value is not None and rule.to not in READ_BY[name]:
            return f"{name} says nothing of {syntax(rule.to).name}"
    return ""
