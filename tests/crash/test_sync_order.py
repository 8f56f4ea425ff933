"""What reaches stable storage before an answer does, by the system calls, for C-STORE and STOW-RS; and what is synced
of a data directory that is opened, gets its first object and is closed.
"""

from __future__ import annotations

import os
import re
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest
from builders import build, store
from conftest import Served
from crash.strace import Call, Strace, calls
from wire import image, part10, store_once

from sagittal.archive.archive import Archive
from sagittal.limits import ArchiveLimits, Limits

SYNCS = ("fsync", "fdatasync")
SENDS = ("write", "writev", "sendto", "sendmsg")


def _index(found: list[Call], what: str, fits: Callable[[Call], bool], after: int) -> Call:
    for call in found:
        if call.began > after and call.succeeded and fits(call):
            return call
    raise AssertionError(f"no {what} after line {after}: {[(one.name, one.text[:90]) for one in found]}")


def _check_order(trace: Path, answers: Callable[[Call], bool]) -> None:
    found = sorted(calls(trace), key=lambda call: call.began)
    synced = _index(found, "sync of the file", lambda call: call.name in SYNCS and "/staging/" in call.text, -1)
    renamed = _index(
        found, "rename", lambda call: call.name.startswith("rename") and "/objects/" in call.text, synced.ended
    )
    directory = _index(
        found, "sync of the directory", lambda call: call.name == "fsync" and "/objects" in call.text, renamed.ended
    )
    committed = _index(
        found, "sync of the index", lambda call: call.name in SYNCS and "index.db" in call.text, directory.ended
    )
    _index(found, "answer", answers, committed.ended)
    early = [call for call in found if answers(call) and call.began < committed.ended]
    assert not early, f"answered before the index was synced: {early}"


def _traced(served: Served, tmp_path: Path, act: Callable[[], None]) -> Path:
    trace = tmp_path / "trace"
    names = ",".join((*SYNCS, "rename", "renameat", "renameat2", *SENDS))
    strace = Strace(served.process.pid, trace, "-e", f"trace={names}")
    act()
    strace.detach()
    return trace


def test_c_store_is_answered_after_file_directory_and_index(server: Served, tmp_path: Path) -> None:
    store_once(server.host, server.port, image())  # the first one makes directories

    def act() -> None:
        assert store_once(server.host, server.port, image(rows=512, columns=512)) == (0, "")

    def is_answer(call: Call) -> bool:  # a P-DATA-TF on a socket: 04 00 …
        return call.name in SENDS and "<TCP" in call.text.upper().replace("SOCKET:", "TCP") and r'"\4\0' in call.text

    trace = _traced(server, tmp_path, act)
    _check_order(trace, is_answer)


def test_a_small_object_too(server: Served, tmp_path: Path) -> None:
    store_once(server.host, server.port, image())

    def act() -> None:
        assert store_once(server.host, server.port, image()) == (0, "")

    trace = _traced(server, tmp_path, act)
    _check_order(trace, lambda call: call.name in SENDS and r'"\4\0' in call.text)


def test_stow_is_answered_after_file_directory_and_index(server: Served, tmp_path: Path) -> None:
    store_once(server.host, server.port, image())

    def act() -> None:
        request = urllib.request.Request(
            f"{server.http}/dicom-web/studies",
            part10(image(rows=512, columns=512)),
            {"Content-Type": "application/dicom", "Accept": "application/dicom+json"},
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            assert answer.status == 200

    trace = _traced(server, tmp_path, act)
    _check_order(trace, lambda call: call.name in SENDS and '"HTTP/1.1 200' in call.text)


async def test_the_mark_and_all_directories_are_synced_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []

    def noting(sync: Callable[[int], None]) -> Callable[[int], None]:
        def note(fd: int) -> None:
            name = str(Path(f"/proc/self/fd/{fd}").readlink().relative_to(tmp_path))
            synced.append(re.sub("[0-9a-f]{16,}$", "", name))
            sync(fd)

        return note

    for name in SYNCS:
        monkeypatch.setattr(os, name, noting(getattr(os, name)))
    mark = ["opened.new", "."] * 2
    archive = await Archive.open(tmp_path, limits=Limits(archive=ArchiveLimits(free_bytes_min=0)))
    opening = synced.copy()
    await store(archive, build())
    stored = synced[len(opening) :]
    synced.clear()
    await archive.close()
    assert opening == ["staging/probe-", "objects", *mark]
    assert sorted(stored) == ["objects", "objects/0001", "staging/"] and stored[-1] == "objects/0001"
    assert synced == mark
