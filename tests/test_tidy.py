"""The house rules hold (the rules themselves: tests/tidy.py)."""

from __future__ import annotations

from tidy import findings


def test_house_rules() -> None:
    assert not findings()
