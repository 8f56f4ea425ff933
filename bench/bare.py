"""What this disk allows: a receiver that keeps our promise and does nothing else. `python -m bench.bare PORT`.

No reader, no duplicate check, no hierarchy, metadata of random bytes, and any peer is believed. But an object's bytes
go to a staging file as they come, and all that wait are answered together after every file's sync, the renames, one
directory sync and one commit of a row of 3 kB each. No archive in Python with these barriers can go beyond it, so the
table tells what part of it ours reaches: beside a slow disk the ratio to a peer says little of the program.
"""

from __future__ import annotations

import asyncio
import os
import queue
import sqlite3
import struct
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import cast

import uvloop

from bench.dimse import ECHO_RQ, RESPONSE, STORE_RQ, VERIFICATION, accept, command, parse_command, pdv

ROW_BYTES = 3000
SYNCS_AT_ONCE = 4
BUFFER_BYTES = 1 << 20
Waiting = tuple["Receiver", dict[int, bytes], int, int]  # who asked, its command, context and open file


class Receiver(asyncio.BufferedProtocol):
    """One association: PDUs are taken apart in place."""

    def __init__(self, folder: Path, waiting: queue.SimpleQueue[Waiting]) -> None:
        self.folder, self.waiting = folder, waiting
        self.buffer = bytearray(BUFFER_BYTES)
        self.start = self.end = 0
        self.command: dict[int, bytes] = {}
        self.file = -1

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def get_buffer(self, sizehint: int) -> memoryview:
        if self.end == BUFFER_BYTES:
            held = self.end - self.start
            self.buffer[:held] = self.buffer[self.start : self.end]
            self.start, self.end = 0, held
        return memoryview(self.buffer)[self.end :]

    def buffer_updated(self, nbytes: int) -> None:
        self.end += nbytes
        while self.end - self.start >= 6:
            kind, length = struct.unpack_from(">BxI", self.buffer, self.start)
            if self.end - self.start < 6 + length:
                return
            self._pdu(kind, memoryview(self.buffer)[self.start + 6 : self.start + 6 + length])
            self.start += 6 + length
        if self.start == self.end:
            self.start = self.end = 0

    def _pdu(self, kind: int, body: memoryview) -> None:
        if kind == 1:
            self.transport.write(accept(bytes(body)))
        elif kind == 5:
            self.transport.write(b"\6\0\0\0\0\4\0\0\0\0")
        elif kind == 4:
            place = 0
            while place < len(body):
                length, context, flags = struct.unpack_from(">IBB", body, place)
                self._fragment(context, flags, body[place + 6 : place + 4 + length])
                place += 4 + length

    def _fragment(self, context: int, flags: int, value: memoryview) -> None:
        if flags & 1:
            self.command = parse_command(bytes(value))
            if int.from_bytes(self.command[0x0100], "little") == ECHO_RQ:
                number = int.from_bytes(self.command[0x0110], "little")
                answer = command(VERIFICATION, ECHO_RQ | RESPONSE, number, status=0, empty=1)
                self.transport.write(pdv(context, 3, answer))
            return
        if self.file < 0:
            self.file = os.open(self.folder / "staging" / self.name(self.command), os.O_CREAT | os.O_WRONLY)
        os.write(self.file, value)
        if flags & 2:
            self.waiting.put((self, self.command, context, self.file))
            self.file = -1

    @staticmethod
    def name(command: dict[int, bytes]) -> str:
        return command[0x1000].rstrip(b"\0 ").decode()


def commit(folder: Path, waiting: queue.SimpleQueue[Waiting], loop: asyncio.AbstractEventLoop) -> None:
    """The one thread that makes what waits durable, and then has it answered."""
    index = sqlite3.connect(folder / "index.db", isolation_level=None)
    for pragma in ("journal_mode = wal", "synchronous = full", "wal_autocheckpoint = 4000"):
        index.execute(f"PRAGMA {pragma}")
    index.execute("CREATE TABLE object (id INTEGER PRIMARY KEY, uid TEXT NOT NULL UNIQUE, body BLOB NOT NULL)")
    syncs, held = ThreadPoolExecutor(SYNCS_AT_ONCE), os.open(folder / "held", os.O_RDONLY)
    while True:
        batch = [waiting.get()]
        while not waiting.empty():
            batch.append(waiting.get())
        files, names = [file for *_, file in batch], [Receiver.name(asked) for _, asked, *_ in batch]
        list((map if len(files) == 1 else syncs.map)(os.fdatasync, files))
        for file, name in zip(files, names, strict=True):
            os.close(file)
            (folder / "staging" / name).rename(folder / "held" / name)
        os.fsync(held)
        index.execute("BEGIN IMMEDIATE")
        index.executemany(
            "INSERT INTO object (uid, body) VALUES (?, ?)", [(name, os.urandom(ROW_BYTES)) for name in names]
        )
        index.execute("COMMIT")
        loop.call_soon_threadsafe(answer, batch)


def answer(batch: list[Waiting]) -> None:
    for receiver, asked, context, _ in batch:
        sop_class, number = asked[0x0002].rstrip(b"\0 ").decode(), int.from_bytes(asked[0x0110], "little")
        done = command(sop_class, STORE_RQ | RESPONSE, number, status=0, instance=Receiver.name(asked), empty=1)
        receiver.transport.write(pdv(context, 3, done))


async def serve(port: int, folder: Path) -> None:
    for name in ("staging", "held"):
        (folder / name).mkdir()
    loop, waiting = asyncio.get_running_loop(), queue.SimpleQueue[Waiting]()
    threading.Thread(target=commit, args=(folder, waiting, loop), daemon=True).start()
    server = await loop.create_server(lambda: Receiver(folder, waiting), "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1]), Path.cwd()))
