"""The composition root, as far as it can be asked without a process of its own."""

from __future__ import annotations

import asyncio
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
