"""Finding, by the engine: levels, keys, computed attributes, paging, what is hidden and what is refused."""

from __future__ import annotations

import asyncio
import sqlite3
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import pytest
from builders import CT, MR, build, opened, store, uid
from sqlalchemy import UniqueConstraint

from sagittal.archive import query
from sagittal.archive.access import LOCAL, Principal
from sagittal.archive.archive import Archive
from sagittal.archive.index import tables
from sagittal.archive.index.finding.attributes import Attributes
from sagittal.archive.index.keys import INDEXED, KEYS
from sagittal.archive.index.removal import Target
from sagittal.archive.index.select import Asked, query_statement
from sagittal.archive.query import Query
from sagittal.archive.search.prepared import prepare
from sagittal.errors import BadRequest, LimitExceeded, NotAuthorized
from sagittal.limits import ArchiveLimits, Limits

STUDY, SERIES, INSTANCE = 0x0020000D, 0x0020000E, 0x00080018
PATIENT_ID, PATIENT_NAME, STUDY_DATE, MODALITIES = 0x00100020, 0x00100010, 0x00080020, 0x00080061

OBJECTS = [
    build(1, study="a", series=1, patient_id="P1", patient_name="Doe^Jane", study_date="20240105"),
    build(2, study="a", series=1, patient_id="P1", patient_name="Doe^Jane", study_date="20240105"),
    build(
        1, study="a", series=2, patient_id="P1", patient_name="Doe^Jane", modality="MR", sop_class_uid=MR,
        study_date="20240105",
    ),
    build(
        1, study="b", patient_id="P2", patient_name="Yamada^Tarou=山田^太郎", charset="ISO_IR 192",
        study_date="20250601",
    ),
    build(1, study="c", patient_id="", patient_name="", study_date=""),
]  # fmt: skip


async def asked(
    archive: Archive, level: str, keys: dict[int, str], *include: int, **page: int
) -> list[tuple[object, ...]]:
    rows = await archive.find(LOCAL, Query(level, keys, frozenset(include), **page))
    wanted = [rows.columns.index(tag) for tag in include]
    return [tuple(row[position] for position in wanted) for row in rows.rows]


def found(path: Path, level: str, keys: dict[int, str], *include: int, **page: int) -> list[tuple[object, ...]]:
    async def run() -> list[tuple[object, ...]]:
        async with opened(path) as archive:
            await store(archive, *OBJECTS)
            return await asked(archive, level, keys, *include, **page)

    return asyncio.run(run())


A, B, C = (uid("study", name) for name in "abc")


@pytest.mark.parametrize(
    ("keys", "studies"),
    [
        ({}, [A, B, C]),
        ({PATIENT_ID: "P1"}, [A]),
        ({PATIENT_ID: "p1"}, []),
        ({PATIENT_ID: "P*"}, [A, B]),
        ({PATIENT_ID: ""}, [A, B, C]),
        ({PATIENT_NAME: "doe^*"}, [A]),
        ({PATIENT_NAME: "DOE^JANE"}, [A]),
        ({PATIENT_NAME: "山田*"}, [B]),
        ({PATIENT_NAME: "Yamada^Tarou"}, [B]),
        ({PATIENT_NAME: "*a*"}, [A, B]),
        ({STUDY_DATE: "20240101-20241231"}, [A]),
        ({STUDY_DATE: "20240105-"}, [A, B]),
        ({STUDY_DATE: "-20241231"}, [A]),
        ({STUDY: f"{A}\\{C}\\1.2.3"}, [A, C]),
        ({MODALITIES: "MR"}, [A]),
        ({MODALITIES: "MR\\CT"}, [A, B, C]),
        ({0x00080062: MR}, [A]),
        ({0x00201208: "3"}, [A]),
        ({STUDY_DATE: "20240105", PATIENT_ID: "P1", 0x00080050: "Aa"}, [A]),
        ({0x00400275: "anything"}, [A, B, C]),
    ],
)
def test_studies(tmp_path: Path, keys: dict[int, str], studies: list[str]) -> None:
    assert found(tmp_path, "STUDY", keys, STUDY) == [(study,) for study in studies]


@pytest.mark.parametrize("key", [{}, {PATIENT_NAME: "*a*"}, {0x00080008: "*"}, {0x00081140: {0x00081155: "*"}}])
async def test_counting_ends_at_the_limit(tmp_path: Path, key: Any) -> None:
    async with opened(tmp_path) as archive:
        await store(archive, *OBJECTS)
        whole = await archive.count(LOCAL, Query("STUDY", key))
        for limit in range(5):
            assert await archive.count(LOCAL, Query("STUDY", key, limit=limit, offset=1)) == min(limit, whole)


async def test_computed_attributes(tmp_path: Path) -> None:
    async with opened(tmp_path) as archive:
        await store(archive, *OBJECTS)
        row = await asked(archive, "STUDY", {STUDY: A}, MODALITIES, 0x00080062, 0x00201206, 0x00201208)
        assert row == [("CT\\MR", f"{CT}\\{MR}", 2, 3)]
        assert await asked(archive, "PATIENT", {PATIENT_ID: "P1"}, 0x00201200, 0x00201202, 0x00201204) == [(1, 2, 3)]
        counts = await asked(archive, "SERIES", {STUDY: A}, 0x00201209)
        assert counts == [(2,), (1,)]
        assert len(await asked(archive, "PATIENT", {}, PATIENT_ID)) == 3


async def test_series_and_instances_reach_up(tmp_path: Path) -> None:
    async with opened(tmp_path) as archive:
        await store(archive, *OBJECTS)
        assert await asked(archive, "SERIES", {PATIENT_ID: "P1", 0x00080060: "MR"}, SERIES, STUDY) == [
            (OBJECTS[2].series_uid, A)
        ]
        assert await asked(archive, "IMAGE", {STUDY: A, SERIES: OBJECTS[0].series_uid}, INSTANCE, PATIENT_NAME) == [
            (OBJECTS[0].sop_instance_uid, "Doe^Jane"),
            (OBJECTS[1].sop_instance_uid, "Doe^Jane"),
        ]
        assert await asked(archive, "IMAGE", {0x00200013: "2"}, INSTANCE) == [(OBJECTS[1].sop_instance_uid,)]
        assert len(await asked(archive, "IMAGE", {0x00280010: "4"}, INSTANCE)) == 5


async def test_pages_are_stable(tmp_path: Path) -> None:
    async with opened(tmp_path) as archive:
        await store(archive, *OBJECTS)
        pages = [await asked(archive, "IMAGE", {}, INSTANCE, limit=2, offset=offset) for offset in (0, 2, 4, 6)]
        assert [len(page) for page in pages] == [2, 2, 1, 0]
        assert [row for page in pages for row in page] == [(built.sop_instance_uid,) for built in OBJECTS]


async def test_unmatched_keys_are_told(tmp_path: Path) -> None:
    async with opened(tmp_path) as archive:
        rows = await archive.find(LOCAL, Query("STUDY", {0x00400275: "x", 0x00321060: "", STUDY: ""}))
        assert rows.unmatched == {0x00400275}
        assert rows.columns == (STUDY,)


async def test_deleted_and_other_versions_are_not_found(tmp_path: Path) -> None:
    async with opened(tmp_path) as archive:
        await store(archive, *OBJECTS, build(1, study="a", series=1, patient_id="P1", extra={"StudyID": "other"}))
        assert len(await asked(archive, "IMAGE", {STUDY: A}, INSTANCE)) == 3
        await archive.delete(LOCAL, Target(A, OBJECTS[2].series_uid), "test")
        assert await asked(archive, "STUDY", {STUDY: A}, MODALITIES, 0x00201206) == [("CT", 1)]
        await archive.delete(LOCAL, Target(A), "test")
        for level in KEYS:
            assert not await asked(archive, level, {PATIENT_ID: "P1"}, PATIENT_ID)


@pytest.mark.parametrize(("held", "refused"), [(1, False), (2, False), (3, True)])
async def test_the_row_budget(tmp_path: Path, held: int, refused: bool) -> None:
    async with opened(tmp_path, Limits(archive=ArchiveLimits(query_rows_max=2))) as archive:
        await store(archive, *(build(number) for number in range(held)))
        if refused:
            with pytest.raises(LimitExceeded, match="more than 2"):
                await archive.find(LOCAL, Query("IMAGE"))
        else:
            assert len((await archive.find(LOCAL, Query("IMAGE"))).rows) == held
        assert len((await archive.find(LOCAL, Query("IMAGE", limit=1))).rows) == 1


_MANY = (
    "INSERT INTO study (store, patient, study_instance_uid, study_description, number_of_instances, created_at, "
    "changed_at) WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000) "
    "SELECT 1, 1, '1.2.' || i, 'a long description of a study, whatever it may have been made for, and more', 1, 0, 0 "
    "FROM n"
)


@pytest.mark.parametrize("beyond", [-0.1, 0.0, 0.1])
def test_query_seconds_max(beyond: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a clock that stands at the beginning, and then about the limit."""
    seconds, count = ArchiveLimits().query_seconds_max, 30_000
    clock = chain((0.0,), repeat(seconds + beyond))
    monkeypatch.setattr(query, "monotonic", lambda: next(clock))
    connection = sqlite3.connect(":memory:")
    wide = f"WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count}) SELECT count(*) FROM n"
    if beyond > 0:
        with pytest.raises(LimitExceeded, match="10 seconds"):
            query._fetch(connection, wide, (), seconds)
    else:
        assert query._fetch(connection, wide, (), seconds) == [(count,)]
    connection.close()


async def test_the_time_budget(tmp_path: Path) -> None:
    async with opened(tmp_path, Limits(archive=ArchiveLimits(query_seconds_max=0))) as archive:
        await store(archive, *OBJECTS)
        await archive.find(LOCAL, Query("STUDY"))  # over before anybody looks
        wide = "\\".join(f"*{'?' * 50}{number}*" for number in range(100))
        await archive.act(lambda connection: connection.execute(_MANY) and None)
        with pytest.raises(LimitExceeded, match="0 seconds"):
            await archive.find(LOCAL, Query("STUDY", {0x00081030: wide}))
        await archive.find(LOCAL, Query("STUDY"))


async def test_refusals(tmp_path: Path) -> None:
    async with opened(tmp_path) as archive:
        with pytest.raises(BadRequest):
            await archive.find(LOCAL, Query("GALAXY"))
        with pytest.raises(BadRequest):
            await archive.find(LOCAL, Query("STUDY", {STUDY_DATE: "soon"}))
        with pytest.raises(NotAuthorized):
            await archive.find(Principal("x", "node", frozenset({"store"})), Query("STUDY"))


async def test_every_key_is_a_column_and_every_statement_is_sql(tmp_path: Path) -> None:
    async with opened(tmp_path) as archive:
        await store(archive, OBJECTS[0])
        for level, keys in KEYS.items():
            matching = {tag: "1" for tag, key in keys.items() if key.kind and key.kind not in ("date", "time")}
            await archive.find(LOCAL, Query(level, matching, frozenset(keys)))
            for tag in matching:
                await archive.find(LOCAL, Query(level, {tag: "1*"} if keys[tag].kind != "number" else {tag: "1"}))


def test_the_indexed_columns_are_those_of_the_schema() -> None:
    for name, columns in INDEXED.items():
        table = tables.schema.tables[name]
        led = [[column.name for column in index.columns] for index in table.indexes]
        led_by = [c for c in table.constraints if isinstance(c, UniqueConstraint)]
        led += [[column.name for column in c.columns] for c in led_by]
        assert columns <= {names[1] for names in led if names[0] == "store" and len(names) > 1}


async def test_indexes_answer_the_usual_questions(tmp_path: Path) -> None:
    async with opened(tmp_path):
        pass
    connection = sqlite3.connect(tmp_path / "index.db")
    for level, shape, values in (
        ("STUDY", ((PATIENT_ID, "eq"),), 1),
        ("STUDY", ((STUDY_DATE, "within"),), 2),
        ("STUDY", ((PATIENT_NAME, "name-prefix"),), 5),
        ("STUDY", ((PATIENT_NAME, "name"),), 4),
        ("SERIES", ((STUDY, "eq"),), 1),
        ("IMAGE", ((STUDY, "eq"),), 1),
        ("IMAGE", ((SERIES, "eq"),), 1),
        ("IMAGE", ((INSTANCE, "eq"),), 1),
        ("IMAGE", ((INSTANCE, "eq"), (SERIES, "eq"), (STUDY, "eq")), 3),
        ("PATIENT", ((PATIENT_ID, "eq"),), 1),
    ):
        asked = tuple(Asked(KEYS[level][tag], form) for tag, form in shape)
        statement = query_statement(1, level, asked, (STUDY,) if level != "PATIENT" else (PATIENT_ID,))
        plan = connection.execute(f"EXPLAIN QUERY PLAN {statement}", ("x",) * values + (1, 0)).fetchall()
        steps = [row[3] for row in plan]
        assert not [step for step in steps if step.startswith("SCAN") and "json_each" not in step], (
            level,
            shape,
            steps,
        )
        assert not [step for step in steps if step.endswith("(store=?)") and "groups" not in step], (
            level,
            shape,
            steps,
        )


async def test_no_indexed_form_scans(tmp_path: Path) -> None:
    async with opened(tmp_path):
        pass
    connection = sqlite3.connect(tmp_path / "index.db")
    asked = 0
    for level, keys in KEYS.items():
        for tag, key in keys.items():
            column = (key.search or key.column).rpartition(".")[2]
            if column not in INDEXED.get((key.search or key.column).partition(".")[0], ()):
                continue
            texts = {"name": ["doe^j", "doe*", "*oe", "a=b"], "date": ["20200101", "20200101-"], "uid": ["1.2", "1\\2"]}
            for text in texts.get(key.kind, ["a", "a*", "a\\b", "*a?"]):
                for options in ({}, {"fuzzy": True}, {"order": ((tag, True),)}, {"timezone": "+0100"}):
                    prepared = prepare(Query(level, {tag: text}, limit=10, **options), Attributes(), 1)  # type: ignore[arg-type]
                    statement = query_statement(1, level, prepared.shape, prepared.columns, prepared.order)
                    plan = connection.execute(f"EXPLAIN QUERY PLAN {statement}", (*prepared.values, 10, 0)).fetchall()
                    scans = [row[3] for row in plan if row[3].startswith("SCAN") and "json_each" not in row[3]]
                    assert not scans, (level, key.column, text, options, scans, statement)
                    asked += 1
    assert asked > 100


async def test_an_ordered_page_walks_an_index(tmp_path: Path) -> None:
    async with opened(tmp_path):
        pass
    connection = sqlite3.connect(tmp_path / "index.db")
    for tag in (STUDY_DATE, PATIENT_NAME, PATIENT_ID):
        for down in (False, True):
            for after in (False, True):
                statement = query_statement(1, "STUDY", (), (STUDY,), ((tag, down),), after=after)
                values = ("x", "x", "x", 1) if after else ()
                plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}", (*values, 10, 0))]
                assert len(plan) == 1, plan
                assert "USING INDEX ix_study" in plan[0]
