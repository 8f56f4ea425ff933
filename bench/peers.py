"""The archives that are compared: ours, Orthanc, DCMTK's storescp and dcmqrscp, pynetdicom's qrscp.

Each on free loopback ports in a directory of its own, ended by its process group. TCP_NODELAY=1 for the peers: as
Debian ships them Nagle costs 44 ms an operation, which would flatter us; the one row that wants it so says so.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from bench.dimse import ECHO_RQ, VERIFICATION, Address, Association, command, connect, pdv
from bench.objects import Item

START_SECONDS_MAX = 60.0
DICOMWEB_PLUGINS = ("/usr/share/orthanc/plugins/libOrthancDicomWeb.so", "/usr/lib/orthanc/libOrthancDicomWeb.so")


def system_path() -> str:
    """Where programs are looked for: Debian puts Orthanc into sbin. Asked late: `main` puts Python's scripts last."""
    return os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin"


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def echo(server: Address) -> None:
    association = Association(server, [VERIFICATION])
    association.sock.sendall(pdv(association.contexts[VERIFICATION], 3, command(VERIFICATION, ECHO_RQ, 1, empty=1)))
    answer = association.message()
    if answer is None or answer.status:
        raise ConnectionError("C-ECHO failed")
    association.release()


class Server(Address):
    """A running archive. `destination` is the port of the move destination BENCH."""

    program = ""
    aet_fixed = "BENCHSCP"
    speaks_http = False

    def __init__(self, destination: int = 0, folder: Path | None = None) -> None:
        """Without a `folder` of its own, it has one that goes away in the end."""
        super().__init__(self.aet_fixed, free_port(), free_port())
        self.folder = folder or Path(tempfile.mkdtemp(prefix="sagittal-bench-"))
        self.passing = folder is None
        self.destination = destination
        self.held: list[Item] = []  # what a lasting server was loaded with
        self.cpu_each: float | None = None  # seconds of processor time a round of the last probe
        started = time.monotonic()
        with (self.folder / "log").open("wb") as log:
            self.process = subprocess.Popen(
                self.command(), stdout=log, stderr=log, cwd=self.folder, env=self.environment(), start_new_session=True
            )
        try:
            self._wait_for(self.answers)
            self.start_seconds = time.monotonic() - started
            if self.speaks_http:
                self._wait_for(lambda: connect(self.http_port).close())
        except BaseException:
            self.stop()
            raise

    @classmethod
    def available(cls) -> bool:
        return shutil.which(cls.program, path=system_path()) is not None

    def command(self) -> list[str]:
        raise NotImplementedError

    def answers(self) -> None:
        """Raises until the server is there."""
        echo(self)

    def environment(self) -> dict[str, str]:
        return os.environ | {"TCP_NODELAY": "1", "PATH": system_path()}

    def _wait_for(self, answers: Callable[[], None]) -> None:
        limit = time.monotonic() + START_SECONDS_MAX
        while True:
            if self.process.poll() is not None:
                raise RuntimeError(f"{self.program} ended: {self.log().strip()[-300:]}")
            try:
                return answers()
            except OSError:
                if time.monotonic() > limit:
                    raise
                time.sleep(0.01)

    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")

    def fill(self) -> None:
        """What a lasting server holds before the first row; called once."""

    def processes(self) -> Iterator[Path]:
        """Our process and those below it, as folders of /proc."""
        waiting = [self.process.pid]
        while waiting:
            folder = Path(f"/proc/{waiting.pop()}")
            with contextlib.suppress(OSError):
                for task in (folder / "task").iterdir():
                    waiting += [int(child) for child in (task / "children").read_text().split()]
            yield folder

    def memory(self) -> int:
        """Resident bytes; pages that processes share count more than once."""
        total = 0
        for folder in self.processes():
            with contextlib.suppress(OSError):
                for line in (folder / "smaps_rollup").read_text().splitlines():
                    if line.startswith("Rss:"):
                        total += int(line.split()[1]) * 1024
        return total

    def cpu_seconds(self) -> float:
        """Processor time of all threads that there are; exact, unlike the ticks of /proc/PID/stat."""
        total = 0
        for folder in self.processes():
            for task in (folder / "task").iterdir():
                with contextlib.suppress(OSError):
                    total += int((task / "schedstat").read_text().split()[0])
        return total / 1e9

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(15)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(5)
        self.remove_in_the_end()

    def remove_in_the_end(self) -> None:
        # Only at the end: for a minute after files were removed, ext4 is some ten times slower at making new ones.
        if self.passing:
            atexit.register(shutil.rmtree, self.folder, ignore_errors=True)


class Ours(Server):
    program = "sagittal"
    aet_fixed = "SAGITTAL"
    durability = "full"
    speaks_http = True

    @classmethod
    def available(cls) -> bool:
        return True

    def command(self) -> list[str]:
        call = [sys.executable, "-m", "sagittal", "serve", "--data", str(self.folder / "data")]
        call += ["--http-port", str(self.http_port), "--dimse-port", str(self.dimse_port)]
        if self.durability != "full":
            call += ["--durability", self.durability]
        return [*call, "--node", f"BENCH@127.0.0.1:{self.destination or 1}"]


class OursUnsynced(Ours):
    durability = "off"


class Orthanc(Server):
    program = "Orthanc"
    speaks_http = True

    @classmethod
    def available(cls) -> bool:
        return super().available() and any(Path(plugin).exists() for plugin in DICOMWEB_PLUGINS)

    def command(self) -> list[str]:
        node = {"AET": "BENCH", "Host": "127.0.0.1", "Port": self.destination or 1}
        node |= {f"Allow{verb}": True for verb in ("Echo", "Find", "FindWorklist", "Get", "Move", "Store")}
        settings = {
            "StorageDirectory": str(self.folder / "storage"),
            "IndexDirectory": str(self.folder / "index"),
            "HttpPort": self.http_port,
            "DicomPort": self.dimse_port,
            "DicomAet": self.aet,
            "DicomModalities": {"bench": node},
            "Plugins": [plugin for plugin in DICOMWEB_PLUGINS if Path(plugin).exists()][:1],
            "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
            "AuthenticationEnabled": False,
            "RemoteAccessAllowed": False,
            "StorageCompression": False,
            "SyncStorageArea": True,
            "DicomThreadsCount": 8,
            "MaximumPduLength": 131_072,
            "LimitFindResults": 0,
            "LimitFindInstances": 0,
        }
        path = self.folder / "orthanc.json"
        path.write_text(json.dumps(settings))
        return ["Orthanc", str(path)]


class Bare(Server):
    """What the disk allows; not a peer but a measure of the machine."""

    @classmethod
    def available(cls) -> bool:
        return True

    def command(self) -> list[str]:
        return [sys.executable, "-m", "bench.bare", str(self.dimse_port)]

    def environment(self) -> dict[str, str]:
        return super().environment() | {"PYTHONPATH": str(Path(__file__).parents[1])}


class StoreScp(Server):
    """DCMTK's receiver: bit-preserving to disk, no index, no fsync."""

    program = "storescp"

    def command(self) -> list[str]:
        (self.folder / "received").mkdir()
        return ["storescp", "--fork", "+B", "-pdu", "131072", "-aet", self.aet, "-od", str(self.folder / "received"),
                str(self.dimse_port)]  # fmt: skip


class StoreScpAsShipped(StoreScp):
    def environment(self) -> dict[str, str]:
        return {name: value for name, value in super().environment().items() if name != "TCP_NODELAY"}


class QrScpDcmtk(Server):
    program = "dcmqrscp"

    def command(self) -> list[str]:
        (self.folder / "area").mkdir()
        lines = ["NetworkType = 'tcp'", f"NetworkTCPPort = {self.dimse_port}", "MaxPDUSize = 131072"]
        lines += ["MaxAssociations = 16", "HostTable BEGIN"]
        lines += [f"bench = (BENCH, 127.0.0.1, {self.destination or 1})", "HostTable END"]
        lines += ["VendorTable BEGIN", "VendorTable END", "AETable BEGIN"]
        lines += [f"{self.aet} {self.folder / 'area'} RW (20000, 1024gb) ANY", "AETable END"]
        path = self.folder / "dcmqrscp.cfg"
        path.write_text("\n".join(lines).replace("'", '"') + "\n")
        return ["dcmqrscp", "-c", str(path)]


class QrScpPynetdicom(Server):
    program = "python"

    @classmethod
    def available(cls) -> bool:
        return True

    def command(self) -> list[str]:
        call = [sys.executable, "-m", "pynetdicom", "qrscp", "--port", str(self.dimse_port), "-aet", self.aet, "-ba",
                "127.0.0.1"]  # fmt: skip
        (self.folder / "instances").mkdir()
        return [*call, "--database-location", str(self.folder / "db.sqlite"), "--instance-location",
                str(self.folder / "instances")]  # fmt: skip
