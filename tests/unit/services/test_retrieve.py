"""C-MOVE and C-GET: counts, failed lists, contexts, cancel."""

from __future__ import annotations

import asyncio

import pytest
from service_fakes import CT, JPEG, FakeArchive, FakeNetwork, answers, elements_of, ref, request, site

from sagittal.archive.access import Principal
from sagittal.dicom.sopclasses import PATIENT_ROOT_GET, PATIENT_STUDY_ONLY_GET, STUDY_ROOT_GET
from sagittal.dicom.syntaxes import EXPLICIT_LE, IMPLICIT_LE
from sagittal.dimse.commands import encode
from sagittal.dimse.service import Context, FileRegion, NoContext, Response
from sagittal.errors import DamagedObject, PeerRefused, PeerUnreachable
from sagittal.net.proposing import choose_syntax, plan, propose
from sagittal.services.retrieve import get, move
from sagittal.services.suboperations import Tally

LEVEL, STUDY, SERIES, INSTANCE = 0x00080052, 0x0020000D, 0x0020000E, 0x00080018
FAILED_UIDS = 0x00080058
ONE_STUDY = [(LEVEL, "CS", "STUDY"), (STUDY, "UI", "1.2")]
MPEG4 = "1.2.840.10008.1.2.4.102"


def moved(folder, refs, network, elements=ONE_STUDY, destination="DEST", cancel_after=None, **more):
    asked = request(elements, {"MoveDestination": destination}, **more)
    return answers(move(site(FakeArchive(folder, refs), network)), 0x0021, asked, cancel_after)


def counts(response):
    names = ("Completed", "Failed", "Warning", "Remaining")
    return tuple(response.extra.get(f"NumberOf{name}Suboperations") for name in names)


def test_all_sent(tmp_path):
    network = FakeNetwork()
    responses = moved(tmp_path, [ref(1), ref(2), ref(3)], network)
    assert responses[0].status == 0xFF00
    assert counts(responses[0]) == (1, 0, 0, 2)
    assert responses[-1].status == 0x0000
    assert counts(responses[-1]) == (3, 0, 0, None)
    assert network.sent == [(f"1.2.3.{n}", EXPLICIT_LE, ("TEST", 7)) for n in (1, 2, 3)]


def test_more_than_a_count_can_tell():
    """VR US ends at 65,535 (PS3.7 Table E.1-1): a whole patient may have more."""
    tally = Tally(70_000)
    response = tally.pending()
    assert counts(response) == (0, 0, 0, 65_535)
    assert encode({"CommandField": 0x8021, "Status": response.status, **response.extra})
    for _ in range(70_000):
        tally.count("1.2.3", 0x0000)
    assert counts(tally.cancelled(request(ONE_STUDY))) == (65_535, 0, 0, 0)


def test_some_failed(tmp_path):
    responses = moved(tmp_path, [ref(n) for n in range(5)], FakeNetwork(answers=[0, 0xA700, 0xB000, 0xC000]))
    assert responses[-1].status == 0xB000
    assert counts(responses[-1]) == (2, 2, 1, None)
    assert elements_of(responses[-1])[FAILED_UIDS].text() == "1.2.3.1\\1.2.3.3"


def test_what_the_receiver_says_is_told(tmp_path):
    responses = moved(tmp_path, [ref(1), ref(2)], FakeNetwork(answers=[0xC000, Response(0xA700, comment="disk full")]))
    assert responses[-1].comment == "a peer answered C000"
    responses = moved(tmp_path, [ref(1), ref(2)], FakeNetwork(answers=[Response(0xA700, comment="disk full")]))
    assert responses[-1].comment == "a peer answered A700: disk full"


def test_all_failed(tmp_path):
    responses = moved(tmp_path, [ref(1), ref(2)], FakeNetwork(answers=[0xA700, 0xA700]))
    assert responses[-1].status == 0xA702
    assert counts(responses[-1]) == (0, 2, 0, None)


def test_only_warnings_are_a_warning(tmp_path):
    responses = moved(tmp_path, [ref(1)], FakeNetwork(answers=[0xB007]))
    assert responses[-1].status == 0xB000
    assert responses[-1].data_set is None


def test_nothing_matches(tmp_path):
    network = FakeNetwork()
    responses = moved(tmp_path, [], network)
    assert [(r.status, counts(r)) for r in responses] == [(0x0000, (0, 0, 0, None))]
    assert not network.opened


def test_unknown_destination(tmp_path):
    assert [r.status for r in moved(tmp_path, [ref(1)], FakeNetwork(), destination="ELSEWHERE")] == [0xA801]


def test_not_authorized(tmp_path):
    nobody = Principal("x", "node", frozenset({"echo"}))
    assert [r.status for r in moved(tmp_path, [ref(1)], FakeNetwork(), principal=nobody)] == [0x0124]


def test_unreachable(tmp_path):
    class Dead(FakeNetwork):
        async def connect(self, peer, contexts):
            raise PeerUnreachable("no answer")

    responses = moved(tmp_path, [ref(1), ref(2)], Dead())
    assert responses[-1].status == 0xA702
    assert responses[-1].comment == "no answer"
    assert elements_of(responses[-1])[FAILED_UIDS].text() == "1.2.3.1\\1.2.3.2"


def test_what_was_lost_with_an_association_goes_once_more(tmp_path):
    network = FakeNetwork(answers=[0, PeerRefused("aborted")])
    responses = moved(tmp_path, [ref(n) for n in range(4)], network)
    assert len(network.opened) == 2
    assert counts(responses[-1]) == (4, 0, 0, None)
    assert [uid for uid, *_ in network.sent] == [f"1.2.3.{n}" for n in range(4)]


def test_a_destination_that_ends_each_association_after_an_answer_gets_all(tmp_path):
    lost = PeerRefused("aborted")
    responses = moved(tmp_path, [ref(n) for n in range(5)], FakeNetwork(answers=[0, lost] * 4))
    assert counts(responses[-1]) == (5, 0, 0, None)


def test_an_instance_that_ends_each_association_fails_alone(tmp_path):
    network = FakeNetwork(answers=[0, *[PeerRefused("aborted")] * 2])
    responses = moved(tmp_path, [ref(n) for n in range(4)], network)
    assert len(network.opened) == 3
    assert counts(responses[-1]) == (3, 1, 0, None)
    assert elements_of(responses[-1])[FAILED_UIDS].text() == "1.2.3.1"


def test_an_association_that_always_ends_is_given_up(tmp_path):
    network = FakeNetwork(answers=[PeerRefused("aborted")] * 9)
    responses = moved(tmp_path, [ref(n) for n in range(9)], network)
    assert len(network.opened) == 3
    assert counts(responses[-1]) == (0, 9, 0, None)


def test_cancel(tmp_path):
    responses = moved(tmp_path, [ref(n) for n in range(5)], FakeNetwork(answers=[0xA700]), cancel_after=1)
    assert [r.status for r in responses] == [0xFF00, 0xFE00]
    assert counts(responses[-1]) == (0, 1, 0, 4)
    assert elements_of(responses[-1])[FAILED_UIDS].text() == "1.2.3.0"


@pytest.mark.parametrize("way", ["move", "get"])
def test_cancel_within_a_sub_operation(tmp_path, way):
    """No Pending follows: the last response has the list of what failed (PS3.4 C.4.2.1.4.2)."""

    async def cancelled(*_):
        asked.cancel()
        return Response(0xA700)

    contexts = [Context(3, CT, EXPLICIT_LE, peer_scp=True)]
    asked = request(ONE_STUDY, {"MoveDestination": "DEST"}, contexts, cancelled, abstract_syntax=STUDY_ROOT_GET)
    service, field = (move, 0x0021) if way == "move" else (get, 0x0010)
    archive = FakeArchive(tmp_path, [ref(n) for n in range(3)])
    (response,) = answers(service(site(archive, FakeNetwork(answers=[cancelled]))), field, asked)
    assert (response.status, counts(response)) == (0xFE00, (0, 1, 0, 2))
    assert elements_of(response)[FAILED_UIDS].text() == "1.2.3.0"


@pytest.mark.parametrize("way", ["move", "get"])
def test_a_sub_operation_that_takes_long_is_told_of_meanwhile(tmp_path, monkeypatch, way):
    monkeypatch.setattr("sagittal.services.retrieve._SILENT_SECONDS", 0.0)
    told = []

    async def until_told(*_):
        while len(told) < 2:
            await asyncio.sleep(0)
        return Response(0)

    contexts = [Context(3, CT, EXPLICIT_LE, peer_scp=True)]
    store = until_told if way == "get" else None
    asked = request(ONE_STUDY, {"MoveDestination": "DEST"}, contexts, store, abstract_syntax=STUDY_ROOT_GET)
    asked.tell = told.append
    service, field = (move, 0x0021) if way == "move" else (get, 0x0010)
    archive = FakeArchive(tmp_path, [ref(1)])
    responses = answers(service(site(archive, FakeNetwork(answers=[until_told]))), field, asked)
    assert [response.status for response in responses] == [0x0000]
    assert {response.status for response in told} == {0xFF00}
    assert counts(told[0]) == (0, 0, 0, 1)


def test_a_comment_tells_why_before_it_is_cut(tmp_path):
    network = FakeNetwork()

    async def refuse(peer, _contexts):
        raise PeerRefused(f"{peer}: rejected permanently by the application: called AE title not recognized (1/1/7)")

    network.connect = refuse
    (response,) = moved(tmp_path, [ref(1)], network)
    assert response.comment[:64] == "rejected permanently by the application: called AE title not rec"


@pytest.mark.parametrize("way", ["move", "get"])
def test_an_object_that_cannot_be_read_fails_alone(tmp_path, way):
    answers_given = [OSError(5, "Input/output error"), 0, 0]

    async def stored(*_):
        answer = answers_given.pop(0)
        if isinstance(answer, OSError):
            raise answer
        return answer

    network = FakeNetwork(answers=[*answers_given])
    contexts = [Context(3, CT, EXPLICIT_LE, peer_scp=True)]
    asked = request(ONE_STUDY, {"MoveDestination": "DEST"}, contexts, stored, abstract_syntax=STUDY_ROOT_GET)
    service, field = (move, 0x0021) if way == "move" else (get, 0x0010)
    responses = answers(service(site(FakeArchive(tmp_path, [ref(n) for n in range(3)]), network)), field, asked)
    assert counts(responses[-1]) == (2, 1, 0, None)
    assert responses[-1].comment == "the object can't be read: Input/output error"


def test_an_object_that_ends_the_association_takes_no_other_with_it(tmp_path):
    """It was found short when half of it was sent; what comes next goes on a new one."""
    network = FakeNetwork(answers=[DamagedObject("short")])
    responses = moved(tmp_path, [ref(n) for n in range(3)], network)
    assert len(network.opened) == 2
    assert counts(responses[-1]) == (2, 1, 0, None)
    assert elements_of(responses[-1])[FAILED_UIDS].text() == "1.2.3.0"


@pytest.mark.parametrize("connecting", [False, True])
def test_cancel_while_the_destination_hangs(tmp_path, monkeypatch, connecting):
    """It is not waited for until it times out (PS3.4 C.4.2.3.1): what is under way has failed, the rest remains."""
    monkeypatch.setattr("sagittal.services.retrieve._CANCEL_SECONDS", 0.0)
    asked = request(ONE_STUDY, {"MoveDestination": "DEST"})

    async def hang(*_):
        asked.cancel()
        await asyncio.Event().wait()

    network = FakeNetwork(answers=[0, hang])
    if connecting:
        network.connect = hang
    responses = answers(move(site(FakeArchive(tmp_path, [ref(n) for n in range(5)]), network)), 0x0021, asked, None)
    assert responses[-1].status == 0xFE00
    assert counts(responses[-1]) == ((0, 0, 0, 5) if connecting else (1, 1, 0, 3))


def test_a_compressed_object_whose_syntax_is_not_accepted_fails(tmp_path):
    network = FakeNetwork(accept=lambda sop_class, syntax_uid: syntax_uid != JPEG)
    responses = moved(tmp_path, [ref(1, syntax_uid=JPEG), ref(2)], network)
    assert responses[-1].status == 0xB000
    assert counts(responses[-1]) == (1, 1, 0, None)
    assert JPEG in responses[-1].comment


def test_a_class_that_is_not_accepted_is_named(tmp_path):
    network = FakeNetwork(accept=lambda sop_class, syntax_uid: sop_class == CT)
    responses = moved(tmp_path, [ref(1, sop_class="1.2.3.4"), ref(2)], network)
    assert counts(responses[-1]) == (1, 1, 0, None)
    assert responses[-1].comment == "no context accepted for 1.2.3.4"


def test_an_uncompressed_object_goes_in_another_uncompressed_syntax(tmp_path):
    network = FakeNetwork(accept=lambda sop_class, syntax_uid: syntax_uid == IMPLICIT_LE)
    moved(tmp_path, [ref(1)], network)
    assert network.sent == [("1.2.3.1", IMPLICIT_LE, ("TEST", 7))]


@pytest.mark.parametrize(
    ("elements", "wanted"),
    [
        (ONE_STUDY, [{"study_uid": "1.2"}]),
        (
            [(LEVEL, "CS", "STUDY"), (STUDY, "UI", "1.2\\1.3")],
            [{"study_uid": uid} for uid in ("1.2", "1.3")],
        ),
        (
            [(LEVEL, "CS", "SERIES"), (STUDY, "UI", "1.2"), (SERIES, "UI", "1.4\\1.5")],
            [{"study_uid": "1.2", "series_uid": uid} for uid in ("1.4", "1.5")],
        ),
        (
            [(LEVEL, "CS", "IMAGE"), (STUDY, "UI", "1.2"), (SERIES, "UI", "1.4"), (INSTANCE, "UI", "1.6\\1.7")],
            [{"study_uid": "1.2", "series_uid": "1.4", "sop_instance_uids": ["1.6", "1.7"]}],
        ),
    ],
)
def test_what_the_archive_is_asked_for(elements, wanted):
    archive = FakeArchive()
    answers(get(site(archive)), 0x0010, request(elements))
    assert archive.asked == wanted


@pytest.mark.parametrize(
    "elements",
    [
        [(LEVEL, "CS", "STUDY")],
        [(LEVEL, "CS", "STUDY"), (STUDY, "UI", "1.*")],
        [(LEVEL, "CS", "IMAGE"), (STUDY, "UI", "1.2"), (INSTANCE, "UI", "1.6")],
    ],
)
def test_identifiers_that_name_nothing_are_a900(elements):
    assert [r.status for r in answers(get(site(FakeArchive())), 0x0010, request(elements))] == [0xA900]


def test_get_sends_on_the_contexts_in_which_the_peer_is_scp(tmp_path):
    sent = []

    async def store(sop_class, uid, syntax_uid, source):
        assert isinstance(source, FileRegion)
        assert (source.offset, source.length) == (10, 10)
        sent.append((uid, syntax_uid))
        return Response(0)

    contexts = [Context(3, CT, EXPLICIT_LE, peer_scp=True), Context(5, CT, JPEG, peer_scp=False)]
    asked = request(ONE_STUDY, contexts=contexts, store=store)
    refs = [ref(1), ref(2, syntax_uid=JPEG), ref(3, sop_class="1.9")]
    responses = answers(get(site(FakeArchive(tmp_path, refs))), 0x0010, asked)
    assert sent == [("1.2.3.1", EXPLICIT_LE)]
    assert responses[-1].status == 0xB000
    assert elements_of(responses[-1])[FAILED_UIDS].text() == "1.2.3.2\\1.2.3.3"


def test_get_without_a_context_after_all(tmp_path):
    async def store(*_):
        raise NoContext("none")

    contexts = [Context(3, CT, EXPLICIT_LE, peer_scp=True)]
    asked = request(ONE_STUDY, contexts=contexts, store=store)
    assert answers(get(site(FakeArchive(tmp_path, [ref(1)]))), 0x0010, asked)[-1].status == 0xA702


def test_proposals():
    assert [p.transfer_syntaxes for p in propose(CT, [EXPLICIT_LE, EXPLICIT_LE])] == [(EXPLICIT_LE,), (IMPLICIT_LE,)]
    assert [p.transfer_syntaxes for p in propose(CT, [JPEG])] == [(JPEG,), (EXPLICIT_LE, IMPLICIT_LE)]
    assert [p.transfer_syntaxes for p in propose(CT, [JPEG], decoding=False)] == [(JPEG,)]
    assert [p.transfer_syntaxes for p in propose(CT, [MPEG4])] == [(MPEG4,)]
    assert len(propose(CT, [JPEG, EXPLICIT_LE, IMPLICIT_LE])) == 3


@pytest.mark.parametrize(("classes", "sizes"), [(63, [126]), (64, [128]), (65, [128, 2]), (150, [128, 128, 44])])
def test_further_associations_past_128_contexts(classes, sizes):
    refs = [ref(n, sop_class=f"1.{n}") for n in range(classes)]
    batches = plan(refs, lambda one: (one.sop_class_uid, one.syntax_uid))
    assert [len(batch.proposals) for batch in batches] == sizes
    assert sum(len(batch.items) for batch in batches) == classes


@pytest.mark.parametrize(
    ("stored", "accepted", "chosen"),
    [
        (JPEG, [EXPLICIT_LE, JPEG], JPEG),
        (JPEG, [EXPLICIT_LE], None),
        (EXPLICIT_LE, [IMPLICIT_LE], IMPLICIT_LE),
        (EXPLICIT_LE, [JPEG], None),
        (IMPLICIT_LE, [], None),
        ("1.2.3.4.5", [EXPLICIT_LE], None),
    ],
)
def test_the_syntax_in_which_an_object_goes(stored, accepted, chosen):
    assert choose_syntax(stored, accepted) == chosen


PATIENT = 0x00100020


@pytest.mark.parametrize(
    ("sop_class", "extended", "elements", "wanted"),
    [
        (PATIENT_ROOT_GET, None, [(LEVEL, "CS", "PATIENT"), (PATIENT, "LO", "P 1")], [{"patient_id": "P 1"}]),
        (
            PATIENT_ROOT_GET,
            None,
            [(LEVEL, "CS", "STUDY"), (PATIENT, "LO", "P1"), (STUDY, "UI", "1.2\\1.3")],
            [{"patient_id": "P1", "study_uid": uid} for uid in ("1.2", "1.3")],
        ),
        (PATIENT_STUDY_ONLY_GET, None, [(LEVEL, "CS", "PATIENT"), (PATIENT, "LO", "P1")], [{"patient_id": "P1"}]),
        (STUDY_ROOT_GET, b"\1\0", [(LEVEL, "CS", "SERIES"), (SERIES, "UI", "1.4")], [{"series_uid": "1.4"}]),
        (PATIENT_ROOT_GET, b"\1", [(LEVEL, "CS", "IMAGE"), (INSTANCE, "UI", "1.6")], [{"sop_instance_uids": ["1.6"]}]),
        (PATIENT_ROOT_GET, None, [(LEVEL, "CS", "STUDY"), (STUDY, "UI", "1.2")], PATIENT),
        (PATIENT_ROOT_GET, None, [(LEVEL, "CS", "PATIENT")], PATIENT),
        (PATIENT_ROOT_GET, b"\1", [(LEVEL, "CS", "PATIENT"), (PATIENT, "LO", "P1\\P2")], PATIENT),
        (PATIENT_STUDY_ONLY_GET, b"\1", [(LEVEL, "CS", "SERIES"), (SERIES, "UI", "1.2")], LEVEL),
        (STUDY_ROOT_GET, b"\0\1", [(LEVEL, "CS", "SERIES"), (SERIES, "UI", "1.4")], STUDY),
    ],
)
def test_what_each_root_asks_the_archive_for(sop_class, extended, elements, wanted):
    archive = FakeArchive(refs=[ref(1)])
    responses = answers(get(site(archive)), 0x0010, request(elements, abstract_syntax=sop_class, extended=extended))
    if isinstance(wanted, int):
        assert responses[0].status == 0xA900
        assert responses[0].extra["OffendingElement"] == [wanted]
    else:
        assert archive.asked == wanted


def test_what_is_granted_of_extended_negotiation():
    negotiate = get(site(FakeArchive())).negotiate
    assert [negotiate(asked) for asked in (b"\1\1", b"\1", b"\0\0", b"", b"\2\1", b"\1\1\1")] == [
        b"\1\0", b"\1", b"\0\0", b"", b"\0\0", b"\1\0"
    ]  # fmt: skip
    assert move(site(FakeArchive())).negotiate(b"\1\1") == b"\1\0"
