"""Results on a stdout that has no code for all letters, as in a Latin-1 terminal."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest
from builders import build

from sagittal.cli import main


def test_what_it_cannot_show_is_escaped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    odd = tmp_path / "\udce9.dcm"  # a name that is no UTF-8
    odd.write_bytes(build(patient_name="Müßig^山田", charset="ISO_IR 192").part10)
    told = io.TextIOWrapper(io.BytesIO(), "latin-1")
    monkeypatch.setattr(sys, "stdout", told)
    with pytest.raises(SystemExit) as ended:
        main(["dump", str(odd), str(odd)])
    told.seek(0)
    assert ended.value.code == 0
    assert "[Müßig^\\u5c71\\u7530]" in told.read()
