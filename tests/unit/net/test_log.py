"""Lines of the log cannot be broken or forged by a peer."""

from __future__ import annotations

import logging

import pytest

from sagittal.net import log


@pytest.mark.parametrize(("text", "shown"), [
    ("AET", "AET"), ("A B", '"A B"'), ("a\r\nb", "a\\x0d\\x0ab"), ("\x1b[31m", "\\x1b[31m"), ("", '""'), (5, "5"),
    ("x y\x00", '"x y\\x00"'),
])  # fmt: skip
def test_escape(text: object, shown: str) -> None:
    assert log.escape(text) == shown


def test_event_leaves_out_what_is_empty(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "sagittal.net"):
        log.event(logging.INFO, "happened", one=1, none=None, empty="", zero=0)
    assert [record.getMessage() for record in caplog.records] == ["happened one=1 zero=0"]
