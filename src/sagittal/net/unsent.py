"""How much of what was written to a connection its peer has not taken yet, what the kernel holds of it too.

The kernel holds megabytes, and asks for more only when a third of them is gone: to who sees no more than a transport's
own buffer, a peer behind a slow line takes nothing for minutes.
"""

from __future__ import annotations

import asyncio
import fcntl
import sys
import termios


def unsent(transport: asyncio.Transport) -> int:
    """Bytes; 0 when all is with the kernel, as then nothing here waits for the peer."""
    waiting = transport.get_write_buffer_size()
    sock = transport.get_extra_info("socket") if waiting else None
    if sock is None:
        return waiting
    try:
        held = fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, bytes(4))
    except (OSError, ValueError):  # it is closed meanwhile
        return waiting
    return waiting + int.from_bytes(held, sys.byteorder)
