"""An answer's head and body go out together; a head whose body has to be waited for goes before it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from sagittal.web.server import Corked


class Wire:
    """Notes the calls that reach the transport."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, bytes]] = []

    def write(self, data: bytes) -> None:
        self.calls.append(("write", data))

    def close(self) -> None:
        self.calls.append(("close", b""))


def after(*acts: tuple[str, bytes]) -> list[tuple[str, bytes]]:
    """What the transport sees of these acts; "turn" lets the loop go round."""

    async def inside() -> list[tuple[str, bytes]]:
        wire: Any = Wire()
        corked = Corked(wire)
        for name, data in acts:
            if name == "turn":
                await asyncio.sleep(0)
            elif name == "write":
                corked.write(data)
            else:
                getattr(corked, name)()
        calls: list[tuple[str, bytes]] = wire.calls
        return calls

    return asyncio.run(inside())


LARGE = bytes(1 << 20)
HEAD, EXPECT, TURN = ("write", b"head"), ("expect_head", b""), ("turn", b"")
CASES = {
    "together": ([EXPECT, HEAD, ("write", b"body"), TURN], [("write", b"headbody")]),
    "an empty body": ([EXPECT, HEAD, ("write", b""), TURN], [HEAD]),
    "a body that comes later": ([EXPECT, HEAD, TURN, ("write", b"body")], [HEAD, ("write", b"body")]),
    "no body": ([EXPECT, HEAD, TURN], [HEAD]),
    "the end at once": ([EXPECT, HEAD, ("close", b""), TURN], [HEAD, ("close", b"")]),
    "the pieces after the first": (
        [EXPECT, HEAD, ("write", b"1"), ("write", b"2")],
        [("write", b"head1"), ("write", b"2")],
    ),
    "a large body": ([EXPECT, HEAD, ("write", LARGE)], [HEAD, ("write", LARGE)]),
    "a request behind this one": ([EXPECT, HEAD, EXPECT, ("write", b"body")], [("write", b"headbody")]),
    "what comes before any request": ([HEAD], [HEAD]),
}


@pytest.mark.parametrize("case", CASES)
def test_a_head_waits_for_its_body_one_turn(case: str) -> None:
    acts, seen = CASES[case]
    assert after(*acts) == seen
