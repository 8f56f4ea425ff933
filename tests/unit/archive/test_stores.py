"""Stores: the same UIDs in two of them, and no verb of the engine that sees or changes anything of the other one."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from builders import Built, build, findings
from unit.archive.test_audit import ALL, BESIDE, FIRST, SECOND, Held

from sagittal.archive.access import LOCAL, VERBS, Principal, enter
from sagittal.archive.archive import Archive
from sagittal.archive.index import select
from sagittal.archive.index.removal import Target
from sagittal.archive.index.upkeep import stores
from sagittal.archive.ingest import Source
from sagittal.archive.nodes import Node, Token, put_node, put_token
from sagittal.archive.opening import INDEX
from sagittal.archive.query import Query
from sagittal.archive.upkeep import tasks
from sagittal.archive.upkeep.tasks import reindex
from sagittal.errors import DamagedObject, Gone, NotAuthorized, NotFound, SagittalError, UsageError

RESEARCH = replace(LOCAL, store=2)
TWIN, TWIN_BESIDE = (
    build(1, patient_id="R1", patient_name="Trial^One"),
    build(1, patient_id="R1", patient_name="Trial^Onemore"),
)
TWIN_SECOND = build(2, study=2, patient_id="R1", patient_name="Trial^One")
OURS = ("Doe", "Joan", "P1")  # what only the objects in main say
# Verbs of the whole archive, whatever store the operator works in.
WHOLE = {"collect", "scrub", "back_up", "nodes.add", "nodes.remove", "tokens.add", "tokens.revoke"}
NAME, STUDY_UID = 0x00100010, 0x0020000D


@asynccontextmanager
async def two(path: Path) -> AsyncIterator[Archive]:
    archive = await Archive.open(path, durability="off", stores=["research"])
    try:
        yield archive
    finally:
        await archive.close()


async def put(archive: Archive, principal: Principal, *objects: Built, policy: str = "keep-first") -> list[str]:
    statuses = []
    for built in objects:
        transfer = archive.store_begin_part10(principal, Source("import", policy=policy))
        transfer.write(built.part10)
        statuses.append((await transfer.commit()).status)
    return statuses


def of_main(path: Path) -> dict[str, list[Any]]:
    """Every row of main, but for what is of the whole archive."""
    connection = sqlite3.connect(path / INDEX)
    tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    found = {}
    for table in tables:
        columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
        if "store" in columns and table not in ("audit", "node", "token"):
            found[table] = connection.execute(f"SELECT * FROM {table} WHERE store = 1 ORDER BY 1, 2").fetchall()
    for table in ("metadata", "frame_index", "attribute_value"):
        of = f"SELECT t.* FROM {table} t JOIN instance i ON i.id = t.instance WHERE i.store = 1 ORDER BY 1, 2"
        found[table] = connection.execute(of).fetchall()
    connection.close()
    return found


def blobs(path: Path) -> set[str]:
    return {file.name for file in (path / "objects").glob("*/*")}


PREPARING = {"merge_patient", "undo_correction", "undo_corrections"}  # these begin with something done in main


@pytest.mark.parametrize("same_uids", [False, True])
@pytest.mark.parametrize("name", sorted(set(ALL) - WHOLE))
async def test_no_verb_sees_or_changes_the_other_store(tmp_path: Path, name: str, same_uids: bool) -> None:
    need, _, ask = ALL[name]
    asking = Principal("asking", "token", frozenset({need}), 2)
    async with two(tmp_path / "a") as archive:
        await put(archive, LOCAL, FIRST, SECOND, BESIDE)
        ref, beside = await archive.versions(LOCAL, FIRST.sop_instance_uid)
        await archive.delete(LOCAL, Target(SECOND.study_uid))
        mine = (
            [TWIN, TWIN_SECOND, TWIN_BESIDE]
            if same_uids
            else [build(70, study=70, patient_id="R7", patient_name="Trial^Seven")]
        )
        await put(archive, RESEARCH, *mine)
        if same_uids:
            await archive.delete(RESEARCH, Target(SECOND.study_uid))
        before, files = of_main(tmp_path / "a"), blobs(tmp_path / "a")
        try:
            answer = await ask(Held(archive, tmp_path, ref, beside), asking)
        except SagittalError as error:
            assert not isinstance(error, NotAuthorized)
            answer = error.text
        if name not in PREPARING:
            assert of_main(tmp_path / "a") == before
        else:
            assert "no patient has" in str(answer) or "no correction" in str(answer)
        assert files <= blobs(tmp_path / "a")
        told = repr(answer)
    if not same_uids:
        assert not any(text in told for text in (FIRST.study_uid, SECOND.study_uid, FIRST.sop_instance_uid)), told
    assert not any(text in told for text in OURS), told


@pytest.mark.parametrize("name", ["metadata", "metadata_parts", "prepared", "neighbours", "promote", "export"])
async def test_a_reference_of_another_store_is_of_no_use(tmp_path: Path, name: str) -> None:
    need, _, ask = ALL[name]
    async with two(tmp_path / "a") as archive:
        await put(archive, LOCAL, FIRST, BESIDE)
        ref, beside = await archive.versions(LOCAL, FIRST.sop_instance_uid)
        with pytest.raises(NotFound):
            await ask(Held(archive, tmp_path, ref, beside), Principal("asking", "token", frozenset({need}), 2))


async def test_every_reading_verb_answers_of_its_store(tmp_path: Path) -> None:
    async with two(tmp_path) as archive:
        await put(archive, LOCAL, FIRST, SECOND)
        assert await put(archive, RESEARCH, TWIN, TWIN_BESIDE) == ["stored", "kept"]
        for who, name, count in ((LOCAL, "Doe^Jane", 2), (RESEARCH, "Trial^One", 1)):
            rows = await archive.find(who, Query("STUDY", {STUDY_UID: FIRST.study_uid, NAME: ""}))
            assert rows.rows[0][rows.columns.index(NAME)] == name
            assert await archive.count(who, Query("STUDY")) == count
            assert (await archive.count(who, Query("PATIENT", {NAME: name}, fuzzy=True))) == 1
            assert (await archive.count(who, Query("STUDY", {0x00181160: "x"}))) == 0
            (ref,) = await archive.instances(who, sop_instance_uids=[FIRST.sop_instance_uid])
            assert ref.store == who.store
            with archive.open_object(ref) as file:
                assert b"".join(file.file(1 << 16)) == (FIRST if who is LOCAL else TWIN).part10
            assert (await archive.statistics(who)).studies == count
            changes, cursor = await archive.changes(who, None, 10)
            assert len(changes) == 2
            assert await archive.changes(who, cursor, 10) == ([], cursor)
        assert (await archive.statistics(LOCAL)).bytes == len(FIRST.part10) + len(SECOND.part10)
        assert await archive.count(RESEARCH, Query("PATIENT", {NAME: "jane"}, fuzzy=True)) == 0
        assert len(await archive.discrepancies(LOCAL)) == 0
        assert len(await archive.versions(LOCAL, FIRST.sop_instance_uid)) == 1
        assert len(await archive.versions(RESEARCH, FIRST.sop_instance_uid)) == 2


async def test_an_idle_store_does_not_read_the_changes_of_others_again(tmp_path: Path) -> None:
    async with two(tmp_path) as archive:
        await put(archive, LOCAL, *(build(number) for number in range(5)))
        found, cursor = await archive.changes(RESEARCH, None, 10)
        assert (found, cursor) == ([], await archive.newest_change(LOCAL))
        await put(archive, RESEARCH, TWIN)
        found, _ = await archive.changes(RESEARCH, cursor, 10)
        assert [change.sop_instance_uid for change in found] == [TWIN.sop_instance_uid]


async def test_corrections_and_deletions_stay_in_their_store(tmp_path: Path) -> None:
    async with two(tmp_path) as archive:
        await put(archive, LOCAL, FIRST)
        await put(archive, RESEARCH, TWIN)
        where = (FIRST.study_uid, "")
        number = await archive.correct(RESEARCH, where, {"PatientName": "ANON"}, "why", "CORRECT")
        assert await archive.corrections_of(LOCAL, FIRST.study_uid) == []
        (ref,) = await archive.instances(LOCAL, study_uid=FIRST.study_uid)
        assert not ref.corrections
        (ref,) = await archive.instances(RESEARCH, study_uid=FIRST.study_uid)
        assert ref.corrections
        with pytest.raises(NotFound):
            await archive.undo_correction(LOCAL, FIRST.study_uid, number)
        deleted = await archive.delete(RESEARCH, Target(FIRST.study_uid))
        assert await archive.tombstones(LOCAL) == []
        with pytest.raises(NotFound):
            await archive.undelete(LOCAL, Target(), deleted.tombstone)
        with pytest.raises(Gone):
            await archive.instances(RESEARCH, study_uid=FIRST.study_uid)
        assert await archive.instances(LOCAL, study_uid=FIRST.study_uid)
        # Sent again after the collector: the correction is of the store, too.
        await archive.collect(now=1 << 60)
        await put(archive, RESEARCH, TWIN)
        for who, name in ((LOCAL, "Doe^Jane"), (RESEARCH, "ANON")):
            rows = await archive.find(who, Query("STUDY", {NAME: ""}))
            assert rows.rows == [(name,)]


async def test_the_same_file_in_two_stores_outlives_its_deletion_in_one(tmp_path: Path) -> None:
    async with two(tmp_path) as archive:
        assert await put(archive, LOCAL, FIRST) == await put(archive, RESEARCH, FIRST) == ["stored"]
        assert blobs(tmp_path) == {FIRST.digest}
        for who, other in ((RESEARCH, LOCAL), (LOCAL, RESEARCH)):
            await archive.delete(who, Target(FIRST.study_uid))
            assert (await archive.collect(now=1 << 60)).instances == 1
            (ref,) = await archive.instances(other, study_uid=FIRST.study_uid)
            with archive.open_object(ref) as file:
                assert b"".join(file.file(1 << 16)) == FIRST.part10
            assert await put(archive, who, FIRST) == ["stored"]
        for who in (LOCAL, RESEARCH):
            await archive.delete(who, Target(FIRST.study_uid))
        await archive.collect(now=1 << 60)
        assert blobs(tmp_path) == set()


async def test_a_repair_in_one_store_is_one_in_the_other(tmp_path: Path) -> None:
    async with two(tmp_path) as archive:
        await put(archive, LOCAL, FIRST)
        await put(archive, RESEARCH, FIRST)
        (path,) = (tmp_path / "objects").glob("*/*")
        path.write_bytes(b"damaged")
        archive.volume._roll_over()  # the repair gets another key
        assert await put(archive, RESEARCH, FIRST) == ["duplicate"]
        for who in (LOCAL, RESEARCH):
            (ref,) = await archive.instances(who, study_uid=FIRST.study_uid)
            with archive.open_object(ref) as file:
                assert b"".join(file.file(1 << 16)) == FIRST.part10
        assert len(list((tmp_path / "objects").glob("*/*"))) == 1


async def test_many_at_once_with_the_same_uids(tmp_path: Path) -> None:
    async with two(tmp_path) as archive:
        ours = [build(number) for number in range(20)]
        theirs = [build(number, patient_id="R1", patient_name="Trial^One") for number in range(20)]
        pairs = [(LOCAL, built) for built in ours] + [(RESEARCH, built) for built in theirs]
        answers = await asyncio.gather(*(put(archive, who, built) for who, built in pairs))
        assert {status for (status,) in answers} == {"stored"}
        for who, objects in ((LOCAL, ours), (RESEARCH, theirs)):
            held = await archive.instances(who, study_uid=FIRST.study_uid)
            assert {ref.digest for ref in held} == {built.digest for built in objects}
        assert (await archive.statistics(RESEARCH)).studies == 1


async def test_an_import_skips_what_its_own_store_holds(tmp_path: Path) -> None:
    async def imported(archive: Archive, who: Principal) -> list[str]:
        from sagittal.archive.upkeep.importer import import_files

        (tmp_path / "in.dcm").write_bytes(FIRST.part10)
        return [done.status async for done in import_files(archive, who, [tmp_path / "in.dcm"], Source("import"))]

    async with two(tmp_path / "a") as archive:
        assert [await imported(archive, who) for who in (LOCAL, RESEARCH, LOCAL, RESEARCH)] == [
            ["stored"], ["stored"], ["held"], ["held"],
        ]  # fmt: skip


def test_an_object_of_another_store_that_cannot_be_read_does_not_come_back_in_main(tmp_path: Path) -> None:
    async def held() -> int:
        async with two(tmp_path) as archive:
            await put(archive, LOCAL, FIRST)
            await put(archive, RESEARCH, TWIN_SECOND)
            return (await archive.statistics(LOCAL)).instances

    asyncio.run(held())
    file = tmp_path / "objects" / "0001" / TWIN_SECOND.digest
    whole = file.rename(tmp_path / "whole")
    file.mkdir()  # something is there, and can't be read
    with pytest.raises(DamagedObject, match="in another store than main"):
        list(reindex(tmp_path))
    file.rmdir()
    whole.rename(file)
    assert not [done.error for done in reindex(tmp_path) if done.error]
    assert asyncio.run(held()) == 1


def test_a_reindex_keeps_every_object_in_its_store(tmp_path: Path) -> None:
    async def fill() -> None:
        async with two(tmp_path) as archive:
            await put(archive, LOCAL, FIRST)
            await put(archive, RESEARCH, TWIN, FIRST, SECOND)
            await archive.delete(RESEARCH, Target(SECOND.study_uid))
            await archive.correct(RESEARCH, (FIRST.study_uid, ""), {"StudyDescription": "T"}, "why", "CORRECT")

    async def look(names: tuple[str, ...]) -> None:
        archive = await Archive.open(tmp_path, durability="off")
        try:
            assert tuple(archive.stores) == names
            assert len(await archive.versions(LOCAL, FIRST.sop_instance_uid)) == (1 if len(names) > 1 else 2)
            if len(names) > 1:
                assert [ref.digest for ref in await archive.instances(LOCAL, study_uid=FIRST.study_uid)] == [
                    FIRST.digest
                ]
                held = await archive.versions(RESEARCH, FIRST.sop_instance_uid)
                assert [ref.digest for ref in held] == [TWIN.digest, FIRST.digest]
                rows = await archive.find(RESEARCH, Query("STUDY", {0x00081030: ""}))
                assert rows.rows == [("T",)]
                with pytest.raises(Gone):
                    await archive.instances(RESEARCH, study_uid=SECOND.study_uid)
                assert await archive.undelete(RESEARCH, Target(SECOND.study_uid)) == 1
        finally:
            await archive.close()

    asyncio.run(fill())
    assert not [done.error for done in reindex(tmp_path) if done.error]
    asyncio.run(look(("main", "research")))
    (tmp_path / INDEX).unlink()  # without it the objects alone cannot tell
    assert not [done.error for done in reindex(tmp_path) if done.error]
    asyncio.run(look(("main",)))


async def test_backup_scrub_and_collector_are_of_the_whole_archive(tmp_path: Path) -> None:
    async with two(tmp_path / "a") as archive:
        await put(archive, LOCAL, FIRST)
        await put(archive, RESEARCH, TWIN)
        copied = [one.key async for one in tasks.back_up(archive, LOCAL, tmp_path / "backup")]
        assert {key.partition("/")[2] for key in copied} == {FIRST.digest, TWIN.digest}
        assert findings(archive) == []
        (path,) = (tmp_path / "a" / "objects").glob(f"*/{TWIN.digest}")
        path.unlink()
        assert findings(archive)


def test_who_may_work_where() -> None:
    one = Principal("one", "token", frozenset({"find"}), 2)
    assert enter(one, 2) is one
    with pytest.raises(NotAuthorized):
        enter(one, 1)
    assert enter(Principal("operator", "token", VERBS), 2).store == 2


@pytest.mark.parametrize("name", ["", "Main", "a/b", "..", "dicom-web", "a" * 33, "ü"])
def test_names_that_are_none(name: str) -> None:
    with pytest.raises(UsageError):
        stores.check_name(name)


async def test_nodes_and_tokens_of_stores_that_are_there(tmp_path: Path) -> None:
    async with two(tmp_path) as archive:
        await put_node(archive.act, LOCAL, Node("A", "h", 104, store="research"))
        await put_token(archive.act, LOCAL, Token("t", "0" * 64, frozenset(), store="research"))
        with pytest.raises(UsageError, match="there is no store"):
            await put_node(archive.act, LOCAL, Node("A", "h", 104, store="other"))
        with pytest.raises(UsageError, match="there is no store"):
            await put_token(archive.act, LOCAL, Token("t", "0" * 64, frozenset(), store="other"))


async def test_the_audit_log_says_in_which_store(tmp_path: Path) -> None:
    async with two(tmp_path) as archive:
        await put(archive, RESEARCH, TWIN)
        await archive.find(RESEARCH, Query("STUDY"))
        await archive.find(LOCAL, Query("STUDY"))
    rows = sqlite3.connect(tmp_path / INDEX).execute("SELECT verb, store FROM audit ORDER BY id").fetchall()
    assert sorted(rows) == [("find", 1), ("find", 2), ("store", 2)]


async def test_references_to_a_file_are_looked_up_by_index(tmp_path: Path) -> None:
    from sagittal.archive.index import removal, writer

    async with two(tmp_path):
        pass
    connection = sqlite3.connect(tmp_path / INDEX)
    asked = ((writer._KEY_REFERENCES, 4), (removal._REFERRED, 8), (select.FILES_OF_INSTANCE, 4))
    for statement, values in asked:
        plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}", ("x",) * values)]
        assert not [step for step in plan if "instance" in step and step.startswith("SCAN")], plan
        assert [step for step in plan if "store=? AND sop_instance_uid=?" in step], plan
