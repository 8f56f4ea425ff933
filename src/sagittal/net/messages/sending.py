"""Messages on their way out: small ones at once and many in one write, data sets in chunks with the peer's pace.

Parts of one message are never mixed with another's; while a data set is going out, others wait behind it.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterable, AsyncIterator, Sequence

from sagittal.dimse.exchange import Buffer, encode_matches, encode_part, fragment_bytes
from sagittal.dimse.service import FileRegion, Source
from sagittal.errors import DamagedObject, PeerError
from sagittal.net.messages.carrier import Carrier

BATCH_BYTES = 1 << 20  # read and written at once: ~1 ms of one core
FEW_BYTES = 4 * 1024  # of matches: not worth a write of their own
JOIN_BYTES = 64 * 1024  # below this, one joined buffer is cheaper than many
_DCMTK = "1.2.276.0.7230010.3.0."  # implementation classes; Orthanc's is among them


def at_once(source: Source | None) -> bool:
    """Whether a message with this data set goes out without waiting."""
    return source is None or (isinstance(source, bytes) and len(source) <= JOIN_BYTES)


class Sender:
    """The sending half of a link."""

    def __init__(self, link: Carrier) -> None:
        self._link = link
        self._parts: list[Buffer] = []
        self._bytes = 0
        self._scheduled = False
        self._busy = asyncio.Lock()  # held by the message whose data set is going out
        self._limit = 0

    @property
    def limit(self) -> int:
        """Bytes of a message in one PDU."""
        if not self._limit:
            self._limit = fragment_bytes(self._link.info.peer_pdu_bytes_max, self._link.limits.pdu_receive_bytes_max)
        return self._limit

    def send(self, context_id: int, command: bytes, data: bytes | None, *, at_once: bool = True) -> None:
        """A message with a small data set or none. `at_once=False`: it may wait for others of this turn of the loop."""
        parts = self._parts
        parts += encode_part(context_id, command, self.limit, command=True)
        self._bytes += len(command) + 24
        if data is not None:
            parts += encode_part(context_id, data, self.limit)
            self._bytes += len(data)
        self._flush_beyond(0 if at_once else JOIN_BYTES)

    def send_matches(self, context_id: int, command: bytes, data_sets: Sequence[bytes]) -> None:
        """Messages with one command set and small data sets. Many go out now: the peer begins with them meanwhile."""
        parts = encode_matches(context_id, command, data_sets, self.limit)
        self._parts += parts
        self._bytes += sum(map(len, parts))
        self._flush_beyond(FEW_BYTES)

    def _flush_beyond(self, bytes_max: int) -> None:
        """Flush what is more than so many bytes; less may wait for other messages of this turn of the loop."""
        if self._bytes > bytes_max:
            self.flush()
        elif not self._scheduled:
            self._scheduled = True
            self._link.loop.call_soon(self._flush_scheduled)

    def _flush_scheduled(self) -> None:
        self._scheduled = False
        self.flush()

    def flush(self) -> None:
        """Hand what is waiting to the transport, unless a data set is going out."""
        if self._parts and not self._busy.locked():
            parts, self._parts = self._parts, []
            joined, self._bytes = self._bytes < 2 * JOIN_BYTES, 0
            self._link.write([b"".join(parts)] if joined else parts)

    async def send_with_data(self, context_id: int, command: bytes, source: Source) -> None:
        """A message whose data set comes from `source`. PeerError when the association ends meanwhile.

        What can't be read at all is an error before anything of the message is sent, so the association goes on.
        """
        if at_once(source):
            assert isinstance(source, bytes)
            self.send(context_id, command, source + self._pad if len(source) & 1 else source)
            await self.writable()
            return
        pieces = _even(_pieces(source, self.limit), self._pad)
        try:
            async with self._busy:
                first = await anext(pieces, b"")
                waiting, self._parts, self._bytes = self._parts, [], 0
                self._link.write([*waiting, *encode_part(context_id, command, self.limit, command=True)])
                try:
                    await self._send_pieces(context_id, first, pieces)
                except BaseException:  # the message can't be completed, so nothing more can be said on this association
                    self._link.abort("a data set could not be read to its end")
                    raise
        finally:
            self.flush()

    async def _send_pieces(self, context_id: int, held: Buffer, pieces: AsyncIterator[Buffer]) -> None:
        async for piece in pieces:  # one behind, as the last one must say so
            self._link.write(encode_part(context_id, held, self.limit, last=False))
            await self.writable()
            held = piece
        self._link.write(encode_part(context_id, held, self.limit))
        await self.writable()

    @property
    def _pad(self) -> bytes:
        """What is put behind a data set of odd length: nothing, unless the peer aborts at fragments of such."""
        return b"\0" if self._link.info.implementation_class.startswith(_DCMTK) else b""

    @property
    def behind(self) -> bool:
        """Whether more is waiting than should be: the transport takes no more, or a data set has been going out."""
        return self._link.write_waiter is not None or self._bytes > BATCH_BYTES

    async def caught_up(self) -> None:
        """Return when it isn't behind any more. PeerError if the association is over."""
        while self._bytes > BATCH_BYTES and not self._link.over:
            async with self._busy:  # the data set that goes out now
                pass
            self.flush()
        await self.writable()

    async def writable(self) -> None:
        """Return when the transport takes more. PeerError if the association is over."""
        waiter = self._link.write_waiter
        if waiter is not None:
            await asyncio.shield(waiter)
        if self._link.over:
            raise PeerError(f"the association ended: {self._link.reason}")


async def _even(pieces: AsyncIterator[Buffer], pad: bytes) -> AsyncIterator[Buffer]:
    """The same in pieces of even length (PS3.8 E.1), but for the last of an odd data set, which has `pad` behind."""
    odd = b""
    async for piece in pieces:
        if odd or len(piece) & 1:
            whole = b"".join((odd, piece))
            even = len(whole) & ~1
            piece, odd = memoryview(whole)[:even], whole[even:]
        if piece:
            yield piece
    if odd:
        yield odd + pad


async def _pieces(source: Source, limit: int) -> AsyncIterator[Buffer]:
    """The data set in pieces, none of them empty; small ones are joined until they have `limit` bytes."""
    if isinstance(source, bytes):
        if source:
            yield source
        return
    small: list[bytes] = []
    small_bytes = 0
    async for part in _parts(source):
        if isinstance(part, bytes) and small_bytes + len(part) < limit:
            small.append(part)
            small_bytes += len(part)
            continue
        if small:
            yield b"".join(small)
            small, small_bytes = [], 0
        if isinstance(part, bytes):
            yield part
            continue
        async for chunk in _chunks(part, limit):
            yield chunk
    if small_bytes:
        yield b"".join(small)


async def _parts(source: Source) -> AsyncIterator[bytes | FileRegion]:
    if isinstance(source, bytes | FileRegion):
        yield source
    elif isinstance(source, AsyncIterable):
        async for part in source:
            yield part
    else:
        for part in source:
            yield part


async def _chunks(region: FileRegion, limit: int) -> AsyncIterator[Buffer]:
    step = max(limit, BATCH_BYTES // limit * limit)
    for start in range(0, region.length, step):
        yield await _read(region.fd, region.offset + start, min(step, region.length - start))


_NOWAIT: int = getattr(os, "RWF_NOWAIT", 0)


async def _read(fd: int, offset: int, size: int) -> Buffer:
    """`size` bytes at `offset`: at once if the page cache has them, else on a thread: the loop never waits."""
    buffer = memoryview(bytearray(size))
    got = 0
    if _NOWAIT:
        try:
            got = os.preadv(fd, [buffer], offset, _NOWAIT)
        except OSError:  # not cached, or a file system without RWF_NOWAIT: the thread's error is the one that counts
            got = 0
    while got < size:
        read = await asyncio.get_running_loop().run_in_executor(None, os.preadv, fd, [buffer[got:]], offset + got)
        if not read:
            raise DamagedObject("an object's file is shorter than the index says")
        got += read
    return buffer


def write_all(transport: asyncio.Transport, parts: Sequence[Buffer]) -> None:
    """One write or one gathered write."""
    if len(parts) == 1:
        transport.write(parts[0])
    else:
        transport.writelines(parts)
