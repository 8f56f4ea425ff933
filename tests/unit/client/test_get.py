"""The presentation contexts of `sagittal get`, and how several associations make one outcome."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path
from typing import Any, cast

import pytest
from builders import build
from loopback import services, serving

from sagittal.client.dimse import DimseArchive, follow, proposals
from sagittal.client.keys import STUDY_UID, Question, identifier
from sagittal.client.outcome import Retrieved
from sagittal.client.place import Access
from sagittal.client.remote import Remote, named
from sagittal.dicom.elements import encode
from sagittal.dicom.sopclasses import CT_IMAGE_STORAGE, SECONDARY_CAPTURE_IMAGE_STORAGE, STORAGE, STUDY_ROOT_GET
from sagittal.dicom.syntaxes import EXPLICIT_LE, IMPLICIT_LE, JPEG_LOSSLESS_SV1, RLE_LOSSLESS, SYNTAXES, syntax
from sagittal.dimse.service import Request, Response
from sagittal.net.client import Peer


def test_every_class_in_every_syntax_over_as_many_associations_as_it_takes() -> None:
    classes = sorted(STORAGE)[:10]
    batches = proposals(STUDY_ROOT_GET, classes)
    assert {len(batch) for batch in batches[:-1]} == {128} and 1 < len(batches[-1]) <= 128
    assert {batch[0].abstract_syntax for batch in batches} == {STUDY_ROOT_GET}
    offered = [(one.abstract_syntax, one.transfer_syntaxes) for batch in batches for one in batch[1:]]
    storable = [row.uid for row in SYNTAXES.values() if row.storable]
    assert sorted(offered) == sorted((sop_class, (uid,)) for sop_class in classes for uid in storable)
    assert offered[0][1] == (EXPLICIT_LE,)


def test_unknown_classes_are_proposed_uncompressed_and_then_images_in_the_usual_syntaxes() -> None:
    batches = proposals(STUDY_ROOT_GET, [])
    assert {len(batch) for batch in batches[:-1]} == {128} and 1 < len(batches[-1]) <= 128
    offered = [one for batch in batches for one in batch[1:]]
    plain = [one for one in offered if one.transfer_syntaxes == (EXPLICIT_LE, IMPLICIT_LE)]
    assert offered[: len(plain)] == plain and {one.abstract_syntax for one in plain} == set(STORAGE)
    assert {CT_IMAGE_STORAGE, SECONDARY_CAPTURE_IMAGE_STORAGE} <= {one.abstract_syntax for one in plain[:127]}
    others = {(one.abstract_syntax, *one.transfer_syntaxes) for one in offered[len(plain) :]}
    assert {(CT_IMAGE_STORAGE, JPEG_LOSSLESS_SV1), (SECONDARY_CAPTURE_IMAGE_STORAGE, RLE_LOSSLESS)} <= others


@pytest.mark.parametrize("keys", ["0020000D", "00100010"])
async def test_of_many_studies_no_list_is_longer_than_explicit_vr_has_room_for(keys: str) -> None:
    """DCMTK's archive reads a longer one, which is UN, as no key, and sends all that it has."""
    uids = [f"1.{10**61 + number}" for number in range(2_001)]
    asked = Question("study", {int(keys, 16): "\\".join(uids) if keys == "0020000D" else "DOE*"})

    class Many:
        async def find(self, _: Question) -> AsyncGenerator[dict[str, Any], None]:
            for uid in uids:
                yield {"0020000D": {"vr": "UI", "Value": [uid]}}

    questions = await named(cast(Remote, Many()), asked)
    assert [uid for one in questions for uid in str(one.keys[STUDY_UID]).split("\\")] == uids
    assert all(b"\x20\0\x0d\0UI" in identifier(one, EXPLICIT_LE) for one in questions)


@pytest.mark.parametrize("done", [{}, {"completed": 1}, {"warnings": 1}, {"failed": 1}])
def test_what_did_something_was_not_refused(done: dict[str, int]) -> None:
    assert Retrieved(0xA701, **done).refused is not bool(done)


def outcome() -> Retrieved:
    made = Retrieved()
    made.status, made.comment, made.completed, made.failed = 0xB000, "no context", 1, 2
    made.failed_uids = ["1.2", "1.3"]
    return made


def test_what_comes_later_did_not_fail() -> None:
    one = outcome()
    one.came_later({"1.1", "1.2"})
    assert (one.status, one.completed, one.failed, one.failed_uids) == (0xB000, 2, 1, ["1.3"])
    one.came_later({"1.1", "1.2", "1.3"})
    assert (one.status, one.completed, one.failed, one.failed_uids, one.comment) == (0x0000, 3, 0, [], "")


def test_what_never_comes_failed() -> None:
    one = outcome()
    one.came_later({"1.1"})
    assert (one.status, one.completed, one.failed, one.comment) == (0xB000, 1, 2, "no context")


def test_what_comes_later_of_a_peer_that_lists_nothing() -> None:
    one = outcome()
    one.failed_uids = []
    one.came_later({"1.1"}, 1)
    assert (one.status, one.completed, one.failed) == (0xB000, 2, 1)
    one.came_later({"1.1", "1.2", "1.3"}, 2)
    assert (one.status, one.completed, one.failed, one.comment) == (0x0000, 3, 0, "")


def test_a_list_of_what_failed_counts_without_a_count() -> None:
    listed = encode([(0x00080058, "UI", b"1.2\\1.3\0")], syntax(IMPLICIT_LE))

    async def responses() -> AsyncIterator[Response]:
        yield Response(0xB000, listed)

    found = Retrieved()
    asyncio.run(follow(responses(), Question("study"), IMPLICIT_LE, found))
    assert (found.failed, found.whole) == (2, False)


def test_a_list_of_what_failed_that_can_not_be_read_hides_no_counts() -> None:
    async def responses() -> AsyncIterator[Response]:
        counts = {"NumberOfCompletedSuboperations": 3, "NumberOfFailedSuboperations": 1}
        yield Response(0xB000, b"\x08\0\x58\0\xff\xff\0\0x", extra=counts)

    found = Retrieved()
    asyncio.run(follow(responses(), Question("study"), IMPLICIT_LE, found))
    assert (found.status, found.completed, found.failed, found.failed_uids) == (0xB000, 3, 1, [])


async def test_a_peer_that_tells_nothing_that_can_be_read_or_counted(tmp_path: Path) -> None:
    """Which classes there are is only asked to spare contexts; what came is known without the peer's counts."""

    async def find(_: Request) -> AsyncIterator[Response]:
        yield Response(0xFF00, b"\xff" * 9)
        yield Response(0x0000)

    async def get(request: Request) -> AsyncIterator[Response]:
        assert (await request.store(CT_IMAGE_STORAGE, "1.2.3", EXPLICIT_LE, build(1).data)).status == 0x0000
        yield Response(0x0000)

    async with serving(services(find=find, get=get)) as server:
        archive = DimseArchive(Peer("SAGITTAL", "127.0.0.1", server.port), Access(), print)
        found = await archive.get(Question("study", {0x0020000D: "1.2"}), tmp_path, lambda path, uid: None)
    assert (found.status, found.completed, found.failed) == (0x0000, 1, 0)
    assert [path.name for path in tmp_path.iterdir()] == ["1.2.3.dcm"]


@pytest.mark.parametrize("statuses", [(0xC001, 0xB000), (0xB000, 0xC001), (0xC001, 0x0000), (0x0000, 0xC001, 0xB000)])
def test_the_worst_of_several_requests_stays(statuses: tuple[int, ...]) -> None:
    whole = Retrieved.nothing()
    for status in statuses:
        whole.add(Retrieved(status, f"{status:04X}", completed=status < 0xC000))
    assert (whole.status, whole.comment, whole.whole) == (0xC001, "C001", False)


@pytest.mark.parametrize("counted", [0, 1])
def test_what_could_not_be_kept_has_failed_whatever_the_peer_says(counted: int) -> None:
    one = Retrieved(0xB000 if counted else 0x0000, "", completed=3 - counted, failed=counted)
    one.lost({"1.2"})
    assert (one.status, one.completed, one.failed, one.failed_uids) == (0xB000, 2, 1, ["1.2"])
    one.lost({"1.2"})
    assert (one.completed, one.failed, one.failed_uids) == (2, 1, ["1.2"])
    assert not one.whole


@pytest.mark.parametrize(
    ("warnings", "sent", "left"), [(0, 3, (3, 0)), (0, 2, (2, 1)), (1, 4, (3, 0)), (1, 0, (0, 4)), (0, 9, (3, 0))]
)
def test_what_is_counted_and_never_came_has_failed(warnings: int, sent: int, left: tuple[int, int]) -> None:
    one = Retrieved(0x0000, "", completed=3, warnings=warnings)
    one.came(sent)
    assert (one.completed, one.failed) == left
    assert one.whole == (not left[1]) and bool(one.comment) == bool(left[1])


@pytest.mark.parametrize("syntax_uid", [EXPLICIT_LE, IMPLICIT_LE])
@pytest.mark.parametrize("many", [0, 1, 3, 2000, 30_000])
def test_as_many_failed_as_the_peer_tells(syntax_uid: str, many: int) -> None:
    """A thousand UIDs are too long for the VR in Explicit VR, which makes it UN, and for a value in JSON."""
    failed = [f"1.2.826.0.1.3680043.8.498.{10**38 + number}" for number in range(many)]
    listed = encode([(0x00080058, "UI", "\\".join(failed).encode())], syntax(syntax_uid))

    async def responses() -> AsyncIterator[Response]:
        yield Response(0xA702, listed, extra={"NumberOfFailedSuboperations": many})

    found = Retrieved()
    asyncio.run(follow(responses(), Question("study"), syntax_uid, found))
    assert found.failed_uids == failed
