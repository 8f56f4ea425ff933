"""The AE table: who is let in, as whom; what is fixed and what is kept."""

from __future__ import annotations

import asyncio
from contextlib import nullcontext

import pytest

from sagittal.archive.access import LOCAL
from sagittal.archive.nodes import NODE_VERBS, Node, Token
from sagittal.errors import NotAuthorized, UsageError
from sagittal.net.admission import Accept, AssociateInfo, Reject
from sagittal.services.nodes import NodeTable
from sagittal.services.tokens import TokenTable
from sagittal.ul.pdu import UserIdentity


class Kept:
    """Notes the acts; every one changes a row."""

    def __init__(self) -> None:
        self.rows: list[str] = []

    def audited(self, principal, verb):
        return nullcontext()

    async def act(self, run, audit=None):
        self.rows.append(audit.detail)
        return 1


def table(*nodes: Node, fixed: tuple[Node, ...] = (), open_house: bool = False) -> NodeTable:
    return NodeTable(Kept(), nodes, fixed, "SAGITTAL", open_house)  # type: ignore[arg-type]


def asked(made: NodeTable, calling: str, called: str = "SAGITTAL", address: str = "127.0.0.1", user=None):
    return asyncio.run(made.admit(AssociateInfo(calling, called, address, 1, user_identity=user)))


NODE = Node("CT", "127.0.0.1", 104, syntax_order=("1.2.840.10008.1.2",), verbs=frozenset({"echo", "store"}))


def test_a_known_node_is_let_in_with_its_verbs():
    assert isinstance(answer := asked(table(NODE), "CT"), Accept)
    assert (answer.principal.name, answer.principal.kind) == ("CT", "node")
    assert answer.principal.verbs == {"echo", "store"}
    assert answer.syntax_order == ("1.2.840.10008.1.2",)


@pytest.mark.parametrize("address", ["::ffff:127.0.0.1", "127.0.0.1"])
def test_addresses_are_compared_by_what_they_mean(address):
    assert isinstance(asked(table(NODE), "CT", address=address), Accept)


@pytest.mark.parametrize(
    ("calling", "called", "address", "reason"),
    [("CT", "OTHER", "127.0.0.1", 7), ("MR", "SAGITTAL", "127.0.0.1", 3), ("CT", "SAGITTAL", "192.0.2.7", 3)],
)
def test_others_are_rejected(calling, called, address, reason):
    answer = asked(table(NODE), calling, called, address)
    assert isinstance(answer, Reject)
    assert (answer.result, answer.source, answer.reason) == (1, 1, reason)


def test_on_loopback_everybody_is_let_in():
    answer = asked(table(open_house=True), "ANY", "THING", "127.0.0.1")
    assert isinstance(answer, Accept)
    assert answer.principal.verbs == NODE_VERBS


@pytest.mark.parametrize(
    ("identity", "name"),
    [
        (UserIdentity(1, b"jane"), "CT (jane, unverified)"),
        (UserIdentity(2, b"a\nb", b"secret"), "CT (a?b, unverified)"),
        (UserIdentity(5, b"ey.token"), "CT"),
    ],
)
def test_a_user_is_noted_and_never_confirmed(identity, name):
    answer = asked(table(NODE), "CT", user=identity)
    assert isinstance(answer, Accept)
    assert answer.principal.name == name
    assert answer.identity_response is None


def test_nodes_are_added_changed_and_removed():
    made = table(fixed=(Node("FIXED", "h", 1),))

    async def run() -> None:
        await made.add(LOCAL, "NEW@host:104")
        await made.add(LOCAL, "NEW@host:105")
        with pytest.raises(UsageError):
            await made.remove(LOCAL, "FIXED")
        with pytest.raises(UsageError):
            await made.add(LOCAL, "nowhere")
        with pytest.raises(NotAuthorized):
            await made.add(asked_principal, "X@h:1")

    from sagittal.archive.access import Principal

    asked_principal = Principal("x", "node", NODE_VERBS)
    asyncio.run(run())
    peer = made.destination("NEW")
    assert peer is not None and (peer.host, peer.port) == ("host", 105)
    assert [(row["aet"], row["fixed"]) for row in made.list()] == [("FIXED", True), ("NEW", False)]
    assert asyncio.run(made.remove(LOCAL, "NEW"))
    assert made.destination("NEW") is None
    assert made.duplicates("FIXED", "refuse") == "refuse"


def test_the_local_token_is_not_counted():
    tokens = TokenTable(Kept(), [], [Token("fixed", "b" * 64, frozenset({"find"}))], "a" * 64)  # type: ignore[arg-type]
    assert len(tokens) == 1 and tokens.get("a" * 64) is LOCAL
    assert tokens.get("c" * 64) is None
    asyncio.run(tokens.add(LOCAL, "new", "c" * 64, ["get"]))
    assert tokens["c" * 64].verbs == {"get"}
    assert [row["name"] for row in tokens.list()] == ["fixed", "new"]
    asyncio.run(tokens.revoke(LOCAL, "new"))
    assert tokens.get("c" * 64) is None
    with pytest.raises(UsageError):
        asyncio.run(tokens.revoke(LOCAL, "fixed"))
