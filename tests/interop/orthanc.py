"""Orthanc with its DICOMweb plugin on free ports, as a peer that we ask."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
from interop.peers import free_port
from programs import missing, need

PLUGINS = ("/usr/share/orthanc/plugins/libOrthancDicomWeb.so", "/usr/lib/orthanc/libOrthancDicomWeb.so")
START_SECONDS_MAX = 60.0
USER = "reader:secret"


@dataclass(frozen=True)
class Running:
    """Where it is."""

    url: str
    peer: str


@contextmanager
def orthanc(folder: Path) -> Iterator[Running]:
    """Started, asked until it answers, ended. HTTP wants the user of USER."""
    os.environ["PATH"] += f"{os.pathsep}/usr/sbin"
    program = need("Orthanc")
    plugin = next((path for path in PLUGINS if Path(path).exists()), None)
    if plugin is None:
        missing("Orthanc's DICOMweb plugin")
    http, dimse = free_port(), free_port()
    path = folder / "orthanc.json"
    path.write_text(json.dumps(_settings(folder, http, dimse, plugin)))
    with (folder / "orthanc.log").open("w") as log:
        process = subprocess.Popen([program, str(path)], stdout=log, stderr=log)
    url = f"http://127.0.0.1:{http}/dicom-web"
    try:
        until = time.monotonic() + START_SECONDS_MAX
        while process.poll() is None and time.monotonic() < until:
            try:
                if httpx.get(f"{url}/studies", auth=tuple(USER.split(":"))).is_success:
                    break
            except httpx.TransportError:
                pass
            time.sleep(0.1)
        else:
            raise AssertionError(f"Orthanc did not start: {(folder / 'orthanc.log').read_text()[-2000:]}")
        yield Running(url, f"ORTHANC@127.0.0.1:{dimse}")
    finally:
        process.kill()  # nobody needs what it would tidy up for seconds
        process.wait(30)


def _settings(folder: Path, http: int, dimse: int, plugin: str | None) -> dict[str, object]:
    name, _, password = USER.partition(":")
    return {
        "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "index"),
        "HttpPort": http,
        "DicomPort": dimse,
        "DicomAet": "ORTHANC",
        "DicomAlwaysAllowStore": True,
        "DicomAlwaysAllowFind": True,
        "DicomAlwaysAllowGet": True,
        "DicomCheckModalityHost": False,
        "DicomModalities": {"us": {"AET": "SAGITTAL", "Host": "127.0.0.1", "Port": 1, "AllowGet": True}},
        "AuthenticationEnabled": True,
        "RegisteredUsers": {name: password},
        "RemoteAccessAllowed": False,
        "Plugins": [plugin],
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
    }
