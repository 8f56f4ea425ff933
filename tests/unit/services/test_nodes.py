"""The AE table: who is let in, as whom; what is fixed and what is kept."""

from __future__ import annotations

import asyncio
import hashlib
from contextlib import nullcontext
from typing import Any

import pytest

from sagittal.archive.access import LOCAL, Principal
from sagittal.archive.nodes import NODE_VERBS, Node, Token, put_node, put_token, remove_node, revoke_token
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


def table(*nodes: Node, fixed: tuple[Node, ...] = (), open_house: bool = False, **more: Any) -> NodeTable:
    return NodeTable(Kept(), nodes, fixed, {"SAGITTAL", "OTHERWISE"}, open_house, **more)  # type: ignore[arg-type]


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
            await made.add(LOCAL, "FIXED@host:104")
        with pytest.raises(UsageError):
            await made.add(LOCAL, "nowhere")
        with pytest.raises(NotAuthorized):
            await made.add(asked_principal, "X@h:1")

    asked_principal = Principal("x", "node", NODE_VERBS)
    asyncio.run(run())
    peer = made.destination("NEW")
    assert peer is not None and (peer.host, peer.port) == ("host", 105)
    assert [(row["aet"], row["fixed"]) for row in made.list()] == [("FIXED", True), ("NEW", False)]
    asyncio.run(made.remove(LOCAL, "NEW"))
    assert made.destination("NEW") is None


@pytest.mark.parametrize("change", ["moved", "removed"])
def test_a_node_that_changes_while_its_host_is_looked_up_is_not_let_in_as_it_was(monkeypatch, change):
    made = table(Node("CT", "there", 104))
    admitted = []

    async def resolve(host):
        if host == "there" and not admitted:
            admitted.append(host)
            if change == "moved":
                await made.add(LOCAL, "CT@elsewhere:104")
            else:
                await made.remove(LOCAL, "CT")
        return frozenset({{"there": "192.0.2.1", "elsewhere": "192.0.2.2"}[host]})

    monkeypatch.setattr("sagittal.services.nodes._resolve", resolve)
    for _ in range(2):  # what was looked up then must not count later either
        assert isinstance(asked(made, "CT", address="192.0.2.1"), Reject)
    assert isinstance(asked(made, "CT", address="192.0.2.2"), Accept) == (change == "moved")


def test_the_local_token_is_not_counted():
    tokens = TokenTable(Kept(), [], [Token("fixed", "b" * 64, frozenset({"find"}))], "a" * 64)  # type: ignore[arg-type]
    assert len(tokens) == 1 and tokens.get("a" * 64) is LOCAL
    assert tokens.get("c" * 64) is None
    asyncio.run(tokens.add(LOCAL, "new", "c" * 64, ["get"]))
    assert tokens["c" * 64].verbs == {"get"}
    assert [row["name"] for row in tokens.list()] == ["fixed", "new"]
    asyncio.run(tokens.revoke(LOCAL, "new"))
    assert tokens.get("c" * 64) is None
    for act in (tokens.revoke(LOCAL, "fixed"), tokens.add(LOCAL, "fixed", "d" * 64, ["get"])):
        with pytest.raises(UsageError):
            asyncio.run(act)


def test_who_may_not_change_the_tables_learns_nothing_of_them():
    nodes = table(fixed=(Node("FIXED", "h", 1),))
    tokens = TokenTable(Kept(), [], [Token("fixed", "b" * 64, frozenset({"find"}))], "a" * 64)  # type: ignore[arg-type]
    reader, kept = Principal("reader", "token", frozenset({"find"})), Kept().act
    told = set()
    for act in (
        nodes.add(reader, "FIXED@h:1"), nodes.add(reader, "NEW@h:1"), nodes.add(reader, "nowhere"),
        nodes.remove(reader, "FIXED"), nodes.remove(reader, "NEW"), tokens.add(reader, "fixed", "c" * 64, []),
        tokens.add(reader, "new", "c" * 64, []), tokens.revoke(reader, "fixed"), tokens.revoke(reader, "new"),
        put_node(kept, reader, NODE), remove_node(kept, reader, "CT"),
        put_token(kept, reader, Token("t", "d" * 64, frozenset())), revoke_token(kept, reader, "t"),
    ):  # fmt: skip
        with pytest.raises(NotAuthorized) as error:
            asyncio.run(act)
        told.add(error.value.text)
    assert told == {"reader may not admin"}


@pytest.mark.parametrize(("called", "let_in"), [("SAGITTAL", True), ("OTHERWISE", True), ("sagittal", False)])
def test_by_what_names_we_are_called(called, let_in):
    assert isinstance(asked(table(NODE), "CT", called), Accept) == let_in


@pytest.mark.parametrize(
    ("addresses", "address", "let_in"),
    [
        (("10.1.0.0/16",), "10.1.255.7", True),
        (("10.1.0.0/16",), "10.2.0.1", False),
        (("10.1.0.0/16",), "::ffff:10.1.0.1", True),
        (("10.1.0.0/16",), "127.0.0.1", False),  # of its host, which doesn't count beside addresses
        (("192.0.2.1", "10.1.0.0/16"), "192.0.2.1", True),
        (("2001:db8::/32",), "2001:db8::7%eth0", True),
        (("2001:db8::/32",), "10.1.0.1", False),
        (("0.0.0.0/0",), "", False),
    ],
)
def test_addresses_and_networks(addresses, address, let_in):
    answer = asked(table(NODE._replace(addresses=addresses)), "CT", address=address)
    assert isinstance(answer, Accept) == let_in
    assert let_in or (answer.result, answer.source, answer.reason) == (1, 1, 3)


USER = Principal("jane", "token", frozenset({"find"}))
SECRETS = {"s3cret": USER, "local": LOCAL}
USERS = {hashlib.sha256(secret.encode()).hexdigest(): user for secret, user in SECRETS.items()}


@pytest.mark.parametrize(
    ("identity", "verified"),
    [
        (UserIdentity(2, b"jane", b"s3cret", True), True),
        (UserIdentity(2, b"jane", b"s3cret"), True),
        (UserIdentity(5, b"s3cret"), True),
        (UserIdentity(2, b"jane", b"wrong"), False),
        (UserIdentity(2, b"june", b"s3cret"), False),
        (UserIdentity(2, b"jane", b""), False),
        (UserIdentity(1, b"jane", b"s3cret"), False),  # a name alone proves nothing
        (UserIdentity(3, b"s3cret"), False),
        (UserIdentity(4, b"s3cret"), False),
        (UserIdentity(5, b"wrong"), False),
        (UserIdentity(2, b"local", b"local"), False),  # the operator's token is for this machine's commands
        (UserIdentity(5, b"local"), False),
        (None, False),
    ],
)
@pytest.mark.parametrize("required", [False, True])
@pytest.mark.parametrize("open_house", [False, True])
def test_who_shows_a_token_has_its_rights(identity, verified, required, open_house):
    made = table(NODE, open_house=open_house, users=USERS, identity_required=required)
    answer = asked(made, "CT", user=identity)
    if verified:
        assert isinstance(answer, Accept)
        assert answer.principal == Principal("jane", "token", frozenset({"find", "echo"}))
        assert answer.identity_response == b""
        assert answer.syntax_order == NODE.syntax_order
    elif required:
        assert isinstance(answer, Reject)
        assert (answer.result, answer.source, answer.reason) == (1, 1, 1)
    else:
        assert isinstance(answer, Accept)
        assert (answer.principal.kind, answer.identity_response) == ("node", None)
        assert answer.principal.verbs == NODE.verbs


@pytest.mark.parametrize("open_house", [False, True])
def test_an_association_stands_as_long_as_who_opened_it_is_the_same(open_house):
    users = dict(USERS)
    made = table(NODE, open_house=open_house, users=users)
    node, user = asked(made, "CT"), asked(made, "CT", user=UserIdentity(5, b"s3cret"))
    asyncio.run(made.add(LOCAL, "CT@127.0.0.1:105", verbs=NODE.verbs, name="moved"))
    assert node.stands() and user.stands()
    asyncio.run(made.add(LOCAL, "CT@127.0.0.1:105", verbs=frozenset({"echo"})))
    assert not node.stands() and user.stands()
    node = asked(made, "CT")
    asyncio.run(made.remove(LOCAL, "CT"))
    assert (node.stands(), user.stands()) == (False, open_house)  # of verbs that are not named there are more
    users.clear()
    assert not user.stands()


@pytest.mark.parametrize("open_house", [False, True])
@pytest.mark.parametrize("to", [("CT@192.0.2.7:104", ()), ("CT@127.0.0.1:104", ("192.0.2.0/24",))])
def test_an_association_ends_when_its_node_calls_from_elsewhere(to, open_house):
    made = table(NODE, open_house=open_house, users=USERS)
    asking = asked(made, "CT"), asked(made, "CT", user=UserIdentity(5, b"s3cret"))
    peer, addresses = to
    asyncio.run(made.add(LOCAL, peer, verbs=NODE.verbs, addresses=addresses))
    assert [each.stands() for each in asking] == [open_house] * 2


def test_a_verified_user_still_comes_from_a_node():
    answer = asked(table(NODE, users=USERS), "MR", user=UserIdentity(2, b"jane", b"s3cret", True))
    assert isinstance(answer, Reject)
    assert answer.reason == 3


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("verbs", frozenset({"dance"})),
        ("duplicates", "burn"),
        ("syntax_order", ("explicit",)),
        ("addresses", ("10.1.0.1/16",)),
        ("addresses", ("somewhere",)),
        ("character_set", "ISO_IR 999"),
        ("timezone", "0100"),
        ("timezone", "+1500"),
        ("timezone", "+0175"),
        ("name", "x" * 65),
        ("issuer_of_patient_id", "A\\B"),
        ("issuer_of_patient_id", "a\nb"),
    ],
)
def test_nodes_that_cannot_be(field, value):
    with pytest.raises(UsageError):
        table(fixed=(NODE._replace(**{field: value}),))
    with pytest.raises(UsageError):
        asyncio.run(table().add(LOCAL, "CT@h:1", **{field: value}))


def test_what_is_assumed_of_a_sender():
    says = {"duplicates": "replace", "issuer_of_patient_id": "HOSP", "character_set": "ISO-IR-100", "timezone": "-0330"}
    made = table(NODE, fixed=(NODE._replace(aet="FIXED", **says),), duplicates="refuse")
    assert made.sender("FIXED") == ("replace", "HOSP", "ISO_IR 100", "-0330")
    assert made.sender("CT") == made.sender("STRANGER") == ("refuse", "", "", "")
    assert made.charsets("FIXED") == ("ISO_IR 100",)
    assert made.charsets("STRANGER") == ()
    asyncio.run(made.add(LOCAL, "CT@h:1", character_set="\\ISO 2022 IR 87", name="The scanner"))
    assert made.charsets("CT") == ("", "ISO 2022 IR 87")
    assert made.sender("CT").character_set == "\\ISO 2022 IR 87"
    asyncio.run(made.remove(LOCAL, "CT"))
    assert made.sender("CT").character_set == ""
