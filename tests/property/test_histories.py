"""What the index says of patients, studies and series is what the objects say that are held, whatever happened before.

Random histories in two stores of one archive: objects come in anew, again and with other values, in any policy; they
are deleted, brought back, purged, promoted, corrected; the archive is closed, killed, restored of a backup, reindexed.
After each act every level says what a model says that knows nothing of an index, and what is only moved or made anew
answers everything as before.
"""

from __future__ import annotations

import asyncio
import random
import shutil
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from builders import Built, build, transcoded, uid, until_current
from property.holdings import CHARSETS, HELD, PATIENT, PLAIN, POLICIES, POOLS, SERIES, STUDY, Model, Values, Version

from sagittal.archive.access import LOCAL, Principal
from sagittal.archive.archive import Archive
from sagittal.archive.index import OTHER
from sagittal.archive.index.keys import KEYS
from sagittal.archive.index.removal import Target
from sagittal.archive.ingest import Source
from sagittal.archive.query import Query
from sagittal.archive.upkeep.importer import import_files
from sagittal.archive.upkeep.tasks import back_up, export, reindex, restore
from sagittal.dicom.dictionary import tag_of
from sagittal.errors import DuplicateInstance, Gone, NotFound

NON_PATIENT = build(sop_class_uid="1.2.840.10008.5.1.4.39.1", study_uid="", series_uid="")
COUNTS = {"PATIENT": (0x00201200, 0x00201202, 0x00201204), "STUDY": (0x00201206, 0x00201208), "SERIES": (0x00201209,)}
MODALITIES = 0x00080061
LATER = 1 << 60
SEEDS = [*range(3), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(3, 120))]
ACTS = {"put": 10, "put_non_patient": 0.5, "delete": 3, "undelete": 2, "promote": 1, "transcoded": 1, "correct": 2,
        "undo": 1, "merge": 0.5, "collect": 0.5, "reindexed": 2, "reread": 1, "restored": 0.5, "killed": 0.5,
        "reopened": 0.5, "exported": 0.3}  # fmt: skip


@dataclass
class Party:
    """One store, and what is true of it."""

    who: Principal
    model: Model = field(default_factory=Model)


class History:
    """What happens to one archive."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder, self.random = folder, random.Random(f"history {seed}")
        self.data, self.moves = folder / "0", 0
        self.parties = [Party(LOCAL), Party(replace(LOCAL, store=2))]
        self.archive: Archive

    async def open(self) -> None:
        self.archive = await Archive.open(self.data, durability="off", stores=["research"])

    async def live(self, acts: int) -> None:
        await self.open()
        try:
            for _ in range(acts):
                [act] = self.random.choices(list(ACTS), list(ACTS.values()))
                party = self.parties[self.random.random() < 0.2]
                with suppress(NotFound):
                    await getattr(self, act)(party)
                for party in self.parties:
                    party.model.settle()
                    await self.check(party, act)
        finally:
            await self.archive.close()

    # Acts

    def _object(self) -> tuple[Built, Values]:
        plain, charset = self.random.random() < 0.4, self.random.choice(CHARSETS)
        values = {name: self.random.choice(pool) for name, pool in POOLS.items()} | (PLAIN if plain else {})
        number, series, study, *others = (self.random.randint(1, 2) for _ in range(6))
        said = {name: text.strip() for name, text in values.items()}
        here = (study, series, number) if self.random.random() < 0.9 else others  # of another study, or series
        sop_uid, how = uid("instance", *here), {"study": study, "series": series, "charset": charset}
        return build(number, sop_instance_uid=sop_uid, extra=values, **how), said

    async def put(self, party: Party) -> None:
        built, said = self._object()
        policy = self.random.choice(POLICIES)
        transfer = self.archive.store_begin_part10(party.who, Source("dimse", policy=policy))
        transfer.write(built.part10)
        try:
            status = (await transfer.commit()).status
        except DuplicateInstance:
            status = "refused"
        one = Version(built.sop_instance_uid, built.digest, (built.study_uid, built.series_uid), said)
        assert party.model.put(one, policy) == status

    async def delete(self, party: Party) -> None:
        built, _ = self._object()
        study, series, uid = built.study_uid, built.series_uid, built.sop_instance_uid
        uid = self.random.choice([uid] * 4 + [NON_PATIENT.sop_instance_uid])
        target = self.random.choice([Target(study), Target(study, series), *[Target("", "", uid)] * 3])
        done = await self.archive.delete(party.who, target)
        party.model.delete((target.study_uid, target.series_uid), target.sop_instance_uid, done.tombstone)

    async def undelete(self, party: Party) -> None:
        held = sorted({one.tombstone for one in party.model.versions} - {0})
        if held:
            tombstone = self.random.choice(held)
            party.model.undelete(tombstone)
            await self.archive.undelete(party.who, Target(), tombstone)

    async def promote(self, party: Party) -> None:
        refs = await self.archive.versions(party.who, self._object()[0].sop_instance_uid)
        beside = [ref for ref in refs if ref.state == OTHER]
        if beside:
            ref = self.random.choice(beside)
            await self.archive.promote(party.who, ref)
            for one in party.model.versions:
                if one.uid == ref.sop_instance_uid and one.state == "current":
                    one.state = "other"
            party.model.settle()
            named = ref.sop_instance_uid, ref.digest, "other"
            next(one for one in party.model.versions if (one.uid, one.digest, one.state) == named).state = "current"

    async def correct(self, party: Party) -> None:
        built, _ = self._object()
        name = self.random.choice(list(POOLS))
        place = (built.study_uid, built.series_uid if name in SERIES else "")
        value = self.random.choice(["New", *POOLS[name]] if name not in ("PatientSex", "SeriesNumber") else POOLS[name])
        value = "OT" if (name, value) == ("Modality", "New") else value
        number = await self.archive.correct(party.who, place, {name: value}, "why", "CORRECT")
        party.model.corrections.append((number, place, {name: value.strip()}))

    async def undo(self, party: Party) -> None:
        if party.model.corrections:
            number, (study, _), _ = one = self.random.choice(party.model.corrections)
            await self.archive.undo_correction(party.who, study, number)
            party.model.corrections.remove(one)

    async def transcoded(self, party: Party) -> None:
        """As by rule: in the other of two syntaxes."""
        current = [one for one in party.model.versions if one.state == "current" and one.place[0]]
        for now in self.random.sample(current, min(1, len(current))):
            digest = await transcoded(self.archive, party.who, now.uid)
            party.model.transcode(now, digest)

    async def put_non_patient(self, party: Party) -> None:
        transfer = self.archive.store_begin_part10(party.who, Source("dimse"))
        transfer.write(NON_PATIENT.part10)
        outcome = await transfer.commit()
        one = Version(NON_PATIENT.sop_instance_uid, NON_PATIENT.digest, ("", ""), {})
        assert party.model.put(one, "keep-first") == outcome.status

    async def exported(self, party: Party) -> None:
        """What is imported elsewhere is the same; here it is held."""
        refs = [ref for study, _ in party.model.places() for ref in
                await self.archive.instances(party.who, study_uid=study)]  # fmt: skip
        self.moves += 1
        folder, corrected = self.folder / f"export{self.moves}", {study for _, (study, _), _ in party.model.corrections}
        refs = [ref for ref in {ref.id: ref for ref in refs}.values() if ref.study_uid not in corrected]
        assert not [one async for one in export(self.archive, party.who, refs, folder) if one.error]
        told = Counter([one.status async for one in import_files(self.archive, party.who, [folder], Source("import"))])
        assert told["held"] == len(refs) and told.keys() <= {"held", "skipped"}, told
        other = await Archive.open(self.folder / f"other{self.moves}", durability="off")
        try:
            told = Counter([one.status async for one in import_files(other, LOCAL, [folder], Source("import"))])
            assert told["stored"] == len(refs), told
            counts = await other.statistics(LOCAL)
            assert counts.instances == len(refs) and counts.studies == len({ref.study_uid for ref in refs})
        finally:
            await other.close()

    async def merge(self, party: Party) -> None:
        """P1 becomes P2, as that is described; but not who is hidden, whom no model knows."""
        known = {tuple(party.model.shown(place).values())[:2] for place in party.model.places() if not place[1]}
        of = {one.place[0] for one in party.model.versions}
        if {("P1", ""), ("P2", "")} <= known and of == {place[0] for place in party.model.places()}:
            rows = await self.find(party, "PATIENT", list(PATIENT))
            [into] = [dict(zip(PATIENT, row, strict=False)) for row in rows if row[:2] == ("P2", "")]
            studies = [place for place in party.model.places() if not place[1]]
            merged = [place for place in studies if tuple(party.model.shown(place).values())[:2] == ("P1", "")]
            await self.archive.merge_patient(party.who, ("P1", ""), ("P2", ""), "why")
            numbers = {row.study_uid: row.id for study, _ in merged for row in
                       await self.archive.corrections_of(party.who, study)}  # fmt: skip
            party.model.corrections += [(numbers[place[0]], place, into) for place in merged]

    async def collect(self, _: Party) -> None:
        await self.archive.collect(now=LATER)
        for party in self.parties:
            party.model.versions = [one for one in party.model.versions if one.state in HELD]

    # What changes nothing

    async def reopened(self, _: Party) -> None:
        await self._moved(self.data)

    async def reindexed(self, _: Party) -> None:
        await self._moved(self.data, index_anew=True)

    async def reread(self, _: Party) -> None:
        """As after an upgrade to another reader, which reads the same."""
        for statement in (
            "UPDATE instance SET reader_version = 0",
            "DELETE FROM setting WHERE name = 'reader_version'",
        ):
            await self.archive.act(lambda connection, one=statement: connection.execute(one) and None)
        await self._moved(self.data)
        await until_current(self.archive)
        for party in self.parties:
            party.model.settle()
            await self.check(party, "reread")

    async def killed(self, _: Party) -> None:
        """What is on the disk in the midst of it is opened."""
        self.moves += 1
        copy = self.folder / str(self.moves)
        shutil.copytree(self.data, copy, ignore=shutil.ignore_patterns("lock", "server.json"))
        await self._moved(copy)

    async def restored(self, _: Party) -> None:
        self.moves += 1
        backup, copy = self.folder / f"backup{self.moves}", self.folder / str(self.moves)
        async for _copied in back_up(self.archive, LOCAL, backup):
            pass
        list(restore(backup, copy))
        await self._moved(copy)

    async def _moved(self, data: Path, *, index_anew: bool = False) -> None:
        before = [await self.everything(party) for party in self.parties]
        await self.archive.close()
        self.data = data
        if index_anew:
            assert not [one for one in reindex(data) if one.error]
        await self.open()
        for party, was in zip(self.parties, before, strict=True):
            for name, told in (await self.everything(party)).items():
                assert told == was[name], name

    async def everything(self, party: Party) -> dict[str, Any]:
        """All that a user sees, but how late a revision is."""
        archive, who, told = self.archive, party.who, dict[str, Any]()
        for level, keys in KEYS.items():
            rows = await archive.find(who, Query(level, {}, frozenset(keys)))
            told[level] = sorted(map(repr, rows.rows))
        for study in {one.place[0] for one in party.model.versions} - {""}:
            with suppress(NotFound, Gone):
                refs = await archive.instances(who, study_uid=study)
                told[f"refs {study}"] = [ref._replace(revision=0) for ref in refs]
                told[f"metadata {study}"] = [text async for texts in archive.metadata(who, refs) for text in texts]
            told[f"corrections {study}"] = await archive.corrections_of(who, study)
        for sop_uid in {one.uid for one in party.model.versions}:
            told[f"versions {sop_uid}"] = [(ref.id, ref.state) for ref in await archive.versions(who, sop_uid)]
        told["statistics"] = await archive.statistics(who)
        told["changes"] = await archive.changes(who, None, 100_000)
        told["discrepancies"] = {
            (one.study_uid, one.series_uid, one.tag, one.kept, one.value)
            for one in await archive.discrepancies(who, limit=1000)
        }
        told["tombstones"] = await archive.tombstones(who)
        told["latest"] = [one._replace(changed_at=0) for one in await archive.latest_studies(who, 10)]
        return told

    # What is true

    async def find(self, party: Party, level: str, names: list[str], *tags: int) -> list[tuple[Any, ...]]:
        asked = dict.fromkeys((*map(tag_of, names), *tags), "")
        rows = await self.archive.find(party.who, Query(level, asked))
        return [tuple(row[rows.columns.index(tag)] for tag in asked) for row in rows.rows]

    async def check(self, party: Party, act: str) -> None:
        model = party.model
        names = {"PATIENT": list(PATIENT)[:2], "STUDY": list(STUDY), "SERIES": list(SERIES)}
        for level, asked in names.items():
            tags = (MODALITIES, *COUNTS[level]) if level == "STUDY" else COUNTS[level]
            found = await self.find(party, level, asked, *tags)
            if level == "STUDY":
                at = len(asked)
                found = [(*row[:at], tuple(sorted(filter(None, row[at].split("\\")))), *row[at + 1 :]) for row in found]
            assert Counter(found) == model.rows(level), (act, level)
        counts, states = await self.archive.statistics(party.who), Counter(one.state for one in model.versions)
        told = (counts.studies, counts.series, counts.instances, counts.other_versions, counts.deleted)
        places = list(model.places())
        studies = [place for place in places if not place[1]]
        deleted = states["deleted"] + states["deleted other"] + states["original"]
        assert told == (len(studies), len(places) - len(studies), states["current"], states["other"], deleted), act
        assert counts.patients == model.rows("PATIENT").total(), act
        await self.check_discrepancies(party, act)

    async def check_discrepancies(self, party: Party, act: str) -> None:
        """What a current object says otherwise is listed, and nothing that no version says any more."""
        model = party.model
        listed = {
            ((one.study_uid, one.series_uid), one.tag, one.value, one.kept): one.instances
            for one in await self.archive.discrepancies(party.who, limit=1000)
        }
        places = set(model.places())
        for place in places:
            for name in (SERIES if place[1] else STUDY).keys() - model.corrected(place):
                won = model.won[place][name]
                said = {one.values[name] for one in model.current(place)} - {"", won}
                assert {(place, tag_of(name), value, won) for value in said} <= listed.keys(), (act, name)
        for (place, tag, value, kept), number in listed.items():
            [name] = [name for name in POOLS if tag_of(name) == tag]
            said = Counter(
                one.state
                for one in model.versions
                if one.values.get(name) == value and one.state in HELD and place in (one.place, (one.place[0], ""))
            )
            assert said.total() and value != kept and name not in model.corrected(place), (act, name)
            least = 1 if name in PATIENT else max(said["current"], 1)  # of patients one may be the study's own
            assert least <= number, (act, name)


@pytest.mark.parametrize("seed", SEEDS)
async def test_the_index_says_what_is_held_says(tmp_path: Path, seed: int) -> None:
    async with asyncio.timeout(120):
        await History(tmp_path, seed).live(25)
