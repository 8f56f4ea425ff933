"""Messages: what is told comes as it was."""

from __future__ import annotations

import math
import socket
from typing import Any

import pytest

from sagittal.workers.message import Incoming, encode, receive, send


def taken(told: dict[str, Any], data: bytes = b"") -> tuple[dict[str, Any], bytes]:
    incoming = Incoming()
    incoming.add(encode(told, data))
    message = incoming.take()
    assert message is not None
    assert incoming.take() is None
    return message.told, message.data


@pytest.mark.parametrize(
    "told",
    [
        {},
        {"options": {"window": [40.0, 400.5, "LINEAR"]}, "frames": [1, 2], "text": "Müller \u3042 null"},
        {"quality": None},
        {"value": math.inf, "least": -math.inf},
        {"number": (1 << 80) + 1},
    ],
)
def test_what_is_told(told: dict[str, Any]) -> None:
    found, data = taken(told, b"bytes")
    assert (repr(found), data) == (repr(told), b"bytes")


def test_no_number() -> None:
    (value,) = taken({"value": math.nan})[0].values()
    assert math.isnan(value)


def test_tuples_are_lists_and_keys_are_text() -> None:
    assert taken({"pairs": [(1, 2)], "by": {1: "one"}})[0] == {"pairs": [[1, 2]], "by": {"1": "one"}}


def test_an_end_that_left_something_unread_is_an_end() -> None:
    """As when the server is killed while a worker answers it."""
    ours, theirs = socket.socketpair()
    with theirs:
        send(theirs, {"answer": 1})
        ours.close()
        assert receive(theirs, Incoming()) is None
