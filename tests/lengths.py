"""How many examples a property takes: as many as it says under `slow`, a quarter of them daily (`conftest.py`)."""

from __future__ import annotations

from hypothesis import settings


def examples(number: int) -> int:
    """`number`, or daily a quarter; for settings in the head of a module, which are read when the profile is loaded."""
    return max(1, number * settings.default.max_examples // 100)
