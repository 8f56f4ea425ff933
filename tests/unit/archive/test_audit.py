"""Every verb of the engine: it takes a principal, refuses one that may not, and leaves just one row in the audit log.

A public method of `Archive` that stands in none of the tables below fails the test.
"""

from __future__ import annotations

import asyncio
import hashlib
import inspect
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from archived import BASE, applied
from builders import Built, build, opened, store
from service_fakes import request, site

from sagittal.archive.access import VERBS, Principal, audit_row
from sagittal.archive.archive import Archive
from sagittal.archive.index.removal import Target
from sagittal.archive.ingest import Source
from sagittal.archive.nodes import Node, Token
from sagittal.archive.opening import INDEX
from sagittal.archive.query import Query
from sagittal.archive.references import InstanceRef
from sagittal.archive.upkeep import tasks
from sagittal.archive.upkeep.importer import import_files
from sagittal.dimse.commands import C_FIND_RQ, C_GET_RQ, C_MOVE_RQ
from sagittal.dimse.service import Context, Response
from sagittal.errors import DuplicateInstance, Malformed, NotAuthorized, NotFound, SagittalError
from sagittal.limits import ArchiveLimits, Limits
from sagittal.services.nodes import NodeTable
from sagittal.services.parts.composite import composite_get, composite_move
from sagittal.services.query import query
from sagittal.services.retrieve import get, move
from sagittal.services.tokens import TokenTable
from sagittal.web.house import Settings

ASKING = Principal("asking", "node", VERBS)
FIRST, SECOND, BESIDE = build(1), build(2, study=2), build(1, patient_name="Doe^Joan")
Row = tuple[str, str, str]  # principal, verb, outcome

# What is no verb, and why.
NO_VERBS = {
    "open": "composition",
    "close": "composition",
    "ready": "for the prober, who learns nothing of patients",
    "figures": "counters of this process, nothing of patients",
    "act": "the way by which verbs commit, with their row",
    "audit": "the log itself",
    "audited": "the log itself",
    "permit": "the log itself",
    "scratch": "bytes that are no object yet",
    "damage": "of references that were permitted when they were found",
}
# Take an InstanceRef, which `instances` and `versions` alone give out, to who may `get`, and in one row.
WITH_REF = {"doubt", "open_object", "frame_ranges"}


class Held:
    """An archive that holds two studies, a version beside a current one, and a deletion."""

    def __init__(self, archive: Archive, path: Path, ref: InstanceRef, beside: InstanceRef) -> None:
        self.archive, self.path, self.ref, self.beside = archive, path, ref, beside


async def send(held: Held, principal: Principal, built: Built, policy: str = "keep-first", part10: bool = True) -> None:
    source = Source("dimse", "CT", policy=policy)
    if part10:
        transfer = held.archive.store_begin_part10(principal, source)
        transfer.write(built.part10)
    else:
        transfer = held.archive.store_begin(principal, source, syntax_uid=built.syntax_uid)
        transfer.write(built.data)
    await transfer.commit()


async def every(answers: Any) -> None:
    async for _ in answers:
        pass


async def first(answers: Any) -> None:
    await anext(answers)
    await answers.aclose()


async def file_of(held: Held, built: Built) -> list[Path]:
    (held.path / "in.dcm").write_bytes(built.part10)
    return [held.path / "in.dcm"]


async def importing(held: Held, principal: Principal) -> None:
    await every(import_files(held.archive, principal, await file_of(held, build(9)), Source("import")))


async def noting(held: Held, principal: Principal) -> None:
    tasks.note(held.archive, principal, audit_row(principal, "scrub"))


def nodes(held: Held) -> NodeTable:
    return NodeTable(held.archive, [Node("A", "localhost", 104)], [], {"SAGITTAL"}, True)


def tokens(held: Held) -> TokenTable:
    return TokenTable(held.archive, [Token("t", "0" * 64, frozenset())], [], "1" * 64)


async def removing(held: Held, principal: Principal) -> None:
    await nodes(held).add(Principal("x", "local", VERBS), "B@localhost:104")
    await nodes(held).remove(principal, "B")


async def revoking(held: Held, principal: Principal) -> None:
    await tokens(held).add(Principal("x", "local", VERBS), "n", "2" * 64, ["find"])
    await tokens(held).revoke(principal, "n")


async def purge(held: Held, principal: Principal) -> None:
    await held.archive.collect(principal, now=1 << 60)


async def undoing(held: Held, principal: Principal) -> None:
    local = Principal("x", "local", VERBS)
    number = await held.archive.correct(local, (FIRST.study_uid, ""), {"PatientSex": "M"}, "why", "CORRECT")
    await held.archive.undo_correction(principal, FIRST.study_uid, number)


async def undoing_several(held: Held, principal: Principal) -> None:
    local = Principal("x", "local", VERBS)
    number = await held.archive.correct(local, (FIRST.study_uid, ""), {"PatientSex": "M"}, "why", "CORRECT")
    await held.archive.undo_corrections(principal, [number])


async def merging(held: Held, principal: Principal) -> None:
    await send(held, Principal("x", "local", VERBS), build(5, study=5, patient_id="P2"))
    await held.archive.merge_patient(principal, ("P1", ""), ("P2", ""), "why")


async def as_coroutine(answer: object) -> None:
    assert answer is not None


Ask = Callable[[Held, Principal], Awaitable[object]]
# name: (what principals need, the verb in the log, how it is asked)
ASKED: dict[str, tuple[str, str, Ask]] = {
    "store_begin": ("store", "store", lambda held, who: send(held, who, build(7), part10=False)),
    "store_begin_part10": ("store", "store", lambda held, who: send(held, who, build(8))),
    "find": ("find", "find", lambda held, who: held.archive.find(who, Query("STUDY"))),
    "pages": ("find", "find", lambda held, who: first(held.archive.pages(who, Query("STUDY")))),
    "count": ("find", "find", lambda held, who: held.archive.count(who, Query("STUDY"))),
    "find_non_patient": ("find", "find", lambda held, who: held.archive.find_non_patient(who, ["1.2.3"], {})),
    "instances": ("get", "get", lambda held, who: held.archive.instances(who, study_uid=FIRST.study_uid)),
    "neighbours": ("get", "get", lambda held, who: held.archive.neighbours(who, held.ref, 5)),
    "versions": ("get", "get", lambda held, who: held.archive.versions(who, FIRST.sop_instance_uid)),
    "metadata": ("get", "get", lambda held, who: every(held.archive.metadata(who, [held.ref]))),
    "metadata_parts": ("get", "get", lambda held, who: every(held.archive.metadata_parts(who, held.ref))),
    "prepared": ("get", "get", lambda held, who: held.archive.prepared(who, [held.ref])),
    "changes": ("find", "find", lambda held, who: held.archive.changes(who, None, 10)),
    "newest_change": ("find", "find", lambda held, who: held.archive.newest_change(who)),
    "statistics": ("find", "find", lambda held, who: held.archive.statistics(who)),
    "latest_studies": ("find", "find", lambda held, who: held.archive.latest_studies(who, 5)),
    "tombstones": ("find", "find", lambda held, who: held.archive.tombstones(who)),
    "discrepancies": ("find", "find", lambda held, who: held.archive.discrepancies(who)),
    "promote": ("change", "promote", lambda held, who: held.archive.promote(who, held.beside)),
    "correct": (
        "change",
        "correct",
        lambda held, who: held.archive.correct(who, (FIRST.study_uid, ""), {"PatientSex": "M"}, "why", "CORRECT"),
    ),
    "merge_patient": ("change", "merge", merging),
    "undo_correction": ("change", "undo correction", undoing),
    "undo_corrections": ("change", "undo correction", undoing_several),
    "corrections_of": ("get", "get", lambda held, who: held.archive.corrections_of(who, FIRST.study_uid)),
    "delete": ("delete", "delete", lambda held, who: held.archive.delete(who, Target(FIRST.study_uid), "why")),
    "undelete": ("undelete", "undelete", lambda held, who: held.archive.undelete(who, Target(SECOND.study_uid))),
    "collect": ("admin", "purge", purge),
}
FEED: dict[str, tuple[str, str, Ask]] = {
    "subscribe": ("find", "find", lambda held, who: first(held.archive.subscribe(who, None))),
}
BESIDE_IT: dict[str, tuple[str, str, Ask]] = {
    "back_up": ("admin", "backup", lambda held, who: every(tasks.back_up(held.archive, who, held.path / "backup"))),
    "export": ("get", "export", lambda held, who: every(tasks.export(held.archive, who, [held.ref], held.path / "o"))),
    "import_files": ("store", "store", importing),
    "note": ("admin", "scrub", noting),
    "nodes.add": ("admin", "admin", lambda held, who: nodes(held).add(who, "B@localhost:104")),
    "nodes.remove": ("admin", "admin", removing),
    "tokens.add": ("admin", "admin", lambda held, who: tokens(held).add(who, "n", "2" * 64, ["find"])),
    "tokens.revoke": ("admin", "admin", revoking),
}
ALL = ASKED | FEED | BESIDE_IT


def asked(path: Path, act: Callable[[Held], Awaitable[object]]) -> list[Row]:
    """What the log says after `act`, of those who are called "asking"."""

    async def run() -> None:
        async with opened(path / "a") as archive:
            await store(archive, FIRST, SECOND, BESIDE)
            ref, beside = await archive.versions(Principal("x", "local", VERBS), FIRST.sop_instance_uid)
            await archive.delete(Principal("x", "local", VERBS), Target(SECOND.study_uid))
            await act(Held(archive, path, ref, beside))

    asyncio.run(run())
    statement = "SELECT principal, verb, outcome FROM audit WHERE principal = 'asking' ORDER BY id"
    return sqlite3.connect(path / "a" / INDEX).execute(statement).fetchall()


def test_every_verb_stands_in_a_table() -> None:
    public = {name for name, value in vars(Archive).items() if not name.startswith("_") and callable(value)}
    public |= {name for name, value in vars(Archive).items() if isinstance(value, classmethod)}
    assert public == set(ASKED) | set(FEED) | set(NO_VERBS) | WITH_REF
    for name in set(ASKED) | set(FEED):
        assert list(inspect.signature(getattr(Archive, name)).parameters)[1] == "principal", name
    for name in WITH_REF:
        assert list(inspect.signature(getattr(Archive, name)).parameters)[1] == "ref", name


@pytest.mark.parametrize("name", ALL)
def test_who_may_is_written_down_once(tmp_path: Path, name: str) -> None:
    need, verb, ask = ALL[name]
    asking = Principal("asking", "token", frozenset({need}))
    ((principal, logged, outcome),) = asked(tmp_path, lambda held: ask(held, asking))
    assert (principal, logged) == ("asking", verb)
    assert outcome in ("done", "stored")


@pytest.mark.parametrize("name", ALL)
def test_who_may_not_is_refused_and_written_down_once(tmp_path: Path, name: str) -> None:
    need, verb, ask = ALL[name]
    asking = Principal("asking", "token", VERBS - {need})

    async def refused(held: Held) -> None:
        with pytest.raises(NotAuthorized):
            await ask(held, asking)

    assert asked(tmp_path, refused) == [("asking", verb, "denied")]


@pytest.mark.parametrize(("service", "field", "verb"), [(get, C_GET_RQ, "get"), (move, C_MOVE_RQ, "move")])
@pytest.mark.parametrize(
    ("verbs", "destination", "outcome", "status"),
    [(True, "DEST", "done", 0), (False, "DEST", "denied", 0x0124), (True, "ELSEWHERE", "failed", 0xA801)],
)
def test_a_retrieval_by_a_peer_is_one_act(
    tmp_path: Path, service: Any, field: int, verb: str, verbs: bool, destination: str, outcome: str, status: int
) -> None:
    """Who may `move` needs no leave to `get`, and the other way round. C-GET has no destination, whatever it says."""
    who = Principal("asking", "node", frozenset({verb}) if verbs else VERBS - {verb})
    outcome, status = ("done", 0) if verb == "get" and outcome == "failed" else (outcome, status)
    study = build(8, study=3)

    async def retrieve(held: Held) -> None:
        await send(held, Principal("x", "local", VERBS), study)
        keys = [(0x00080052, "CS", "STUDY"), (0x0020000D, "UI", study.study_uid)]
        command = {"CommandField": field, "MoveDestination": destination}
        contexts = [Context(3, study.sop_class_uid, study.syntax_uid, peer_scp=True)]

        async def stored(*_: Any) -> Response:
            return Response(0)

        asking = request(keys, command, contexts, stored, principal=who)
        answers = [one async for one in service(site(held.archive)).handlers[field](asking)]  # type: ignore[arg-type]
        assert answers[-1].status == status

    assert asked(tmp_path, retrieve) == [("asking", verb, outcome)]


def test_a_query_that_goes_without_what_is_spare_is_one_act(tmp_path: Path) -> None:
    requested = frozenset({0x00400275})

    async def find(held: Held) -> None:
        held.archive.limits = Limits(archive=ArchiveLimits(scan_metadata_bytes_max=1))
        query = Query("SERIES", include=requested)
        assert len((await held.archive.find(Principal("asking", "token", VERBS), query, requested)).rows) == 1

    assert asked(tmp_path, find) == [("asking", "find", "done")]


def test_a_search_that_tells_how_many_more_there_are_is_one_act(tmp_path: Path) -> None:
    who = {hashlib.sha256(b"secret").hexdigest(): Principal("asking", "token", VERBS)}

    async def find(held: Held) -> None:
        await send(held, Principal("x", "local", VERBS), build(8, study=3))
        async with applied(held.archive, Settings(tokens=lambda: who)) as app:
            transport, headers = httpx.ASGITransport(app), {"authorization": "Bearer secret"}
            async with httpx.AsyncClient(transport=transport, base_url=BASE, headers=headers) as client:
                answer = await client.get("/dicom-web/studies?limit=1")
        assert "There are 1 additional results" in answer.headers["warning"]

    assert asked(tmp_path, find) == [("asking", "find", "done")]


CUT = Built(FIRST.data[:-9], *(getattr(FIRST, name) for name in list(Built.__dataclass_fields__)[1:]))
FAILING: dict[str, tuple[str, type[SagittalError], Ask, str]] = {
    "delete": ("delete", NotFound, lambda held, who: held.archive.delete(who, Target("1.2")), "failed"),
    "get": ("get", NotFound, lambda held, who: held.archive.instances(who, study_uid="1.2"), "failed"),
    "promote": ("promote", NotFound, lambda held, who: held.archive.promote(who, held.ref), "failed"),
    "store": ("store", Malformed, lambda held, who: send(held, who, CUT), "failed"),
    "duplicate": ("store", DuplicateInstance, lambda held, who: send(held, who, BESIDE, "refuse"), "refused"),
}


@pytest.mark.parametrize("name", FAILING)
def test_what_fails_is_written_down_once(tmp_path: Path, name: str) -> None:
    verb, error, ask, outcome = FAILING[name]

    async def failing(held: Held) -> None:
        with pytest.raises(error):
            await ask(held, Principal("asking", "token", VERBS))

    assert asked(tmp_path, failing) == [("asking", verb, outcome)]


@pytest.mark.parametrize(
    ("service", "field", "verb"),
    [
        (query, C_FIND_RQ, "find"),
        (get, C_GET_RQ, "get"),
        (move, C_MOVE_RQ, "move"),
        (composite_get, C_GET_RQ, "get"),
        (composite_move, C_MOVE_RQ, "move"),
    ],
)
def test_an_identifier_without_a_level_is_written_down(tmp_path: Path, service: Any, field: int, verb: str) -> None:
    async def asking(held: Held) -> None:
        wrong = request(command={"CommandField": field, "MoveDestination": "DEST"}, principal=ASKING)
        (answer,) = [one async for one in service(site(held.archive)).handlers[field](wrong)]  # type: ignore[arg-type]
        assert answer.status == 0xA900

    assert asked(tmp_path, asking) == [("asking", verb, "failed")]


@pytest.mark.parametrize("name", ["find", "pages", "count", "find_non_patient", "instances"])
def test_a_search_that_nobody_waits_for_any_more_is_written_down_once(tmp_path: Path, name: str) -> None:
    _, verb, ask = ASKED[name]

    async def leaving(held: Held) -> None:
        searching = asyncio.ensure_future(ask(held, ASKING))
        await asyncio.sleep(0)
        assert searching.cancel()
        assert isinstance((await asyncio.gather(searching, return_exceptions=True))[0], asyncio.CancelledError)

    assert asked(tmp_path, leaving) == [("asking", verb, "done")]


def test_objects_are_counted_by_what_became_of_them(tmp_path: Path) -> None:
    asking = Principal("asking", "token", VERBS)

    async def run(held: Held) -> None:
        await send(held, asking, FIRST)
        await send(held, asking, BESIDE)
        await send(held, asking, build(3), "keep-first")
        await send(held, asking, build(4))
        for built, policy in ((CUT, ""), (build(4, patient_name="Roe"), "refuse")):
            with pytest.raises(SagittalError):
                await send(held, asking, built, policy)
        figures = held.archive.figures()
        assert figures.waiting == 0
        assert sum(size * count for size, count in figures.batch_sizes.items()) == 3 + 5
        assert figures.outcomes == {
            ("import", "stored", 0): 2,
            ("import", "kept", 0): 1,
            ("dimse", "stored", 0): 2,
            ("dimse", "duplicate", 0): 1,
            ("dimse", "kept", 0): 1,
            ("dimse", "refused", 0xC000): 1,
            ("dimse", "refused", 0x0111): 1,
        }

    asked(tmp_path, run)
