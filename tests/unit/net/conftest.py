"""Every test of net/ runs on both event loops."""

from __future__ import annotations

import loopback
import pytest


@pytest.fixture(params=[*loopback.LOOPS], autouse=True)
def event_loop_kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loopback, "loop", request.param)
