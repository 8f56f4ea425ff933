"""`sagittal info` and the report behind it: of files and of an archive, the same; and after deletions."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from builders import MR, build, opened, store
from click.testing import CliRunner, Result

from sagittal.archive.access import LOCAL
from sagittal.archive.index.removal import Target
from sagittal.archive.upkeep.imagereport import ImageReport
from sagittal.cli.images.info import command
from sagittal.dicom.syntaxes import DEFLATED_LE
from sagittal.errors import UsageError

JPEG_LOSSLESS = "1.2.840.10008.1.2.4.70"


def run(*words: Any) -> Result:
    given = [*map(str, words)]
    return CliRunner().invoke(command, given, standalone_mode=False, catch_exceptions=False)


def objects() -> list[Any]:
    twelve = {"BitsStored": b"\x0c\0", "HighBit": b"\x0b\0"}
    return [
        build(1),
        build(2),
        build(3, series=2, rows=8, columns=2, frames=5),
        build(1, study=2, sop_class_uid=MR, modality="MR", extra=twelve),
        build(2, study=2, sop_class_uid=MR, modality="MR", extra=twelve, syntax_uid=JPEG_LOSSLESS, frames=3, series=3),
        build(1, study=3, modality="SR", extra={"PixelData": "", "Rows": "", "Columns": ""}),
    ]


@pytest.mark.parametrize(
    "one",
    [
        pytest.param(build(1, syntax_uid=DEFLATED_LE), id="deflated"),
        pytest.param(replace(build(1), data=build(1).data.partition(b"\xe0\x7f\x10\0OW")[0]), id="pixels-elsewhere"),
    ],
)
def test_an_image_is_told_alike_wherever_it_lies(one: Any, tmp_path: Path) -> None:
    async def fill() -> None:
        async with opened(tmp_path / "data") as archive:
            await store(archive, one)

    (tmp_path / "a.dcm").write_bytes(one.part10)
    asyncio.run(fill())
    of_files, of_archive = (
        json.loads(run(*words, "--json").stdout) for words in ([tmp_path / "a.dcm"], ["--data", tmp_path / "data"])
    )
    assert of_files == of_archive and of_files["images"] == 1
    (told,) = of_files["transfer_syntaxes"]
    assert (told["uid"], told["compression_ratio"]) == (one.syntax_uid, None)


def check(rows: list[dict[str, Any]]) -> None:
    found = {row.pop("modality"): row for row in rows}
    ct, mr = found["CT"], found["MR"]
    assert list(found) == ["CT", "MR", "SR"]
    assert (ct["studies"], ct["series"], ct["instances"], ct["images"]) == (1, 2, 3, 3)
    assert (ct["frames"], ct["frames_most"]) == (7, 5)
    assert ct["matrices"] == [{"rows": 4, "columns": 4, "images": 2}, {"rows": 8, "columns": 2, "images": 1}]
    assert ct["bits"] == [{"allocated": 16, "stored": 16, "images": 3}]
    assert ct["photometric_interpretations"] == [{"name": "MONOCHROME2", "images": 3}]
    (native,) = ct["transfer_syntaxes"]
    assert (native["instances"], native["pixel_bytes"], native["compression_ratio"]) == (3, 224, 1.0)
    assert mr["bits"] == [{"allocated": 16, "stored": 12, "images": 2}]
    jpeg = next(one for one in mr["transfer_syntaxes"] if one["uid"] == JPEG_LOSSLESS)
    assert (jpeg["pixel_bytes"], jpeg["native_bytes"]) == (96, 96)  # frames of the builder are not compressed
    assert (found["SR"]["images"], found["SR"]["instances"], found["SR"]["matrices"]) == (0, 1, [])


def test_files(tmp_path: Path) -> None:
    for number, built in enumerate(objects()):
        (tmp_path / f"{number}.dcm").write_bytes(built.part10)
    (tmp_path / "note.txt").write_text("no DICOM at all")
    done = run(tmp_path, "--json", "--jobs", "1")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.return_value == 1 and [Path(row["file"]).name for row in rows if "error" in row] == ["note.txt"]
    check([row for row in rows if "error" not in row])


def test_a_data_directory(tmp_path: Path) -> None:
    async def fill() -> None:
        async with opened(tmp_path / "data") as archive:
            await store(archive, *objects())

    asyncio.run(fill())
    check([json.loads(line) for line in run("--data", tmp_path / "data", "--json").stdout.splitlines()])
    text = run("--data", tmp_path / "data").stdout
    assert "CT: 1 studies, 2 series, 3 instances, 3 images, 7 frames (at most 5)" in text
    assert "matrices  4 x 4: 2, 2 x 8: 1" in text and "bits  12 of 16: 2" in text


def test_less_chrominance_is_no_compression(tmp_path: Path) -> None:
    half = {"PhotometricInterpretation": b"YBR_FULL_422", "SamplesPerPixel": b"\3\0", "PlanarConfiguration": b"\0\0"}
    bits = {"BitsAllocated": b"\x08\0", "BitsStored": b"\x08\0", "HighBit": b"\7\0", "PixelData": bytes(4 * 4 * 2)}
    (tmp_path / "a.dcm").write_bytes(build(1, modality="US", extra=half | bits).part10)
    (row,) = (json.loads(line) for line in run(tmp_path / "a.dcm", "--json").stdout.splitlines())
    (told,) = row["transfer_syntaxes"]
    assert (told["pixel_bytes"], told["native_bytes"], told["compression_ratio"]) == (32, 32, 1.0)


def test_gray_and_color_in_one_series(tmp_path: Path) -> None:
    async def fill() -> None:
        async with opened(tmp_path) as archive:
            await store(archive, *images)

    ultrasound = {"sop_class_uid": "1.2.840.10008.5.1.4.1.1.6.1", "modality": "US", "syntax_uid": JPEG_LOSSLESS}
    said = ("MONOCHROME2", "YBR_FULL", "RGB")
    images = [
        build(n, extra={"PhotometricInterpretation": name.encode()}, **ultrasound) for n, name in enumerate(said, 1)
    ]
    asyncio.run(fill())
    (row,) = (json.loads(line) for line in run("--data", tmp_path, "--json").stdout.splitlines())
    assert {one["name"]: one["images"] for one in row["photometric_interpretations"]} == dict.fromkeys(said, 1)


def test_what_comes_and_what_goes(tmp_path: Path) -> None:
    async def acts() -> None:
        async with opened(tmp_path) as archive:
            report = ImageReport(archive.readers)
            assert await report.rows(LOCAL) == []
            first, *others = objects()
            await store(archive, first)
            assert [row["instances"] for row in await report.rows(LOCAL)] == [1]
            await store(archive, *others)
            check(await report.rows(LOCAL))
            await archive.delete(LOCAL, Target(others[2].study_uid), "a test")
            assert [row["modality"] for row in await report.rows(LOCAL)] == ["CT", "SR"]

    asyncio.run(acts())


def test_well_compressed(tmp_path: Path) -> None:
    one = build(1, syntax_uid=JPEG_LOSSLESS, rows=8, columns=8)
    frame, whole = one.frames[0][:32], one.frames[0]
    item = len(whole).to_bytes(4, "little") + whole
    shorter = one.data.replace(item, len(frame).to_bytes(4, "little") + frame)
    assert len(shorter) == len(one.data) - 96

    async def acts() -> None:
        async with opened(tmp_path) as archive:
            await store(archive, replace(one, data=shorter))
            (row,) = await ImageReport(archive.readers).rows(LOCAL)
            assert row["transfer_syntaxes"][0]["compression_ratio"] == 4.0

    asyncio.run(acts())


def test_usage(tmp_path: Path) -> None:
    for words in ((), (tmp_path, "--url", "http://127.0.0.1:1")):
        with pytest.raises(UsageError):
            run(*words)
