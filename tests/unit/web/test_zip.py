"""Zip files of studies: read by another reader, named by UIDs only, their length known before."""

from __future__ import annotations

import io
import zipfile
import zlib
from pathlib import Path

import pytest
from archived import answers, instance_of, series_of, study_of
from builders import CT, build

from sagittal.archive.references import InstanceRef
from sagittal.dicom.syntaxes import EXPLICIT_LE, JPEG_BASELINE
from sagittal.web.retrieve.zipped import zip_name
from sagittal.web.wire.zip import Member, Writer, length

ZIP = {"accept": "application/zip"}


def test_files_as_stored(tmp_path: Path) -> None:
    held = [build(1), build(2, series=2, syntax_uid=JPEG_BASELINE)]
    study, series, instance = answers(
        tmp_path, held, (study_of(held[0]), ZIP), (series_of(held[1]), ZIP), (instance_of(held[0]), ZIP)
    )
    assert study.headers["content-type"] == "application/zip"
    assert int(study.headers["content-length"]) == len(study.content)
    assert study.headers["content-disposition"] == f'attachment; filename="{held[0].study_uid}.zip"'
    with zipfile.ZipFile(io.BytesIO(study.content)) as opened:
        assert opened.testzip() is None
        names = [f"{each.study_uid}/{each.series_uid}/{each.sop_instance_uid}.dcm" for each in held]
        assert opened.namelist() == names
        assert [opened.read(name) for name in names] == [each.part10 for each in held]
    with zipfile.ZipFile(io.BytesIO(series.content)) as opened:
        assert [opened.read(name) for name in opened.namelist()] == [held[1].part10]
    assert len(instance.content) < len(study.content)


def test_a_large_file_is_read_twice(tmp_path: Path) -> None:
    held = build(rows=1600, columns=1600)
    assert len(held.part10) > 5_000_000
    (answer,) = answers(tmp_path, [held], (study_of(held), ZIP))
    with zipfile.ZipFile(io.BytesIO(answer.content)) as opened:
        assert opened.read(opened.namelist()[0]) == held.part10


@pytest.mark.parametrize("series_uid", ["..", ".", "1..2", ".1", "1.2\\3", "C:"])
def test_a_name_that_would_climb_is_no_name(series_uid: str) -> None:
    ref = InstanceRef(1, "1.2", series_uid, CT, "1.2.3", EXPLICIT_LE, "", 10, 0, None, 1, "", 0, 1, 1)
    (name,) = {zip_name(ref)}
    study, series, file = name.split("/")
    assert (study, file) == ("1.2", "1.2.3.dcm")
    assert series.startswith("uid-")
    assert series.removeprefix("uid-").isalnum()


@pytest.mark.parametrize(
    ("accept", "type_"),
    [
        ("application/zip; transfer-syntax=*", "application/zip"),
        (f"application/zip; transfer-syntax={EXPLICIT_LE}", "application/zip"),
        ('application/zip, multipart/related; type="application/dicom"', "application/zip"),
        ('application/zip;q=0.5, multipart/related; type="application/dicom"', "multipart/related"),
        ('multipart/related; type="text/html", application/zip', "application/zip"),
        ('application/zip; transfer-syntax=1.2, multipart/related; type="application/dicom"', "multipart/related"),
        ("*/*", "multipart/related"),
        ("application/zip; transfer-syntax=1.2", "application/problem+json"),
    ],
)
def test_what_is_preferred(tmp_path: Path, accept: str, type_: str) -> None:
    held = build()
    (answer,) = answers(tmp_path, [held], (study_of(held), {"accept": accept}))
    assert answer.headers["content-type"].partition(";")[0] == type_


class TestZip64:
    """Beyond 4 GiB and 65,535 members, without writing them: the headers are read by zipfile out of a sparse file."""

    def test_sizes_and_places(self, tmp_path: Path) -> None:
        members = [Member("a", 5), Member("b", 5 << 30), Member("c", 7), Member("d", 0xFFFFFFFF)]
        writer = Writer()
        path = tmp_path / "large.zip"
        with path.open("wb") as file:
            for member in members:
                file.write(writer.head(member, zlib.crc32(bytes(member.size)) if member.size < 10 else 0))
                file.seek(member.size, io.SEEK_CUR)
            file.write(b"".join(writer.end()))
            assert file.tell() == length(members)
        with zipfile.ZipFile(path) as opened:
            assert [(info.filename, info.file_size) for info in opened.infolist()] == [tuple(m) for m in members]
            for info in opened.infolist():
                with opened.open(info) as inside:
                    assert inside.read(1) == b"\0"
        path.unlink()

    @pytest.mark.parametrize(
        "count", [65_535, *(pytest.param(count, marks=pytest.mark.slow) for count in (65_534, 65_536))]
    )
    def test_many(self, tmp_path: Path, count: int) -> None:
        writer = Writer()
        members = [Member(str(number), 0) for number in range(count)]
        content = b"".join([writer.head(member, 0) for member in members] + list(writer.end()))
        assert len(content) == length(members)
        disks = content[-18:-14] + (content[-82:-74] if count >= 65_535 else b"")
        assert not any(disks)  # all is on one
        with zipfile.ZipFile(io.BytesIO(content)) as opened:
            assert len(opened.namelist()) == count
