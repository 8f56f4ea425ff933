"""Who asks, and the one place that says no.

Every verb of the engine takes a principal and calls `authorize` first; DIMSE, web and UI have no other way in.
Deliberately not here: how a principal is found out (AE table, bearer token, user identity), which is for the rooms that
speak a protocol.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

from sagittal.archive.index import MAIN_STORE
from sagittal.archive.index.writer import AuditRow
from sagittal.errors import NotAuthorized, NotFound, SagittalError

if TYPE_CHECKING:
    from sagittal.archive.references import InstanceRef

DETAIL_CHARACTERS = 200  # of a row of the audit log
VERBS = frozenset({"echo", "store", "find", "get", "move", "delete", "undelete", "change", "admin"})


@dataclass(frozen=True, slots=True)
class Principal:
    """Somebody who asks: a node, a token's holder, or the operator at this machine; and in which store."""

    name: str  # AE title, token name; written to the audit log
    kind: str  # "node" | "token" | "local"
    verbs: frozenset[str]
    store: int = MAIN_STORE  # the one that it works in: every verb sees and changes that alone


LOCAL = Principal("local", "local", VERBS)


def authorize(principal: Principal, verb: str, to: Iterable[InstanceRef] = ()) -> None:
    """Raise NotAuthorized unless `principal` may do `verb`, NotFound when one of `to` is in another store."""
    if verb not in principal.verbs:
        raise NotAuthorized(f"{principal.name} may not {verb}")
    if any(one.store != principal.store for one in to):  # a reference may have come from elsewhere
        raise NotFound("no such instance")


def enter(principal: Principal, store: int) -> Principal:
    """The principal as it works in `store`: its own, or any when it may `admin`. NotAuthorized."""
    if principal.store == store:
        return principal
    if "admin" not in principal.verbs:
        raise NotAuthorized(f"{principal.name} may not work in this store")
    return replace(principal, store=store)


def places(principal: Principal, stores: Mapping[str, int]) -> dict[str, Principal]:
    """By the names of the stores that the principal may enter: the principal as it works there."""
    may_all = "admin" in principal.verbs
    return {name: enter(principal, at) for name, at in stores.items() if may_all or at == principal.store}


class Audited:
    """What is denied or fails within this block gets a row in the audit log."""

    __slots__ = ("_audit", "_principal", "_verb", "detail", "number", "study_uid")

    def __init__(
        self, audit: Callable[[AuditRow], None], principal: Principal, verb: str, study_uid: str = "", detail: str = ""
    ) -> None:
        self._audit, self._principal, self._verb = audit, principal, verb
        self.study_uid, self.detail, self.number = study_uid, detail, 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if isinstance(error, SagittalError):
            outcome = "denied" if isinstance(error, NotAuthorized) else "failed"
            detail = f"{self.detail}: {error.text}" if self.detail else error.text
            self._audit(audit_row(self._principal, self._verb, outcome, "", self.study_uid, detail))


class AuditedReading(Audited):
    """The same, and what is done gets one, too: also when the block is left early, because the client has gone."""

    __slots__ = ()

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        super().__exit__(kind, error, trace)
        if not isinstance(error, Exception):
            row = audit_row(self._principal, self._verb, "done", "", self.study_uid, self.detail, self.number)
            self._audit(row)


def audit_row(
    principal: Principal,
    verb: str,
    outcome: str = "done",
    address: str = "",
    study_uid: str = "",
    detail: str = "",
    number_of_instances: int = 0,
) -> AuditRow:
    """A line of the audit log about what somebody did. It stays one line, whatever names and reasons are given."""
    who = principal.name, principal.kind
    study_uid, detail = one_line(study_uid)[:64], one_line(detail)[:DETAIL_CHARACTERS]
    return AuditRow(*who, verb, outcome, address, study_uid, detail, number_of_instances, principal.store)


def one_line(text: str) -> str:
    """The text without what could begin a line of its own where it is shown."""
    return text if text.isprintable() else "".join(c if c.isprintable() else "?" for c in text)
