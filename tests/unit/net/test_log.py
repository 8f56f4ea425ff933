"""Lines of the log cannot be broken or forged by a peer."""

from __future__ import annotations

import pytest

from sagittal.net.link import escape


@pytest.mark.parametrize(("text", "shown"), [
    ("AET", "AET"), ("A B", '"A B"'), ("a\r\nb", "a\\x0d\\x0ab"), ("\x1b[31m", "\\x1b[31m"), ("", '""'), (5, "5"),
    ("x y\x00", '"x y\\x00"'),
])  # fmt: skip
def test_escape(text: object, shown: str) -> None:
    assert escape(text) == shown
