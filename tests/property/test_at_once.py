"""Many at once, each against a model of its own: what was acknowledged is there, whoever else did what meanwhile.

Some owners store, delete, bring back, correct and promote at random, each in a study of its own, and give up now and
then; after each act everything that tells of the study says what the model says. Meanwhile others read all studies:
no answer is of two states, and a tag means one body for ever. In the end the change feed, the counts and the files are
those of all models together. The schedule comes from a seed; when the committer takes what, from the machine.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import sqlite3
from collections import Counter
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
from archived import BASE, applied
from builders import Built, build, findings, opened

from sagittal.archive.access import LOCAL
from sagittal.archive.archive import Archive
from sagittal.archive.changes import Change
from sagittal.archive.index import CURRENT, OTHER
from sagittal.archive.index.removal import Target
from sagittal.archive.ingest import Source
from sagittal.archive.opening import INDEX
from sagittal.archive.query import Query
from sagittal.errors import DuplicateInstance, Gone, NotFound

NAME, STUDY_UID, INSTANCES_OF_STUDY = 0x00100010, 0x0020000D, 0x00201208
POLICIES = ("keep-first", "replace", "refuse")
SEEDS = [3, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(4, 16))]
LATER = 1 << 60  # microseconds: every grace period is over
SECONDS_MAX = 120  # some two are usual: an answer that never comes is a failure, not a suite without end


@dataclass
class Version:
    digest: str
    state: str  # "current" | "other" | "deleted" | "deleted other"
    target: Target | None = None  # whose deletion hid it


@dataclass
class Model:
    """What is true of one study: versions by SOP Instance UID, corrections in force, what the change feed tells."""

    held: dict[str, list[Version]] = field(default_factory=dict)
    corrections: list[tuple[int, str]] = field(default_factory=list)
    told: Counter[str] = field(default_factory=Counter)

    def current(self, uid: str) -> Version | None:
        return next((each for each in self.held.get(uid, ()) if each.state == "current"), None)

    def put(self, uid: str, digest: str, policy: str) -> str:
        versions, now = self.held.setdefault(uid, []), self.current(uid)
        beside = next((each for each in versions if (each.digest, each.state) == (digest, "other")), None)
        if now is not None and now.digest == digest:
            return "duplicate"
        if now is not None and policy == "refuse":
            return "refused"
        kind = "stored" if now is None else "replaced" if policy == "replace" else "kept"
        if kind == "kept" and beside is not None:
            return kind
        if kind == "replaced" and now is not None:
            now.state = "other"
        if kind == "replaced" and beside is not None:
            beside.state = "current"
        else:
            versions.append(Version(digest, "other" if kind == "kept" else "current"))
        self.told[kind] += 1
        return kind

    def delete(self, target: Target) -> int:
        uids = [target.sop_instance_uid] if target.sop_instance_uid else list(self.held)
        seen = [each for uid in uids for each in self.held.get(uid, ()) if each.state in ("current", "other")]
        for each in seen:
            each.state, each.target = {"current": "deleted", "other": "deleted other"}[each.state], target
        self.told["deleted"] += len(seen)
        return len(seen)

    def bring_back(self, target: Target) -> int:
        """The deletions of just this target; as many as there were, the latest first."""
        back = 0
        for uid, versions in self.held.items():
            for each in reversed([each for each in versions if each.target == target]):
                now = self.current(uid)
                if any(held.digest == each.digest for held in versions if held.state in ("current", "other")):
                    continue
                each.state = "current" if each.state == "deleted" and now is None else "other"
                each.target, back = None, back + 1
        self.told["undeleted"] += back
        return back

    def seen(self) -> dict[str, str]:
        return {uid: now.digest for uid in self.held if (now := self.current(uid)) is not None}


class Owner:
    """One who acts in one study."""

    def __init__(self, number: int, archive: Archive, seed: int, purged: bool) -> None:
        self.name, self.archive, self.purged = f"Owner^{number}", archive, purged
        self.random, self.model = random.Random(f"{seed} {number}"), Model()
        self.study = self.object(1, 0).study_uid

    def object(self, number: int, variant: int) -> Built:
        comments = {"PatientComments": f"variant {variant}"}
        of = self.name.rpartition("^")[2]
        return build(number, study=of, patient_id=of, patient_name=self.name, extra=comments)

    async def live(self, acts: int) -> None:
        names = ["put"] * 6 + ["give_up"] * 2 + ["delete"] * 2 + ["correct", "undo", "promote"]
        names += [] if self.purged else ["bring_back"] * 2  # what can come back is the collector's to decide
        for _ in range(acts):
            await getattr(self, self.random.choice(names))()
            await self.check()

    def _picked(self) -> tuple[Built, str]:
        return self.object(self.random.randint(1, 3), self.random.randint(0, 2)), self.random.choice(POLICIES)

    async def _put(self, built: Built, policy: str) -> str:
        transfer = self.archive.store_begin_part10(LOCAL, Source("dimse", policy=policy))
        transfer.write(built.part10)
        try:
            return (await transfer.commit()).status
        except DuplicateInstance:
            return "refused"

    async def put(self) -> None:
        built, policy = self._picked()
        expected = self.model.put(built.sop_instance_uid, built.digest, policy)
        assert await self._put(built, policy) == expected

    async def give_up(self) -> None:
        """Whose sender is gone an object may be stored all the same, or not: all of it, or nothing."""
        built, policy = self._picked()
        before = deepcopy(self.model)
        self.model.put(built.sop_instance_uid, built.digest, policy)
        sending = asyncio.ensure_future(self._put(built, policy))
        for _ in range(self.random.randint(0, 8)):
            await asyncio.sleep(0)
        sending.cancel()
        await asyncio.wait((sending,))
        while self.archive.figures().waiting:
            await asyncio.sleep(0.001)
        if await self.differences():
            self.model = before

    def _target(self) -> Target:
        built, _ = self._picked()
        whole = self.random.random() < 0.3
        return Target(self.study) if whole else Target(self.study, built.series_uid, built.sop_instance_uid)

    async def delete(self) -> None:
        target = self._target()
        expected = self.model.delete(target)
        try:
            assert (await self.archive.delete(LOCAL, target)).instances == expected
        except NotFound:
            assert not expected

    async def bring_back(self) -> None:
        target = self._target()
        expected = self.model.bring_back(target)
        try:
            assert await self.archive.undelete(LOCAL, target) == expected
        except NotFound:
            assert not expected

    async def correct(self) -> None:
        value = f"Corrected^{self.random.randint(0, 99)}"
        try:
            number = await self.archive.correct(LOCAL, (self.study, ""), {"PatientName": value}, "why", "CORRECT")
        except NotFound:
            return
        self.model.corrections.append((number, value))
        self.model.told["corrected"] += 1

    async def undo(self) -> None:
        if not self.model.corrections:
            return
        one = self.random.choice(self.model.corrections)
        try:
            await self.archive.undo_correction(LOCAL, self.study, one[0])
        except NotFound:  # the study is purged, and its corrections wait for it
            assert not self.model.seen()
            return
        self.model.corrections.remove(one)
        self.model.told["corrected"] += 1

    async def promote(self) -> None:
        uid = self.object(self.random.randint(1, 3), 0).sop_instance_uid
        others = [ref for ref in await self.archive.versions(LOCAL, uid) if ref.state == OTHER]
        if not others:
            return
        ref, now = self.random.choice(others), self.model.current(uid)
        await self.archive.promote(LOCAL, ref)
        if now is not None:
            now.state = "other"
        versions = self.model.held[uid]
        next(each for each in versions if (each.digest, each.state) == (ref.digest, "other")).state = "current"
        self.model.told["replaced"] += 1

    async def check(self) -> None:
        assert not (found := await self.differences()), found

    async def differences(self) -> list[object]:
        """What the archive says of the study against what is true."""
        model, seen = self.model, self.model.seen()
        try:
            refs = await self.archive.instances(LOCAL, study_uid=self.study)
        except (NotFound, Gone):
            refs = []
        held = {uid: await self.archive.versions(LOCAL, uid) for uid in model.held}
        others = {uid: sorted(ref.digest for ref in refs if ref.state == OTHER) for uid, refs in held.items()}
        beside = {
            uid: sorted(each.digest for each in versions if each.state == "other")
            for uid, versions in model.held.items()
        }
        name = model.corrections[-1][1] if model.corrections else self.name
        keys = {STUDY_UID: self.study, NAME: "", INSTANCES_OF_STUDY: ""}
        rows = await self.archive.find(LOCAL, Query("STUDY", keys))
        found = [dict(zip(rows.columns, row, strict=True)) for row in rows.rows]
        told = [(row[NAME], row[INSTANCES_OF_STUDY]) for row in found]
        pairs: list[tuple[object, object]] = [
            ({ref.sop_instance_uid: ref.digest for ref in refs}, seen),
            (others, beside),
            (told, [(name, len(seen))] if seen else []),
        ]
        return [pair for pair in pairs if pair[0] != pair[1]]


class Reader:
    """One who reads what others change."""

    def __init__(self, client: httpx.AsyncClient, owners: list[Owner], seed: int) -> None:
        self.client, self.owners, self.random = client, owners, random.Random(f"{seed} reader")
        self.bodies: dict[tuple[str, str], bytes] = {}
        self.answered = 0

    async def read(self) -> None:
        while True:
            path = f"/dicom-web/studies/{self.random.choice(self.owners).study}/metadata"
            known = [tag for where, tag in self.bodies if where == path]
            tag = {"if-none-match": self.random.choice(known)} if known and self.random.random() < 0.5 else {}
            answer = await self.client.get(path, headers=tag)
            if answer.status_code == 200:
                names = {json.dumps(each["00100010"]) for each in answer.json()}
                assert len(names) == 1, names
                body = hashlib.sha256(answer.content).digest()
                assert self.bodies.setdefault((path, answer.headers["etag"]), body) == body
                self.answered += 1
            else:
                assert answer.status_code in (304, 404, 410), answer.text
            await asyncio.sleep(0)


async def follow(archive: Archive, into: list[Change], seed: int) -> None:
    """The change feed, by one who comes back where it was, again and again."""
    chance = random.Random(f"{seed} feed")
    while True:
        feed = archive.subscribe(LOCAL, into[-1].cursor if into else None)
        for _ in range(chance.randint(1, 4)):
            into += await anext(feed)
        await feed.aclose()  # type: ignore[attr-defined]


async def collect(archive: Archive) -> None:
    while True:
        await archive.collect(now=LATER)
        await asyncio.sleep(0.005)


async def until_done(acting: list[asyncio.Future[None]], beside: list[asyncio.Future[None]]) -> None:
    """All acts; what goes on beside them ends with them, and may not end before."""
    try:
        done, _ = await asyncio.wait([asyncio.gather(*acting), *beside], return_when=asyncio.FIRST_COMPLETED)
        for each in done:
            each.result()
        await asyncio.gather(*acting)
    finally:
        for each in (*acting, *beside):
            each.cancel()
        await asyncio.gather(*acting, *beside, return_exceptions=True)


@pytest.mark.parametrize("purged", [False, True])
@pytest.mark.parametrize("seed", SEEDS)
async def test_each_finds_what_it_did_whatever_others_do(tmp_path: Path, seed: int, purged: bool) -> None:
    async with asyncio.timeout(SECONDS_MAX), opened(tmp_path) as archive, applied(archive) as app:
        owners = [Owner(number, archive, seed, purged) for number in range(4)]
        transport = httpx.ASGITransport(app, raise_app_exceptions=True)
        async with httpx.AsyncClient(transport=transport, base_url=BASE) as client:
            reader, followed = Reader(client, owners, seed), list[Change]()
            beside = [reader.read(), follow(archive, followed, seed), *([collect(archive)] if purged else [])]
            await until_done(
                [asyncio.ensure_future(owner.live(25)) for owner in owners],
                [asyncio.ensure_future(each) for each in beside],
            )
        assert reader.answered
        await archive.collect(now=LATER)
        await agree(archive, owners, followed)
    assert_files_are_those_of_the_index(tmp_path)


async def agree(archive: Archive, owners: list[Owner], followed: list[Change]) -> None:
    """The feed and the counts are those of all models together."""
    changes, _ = await archive.changes(LOCAL, None, 100_000)
    assert [change.number for change in changes] == list(range(1, len(changes) + 1))
    assert followed == changes[: len(followed)]
    for owner in owners:
        told = Counter(change.kind for change in changes if change.study_uid == owner.study)
        del told["purged"]
        assert told == +owner.model.told
    counts = await archive.statistics(LOCAL)
    seen = [owner.model.seen() for owner in owners]
    others = sum(each.state == "other" for owner in owners for held in owner.model.held.values() for each in held)
    assert (counts.studies, counts.instances) == (sum(map(bool, seen)), sum(map(len, seen)))
    assert (counts.other_versions, counts.deleted) == (others, 0)
    refs = [ref for owner in owners for uid in owner.model.held for ref in await archive.versions(LOCAL, uid)]
    assert {ref.state for ref in refs} <= {CURRENT, OTHER}
    assert counts.bytes == sum(ref.size for ref in refs)
    assert findings(archive) == []


def assert_files_are_those_of_the_index(path: Path) -> None:
    with sqlite3.connect(path / INDEX) as connection:
        keys = {key for (key,) in connection.execute('SELECT "key" FROM instance')}
    connection.close()
    objects = path / "objects"
    assert {str(file.relative_to(objects)) for file in objects.rglob("*") if file.is_file()} == keys
    assert list((path / "staging").iterdir()) == []
