"""Corrections and the instances that come after them."""

from __future__ import annotations

from pathlib import Path

import pytest
from builders import build, store
from unit.archive.test_corrections import (
    DESCRIPTION,
    FIRST,
    NAME,
    SERIES,
    STUDY,
    correct,
    find,
    holding,
    metadata,
)
from unit.archive.test_reindex import reindex

from sagittal.archive.access import LOCAL
from sagittal.archive.index.removal import Target
from sagittal.archive.ingest import Source


async def test_later_instances_are_corrected_and_no_discrepancy(tmp_path: Path) -> None:
    async with holding(tmp_path, FIRST) as archive:
        await correct(archive, PatientName="Roe^Jane")
        await store(archive, build(2), build(1, series=2))
        assert await archive.discrepancies(LOCAL) == []
        assert (await metadata(archive, build(2)))["00100010"]["Value"] == [{"Alphabetic": "Roe^Jane"}]
        assert await find(archive, "STUDY", NAME) == [["Roe^Jane"]]
        await store(archive, build(3, patient_id="OTHER"))
        assert [row.value for row in await archive.discrepancies(LOCAL)] == ["OTHER"]


@pytest.mark.parametrize("other", ["Knee", "Hip"])
@pytest.mark.parametrize("level", ["STUDY", "SERIES"])
async def test_what_a_later_instance_fills_is_there_when_it_is_taken_back(
    tmp_path: Path, level: str, other: str
) -> None:
    """The first instance says nothing; what the second says comes out again, also where it is what was corrected to."""
    name, where, tag = (
        ("StudyDescription", STUDY, DESCRIPTION) if level == "STUDY" else ("SeriesDescription", SERIES, 0x0008103E)
    )
    first = build(1, extra={name: ""})
    async with holding(tmp_path, first) as archive:
        number = await correct(archive, where, **{name: "Knee"})
        await store(archive, build(2, extra={name: other}), build(3, extra={name: "Third"}))
        assert await find(archive, level, tag) == [["Knee"]]
        await archive.undo_correction(LOCAL, FIRST.study_uid, number)
        assert await find(archive, level, tag) == [[other]]


@pytest.mark.parametrize("level", ["STUDY", "SERIES"])
async def test_it_is_there_after_a_reindex_too(tmp_path: Path, level: str) -> None:
    name, where, tag = (
        ("StudyDescription", STUDY, DESCRIPTION) if level == "STUDY" else ("SeriesDescription", SERIES, 0x0008103E)
    )

    async with holding(tmp_path, build(1, extra={name: ""})) as archive:
        await store(archive, build(2, extra={name: "Knee"}))
        await correct(archive, where, **{name: "Hip"})
    reindex(tmp_path / "a")
    async with holding(tmp_path) as archive:
        [row] = await archive.corrections_of(LOCAL, FIRST.study_uid)
        await archive.undo_correction(LOCAL, FIRST.study_uid, row.id)
        assert await find(archive, level, tag) == [["Knee"]]


@pytest.mark.parametrize("issuer", ["", "HOSPITAL"])
async def test_a_reindex_takes_no_correction_for_what_the_sender_said(tmp_path: Path, issuer: str) -> None:
    """The issuer of its Patient IDs, that is, which no object says."""
    async with holding(tmp_path) as archive:
        for built in (build(2, patient_id=""), FIRST):  # of the first there is nothing to be an issuer of
            transfer = archive.store_begin_part10(LOCAL, Source("dimse", issuer_of_patient_id=issuer))
            transfer.write(built.part10)
            await transfer.commit()
        await correct(archive, IssuerOfPatientID="ANOTHER")
        await correct(archive, IssuerOfPatientID="A THIRD")
    reindex(tmp_path / "a")
    async with holding(tmp_path) as archive:
        numbers = [row.id for row in await archive.corrections_of(LOCAL, FIRST.study_uid)]
        await archive.undo_corrections(LOCAL, numbers)
        assert await find(archive, "STUDY", 0x00100021) == [[issuer]]


async def test_the_size_is_that_of_the_character_set_that_was_assumed(tmp_path: Path) -> None:
    """The same bytes, purged, come back from a node that means something else by them; the correction has waited."""
    name = "Müller^Jörg".encode()
    one = build(1, extra={"PatientName": name})
    async with holding(tmp_path) as archive:
        sizes = []
        for assumed in ("ISO_IR 100", "ISO_IR 192"):
            transfer = archive.store_begin_part10(LOCAL, Source("dimse", character_set=assumed))
            transfer.write(one.part10)
            await transfer.commit()
            if not sizes:
                await correct(archive, StudyDescription="Łódź")
            (ref,) = await archive.instances(LOCAL, study_uid=one.study_uid)
            with archive.open_object(ref) as opened:
                assert len(b"".join(opened.file(1 << 16))) == ref.sent_size
            sizes.append(ref.sent_size)
            await archive.delete(LOCAL, Target(one.study_uid), "test")
            await archive.collect(now=1 << 60)
        assert sizes[0] != sizes[1]
