"""The policy table of defects against the code: every name raised or warned of has a row, and every row a use."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import sagittal
from sagittal.dicom.defects import POLICY
from sagittal.errors import IdentifierMismatch, LimitExceeded, Malformed

SOURCE = Path(sagittal.__file__).parent
# Rows of the archive and of the file around the data set: their names are made from other tables there.
ELSEWHERE = {"limit-exceeded"}


@cache
def names() -> list[tuple[str, str]]:
    """(defect, module) of every `Malformed("…")` in the package and every `warn("…")` of the reader."""
    return list(_names())


def _names() -> Iterator[tuple[str, str]]:
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not isinstance(node, ast.Call) or not node.args:
                continue
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if called == "Malformed" or (called == "warn" and "dicom" in path.parts):
                if isinstance(node.args[0], ast.Subscript):  # what a worker found, said once more
                    continue
                for constant in ast.walk(node.args[0]):
                    if isinstance(constant, ast.Constant) and isinstance(constant.value, str):
                        yield constant.value, path.name


def test_every_defect_has_a_row() -> None:
    assert {name for name in names() if name[0] not in POLICY} == set()


def test_every_row_of_the_structure_is_used() -> None:
    used = {name for name, _ in names()}
    reader = "".join(path.read_text("utf-8") for path in (SOURCE / "dicom").rglob("*.py") if path.name != "defects.py")
    identity = {name for name in POLICY if "uid" in name} | {"patient-id-missing"}
    unused = {name for name in POLICY if name not in used and f'"{name}"' not in reader}
    assert unused - identity - ELSEWHERE == set()


def test_statuses_are_those_of_the_standard() -> None:
    for name, row in POLICY.items():
        assert row.text and not row.text.endswith(".")
        if row.action == "warn":
            assert (row.dimse_status, row.http_status) == (0, 200), name
        else:
            assert row.dimse_status == 0xA900 or row.dimse_status == 0xA700 or 0xC000 <= row.dimse_status <= 0xCFFF


def test_the_errors_carry_the_same_statuses() -> None:
    assert Malformed.dimse_status == POLICY["truncated"].dimse_status
    assert Malformed.http_status == POLICY["truncated"].http_status
    assert LimitExceeded.dimse_status == POLICY["limit-exceeded"].dimse_status
    assert LimitExceeded.http_status == POLICY["limit-exceeded"].http_status
    assert IdentifierMismatch.dimse_status == POLICY["uid-invalid"].dimse_status
