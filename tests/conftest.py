"""Fixtures for the whole suite: the corpus folder, and a real `sagittal serve` as a program of its own."""

from __future__ import annotations

import gc
import inspect
import io
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, cast

import forked
import pytest
from forked import Forked
from hypothesis import HealthCheck, settings
from programs import STRICT, corpus_folder, memory
from threads import running, told

if TYPE_CHECKING:
    from interop.corpus import Taken


def pytest_configure(config: pytest.Config) -> None:
    """Daily, folders of tests are in memory where it has room: thousands of archives are made and removed.

    Most of their time a disk would take. What disks are about is asked on one (`on_disk`), and by the slow tests.
    """
    held = settings.get_profile(settings.get_current_profile_name())
    settings.register_profile("ours", held, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile("ours")  # how long an example takes is the machine's affair
    if "not slow" in config.option.markexpr and (folder := memory()) is not None:
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(folder))


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Daily two a core, for tests wait a third of their time: for peers, timers and programs that start."""
    return (os.cpu_count() or 1) * (2 if "not slow" in config.option.markexpr else 1)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """What was imported and collected stays to the end: the collector of garbage need not walk through it."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """With SAGITTAL_STRICT=1 a skipped test is a failed one, whatever skipped it; an expected failure is not."""
    report = yield
    if STRICT and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome, report.longrepr = "failed", f"{item.nodeid} was skipped in a strict run: {report.longrepr}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """The same for a whole module that skips itself."""
    report = yield
    if STRICT and report.skipped:
        report.outcome, report.longrepr = "failed", f"{collector.nodeid} was skipped in a strict run: {report.longrepr}"
    return report


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """A test that is a coroutine has a loop of its own."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    from loopback import run

    given = {name: pyfuncitem.funcargs[name] for name in inspect.signature(pyfuncitem.obj).parameters}
    run(partial(pyfuncitem.obj, **given))
    return True


@pytest.fixture(scope="session", autouse=True)
def certificates_read_once() -> Iterator[None]:
    """httpx reads all certificates of the machine for every client, which is most of what a request of a test costs."""
    import httpx

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("httpx._transports.default.create_ssl_context", cache(httpx.create_ssl_context))
        yield


@pytest.fixture(scope="module", autouse=True)
def nothing_is_left() -> Iterator[None]:
    """A thread or process that a module leaves running slows down all that come after it, which could not say why."""
    before = running()
    yield
    if running() - before:
        gc.collect()  # an executor that nobody holds ends its threads then
    until = time.monotonic() + 20
    while (left := running() - before) and time.monotonic() < until:
        time.sleep(0.01)
    assert not left, f"left running: {', '.join(sorted(map(told, left)))}"


@pytest.fixture
def corpus_dir() -> Path:
    return corpus_folder()


@pytest.fixture(scope="module", params=["some", pytest.param("all", marks=pytest.mark.slow)])
def taken(request: pytest.FixtureRequest) -> Taken:
    """What a test takes of files: daily one of each transfer syntax and SOP class, all of them under `slow`."""
    from interop.corpus import one_of_each

    return one_of_each if request.param == "some" else list


@dataclass
class Served:
    """A running `sagittal serve`: what its ready line said, and the process."""

    process: subprocess.Popen[str] | Forked
    data: Path
    http: str
    dimse: str  # host:port
    aet: str
    log: Path

    @property
    def host(self) -> str:
        return self.dimse.rpartition(":")[0]

    @property
    def port(self) -> int:
        return int(self.dimse.rpartition(":")[2])

    @property
    def peer(self) -> str:
        """As the commands of `sagittal` take it: AET@host:port."""
        return f"{self.aet}@{self.dimse}"

    def stop(self) -> int:
        """SIGTERM, then the exit status."""
        if self.process.poll() is None:
            self.process.terminate()
        status = self.process.wait(timeout=30)
        if self.process.stdout is not None:
            self.process.stdout.close()
        return status


def sagittal(*arguments: str | Path, timeout: float = 120) -> subprocess.CompletedProcess[str]:
    """Run one command of `sagittal` to its end, in a process of its own."""
    return forked.done(forked.sagittal, *map(str, arguments), timeout=timeout)


def sagittal_here(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """The same within this process: for tests of what a command does, not of the process that it is."""
    from sagittal.cli import main

    streams = [io.TextIOWrapper(io.BytesIO(), "utf-8") for _ in range(2)]
    words = [str(argument) for argument in arguments]
    with redirect_stdout(streams[0]), redirect_stderr(streams[1]), pytest.raises(SystemExit) as ended:
        main(words)
    told = []
    for stream in streams:
        stream.seek(0)
        told.append(stream.read())
    return subprocess.CompletedProcess(words, cast(int, ended.value.code), *told)


def serve(data: Path, *options: str, fresh: bool = False) -> Served:
    """Start `sagittal serve` on free ports and wait for its ready line; a `fresh` one imports its modules itself."""
    log = data.parent / f"{data.name}.log"
    words = ["serve", "--json", "--data", str(data), "--http-port", "0", "--dimse-port", "0", *options]
    process: subprocess.Popen[str] | Forked
    if fresh:
        command = [sys.executable, "-m", "sagittal", *words]
        with log.open("a") as errors:
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True)
    else:
        process = Forked(forked.sagittal, *words, errors=log)
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise AssertionError(f"sagittal serve ended with {process.wait()}: {log.read_text()[-4000:]}")
    ready = json.loads(line)
    return Served(process, data, ready["http"], ready["dimse"], ready["aet"], log)


@pytest.fixture(scope="session")
def fresh() -> bool:
    """Whether the processes of a room import their modules themselves, so that start and memory are a user's."""
    return False


@pytest.fixture(autouse=True)
def fork_servers_are_forked(fresh: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of pools in this process, whose start is half of what a command on images costs."""
    from sagittal.workers.pool import Pool

    if not fresh:
        monkeypatch.setattr(Pool, "_start_server", forked.start_fork_server)


@pytest.fixture
def start_server(tmp_path: Path, fresh: bool) -> Iterator[Callable[..., Served]]:
    """Start any number of servers; each is stopped with the test."""
    running: list[Served] = []

    def start(*options: str, data: Path | None = None) -> Served:
        running.append(serve(data or tmp_path / f"data{len(running)}", *options, fresh=fresh))
        return running[-1]

    yield start
    for served in running:
        served.stop()


@pytest.fixture
def server(start_server: Callable[..., Served]) -> Served:
    """A fresh archive for one test."""
    return start_server()


@pytest.fixture(scope="module")
def on_disk() -> Iterator[Path]:
    """A folder on a disk, which `tmp_path` need not be on."""
    with tempfile.TemporaryDirectory(prefix="sagittal-") as folder:
        yield Path(folder)


@pytest.fixture(scope="module")
def shared_server(on_disk: Path, fresh: bool) -> Iterator[Served]:
    """One archive for all tests of a module that only add to it."""
    served = serve(on_disk / "data", fresh=fresh)
    yield served
    served.stop()
