"""PDUs and user items: round trips, what others encode, and what is refused."""

from __future__ import annotations

import pytest
from pynetdicom.pdu import A_ASSOCIATE_AC, A_ASSOCIATE_RQ

from sagittal.dicom.sopclasses import name_of
from sagittal.ul.codec import decode, encode
from sagittal.ul.negotiation import acceptance
from sagittal.ul.pdu import (
    Abort,
    AssociateAC,
    AssociateRJ,
    AssociateRQ,
    CommonExtended,
    ContextResult,
    InvalidPDU,
    ProposedContext,
    ReleaseRP,
    ReleaseRQ,
    Role,
    UserIdentity,
    UserInformation,
)

FULL = UserInformation(
    pdu_bytes_max=16384,
    implementation_class="1.2.3",
    implementation_version="VERSION",
    asynchronous=(3, 1),
    roles=(Role("1.2.840.1", True, True), Role("1.2.840.2", False, True)),
    extended=(("1.2.840.1", b"\x01\x00\x01"),),
    common_extended=(CommonExtended("1.2.840.1", "1.2.840.9", ("1.2.5", "1.2.6")), CommonExtended("1.2.3", "1.2.4")),
    identity=UserIdentity(2, b"user", b"pass", True),
)
RQ = AssociateRQ(
    "CALLED", "CALLING", (ProposedContext(1, "1.2.840.10008.1.1", ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1")),), FULL
)
AC = AssociateAC("CALLED", "CALLING", (ContextResult(1, 0, "1.2.840.10008.1.2"), ContextResult(3, 4, "1.2")),
                 UserInformation(16384, "1.2", identity_response=b"ticket"))  # fmt: skip


@pytest.mark.parametrize(
    "pdu", [RQ, AC, AssociateRJ(2, 3, 1), ReleaseRQ(), ReleaseRP(), Abort(2, 6)], ids=lambda pdu: type(pdu).__name__
)
def test_round_trip(pdu: object) -> None:
    data = encode(pdu)  # type: ignore[arg-type]
    assert int.from_bytes(data[2:6], "big") == len(data) - 6
    assert decode(data[0], data[6:]) == pdu


def test_others_read_our_request() -> None:
    theirs = A_ASSOCIATE_RQ()
    theirs.decode(encode(RQ))
    assert theirs.called_ae_title.strip() == "CALLED"
    assert [context.abstract_syntax for context in theirs.presentation_context] == ["1.2.840.10008.1.1"]
    user = theirs.user_information
    assert user.maximum_length == 16384
    assert user.async_ops_window.maximum_number_operations_invoked == 3
    assert set(user.role_selection) == {"1.2.840.1", "1.2.840.2"}
    assert user.user_identity.primary_field == b"user"
    assert user.common_ext_neg[0].related_general_sop_class_identification == ["1.2.5", "1.2.6"]
    assert user.ext_neg[0].service_class_application_information == b"\x01\x00\x01"
    assert theirs.encode() == encode(RQ)


def test_others_read_our_acceptance() -> None:
    theirs = A_ASSOCIATE_AC()
    theirs.decode(encode(AC))
    assert [context.result for context in theirs.presentation_context] == [0, 4]
    assert theirs.user_information.user_identity.server_response == b"ticket"


def test_unknown_items_are_skipped() -> None:
    data = encode(RQ)
    unknown = b"\x99\0\0\x03abc"
    assert decode(1, data[6:] + unknown) == RQ
    user_at = data.rindex(b"\x50\0", 0, data.index(b"\x51\0"))
    length = int.from_bytes(data[user_at + 2 : user_at + 4], "big")
    grown = data[6 : user_at + 2] + (length + 7).to_bytes(2, "big") + data[user_at + 4 :] + unknown
    assert decode(1, grown) == RQ


def test_every_truncation_is_refused_but_between_two_items() -> None:
    body, whole = encode(RQ)[6:], list[int]()
    for end in range(len(body)):
        try:
            decode(1, body[:end])
        except InvalidPDU as error:
            assert error.reason in range(1, 7)
        else:
            whole.append(end)
    assert whole == [68, 93, 166]  # after the fixed fields, the application context and the presentation context


@pytest.mark.parametrize("ids", [(1, 1), (2,), (1, 0)])
def test_even_and_repeated_context_ids_are_refused(ids: tuple[int, ...]) -> None:
    contexts = tuple(ProposedContext(each, "1.2", ("1.2",)) for each in ids)
    with pytest.raises(InvalidPDU, match="even or there twice"):
        decode(1, encode(AssociateRQ("A", "B", contexts))[6:])


def test_128_contexts_are_taken_and_129_cannot_be_numbered() -> None:
    contexts = tuple(ProposedContext(2 * each + 1, "1.2", ("1.2",)) for each in range(128))
    assert len(decode(1, encode(AssociateRQ("A", "B", contexts))[6:]).contexts) == 128  # type: ignore[union-attr]
    more = (*contexts, ProposedContext(255, "1.2", ("1.2",)))
    with pytest.raises(InvalidPDU):
        decode(1, encode(AssociateRQ("A", "B", more))[6:])


def test_what_is_not_said_is_as_the_standard_has_it() -> None:
    """PS3.7 A.2.1; PS3.8 D.1.1: no Maximum Length is no limit; PS3.7 D.3.3.7: no secondary field, no response."""
    assert name_of(RQ.application_context) == "DICOM Application Context Name"
    data = encode(AssociateRQ("A", "B", RQ.contexts, UserInformation(identity=UserIdentity(1, b"name"))))
    at = data.index(b"\x51\0\0\4")
    shorter = data[: at - 2] + (len(data) - at - 8).to_bytes(2, "big") + data[at + 8 :]
    user = decode(1, shorter[6:]).user  # type: ignore[union-attr]
    assert (user.pdu_bytes_max, user.identity) == (0, UserIdentity(1, b"name", b"", False))
    assert (user.implementation_class, user.implementation_version) == ("", "")
    assert encode(AC)[6:8] == encode(RQ)[6:8] == b"\0\1"  # the protocol version (PS3.8 9.3.2)
    assert encode(Abort(0))[6:] == bytes(4)
    assert b"\x58\0\0\x0a\1\0\0\4name\0\0" in data


@pytest.mark.parametrize("kind", [1, 2, 3, 4, 5])
def test_every_kind_of_user_identity(kind: int) -> None:
    identity = UserIdentity(kind, b"primary", b"secondary" if kind == 2 else b"", kind > 2)
    rq = AssociateRQ("A", "B", RQ.contexts, UserInformation(identity=identity))
    assert decode(1, encode(rq)[6:]).user.identity == identity  # type: ignore[union-attr]


def test_the_titles_of_a_request_go_back_as_they_came() -> None:
    """PS3.8 Table 9-17: identical to what was received, the reserved bytes behind them too."""
    titles = b" LEFT".ljust(16) + b"NULS\0".ljust(16, b"\0") + bytes(range(32))
    data = encode(RQ)
    request = decode(1, data[6:10] + titles + data[74:])
    assert isinstance(request, AssociateRQ)
    assert (request.called_aet, request.calling_aet) == ("LEFT", "NULS")
    answer = acceptance(request, (), (), pdu_bytes_max=0, operations_max=1)
    assert encode(answer)[10:74] == titles
