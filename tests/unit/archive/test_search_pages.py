"""Pages of what is read of metadata, for what no index holds."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path

import pytest
from builders import build, opened, store

from sagittal.archive.access import LOCAL
from sagittal.archive.query import Query
from sagittal.limits import ArchiveLimits, Limits

COMMENTS = 0x00104000
OBJECTS = [
    build(number, study=study, patient_id=study, extra={"PatientComments": "x" * 40 * number})
    for number, study in enumerate("aabc", 1)
]


@pytest.mark.parametrize("level", ["PATIENT", "STUDY", "SERIES", "IMAGE"])
@pytest.mark.parametrize("limit", [None, 2, 10])
def test_a_page_ends_where_what_it_returns_is_enough(tmp_path: Path, level: str, limit: int | None) -> None:
    """Of what no index holds; at cap-1, cap and cap+1, and each page has a row."""

    async def act() -> None:
        async with opened(tmp_path) as archive:
            await store(archive, *OBJECTS)
            query = Query(level, {}, include=frozenset({COMMENTS}), limit=limit)
            archive.limits = Limits()
            whole = await archive.find(LOCAL, replace(query, limit=None))
            sizes = [len(json.dumps(each, separators=(",", ":"))) for each in whole.extra]
            for most, rows in ((1, 1), (sum(sizes[:2]) - 1, 1), (sum(sizes[:2]), 2), (sum(sizes[:2]) + 1, 2)):
                archive.limits = Limits(archive=ArchiveLimits(returned_bytes_max=most))
                first = await archive.find(LOCAL, query)
                assert first.more and (len(first.rows), len(first.extra)) == (rows, rows)
                pages = [first]
                while pages[-1].next:
                    pages.append(await archive.find(LOCAL, replace(query, after=pages[-1].next)))
                assert not pages[-1].more
                assert [row for page in pages for row in page.rows] == whole.rows
                assert [each for page in pages for each in page.extra] == whole.extra

    asyncio.run(act())
