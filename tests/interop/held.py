"""What the archive of the query and retrieve tests holds, by pydicom; and how pynetdicom asks it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pydicom
from conftest import Served
from conftest import sagittal_here as sagittal
from interop.corpus import read
from pynetdicom import AE

FOLDER = "dicomdir/pydicom-dicomdirtests"
CHARSETS = ["CR/pydicom__chrJapMulti.dcm", "CR/pydicom__chrKoreanMulti.dcm"]


class Held:
    """What the archive of these tests holds, by pydicom."""

    def __init__(self, folder: Path) -> None:
        paths = sorted(path for path in (folder / FOLDER).rglob("*") if path.is_file() and "DICOMDIR" not in path.name)
        read_ones = [(path, read(path)) for path in [*paths, *(folder / name for name in CHARSETS)]]
        self.files: dict[str, tuple[Path, pydicom.Dataset]] = {}
        for path, data_set in read_ones:
            if data_set.get("StudyInstanceUID"):
                self.files.setdefault(data_set.SOPInstanceUID, (path, data_set))

    def values(self, keyword: str, where: Callable[[pydicom.Dataset], bool] = lambda _: True) -> set[str]:
        return {str(data_set.get(keyword)) for _, data_set in self.files.values() if where(data_set)}

    def study(self, size: int) -> str:
        """A study with exactly `size` instances."""
        for uid in sorted(self.values("StudyInstanceUID")):
            if len(self.values("SOPInstanceUID", lambda d, uid=uid: uid == d.StudyInstanceUID)) == size:  # type: ignore[misc]
                return uid
        raise AssertionError(f"no study with {size} instances")

    def instances(self, study: str) -> set[str]:
        return self.values("SOPInstanceUID", lambda d: study == d.StudyInstanceUID)


def identifier(level: str, **keys: str) -> pydicom.Dataset:
    data_set = pydicom.Dataset()
    data_set.QueryRetrieveLevel = level
    for keyword, value in keys.items():
        setattr(data_set, keyword, value)
    return data_set


def associated(archive: Served, ae: AE, **options: object):
    association = ae.associate(archive.host, archive.port, ae_title=archive.aet, **options)
    assert association.is_established
    return association


def store_all(archive: Served, held: Held) -> None:
    done = sagittal("store", archive.peer, "-q", *(path for path, _ in held.files.values()))
    assert done.returncode == 0, done.stderr
