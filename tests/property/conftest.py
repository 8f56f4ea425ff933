"""Properties are asked daily with a quarter of their examples (`lengths.py`), under `slow` with all of them."""

from __future__ import annotations

import pytest
from hypothesis import is_hypothesis_test, settings

DAILY, AT_LENGTH = "daily", "at length"


def pytest_configure(config: pytest.Config) -> None:
    held = settings.get_profile(settings.get_current_profile_name())
    for name, examples in ((DAILY, 25), (AT_LENGTH, 100)):
        settings.register_profile(name, held, max_examples=examples)
    chosen = config.option.markexpr
    settings.load_profile(AT_LENGTH if "slow" in chosen and "not slow" not in chosen else DAILY)


def pytest_itemcollected(item: pytest.Item) -> None:
    asked = getattr(item, "function", None)
    if settings.get_current_profile_name() == AT_LENGTH and is_hypothesis_test(asked):
        item.add_marker(pytest.mark.slow)
