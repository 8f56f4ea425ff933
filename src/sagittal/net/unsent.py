"""How many of the bytes written to a connection its peer has not taken yet, those that the kernel holds included.

The kernel holds megabytes, and takes more only when a third of them is gone: by the transport's own buffer alone, a
peer behind a slow line would seem to take nothing for minutes.
"""

from __future__ import annotations

import asyncio
import fcntl
import sys
import termios


def unsent(transport: asyncio.Transport) -> int:
    """Bytes; 0 when all is with the kernel, as then nothing here waits for the peer."""
    waiting = transport.get_write_buffer_size()
    return waiting + _held(transport) if waiting else 0


def untaken(transport: asyncio.Transport) -> int:
    """Bytes, also when all is with the kernel: what the peer has not even got, it can't have answered."""
    return transport.get_write_buffer_size() + _held(transport)


def _held(transport: asyncio.Transport) -> int:
    sock = transport.get_extra_info("socket")
    if sock is None:
        return 0
    try:
        held = fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, bytes(4))
    except (OSError, ValueError):  # it is closed meanwhile
        return 0
    return int.from_bytes(held, sys.byteorder)
