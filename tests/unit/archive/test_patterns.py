"""What the patterns of a query may cost: they are made ready in one piece, which nothing interrupts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from builders import opened

from sagittal.archive.access import LOCAL
from sagittal.archive.query import Private, Query
from sagittal.errors import LimitExceeded
from sagittal.limits import ArchiveLimits, Limits

STUDY, NAME, COMMENTS = 0x0020000D, 0x00100010, 0x00104000


@pytest.mark.parametrize("over", [-1, 0, 1])
@pytest.mark.parametrize(
    "keys",
    [
        {NAME: "n" * 20}, {NAME: "\U00010400" * 20}, {0x00100020: "*" + "[" * 19}, {COMMENTS: "?" * 20},
        {NAME: "n" * 10, 0x00401001: "*" + "x" * 9}, {0x00081140: {0x00081155: "1.2", COMMENTS: "*" * 19 + "a"}},
        {Private("ACME", 0x00090002): "x" * 20},
    ],
)  # fmt: skip
async def test_the_budget_of_patterns(tmp_path: Path, keys: Any, over: int) -> None:
    async with opened(tmp_path, Limits(archive=ArchiveLimits(query_pattern_characters_max=20 + over))) as archive:
        for ask in (archive.find, archive.count):
            if over < 0:
                with pytest.raises(LimitExceeded, match="query_pattern_characters_max"):
                    await ask(LOCAL, Query("IMAGE", keys))
            else:
                await ask(LOCAL, Query("IMAGE", keys))
        if over < 0:
            with pytest.raises(LimitExceeded, match="query_pattern_characters_max"):
                await archive.find_non_patient(LOCAL, ["1.2"], keys)


async def test_long_patterns_at_the_limit_and_lists_beyond_it(tmp_path: Path) -> None:
    """What is taken is answered, in any script; what is no pattern is not counted."""
    most = ArchiveLimits().query_pattern_characters_max
    async with opened(tmp_path) as archive:
        for text in ("*" + "[" * (most - 1), "*" + "\U00020000" * (most - 1), "*a" * (most // 2)):
            for tag in (NAME, 0x00100020):
                assert (await archive.find(LOCAL, Query("STUDY", {tag: text}))).rows == []
        with pytest.raises(LimitExceeded, match="50000 bytes"):
            await archive.find(LOCAL, Query("STUDY", {NAME: "\ufdfa" * most}))
        uids = "\\".join(f"1.2.{at}" for at in range(most))
        assert (await archive.find(LOCAL, Query("STUDY", {STUDY: uids}))).rows == []
