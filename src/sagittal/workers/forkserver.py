"""The process that workers are forked from: `python -m sagittal.workers.forkserver FD MODULE…`.

It imports what workers need once, then forks one for each message; so a worker starts in milliseconds with its modules
shared, and the serving process, which has threads, never forks. It ends when its socket does. Deliberately not here:
what a worker does (`worker`).
"""

from __future__ import annotations

import gc
import os
import signal
import socket
import sys
from collections.abc import Sequence
from importlib import import_module

from sagittal.workers import worker
from sagittal.workers.message import Incoming, receive, send


def serve(control: socket.socket, modules: Sequence[str]) -> None:
    """Fork a worker for every message; each comes with its socket and says its bounds."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the system reaps
    for module in modules:
        import_module(module)
    gc.freeze()
    incoming = Incoming()
    while (received := receive(control, incoming)) is not None:
        (fd,) = received.fds
        pid = os.fork()
        if not pid:
            control.close()
            with socket.socket(fileno=fd) as sock:
                worker.work(sock, worker.Bounds(**received.told))
            os._exit(0)
        os.close(fd)
        try:
            send(control, {"pid": pid})
        except BrokenPipeError:  # who asked has ended meanwhile, and the worker ends with its own socket
            return


if __name__ == "__main__":
    with socket.socket(fileno=int(sys.argv[1])) as control:
        serve(control, sys.argv[2:])
