"""C-STORE: the archive's outcome as a status; Verification beside it."""

from __future__ import annotations

import asyncio

import pytest
from service_fakes import FakeArchive, answers, request, site

from sagittal.archive.access import Principal
from sagittal.archive.ingest import Outcome
from sagittal.dicom.sopclasses import VERIFICATION
from sagittal.errors import NotAuthorized
from sagittal.services import ALL
from sagittal.services.site import Sender
from sagittal.services.storage import response_for, storage
from sagittal.services.verification import verification


def outcome(status: str, offending: int | None = None) -> Outcome:
    return Outcome(status, "1.2", "1.3", "1.4", "1.5", "0" * 64, (), offending)


@pytest.mark.parametrize("status", ["stored", "duplicate", "replaced"])
def test_what_is_held_is_a_success(status):
    assert response_for(outcome(status), False) == (0x0000, None, "", {})


def test_what_was_kept_is_a_warning_or_by_a_setting_a_success():
    warned = response_for(outcome("kept", 0x00100010), False)
    assert (warned.status, warned.extra) == (0xB000, {"OffendingElement": [0x00100010]})
    assert 0 < len(warned.comment) <= 64
    assert response_for(outcome("kept", 0x00100010), True).status == 0x0000
    assert response_for(outcome("kept"), False).extra == {}


class Storing(FakeArchive):
    """Gives out one transfer and notes what it is told."""

    def store_begin(self, principal, source, **command):
        self.asked.append((principal, source, command))
        return self

    written: list

    def write(self, fragments, last=False):
        self.asked.append(fragments)

    def ready(self):
        return None

    def discard(self):
        self.asked.append("discarded")

    async def commit(self):
        return outcome("stored")


def test_the_transfer_gets_what_the_command_and_the_association_say():
    archive = Storing()
    service = storage(site(archive, sender=lambda aet: Sender("refuse", "HOSP", "ISO_IR 100", "+0100")))
    asked = request(command={"AffectedSOPClassUID": "1.2", "AffectedSOPInstanceUID": "1.3"}, syntax_uid="1.9")
    assert service.store is not None
    sink = service.store(asked)
    (_, source, command) = archive.asked[0]
    assert (source.kind, source.calling_aet, source.called_aet, source.policy) == (
        "dimse",
        "TEST",
        "SAGITTAL",
        "refuse",
    )
    assert (source.issuer_of_patient_id, source.character_set, source.timezone) == ("HOSP", "ISO_IR 100", "+0100")
    assert command == {"syntax_uid": "1.9", "sop_class_uid": "1.2", "sop_instance_uid": "1.3"}
    sink.write([memoryview(b"x")])
    assert archive.asked[1] == [memoryview(b"x")]
    assert asyncio.run(sink.finish()).status == 0x0000
    sink.abort()
    assert archive.asked[-1] == "discarded"


@pytest.mark.parametrize(
    ("sop_class", "taken"),
    [
        ("1.2.840.10008.5.1.4.1.1.2", True),
        ("1.2.3.4.5", True),
        (VERIFICATION, False),
        ("1.2.840.10008.5.1.4.31", False),
    ],
)
def test_which_classes_are_stored(sop_class, taken):
    assert storage(site(FakeArchive())).covers(sop_class) is taken


def test_st_2110_and_jpip_are_not_taken_for_storage():
    service = storage(site(FakeArchive()))
    assert not service.syntaxes("1.2.840.10008.1.2.7.1")
    assert not service.syntaxes("1.2.840.10008.1.2.4.94")
    assert service.syntaxes("1.2.840.10008.1.2.4.90")
    assert service.syntaxes("1.2.3.4")


def test_echo():
    assert [r.status for r in answers(verification(site(FakeArchive())), 0x0030, request())] == [0x0000]
    with pytest.raises(NotAuthorized):
        answers(verification(site(FakeArchive())), 0x0030, request(principal=Principal("x", "node", frozenset())))


def test_no_class_is_served_twice():
    services = [make(site(FakeArchive())) for make in ALL]
    listed = [uid for service in services if not callable(service.sop_classes) for uid in service.sop_classes]
    assert len(listed) == len(set(listed))
    assert not [uid for uid in listed if services[1].covers(uid)]
