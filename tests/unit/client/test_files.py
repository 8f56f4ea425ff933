"""What `read_head` finds in a file, and how little of it is read for that."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from builders import build
from reading import explicit

from sagittal.client.storing.files import SOP_CLASS, SOP_INSTANCE, read_head, read_objects, walk
from sagittal.dicom.part10 import meta_group
from sagittal.dicom.syntaxes import EXPLICIT_LE
from sagittal.errors import Malformed
from sagittal.limits import ReaderLimits

HEAD = meta_group("1.2.8", "1.2.9", EXPLICIT_LE)
CLASS, INSTANCE = explicit(SOP_CLASS, "UI", b"1.2.3\0"), explicit(SOP_INSTANCE, "UI", b"1.2.4\0")
BROKEN = explicit(0x00100010, "PN", b"", 0xFFFE)


@pytest.mark.parametrize("before", [0, 10, 800, 5000])
def test_the_uids_are_those_of_the_data_set(tmp_path: Path, before: int) -> None:
    data_set = explicit(0x00080008, "UT", bytes(before)) + CLASS + INSTANCE + explicit(0x00100010, "PN", b"A^B ")
    (tmp_path / "file").write_bytes(HEAD + data_set)
    found = read_head(tmp_path / "file", ReaderLimits())
    assert (found.sop_class_uid, found.sop_instance_uid, found.syntax_uid) == ("1.2.3", "1.2.4", EXPLICIT_LE)
    assert (found.offset, found.length) == (len(HEAD), len(data_set))


def test_what_comes_after_them_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sagittal.dicom.reader import Reader

    fed: list[int] = []
    monkeypatch.setattr(Reader, "feed", lambda self, data, feed=Reader.feed: (fed.append(len(data)), feed(self, data)))
    (tmp_path / "file").write_bytes(HEAD + CLASS + INSTANCE + explicit(0x00204000, "UT", bytes(100_000)))
    assert read_head(tmp_path / "file", ReaderLimits()).sop_instance_uid == "1.2.4"
    assert sum(fed) <= 2048


def test_uids_that_the_data_set_lacks_are_those_of_the_head(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(HEAD + CLASS + BROKEN)
    found = read_head(tmp_path / "file", ReaderLimits())
    assert (found.sop_class_uid, found.sop_instance_uid) == ("1.2.3", "1.2.9")


def test_a_file_of_another_kind(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"plain text " * 50)
    with pytest.raises(Malformed):
        read_head(tmp_path / "file", ReaderLimits())


def test_what_is_no_file_is_not_read(tmp_path: Path) -> None:
    """A pipe that nobody writes to would never be opened."""
    (tmp_path / "a.dcm").write_bytes(build().part10)
    (tmp_path / "link").symlink_to("a.dcm")
    (tmp_path / "nowhere").symlink_to("missing")
    os.mkfifo(tmp_path / "pipe")
    found, failed = read_objects([tmp_path])
    assert [each.path.name for each in found] == ["a.dcm", "link"]
    assert [each.file.name for each in failed] == ["nowhere"]
    assert list(walk([tmp_path])) == [tmp_path / name for name in ("a.dcm", "link", "nowhere")]
    [named] = read_objects([tmp_path / "pipe"])[1]
    assert named.comment == "not a regular file"
