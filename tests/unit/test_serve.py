"""The composition root, as far as it can be asked without a process of its own."""

from __future__ import annotations

import asyncio
import errno
import os
import resource
import signal
import ssl
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sagittal import serve
from sagittal.archive.archive import Archive
from sagittal.config.settings import DimseSettings, Settings, WebSettings
from sagittal.errors import UsageError
from sagittal.limits import ArchiveLimits, Limits


class Listener:
    """Notes how long it was given to drain."""

    def __init__(self) -> None:
        self.given: list[float] = []

    async def stop(self, seconds: float) -> None:
        self.given.append(seconds)


class Workers:
    """Notes that it was closed."""

    closed = False

    async def close(self) -> None:
        self.closed = True


@pytest.mark.parametrize("seconds", [0.0, 9.9, 10.0, 10.1])
def test_drain_seconds_max(tmp_path: Path, seconds: float) -> None:
    """Both listeners get the limit, no more and no less; how they end at it is in their own tests."""
    settings = replace(Settings(data=tmp_path), limits=Limits(archive=ArchiveLimits(drain_seconds_max=seconds)))
    nothing: Any = None
    workers: Any = Workers()
    running = serve.Running(settings, nothing, nothing, nothing, workers, nothing, nothing, "")
    dimse: Any = Listener()
    http: Any = Listener()
    running.dimse, running.http = dimse, http
    asyncio.run(serve._drain(running))
    assert (dimse.given, http.given) == ([seconds], [seconds])
    assert running.reasons() == ["draining"]
    assert workers.closed


@pytest.mark.parametrize(("soft", "hard"), [(256, 4096), (4096, 4096), (1024, resource.RLIM_INFINITY)])
def test_as_many_files_as_the_system_allows(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, soft: int, hard: int
) -> None:
    given: list[tuple[int, tuple[int, int]]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda which: (soft, hard))
    monkeypatch.setattr(resource, "setrlimit", lambda which, limit: given.append((which, limit)))
    serve.raise_open_files(3500)
    assert given == ([] if soft == hard else [(resource.RLIMIT_NOFILE, (hard, hard))])
    assert not caplog.records


def test_fewer_files_than_connections_are_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda which: (1024, 1024))
    serve.raise_open_files(1025)
    assert "open 1024 files, fewer than the 1025 connections" in caplog.text


def test_a_system_that_refuses_is_no_hindrance(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(which: int, limit: tuple[int, int]) -> None:
        raise ValueError("not allowed")

    monkeypatch.setattr(resource, "getrlimit", lambda which: (256, 4096))
    monkeypatch.setattr(resource, "setrlimit", refuse)
    serve.raise_open_files(3500)


@pytest.mark.parametrize("given", [{"tls_authorities": Path("ca.pem")}, {"tls_key": Path("key.pem")}])
def test_settings_of_tls_are_not_passed_over_in_silence(given: dict[str, Path]) -> None:
    """Without a certificate there is no TLS: nobody who wants certificates of clients wants to listen without."""
    with pytest.raises(UsageError, match=r"dimse\.tls_certificate"):
        serve.tls_context(Settings(dimse=DimseSettings(**given)))


def test_certificates_under_renewal_end_no_server_that_opens_everything_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a start on a disk that took nothing: the former certificates stay in force then, too."""
    held: list[Archive] = []

    def outlived(archive: Archive) -> bool:
        if archive not in held:
            held.append(archive)
        if len(held) == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return len(held) == 1

    def context(*_: object, **__: object) -> ssl.SSLContext:
        if held:
            raise UsageError("key and certificate are no pair")
        return ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)

    monkeypatch.setattr(Archive, "outlived", property(outlived))
    monkeypatch.setattr(serve, "server_context", context)
    monkeypatch.setattr(serve, "raise_open_files", lambda _: None)
    monkeypatch.setattr(sys, "setswitchinterval", lambda _: None)
    dimse = DimseSettings(port=0, tls_certificate=tmp_path / "cert.pem")
    settings = Settings(data=tmp_path / "data", dimse=dimse, web=WebSettings(port=0))
    told: list[object] = []
    asyncio.run(serve.serve(settings, told.append))
    assert len(held) == 2 and len(told) == 1


def test_commands_find_a_server_once_the_disk_takes_its_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As after a start on a disk that is nearly full; each reason is told once."""
    tries: list[None] = []

    def written(_: object) -> None:
        tries.append(None)
        if len(tries) < 4:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(serve, "write_server_file", written)
    nothing: Any = None
    running = serve.Running(Settings(data=tmp_path), nothing, nothing, nothing, nothing, nothing, nothing, "")
    for _ in range(6):
        running.look_around()
    assert len(tries) == 4
    assert [record.message.partition(": ")[2] for record in caplog.records] == ["No space left on device"]


def test_where_no_file_can_be_opened_that_is_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What comes in is dropped by the system then, without a word."""
    anything: Any = object()
    settings = Settings(data=tmp_path)
    running = serve.Running(settings, *[anything] * 6, "", anything, anything, unfound=None)
    with monkeypatch.context() as patch:
        patch.setattr(os, "open", lambda *_: (_ for _ in ()).throw(OSError(errno.EMFILE, os.strerror(errno.EMFILE))))
        running.look_around()
        running.look_around()
    assert running.reasons() == ["too many open files (ulimit -Hn): new connections are dropped"]
    running.look_around()
    assert running.reasons() == []
    assert [record.message.partition(":")[0] for record in caplog.records] == [
        "too many open files (ulimit -Hn)",
        "there are open files to be had again",
    ]
