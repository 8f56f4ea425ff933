"""Instance versions: a table of what comes under a SOP Instance UID that is held, and what becomes of it."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from builders import Built, build, file_of, opened, rows, store

from sagittal.archive.access import LOCAL
from sagittal.archive.archive import Archive
from sagittal.archive.index import CURRENT, OTHER
from sagittal.archive.index.writer import Held
from sagittal.archive.ingest import Source
from sagittal.archive.ingest.compare import Version
from sagittal.archive.ingest.versions import Comparer, Verdict
from sagittal.archive.query import Query
from sagittal.dicom.syntaxes import DEFLATED_LE, EXPLICIT_BE, IMPLICIT_LE
from sagittal.errors import DuplicateInstance, NotFound

RLE = "1.2.840.10008.1.2.5"
JPEG_LS = "1.2.840.10008.1.2.4.80"


def swapped(words: bytes) -> bytes:
    return bytes(words[n ^ 1] for n in range(len(words)))


FIRST = build()
OTHER_NAME = build(patient_name="Doe^Joan")
OTHER_PIXELS = build(extra={"PixelData": bytes(32)})


def objects(path: Path) -> set[str]:
    return {file.name for file in (path / "objects").rglob("*") if file.is_file()}


async def states(archive: Archive) -> list[tuple[str, int]]:
    return [(ref.digest, ref.state) for ref in await archive.versions(LOCAL, FIRST.sop_instance_uid)]


@pytest.mark.parametrize("policy", ["keep-first", "replace", "refuse"])
@pytest.mark.parametrize(
    "again",
    [
        FIRST,
        build(syntax_uid=IMPLICIT_LE),
        build(syntax_uid=EXPLICIT_BE, extra={"PixelData": swapped(FIRST.frames[0])}),
        build(syntax_uid=DEFLATED_LE),
        replace(FIRST, data=FIRST.data + b"\xfc\xff\xfc\xffOB\0\0\4\0\0\0\0\0\0\0"),
        replace(FIRST, data=b"\x08\0\0\0UL\4\0\xff\0\0\0" + FIRST.data),
    ],
    ids=["same", "implicit", "big-endian", "deflated", "trailing-padding", "group-length"],
)
async def test_the_same_content_is_held_once(tmp_path: Path, again: Built, policy: str) -> None:
    async with opened(tmp_path) as archive:
        first, second = await store(archive, FIRST, again, policy=policy)
        assert (first.status, second.status, second.digest) == ("stored", "duplicate", FIRST.digest)
        assert (await archive.statistics(LOCAL)).instances == 1
        assert await states(archive) == [(FIRST.digest, CURRENT)]
    assert objects(tmp_path) == {FIRST.digest}
    assert rows(tmp_path, "SELECT outcome FROM receipt ORDER BY id") == [("stored",), ("duplicate",)]


@pytest.mark.parametrize(
    ("other", "offending"),
    [
        (OTHER_NAME, 0x00100010),
        (OTHER_PIXELS, 0x7FE00010),
        (build(extra={"ImageComments": "new"}), 0x00204000),
        (build(extra={"PixelData": bytes(range(32))}, syntax_uid=EXPLICIT_BE), 0x7FE00010),
        (build(syntax_uid=RLE), 0x7FE00010),
    ],
    ids=["name", "pixels", "more", "pixels-swapped", "encapsulated"],
)
async def test_other_content_is_kept_beside(tmp_path: Path, other: Built, offending: int) -> None:
    async with opened(tmp_path) as archive:
        _, second, again = await store(archive, FIRST, other, other)
        assert (second.status, second.offending) == (again.status, again.offending) == ("kept", offending)
        assert await states(archive) == [(FIRST.digest, CURRENT), (other.digest, OTHER)]
        (ref,) = await archive.instances(LOCAL, study_uid=FIRST.study_uid)
        assert ref.digest == FIRST.digest
    assert objects(tmp_path) == {FIRST.digest, other.digest}
    kinds = rows(tmp_path, "SELECT kind FROM change ORDER BY id")
    assert kinds == [("stored",), ("kept",)]


async def test_replace_makes_it_current_and_back_again(tmp_path: Path) -> None:
    elsewhere = build(study=2, modality="MR", sop_instance_uid=FIRST.sop_instance_uid)
    async with opened(tmp_path) as archive:
        outcomes = await store(archive, FIRST, elsewhere, build(2, study=2), policy="replace")
        assert [outcome.status for outcome in outcomes] == ["stored", "replaced", "stored"]
        found = await archive.find(LOCAL, Query("STUDY", {0x0020000D: "", 0x00080061: "", 0x00201208: ""}))
        assert found.rows == [("MR", elsewhere.study_uid, 2)]  # the first of the series said MR
        (back,) = await store(archive, FIRST, policy="replace")
        assert back.status == "replaced"
        assert await states(archive) == [(FIRST.digest, CURRENT), (elsewhere.digest, OTHER)]
        found = await archive.find(LOCAL, Query("STUDY", {0x0020000D: "", 0x00080061: "", 0x00201208: ""}))
        assert sorted(found.rows) == sorted([("CT", elsewhere.study_uid, 1), ("CT", FIRST.study_uid, 1)])
    assert rows(tmp_path, "SELECT kind FROM change ORDER BY id")[-1] == ("replaced",)


async def test_refuse_keeps_nothing_and_says_where(tmp_path: Path) -> None:
    async with opened(tmp_path) as archive:
        await store(archive, FIRST)
        with pytest.raises(DuplicateInstance, match=r"^.{0,52}\(0010,0010\)$"):  # in 64 characters
            await store(archive, OTHER_NAME, policy="refuse")
        assert await states(archive) == [(FIRST.digest, CURRENT)]
    assert objects(tmp_path) == {FIRST.digest}
    assert list((tmp_path / "staging").iterdir()) == []
    audit = rows(tmp_path, "SELECT verb, outcome FROM audit WHERE outcome = 'refused'")
    assert audit == [("store", "refused")]


@pytest.mark.parametrize("damage", ["missing", "flipped", "truncated"])
@pytest.mark.parametrize("later", [False, True])
async def test_a_resend_repairs_a_damaged_file(tmp_path: Path, damage: str, later: bool) -> None:
    async with opened(tmp_path) as archive:
        await store(archive, FIRST, build(2))
        file = tmp_path / "objects" / "0001" / FIRST.digest
        if damage == "missing":
            file.unlink()
        elif damage == "truncated":
            file.write_bytes(FIRST.part10[:-1])
        else:
            file.write_bytes(FIRST.part10[:-1] + b"!")
        if later:  # another directory is the current one
            archive.volume._current = "0007"
            (tmp_path / "objects" / "0007").mkdir()
        (outcome,) = await store(archive, FIRST)
        assert outcome.status == "duplicate"
        (ref,) = await archive.instances(LOCAL, sop_instance_uids=[FIRST.sop_instance_uid])
        assert file_of(archive, ref) == FIRST.part10
        assert (await archive.statistics(LOCAL)).instances == 2
    assert len(list((tmp_path / "objects").rglob(FIRST.digest))) == 1


async def test_other_content_takes_the_place_of_a_damaged_file(tmp_path: Path) -> None:
    async with opened(tmp_path) as archive:
        await store(archive, FIRST)
        (tmp_path / "objects" / "0001" / FIRST.digest).unlink()
        (outcome,) = await store(archive, OTHER_NAME)
        assert outcome.status == "replaced"
        (ref,) = await archive.instances(LOCAL, study_uid=FIRST.study_uid)
        assert ref.digest == OTHER_NAME.digest


async def send(archive: Archive, built: Built, policy: str = "keep-first") -> str:
    transfer = archive.store_begin_part10(LOCAL, Source("dimse", policy=policy))
    transfer.write(built.part10)
    return (await transfer.commit()).status


async def test_one_uid_many_times_at_once(tmp_path: Path) -> None:
    """Twice the same bytes, and another content, in one batch: one instance, one version beside."""
    async with opened(tmp_path) as archive:
        sending = (send(archive, built) for built in (FIRST, FIRST, OTHER_NAME, FIRST, OTHER_NAME))
        assert await asyncio.gather(*sending) == ["stored", "duplicate", "kept", "duplicate", "kept"]
        assert await states(archive) == [(FIRST.digest, CURRENT), (OTHER_NAME.digest, OTHER)]
    assert objects(tmp_path) == {FIRST.digest, OTHER_NAME.digest}


async def test_of_one_uid_none_overtakes_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else an older report would win for good, of which the newer one came right behind it."""
    one, two, three = (build(extra={"PatientComments": text}) for text in ("one", "two", "three"))
    compare, behind = Comparer._compare, threading.Event()

    def comparing(self: Comparer, arrival: Version, held: Held) -> Verdict:
        assert arrival.digest != two.digest or behind.wait(20)
        return compare(self, arrival, held)

    monkeypatch.setattr(Comparer, "_compare", comparing)
    async with opened(tmp_path) as archive:
        await store(archive, FIRST)
        sending = [asyncio.ensure_future(send(archive, built, "replace")) for built in (one, two)]
        await sending[0]
        sending.append(asyncio.ensure_future(send(archive, three, "replace")))
        while archive._committer.waiting < 2:
            await asyncio.sleep(0)
        await archive.act(lambda _: None)  # so there was a turn for the third
        behind.set()
        assert await asyncio.gather(*sending) == ["replaced"] * 3
        (ref,) = await archive.instances(LOCAL, study_uid=FIRST.study_uid)
        assert ref.digest == three.digest


async def test_encapsulated_content_is_compared_by_its_bytes(tmp_path: Path) -> None:
    first = build(syntax_uid=JPEG_LS)
    padded = replace(first, data=b"\x08\0\0\0UL\4\0\xff\0\0\0" + first.data)
    behind = replace(first, data=first.data + b"\xfc\xff\xfc\xffOB\0\0\4\0\0\0\0\0\0\0")
    other = replace(first, data=first.data[:-12] + bytes(4) + first.data[-8:])
    async with opened(tmp_path) as archive:
        outcomes = await store(archive, first, padded, behind, other, replace(first, syntax_uid=RLE))
        assert [outcome.status for outcome in outcomes] == ["stored", "duplicate", "duplicate", "kept", "kept"]


async def test_a_version_beside_can_be_promoted(tmp_path: Path) -> None:
    elsewhere = build(study=2, sop_instance_uid=FIRST.sop_instance_uid)
    async with opened(tmp_path) as archive:
        await store(archive, FIRST, elsewhere)
        first, beside = await archive.versions(LOCAL, FIRST.sop_instance_uid)
        await archive.promote(LOCAL, beside)
        assert await states(archive) == [(FIRST.digest, OTHER), (elsewhere.digest, CURRENT)]
        with pytest.raises(NotFound):
            await archive.promote(LOCAL, beside)
        found = await archive.find(LOCAL, Query("STUDY", {0x0020000D: "", 0x00201208: ""}))
        assert found.rows == [(elsewhere.study_uid, 1)]
        await archive.promote(LOCAL, first)
        assert await states(archive) == [(FIRST.digest, CURRENT), (elsewhere.digest, OTHER)]
        assert (await store(archive, build(2)))[0].status == "stored"
    assert rows(tmp_path, "SELECT kind FROM change ORDER BY id") == [
        ("stored",), ("kept",), ("replaced",), ("replaced",), ("stored",)
    ]  # fmt: skip
