"""Pages of what is read of metadata, for what no index holds."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import threading
import tracemalloc
import zlib
from contextlib import aclosing, closing, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from builders import build, opened, store

from sagittal.archive import query
from sagittal.archive.access import LOCAL
from sagittal.archive.opening import INDEX
from sagittal.archive.query import Query, Rows
from sagittal.archive.search import scan
from sagittal.errors import LimitExceeded
from sagittal.limits import ArchiveLimits, Limits

NAME, OCCUPATION, COMMENTS = 0x00100010, 0x00102180, 0x00104000
OBJECTS = [
    build(number, study=study, patient_id=study, extra={"PatientComments": "x" * 40 * number})
    for number, study in enumerate("aabc", 1)
]


@pytest.mark.parametrize("level", ["PATIENT", "STUDY", "SERIES", "IMAGE"])
@pytest.mark.parametrize("limit", [None, 2, 10])
async def test_a_page_ends_where_what_it_returns_is_enough(tmp_path: Path, level: str, limit: int | None) -> None:
    """Of what no index holds; at cap-1, cap and cap+1, and each page has a row."""
    async with opened(tmp_path) as archive:
        await store(archive, *OBJECTS)
        asked = Query(level, {}, include=frozenset({COMMENTS}), limit=limit)
        archive.limits = Limits()
        whole = await archive.find(LOCAL, replace(asked, limit=None))
        sizes = [len(json.dumps(each, separators=(",", ":"))) for each in whole.extra]
        for most, rows in ((1, 1), (sum(sizes[:2]) - 1, 1), (sum(sizes[:2]), 2), (sum(sizes[:2]) + 1, 2)):
            archive.limits = Limits(archive=ArchiveLimits(returned_bytes_max=most))
            first = await archive.find(LOCAL, asked)
            assert first.more and (len(first.rows), len(first.extra)) == (rows, rows)
            pages = [first]
            while pages[-1].next:
                pages.append(await archive.find(LOCAL, replace(asked, after=pages[-1].next)))
            assert not pages[-1].more
            assert [row for page in pages for row in page.rows] == whole.rows
            assert [each for page in pages for each in page.extra] == whole.extra


async def test_no_more_is_held_than_a_page_returns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of several instances that are read in one go: the page, and the one that is too much for it."""
    whole, held = scan.objects, list[int]()

    def counted(*asked: Any) -> Any:
        held.append(0)
        for each in whole(*asked):
            held[-1] += 1
            yield each

    async with opened(tmp_path) as archive:
        await store(archive, *(build(n, extra={"PatientComments": "x" * 200}) for n in range(1, 13)))
        archive.limits = Limits(archive=ArchiveLimits(returned_bytes_max=600))
        monkeypatch.setattr(scan, "objects", counted)
        page = await archive.find(LOCAL, Query("IMAGE", {}, include=frozenset({COMMENTS})))
        assert page.more and len(page.rows) == 2
    assert max(held) == 3


@pytest.mark.parametrize(("need", "there"), [(b'"00104000"', True), (b'"00104001"', False)])
def test_too_much_metadata_is_looked_through_in_parts(
    need: bytes, there: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is needed may lie across two parts."""
    text = b"x" * 499_997 + b'"00104000"' + b"x" * 500_000
    parts = [zlib.compress(text[at : at + 10_000]) for at in range(0, len(text), 10_000)]
    monkeypatch.setattr(scan, "_bodies", lambda *_: iter([(1, parts)]))
    monkeypatch.setattr(scan.corrections, "of_instances", lambda *_: {})
    with closing(sqlite3.connect(":memory:")) as connection:
        tracemalloc.start()
        try:
            with pytest.raises(LimitExceeded) if there else nullcontext():
                assert not list(scan._texts(connection, [1], (need,), 20_000))
            assert tracemalloc.get_traced_memory()[1] < 200_000
        finally:
            tracemalloc.stop()


async def test_a_page_ends_where_its_time_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a clock that is over the limit after the first objects that are read at one time."""
    clock = iter([0.0, 0.0, 0.0, 20.0] * 2)
    monkeypatch.setattr(query, "_OBJECTS_AT_ONCE", 2)
    async with opened(tmp_path) as archive:
        await store(archive, *OBJECTS)
        asked = Query("IMAGE", {COMMENTS: ""})
        whole = await archive.find(LOCAL, asked)
        monkeypatch.setattr(query, "monotonic", lambda: next(clock))
        found = [rows async for rows in archive.pages(LOCAL, asked)]
        assert [len(rows.rows) for rows in found] == [2, 2]
        assert [row for rows in found for row in rows.rows] == whole.rows
        assert [each for rows in found for each in rows.extra] == whole.extra
        assert not any(rows.unmatched for rows in found)


@pytest.mark.parametrize("fails", ["once", "later", "always"])
def test_what_costs_too_much_to_return_is_left_out(fails: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = Query("STUDY", {NAME: "", COMMENTS: "", OCCUPATION: "x"})
    seen, cursors = list[Query](), {"": "b", "b": ""}

    async def find(_readers: object, _limits: object, _principal: object, query: Query, _attributes: object) -> Rows:
        seen.append(query)
        if fails == "always" or (COMMENTS in query.keys and (fails == "once" or query.after)):
            raise LimitExceeded("too much")
        return Rows((NAME,), [("Doe",)], next=cursors[query.after])

    monkeypatch.setattr(query, "find", find)

    async def act() -> None:
        async with opened(tmp_path) as archive:
            unmatched = [rows.unmatched async for rows in archive.pages(LOCAL, asked)]
            left_out = frozenset({COMMENTS})
            assert unmatched == ([left_out, left_out] if fails == "once" else [frozenset(), left_out])

    if fails == "always":
        with pytest.raises(LimitExceeded):
            asyncio.run(act())
    else:
        asyncio.run(act())
    assert seen[-1].keys == {NAME: "", OCCUPATION: "x"}


@pytest.mark.parametrize("left_after", [1, 2, None])
async def test_all_pages_are_one_act(left_after: int | None, tmp_path: Path) -> None:
    limits = Limits(archive=ArchiveLimits(returned_bytes_max=1))
    async with opened(tmp_path, limits) as archive:
        await store(archive, *OBJECTS)
        number = 0
        async with aclosing(archive.pages(LOCAL, Query("IMAGE", {COMMENTS: ""}))) as pages:
            async for rows in pages:
                number += len(rows.rows)
                if number == left_after:
                    break
    with closing(sqlite3.connect(tmp_path / INDEX)) as index:
        rows = index.execute("SELECT outcome, number_of_instances FROM audit WHERE verb = 'find'").fetchall()
    assert rows == [("done", left_after or len(OBJECTS))]


@pytest.mark.parametrize(
    "slow", [Query("IMAGE", {}, include_all=True), Query("IMAGE", {COMMENTS: "x*"})], ids=["returned", "matched"]
)
def test_reading_metadata_leaves_a_thread_to_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, slow: Query
) -> None:
    """However many searches read it, one that the index answers does not wait behind them."""
    held, texts = threading.Event(), scan._texts

    def waiting(*given: Any) -> Any:
        assert held.wait(30)
        return texts(*given)

    async def act() -> None:
        async with opened(tmp_path) as archive:
            await store(archive, *OBJECTS)
            monkeypatch.setattr(scan, "_texts", waiting)
            reading = [asyncio.ensure_future(archive.find(LOCAL, slow)) for _ in range(5)]
            try:
                for _ in range(3):  # the first steps of those five are short ones, too
                    found = await asyncio.wait_for(archive.find(LOCAL, Query("STUDY", {NAME: "*"})), 10)
                    assert len(found.rows) == 3
                assert not any(each.done() for each in reading)
            finally:
                held.set()
            assert [len(rows.rows) for rows in await asyncio.gather(*reading)] == [4] * 5

    asyncio.run(act())
