"""Retrieving, by the engine: references, files, metadata, frames."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest
from builders import build, opened, revision_of, store, uid

from sagittal.archive import retrieve
from sagittal.archive.access import LOCAL, Principal
from sagittal.archive.archive import Archive
from sagittal.archive.index.removal import Target
from sagittal.archive.references import InstanceRef
from sagittal.dicom.syntaxes import DEFLATED_LE, EXPLICIT_BE, RLE_LOSSLESS
from sagittal.errors import BadRequest, DamagedObject, Gone, NotAuthorized, NotFound
from sagittal.limits import ArchiveLimits, Limits, ReaderLimits

NOBODY = Principal("x", "node", frozenset())


async def texts(archive: Archive, refs: list[InstanceRef]) -> list[bytes]:
    return [text async for chunk in archive.metadata(LOCAL, refs) for text in chunk]


async def test_instances_by_every_name(tmp_path: Path) -> None:
    async with opened(tmp_path) as archive:
        objects = [build(number, study="a", series=1) for number in (10, 9, 2)]
        objects += [build(1, study="a", series=2), build(1, study="b", patient_id="P2")]
        await store(archive, *objects)

        async def asked(**names: object) -> list[str]:
            return [ref.sop_instance_uid for ref in await archive.instances(LOCAL, **names)]  # type: ignore[arg-type]

        uids = [built.sop_instance_uid for built in objects]
        a, s1 = uid("study", "a"), objects[0].series_uid
        assert await asked(study_uid=a) == [uids[2], uids[1], uids[0], uids[3]]  # by instance number
        assert await asked(series_uid=s1) == [uids[2], uids[1], uids[0]]
        assert await asked(study_uid=a, series_uid=s1, sop_instance_uids=[uids[0]]) == [uids[0]]
        assert sorted(await asked(sop_instance_uids=[uids[0], uids[4], "1.2"])) == sorted([uids[0], uids[4]])
        assert await asked(patient_id="P2") == [uids[4]]
        for wrong in ({"study_uid": "1.2.3"}, {"study_uid": uid("study", "b"), "series_uid": s1}):
            with pytest.raises(NotFound):
                await asked(**wrong)
        with pytest.raises(BadRequest):
            await asked()
        with pytest.raises(NotAuthorized):
            await archive.instances(NOBODY, study_uid=a)
        await archive.delete(LOCAL, Target(a))
        with pytest.raises(Gone):
            await asked(study_uid=a)


async def test_neighbours_are_the_current_ones_of_the_series_by_number_and_as_they_came(tmp_path: Path) -> None:
    async with opened(tmp_path) as archive:
        objects = {number: build(number, study="a", series=1) for number in (10, 9, 2, 30, 4)}
        await store(archive, *objects.values(), build(3, study="a", series=2), build(5, study="b"))
        refs = {ref.sop_instance_uid: ref for ref in await archive.instances(LOCAL, study_uid=uid("study", "a"))}
        numbers = {built.sop_instance_uid: number for number, built in objects.items()}

        async def beside(number: int, most: int) -> list[list[int]]:
            ref = refs[objects[number].sop_instance_uid]
            return [[numbers[each] for each in order] for order in await archive.neighbours(LOCAL, ref, most)]

        assert await beside(9, 10) == [[2, 4, 9, 10, 30], [10, 9, 2, 30, 4]]
        assert await beside(10, 1) == [[9, 10, 30], [10, 9]]
        assert await beside(2, 0) == [[2], [2]]
        gone = objects[9]
        await archive.delete(LOCAL, Target(gone.study_uid, gone.series_uid, gone.sop_instance_uid))
        assert await beside(2, 10) == [[2, 4, 10, 30], [10, 2, 30, 4]]
        assert await beside(9, 10) == [[2, 4, 10, 30], [10, 2, 30, 4]]
        with pytest.raises(NotAuthorized):
            await archive.neighbours(NOBODY, refs[objects[2].sop_instance_uid], 10)


@pytest.mark.parametrize("syntax_uid", [DEFLATED_LE, EXPLICIT_BE, RLE_LOSSLESS])
async def test_the_file_is_what_was_received(tmp_path: Path, syntax_uid: str) -> None:
    built = build(syntax_uid=syntax_uid, frames=2)
    async with opened(tmp_path) as archive:
        await store(archive, built)
        [ref] = await archive.instances(LOCAL, study_uid=built.study_uid)
        assert (ref.syntax_uid, ref.digest, ref.size) == (syntax_uid, built.digest, len(built.part10))
        with archive.open_object(ref) as opened_object:
            assert opened_object.read_data_set(0, ref.data_set_length) == built.data
            assert opened_object.read_data_set(10, 0) == b""
            for offset, length in ((-1, 1), (0, ref.data_set_length + 1), (ref.data_set_length, 1), (0, -1)):
                with pytest.raises(BadRequest):
                    opened_object.read_data_set(offset, length)
        opened_object.close()


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOMEM])
async def test_blocks_that_cannot_be_read_are_damage(
    tmp_path: Path, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is about this process or all of the volume is none of the object's."""
    expected = DamagedObject if number == errno.EIO else OSError

    def failing(*_: int) -> bytes:
        raise OSError(number, os.strerror(number))

    async with opened(tmp_path) as archive:
        await store(archive, one := build(1))
        (ref,) = await archive.instances(LOCAL, study_uid=one.study_uid)
        with archive.open_object(ref) as held, monkeypatch.context() as patch:
            patch.setattr(os, "pread", failing)
            for read in (
                lambda: list(held.file(1024)),
                lambda: list(held.data_set(1024)),
                lambda: held.read_data_set(0, 8),
            ):
                with pytest.raises(expected, match=os.strerror(number)):
                    read()


async def test_missing_and_truncated_files_are_damaged(tmp_path: Path) -> None:
    built = build()
    async with opened(tmp_path) as archive:
        await store(archive, built)
        [ref] = await archive.instances(LOCAL, study_uid=built.study_uid)
        path = tmp_path / "objects" / ref.key
        path.write_bytes(built.part10[:-1])
        with pytest.raises(DamagedObject, match="truncated"):
            archive.open_object(ref)
        path.unlink()
        with pytest.raises(DamagedObject, match="missing"):
            archive.open_object(ref)


@pytest.mark.parametrize("part", [64, 1 << 19])
async def test_metadata_comes_from_the_index_in_order(tmp_path: Path, part: int) -> None:
    objects = [build(number) for number in range(60)]
    bounds = ArchiveLimits(metadata_part_characters=part, metadata_held_bytes_max=200)
    limits = Limits(reader=ReaderLimits(metadata_flush_characters=part), archive=bounds)
    async with opened(tmp_path, limits) as archive:
        await store(archive, *objects)
        refs = await archive.instances(LOCAL, study_uid=objects[0].study_uid)
        for path in (tmp_path / "objects" / "0001").iterdir():
            path.unlink()  # files are not needed
        found = await texts(archive, refs)
        uids = [json.loads(text)["00080018"]["Value"][0] for text in found]
        assert uids == [built.sop_instance_uid for built in objects]
        pieces = [piece async for piece in archive.metadata_parts(LOCAL, refs[7])]
        assert b"".join(pieces) == found[7]
        assert (len(pieces) > 1) == (part == 64)
        with pytest.raises(NotAuthorized):
            await anext(archive.metadata(NOBODY, refs))
        with pytest.raises(NotFound):
            await texts(archive, [refs[0]._replace(id=10_000)])
        with pytest.raises(NotFound):
            await anext(archive.metadata_parts(LOCAL, refs[0]._replace(id=10_000)))


@pytest.mark.parametrize("syntax_uid", [EXPLICIT_BE, RLE_LOSSLESS])
async def test_frames_are_ranges_of_the_data_set(tmp_path: Path, syntax_uid: str) -> None:
    built = build(frames=5, syntax_uid=syntax_uid)
    async with opened(tmp_path) as archive:
        await store(archive, built)
        [ref] = await archive.instances(LOCAL, study_uid=built.study_uid)
        assert ref.frames == 5
        ranges = await archive.frame_ranges(ref, [5, 1])
        for number, pieces in zip((5, 1), ranges, strict=True):
            data = b"".join(built.data[offset // 8 : (offset + length) // 8] for offset, length in pieces)
            assert data == built.frames[number - 1]
        for wrong in (0, 6):
            with pytest.raises(BadRequest, match="1 to 5"):
                await archive.frame_ranges(ref, [wrong])


async def test_revisions_change_with_the_study(tmp_path: Path) -> None:
    async with opened(tmp_path) as archive:
        first, second, other = build(1), build(2), build(1, series=2)
        await store(archive, first)
        study = await revision_of(archive, first.study_uid)
        series = await revision_of(archive, first.series_uid, "series")
        await store(archive, other)
        assert await revision_of(archive, first.study_uid) != study
        assert await revision_of(archive, first.series_uid, "series") == series
        await store(archive, second)
        assert await revision_of(archive, first.series_uid, "series") != series


async def test_versions_are_listed(tmp_path: Path) -> None:
    async with opened(tmp_path) as archive:
        first, second = build(), build(extra={"StudyID": "x"})
        await store(archive, first, second)
        versions = await archive.versions(LOCAL, first.sop_instance_uid)
        assert [version.digest for version in versions] == [first.digest, second.digest]
        assert [version.state for version in versions] == [1, 0]


async def test_so_many_are_doubtful_until_they_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrieve, "_DOUBTFUL_MAX", 2)
    objects = [build(number) for number in range(3)]
    async with opened(tmp_path) as archive:
        await store(archive, *objects)
        refs = await archive.instances(LOCAL, study_uid=objects[0].study_uid)
        for ref in refs:
            archive.doubt(ref)
        assert list(archive._doubtful) == [ref.digest for ref in refs[1:]]
        assert archive.damage(refs) == {} and not archive._doubtful
