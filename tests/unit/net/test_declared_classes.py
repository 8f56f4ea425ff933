"""SOP Class Common Extended Negotiation (PS3.7 D.3.3.6): what the requestor says of classes that nobody knows."""

from __future__ import annotations

import pytest
from loopback import (
    CT,
    EXPLICIT_LE,
    STUDY_FIND,
    VERIFICATION,
    Raw,
    Store,
    request,
    services,
    serving,
    store_request,
)

from sagittal.dicom.sopclasses import STORAGE_SERVICE, may_be_storage
from sagittal.dimse.service import Service
from sagittal.net.client import Peer, connect
from sagittal.ul.codec import encode
from sagittal.ul.negotiation import storable
from sagittal.ul.pdu import CommonExtended

STORAGE, WORKLIST, OTHER = STORAGE_SERVICE, "1.2.840.10008.5.1.4.34.6", "1.2.3.4.99"
PRIVATE, OURS = "1.2.840.113619.9.9", "1.2.826.0.1.7"
MR = "1.2.840.10008.5.1.4.1.1.4"
ACCEPTED, REFUSED = 0, 3


def listed(store: Store | None = None) -> list[Service]:
    storage = Service("Storage", may_be_storage, store=store or Store(), syntaxes=storable, service_class=STORAGE)
    own = Service("Own", frozenset({OURS}), {0x0030: services()[0].handlers[0x0030]})
    return [services()[0], own, storage]


@pytest.mark.parametrize(("sop_class", "service_class", "related", "result"), [
    (PRIVATE, None, (), ACCEPTED),  # nothing declared: we guess
    (PRIVATE, STORAGE, (), ACCEPTED),
    (PRIVATE, STORAGE, (MR, CT), ACCEPTED),
    (PRIVATE, WORKLIST, (), REFUSED),
    (PRIVATE, WORKLIST, (MR,), REFUSED),  # the service class goes first
    (PRIVATE, OTHER, (), REFUSED),
    (PRIVATE, OTHER, (OTHER, MR), ACCEPTED),
    (PRIVATE, OTHER, (STUDY_FIND,), REFUSED),
    (CT, WORKLIST, (), ACCEPTED),  # what the Standard registers is what it says
    (STUDY_FIND, STORAGE, (), REFUSED),
    (OURS, STORAGE, (), ACCEPTED),
])  # fmt: skip
async def test_what_is_accepted(
    sop_class: str, service_class: str | None, related: tuple[str, ...], result: int
) -> None:
    store = Store()
    declared = () if service_class is None else (CommonExtended(sop_class, service_class, related),)
    async with serving(listed(store)) as server:
        raw = await Raw.open(server.port)
        asked = request((sop_class, EXPLICIT_LE), (VERIFICATION, EXPLICIT_LE), common_extended=declared)
        raw.send(encode(asked))
        answer = await raw.answer()
        assert [each.result for each in answer.contexts] == [result, ACCEPTED]
        assert answer.user.common_extended == ()  # no answer is defined for it
        if result == ACCEPTED:
            raw.send(store_request(b"data", sop_class=sop_class))
            status = (await raw.command())["Status"]
            assert (status, store.kept) == ((0x0211, []) if sop_class == OURS else (0, [b"data"]))
        raw.close()


async def test_what_one_requestor_declares_holds_for_its_association_only() -> None:
    async with serving(listed()) as server:
        for service_class, accepted in ((WORKLIST, False), (STORAGE, True), (WORKLIST, False)):
            peer = Peer("SAGITTAL", "127.0.0.1", server.port)
            declared = [CommonExtended(PRIVATE, service_class)]
            contexts = [(PRIVATE, [EXPLICIT_LE])]
            async with await connect(peer, "CLIENT", contexts, common_extended=declared) as association:
                assert bool(association.info.contexts) == accepted
