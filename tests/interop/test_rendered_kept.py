"""Pictures that were made already: found again as long as all that they are made of is the same, for who may see them.

The application over an archive of its own, with workers that are counted.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from interop.pictured import STUDY, objects

from sagittal.archive.access import VERBS, Principal
from sagittal.archive.archive import Archive
from sagittal.limits import Limits
from sagittal.web.app import create_app
from sagittal.web.house import House, Settings
from sagittal.workers.pool import Answer, Pool

JPEG = {"accept": "image/jpeg"}


class Counted(Pool):
    """Workers, and what they were asked for."""

    def __init__(self, limits: Limits) -> None:
        super().__init__(limits.workers)
        self.calls: list[str] = []

    async def run(self, call: str, *arguments: Any, **named: Any) -> Answer:
        self.calls.append(call.rpartition(":")[2])
        return await super().run(call, *arguments, **named)


class Opened:
    def __init__(self, client: httpx.AsyncClient, workers: Counted, house: House) -> None:
        self.client, self._workers, self.house = client, workers, house

    @property
    def calls(self) -> list[str]:
        """All that workers did."""
        return self._workers.calls

    async def made(self, path: str, **headers: str) -> tuple[httpx.Response, list[str]]:
        """The answer, and what workers did for it."""
        before = len(self._workers.calls)
        answer = await self.client.get(f"/dicom-web{path}", headers=JPEG | headers)
        return answer, self._workers.calls[before:]

    async def rest(self) -> None:
        """Until nothing is made ahead any more."""
        while tasks := self.house.ahead._tasks:
            await asyncio.wait(tasks)

    async def put(self, made: Any, below: str = "") -> str:
        """A data set; its address."""
        import pydicom

        file, kind = io.BytesIO(), {"content-type": "application/dicom"}
        pydicom.dcmwrite(file, made, enforce_file_format=True)
        answer = await self.client.post(f"{below}/dicom-web/studies", content=file.getvalue(), headers=kind)
        assert answer.status_code == 200, answer.text
        return f"/studies/{STUDY}/series/{made.SeriesInstanceUID}/instances/{made.SOPInstanceUID}"

    async def store(self, *names: str) -> dict[str, str]:
        """Objects by name; their addresses."""
        held = objects()
        return {name: await self.put(held[name]) for name in names}


@asynccontextmanager
async def opened(
    folder: Path, limits: Limits | None = None, stores: Sequence[str] = (), **settings: Any
) -> AsyncIterator[Opened]:
    limits = limits or Limits()
    archive, workers = await Archive.open(folder / "data", limits=limits, stores=stores), Counted(limits)
    app = create_app(archive, Settings(limits=limits, **settings), workers)
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        yield Opened(client, workers, app.house)
    await workers.close()
    app.close()
    await archive.close()


async def test_the_same_picture_is_made_once(tmp_path: Path) -> None:
    async with opened(tmp_path) as ours:
        ct = (await ours.store("ct"))["ct"]
        for path, call in ((f"{ct}/rendered", "still"), (f"{ct}/thumbnail", "thumbnail")):
            first, made = await ours.made(path)
            again, nothing = await ours.made(path)
            assert (first.status_code, made, nothing) == (200, [call], [])
            assert first.content == again.content and first.headers["etag"] == again.headers["etag"]
        by_frame, nothing = await ours.made(f"{ct}/frames/1/rendered")
        assert nothing == [] and by_frame.content == (await ours.made(f"{ct}/rendered"))[0].content


async def test_another_picture_is_another(tmp_path: Path) -> None:
    async with opened(tmp_path) as ours:
        ct = (await ours.store("ct"))["ct"]
        first, _ = await ours.made(f"{ct}/rendered")
        for more in ("?window=0,100", "?quality=50", "?viewport=8,8", "?annotation=patient"):
            other, made = await ours.made(f"{ct}/rendered{more}")
            assert made == ["still"] and other.content != first.content
            png, made = await ours.made(f"{ct}/rendered{more}", accept="image/png")
            assert made == ["still"] and png.content[:4] == b"\x89PNG"


async def test_every_frame_is_its_own(tmp_path: Path) -> None:
    async with opened(tmp_path) as ours:
        frames = (await ours.store("frames"))["frames"]
        for calls in (["still"], []):
            answers = [await ours.made(f"{frames}/frames/{n}/rendered?window=128,256") for n in (1, 2)]
            assert [made for _, made in answers] == [calls] * 2
            assert answers[0][0].content != answers[1][0].content


async def test_a_correction_makes_a_new_picture(tmp_path: Path) -> None:
    async with opened(tmp_path) as ours:
        ct = f"{(await ours.store('ct'))['ct']}/rendered?annotation=patient"
        first, _ = await ours.made(ct)
        right = {"attributes": {"PatientName": "Other^One"}, "reason": "mixed up"}
        answer = await ours.client.patch(f"/api/studies/{STUDY}", json=right)
        assert answer.status_code == 200
        right, made = await ours.made(ct)
        assert made == ["still"] and right.content != first.content


async def test_what_is_deleted_is_not_shown(tmp_path: Path) -> None:
    async with opened(tmp_path) as ours:
        ct = (await ours.store("ct"))["ct"]
        assert (await ours.made(f"{ct}/rendered"))[0].status_code == 200
        assert (await ours.client.delete(f"/dicom-web{ct}")).status_code in (200, 204)
        assert (await ours.made(f"{ct}/rendered"))[0].status_code in (404, 410)


async def test_a_thumbnail_of_what_lies_over_an_image_follows_the_image(tmp_path: Path) -> None:
    async with opened(tmp_path) as ours:
        state = (await ours.store("state"))["state"]
        alone, _ = await ours.made(f"{state}/thumbnail")
        await ours.store("ct")
        over, made = await ours.made(f"{state}/thumbnail")
        assert made == ["thumbnail"] and over.content != alone.content
        assert (await ours.made(f"{state}/thumbnail"))[1] == []


@pytest.mark.parametrize("name", ["state", "segmentation"])
async def test_what_a_client_has_is_of_the_image_beneath_too(tmp_path: Path, name: str) -> None:
    async with opened(tmp_path) as ours:
        over = (await ours.store(name))[name]
        alone, _ = await ours.made(f"{over}/thumbnail")
        has = {"if-none-match": alone.headers["etag"]}
        assert (await ours.made(f"{over}/thumbnail", **has))[0].status_code == 304
        await ours.store("ct")
        laid, _ = await ours.made(f"{over}/thumbnail", **has)
        assert laid.status_code == 200 and laid.content != alone.content
        assert (await ours.made(f"{over}/thumbnail", **{"if-none-match": laid.headers["etag"]}))[0].status_code == 304


async def test_what_a_client_has_is_of_the_state_too_that_it_asks_for(tmp_path: Path) -> None:
    async with opened(tmp_path) as ours:
        ct, state = (await ours.store("ct"))["ct"], objects()["state"]
        state.StudyInstanceUID = "2.25.99"  # what comes into the study of the image makes another of that anyway
        at = (await ours.put(state)).replace(STUDY, state.StudyInstanceUID, 1)
        path = f"{ct}/rendered?presentationUID={state.SOPInstanceUID}"
        has = {"if-none-match": (await ours.made(path))[0].headers["etag"]}
        assert (await ours.made(path, **has))[0].status_code == 304
        await ours.client.delete(f"/dicom-web{at}")
        state.ContentLabel = "ANOTHER"
        await ours.put(state)
        assert (await ours.made(path, **has))[0].status_code == 200


async def test_who_may_not_get_sees_no_kept_picture(tmp_path: Path) -> None:
    def table(**verbs: frozenset[str]) -> Callable[[], dict[str, Principal]]:
        who = {hashlib.sha256(n.encode()).hexdigest(): Principal(n, "token", may) for n, may in verbs.items()}
        return lambda: who

    async with opened(tmp_path, tokens=table(all=VERBS, finder=frozenset({"find"}))) as ours:
        ours.client.headers["authorization"] = "Bearer all"
        ct = (await ours.store("ct"))["ct"]
        assert (await ours.made(f"{ct}/rendered"))[0].status_code == 200
        assert (await ours.made(f"{ct}/rendered", authorization="Bearer finder"))[0].status_code == 403
        assert (await ours.made(f"{ct}/rendered", authorization="Bearer nobody"))[0].status_code == 401


@pytest.mark.parametrize(("bytes_max", "made"), [(1 << 10, ["still"]), (64 << 20, [])])
async def test_how_much_is_kept_is_a_limit(tmp_path: Path, bytes_max: int, made: list[str]) -> None:
    limits = Limits(web=replace(Limits().web, pictures_bytes_max=bytes_max))
    async with opened(tmp_path, limits) as ours:
        ct = (await ours.store("ct"))["ct"]
        await ours.made(f"{ct}/rendered")
        assert (await ours.made(f"{ct}/rendered"))[1] == made
