"""The house rules hold (the rules themselves: tests/tidy.py), as `make check` asks, too."""

from __future__ import annotations

import pytest
from tidy import findings


@pytest.mark.slow
def test_house_rules() -> None:
    assert not findings()
