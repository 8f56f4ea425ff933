"""What changes what is held looks for it by indexes: nothing is stored while it does."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from itertools import combinations
from pathlib import Path

import pytest
from builders import build, opened, store

from sagittal.archive.access import LOCAL
from sagittal.archive.archive import INDEX, Archive
from sagittal.archive.index import CURRENT, DELETED, MAIN_STORE, OTHER
from sagittal.archive.index.removal import Target
from sagittal.archive.index.select import instances_statement
from sagittal.errors import NotFound

HELD, OTHERWISE = build(1), build(1, patient_name="Roe^Tom")
STUDY = Target(HELD.study_uid)
SERIES = Target(HELD.study_uid, HELD.series_uid)
TARGETS = (
    STUDY,
    SERIES,
    Target("", HELD.series_uid),
    Target("", "", HELD.sop_instance_uid),
    SERIES._replace(sop_instance_uid=HELD.sop_instance_uid),
)


async def everything(archive: Archive, objects: Path) -> None:
    """Of each kind once."""
    await store(archive, HELD, build(2, study=2))
    for target in TARGETS:
        await archive.undelete(LOCAL, Target(), (await archive.delete(LOCAL, target)).tombstone)
    (objects / HELD.digest).unlink()
    await store(archive, HELD)
    await store(archive, OTHERWISE)
    await store(archive, OTHERWISE, policy="replace")
    [beside] = [ref for ref in await archive.versions(LOCAL, HELD.sop_instance_uid) if ref.state == OTHER]
    await archive.promote(LOCAL, beside)
    number = await archive.correct(LOCAL, (HELD.study_uid, ""), {"PatientName": "New^N"}, "why", "CORRECT")
    await archive.undo_correction(LOCAL, HELD.study_uid, number)
    await archive.delete(LOCAL, STUDY)
    await archive.collect(now=1 << 60)


@pytest.mark.parametrize("state", [CURRENT, DELETED, None])
@pytest.mark.parametrize(
    "by", [by for count in range(1, 5) for by in combinations(("study", "series", "patient", "instances"), count)]
)
async def test_nothing_that_is_named_is_looked_for_among_all_instances(
    tmp_path: Path, by: tuple[str, ...], state: int | None
) -> None:
    """Nor what is not there: whether it was deleted, and which versions there are of it."""
    async with opened(tmp_path):
        pass
    with closing(sqlite3.connect(tmp_path / INDEX)) as index:
        statement = instances_statement(MAIN_STORE, by, state)
        plan = [row[3] for row in index.execute(f"EXPLAIN QUERY PLAN {statement}", ["[]"] * len(by))]
    assert not [step for step in plan if step.startswith("SCAN") and "json_each" not in step], plan


async def test_no_act_reads_all_instances(tmp_path: Path) -> None:
    done: list[str] = []
    async with opened(tmp_path) as archive:
        await archive.act(lambda connection: connection.set_trace_callback(done.append))
        await everything(archive, tmp_path / "objects" / "0001")
        await archive.act(lambda connection: connection.set_trace_callback(None))
    assert (tmp_path / "objects" / "0001" / build(2, study=2).digest).exists() and len(done) > 100
    with closing(sqlite3.connect(tmp_path / INDEX)) as index:
        for statement in done:
            if statement.startswith(("SELECT", "INSERT", "UPDATE", "DELETE")):
                plan = [row[3] for row in index.execute(f"EXPLAIN QUERY PLAN {statement}")]
                assert not [step for step in plan if step.startswith(("SCAN instance", "SCAN discrepancy"))], (
                    statement,
                    plan,
                )


@pytest.mark.parametrize("target", TARGETS)
async def test_what_undoes_deletions_reads_none_of_others(tmp_path: Path, target: Target) -> None:
    done: list[str] = []
    async with opened(tmp_path) as archive:
        await archive.act(lambda connection: connection.set_trace_callback(done.append))
        with pytest.raises(NotFound):
            await archive.undelete(LOCAL, target)
        await archive.act(lambda connection: connection.set_trace_callback(None))
    [statement] = [statement for statement in done if "FROM tombstone" in statement]
    with closing(sqlite3.connect(tmp_path / INDEX)) as index:
        plan = [row[3] for row in index.execute(f"EXPLAIN QUERY PLAN {statement}")]
    assert not [step for step in plan if step.startswith("SCAN")], plan
