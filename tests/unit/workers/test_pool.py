"""The pool of workers: answers, errors, and that a crash, a hang or a bomb costs one request only."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import forked
import pytest

from sagittal.errors import Busy, LimitExceeded, Malformed, NotAcceptable, SagittalError, StorageUnavailable, WorkerLost
from sagittal.limits import MiB, WorkerLimits
from sagittal.workers.message import encode
from sagittal.workers.pool import Pool
from sagittal.workers.worker import Input

T = TypeVar("T")


@pytest.fixture(autouse=True)
def _calls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))


@asynccontextmanager
async def pooled(modules: tuple[str, ...] = (), **limits: Any) -> AsyncIterator[Pool]:
    pool = Pool(WorkerLimits(**{"workers": 2, **limits}), modules)
    try:
        yield pool
    finally:
        await pool.close()


_CONFINED = """
import resource
from sagittal.workers.worker import Bounds, confine
resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100))
confine(Bounds(1 << 33))
print(resource.getrlimit(resource.RLIMIT_NOFILE), resource.getrlimit(resource.RLIMIT_AS))
"""


def test_a_worker_takes_no_more_than_the_server_may() -> None:
    """As under `ulimit -Hn`, `ulimit -v`: nobody but root could raise it."""
    ran = forked.done(forked.python, _CONFINED)
    assert ran.stdout == f"(100, 100) ({1 << 33}, {1 << 33})\n", ran.stderr


async def test_answers_bytes_of_ranges(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"0123456789")
    (tmp_path / "b").write_bytes(b"abcdef")
    async with pooled() as pool:
        with (tmp_path / "a").open("rb") as a, (tmp_path / "b").open("rb") as b:
            inputs = [Input(a.fileno(), 2, 3), Input(b.fileno(), 0, 2), Input(a.fileno(), 9, 5)]
            assert bytes((await pool.run("calls:joined", inputs)).body) == b"234|ab|9"


async def test_nothing_is_imported_from_where_we_were_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be the folder of what somebody sent, or a user's with modules called as those of the library."""
    (tmp_path / "signal.py").write_text("raise SystemExit('read from the current folder')")
    monkeypatch.chdir(tmp_path)
    async with pooled() as pool:
        assert (await pool.run("calls:told", name="x")).told


async def test_tells_and_gives_large_answers() -> None:
    async with pooled() as pool:
        told = await pool.run("calls:told", name="é", numbers=[1, 2])
        large = await pool.run("calls:both", size=20 * MiB)
        empty = await pool.run("calls:both", size=0)
        opened = len([*Path("/proc/self/fd").iterdir()])
        await pool.run("calls:both", size=20 * MiB)
        assert len([*Path("/proc/self/fd").iterdir()]) == opened  # those of an answer go with it
        told, size, length, first, empty = told, large.told, len(large.body), bytes(large.body[:2]), bytes(empty.body)
    assert told.told["arguments"] == {"name": "é", "numbers": [1, 2]}
    assert (size, length, first, empty) == ({"size": 20 * MiB}, 20 * MiB, b"\0\0", b"")


async def test_large_arguments_arrive() -> None:
    async with pooled() as pool:
        assert (await pool.run("calls:told", text="x" * (3 * MiB))).told["arguments"] == {"text": "x" * (3 * MiB)}


async def test_errors_of_the_tree_come_through_and_others_stay_inside() -> None:
    async with pooled() as pool:
        with pytest.raises(NotAcceptable, match="no such representation"):
            await pool.run("calls:refused")
        with pytest.raises(Malformed, match="at byte 5") as broken:
            await pool.run("calls:malformed")
        assert broken.value.defect == "not-dicom"
        with pytest.raises(SagittalError, match="KeyError") as failed:
            await pool.run("calls:failing")
        assert "secret" not in failed.value.text
        with pytest.raises(StorageUnavailable, match="No space left"):
            await pool.run("calls:into_a_full_disk")
        assert pool.lost == 0


async def test_a_crash_costs_one_request() -> None:
    async with pooled() as pool:
        calls = ["calls:told"] * 6
        calls[2] = "calls:crash"
        results = await asyncio.gather(*map(pool.run, calls), return_exceptions=True)
        results, lost, after = results, pool.lost, (await pool.run("calls:told", n=9)).told["arguments"]
    assert [type(each).__name__ for each in results] == ["Answer", "Answer", "WorkerLost", "Answer", "Answer", "Answer"]
    assert lost == 1
    assert after == {"n": 9}


async def test_a_worker_that_dies_idle_is_replaced() -> None:
    async with pooled(workers=1) as pool:
        first = (await pool.run("calls:told")).told["pid"]
        os.kill(first, 9)
        while Path(f"/proc/{first}").exists():
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        first, second = first, (await pool.run("calls:told")).told["pid"]
    assert first != second


@pytest.mark.parametrize("size", [1, 3 * MiB])  # in the socket whole, and not
@pytest.mark.parametrize("deaths", [1, 2])
async def test_what_an_idle_worker_did_not_read_is_given_to_another_once(size: int, deaths: int) -> None:
    async with pooled() as pool:
        first = await asyncio.gather(*(pool.run("calls:slow", pause=0.1) for _ in range(2)))
        for answer in first:
            os.kill(answer.told["pid"], signal.SIGSTOP)  # about to die: it takes what is sent, but reads nothing
        asked = asyncio.create_task(pool.run("calls:told", text="x" * size))
        killed: set[int] = set()
        async with asyncio.timeout(10):
            while len(killed) < deaths:
                await asyncio.sleep(0.01)
                for worker in pool._busy:
                    if worker.pid not in killed and worker.answer is not None:
                        killed.add(worker.pid)
                        os.kill(worker.pid, signal.SIGKILL)
        for answer in first:
            if answer.told["pid"] not in killed:
                os.kill(answer.told["pid"], signal.SIGCONT)
        answer, killed = (await asyncio.gather(asked, return_exceptions=True))[0], killed
    assert len(killed) == deaths
    if deaths == 1:
        assert len(answer.told["arguments"]["text"]) == size
    else:
        assert isinstance(answer, WorkerLost)


async def test_what_a_worker_died_of_is_given_to_no_other() -> None:
    async with pooled() as pool:
        with pytest.raises(WorkerLost):
            await pool.run("calls:crash")
        assert pool.lost == 1


async def test_a_hang_is_ended() -> None:
    async with pooled(workers=1, seconds_max=0.1) as pool:
        hanging = asyncio.create_task(pool.run("calls:hang"))
        while not pool._busy:
            await asyncio.sleep(0)
        (worker,) = pool._busy
        with pytest.raises(LimitExceeded, match=r"0\.1 seconds"):
            await hanging
        assert not pool._busy
        async with asyncio.timeout(10):
            while Path(f"/proc/{worker.pid}").exists():
                await asyncio.sleep(0.01)
        with pytest.raises(LimitExceeded, match=r"0\.05 seconds"):
            await pool.run("calls:hang", seconds=0.05)
        assert (await pool.run("calls:told", seconds=30)).told["arguments"] == {}


async def test_memory_is_bounded() -> None:
    async with pooled(memory_bytes_max=1024 * MiB) as pool:
        with pytest.raises(LimitExceeded, match="memory"):
            await pool.run("calls:greedy", size=2048 * MiB)
        assert (bytes((await pool.run("calls:greedy", size=1)).body), pool.lost) == (b"\0", 0)


@pytest.mark.parametrize(("waiting", "refused"), [(3, 1), (4, 0), (5, 0)])
async def test_waiting_is_bounded(waiting: int, refused: int) -> None:
    async with pooled(workers=1, waiting_max=waiting) as pool:
        results = await asyncio.gather(*(pool.run("calls:told") for _ in range(5)), return_exceptions=True)
        answers = [type(each).__name__ for each in results]
        assert (answers.count("Answer"), answers.count("Busy")) == (5 - refused, refused)


@pytest.mark.parametrize("more", [-1, 0, 1])
async def test_as_many_work_at_once(more: int) -> None:
    async with pooled(workers=2) as pool:
        answers = await asyncio.gather(*(pool.run("calls:slow", pause=0.2) for _ in range(2 + more)))
        assert len({answer.told["pid"] for answer in answers}) == min(2, 2 + more)


@pytest.mark.parametrize("more", [-1, 0, 1])
async def test_requests_max(more: int) -> None:
    async with pooled(workers=1, requests_max=3) as pool:
        assert len({(await pool.run("calls:told")).told["pid"] for _ in range(3 + more)}) == (2 if more > 0 else 1)


async def test_workers_are_replaced_after_so_many_requests_and_keep_no_files_open(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x")
    async with pooled(workers=1, requests_max=4) as pool:
        pids, opened = [], set()
        with (tmp_path / "a").open("rb") as file:
            for _ in range(7):
                pids.append((await pool.run("calls:told", [Input(file.fileno(), 0, 1)])).told["pid"])
                opened.add((await pool.run("calls:open_files")).told["open"])
        pids, opened = pids, opened
    assert [pids.count(pid) for pid in dict.fromkeys(pids)] == [2, 2, 2, 1]
    assert len(opened) == 1


async def test_ctrl_c_is_for_us_who_end_them() -> None:
    """A terminal sends it to all of a group, also to who is just starting and has no handler yet."""
    async with pooled() as pool:
        pid = (await pool.run("calls:told")).told["pid"]
        assert os.getpgid(pid) != os.getpgid(0)


async def test_idle_workers_end() -> None:
    async with pooled(idle_seconds=0.05) as pool:
        pid = (await pool.run("calls:told")).told["pid"]
        while Path(f"/proc/{pid}").exists():
            await asyncio.sleep(0.01)
        first, second = pid, (await pool.run("calls:told")).told["pid"]
    assert first != second


async def test_a_cancelled_request_frees_its_place() -> None:
    async with pooled(workers=1) as pool:
        hanging = asyncio.create_task(pool.run("calls:hang"))
        waiting = asyncio.create_task(pool.run("calls:told", n=1))
        dropped = asyncio.create_task(pool.run("calls:told", n=2))
        await asyncio.sleep(0)
        dropped.cancel()
        hanging.cancel()
        assert (await waiting).told["arguments"] == {"n": 1}


async def test_modules_that_cannot_be_imported_are_told() -> None:
    async with pooled(modules=("no_such_module",)) as pool:
        with pytest.raises(WorkerLost, match="could be started"):
            await pool.run("calls:told")


async def test_nothing_is_taken_after_the_end() -> None:
    async with pooled() as pool:
        await pool.close()
        with pytest.raises(Busy):
            await pool.run("calls:told")


async def test_background_work_leaves_a_worker_for_the_rest() -> None:
    async with pooled() as pool:
        long = [asyncio.create_task(pool.run("calls:hang", background=True)) for _ in range(4)]
        while not pool._busy:  # one that only starts yet is left to the next
            await asyncio.sleep(0.01)
        answer = await pool.run("calls:told", n=1)
        for each in long:
            each.cancel()
        await asyncio.gather(*long, return_exceptions=True)
        assert (answer.told["arguments"], pool.abandoned, pool.lost, pool.turns.idle) == ({"n": 1}, 1, 0, True)


async def test_losses_are_counted_by_reason_and_told(caplog: pytest.LogCaptureFixture) -> None:
    async with pooled() as pool:
        for call, seconds in (("calls:crash", 60), ("calls:hang", 0.05)):
            with pytest.raises(SagittalError):
                await pool.run(call, seconds=seconds)
        assert dict(pool.losses) == {"crash": 1, "time": 1}
    told = [record.fields for record in caplog.records if "lost" in record.message]  # type: ignore[attr-defined]
    assert [(each["call"], each["reason"]) for each in told] == [("calls:crash", "crash"), ("calls:hang", "time")]


@pytest.mark.parametrize("asked_again", [True, False])
async def test_a_start_that_nobody_waits_for_is_not_cut_off(asked_again: bool) -> None:
    """Nor is there another one besides: who gives up again and again would have no end of processes started."""
    async with pooled(workers=1) as pool:
        for _ in range(3):
            early = asyncio.create_task(pool.run("calls:told"))
            await asyncio.sleep(0.001)
            early.cancel()
            await asyncio.gather(early, return_exceptions=True)
        if asked_again:
            pids = [(await pool.run("calls:told")).told["pid"] for _ in range(3)]
            assert len(set(pids)) == 1
        async with asyncio.timeout(10):
            while not pool._idle or pool._starting.locked():
                await asyncio.sleep(0.01)
        assert (len(pool._idle), pool.turns.idle) == (1, True)


@pytest.mark.parametrize("requests_max", [1, 1000])
async def test_the_end_of_the_fork_server_costs_nobody_a_request(requests_max: int) -> None:
    """Killed for want of memory, say: its workers end with it, and the next request starts it anew."""
    async with pooled(requests_max=requests_max) as pool:
        await pool.run("calls:told", name="a", numbers=[])
        server = pool._server
        assert server is not None
        server.kill()
        await server.wait()
        async with asyncio.timeout(10):
            while any(worker.alive for worker in pool._idle):
                await asyncio.sleep(0.01)
        answers = await asyncio.gather(*(pool.run("calls:told", name="b", numbers=[]) for _ in range(4)))
        assert len(answers) == 4


def test_a_fork_server_ends_quietly_when_who_asked_for_a_worker_has_gone() -> None:
    """In development mode Python would tell of sockets that nobody closed."""
    ours, theirs = socket.socketpair()
    worker, its = socket.socketpair()
    with theirs, worker, its:
        socket.send_fds(ours, [encode({"memory_bytes_max": 1 << 32})], [its.fileno()])
        ours.close()  # as when the server is killed, or drains, while a request waits for its worker
        command = [sys.executable, "-X", "dev", "-m", "sagittal.workers.forkserver", str(theirs.fileno())]
        done = subprocess.run(command, pass_fds=[theirs.fileno()], capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
