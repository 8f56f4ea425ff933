"""`sagittal export`: all that is current, of patients or not."""

from __future__ import annotations

import asyncio
import csv
from pathlib import Path
from typing import Any

import pytest
from builders import build, opened, store
from click import Command
from click.testing import CliRunner

from sagittal.archive import query
from sagittal.archive.access import LOCAL
from sagittal.archive.index.removal import Target
from sagittal.archive.ingest import Source
from sagittal.cli.data.backup import command as backup
from sagittal.cli.data.export import _refs, command
from sagittal.dicom import elements, part10
from sagittal.dicom.syntaxes import EXPLICIT_LE, syntax
from sagittal.errors import Gone, UsageError

PALETTE, INSTANCE = "1.2.840.10008.5.1.4.39.1", "2.25.7"
CT = build()


def palette() -> bytes:
    texts = [(0x00080016, "UI", PALETTE), (0x00080018, "UI", INSTANCE), (0x00700080, "CS", "PET")]
    data = elements.encode(
        [(tag, vr, elements.encode_text(vr, text, ())) for tag, vr, text in texts], syntax(EXPLICIT_LE)
    )
    return part10.meta_group(PALETTE, INSTANCE, EXPLICIT_LE) + data


@pytest.mark.parametrize(("words", "expected"), [((), {CT.sop_instance_uid, INSTANCE}),
                                                 (("--study", CT.study_uid), {CT.sop_instance_uid})])  # fmt: skip
def test_what_is_of_no_study_is_exported_too(tmp_path: Path, words: tuple[str, ...], expected: set[str]) -> None:
    async def fill() -> None:
        async with opened(tmp_path / "data") as archive:
            await store(archive, CT)
            transfer = archive.store_begin_part10(LOCAL, Source("stow"))
            transfer.write(palette())
            await transfer.commit()

    asyncio.run(fill())
    call = ["--data", str(tmp_path / "data"), "-o", str(tmp_path / "out"), *words]
    assert CliRunner().invoke(command, call, standalone_mode=False, catch_exceptions=False).return_value == 0
    with (tmp_path / "out" / "index.csv").open(newline="") as listing:
        rows = list(csv.DictReader(listing))
    assert {row["sop_instance_uid"] for row in rows} == expected
    for row in rows:
        assert (tmp_path / "out" / row["file"]).read_bytes() == (
            palette() if row["sop_instance_uid"] == INSTANCE else CT.part10
        )


async def test_a_study_that_is_deleted_meanwhile_does_not_end_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of all that there is it is none any more; one that is named is missed."""
    other, find = build(study=2), query.find
    async with opened(tmp_path / "data") as archive:
        await store(archive, CT, other)

        async def find_then_delete(*asked: Any) -> Any:
            rows = await find(*asked)
            await archive.delete(LOCAL, Target(other.study_uid))
            return rows

        monkeypatch.setattr(query, "find", find_then_delete)
        refs = await _refs(archive.readers, LOCAL, ())
        assert [ref.sop_instance_uid for ref in refs] == [CT.sop_instance_uid]
        with pytest.raises(Gone):
            await _refs(archive.readers, LOCAL, [other.study_uid])


@pytest.mark.parametrize("name", ["out", "staging/out.zip", "../link/out"])
@pytest.mark.parametrize(("verb", "option"), [(command, ["-o"]), (backup, [])])
def test_nothing_is_written_into_the_data_directory(
    tmp_path: Path, verb: Command, option: list[str], name: str
) -> None:
    """A start of the archive removes what is in its `staging`."""

    async def fill() -> None:
        async with opened(tmp_path / "data") as archive:
            await store(archive, CT)

    asyncio.run(fill())
    (tmp_path / "link").symlink_to(tmp_path / "data")
    call = ["--data", str(tmp_path / "data"), *option, str(tmp_path / "data" / name)]
    with pytest.raises(UsageError, match="in the data directory"):
        CliRunner().invoke(verb, call, standalone_mode=False, catch_exceptions=False)
