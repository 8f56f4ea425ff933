"""What a program gives to be stored: data sets of pydicom and bytes of files are as good as names of files."""

from __future__ import annotations

import asyncio
import io
import subprocess
import sys
from collections.abc import Callable
from datetime import date
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pydicom
import pytest
from builders import build, opened
from conftest import Served
from pydicom.dataset import Dataset, FileMetaDataset

from sagittal.client import Archive
from sagittal.client.storing import given
from sagittal.dicom.syntaxes import EXPLICIT_BE, EXPLICIT_LE, IMPLICIT_LE, RLE_LOSSLESS
from sagittal.errors import UsageError


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """An empty archive, which nobody holds."""

    async def make() -> None:
        async with opened(tmp_path / "data"):
            pass

    asyncio.run(make())
    return tmp_path / "data"


@pytest.fixture(autouse=True)
def _temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Nothing is left behind."""
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(given, "TemporaryDirectory", partial(TemporaryDirectory, dir=tmp_path / "temporary"))
    yield
    assert not list((tmp_path / "temporary").iterdir())


def made(uid: str = "1.2.3.4", syntax_uid: str = "") -> Dataset:
    """As programs make one: without file meta information, unless a transfer syntax is said."""
    data_set = Dataset()
    data_set.SOPClassUID, data_set.SOPInstanceUID = pydicom.uid.SecondaryCaptureImageStorage, uid
    data_set.StudyInstanceUID, data_set.SeriesInstanceUID, data_set.PatientID = "1.2.3", "1.2.3.1", "MADE"
    data_set.Rows = data_set.Columns = 2
    data_set.BitsAllocated = data_set.BitsStored = 16
    data_set.HighBit, data_set.PixelRepresentation, data_set.SamplesPerPixel = 15, 0, 1
    data_set.PhotometricInterpretation, data_set.PixelData = "MONOCHROME2", b"\1\0\2\0\3\0\4\0"
    if syntax_uid:
        data_set.file_meta = FileMetaDataset()
        data_set.file_meta.TransferSyntaxUID = syntax_uid
        data_set.file_meta.MediaStorageSOPInstanceUID = "1.2.3.99"  # as in a copy whose data set got a new one
    return data_set


def came_back(archive: Archive, out: Path, uid: str) -> pydicom.FileDataset:
    (path,) = archive.get(out, level="image", relational=True, SOPInstanceUID=uid)
    return pydicom.dcmread(path)


def test_data_sets_and_bytes(start_server: Callable[..., Served], tmp_path: Path) -> None:
    """To a server by way of its data directory, over HTTP and over DIMSE."""
    served = start_server(data=tmp_path / "data")
    for number, place in enumerate((tmp_path / "data", served.http, served.peer)):
        uid, part10 = f"1.2.3.4.{number}", build(number).part10
        with Archive(place) as archive:
            stored = archive.store(made(uid), part10, set={"PatientName": "A^B"})
            assert [(str(one.file), one.outcome) for one in stored] == [
                ("object 1", "success"),
                ("object 2", "success"),
            ]
            back = came_back(archive, tmp_path / str(number), uid)
        assert (back.PatientName, back.PixelData) == ("A^B", made().PixelData)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # pydicom's, of the property that reads tell encodings with
@pytest.mark.parametrize(
    ("syntax_uid", "expected"), [("", EXPLICIT_LE), (IMPLICIT_LE, IMPLICIT_LE), (EXPLICIT_BE,) * 2]
)
@pytest.mark.parametrize("with_meta", [True, False, None])
def test_the_transfer_syntax(
    data: Path, tmp_path: Path, syntax_uid: str, expected: str, with_meta: bool | None
) -> None:
    """What the file meta information says, else as it was read: what pynetdicom hands on has none."""
    data_set = made(syntax_uid=syntax_uid)
    if syntax_uid:
        buffer = io.BytesIO()
        data_set.save_as(buffer, enforce_file_format=True)
        buffer.seek(0)
        data_set = pydicom.dcmread(buffer)
        if with_meta is False:
            del data_set.file_meta
    if with_meta is None:
        data_set.file_meta = None
    told = str(getattr(data_set, "file_meta", None))
    with Archive(data) as archive:
        assert not archive.store(data_set)[0].failed
        back = came_back(archive, tmp_path / "out", "1.2.3.4")
    assert back.file_meta.TransferSyntaxUID == expected
    assert (back.Rows, back.PixelData) == (2, made().PixelData)
    assert str(getattr(data_set, "file_meta", None)) == told


def test_values_are_set_as_they_are_asked_for(data: Path, tmp_path: Path) -> None:
    """Not as Python shows them: "None" is the name of nobody."""
    values = {"PatientName": None, "StudyDate": date(2026, 1, 2), "ImageType": ("DERIVED", "SECONDARY"), "Rows": 2}
    with Archive(data) as archive:
        assert not archive.store(made(), set=values)[0].failed
        back = came_back(archive, tmp_path / "out", "1.2.3.4")
        with pytest.raises(UsageError, match="no text"):
            archive.store(made(), set={"PatientName": b"A^B"})
    assert (back.PatientName, back.StudyDate, back.ImageType) == ("", "20260102", ["DERIVED", "SECONDARY"])


def test_what_can_not_be_written_keeps_none_of_the_others(data: Path) -> None:
    bare, wrong, native = made("1.2.3.5"), made("1.2.3.6"), made("1.2.3.7", RLE_LOSSLESS)
    del bare.SOPInstanceUID
    wrong["Rows"]._value = "many"
    with Archive(data) as archive:
        told = {str(one.file): one.comment for one in archive.store(bare, wrong, native, b"letter", made())}
    assert told.pop("object 5") == ""
    expected = ("no SOP Class UID", "(0028,0010)", "encapsulated", "not a DICOM file")
    for number, words in enumerate(expected, 1):
        assert words in told[f"object {number}"] and "\n" not in told[f"object {number}"]


@pytest.mark.parametrize("nothing", [[], None, 5, io.BytesIO()])
def test_what_is_nothing_to_store(data: Path, nothing: Any) -> None:
    with Archive(data) as archive, pytest.raises(UsageError, match=r"pydicom data set can be stored, not .*\*them"):
        archive.store(nothing)


def test_who_stores_files_does_not_import_pydicom(data: Path, tmp_path: Path) -> None:
    (tmp_path / "one.dcm").write_bytes(build().part10)
    program = f"""
import sys
from sagittal.client.storing.given import Given
with Given([{str(tmp_path / "one.dcm")!r}, b"bytes"]) as given:
    assert len(given.paths) == 2
assert "pydicom" not in sys.modules"""
    subprocess.run([sys.executable, "-c", program], check=True)


def test_names_of_files_want_no_room_for_temporary_files(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What does says so, and keeps none of the others."""

    def none(**_: object) -> Any:
        raise FileNotFoundError(2, "No usable temporary directory")

    monkeypatch.setattr(given, "TemporaryDirectory", none)
    (tmp_path / "one.dcm").write_bytes(build().part10)
    with Archive(data) as archive:
        told = archive.store(tmp_path / "one.dcm", b"bytes")
    assert [(one.file.name, one.comment) for one in told] == [
        ("object 2", "No usable temporary directory"),
        ("one.dcm", ""),
    ]
