"""Command sets that break the rules, and responses made from requests."""

from __future__ import annotations

import pytest
from pynetdicom import status as peer

from sagittal.dimse import commands, status
from sagittal.dimse.commands import InvalidCommand
from sagittal.errors import IdentifierMismatch, SagittalError


@pytest.mark.parametrize("data", [b"\0", b"\0\0\2\0\4\0\0\0ab", b"\0\0\2\0\xff\xff\xff\xff"])
def test_bytes_that_are_no_command_set(data: bytes) -> None:
    with pytest.raises(InvalidCommand):
        commands.decode(data)


def test_retired_and_unknown_elements_are_skipped() -> None:
    data = commands.encode({"MessageID": 5}) + b"\0\0\x50\x03\4\0\0\0abcd"
    assert commands.decode(data) == {"MessageID": 5}


def test_elements_of_other_groups_are_skipped() -> None:
    """Orthanc 1.10 puts Failed SOP Instance UID List behind the command of a C-GET response, and says "no data set"."""
    said = {"CommandField": 0x8010, "MessageIDBeingRespondedTo": 1, "CommandDataSetType": 0x0101, "Status": 0xC000}
    listed = b"\x08\0\0\0\4\0\0\0\x0c\0\0\0" + b"\x08\0\x58\0\4\0\0\0001.2\0"
    command = commands.decode(commands.encode(said) + listed)
    assert command == said
    assert commands.check(command).name == "C-GET-RSP"


@pytest.mark.parametrize("value", [b"", b"\0"])
def test_a_number_without_a_value_is_missing(value: bytes) -> None:
    """A status that isn't said is no success."""
    said = commands.encode({"CommandField": 0x8001, "MessageIDBeingRespondedTo": 5, "CommandDataSetType": 0x0101})
    command = commands.decode(said + b"\0\0\0\x09" + bytes((len(value), 0, 0, 0)) + value)
    assert "Status" not in command
    with pytest.raises(InvalidCommand, match="without Status"):
        commands.check(command)


def test_texts_lose_padding_and_cannot_add_values() -> None:
    data = commands.encode(
        {"AffectedSOPClassUID": "1.2.3", "ErrorComment": "a\\b\n" + "x" * 99, "MoveDestination": "AE"}
    )
    decoded = commands.decode(data)
    assert decoded["AffectedSOPClassUID"] == "1.2.3"
    assert decoded["ErrorComment"] == "a?b?" + "x" * 60
    assert decoded["MoveDestination"] == "AE"


@pytest.mark.parametrize("command", [{}, {"CommandField": 0x4711}, {"CommandField": 0x30, "MessageID": 1}])
def test_commands_that_cannot_be_answered(command: dict[str, int]) -> None:
    with pytest.raises(InvalidCommand):
        commands.check(command)


def test_a_response_names_what_the_request_named() -> None:
    request = {"RequestedSOPClassUID": "1.2", "RequestedSOPInstanceUID": "1.3", "CommandField": 0x130, "MessageID": 9,
               "ActionTypeID": 2, "CommandDataSetType": 1}  # fmt: skip
    assert commands.response_to(request, 0x0110, data_set=True) == {
        "AffectedSOPClassUID": "1.2", "AffectedSOPInstanceUID": "1.3", "CommandField": 0x8130, "ActionTypeID": 2,
        "MessageIDBeingRespondedTo": 9, "CommandDataSetType": 1, "Status": 0x0110,
    }  # fmt: skip


@pytest.mark.parametrize(("code", "kind"), [
    (0, "success"), (1, "warning"), (0xFF00, "pending"), (0xFF01, "pending"), (0xFE00, "cancel"), (0xB000, "warning"),
    (0xB123, "warning"), (0xA700, "failure"), (0xA9FF, "failure"), (0xC123, "failure"), (0x0107, "warning"),
    (0x0110, "failure"), (0x7777, "failure"),
])  # fmt: skip
def test_the_class_of_a_status(code: int, kind: str) -> None:
    assert status.kind(code) == kind
    assert (status.words(code) == "Unknown status") == (code == 0x7777)
    assert status.is_pending(code) == (kind == "pending")


@pytest.mark.parametrize("code", [0x0122, 0x0124, 0xA700, 0xA701, 0xA702, 0xA801])
def test_what_the_standard_calls_refused(code: int) -> None:
    assert status.is_refusal(code)
    assert not any(map(status.is_refusal, (0, 0x0110, 0xA900, 0xAA00, 0xB000, 0xC000, 0xFE00, 0x7777)))


def test_statuses_are_of_the_class_that_pynetdicom_has_them_in() -> None:
    """Of every service class, whole ranges too (PS3.4 B.2.3: A7xx is refused, A9xx a data set that does not match)."""
    for name, table in vars(peer).items():
        if name.endswith("_STATUS"):
            for code, (kind, text) in table.items():
                assert status.kind(code) == kind.lower(), (name, f"{code:04X}")
                assert status.is_refusal(code) or not text.startswith("Refused"), (name, f"{code:04X}")
    assert status.words(0xA9FF) == status.words(0xA900) != status.words(0xAA00)


def test_errors_become_statuses() -> None:
    assert status.of_error(IdentifierMismatch("no UID")) == (0xA900, "no UID")
    assert status.of_error(SagittalError("x"))[0] == 0x0110
