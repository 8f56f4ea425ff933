"""What is agreed when an association is opened: contexts, roles, operation windows (PS3.8 7.1.1.13, PS3.7 D.3.3).

The acceptor's choice is made here from what `offers` tells about each abstract syntax; who may come in at all is not.
SOP class extended items and user identity are carried, not interpreted: a service answers the former.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from sagittal.dicom.syntaxes import DEFLATED_LE, EXPLICIT_BE, EXPLICIT_LE, IMPLICIT_LE, syntax
from sagittal.uid import IMPLEMENTATION_CLASS, IMPLEMENTATION_VERSION, is_uid
from sagittal.ul.pdu import (
    ABSTRACT_SYNTAX_NOT_SUPPORTED,
    ACCEPTANCE,
    TRANSFER_SYNTAXES_NOT_SUPPORTED,
    AssociateAC,
    AssociateRQ,
    ContextResult,
    ProposedContext,
    Role,
    UserInformation,
)

# What to choose first among the proposed ones; "*" stands for all others, in the requestor's order. Explicit VR first:
# it loses nothing. Implicit VR drops the VR of private elements; deflated and big endian cost most to serve afterwards.
DEFAULT_ORDER = (EXPLICIT_LE, "*", IMPLICIT_LE, DEFLATED_LE, EXPLICIT_BE)

UNLIMITED = 0xFFFF  # operations outstanding: message IDs have 16 bits


class Offer(NamedTuple):
    """What this side does with an abstract syntax."""

    scp: bool  # performs its operations
    scu: bool  # invokes its operations on an association that the peer opened
    takes: Callable[[str], bool]  # transfer syntax → whether it is acceptable


Offers = Callable[[str], Offer | None]


@dataclass(frozen=True, slots=True)
class Agreed:
    """An accepted context, from the acceptor's or the requestor's side alike. Roles are the requestor's."""

    id: int
    abstract_syntax: str
    transfer_syntax: str
    requestor_scu: bool
    requestor_scp: bool


def storable(uid: str) -> bool:
    """Whether data sets of this transfer syntax can be stored: all but live flows (ST 2110) and JPIP references."""
    return syntax(uid).storable


def choose(proposed: Sequence[str], order: tuple[str, ...], takes: Callable[[str], bool]) -> str | None:
    """The acceptable transfer syntax that comes first by `order`, None if none is acceptable. A text that is no UID
    never is: objects would be stored in it, and offered to others.
    """
    for wanted in order:
        for uid in proposed:
            if (uid not in order if wanted == "*" else uid == wanted) and is_uid(uid) and takes(uid):
                return uid
    return None


def answer_contexts(
    request: AssociateRQ, offers: Offers, order: tuple[str, ...]
) -> tuple[tuple[ContextResult, ...], tuple[Role, ...], tuple[Agreed, ...]]:
    """The acceptor's answer to each proposed context, its role items, and what is agreed by them."""
    proposed_roles = {role.sop_class: role for role in request.user.roles}
    results, agreed, roles = [], [], {}
    for context in request.contexts:
        offer = offers(context.abstract_syntax) if is_uid(context.abstract_syntax) else None
        role = proposed_roles.get(context.abstract_syntax)
        scu, scp = (role.scu, role.scp) if role else (True, False)
        if offer is None or not ((scu and offer.scp) or (scp and offer.scu)):
            results.append(_refused(context, ABSTRACT_SYNTAX_NOT_SUPPORTED))
            continue
        chosen = choose(context.transfer_syntaxes, order, offer.takes)
        if chosen is None:
            results.append(_refused(context, TRANSFER_SYNTAXES_NOT_SUPPORTED))
            continue
        scu, scp = scu and offer.scp, scp and offer.scu
        if role:
            roles[context.abstract_syntax] = Role(context.abstract_syntax, scu, scp)
        results.append(ContextResult(context.id, ACCEPTANCE, chosen))
        agreed.append(Agreed(context.id, context.abstract_syntax, chosen, scu, scp))
    return tuple(results), tuple(roles.values()), tuple(agreed)


def _refused(context: ProposedContext, result: int) -> ContextResult:
    # The transfer syntax of a refused context is not significant, but must be there (9.3.3.2).
    return ContextResult(context.id, result, context.transfer_syntaxes[0] if context.transfer_syntaxes else IMPLICIT_LE)


def window(proposed: tuple[int, int] | None, performed_max: int) -> tuple[int, int] | None:
    """The acceptor's asynchronous operations window (D.3.3.3): what the requestor may invoke; we, one.

    `proposed` is (invoked, performed) by the requestor, 0 meaning no limit; None: not negotiated, so one and one.
    """
    if proposed is None:
        return None
    invoked = min(proposed[0] or performed_max, performed_max)
    return invoked, 1


def agreed_window(proposed: tuple[int, int] | None, answered: tuple[int, int] | None) -> int:
    """How many operations the requestor may have outstanding: one, unless it proposed more and was answered."""
    if proposed is None or answered is None:
        return 1
    return min(proposed[0] or answered[0], answered[0] or proposed[0]) or UNLIMITED


def acceptance(
    request: AssociateRQ,
    results: tuple[ContextResult, ...],
    roles: tuple[Role, ...],
    *,
    pdu_bytes_max: int,
    operations_max: int,
    identity_response: bytes | None = None,
    extended: Mapping[str, bytes] | None = None,
) -> AssociateAC:
    """The A-ASSOCIATE-AC. `extended` are the answered items; one not answered means the defaults (D.3.3.5)."""
    wanted = request.user.identity is not None and request.user.identity.response_wanted
    user = UserInformation(
        pdu_bytes_max=pdu_bytes_max,
        implementation_class=IMPLEMENTATION_CLASS,
        implementation_version=IMPLEMENTATION_VERSION,
        asynchronous=window(request.user.asynchronous, operations_max),
        roles=roles,
        extended=tuple((extended or {}).items()),
        identity_response=identity_response if wanted else None,
    )
    return AssociateAC(request.called_aet, request.calling_aet, results, user, titles=request.titles)


def agreed_contexts(request: AssociateRQ, answer: AssociateAC) -> tuple[Agreed, ...]:
    """What the requestor has: accepted contexts with a transfer syntax it proposed; roles by proposal and answer."""
    proposed = {context.id: context for context in request.contexts}
    asked = {role.sop_class: role for role in request.user.roles}
    granted = {role.sop_class: role for role in answer.user.roles}
    agreed = []
    for result in answer.contexts:
        context = proposed.get(result.id)
        if context is None or result.result != ACCEPTANCE or result.transfer_syntax not in context.transfer_syntaxes:
            continue
        role, grant = asked.get(context.abstract_syntax), granted.get(context.abstract_syntax)
        # No answer to a role item: the default roles (D.3.3.4).
        scu, scp = (role.scu and grant.scu, role.scp and grant.scp) if role and grant else (True, False)
        agreed.append(Agreed(result.id, context.abstract_syntax, result.transfer_syntax, scu, scp))
    return tuple(agreed)
