"""What a row of the audit log says: of which study, and nothing that did not happen; always on one line."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from builders import build, opened, rows, store

from sagittal.archive.access import VERBS, Principal
from sagittal.archive.archive import Archive
from sagittal.archive.index.removal import Target
from sagittal.archive.nodes import Node
from sagittal.errors import NotAuthorized, NotFound, SagittalError, UsageError
from sagittal.net.admission import Accept, AssociateInfo, Reject
from sagittal.services.nodes import NodeTable
from sagittal.services.tokens import TokenTable
from sagittal.ul.pdu import WEB_TOKEN, UserIdentity

OPERATOR = Principal("operator", "local", VERBS)
HELD = build(1)
STUDY = HELD.study_uid


def written(
    path: Path, asking: Principal, ask: Callable[[Archive, Principal], Awaitable[object]], error: type[SagittalError]
) -> list[tuple[Any, ...]]:
    """The rows of who asks in vain, in an archive that holds one instance."""

    async def run() -> None:
        async with opened(path) as archive:
            await store(archive, HELD)
            with pytest.raises(error):
                await ask(archive, asking)

    asyncio.run(run())
    statement = "SELECT verb, outcome, study_instance_uid, detail FROM audit WHERE principal = 'asking'"
    return rows(path, statement)


@pytest.mark.parametrize(
    ("verb", "need", "ask"),
    [
        ("get", "get", lambda archive, who: archive.instances(who, study_uid=STUDY)),
        ("get", "get", lambda archive, who: archive.corrections_of(who, STUDY)),
        ("find", "find", lambda archive, who: archive.discrepancies(who, STUDY)),
        ("delete", "delete", lambda archive, who: archive.delete(who, Target(STUDY))),
        ("undelete", "undelete", lambda archive, who: archive.undelete(who, Target(STUDY))),
        ("correct", "change", lambda archive, who: archive.correct(who, (STUDY, ""), {}, "why", "CORRECT")),
        ("undo correction", "change", lambda archive, who: archive.undo_correction(who, STUDY, 1)),
    ],
)
def test_a_refusal_says_of_which_study(tmp_path: Path, verb: str, need: str, ask: Any) -> None:
    found = written(tmp_path, Principal("asking", "token", VERBS - {need}), ask, NotAuthorized)
    [(logged, outcome, study, detail)] = found
    assert (logged, outcome, study) == (verb, "denied", STUDY)
    assert detail.endswith(f"asking may not {need}")


@pytest.mark.parametrize(
    ("ask", "error"),
    [
        (lambda archive, who: NodeTable(archive, [], [], {"SAGITTAL"}, True).remove(who, "NONE"), NotFound),
        (lambda archive, who: TokenTable(archive, [], [], "1" * 64).revoke(who, "none"), NotFound),
        (lambda archive, who: TokenTable(archive, [], [], "1" * 64).add(who, "a\nb", "2" * 64, []), UsageError),
    ],
)
def test_a_change_of_the_tables_that_is_none_is_not_written_down_as_done(tmp_path: Path, ask: Any, error: Any) -> None:
    [(verb, outcome, *_)] = written(tmp_path, Principal("asking", "token", VERBS), ask, error)
    assert (verb, outcome) == ("admin", "failed")


def test_nobody_writes_a_line_of_their_own(tmp_path: Path) -> None:
    """Reasons and titles are text of anybody, and a row is shown as a line."""

    async def run() -> None:
        async with opened(tmp_path) as archive:
            await store(archive, HELD)
            await archive.delete(OPERATOR, Target(STUDY), "why\n1 root delete done\r\u2028\x1b[2K" + "x" * 300)
            calling = AssociateInfo("CT\nroot", "SAGITTAL", "127.0.0.1", 1)
            admitted = await NodeTable(archive, [], [], {"SAGITTAL"}, True).admit(calling)
            assert isinstance(admitted, Accept) and admitted.principal.name == "CT?root"

    asyncio.run(run())
    [(detail,)] = rows(tmp_path, "SELECT detail FROM audit WHERE verb = 'delete'")
    assert detail.isprintable() and detail.startswith("why?1 root delete done???[2Kxx") and len(detail) == 200


def test_who_shows_a_token_of_another_store_is_written_down(tmp_path: Path) -> None:
    async def calling(archive: Archive, user: Principal) -> None:
        node = Node("CT", "127.0.0.1", 104, store="main")
        users = {hashlib.sha256(b"secret").hexdigest(): user}
        made = NodeTable(archive, [node], [], {"SAGITTAL"}, True, users=users)
        identity = UserIdentity(WEB_TOKEN, b"secret")
        answer = await made.admit(AssociateInfo("CT", "SAGITTAL", "127.0.0.1", 1, user_identity=identity))
        assert isinstance(answer, Reject)
        raise NotAuthorized(answer.text)

    asking = Principal("asking", "token", VERBS - {"admin"}, 2)
    [(verb, outcome, *_)] = written(tmp_path, asking, calling, NotAuthorized)
    assert (verb, outcome) == ("enter", "denied")
