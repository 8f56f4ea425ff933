"""Pictures of the next instances of a series, made ahead, are those that would be made when they are asked for."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from random import Random
from typing import Any

import httpx
import numpy as np
import pytest
from interop.pictured import STUDY, dataset, image
from interop.test_rendered_ahead import limits
from interop.test_rendered_kept import Opened, opened

from sagittal.archive.access import VERBS, Principal
from sagittal.archive.archive import Archive
from sagittal.web.render import ahead

COUNT = 24
CAME = [n * 7 % COUNT + 1 for n in range(COUNT)]  # the order in which they are stored
SHUFFLED = Random(1).sample(range(1, COUNT + 1), COUNT)
RENDERED = "/rendered?window=1500,3000"


@pytest.fixture(autouse=True)
def _however_slow_this_machine_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ahead, "_BATCH_SECONDS", 60.0)


def slice_of(number: int, level: int = 0, **more: Any) -> Any:
    """An image unlike its neighbours."""
    pixels = np.full((48, 64), 300 + level, np.uint16)
    pixels[:, number : number + 20] = 2500
    return image(number, pixels, RescaleSlope=1, RescaleIntercept=0, **more)


def broken(number: int) -> Any:
    """An image that nobody can decode."""
    from pydicom.encaps import encapsulate

    made = slice_of(number)
    made.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.5"
    del made.PixelData
    made.add_new(0x7FE00010, "OB", encapsulate([b"no run of RLE "]))
    made["PixelData"].is_undefined_length = True
    return made


async def stored(ours: Opened, numbers: Sequence[int] = CAME, **more: Any) -> dict[int, str]:
    return {number: await ours.put(slice_of(number, **more)) for number in numbers}


def told(answer: httpx.Response) -> tuple[int, bytes, dict[str, str]]:
    """All that a client gets."""
    return answer.status_code, answer.content, dict(answer.headers)


async def gone_through(ours: Opened, paths: Sequence[str], **headers: str) -> tuple[list[httpx.Response], list[str]]:
    """One after the other, with a look at each; what workers did for them."""
    answers, calls = [], []
    for path in paths:
        answer, made = await ours.made(path, **headers)
        before = len(calls)
        answers.append(answer)
        calls[before:] = made
        seen = len(ours.calls)
        await ours.rest()
        calls += ours.calls[seen:]
    return answers, calls


@pytest.mark.parametrize(
    ("order", "alone"),
    [
        pytest.param(range(1, COUNT + 1), {3}, id="up"),
        pytest.param(range(COUNT, 0, -1), {3}, id="down"),
        pytest.param(CAME, {3}, id="as they came"),
        pytest.param(SHUFFLED, {*range(5, COUNT // 2)}, id="in no order"),
    ],
)
async def test_one_after_the_other(tmp_path: Path, order: Sequence[int], alone: set[int]) -> None:
    answers, calls = [], []
    for most in (0, 16):
        async with opened(tmp_path / str(most), limits(most)) as ours:
            at = await stored(ours)
            for what in ("/rendered", "/frames/1" + RENDERED + "&viewport=20,20&quality=70", "/thumbnail"):
                got, made = await gone_through(ours, [at[number] + what for number in order])
                answers.append([told(answer) for answer in got])
                calls.append(made)
    for one, ahead_of, calls_of_one, calls_ahead in zip(answers[:3], answers[3:], calls[:3], calls[3:], strict=True):
        assert one == ahead_of and {status for status, _, _ in one} == {200}
        assert len({body for _, body, _ in one}) == COUNT
        (call,) = {*calls_of_one}
        assert len(calls_of_one) == COUNT and calls_ahead.count(call) in alone
        assert 0 < calls_ahead.count("several") < COUNT // 2


@pytest.mark.parametrize(
    "pattern",
    ["MR/dcm4che__MR*.dcm", "dicomdir/pydicom-dicomdirtests/98892003/MR700/*", "malformed/**/*"],
)
async def test_series_of_the_corpus(tmp_path: Path, corpus_dir: Path, pattern: str) -> None:
    """Whatever their transfer syntaxes are, and what is wrong with them."""
    files = sorted(file for file in corpus_dir.glob(pattern) if file.is_file())
    assert len(files) >= 5
    answers, calls = [], []
    for most in (0, 16):
        async with opened(tmp_path / str(most), limits(most)) as ours:
            for file in files:
                kind = {"content-type": "application/dicom"}
                await ours.client.post("/dicom-web/studies", content=file.read_bytes(), headers=kind)
            rows = (await ours.client.get("/dicom-web/instances", headers={"accept": "application/dicom+json"})).json()
            paths = [
                "/studies/{}/series/{}/instances/{}/rendered".format(
                    *(row[tag]["Value"][0] for tag in ("0020000D", "0020000E", "00080018"))
                )
                for row in rows
            ]
            got, made = await gone_through(ours, paths, accept="image/png")
            answers.append([told(answer) for answer in got])
            calls.append(made)
    assert answers[0] == answers[1] and 200 in {status for status, _, _ in answers[0]}
    assert "several" in calls[1] and calls[1].count("still") < calls[0].count("still")


async def test_all_of_them_as_parts(tmp_path: Path) -> None:
    answers, calls = [], []
    for most in (0, 16):
        async with opened(tmp_path / str(most), limits(most)) as ours:
            series = (await stored(ours))[1].partition("/instances/")[0]
            answer, made = await ours.made(f"{series}/rendered", accept='multipart/related; type="image/jpeg"')
            boundary = answer.headers["content-type"].partition("boundary=")[2].strip('"').encode()
            answers.append(answer.content.replace(boundary, b""))
            calls.append(made)
    assert answers[0] == answers[1] and answers[0].count(b"Content-Location") == COUNT
    assert calls[1].count("still") < calls[0].count("still") == COUNT


async def test_what_changed_meanwhile_is_never_answered_as_it_was(tmp_path: Path) -> None:
    """One that was made ahead is replaced, another deleted, a third one stored between them."""
    numbers = [number for number in range(1, COUNT + 1) if number != 7]
    async with opened(tmp_path / "a", duplicates="replace") as ours, opened(tmp_path / "b", limits(0)) as other:
        at = await stored(ours, numbers)
        _, made = await gone_through(ours, [at[number] + RENDERED for number in range(1, 5)])
        assert "several" in made
        assert (await gone_through(ours, [at[5] + RENDERED]))[1].count("still") == 0  # it was there
        await ours.put(slice_of(6, level=700))
        await ours.client.delete(f"/dicom-web{at[8]}")
        at[7] = await ours.put(slice_of(7))
        right = {number: slice_of(number, level=700 if number == 6 else 0) for number in range(5, 20)}
        alone = {number: await other.put(made) for number, made in right.items()}
        for number in range(5, 20):
            answer, _ = await ours.made(at[number] + RENDERED)
            await ours.rest()
            if number == 8:
                assert answer.status_code in (404, 410)
            else:
                assert told(answer)[:2] == told((await other.made(alone[number] + RENDERED))[0])[:2]


async def test_a_correction_is_in_what_was_made_ahead(tmp_path: Path) -> None:
    path = "/rendered?annotation=patient"
    async with opened(tmp_path / "a") as ours, opened(tmp_path / "b", limits(0)) as other:
        at, alone = await stored(ours), await stored(other)
        await gone_through(ours, [at[number] + path for number in range(1, 5)])
        before, nothing = await ours.made(at[5] + path)
        assert nothing == []
        for each in (ours, other):
            right = {"attributes": {"PatientName": "Other^One"}, "reason": "mixed up"}
            assert (await each.client.patch(f"/api/studies/{STUDY}", json=right)).status_code == 200
        for number in range(5, 20):
            answer, _ = await ours.made(at[number] + path)
            await ours.rest()
            assert answer.content != before.content
            assert answer.content == (await other.made(alone[number] + path))[0].content


async def test_what_is_no_image_of_one_frame_is_left_out(tmp_path: Path) -> None:
    """An object of frames, a report, and an image that can't be decoded, in the midst of a series."""
    answers, calls = [], []
    for most in (0, 16):
        async with opened(tmp_path / str(most), limits(most)) as ours:
            at = await stored(ours)
            frames = np.stack([np.full((8, 8), 100 * n, np.uint16) for n in range(3)])
            others = {101: image(101, frames, "2"), 102: dataset(102, "88.11"), 103: broken(103)}
            for number, made in others.items():
                made.SeriesInstanceUID, made.InstanceNumber = slice_of(1).SeriesInstanceUID, 9
                at[number] = await ours.put(made)
            order = [*range(1, 10), 101, 102, 103, *range(10, COUNT + 1)]
            paths = [at[number] + "/rendered" for number in order]
            got, made = await gone_through(ours, paths, accept="image/jpeg, text/html")
            answers.append([told(answer) for answer in got])
            calls.append(made)
    assert answers[0] == answers[1]
    assert [status for status, _, _ in answers[0]].count(200) == COUNT + 2
    assert 3 < calls[1].count("still") < 9 and calls[1].count("document") == 1


def table(who: dict[str, Principal]) -> Callable[[], dict[str, Principal]]:
    held = {hashlib.sha256(token.encode()).hexdigest(): principal for token, principal in who.items()}
    return lambda: held


async def test_everybody_gets_what_is_of_their_store_and_who_may_not_nothing(tmp_path: Path) -> None:
    """The same UIDs in two stores, gone through at one time; other pixels in each."""
    who = {
        "all": Principal("all", "token", VERBS),
        "ours": Principal("ours", "token", frozenset({"get"})),
        "theirs": Principal("theirs", "token", frozenset({"get"}), 2),
        "finder": Principal("finder", "token", frozenset({"find"})),
    }
    bearer = {name: {"authorization": f"Bearer {name}"} for name in who}
    async with opened(tmp_path, stores=["research"], tokens=table(who)) as ours:
        ours.client.headers.update(bearer["all"])
        at = await stored(ours)
        for number in range(1, COUNT + 1, 2):  # of theirs, every second one is there
            await ours.put(slice_of(number, level=700), below="/stores/research")
        seen: dict[str, list[bytes]] = {"ours": [], "theirs": []}
        for number in range(1, COUNT + 1):
            for name, below in (("ours", ""), ("theirs", "/stores/research")):
                path = f"{below}/dicom-web{at[number]}{RENDERED}"
                answer = await ours.client.get(path, headers={"accept": "image/jpeg"} | bearer[name])
                await ours.rest()
                assert answer.status_code == (404 if name == "theirs" and not number % 2 else 200)
                if answer.status_code == 200:
                    seen[name].append(answer.content)
                assert (await ours.made(at[number] + RENDERED, **bearer["finder"]))[0].status_code == 403
        assert "several" in ours.calls
        assert not {*seen["ours"]} & {*seen["theirs"]}
        assert (len({*seen["ours"]}), len({*seen["theirs"]})) == (COUNT, COUNT // 2)


async def test_it_is_looked_for_by_who_asks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every object that a worker is given ahead was had by the verbs that the principal may do, and is written down."""
    asking: list[tuple[str, str, tuple[Any, ...]]] = []
    for verb in ("neighbours", "instances", "prepared"):
        act = getattr(Archive, verb)

        def seen(self: Archive, principal: Principal, *of: Any, verb: str = verb, act: Any = act, **by: Any) -> Any:
            asking.append((verb, principal.name, of))
            return act(self, principal, *of, **by)

        monkeypatch.setattr(Archive, verb, seen)
    who = {"all": Principal("all", "token", VERBS), "ours": Principal("ours", "token", frozenset({"get"}))}
    async with opened(tmp_path, tokens=table(who)) as ours:
        ours.client.headers["authorization"] = "Bearer all"
        at = await stored(ours)
        asking.clear()
        await gone_through(ours, [at[number] + RENDERED for number in range(1, 11)], authorization="Bearer ours")
    assert {name for _, name, _ in asking} == {"ours"}
    assert [verb for verb, _, _ in asking].count("neighbours") == 1
    assert sum(len(of[0]) for verb, _, of in asking if verb == "prepared") >= 10  # each picture, made alone or ahead


@pytest.mark.parametrize(("count", "looks", "unused"), [(1, 0, 0), (2, 0, 0), (3, 1, 2), (COUNT // 2, 1, 4)])
async def test_what_it_costs_is_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int, looks: int, unused: int
) -> None:
    """Who asks for one or two costs nothing more; who goes on, at most `pictures_ahead_max` that nobody wants."""
    looked, act = [], Archive.neighbours

    def neighbours(self: Archive, *of: Any) -> Any:
        looked.append(of)
        return act(self, *of)

    monkeypatch.setattr(Archive, "neighbours", neighbours)
    async with opened(tmp_path, limits(4)) as ours:
        at = await stored(ours)
        await gone_through(ours, [at[number] + RENDERED for number in range(1, count + 1)])
        assert len(looked) == looks
        assert len(ours.house.pictures._held) - count <= unused


async def test_the_audit_log_tells_what_nobody_asked_for(tmp_path: Path) -> None:
    statement = "SELECT detail, sum(number_of_instances) FROM audit WHERE verb = 'get' GROUP BY 1"
    async with opened(tmp_path) as ours:
        at = await stored(ours)
        await gone_through(ours, [at[number] + RENDERED for number in range(1, 6)])
        made = len(ours.house.pictures._held)
    with closing(sqlite3.connect(tmp_path / "data" / "index.db")) as index:
        told = dict(index.execute(statement).fetchall())
    assert told.pop("looking ahead") >= made - 3
    assert told == {"": 5, "neighbours": 0, "rendering": 3, "rendering ahead": made - 3} and made > 5


async def test_how_many_is_a_limit_that_may_be_larger_than_a_call_carries(tmp_path: Path) -> None:
    async with opened(tmp_path, limits(100)) as ours:
        at = await stored(ours, range(1, 121))
        _, calls = await gone_through(ours, [at[number] + "/thumbnail" for number in range(1, 121)])
        assert calls.count("thumbnail") == 3
