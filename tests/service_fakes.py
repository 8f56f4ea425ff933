"""A site without an archive or a network, and requests as `net` makes them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from sagittal.archive.access import LOCAL, authorize
from sagittal.archive.references import InstanceRef, OpenObject
from sagittal.dicom.elements import encode
from sagittal.dicom.sopclasses import STUDY_ROOT_FIND
from sagittal.dicom.syntaxes import EXPLICIT_LE, IMPLICIT_LE, syntax
from sagittal.dicom.walk import decode_identifier
from sagittal.dimse.service import AssociationInfo, Context, Matches, Request, Response, Service
from sagittal.errors import NotFound, PeerRefused
from sagittal.limits import ReaderLimits
from sagittal.net.client import Peer
from sagittal.services.site import Site

CT = "1.2.840.10008.5.1.4.1.1.2"
JPEG = "1.2.840.10008.1.2.4.50"


def ref(number: int, sop_class: str = CT, syntax_uid: str = EXPLICIT_LE) -> InstanceRef:
    return InstanceRef(
        id=number,
        study_uid="1.2",
        series_uid="1.2.3",
        sop_class_uid=sop_class,
        sop_instance_uid=f"1.2.3.{number}",
        syntax_uid=syntax_uid,
        digest="",
        size=20,
        header_length=10,
        frames=None,
        volume=1,
        key="",
        offset=0,
        state=1,
        revision=1,
    )


class FakeArchive:
    """Answers with what it is given."""

    def __init__(self, folder: Path | None = None, refs: Sequence[InstanceRef] = (), rows: Any = None) -> None:
        self.refs, self.rows, self.asked, self.given = list(refs), rows, [], 0
        if folder is not None:
            (folder / "object").write_bytes(b"h" * 10 + b"d" * 10)
        self.folder = folder

    def permit(self, principal: Any, verb: str, detail: str = "") -> None:
        authorize(principal, verb)

    def audited(self, principal: Any, verb: str) -> AbstractContextManager[None]:
        return nullcontext()

    async def pages(self, principal: Any, query: Any) -> Any:
        """`rows` may be a list of pages; one that is an error is raised."""
        self.asked.append(query)
        for rows in self.rows if isinstance(self.rows, list) else [self.rows]:
            if isinstance(rows, Exception):
                raise rows
            self.given += 1
            yield rows

    async def instances(self, principal: Any, **wanted: Any) -> list[InstanceRef]:
        self.asked.append(wanted)
        uids = wanted.get("sop_instance_uids")
        found = [one for one in self.refs if uids is None or one.sop_instance_uid in uids]
        if not found:
            raise NotFound("none")
        return found

    def open_object(self, one: InstanceRef) -> OpenObject:
        import os

        assert self.folder is not None
        return OpenObject(os.open(self.folder / "object", os.O_RDONLY), 0, 20, 10)


def answered(answer: Response | int) -> Response:
    """A status alone is enough."""
    return answer if isinstance(answer, Response) else Response(answer)


class FakeAssociation:
    """Takes what is stored; accepts what it is told to, and answers with statuses in order (then 0000)."""

    over = _ended = False

    def __init__(self, contexts: Sequence[Any], accept: Any, answers: list[Any], sent: list[Any]) -> None:
        offered = [(proposal.abstract_syntax, proposal.transfer_syntaxes[0]) for proposal in contexts]
        accepted = tuple(Context(1, *kind) for kind in offered if accept(*kind))
        self.info = AssociationInfo("SAGITTAL", "DEST", "127.0.0.1", 1, accepted)
        self._answers, self._sent = answers, sent

    async def __aenter__(self) -> FakeAssociation:
        return self

    async def __aexit__(self, *_: object) -> None:
        return None

    async def store(self, sop_class: str, uid: str, syntax_uid: str, source: Any, originator: Any = None) -> Response:
        if self._ended:
            raise PeerRefused("the association ended")
        answer = self._answers.pop(0) if self._answers else 0
        if callable(answer):
            answer = await answer()
        if isinstance(answer, BaseException):
            self.over = self._ended = not isinstance(answer, OSError)  # of which nothing was sent
            raise answer
        self._sent.append((uid, syntax_uid, originator))
        return answered(answer)


class FakeNetwork:
    """Where C-MOVE connects to."""

    def __init__(self, accept: Any = lambda sop_class, syntax_uid: True, answers: Sequence[Any] = ()) -> None:
        self.accept, self.answers, self.sent, self.opened = accept, list(answers), [], []

    async def connect(self, peer: Peer, contexts: Sequence[Any]) -> FakeAssociation:
        self.opened.append((peer, list(contexts)))
        return FakeAssociation(contexts, self.accept, self.answers, self.sent)


def site(archive: FakeArchive, network: FakeNetwork | None = None, **more: Any) -> Site:
    network = network or FakeNetwork()
    nodes = {"DEST": Peer("DEST", "127.0.0.1", 104)}
    return Site(archive, "SAGITTAL", nodes.get, network.connect, ReaderLimits(), **more)  # type: ignore[arg-type]


def request(
    elements: Sequence[tuple[int, str, str | bytes]] = (),
    command: Mapping[str, Any] | None = None,
    contexts: Sequence[Context] = (),
    store: Any = None,
    syntax_uid: str = IMPLICIT_LE,
    principal: Any = LOCAL,
    abstract_syntax: str = STUDY_ROOT_FIND,
    extended: bytes | None = None,
) -> Request:
    info = AssociationInfo("TEST", "SAGITTAL", "127.0.0.1", 1, tuple(contexts), principal)
    data = encode(
        [(tag, vr, text if isinstance(text, bytes) else text.encode()) for tag, vr, text in elements],
        syntax(syntax_uid),
    )
    context = Context(1, abstract_syntax, syntax_uid, extended=extended)

    async def stored(*what: Any) -> Response:
        return answered(await store(*what))

    return Request(info, context, {"MessageID": 7, **(command or {})}, data or None, stored if store else None)


def answers(service: Service, field: int, asked: Request, cancel_after: int | None = None) -> list[Response]:
    """Every response of a handler; the request is cancelled after so many Pending ones, or a few more."""

    asked.command = {**asked.command, "CommandField": field}

    async def collect() -> list[Response]:
        found: list[Response] = []
        async for response in service.handlers[field](asked):
            if isinstance(response, Matches):
                found += [Response(response.status, data_set) for data_set in response.data_sets]
            else:
                found.append(response)
            asked.cancelled = asked.cancelled or (cancel_after is not None and len(found) >= cancel_after)
        return found

    return asyncio.run(collect())


def elements_of(response: Response, syntax_uid: str = IMPLICIT_LE) -> dict[int, Any]:
    assert response.data_set is not None
    return decode_identifier(response.data_set, syntax(syntax_uid), ReaderLimits())
