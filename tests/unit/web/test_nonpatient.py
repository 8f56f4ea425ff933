"""Non-patient instances: stored, searched, retrieved; and never seen where patients' are."""

from __future__ import annotations

from pathlib import Path

import httpx
import orjson
import pytest
from archived import BASE, asking, parts
from builders import CT, Built, build, rows, uid

from sagittal.archive.access import LOCAL
from sagittal.archive.archive import Archive
from sagittal.archive.ingest import Source
from sagittal.dicom import elements, part10
from sagittal.dicom.dictionary import tag_of, vr_of
from sagittal.dicom.models.xml import from_xml
from sagittal.dicom.sopclasses import NON_PATIENT
from sagittal.dicom.syntaxes import EXPLICIT_LE, syntax
from sagittal.limits import ArchiveLimits, Limits

PALETTE, HANGING, IMPLANT = "1.2.840.10008.5.1.4.39.1", "1.2.840.10008.5.1.4.38.1", "1.2.840.10008.5.1.4.43.1"


def made(sop_class: str, number: int, **texts: str | bytes) -> tuple[str, bytes]:
    """SOP Instance UID and Part 10 file of an instance without a study."""
    instance = uid(sop_class, number)
    named = {"SOPClassUID": sop_class, "SOPInstanceUID": instance, **texts}
    listed = []
    for keyword, value in named.items():
        vr = vr_of(tag := tag_of(keyword))
        listed.append((tag, vr, value if isinstance(value, bytes) else elements.encode_text(vr, value, ())))
    data = elements.encode(sorted(listed), syntax(EXPLICIT_LE))
    return instance, part10.meta_group(sop_class, instance, EXPLICIT_LE) + data


HELD = [
    made(PALETTE, 1, ContentLabel="HOT_IRON", ContentDescription="Hot", RedPaletteColorLookupTableData=bytes(2048)),
    made(PALETTE, 2, ContentLabel="PET", ContentCreatorName="Smith^John"),
    made(HANGING, 3, HangingProtocolName="Neuro", NumberOfPriorsReferenced=b"\1\0"),
    made(IMPLANT, 4, ImplantName="Screw", Manufacturer="ACME"),
]


PRIVATE = elements.encode([(0x00090042, "LO", b"SAGITTAL TEST "), (0x00094202, "LO", b"seven ")], syntax(EXPLICIT_LE))


async def stored(archive: Archive) -> None:
    for uid_, file in HELD:
        if uid_ == HELD[1][0]:
            at = file.index(b"\x70\0\x80\0")  # Content Label
            file = file[:at] + PRIVATE + file[at:]
        transfer = archive.store_begin_part10(LOCAL, Source("stow"))
        transfer.write(file)
        await transfer.commit()


def names(answer: httpx.Response) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [row["00080018"]["Value"][0] for row in answer.json()]


@pytest.mark.parametrize(
    ("path", "numbers"),
    [
        ("color-palettes", [1, 2]),
        ("color-palettes?ContentLabel=HOT*", [1]),
        ("color-palettes?00700080=PET", [2]),
        ("color-palettes?ContentLabel=NONE", []),
        ("color-palettes?limit=1", [1]),
        ("color-palettes?limit=1&offset=1", [2]),
        ("color-palettes?offset=5", []),
        ("color-palettes?ContentCreatorName=SMYTH^J*", []),
        ("color-palettes?ContentCreatorName=smyth john&fuzzymatching=TRUE", [2]),
        ("color-palettes?00091002=seven&00090010=SAGITTAL TEST", [2]),
        ("color-palettes?00092002=seven&00090020=SAGITTAL TEST", [2]),  # whatever the block
        ("color-palettes?00091002=seven&00090010=OTHER", []),
        (f"color-palettes?SOPInstanceUID={HELD[1][0]},1.2", [2]),
        ("hanging-protocols?HangingProtocolName=neuro*", []),
        ("hanging-protocols?HangingProtocolName=Neuro", [3]),
        ("hanging-protocols?NumberOfPriorsReferenced=1", [3]),
        ("implant-templates?Manufacturer=ACME", [4]),
        ("inventories", []),
        ("protocol-approvals", []),
        ("defined-procedure-protocols", []),
    ],
)
async def test_search(tmp_path: Path, path: str, numbers: list[int]) -> None:
    async with asking(tmp_path, [build()]) as (client, archive):
        await stored(archive)
        answer = await client.get(f"/dicom-web/{path}")
    assert names(answer) == [HELD[number - 1][0] for number in numbers]
    told = f"299 {BASE}/dicom-web: There are 1 additional results that can be requested"
    assert answer.headers.get("warning") == (told if path == "color-palettes?limit=1" else None)


@pytest.mark.parametrize(
    "query",
    [
        "Nothing=1",
        "limit=x",
        "ContentLabel.CodeValue=1",
        "ContentLabel=1&ContentLabel=2",
        "00091002=1",
        "fuzzymatching=1",
    ],
)
async def test_bad_searches(tmp_path: Path, query: str) -> None:
    async with asking(tmp_path, []) as (client, _):
        assert (await client.get(f"/dicom-web/color-palettes?{query}")).status_code == 400


async def test_fields(tmp_path: Path) -> None:
    async with asking(tmp_path, []) as (client, archive):
        await stored(archive)
        base = "/dicom-web/color-palettes"
        (row,) = (await client.get(f"{base}?ContentLabel=HOT_IRON")).json()
        assert {"00080016", "00080018", "00700080", "00700081", "00081190"} == row.keys()
        (whole,) = (await client.get(f"{base}?ContentLabel=HOT_IRON&includefield=all")).json()
        bulk = await client.get(whole["00281201"]["BulkDataURI"], headers={"accept": "application/octet-stream"})
        assert bulk.content == bytes(2048)
        found = await client.get(row["00081190"]["Value"][0], headers={"accept": "application/dicom"})
        assert found.content == HELD[0][1]
        (named,) = (await client.get(f"{base}?ContentLabel=HOT_IRON&includefield=00281201")).json()
        assert "00281201" in named


async def test_private_fields(tmp_path: Path) -> None:
    async with asking(tmp_path, []) as (client, archive):
        await stored(archive)
        asked_for = "00091002&00090010=SAGITTAL TEST&ContentLabel=PET"
        (row,) = (await client.get(f"/dicom-web/color-palettes?includefield={asked_for}")).json()
        assert (row["00090042"]["Value"], row["00094202"]["Value"]) == (["SAGITTAL TEST"], ["seven"])
        (row,) = (await client.get("/dicom-web/color-palettes?ContentLabel=PET")).json()
        assert "00094202" not in row


async def test_retrieve(tmp_path: Path) -> None:
    async with asking(tmp_path, []) as (client, archive):
        await stored(archive)
        path = f"/dicom-web/hanging-protocols/{HELD[2][0]}"
        assert parts(await client.get(path))[0][1] == HELD[2][1]
        (obj,) = (await client.get(path, headers={"accept": "application/dicom+json"})).json()
        assert obj["00720002"]["Value"] == ["Neuro"]
        xml = await client.get(path, headers={"accept": 'multipart/related; type="application/dicom+xml"'})
        assert from_xml(parts(xml)[0][1]) == obj
        assert (await client.get(path, headers={"accept": "text/html"})).status_code == 406
        assert (await client.get(path.replace("hanging-protocols", "color-palettes"))).status_code == 404
        assert (await client.get("/dicom-web/color-palettes/1.2")).status_code == 404
        assert (await client.get("/dicom-web/color-palettes/x")).status_code == 400


async def test_a_patients_instance_is_none(tmp_path: Path) -> None:
    held: Built = build()
    async with asking(tmp_path, [held]) as (client, _):
        assert [
            (await client.get(f"/dicom-web/{name}/{held.sop_instance_uid}")).status_code for name in NON_PATIENT
        ] == [404] * len(NON_PATIENT)


async def test_store(tmp_path: Path) -> None:
    async with asking(tmp_path, []) as (client, _):
        headers = {"content-type": "application/dicom"}
        answer = await client.post("/dicom-web/color-palettes", content=HELD[0][1], headers=headers)
        assert answer.status_code == 200
        (item,) = answer.json()["00081199"]["Value"]
        (where,) = item["00081190"]["Value"]
        assert parts(await client.get(where))[0][1] == HELD[0][1]
        assert names(await client.get("/dicom-web/color-palettes")) == [HELD[0][0]]
        posing = part10.meta_group(PALETTE, build().sop_instance_uid, build().syntax_uid) + build().data
        for file in (HELD[2][1], build().part10, posing):  # of another resource
            refused = await client.post("/dicom-web/color-palettes", content=file, headers=headers)
            assert refused.status_code == 409
            assert "SOP class" in refused.text
        assert (await client.get("/dicom-web/hanging-protocols")).json() == []
        assert (await client.get("/dicom-web/studies")).json() == []
    assert rows(tmp_path, "SELECT count(*) FROM audit WHERE verb = 'store' AND outcome = 'failed'") == [(3,)]


async def test_store_as_metadata(tmp_path: Path) -> None:
    def told(sop_class: str, label: str) -> bytes:
        texts = {"00080016": ("UI", sop_class), "00080018": ("UI", uid(label)), "00700080": ("CS", label)}
        obj = {tag: {"vr": vr, "Value": [text]} for tag, (vr, text) in texts.items()}
        obj["00281201"] = {"vr": "OW", "BulkDataURI": "red"}
        parts_ = (b"application/dicom+json\r\n\r\n" + orjson.dumps([obj]),
                  b"application/octet-stream\r\nContent-Location: red\r\n\r\n" + bytes(range(256)) * 2)  # fmt: skip
        return b"".join(b"--b\r\nContent-Type: " + part + b"\r\n" for part in parts_) + b"--b--"

    async with asking(tmp_path, []) as (client, _):
        headers = {"content-type": 'multipart/related; type="application/dicom+json"; boundary=b'}
        answer = await client.post("/dicom-web/color-palettes", content=told(PALETTE, "HOT"), headers=headers)
        assert answer.status_code == 200, answer.text
        (found,) = (await client.get("/dicom-web/color-palettes?includefield=all")).json()
        assert found["00700080"]["Value"] == ["HOT"]
        held = await client.get(f"/dicom-web/color-palettes/{uid('HOT')}", headers={"accept": "application/dicom"})
        assert bytes(range(256)) * 2 in held.content
        for sop_class in (HANGING, CT):
            refused = await client.post("/dicom-web/color-palettes", content=told(sop_class, "X"), headers=headers)
            assert refused.status_code == 409 and "SOP class" in refused.text
        for where in ("hanging-protocols", "studies"):
            refused = await client.post(f"/dicom-web/{where}", content=told(PALETTE, "Y"), headers=headers)
            assert refused.status_code == 409
        assert len((await client.get("/dicom-web/color-palettes")).json()) == 1


@pytest.mark.parametrize(("most", "status"), [(1, 413), (2, 200), (3, 200)])
async def test_how_many_are_looked_through(tmp_path: Path, most: int, status: int) -> None:

    from archived import applied
    from builders import opened

    async with opened(tmp_path, Limits(archive=ArchiveLimits(scan_instances_max=most))) as archive:
        await stored(archive)
        async with (
            applied(archive) as app,
            httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1") as client,
        ):
            assert (await client.get("/dicom-web/color-palettes")).status_code == status


@pytest.mark.parametrize(("most", "shown"), [(1, [1]), (10_000, [1, 2])])
async def test_a_page_ends_where_what_it_returns_is_enough(tmp_path: Path, most: int, shown: list[int]) -> None:
    """The first is there in any case, and the rest is told."""
    async with asking(tmp_path, []) as (client, archive):
        await stored(archive)
        archive.limits = Limits(archive=ArchiveLimits(returned_bytes_max=most))
        answer = await client.get("/dicom-web/color-palettes")
        assert names(answer) == [HELD[number - 1][0] for number in shown]
        assert ("There are 1 additional" in answer.headers.get("warning", "")) == (len(shown) == 1)
        assert names(await client.get("/dicom-web/color-palettes?offset=1")) == [HELD[1][0]]
