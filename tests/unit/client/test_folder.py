"""What becomes of the instances that `get` and `receive` take."""

from __future__ import annotations

import asyncio
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pydicom
import pytest
from builders import CT
from service_fakes import request

from sagittal.client.folder import Folder
from sagittal.dicom.elements import encode
from sagittal.dicom.syntaxes import EXPLICIT_BE, EXPLICIT_LE, IMPLICIT_LE, JPEG_BASELINE, syntax
from sagittal.errors import StorageUnavailable

ELEMENTS = [(0x00080016, "UI", CT.encode() + b"\0"), (0x00080018, "UI", b"1.2.3\0"), (0x00100010, "PN", b"A^B ")]


def landed(folder: Path, agreed: str, pieces: list[bytes]) -> Path:
    asked = request(command={"AffectedSOPClassUID": CT, "AffectedSOPInstanceUID": "1.2.3"}, syntax_uid=agreed)
    files: list[Path] = []
    sink = Folder(folder, lambda path, _request: files.append(path)).store(asked)
    for piece in pieces:
        sink.write([memoryview(piece)])
    assert asyncio.run(sink.finish()).status == 0x0000
    return files[0]


@contextmanager
def no_room_beyond(octets: int) -> Iterator[None]:
    """A file of this process takes no more."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (octets, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("size", [3_000, 20_000])
def test_a_full_disk_is_told_and_nothing_is_left(tmp_path: Path, size: int) -> None:
    """Of a small file it shows as it is closed only."""
    asked = request(command={"AffectedSOPClassUID": CT, "AffectedSOPInstanceUID": "1.2.3"})
    sink = Folder(tmp_path, lambda _path, _request: None).store(asked)
    whole = False
    with no_room_beyond(1_000):
        try:
            with pytest.raises(StorageUnavailable, match="File too large"):
                for _ in range(0, size, 4_000):
                    sink.write([memoryview(bytes(min(size, 4_000)))])
                whole = True
                asyncio.run(sink.finish())
        finally:
            if not whole:
                sink.abort()
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("agreed", [IMPLICIT_LE, EXPLICIT_LE, EXPLICIT_BE])
@pytest.mark.parametrize("sent", [IMPLICIT_LE, EXPLICIT_LE, EXPLICIT_BE])
@pytest.mark.parametrize("split", [1, 7, 8, 1000])
def test_the_head_names_the_syntax_that_the_bytes_are_in(tmp_path: Path, agreed: str, sent: str, split: int) -> None:
    data = encode(ELEMENTS, syntax(sent))
    path = landed(tmp_path, agreed, [data[at : at + split] for at in range(0, len(data), split)])
    found = pydicom.dcmread(path)
    assert found.file_meta.TransferSyntaxUID == sent
    assert found.PatientName == "A^B"
    assert path.read_bytes().endswith(data)


@pytest.mark.parametrize(
    ("agreed", "data"), [(JPEG_BASELINE, encode(ELEMENTS, syntax(IMPLICIT_LE))), (EXPLICIT_LE, b"\x08\0")]
)
def test_what_shows_nothing_is_as_it_was_agreed(tmp_path: Path, agreed: str, data: bytes) -> None:
    path = landed(tmp_path, agreed, [data])
    assert pydicom.filereader.read_file_meta_info(path).TransferSyntaxUID == agreed
    assert path.read_bytes().endswith(data)
