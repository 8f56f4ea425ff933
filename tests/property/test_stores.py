"""A store is an archive of its own: whatever is done in one, another one answers as if it were alone.

Any history of acts in two stores of one archive is done again in two archives that have one store each. Every answer on
the way, and everything that can be asked in the end (the verbs of the engine, every resource over HTTP, the DIMSE
services) is the same, but for the numbers of rows and the address of the store.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from builders import CT, MR
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from lengths import examples
from service_fakes import FakeAssociation, FakeNetwork, request
from sides import INSTANCES, OBJECTS, SERIES, STUDIES, Act, Side, sides

from sagittal.archive.query import Query
from sagittal.archive.upkeep import tasks
from sagittal.dicom.sopclasses import PATIENT_ROOT_GET, PATIENT_ROOT_MOVE, STUDY_ROOT_FIND
from sagittal.dicom.syntaxes import EXPLICIT_LE
from sagittal.dimse.service import Context, FileRegion, Matches, Response
from sagittal.dimse.status import SUCCESS
from sagittal.errors import SagittalError
from sagittal.limits import ReaderLimits, WorkerLimits
from sagittal.net.client import Peer
from sagittal.services.query import query as find_service
from sagittal.services.retrieve import get, move
from sagittal.services.site import Site
from sagittal.web.routes import RESOURCES
from sagittal.workers.pool import Pool

NAME, COMMENTS, STUDY_UID, LEVEL = 0x00100010, 0x00104000, 0x0020000D, 0x00080052


def resources() -> list[str]:
    """Every resource that is read, for everything that may be held."""
    found = {}
    for study, series, instance in INSTANCES:
        known = {"study": study, "series": series, "instance": instance, "frames": "1"}
        for resource in RESOURCES:
            drawn = resource.path.endswith(("/rendered", "/thumbnail"))  # dear, and alike for all
            if (
                resource.method == "GET"
                and not {"{path:path}", "{uid}"} & set(resource.path.split("/"))
                and not (drawn and instance != OBJECTS[0].sop_instance_uid)
            ):
                found["/dicom-web" + resource.path.format(**known)] = None
        found[f"/api/instances/{instance}/versions"] = None
        found[f"/api/studies/{study}/corrections"] = None
        named = f"studyUID={study}&seriesUID={series}&objectUID={instance}"
        found[f"/wado?requestType=WADO&contentType=application/dicom&{named}"] = None
    more = ("changes?limit=1000", "statistics?images=true", "tombstones", "discrepancies")
    return [*found, *(f"/api/{name}" for name in more)]


QUERIES = [
    *(Query(level, {NAME: ""}) for level in ("PATIENT", "STUDY")),
    *(Query(level, {STUDY_UID: ""}, include=frozenset({COMMENTS})) for level in ("STUDY", "SERIES", "IMAGE")),
    Query("PATIENT", {NAME: "doe"}, fuzzy=True),
    Query("STUDY", {NAME: "*trial*"}),
    Query("IMAGE", {COMMENTS: "noted"}),
]


async def engine(side: Side) -> list[object]:
    """What the verbs answer."""
    archive, who = side.archive, side.principal
    found: list[object] = []
    for asked in QUERIES:
        rows = await archive.find(who, asked)
        found += [rows.columns, sorted(map(repr, rows.rows)), await archive.count(who, asked)]
    for *_, instance in INSTANCES:
        held = await archive.versions(who, instance)
        found.append([(ref.digest, ref.state, ref.revision, ref.corrections) for ref in held])
    kept = [row._replace(id=0) for row in await archive.tombstones(who)]
    differing = [row._replace(id=0) for row in await archive.discrepancies(who)]
    found += [kept, await archive.statistics(who), differing]
    for study in STUDIES:
        rows = await archive.corrections_of(who, study)
        found.append([row._replace(id=0) for row in rows])
    changes, _ = await archive.changes(who, None, 1000)
    found += [[change[1:] for change in changes], await archive.latest_studies(who, 9)]
    for study in STUDIES:
        try:
            refs = await archive.instances(who, study_uid=study)
        except SagittalError as error:
            found.append(repr(error))
            continue
        folder = side.folder / f"out{next(side.exported)}"
        found.append([one.name async for one in tasks.export(archive, who, refs, folder)])
        found.append([path.read_bytes() for path in sorted(folder.rglob("*.*"))])
    return found


class Taken(FakeAssociation):
    """An association that reads what it is sent."""

    async def store(self, sop_class: str, uid: str, syntax_uid: str, source: Any, originator: Any = None) -> Any:
        self._sent.append((uid, syntax_uid, await read(source)))
        return await super().store(sop_class, uid, syntax_uid, b"", originator)


class Network(FakeNetwork):
    async def connect(self, peer: Peer, contexts: Any) -> FakeAssociation:
        return Taken(contexts, self.accept, self.answers, self.sent)


async def read(source: Any) -> bytes:
    import os

    if isinstance(source, FileRegion):
        return os.pread(source.fd, source.length, source.offset)
    if isinstance(source, bytes):
        return source
    if hasattr(source, "__aiter__"):
        return b"".join([await read(piece) async for piece in source])
    return b"".join([await read(piece) for piece in source])


async def dimse(side: Side) -> list[object]:
    """What C-FIND answers, what C-GET and C-MOVE send."""
    network, got = Network(), []
    peer = Peer("DEST", "127.0.0.1", 104)
    site = Site(side.archive, "SAGITTAL", {"DEST": peer}.get, network.connect, ReaderLimits())

    async def store(sop_class: str, uid: str, syntax_uid: str, source: Any) -> Response:
        got.append((uid, syntax_uid, await read(source)))
        return Response(SUCCESS)

    contexts = [Context(at, name, EXPLICIT_LE, peer_scp=True) for at, name in ((3, CT), (5, MR))]
    found: list[object] = []
    for level in ("STUDY", "SERIES", "IMAGE"):
        keys = [(LEVEL, "CS", level), (STUDY_UID, "UI", STUDIES[0]), (0x00080018, "UI", ""), (NAME, "PN", "")]
        keys = keys if level == "IMAGE" else [key for key in keys if key[0] != 0x00080018]
        asked = request(keys, principal=side.principal, abstract_syntax=STUDY_ROOT_FIND)
        found += [await answered(find_service(site).handlers[0x0020](asked))]
    for study in STUDIES:
        for patient in ("P1", "R1"):
            keys = [(LEVEL, "CS", "STUDY"), (0x00100020, "LO", patient), (STUDY_UID, "UI", study)]
            given = {"principal": side.principal, "contexts": contexts, "store": store}
            for service, field_, uid in ((get, 0x0010, PATIENT_ROOT_GET), (move, 0x0021, PATIENT_ROOT_MOVE)):
                asked = request(keys, {"CommandField": field_, "MoveDestination": "DEST"}, abstract_syntax=uid, **given)
                found += [await answered(service(site).handlers[field_](asked))]
    return [*found, sorted(got), sorted(map(repr, network.sent))]


async def answered(responses: AsyncIterator[Any]) -> object:
    """Statuses and data sets, in no order; how often a Pending comes is a matter of time."""
    found = []
    async for response in responses:
        data_sets = response.data_sets if isinstance(response, Matches) else [response.data_set]
        found += [(response.status, bytes(data_set or b"")) for data_set in data_sets]
    return sorted(set(found))


async def done(side: Side, act: Act) -> object:
    """What an act answers."""
    name, *arguments = act
    try:
        return await getattr(side, name)(*arguments)
    except SagittalError as error:
        return repr(error)


@pytest.fixture(scope="module")
def runner() -> Iterator[tuple[asyncio.Runner, Pool]]:
    """One loop with one pool of workers for all histories."""
    with asyncio.Runner() as runner:

        async def make() -> Pool:
            return Pool(WorkerLimits(workers=1))

        pool = runner.run(make())
        yield runner, pool
        runner.run(pool.close())


PLACES = st.integers(0, 11)
TARGETS = st.sampled_from([*((s,) for s in STUDIES), *SERIES, *INSTANCES])
WHERE = st.sampled_from([*((s, "") for s in STUDIES), *SERIES])
PATIENTS = st.sampled_from(["P1", "P2", "R1", "New^Name"])
ACTS: st.SearchStrategy[Act] = st.one_of(
    st.tuples(st.just("put"), st.integers(0, 7), st.sampled_from(["keep-first", "replace", "refuse"])),
    st.tuples(st.sampled_from(["stow", "bring"]), st.integers(0, 7)),
    st.tuples(st.sampled_from(["delete", "undelete"]), TARGETS),
    st.tuples(st.sampled_from(["erase", "bring_back", "undo", "promote"]), PLACES),
    st.tuples(st.sampled_from(["correct", "patch"]), WHERE, PATIENTS),
    st.tuples(st.just("merge"), PATIENTS, PATIENTS),
    st.just(("collect",)),
)
FILLED = st.lists(st.tuples(st.integers(0, 1), st.tuples(st.just("stow"), st.integers(0, 7))), min_size=4, max_size=8)
HISTORIES = st.tuples(FILLED, st.lists(st.tuples(st.integers(0, 1), ACTS), max_size=12)).map(
    lambda two: two[0] + two[1]
)
PHASES = (Phase.explicit, Phase.reuse, Phase.generate)  # a failing history is short, and to shrink it takes minutes
Ask = Callable[[Side], Awaitable[list[object]]]


async def web(side: Side) -> list[object]:
    """What every resource answers."""
    return [(path, await side.ask("GET", path)) for path in resources()]


@settings(max_examples=examples(12), suppress_health_check=list(HealthCheck), phases=PHASES)
@given(history=HISTORIES)
def test_a_store_answers_as_if_it_were_alone(
    history: list[tuple[int, Act]],
    runner: tuple[asyncio.Runner, Pool],
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = [0]
    monkeypatch.setattr(time, "time_ns", lambda: 1_800_000_000_000_000_000 + clock[0] * 1_000_000_000)

    async def run() -> None:
        async with sides(tmp_path_factory.mktemp("stores"), runner[1]) as (together, alone):
            for clock[0], (store, act) in enumerate(history):
                if act == ("collect",):  # the collector is of the whole archive
                    for side in (together[0], *alone):
                        await side.archive.collect(now=1 << 60)
                    continue
                assert await done(together[store], act) == await done(alone[store], act), act
            for ours, theirs in zip(together, alone, strict=True):
                for ask in (engine, web, dimse):
                    for said, expected in zip(await ask(ours), await ask(theirs), strict=True):
                        assert said == expected

    runner[0].run(run())


def test_numbers_of_another_store_name_nothing(runner: tuple[asyncio.Runner, Pool], tmp_path: Path) -> None:
    """Rows are counted through all stores: a number from elsewhere must not let in."""
    built = OBJECTS[0]
    study, instance = built.study_uid, built.sop_instance_uid

    async def run() -> None:
        async with sides(tmp_path, runner[1]) as ((ours, theirs), _):
            for side in (ours, theirs):
                await side.put(0, "keep-first")
                await side.put(2, "keep-first")
            await ours.correct((study, ""), "New^Name")
            version, *_ = await ours.archive.versions(ours.principal, instance)
            await ours.delete((study, built.series_uid, instance))
            before = await engine(ours)
            undone = json.dumps({"corrections": ours.corrections}).encode()
            for method, path, body in (
                ("POST", f"/api/tombstones/{ours.tombstones[0]}/undelete", b""),
                ("DELETE", f"/api/studies/{study}/corrections/{ours.corrections[0]}", b""),
                ("POST", "/api/corrections/undo", undone),
                ("GET", f"/api/instances/{instance}/versions/{version.id}/file", b""),
                ("POST", f"/api/instances/{instance}/versions/{version.id}/promote", b""),
            ):
                status, _ = await theirs.ask(method, path, {"content-type": "application/json"}, body)
                assert status == 404, (method, path)
            assert await engine(ours) == before

    runner[0].run(run())
