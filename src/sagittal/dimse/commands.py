"""Command sets: PS3.7 Annex E as tables, and their encoding (Implicit VR Little Endian, 6.3.1).

ELEMENTS is Table E.1-1, MESSAGES the command fields with the elements each requires (sections 9.3 and 10.3). Decoding
keeps what it knows of group 0000 and skips the rest (retired elements, other groups). A few microseconds a message:
every stored object pays it twice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from struct import Struct, error, pack, unpack
from typing import Any, NamedTuple

from sagittal.errors import SagittalError

# Element number in group 0000, VR, keyword.
ELEMENTS = """
0002 UI AffectedSOPClassUID
0003 UI RequestedSOPClassUID
0100 US CommandField
0110 US MessageID
0120 US MessageIDBeingRespondedTo
0600 AE MoveDestination
0700 US Priority
0800 US CommandDataSetType
0900 US Status
0901 AT OffendingElement
0902 LO ErrorComment
0903 US ErrorID
1000 UI AffectedSOPInstanceUID
1001 UI RequestedSOPInstanceUID
1002 US EventTypeID
1005 AT AttributeIdentifierList
1008 US ActionTypeID
1020 US NumberOfRemainingSuboperations
1021 US NumberOfCompletedSuboperations
1022 US NumberOfFailedSuboperations
1023 US NumberOfWarningSuboperations
1030 AE MoveOriginatorApplicationEntityTitle
1031 US MoveOriginatorMessageID
"""

# Command field, name, required elements besides Command Field, Message ID (Being Responded To), Command Data Set Type
# and, in responses, Status.
MESSAGES = """
0001 C-STORE-RQ AffectedSOPClassUID Priority AffectedSOPInstanceUID
8001 C-STORE-RSP
0010 C-GET-RQ AffectedSOPClassUID Priority
8010 C-GET-RSP
0020 C-FIND-RQ AffectedSOPClassUID Priority
8020 C-FIND-RSP
0021 C-MOVE-RQ AffectedSOPClassUID Priority MoveDestination
8021 C-MOVE-RSP
0030 C-ECHO-RQ AffectedSOPClassUID
8030 C-ECHO-RSP
0FFF C-CANCEL-RQ
0100 N-EVENT-REPORT-RQ AffectedSOPClassUID AffectedSOPInstanceUID EventTypeID
8100 N-EVENT-REPORT-RSP
0110 N-GET-RQ RequestedSOPClassUID RequestedSOPInstanceUID
8110 N-GET-RSP
0120 N-SET-RQ RequestedSOPClassUID RequestedSOPInstanceUID
8120 N-SET-RSP
0130 N-ACTION-RQ RequestedSOPClassUID RequestedSOPInstanceUID ActionTypeID
8130 N-ACTION-RSP
0140 N-CREATE-RQ AffectedSOPClassUID
8140 N-CREATE-RSP
0150 N-DELETE-RQ RequestedSOPClassUID RequestedSOPInstanceUID
8150 N-DELETE-RSP
"""

C_STORE_RQ, C_GET_RQ, C_FIND_RQ, C_MOVE_RQ, C_ECHO_RQ, C_CANCEL_RQ = 0x0001, 0x0010, 0x0020, 0x0021, 0x0030, 0x0FFF
N_EVENT_REPORT_RQ, N_GET_RQ, N_SET_RQ, N_ACTION_RQ, N_CREATE_RQ, N_DELETE_RQ = 0x100, 0x110, 0x120, 0x130, 0x140, 0x150
RESPONSE = 0x8000
NO_DATA_SET, WITH_DATA_SET = 0x0101, 0x0001
MEDIUM_PRIORITY = 0x0000


class InvalidCommand(SagittalError):
    """A command set breaks PS3.7."""

    dimse_status = 0x0212  # Mistyped argument


class Message(NamedTuple):
    """A row of MESSAGES. Nothing can be done, not even answered, without `essential`."""

    name: str
    essential: tuple[str, ...]
    required: tuple[str, ...]


def _read_messages() -> dict[int, Message]:
    table = {}
    for line in MESSAGES.strip().splitlines():
        field, name, *required = line.split()
        common = ["CommandField", "CommandDataSetType"]
        if name == "C-CANCEL-RQ":
            common.append("MessageIDBeingRespondedTo")
        elif name.endswith("-RQ"):
            common.append("MessageID")
        else:
            common += ["MessageIDBeingRespondedTo", "Status"]
        table[int(field, 16)] = Message(name, tuple(common), tuple(required))
    return table


MESSAGE = _read_messages()


def _text(value: bytes) -> str:
    return value.decode("latin-1").strip(" \0")


def _number(value: bytes) -> int:
    return int.from_bytes(value[:2], "little")


def _tags(value: bytes) -> list[int]:
    words = unpack(f"<{len(value) // 4 * 2}H", value[: len(value) // 4 * 4])
    return [group << 16 | element for group, element in zip(words[::2], words[1::2], strict=True)]


def _uid_bytes(value: Any) -> bytes:
    text = str(value).encode("latin-1", "replace")
    return text + b"\0" if len(text) & 1 else text


def _padded(value: Any, length_max: int) -> bytes:
    # No character set can be named in a command set, and a backslash would make two values of one (PS3.5 6.2).
    text = "".join(c if " " <= c <= "~" and c != "\\" else "?" for c in str(value))[:length_max].encode("ascii")
    return text + b" " if len(text) & 1 else text


def _tag_bytes(value: Any) -> bytes:
    return b"".join(pack("<HH", tag >> 16, tag & 0xFFFF) for tag in ([value] if isinstance(value, int) else value))


_DECODE: dict[str, Callable[[bytes], Any]] = {"UI": _text, "US": _number, "AE": _text, "LO": _text, "AT": _tags}
_ENCODE: dict[str, Callable[[Any], bytes]] = {
    "UI": _uid_bytes,
    "US": Struct("<H").pack,
    "AE": lambda value: _padded(value, 16),
    "LO": lambda value: _padded(value, 64),
    "AT": _tag_bytes,
}
_ROWS = [line.split() for line in ELEMENTS.strip().splitlines()]
# With the bytes that a value has at the least: a number without any is none, and least of all the status 0000.
_BY_NUMBER = {int(number, 16): (keyword, _DECODE[vr], 2 if vr == "US" else 0) for number, vr, keyword in _ROWS}
_BY_KEYWORD = {
    keyword: (order, pack("<HH", 0, int(number, 16)), _ENCODE[vr]) for order, (number, vr, keyword) in enumerate(_ROWS)
}
_ORDER = {keyword: order for keyword, (order, _, _) in _BY_KEYWORD.items()}
_HEADER = Struct("<HHL")
_LENGTHS = [pack("<L", length) for length in range(66)]  # of nearly all values


def decode(data: bytes) -> dict[str, Any]:
    """The command set by keyword. InvalidCommand if it is no list of elements that ends with `data`.

    Elements of other groups mean nothing here; Orthanc puts the list of what failed in a C-GET behind those of 0000.
    """
    command: dict[str, Any] = {}
    position, end, known = 0, len(data), _BY_NUMBER
    try:
        while position < end:
            group, number, length = _HEADER.unpack_from(data, position)
            position += 8
            stop = position + length
            if stop > end:
                raise InvalidCommand(f"element ({group:04X},{number:04X}) of {length} bytes in a command set")
            row = None if group else known.get(number)
            if row is not None and length >= row[2]:
                command[row[0]] = row[1](data[position:stop])
            position = stop
    except error:
        raise InvalidCommand("a command set ends inside an element") from None
    return command


def encode(command: Mapping[str, Any]) -> bytes:
    """The command set's bytes, group length first, elements in order of their tags."""
    parts: list[bytes] = []
    for keyword in sorted(command, key=_ORDER.__getitem__):
        _, tag, convert = _BY_KEYWORD[keyword]
        value = convert(command[keyword])
        length = len(value)
        parts += (tag, _LENGTHS[length] if length < 66 else pack("<L", length), value)
    body = b"".join(parts)
    return b"\0\0\0\0\4\0\0\0" + pack("<L", len(body)) + body


def check(command: Mapping[str, Any]) -> Message:
    """The row of this command; InvalidCommand for an unknown Command Field or a missing essential element."""
    field = command.get("CommandField")
    row = MESSAGE.get(field) if field is not None else None
    if row is None:
        raise InvalidCommand(f"unknown Command Field {field:04X}H" if field is not None else "no Command Field")
    for keyword in row.essential:
        if keyword not in command:
            raise InvalidCommand(f"{row.name} without {keyword}")
    return row


_RESPONSE_UIDS = (
    ("AffectedSOPClassUID", "AffectedSOPClassUID"),
    ("RequestedSOPClassUID", "AffectedSOPClassUID"),
    ("AffectedSOPInstanceUID", "AffectedSOPInstanceUID"),
    ("RequestedSOPInstanceUID", "AffectedSOPInstanceUID"),
)


def response_to(request: Mapping[str, Any], status: int, *, data_set: bool = False) -> dict[str, Any]:
    """The command set of a response, to be completed by the caller."""
    response = {answer: request[asked] for asked, answer in _RESPONSE_UIDS if asked in request}
    response["CommandField"] = request["CommandField"] | RESPONSE
    response["MessageIDBeingRespondedTo"] = request["MessageID"]
    response["CommandDataSetType"] = WITH_DATA_SET if data_set else NO_DATA_SET
    response["Status"] = status
    for keyword in ("EventTypeID", "ActionTypeID"):
        if keyword in request:
            response[keyword] = request[keyword]
    return response
