"""Studies by the hundred thousand, straight into the index of a data directory: for queries, which read nothing else.

    python -m bench.seeding DIR STUDIES [INSTANCES]

The rows are written by the archive's own writer, with metadata of some 90 elements; the objects' files are not there,
so nothing can be retrieved. Every value is made from the study's number, so that two runs give the same index. 100,000
studies of one instance take a minute.
"""

from __future__ import annotations

import json
import sys
import zlib
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from sagittal.archive.index import CURRENT, schema
from sagittal.archive.index.arrival import WANTED, Arrival
from sagittal.archive.index.connection import open_writer
from sagittal.archive.index.writer import IndexWriter
from sagittal.dicom.dictionary import vr_of

_CT, _MR = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4"
_BATCH = 500
_DIRECTORY = "0001"  # of the objects, if they were there
_SYLLABLES = "ba co di fe gu la mi no pe ra so tu va ze lin mar ros val".split()  # noqa: SIM905
_FIRST_DAY = date(1776, 1, 1)
_DAYS = 90_000  # so that a day has as many studies however many there are, and answers the same length
_FILLER: dict[str, Any] = {
    f"{tag:08X}": {"vr": vr_of(tag), "Value": [f"value of {tag:08X}"]}
    for tag in range(0x00181000, 0x00182000)
    if vr_of(tag) in ("LO", "SH", "CS")
}


def name_of(number: int) -> str:
    """The patient's name of a study; two studies have the same one."""
    number //= 2
    syllables = [_SYLLABLES[number // len(_SYLLABLES) ** at % len(_SYLLABLES)] for at in range(6)]
    return f"{''.join(syllables[:3]).title()}^{''.join(syllables[3:]).title()}"


def study_uid(number: int) -> str:
    """The Study Instance UID of a study."""
    return f"2.25.1{number:09d}"


def values_of(number: int, instance: int) -> dict[int, str]:
    """The attributes of one instance of a study."""
    day = _FIRST_DAY + timedelta(days=number % _DAYS)
    modality = "CT" if number % 4 else "MR"
    return {
        0x00080016: _CT if number % 4 else _MR,
        0x00080018: f"{study_uid(number)}.1.{instance + 1}",
        0x00080020: f"{day:%Y%m%d}",
        0x00080030: f"{number % 24:02d}{number % 60:02d}00",
        0x00080050: f"A{number:08d}",
        0x00080060: modality,
        0x00080090: name_of(number * 7),
        0x00081030: f"Study {number // 20}",
        0x0008103E: f"Series {number % 50}",
        0x00100010: name_of(number),
        0x00100020: f"P{number // 2:08d}",
        0x00100030: "19700101",
        0x00100040: "FM"[number % 2],
        0x0020000D: study_uid(number),
        0x0020000E: f"{study_uid(number)}.1",
        0x00200010: f"S{number}",
        0x00200011: "1",
        0x00200013: str(instance + 1),
        0x00280010: "512",
        0x00280011: "512",
        0x00280100: "16",
    }


def unindexed(number: int, instance: int) -> dict[int, str]:
    """KVP and Plate ID, which are in no index, neither ours nor Orthanc's."""
    return {0x00180060: str(100 + number % 40), 0x00181004: f"plate-{instance}-of-{number}"}


def fillers() -> dict[int, tuple[str, str]]:
    """What else the objects say: VR and value by tag."""
    return {int(tag, 16): (told["vr"], told["Value"][0]) for tag, told in _FILLER.items()}


def _metadata(values: dict[int, str], number: int, instance: int) -> bytes:
    """The DICOM JSON."""
    told: dict[str, Any] = dict(_FILLER)
    for tag, text in values.items():
        vr = vr_of(tag)
        told[f"{tag:08X}"] = {"vr": vr, "Value": [{"Alphabetic": text} if vr == "PN" else text]}
    kvp, plate = unindexed(number, instance).values()
    told["00180060"] = {"vr": "DS", "Value": [int(kvp)]}
    told["00181004"] = {"vr": "LO", "Value": [plate]}
    return zlib.compress(json.dumps(dict(sorted(told.items())), separators=(",", ":")).encode(), 1)


def arrivals(studies: int, instances: int = 1) -> Iterator[Arrival]:
    """What ingest would hand to the index."""
    for number in range(studies):
        for instance in range(instances):
            values = values_of(number, instance)
            digest = f"{number:032x}{instance:032x}"
            yield Arrival(
                sop_class_uid=values[0x00080016],
                sop_instance_uid=values[0x00080018],
                study_uid=values[0x0020000D],
                series_uid=values[0x0020000E],
                syntax_uid="1.2.840.10008.1.2.1",
                digest=digest,
                length=530_000,
                header_length=330,
                values={tag: text for tag, text in values.items() if tag in WANTED},
                received_at=1_700_000_000_000_000 + number,
                key=f"{_DIRECTORY}/{digest}",
                metadata=[_metadata(values, number, instance)],
            )


def seed(directory: Path, studies: int, instances: int = 1) -> Path:
    """Make `directory` with an index of so many studies of one series each; gives the index's path."""
    (directory / "objects" / _DIRECTORY).mkdir(mode=0o700, parents=True, exist_ok=True)
    path = directory / "index.db"
    connection = open_writer(path, durable=False)
    schema.prepare(connection, path)
    writer = IndexWriter(connection)
    writer.begin()
    for count, arrival in enumerate(arrivals(studies, instances), 1):
        writer.add(arrival, CURRENT)
        if count % _BATCH == 0:
            writer.flush(arrival.received_at)
            writer.commit()
            writer.begin()
    writer.flush(0)
    writer.commit()
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    return path


if __name__ == "__main__":
    seed(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else 1)
