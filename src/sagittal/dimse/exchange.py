"""Messages from and to presentation data values: PS3.7 section 6.3 and Annex F, PS3.8 Annex E.

A message is a command set and, if that says so, a data set in the same context; messages don't interleave. The command
set is collected, bounded; the data set's fragments pass through. Which message is expected when is not known here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from struct import Struct
from typing import Any, NamedTuple

from sagittal.dimse.commands import NO_DATA_SET, InvalidCommand, Message, check, decode
from sagittal.ul.stream import Run

_DATA = Struct(">BxLLBB")

Buffer = bytes | memoryview


class Arrived(NamedTuple):
    """A complete command set. `data_set`: fragments will follow."""

    context_id: int
    command: Mapping[str, Any]
    row: Message
    data_set: bool


class Exchange:
    """Follows the incoming messages of one association."""

    __slots__ = ("_bytes_max", "_command", "_context_id", "_expects_data")

    def __init__(self, *, command_set_bytes_max: int) -> None:
        self._bytes_max = command_set_bytes_max
        self._command = bytearray()
        self._context_id = 0
        self._expects_data = False

    @property
    def inside(self) -> bool:
        """Whether a message has begun and isn't complete."""
        return self._expects_data or bool(self._command)

    def command(self, run: Run) -> Arrived | None:
        """Take fragments of a command set; the whole one once it is there."""
        if self._expects_data:
            raise InvalidCommand("a command set inside a data set")
        if self._command and run.context_id != self._context_id:
            raise InvalidCommand("a command set in two presentation contexts")
        self._context_id = run.context_id
        for fragment in run.fragments:
            if len(self._command) + len(fragment) > self._bytes_max:
                raise InvalidCommand(f"a command set of more than {self._bytes_max} bytes")
            self._command += fragment
        if not run.last:
            return None
        whole = bytes(self._command)
        self._command.clear()
        command = decode(whole)
        row = check(command)
        self._expects_data = command["CommandDataSetType"] != NO_DATA_SET
        return Arrived(run.context_id, command, row, self._expects_data)

    def data(self, run: Run) -> None:
        """Account for fragments of a data set, which the caller passes on."""
        if not self._expects_data or run.context_id != self._context_id:
            raise InvalidCommand("a data set fragment without a command set that announces it")
        if run.last:
            self._expects_data = False


def fragment_bytes(peer_pdu_bytes_max: int, own_pdu_bytes_max: int) -> int:
    """How much of a message goes into one PDU: the peer's maximum (0: none) but not more than ours; an even number, as
    DCMTK takes no odd fragment (PS3.8 E.1).
    """
    return max(1, min(peer_pdu_bytes_max or own_pdu_bytes_max, own_pdu_bytes_max) - 6 & ~1)


def header(context_id: int, length: int, *, command: bool = False, last: bool = False) -> bytes:
    """The header of a P-DATA-TF PDU with one presentation data value of `length` bytes."""
    return _DATA.pack(4, length + 6, length + 2, context_id, command | last << 1)


def encode_part(
    context_id: int, data: Buffer, limit: int, *, command: bool = False, last: bool = True
) -> Sequence[Buffer]:
    """PDUs of a command set or data set, or of a piece of one that is not its `last`: headers and pieces of `data` by
    turns, `limit` bytes each.
    """
    size = len(data)
    if size <= limit:
        return (header(context_id, size, command=command, last=last), data)
    view, whole = memoryview(data), header(context_id, limit, command=command)
    parts: list[Buffer] = []
    for start in range(0, size, limit):
        parts += (whole, view[start : start + limit])
    parts[-2] = header(context_id, len(parts[-1]), command=command, last=last)
    return parts


def encode_matches(context_id: int, command: bytes, data_sets: Iterable[bytes], limit: int) -> list[Buffer]:
    """PDUs of messages with one and the same command set, which is encoded once, as are headers for the same size."""
    begin = b"".join(encode_part(context_id, command, limit, command=True))
    heads: dict[int, bytes] = {}
    parts: list[Buffer] = []
    for data in data_sets:
        size = len(data)
        if size > limit:
            parts += (begin, *encode_part(context_id, data, limit))
            continue
        head = heads.get(size)
        if head is None:
            head = heads[size] = begin + header(context_id, size, last=True)
        parts += (head, data)
    return parts
