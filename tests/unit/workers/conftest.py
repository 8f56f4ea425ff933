"""Here the process that workers are forked from starts as a user's does."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="session")
def fresh() -> bool:
    return True
