"""Attributes indexed by configuration: filled at ingest and for what was held before, used once complete."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from struct import pack

import pytest
from builders import build, store, uid

from sagittal.archive.access import LOCAL
from sagittal.archive.archive import Archive
from sagittal.archive.index.finding.attributes import attribute_named, attribute_of
from sagittal.archive.index.removal import Target
from sagittal.archive.query import Keys, Private, Query
from sagittal.archive.upkeep import attributes as upkeep
from sagittal.dicom.elements import encode
from sagittal.dicom.syntaxes import EXPLICIT_LE, syntax
from sagittal.errors import LimitExceeded, UsageError
from sagittal.limits import ArchiveLimits, Limits

STUDY, KVP, PERFORMER, IMAGE_TYPE, ACQUIRED = 0x0020000D, 0x00180060, 0x00081050, 0x00080008, 0x0008002A
WANTED = ("KVP", "00081050", "ImageType", "AcquisitionDateTime", "0029,1009@ACME", "0029,100A@ACME", "PatientID")
COLOR, SHADE = Private("ACME", 0x00290009), Private("ACME", 0x0029000A)


def with_color(number: int, study: str, **extra: str) -> object:
    from dataclasses import replace

    built = build(number, study=study, patient_id=study, charset="ISO_IR 192", extra=extra)
    private = encode(
        [(0x00290042, "LO", b"ACME"), (0x00294209, "IS", b"007 "), (0x0029420A, "FL", pack("<f", 0.1))],
        syntax(EXPLICIT_LE),
    )
    at = built.data.index(b"\xe0\x7f\x10\x00")  # Pixel Data
    return replace(built, data=built.data[:at] + private + built.data[at:])


OBJECTS = [
    build(1, study="a", patient_id="a", extra={"KVP": "120.00", "ImageType": "ORIGINAL\\PRIMARY"}),
    build(1, study="b", patient_id="b", charset="ISO_IR 192", extra={
        "KVP": "80", "PerformingPhysicianName": "Müller^Jörg=山田", "AcquisitionDateTime": "20240105101530+0100"}),
    with_color(1, "c"),
]  # fmt: skip
CASES: list[tuple[Keys, str]] = [
    ({KVP: "120"}, "a"), ({KVP: "80.0"}, "b"), ({KVP: "80\\120"}, "ab"), ({KVP: "8"}, ""), ({KVP: "*"}, "abc"),
    ({PERFORMER: "MULLER^J*"}, "b"), ({PERFORMER: "山田"}, "b"), ({PERFORMER: "muller"}, ""),
    ({IMAGE_TYPE: "PRIMARY"}, "a"), ({IMAGE_TYPE: "PRI?ARY"}, "a"), ({IMAGE_TYPE: "ORIGINAL\\X"}, "a"),
    ({ACQUIRED: "20240105"}, "b"), ({ACQUIRED: "20240105-20240106"}, "b"), ({ACQUIRED: "-20240104"}, ""),
    ({COLOR: "7"}, "c"), ({COLOR: "007"}, "c"), ({COLOR: "0"}, ""),
    ({SHADE: "0.1"}, "c"), ({SHADE: "0.10001"}, ""),
]  # fmt: skip


@asynccontextmanager
async def opened(path: Path, *wanted: str, scan: int = 0) -> AsyncIterator[Archive]:
    limits = Limits(archive=ArchiveLimits(scan_instances_max=scan))  # 0: whatever has to be read is refused
    archive = await Archive.open(path, limits=limits, durability="off", attributes=wanted)
    try:
        yield archive
    finally:
        await archive.close()


async def found(archive: Archive, keys: Keys, multiple_value: bool = False) -> str:
    query = Query("STUDY", keys, frozenset({STUDY}), multiple_value=multiple_value)
    rows = await archive.find(LOCAL, query)
    at = rows.columns.index(STUDY)
    return "".join(name for name in "abc" if uid("study", name) in {row[at] for row in rows.rows})


async def settled(archive: Archive) -> None:
    await archive._indexing


async def test_values_come_with_their_objects(tmp_path: Path) -> None:
    async with opened(tmp_path, *WANTED) as archive:
        await store(archive, *OBJECTS)  # type: ignore[arg-type]
        for keys, expected in CASES:
            assert await found(archive, keys) == expected, keys
        await archive.delete(LOCAL, Target(uid("study", "a")), "test")
        assert await found(archive, {KVP: "120"}) == ""
        with pytest.raises(LimitExceeded, match="not indexed"):
            await found(archive, {PERFORMER: "a=b"})


async def test_the_same_answers_without_them(tmp_path: Path) -> None:
    async with opened(tmp_path, scan=100) as archive:
        await store(archive, *OBJECTS)  # type: ignore[arg-type]
        for keys, expected in CASES:
            assert await found(archive, keys) == expected, keys


@pytest.mark.parametrize("wanted", [("KVP", "ImageType"), ("KVP",), ()])
def test_keys_are_met_by_one_instance(wanted: tuple[str, ...], tmp_path: Path) -> None:
    """Indexed or not: KVP of one and the number or type of another are none that was asked for."""
    held = [
        build(1, study="a", extra={"KVP": "80", "ImageType": "DERIVED"}),
        build(2, study="a", extra={"KVP": "120", "ImageType": "ORIGINAL"}),
        build(1, study="b", series=2, extra={"KVP": "120", "ImageType": "DERIVED"}),
    ]
    number, modality = 0x00200013, 0x00080060
    cases: list[tuple[Keys, str]] = [
        ({KVP: "120", number: "1"}, "b"), ({KVP: "80\\120", number: "2"}, "a"),
        ({KVP: "80", IMAGE_TYPE: "ORIGINAL"}, ""),
        ({KVP: "120", IMAGE_TYPE: "D*"}, "b"), ({KVP: "80", number: "1", modality: "CT", IMAGE_TYPE: "DERIVED"}, "a"),
    ]  # fmt: skip

    async def run() -> None:
        async with opened(tmp_path, *wanted, scan=100) as archive:
            await store(archive, *held)
            for keys, expected in cases:
                assert await found(archive, keys) == expected, keys
            assert await found(archive, {IMAGE_TYPE: "ORIGINAL\\DERIVED"}) == "ab"
            assert await found(archive, {IMAGE_TYPE: "ORIGINAL\\DERIVED"}, multiple_value=True) == ""

    asyncio.run(run())


async def test_what_was_held_before_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upkeep, "_COMMITTED_AT_ONCE", 1)
    async with opened(tmp_path) as archive:
        await store(archive, *OBJECTS)  # type: ignore[arg-type]
    async with opened(tmp_path, "KVP") as archive:
        await settled(archive)
        assert await found(archive, {KVP: "80"}) == "b"
    async with opened(tmp_path, *WANTED) as archive:
        await settled(archive)
        for keys, expected in CASES:
            assert await found(archive, keys) == expected, keys


async def test_it_goes_on_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upkeep, "_COMMITTED_AT_ONCE", 1)
    steps = 0
    step = upkeep._step

    async def counted(*arguments: object) -> bool:
        nonlocal steps
        steps += 1
        if steps == 3:
            raise asyncio.CancelledError
        return await step(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(upkeep, "_step", counted)
    async with opened(tmp_path) as archive:
        await store(archive, *OBJECTS)  # type: ignore[arg-type]
        await settled(archive)
    steps = 0
    async with opened(tmp_path, "KVP") as archive:
        with pytest.raises(asyncio.CancelledError):
            await settled(archive)
        with pytest.raises(LimitExceeded):
            await found(archive, {KVP: "80"})
        await store(archive, build(9, study="d", patient_id="d", extra={"KVP": "80"}))
    async with opened(tmp_path, "KVP") as archive:
        await settled(archive)
        assert await found(archive, {KVP: "80"}) == "b"
        assert await archive.count(LOCAL, Query("STUDY", {KVP: "80"})) == 2
    assert steps == 3 + 2  # two more for the rest, as the first two are not done again


async def test_what_is_wanted_no_more_goes(tmp_path: Path) -> None:
    async with opened(tmp_path, *WANTED) as archive:
        await store(archive, *OBJECTS)  # type: ignore[arg-type]
    async with opened(tmp_path) as archive:
        await settled(archive)
        with pytest.raises(LimitExceeded):
            await found(archive, {KVP: "80"})
        left = await archive.readers.run(lambda c: c.execute("SELECT count(*) FROM attribute_value").fetchone())
        assert left == (0,)


@pytest.mark.parametrize(
    "name", ["Nonsense", "PixelData", "ReferencedImageSequence", "0028,1009@ACME", "0029,1009@", "x@y"]
)
def test_settings_that_are_refused(name: str) -> None:
    with pytest.raises(UsageError):
        attribute_of(name)


@pytest.mark.parametrize("name", ["KVP", "00181160", "(0018,1160)", "0029,1009@ACME", "0029,0009@A,B@C"])
def test_names_of_settings(name: str) -> None:
    attribute = attribute_of(name)
    assert attribute_named(attribute.name) == attribute
