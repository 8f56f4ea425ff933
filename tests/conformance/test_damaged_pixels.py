"""Damaged code streams raise declared errors only, of every codec: truncated, flipped, cut out of the middle, random.

In a process of its own, since native libraries may crash: that ends one batch, is told with the syntax it happened
in, and fails. What contains it in service is the pool of workers.
"""

from __future__ import annotations

import json
import sys

import forked
import pytest

from sagittal.dicom.syntaxes import EXPLICIT_LE, syntax
from sagittal.pixels.codecs import ROWS

RECOMPRESSED, PART2 = "1.2.840.10008.1.2.4.111", ("1.2.840.10008.1.2.4.92", "1.2.840.10008.1.2.4.93")
SYNTAXES = sorted(
    uid for uid in ROWS if uid.startswith(("1.2.840.10008.1.2.4.", "1.2.840.10008.1.2.5")) or uid[-4:] == ".8.1"
)


def intact(uid: str) -> list[tuple[object, bytes]]:
    """Good code streams that `uid`'s codec reads, with their descriptions."""
    import numpy

    from sagittal.errors import NotAcceptable
    from sagittal.pixels import transcode
    from sagittal.pixels.codecs import codec
    from sagittal.pixels.codecs.interface import Options
    from sagittal.pixels.description import Description

    to = {PART2[0]: "1.2.840.10008.1.2.4.90", PART2[1]: "1.2.840.10008.1.2.4.91"}.get(uid, uid)
    if uid == RECOMPRESSED or (uid in ROWS and not ROWS[uid].encodes and to == uid):
        to = "1.2.840.10008.1.2.4.50"
    found: list[tuple[object, bytes]] = []
    for described in (Description(40, 33, 1, 16, 12, 11), Description(40, 33, 3, 8, 8, 7, False, "RGB")):
        try:
            made = transcode.plan(described, EXPLICIT_LE, to)
        except NotAcceptable:
            continue
        random = numpy.random.default_rng(5)
        array = numpy.cumsum(random.integers(0, 3, described.shape), axis=1).astype(described.dtype)
        stream = made.frame(codec(EXPLICIT_LE).encode(array, described, Options()))
        if uid == RECOMPRESSED:
            stream = transcode.plan(made.target, to, uid).frame(stream)
        found.append((made.target, stream))
    return found


def damaged(stream: bytes, seed: int) -> bytes:
    import random

    chance = random.Random(seed)
    kind = seed % 5
    at = chance.randrange(len(stream))
    if kind == 0:
        return stream[:at]
    if kind == 1:  # bytes flipped, most in the headers
        broken = bytearray(stream)
        for _ in range(chance.randrange(1, 6)):
            broken[min(int(chance.expovariate(4 / len(stream))), len(stream) - 1)] ^= 1 << chance.randrange(8)
        return bytes(broken)
    if kind == 2:
        return stream[:at] + stream[at + chance.randrange(1, 30) :]
    if kind == 3:
        return stream[:at] + chance.randbytes(len(stream) - at)
    broken = bytearray(stream)
    begin = chance.randrange(min(100, len(stream)))
    broken[begin : begin + 4] = chance.choice(
        (b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\x00\x01\x00\x00")
    )
    return bytes(broken)


def batch(uid: str, count: int) -> dict[str, int]:
    """Runs in the process of its own: how many were refused, how many gave an array all the same."""
    from sagittal.errors import SagittalError
    from sagittal.pixels.codecs import codec

    refused = given = 0
    for described, stream in intact(uid):
        for seed in range(count):
            print(seed, file=sys.stderr, flush=True)
            try:
                array = codec(uid).decode(damaged(stream, seed), described)  # type: ignore[arg-type]
            except SagittalError:
                refused += 1
            else:
                given += 1
                assert array.shape == described.shape  # type: ignore[attr-defined]
                assert array.dtype == described.dtype  # type: ignore[attr-defined]
    return {"refused": refused, "given": given}


def run(uid: str, count: int) -> dict[str, int]:
    call = "import json; from conformance import test_damaged_pixels as t\n"
    call += f"print(json.dumps(t.batch({uid!r}, {count})))"
    done = forked.done(forked.python, call, timeout=60 + count // 10)
    assert done.returncode == 0, f"{syntax(uid).name}: exit status {done.returncode}\n{done.stderr[-3000:]}"
    found: dict[str, int] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize("uid", SYNTAXES, ids=lambda uid: syntax(uid).keyword)
def test_declared_errors_only(uid: str) -> None:
    found = run(uid, 30)
    assert found["refused"] > 10, found


@pytest.mark.slow
@pytest.mark.parametrize("uid", SYNTAXES, ids=lambda uid: syntax(uid).keyword)
def test_declared_errors_only_at_length(uid: str) -> None:
    assert run(uid, 3000)["refused"] > 100
