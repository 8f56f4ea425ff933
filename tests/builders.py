"""Small synthetic objects: `build(…)` gives the bytes of a data set and of a Part 10 file, with what was put into them.

UIDs come from names (`uid("study", 1)`), so that tests say who belongs to whom. Pixel data is made of the instance's
own UID: no two objects share bytes.
"""

from __future__ import annotations

import asyncio
import hashlib
import sqlite3
import threading
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sagittal.archive.access import LOCAL, Principal
from sagittal.archive.archive import Archive
from sagittal.archive.faults import Faults
from sagittal.archive.index.arrival import Encodes
from sagittal.archive.index.connection import open_reader
from sagittal.archive.index.upkeep.stale import is_current
from sagittal.archive.ingest import Outcome, Source
from sagittal.archive.references import InstanceRef
from sagittal.archive.upkeep.scrub import Finding, Scrub
from sagittal.dicom import elements, part10
from sagittal.dicom.dictionary import tag_of, vr_of
from sagittal.dicom.reencode import reencode
from sagittal.dicom.syntaxes import EXPLICIT_LE, IMPLICIT_LE, TransferSyntax, syntax
from sagittal.limits import Limits

CT = "1.2.840.10008.5.1.4.1.1.2"
MR = "1.2.840.10008.5.1.4.1.1.4"
SC = "1.2.840.10008.5.1.4.1.1.7"


def uid(*names: object) -> str:
    """A UID under 2.25 for a name."""
    digest = hashlib.sha256(repr(names).encode()).digest()
    return f"2.25.{int.from_bytes(digest[:15], 'big')}"


@dataclass(frozen=True)
class Built:
    """A synthetic object."""

    data: bytes  # the data set
    study_uid: str
    series_uid: str
    sop_class_uid: str
    sop_instance_uid: str
    syntax_uid: str
    frames: tuple[bytes, ...]  # the pixels, frame by frame

    @property
    def meta(self) -> bytes:
        """What Part 10 puts before the data set."""
        return part10.meta_group(self.sop_class_uid, self.sop_instance_uid, self.syntax_uid)

    @property
    def part10(self) -> bytes:
        return self.meta + self.data

    @property
    def digest(self) -> str:
        """The SHA-256 of the file as the archive keeps it."""
        return hashlib.sha256(self.part10).hexdigest()


def build(
    number: int = 1,
    *,
    patient_id: str = "P1",
    patient_name: str = "Doe^Jane",
    study: object = 1,
    series: object = 1,
    study_uid: str | None = None,
    series_uid: str | None = None,
    sop_instance_uid: str | None = None,
    sop_class_uid: str = CT,
    modality: str = "CT",
    study_date: str = "20260102",
    frames: int = 1,
    rows: int = 4,
    columns: int = 4,
    syntax_uid: str = EXPLICIT_LE,
    charset: str = "",
    extra: Mapping[str, str | bytes] | None = None,
) -> Built:
    """The object `number` of a series. `extra` adds or replaces elements by keyword; "" is an empty value."""
    study_uid = uid("study", study) if study_uid is None else study_uid
    series_uid = uid("series", study, series) if series_uid is None else series_uid
    sop_instance_uid = uid("instance", study, series, number) if sop_instance_uid is None else sop_instance_uid
    texts = dict(_TEXTS, SOPClassUID=sop_class_uid, SOPInstanceUID=sop_instance_uid, StudyInstanceUID=study_uid)
    texts |= {"SeriesInstanceUID": series_uid, "PatientID": patient_id, "PatientName": patient_name}
    texts |= {"StudyDate": study_date, "Modality": modality, "SpecificCharacterSet": charset}
    texts |= {"InstanceNumber": str(number), "NumberOfFrames": str(frames) if frames > 1 else ""}
    texts |= {"AccessionNumber": f"A{study}", "StudyID": f"S{study}", "StudyDescription": f"Study {study}"}
    texts |= {"SeriesDescription": f"Series {series}"}
    numbers = dict(_NUMBERS, Rows=rows, Columns=columns)
    pixels = tuple(_pixels(sop_instance_uid, frame, rows * columns * 2) for frame in range(frames))
    data = _data_set({**texts, **(extra or {})}, numbers, pixels, syntax(syntax_uid))
    return Built(data, study_uid, series_uid, sop_class_uid, sop_instance_uid, syntax_uid, pixels)


_TEXTS = {
    "StudyTime": "101530",
    "ReferringPhysicianName": "Roe^Richard",
    "PatientBirthDate": "19700101",
    "PatientSex": "F",
    "SeriesNumber": "1",
    "PhotometricInterpretation": "MONOCHROME2",
}
_NUMBERS = {"SamplesPerPixel": 1, "BitsAllocated": 16, "BitsStored": 16, "HighBit": 15, "PixelRepresentation": 0}


def uid_of(name: str) -> str:
    """The UID of a study ("S1"), series ("S1/A") or object ("S1/A/1") that is built with these names."""
    study, _, rest = name.partition("/")
    series, _, number = rest.partition("/")
    if number:
        return uid("instance", study, f"{study}/{series}", int(number))
    return uid("series", study, name) if series else uid("study", study)


def _data_set(
    values: Mapping[str, str | bytes], numbers: Mapping[str, int], pixels: tuple[bytes, ...], to: TransferSyntax
) -> bytes:
    charset = values["SpecificCharacterSet"]
    charsets = tuple(charset.split("\\")) if isinstance(charset, str) and charset else ()
    listed = {tag_of(name): ("US", elements.encode_numbers("US", [value], to)) for name, value in numbers.items()}
    for keyword, value in values.items():
        vr = vr_of(tag := tag_of(keyword))
        listed[tag] = (vr, value if isinstance(value, bytes) else elements.encode_text(vr, value, charsets))
    own_pixels = "PixelData" not in values
    if own_pixels and not to.encapsulated:
        listed[0x7FE00010] = ("OW", b"".join(pixels))
    data = elements.encode([(tag, *rest) for tag, rest in listed.items()], to)
    return data + _fragments(pixels) if own_pixels and to.encapsulated else data


def _pixels(name: str, frame: int, length: int) -> bytes:
    seed = hashlib.sha256(f"{name} {frame}".encode()).digest()
    return (seed * (length // len(seed) + 1))[:length]


def _fragments(frames: tuple[bytes, ...]) -> bytes:
    """Encapsulated Pixel Data, empty Basic Offset Table, one fragment a frame (PS3.5 A.4)."""
    items = b"".join(b"\xfe\xff\x00\xe0" + len(frame).to_bytes(4, "little") + frame for frame in frames)
    head = b"\xe0\x7f\x10\x00OB\x00\x00\xff\xff\xff\xff" + b"\xfe\xff\x00\xe0\x00\x00\x00\x00"
    return head + items + b"\xfe\xff\xdd\xe0\x00\x00\x00\x00"


async def revision_of(archive: Archive, uid: str, level: str = "study") -> int:
    """That of a study or series, which changes with it."""
    statement = f"SELECT revision FROM {level} WHERE {level}_instance_uid = ?"
    (revision,) = await archive.readers.run(lambda connection: connection.execute(statement, (uid,)).fetchone())
    return int(revision)


@asynccontextmanager
async def opened(path: Path, limits: Limits | None = None, faults: Faults | None = None) -> AsyncIterator[Archive]:
    """An archive on `path`, closed afterwards."""
    archive = await Archive.open(path, limits=limits, faults=faults, durability="off")
    try:
        yield archive
    finally:
        await archive.close()


def file_of(archive: Archive, ref: InstanceRef) -> bytes:
    """The file of an instance."""
    return (archive.index.parent / "objects" / ref.key).read_bytes()


async def transcoded(archive: Archive, who: Principal, sop_instance_uid: str) -> str:
    """As by rule: a current instance in the other of two syntaxes; gives the digest of that."""
    [ref] = await archive.instances(who, sop_instance_uids=[sop_instance_uid])
    to = IMPLICIT_LE if ref.syntax_uid == EXPLICIT_LE else EXPLICIT_LE
    data_set = file_of(archive, ref)[ref.header_length :]
    made = b"".join(reencode([data_set], syntax(ref.syntax_uid), syntax(to)))
    file = part10.meta_group(ref.sop_class_uid, ref.sop_instance_uid, to) + made
    digest = hashlib.sha256(file).hexdigest()
    transfer = archive.store_begin_part10(who, Source("transcode", encodes=Encodes(ref.id, digest, "")))
    transfer.write(file)
    assert (await transfer.commit()).status == "transcoded"
    return digest


def rows(path: Path, statement: str) -> list[tuple[Any, ...]]:
    """What the index of a data directory answers."""
    with closing(sqlite3.connect(path / "index.db")) as index:
        return index.execute(statement).fetchall()


async def until_current(archive: Archive) -> None:
    """Return once no row is of an older reader."""
    async with asyncio.timeout(20):
        while not await archive.readers.run(is_current):
            await asyncio.sleep(0.01)


def findings(archive: Archive) -> list[Finding]:
    """What a scrub of an open archive finds."""
    with closing(open_reader(archive.index)) as connection:
        return [told for told in Scrub(connection, archive.volumes).run() if isinstance(told, Finding)]


@asynccontextmanager
async def resting(archive: Archive) -> AsyncIterator[None]:
    """While the committer takes nothing, in the middle of an act: what comes in meanwhile piles up."""
    begun, release = threading.Event(), threading.Event()

    def act(_connection: sqlite3.Connection) -> None:
        begun.set()
        release.wait()

    acting = asyncio.ensure_future(archive.act(act))
    await asyncio.to_thread(begun.wait)
    try:
        yield
    finally:
        release.set()
        await acting


async def store(archive: Archive, *objects: Built, policy: str = "keep-first") -> list[Outcome]:
    """Store objects one after the other, as an import would."""
    outcomes = []
    for built in objects:
        transfer = archive.store_begin_part10(LOCAL, Source("import", policy=policy))
        transfer.write(built.part10)
        outcomes.append(await transfer.commit())
    return outcomes
