"""What is true of one store of an archive, told by a model that knows nothing of an index; and what objects say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Literal

NAMES = ["Doe^Jane", "doe^jane ", "Müller^Jörg", "Roe^Tom", ""]
PATIENT = {"PatientID": ["P1", "P2", " P1", ""], "IssuerOfPatientID": ["", "", "H"], "PatientName": NAMES,
           "PatientSex": ["F", "M", ""]}  # fmt: skip
STUDY = {**PATIENT, "StudyDescription": ["Knee", "KNEE", "Knie é", ""], "AccessionNumber": ["1", "2", ""]}
SERIES = {"Modality": ["CT", "MR", ""], "SeriesDescription": ["a", "b", ""], "SeriesNumber": ["1", "3", ""]}
POOLS = {**STUDY, **SERIES}
CHARSETS = ["ISO_IR 100", "ISO_IR 192"]
PLAIN = {"PatientID": "P1", "IssuerOfPatientID": "", "PatientName": "Doe^Jane", "PatientSex": "F"}
POLICIES: list[Literal["keep-first", "replace", "refuse"]] = ["keep-first", "replace"] * 2 + ["refuse"]
HELD = ("current", "other")
Place = tuple[str, str]  # of a study ("") or series
Values = dict[str, str]


@dataclass
class Version:
    uid: str
    digest: str
    place: Place
    values: Values
    state: str = "current"  # "other" | "deleted" | "deleted other" | "original" of what was transcoded
    tombstone: int = 0
    aliases: frozenset[str] = frozenset()  # digests of what it is another encoding of


def by_sender(name: str, said: list[Values]) -> bool:
    """Where an object has no issuer of its Patient ID, what is known may have come of its sender."""
    return name == "IssuerOfPatientID" and any(one["PatientID"] and not one[name] for one in said)


@dataclass
class Model:
    """One store: versions in the order in which they came, what won, corrections in force."""

    versions: list[Version] = field(default_factory=list)
    won: dict[Place, Values] = field(default_factory=dict)
    corrections: list[tuple[int, Place, Values]] = field(default_factory=list)

    def current(self, place: Place) -> list[Version]:
        return [one for one in self.versions if one.state == "current" and place in (one.place, (one.place[0], ""))]

    def places(self) -> Iterator[Place]:
        """Of what is to be seen: studies, then their series."""
        seen = [one.place for one in self.versions if one.state == "current" and one.place[0]]
        yield from dict.fromkeys((study, "") for study, _ in seen)
        yield from dict.fromkeys(seen)

    def settle(self) -> None:
        """What won stays while it is said; else the first wins that says anything."""
        for place in self.places():
            won, said = self.won.setdefault(place, {}), [one.values for one in self.current(place)]
            for name in SERIES if place[1] else STUDY:
                if not won.get(name) or not (won[name] in {values[name] for values in said} or by_sender(name, said)):
                    won[name] = next((values[name] for values in said if values[name]), "")

    def shown(self, place: Place) -> Values:
        """With corrections, the later ones on top."""
        shown = {name: self.won[place].get(name, "") for name in (SERIES if place[1] else STUDY)}
        for _, where, values in self.corrections:
            shown |= values if where == place else {}
        return shown

    def corrected(self, place: Place) -> set[str]:
        return {name for _, where, values in self.corrections if where == place for name in values}

    def put(self, one: Version, policy: str) -> str:
        alike = [held for held in self.versions if held.uid == one.uid and held.state in HELD]
        now = next((held for held in alike if held.state == "current"), None)
        beside = next((held for held in alike if held.digest == one.digest), None)
        if now is not None and one.digest in now.aliases:
            return "duplicate"
        if now is None:
            self.add(one)
            return "stored"
        if now is beside or (now.values, now.place) == (
            one.values,
            one.place,
        ):  # or the same in another character set, with other spaces
            return "duplicate"
        if policy == "refuse":
            return "refused"
        if policy == "keep-first":
            if beside is None:
                self.versions.append(replace(one, state="other"))
            return "kept"
        now.state = "other"
        self.settle()
        if beside is not None:
            beside.state = "current"
        else:
            self.add(one)
        return "replaced"

    def transcode(self, now: Version, digest: str) -> None:
        """What is the same in another encoding takes the place of a current version."""
        made = next((one for one in self.versions if one.digest == digest and one.state == "other"), None)
        if made is None:
            made = replace(now, digest=digest)
            self.versions.append(made)
        made.state, made.aliases = "current", made.aliases | now.aliases | {now.digest}
        now.state = "original"

    def add(self, one: Version) -> None:
        """What is the first that is held says how its study and series are."""
        for place in ((one.place[0], ""), one.place):
            if not self.current(place):
                self.won.pop(place, None)
        self.versions.append(one)

    def delete(self, place: Place, uid: str, tombstone: int) -> None:
        for one in self.versions:
            if one.state in HELD and (one.uid == uid if uid else place in (one.place, (one.place[0], ""))):
                one.state, one.tombstone = "deleted" if one.state == "current" else "deleted other", tombstone

    def undelete(self, tombstone: int) -> None:
        for one in [one for one in self.versions if one.tombstone == tombstone]:
            alike = [held for held in self.versions if held.uid == one.uid and held.state in HELD]
            if any(held.digest == one.digest for held in alike):
                continue
            free = all(held.state != "current" for held in alike)
            one.state, one.tombstone = "current" if one.state == "deleted" and free else "other", 0

    def rows(self, level: str) -> Counter[tuple[Any, ...]]:
        """What a query of a level is to find."""
        places = list(self.places())
        studies = [place for place in places if not place[1]]
        if level == "SERIES":
            series = [place for place in places if place[1]]
            return Counter((*self.shown(place).values(), len(self.current(place))) for place in series)
        found = {}
        for study in studies:
            series = [place for place in places if place[1] and place[0] == study[0]]
            modalities = {self.shown(place)["Modality"] for place in series} - {""}
            found[study] = (tuple(sorted(modalities)), len(series), len(self.current(study)))
        if level == "STUDY":
            return Counter((*self.shown(study).values(), *counted) for study, counted in found.items())
        patients: dict[tuple[str, ...], list[tuple[Any, ...]]] = {}
        for study, counted in found.items():
            identifier, issuer = list(self.shown(study).values())[:2]
            patients.setdefault((identifier, issuer) if identifier else study, []).append(
                (identifier, issuer, *counted)
            )
        return Counter(
            (*studies[0][:2], len(studies), *(sum(each[at] for each in studies) for at in (3, 4)))
            for studies in patients.values()
        )
