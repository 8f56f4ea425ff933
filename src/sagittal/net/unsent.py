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
    return untaken(transport) if transport.get_write_buffer_size() else 0


def untaken(transport: asyncio.Transport) -> int:
    """Bytes, also when all is with the kernel: what the peer has not even got, it can't have answered."""
    waiting, sock = transport.get_write_buffer_size(), transport.get_extra_info("socket")
    if sock is None:
        return waiting
    try:
        held = fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, bytes(4))
    except (OSError, ValueError):  # it is closed meanwhile
        return waiting
    return waiting + int.from_bytes(held, sys.byteorder)
