"""Every malformed file of the corpus has its row in malformed.csv: refused or warned of, and for which defect.

`SAGITTAL_WRITE_TABLE=1 pytest tests/conformance/test_malformed.py` writes the table anew; read the difference before
committing it.
"""

from __future__ import annotations

import csv
import os
from pathlib import Path

from reading import read

from sagittal.dicom.part10 import Part10Head
from sagittal.errors import LimitExceeded, Malformed
from sagittal.limits import ReaderLimits

TABLE = Path(__file__).with_name("malformed.csv")
IDENTITY = (0x00080016, 0x00080018, 0x0020000D, 0x0020000E)


def outcome(data: bytes) -> str:
    """As in the table: `refused:defect`, `warned:defect defect`, `accepted`."""
    head = Part10Head(ReaderLimits())
    try:
        head.feed(data)
    except Malformed as refusal:
        return f"refused:{refusal.defect}"
    except LimitExceeded:
        return "refused:limit-exceeded"
    if not head.done:
        return "refused:truncated"
    result = read(data[head.data_set_offset :], head.syntax_uid or "", wanted=frozenset(IDENTITY))
    if result.parsed is None:
        return f"refused:{result.refused}"
    if not all(result.parsed.values.get(tag) for tag in IDENTITY):
        return "refused:uid-missing"
    return f"warned:{' '.join(result.parsed.defects)}" if result.parsed.defects else "accepted"


def test_every_malformed_file_has_its_outcome(corpus_dir: Path) -> None:
    folder = corpus_dir / "malformed"
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    found = {path.relative_to(folder).as_posix(): outcome(path.read_bytes()) for path in files}
    if os.environ.get("SAGITTAL_WRITE_TABLE"):
        with TABLE.open("w", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows([("file", "outcome"), *found.items()])
    with TABLE.open(newline="") as file:
        expected = {row["file"]: row["outcome"] for row in csv.DictReader(file)}
    assert found == expected
    assert len(found) == 115
