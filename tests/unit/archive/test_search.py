"""Searching what no index holds: matched on and returned from metadata; ordering and paging."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from builders import MR, build, opened, store, uid

from sagittal.archive.access import LOCAL
from sagittal.archive.archive import Archive
from sagittal.archive.index.removal import Target
from sagittal.archive.query import Keys, Private, Query, Rows
from sagittal.archive.search import scan
from sagittal.dicom.elements import encode
from sagittal.dicom.syntaxes import EXPLICIT_LE, syntax
from sagittal.errors import BadRequest, LimitExceeded
from sagittal.limits import ArchiveLimits, Limits

STUDY, SERIES, INSTANCE = 0x0020000D, 0x0020000E, 0x00080018
NAME, DATE, TIME = 0x00100010, 0x00080020, 0x00080030
KVP, COMMENTS, IMAGE_TYPE, MODALITIES = 0x00180060, 0x00104000, 0x00080008, 0x00080061

OBJECTS = [
    build(1, study="a", patient_id="P1", patient_name="González^Ana", study_date="20240105", charset="ISO_IR 192",
          extra={
        "KVP": "120", "PatientComments": "100% [sic] _ 'x' \"y\"", "ImageType": "ORIGINAL\\PRIMARY\\AXIAL",
        "PerformingPhysicianName": "Müller^Jörg", "AcquisitionDateTime": "20240105101530.5+0100",
        "TimezoneOffsetFromUTC": "+0100"}),
    build(2, study="a", patient_id="P1", patient_name="González^Ana", study_date="20240105", charset="ISO_IR 192",
          extra={
        "KVP": "140.0", "ImageType": "DERIVED", "TimezoneOffsetFromUTC": "+0100"}),
    build(1, study="b", patient_id="P2", patient_name="Doe^John", study_date="20240101", modality="MR",
          sop_class_uid=MR, extra={"KVP": "80", "PatientComments": ""}),
    build(1, study="c", patient_id="P3", patient_name="Roe^Richard", study_date="20240105"),
]  # fmt: skip
A, B, C = (uid("study", name) for name in "abc")


@asynccontextmanager
async def within(path: Path, **limits: int) -> AsyncIterator[Archive]:
    async with opened(path, Limits(archive=ArchiveLimits(**limits))) as archive:
        await store(archive, *OBJECTS)
        yield archive


def column(rows: Rows, tag: int) -> list[object]:
    return [row[rows.columns.index(tag)] for row in rows.rows]


CASES: list[tuple[str, Keys, dict[str, bool], list[str]]] = [
    ("STUDY", {KVP: "120"}, {}, [A]),
    ("STUDY", {KVP: "140"}, {}, [A]),
    ("STUDY", {KVP: "80\\120.00"}, {}, [A, B]),
    ("STUDY", {KVP: "81"}, {}, []),
    ("STUDY", {COMMENTS: "100% [sic]*"}, {}, [A]),
    ("STUDY", {COMMENTS: "*_ 'x' \"y\""}, {}, [A]),
    ("STUDY", {COMMENTS: "100_*"}, {}, []),
    ("STUDY", {COMMENTS: "100% [sic]*", DATE: "20240101"}, {}, []),
    ("STUDY", {COMMENTS: '""', KVP: "80"}, {"empty_value": True}, [B]),
    ("STUDY", {IMAGE_TYPE: "AXIAL"}, {}, [A]),
    ("STUDY", {IMAGE_TYPE: "PRIM*\\x"}, {}, [A]),
    ("STUDY", {0x00081050: "muller^j*"}, {}, [A]),
    ("STUDY", {0x00081050: "mueller"}, {"fuzzy": True}, [A]),
    ("STUDY", {0x0008002A: "20240105-20240106"}, {}, [A]),
    ("STUDY", {0x0008002A: "20240105091531+0000-"}, {}, []),
    ("STUDY", {0x0008002A: "20240105091530+0000-20240105091531+0000"}, {}, [A]),
    ("STUDY", {0x00080060: "MR"}, {}, [B]),
    ("STUDY", {0x00200013: "2"}, {}, [A]),
    ("STUDY", {SERIES: OBJECTS[2].series_uid}, {}, [B]),
    ("STUDY", {INSTANCE: OBJECTS[3].sop_instance_uid}, {}, [C]),
    ("PATIENT", {0x00080060: "MR", INSTANCE: OBJECTS[2].sop_instance_uid, STUDY: B}, {}, ["P2"]),
    ("PATIENT", {KVP: "140"}, {}, ["P1"]),
    ("STUDY", {NAME: "gonsalez"}, {"fuzzy": True}, [A]),
    ("STUDY", {NAME: "ana gonzales"}, {"fuzzy": True}, [A]),
    ("STUDY", {NAME: "gonz*^a*"}, {"fuzzy": True}, [A]),
    ("STUDY", {NAME: "*nzal*"}, {"fuzzy": True}, [A]),
    ("STUDY", {NAME: "gonzalez maria"}, {"fuzzy": True}, []),
    ("PATIENT", {NAME: "jon doe"}, {"fuzzy": True}, ["P2"]),
    ("SERIES", {NAME: "jhon"}, {"fuzzy": True}, [OBJECTS[2].series_uid]),
    ("IMAGE", {KVP: "140"}, {}, [OBJECTS[1].sop_instance_uid]),
    ("IMAGE", {KVP: "", STUDY: A}, {}, [OBJECTS[0].sop_instance_uid, OBJECTS[1].sop_instance_uid]),
    ("STUDY", {DATE: "20240101-20240105", TIME: "1100-1015"}, {"combined_datetime": True}, [A, C]),
    ("STUDY", {DATE: "20240101-20240105", TIME: "1000-1010"}, {"combined_datetime": True}, [B]),
    ("STUDY", {MODALITIES: "CT\\MR"}, {}, [A, B, C]),
    ("STUDY", {MODALITIES: "CT\\MR"}, {"multiple_value": True}, []),
    ("STUDY", {MODALITIES: "*\\M?"}, {"multiple_value": True}, [B]),
    ("STUDY", {IMAGE_TYPE: "AXIAL\\ORIGINAL"}, {"multiple_value": True}, [A]),
    ("STUDY", {IMAGE_TYPE: "AXIAL\\DERIVED"}, {"multiple_value": True}, []),
]  # fmt: skip
SHOWN = {"PATIENT": 0x00100020, "STUDY": STUDY, "SERIES": SERIES, "IMAGE": INSTANCE}


@pytest.mark.parametrize(("level", "keys", "options", "expected"), CASES)
async def test_matches(tmp_path: Path, level: str, keys: Keys, options: dict[str, bool], expected: list[str]) -> None:
    async with within(tmp_path) as archive:
        query = Query(level, keys, frozenset({SHOWN[level]}), **options)  # type: ignore[arg-type]
        rows = await archive.find(LOCAL, query)
        assert column(rows, SHOWN[level]) == expected
        assert not rows.unmatched
        assert await archive.count(LOCAL, query) == len(expected)


async def test_the_requestor_has_another_time_zone(tmp_path: Path) -> None:
    async with within(tmp_path) as archive:
        for zone, clock, expected in (
            ("+0100", "1015", [A]),
            ("+0000", "0915", [A]),  # stored as 10:15:30 at +0100
            ("+0000", "1015", []),
            ("+1000", "1915", [A]),
        ):
            query = Query("STUDY", {STUDY: A, TIME: clock}, timezone=zone)
            assert column(await archive.find(LOCAL, query), STUDY) == expected, zone
        moved = Query("STUDY", {DATE: "20240106", STUDY: ""}, timezone="+1400")
        assert column(await archive.find(LOCAL, moved), STUDY) == []
        with pytest.raises(BadRequest, match="offset"):
            await archive.find(LOCAL, Query("STUDY", timezone="Madrid"))


async def test_what_is_returned_beyond_the_index(tmp_path: Path) -> None:
    async with within(tmp_path) as archive:
        rows = await archive.find(LOCAL, Query("STUDY", {STUDY: "", KVP: ""}, frozenset({COMMENTS})))
        assert [sorted(more) for more in rows.extra] == [["00104000", "00180060"], ["00104000", "00180060"], []]
        assert rows.extra[0]["00180060"] == {"vr": "DS", "Value": [120]}
        rows = await archive.find(LOCAL, Query("STUDY", {STUDY: "", KVP: "140"}))
        assert [more["00180060"]["Value"] for more in rows.extra] == [[140.0]]  # of the first that matches
        rows = await archive.find(LOCAL, Query("STUDY", {STUDY: A}))
        assert rows.extra == []
        rows = await archive.find(LOCAL, Query("STUDY", {STUDY: A}, include_all=True))
        assert "00104000" in rows.extra[0]
        assert not {"00180060", "7FE00010", "00200013", "00100010"} & rows.extra[0].keys()
        rows = await archive.find(LOCAL, Query("IMAGE", {STUDY: A}, include_all=True))
        assert {"00180060", "00080008"} <= rows.extra[0].keys()
        assert "7FE00010" not in rows.extra[0]


async def test_ordering_and_paging(tmp_path: Path) -> None:
    async with within(tmp_path) as archive:

        async def walk(order: tuple[tuple[int, bool], ...], keys: Keys, level: str = "STUDY") -> list[object]:
            found: list[object] = []
            after = ""
            while True:
                query = Query(level, keys, frozenset({SHOWN[level]}), order=order, after=after, limit=1)
                rows = await archive.find(LOCAL, query)
                found += column(rows, SHOWN[level])
                assert rows.more == bool(rows.next)
                if not rows.more:
                    return found
                after = rows.next

        assert await walk((), {}) == [A, B, C]
        assert await walk(((DATE, False),), {}) == [B, A, C]
        assert await walk(((DATE, True),), {}) == [C, A, B]
        assert await walk(((DATE, False), (NAME, True)), {}) == [B, C, A]
        assert await walk(((0x00201208, True), (DATE, False)), {}) == [A, B, C]
        assert await walk(((NAME, False),), {KVP: "80\\120"}) == [B, A]
        assert await walk(((0x00200013, True),), {STUDY: A}, "IMAGE") == [
            OBJECTS[1].sop_instance_uid,
            OBJECTS[0].sop_instance_uid,
        ]
        assert await walk(((NAME, True),), {}, "PATIENT") == ["P3", "P1", "P2"]
        with pytest.raises(BadRequest, match="ordered"):
            await walk(((KVP, False),), {})


@pytest.mark.parametrize(
    "cursor", ["x", "e30", "W10", "WyJTVFVEWSIsIiIsbnVsbF0", "WyJTRVJJRVMiLCIiLDFd", "é", "W" * 9000]
)
async def test_a_cursor_of_something_else_is_refused(tmp_path: Path, cursor: str) -> None:
    async with within(tmp_path) as archive:
        with pytest.raises(BadRequest, match="cursor"):
            await archive.find(LOCAL, Query("STUDY", after=cursor))


async def test_a_cursor_belongs_to_its_order(tmp_path: Path) -> None:
    async with within(tmp_path) as archive:
        rows = await archive.find(LOCAL, Query("STUDY", order=((DATE, False),), limit=1))
        with pytest.raises(BadRequest, match="cursor"):
            await archive.find(LOCAL, Query("STUDY", order=((DATE, True),), after=rows.next))
        forged = urlsafe_b64encode(b'["STUDY","00080020","\\ud800",1]').decode()  # half of a surrogate pair
        with pytest.raises(BadRequest, match="cursor"):
            await archive.find(LOCAL, Query("STUDY", order=((DATE, False),), after=forged))


@pytest.mark.parametrize(("most", "refused"), [(3, True), (4, False), (5, False)])
async def test_the_budget_of_instances(tmp_path: Path, most: int, refused: bool) -> None:
    async with within(tmp_path, scan_instances_max=most) as archive:
        if refused:
            with pytest.raises(LimitExceeded, match=r" 3 instances .*scan_instances_max.*indexed") as told:
                await archive.find(LOCAL, Query("STUDY", {KVP: "80"}))
            assert told.value.text[:64] == "narrow by a UID, patient or date: (0018,0060) KVP is not indexed"
            with pytest.raises(LimitExceeded):
                await archive.count(LOCAL, Query("STUDY", {KVP: "80"}))
            assert len((await archive.find(LOCAL, Query("STUDY", {KVP: "80", STUDY: B}))).rows) == 1
        else:
            assert len((await archive.find(LOCAL, Query("STUDY", {KVP: "80"}))).rows) == 1


@pytest.mark.parametrize(("more", "refused"), [(-1, True), (0, False), (1, False)])
async def test_the_budget_of_metadata(tmp_path: Path, more: int, refused: bool) -> None:
    async with within(tmp_path) as archive:
        refs = await archive.instances(LOCAL, study_uid=A)
        sizes = [len(text) async for texts in archive.metadata(LOCAL, refs) for text in texts]
        bounds = ArchiveLimits(scan_metadata_bytes_max=max(sizes) + more)
        archive.limits = Limits(archive=bounds)
        if refused:
            with pytest.raises(LimitExceeded, match="scan_metadata_bytes_max") as told:
                await archive.find(LOCAL, Query("STUDY", {COMMENTS: "x", STUDY: A}))
            assert told.value.text[:64] == "narrow the query: an instance that it reads has metadata of more"
        else:
            assert (await archive.find(LOCAL, Query("STUDY", {COMMENTS: "x", STUDY: A}))).rows == []
        assert (await archive.find(LOCAL, Query("STUDY", {0x00189074: "2020", STUDY: A}))).rows == []  # nobody has it


async def test_the_thread_is_given_back_between_slices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan, "_SLICE_SECONDS", 0.0)
    monkeypatch.setattr(scan, "_ROWS_AT_ONCE", 1)
    async with within(tmp_path) as archive:
        turns = 0
        run = archive.readers.run

        async def counted(act: Callable[..., object], *arguments: object) -> object:
            nonlocal turns
            turns += 1
            return await run(act, *arguments)

        monkeypatch.setattr(archive.readers, "run", counted)
        rows = await archive.find(LOCAL, Query("IMAGE", {KVP: "80"}))
        assert len(rows.rows) == 1
        assert turns >= len(OBJECTS)


NAUGHTY = [
    "%", "_", "'", '"', "[", "]", "[a]", "😀 smile", "\u202e\u05e2\u05d1", "x" * 60,
    "a?b", "=", "^", "^^=^^", "é", "\"\"",
]  # fmt: skip


async def test_naughty_values_are_found_by_themselves_only(tmp_path: Path) -> None:
    async with opened(tmp_path) as archive:
        built = [
            build(n, study=n, charset="ISO_IR 192", patient_id=f"P{n}", patient_name=f"N{text}",
                  extra={"PatientComments": text, "StudyDescription": text})
            for n, text in enumerate(NAUGHTY)
        ]  # fmt: skip
        await store(archive, *built)
        for n, text in enumerate(NAUGHTY):
            for tag in (COMMENTS, 0x00081030):
                rows = await archive.find(LOCAL, Query("STUDY", {tag: text, STUDY: ""}))
                assert column(rows, STUDY) == [built[n].study_uid], (tag, text)
        for key in ("**", "*", "\0", " "):
            assert len((await archive.find(LOCAL, Query("STUDY", {COMMENTS: key}))).rows) == len(NAUGHTY)


async def test_names_of_three_groups(tmp_path: Path) -> None:
    yamada = build(1, charset="ISO_IR 192", patient_name="Yamada^Tarou=山田^太郎=やまだ^たろう")
    async with opened(tmp_path) as archive:
        await store(archive, yamada)
        for key, found in (
            ("YAMADA^TAROU", 1), ("山田^*", 1), ("=山田*", 1), ("==やまだ*", 1), ("=やまだ*", 0),
            ("Yamada*=*太郎", 1), ("*=山田^太郎=x*", 0), ("=", 1), ("^", 1), ("==", 1), ("Y*d", 0), ("*a^T*", 1),
        ):  # fmt: skip
            assert len((await archive.find(LOCAL, Query("STUDY", {NAME: key}))).rows) == found, key


def private(block: int, creator: str, value: bytes) -> bytes:
    elements = [(0x00290000 | block, "LO", creator.encode()), (0x00290009 | block << 8, "LO", value)]
    return encode(elements, syntax(EXPLICIT_LE))


async def test_private_attributes_in_whatever_block(tmp_path: Path) -> None:
    async with opened(tmp_path) as archive:
        for n, block, creator, value in (
            (0, 16, "ACME", b"red "),
            (1, 66, "ACME", b"blue"),
            (2, 16, "OTHER", b"red "),
        ):
            built = build(n, study=n, patient_id=f"P{n}")
            at = built.data.index(b"\xe0\x7f\x10\x00")  # Pixel Data
            data = built.data[:at] + private(block, creator, value) + built.data[at:]
            await store(archive, replace(built, data=data))
        color = Private("ACME", 0x00290009)
        for value, found in (("red", [0]), ("blue", [1]), ("b*", [1]), ("green", []), ("", [0, 1, 2])):
            rows = await archive.find(LOCAL, Query("STUDY", {color: value, STUDY: ""}))
            assert column(rows, STUDY) == [uid("study", n) for n in found]
        rows = await archive.find(LOCAL, Query("STUDY", {STUDY: uid("study", 1)}, frozenset({color})))
        assert rows.extra == [
            {
                "00290042": {"vr": "LO", "Value": ["ACME"]},
                "00294209": {"vr": "LO", "Value": ["blue"]},
            }
        ]


async def test_one_item_matches_all(tmp_path: Path) -> None:
    item = (
        [(0x00080100, "SH", b"A "), (0x00080102, "SH", b"99X ")],
        [(0x00080100, "SH", b"B "), (0x00080102, "SH", b"DCM ")],
    )
    items = b"".join(
        b"\xfe\xff\x00\xe0" + len(inner).to_bytes(4, "little") + inner
        for inner in (encode(elements, syntax(EXPLICIT_LE)) for elements in item)
    )
    sequence = b"\x08\x00\x32\x10SQ\0\0" + len(items).to_bytes(4, "little") + items  # Procedure Code Sequence
    code = 0x00081032
    async with opened(tmp_path) as archive:
        built = build(1)
        at = built.data.index(b"\x08\x00\x3e\x10")  # Series Description
        await store(archive, replace(built, data=built.data[:at] + sequence + built.data[at:]), build(1, study=2))
        for keys, options, found in (
            ({0x00080100: "A", 0x00080102: "99X"}, {}, 1),
            ({0x00080100: "A", 0x00080102: "DCM"}, {}, 0),
            ({0x00080100: "", 0x00080102: ""}, {}, 2),
            ({}, {}, 2),
            ('""', {"empty_value": True}, 1),
        ):
            query = Query("STUDY", {code: keys, STUDY: ""}, **options)  # type: ignore[arg-type]
            assert len((await archive.find(LOCAL, query)).rows) == found, keys
        rows = await archive.find(LOCAL, Query("STUDY", {code: {0x00080100: "B"}}))
        assert rows.extra == [{"00081032": {"vr": "SQ", "Value": [
            {"00080100": {"vr": "SH", "Value": ["A"]}}, {"00080100": {"vr": "SH", "Value": ["B"]}}]}}]  # fmt: skip
        rows = await archive.find(LOCAL, Query("STUDY", {code: "B"}))
        assert rows.unmatched == {code}


@pytest.mark.parametrize("level", ["STUDY", "SERIES", "IMAGE"])
async def test_what_is_deleted_while_metadata_is_read_is_not_returned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, level: str
) -> None:
    """Nor does a page that lacks it say that there is no other one."""
    objects = [build(1, study=study, extra={"PatientComments": "noted"}) for study in range(4)]
    asked = Query(level, {0x00104000: "noted", 0x0020000D: ""}, limit=1, order=((0x0020000D, False),))
    matching, going = scan.matching, sorted(built.study_uid for built in objects)[:2]
    async with within(tmp_path) as archive:

        async def meanwhile(*arguments: Any) -> dict[int, int]:
            found = await matching(*arguments)
            if going:
                await archive.delete(LOCAL, Target(going.pop(0)))
            return found

        await store(archive, *objects)
        left = sorted(built.study_uid for built in objects)[2:]
        monkeypatch.setattr(scan, "matching", meanwhile)
        first = await archive.find(LOCAL, asked)
        second = await archive.find(LOCAL, replace(asked, after=first.next))
        assert [column(rows, 0x0020000D) for rows in (first, second)] == [[left[0]], [left[1]]]
        assert (first.more, second.more) == (True, False)
