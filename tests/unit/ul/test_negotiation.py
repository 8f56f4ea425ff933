"""The acceptor's choices and what the requestor makes of them."""

from __future__ import annotations

import pytest

from sagittal.dicom.syntaxes import DEFLATED_LE, EXPLICIT_BE, EXPLICIT_LE, IMPLICIT_LE, JPEG_2000, JPEG_BASELINE
from sagittal.ul.negotiation import (
    DEFAULT_ORDER,
    Offer,
    acceptance,
    agreed_contexts,
    answer_contexts,
    choose,
    storable,
    window,
)
from sagittal.ul.pdu import AssociateRQ, ProposedContext, Role, UserIdentity, UserInformation

CT = "1.2.840.10008.5.1.4.1.1.2"
JPIP, ST2110 = "1.2.840.10008.1.2.4.94", "1.2.840.10008.1.2.7.1"


@pytest.mark.parametrize(("proposed", "chosen"), [
    ([IMPLICIT_LE, JPEG_2000, EXPLICIT_LE], EXPLICIT_LE),
    ([IMPLICIT_LE, JPEG_2000, JPEG_BASELINE], JPEG_2000),
    ([JPEG_BASELINE, JPEG_2000], JPEG_BASELINE),
    ([EXPLICIT_BE, DEFLATED_LE, IMPLICIT_LE], IMPLICIT_LE),
    ([EXPLICIT_BE, DEFLATED_LE], DEFLATED_LE),
    ([EXPLICIT_BE, "1.2.3.4.5"], "1.2.3.4.5"),
    ([EXPLICIT_BE], EXPLICIT_BE),
    ([JPIP, ST2110, IMPLICIT_LE], IMPLICIT_LE),
    ([JPIP, ST2110], None),
    (["", "1.2\r\nX-Other: 1", "1.02", "../1.2", "1" * 65], None),
    ([], None),
])  # fmt: skip
def test_the_default_order(proposed: list[str], chosen: str | None) -> None:
    assert choose(proposed, DEFAULT_ORDER, storable) == chosen


def test_an_order_of_ones_own_without_a_star_takes_nothing_else() -> None:
    assert choose([JPEG_2000, IMPLICIT_LE], (IMPLICIT_LE,), storable) == IMPLICIT_LE
    assert choose([JPEG_2000], (IMPLICIT_LE,), storable) is None
    assert choose([EXPLICIT_LE, JPEG_2000], (JPEG_2000, "*"), storable) == JPEG_2000


def offers(uid: str) -> Offer | None:
    return {CT: Offer(True, True, storable), "1.2.9": Offer(True, False, storable)}.get(uid)


def proposing(*uids: str, roles: tuple[Role, ...] = ()) -> AssociateRQ:
    contexts = tuple(ProposedContext(2 * i + 1, uid, (EXPLICIT_LE,)) for i, uid in enumerate(uids))
    return AssociateRQ("A", "B", contexts, UserInformation(roles=roles))


@pytest.mark.parametrize(("role", "granted"), [
    (None, (True, False)), (Role(CT, True, True), (True, True)), (Role(CT, False, True), (False, True)),
    (Role(CT, True, False), (True, False)), (Role(CT, False, False), None),
])  # fmt: skip
def test_roles_are_granted_as_far_as_they_are_offered(role: Role | None, granted: tuple[bool, bool] | None) -> None:
    rq = proposing(CT, roles=(role,) if role else ())
    results, roles, agreed = answer_contexts(rq, offers, DEFAULT_ORDER)
    assert results[0].result == (0 if granted else 3)
    assert [(each.requestor_scu, each.requestor_scp) for each in agreed] == ([granted] if granted else [])
    assert bool(roles) == (role is not None and granted is not None)
    answer = acceptance(rq, results, roles, pdu_bytes_max=1, operations_max=1)
    assert agreed_contexts(rq, answer) == agreed


def test_a_role_that_is_not_offered() -> None:
    rq = proposing("1.2.9", roles=(Role("1.2.9", False, True),))
    assert answer_contexts(rq, offers, DEFAULT_ORDER)[0][0].result == 3


@pytest.mark.parametrize("none", ["", "1.2.", "CT", "1" * 65])
def test_an_abstract_syntax_that_is_no_uid(none: str) -> None:
    everything = Offer(True, True, storable)
    results, _, agreed = answer_contexts(proposing(none), lambda uid: everything, DEFAULT_ORDER)
    assert [each.result for each in results] == [3] and not agreed


def test_refusals_say_why() -> None:
    rq = AssociateRQ("A", "B", (ProposedContext(1, "1.2.99", (EXPLICIT_LE,)), ProposedContext(3, CT, (JPIP,)),
                                ProposedContext(5, CT, ())))  # fmt: skip
    results, _, agreed = answer_contexts(rq, offers, DEFAULT_ORDER)
    assert [each.result for each in results] == [3, 4, 4]
    assert not agreed


def test_an_answer_with_a_syntax_that_was_not_proposed_is_no_context() -> None:
    rq = proposing(CT)
    results, roles, _ = answer_contexts(rq, offers, DEFAULT_ORDER)
    odd = tuple(type(each)(each.id, 0, JPEG_2000) for each in results)
    assert agreed_contexts(rq, acceptance(rq, odd, roles, pdu_bytes_max=1, operations_max=1)) == ()


@pytest.mark.parametrize(
    ("asked", "answer"), [(None, None), ((1, 1), (1, 1)), ((0, 0), (8, 1)), ((20, 3), (8, 1)), ((5, 0), (5, 1))]
)
def test_the_asynchronous_window(asked: tuple[int, int] | None, answer: tuple[int, int] | None) -> None:
    assert window(asked, 8) == answer


@pytest.mark.parametrize(
    ("wanted", "given", "sent"), [(True, b"ok", b"ok"), (True, b"", b""), (True, None, None), (False, b"ok", None)]
)
def test_the_identity_response_only_if_wanted(wanted: bool, given: bytes | None, sent: bytes | None) -> None:
    user = UserInformation(identity=UserIdentity(1, b"me", b"", wanted))
    rq = AssociateRQ("A", "B", (), user)
    answer = acceptance(rq, (), (), pdu_bytes_max=1, operations_max=1, identity_response=given)
    assert answer.user.identity_response == sent
