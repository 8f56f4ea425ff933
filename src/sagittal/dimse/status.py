"""DIMSE statuses: PS3.7 Annex C, and the ranges services use (PS3.4 B.2.3, C.4). What a code means, class and words."""

from __future__ import annotations

from typing import Literal

from sagittal.errors import SagittalError

Kind = Literal["success", "pending", "cancel", "warning", "failure"]

SUCCESS = 0x0000
CANCEL = 0xFE00
PENDING = 0xFF00
PENDING_WARNING = 0xFF01  # optional keys not supported
UNRECOGNIZED_OPERATION = 0x0211
DUPLICATE_INVOCATION = 0x0210
MISTYPED_ARGUMENT = 0x0212
PROCESSING_FAILURE = 0x0110

# Code, last code of the range, class, text. First hit counts.
TABLE: tuple[tuple[int, int, Kind, str], ...] = (
    (0x0000, 0x0000, "success", "Success"),
    (0x0001, 0x0001, "warning", "Requested optional attributes are not supported"),
    (0x0105, 0x0105, "failure", "No such attribute"),
    (0x0106, 0x0106, "failure", "Invalid attribute value"),
    (0x0107, 0x0107, "warning", "Attribute list error"),
    (0x0110, 0x0110, "failure", "Processing failure"),
    (0x0111, 0x0111, "failure", "Duplicate SOP Instance"),
    (0x0112, 0x0112, "failure", "No such SOP Instance"),
    (0x0113, 0x0113, "failure", "No such event type"),
    (0x0114, 0x0114, "failure", "No such argument"),
    (0x0115, 0x0115, "failure", "Invalid argument value"),
    (0x0116, 0x0116, "warning", "Attribute value out of range"),
    (0x0117, 0x0117, "failure", "Invalid SOP Instance"),
    (0x0118, 0x0118, "failure", "No such SOP Class"),
    (0x0119, 0x0119, "failure", "Class-instance conflict"),
    (0x0120, 0x0120, "failure", "Missing attribute"),
    (0x0121, 0x0121, "failure", "Missing attribute value"),
    (0x0122, 0x0122, "failure", "Refused: SOP Class not supported"),
    (0x0123, 0x0123, "failure", "No such action type"),
    (0x0124, 0x0124, "failure", "Refused: not authorized"),
    (0x0210, 0x0210, "failure", "Duplicate invocation"),
    (0x0211, 0x0211, "failure", "Unrecognized operation"),
    (0x0212, 0x0212, "failure", "Mistyped argument"),
    (0x0213, 0x0213, "failure", "Resource limitation"),
    (0xA701, 0xA701, "failure", "Refused: out of resources, unable to calculate number of matches"),
    (0xA702, 0xA702, "failure", "Refused: out of resources, unable to perform sub-operations"),
    (0xA700, 0xA7FF, "failure", "Refused: out of resources"),
    (0xA801, 0xA801, "failure", "Refused: move destination unknown"),
    (0xA900, 0xA9FF, "failure", "Data set or identifier does not match SOP Class"),
    (0xAA00, 0xAA04, "failure", "Refused by the retrieve service"),
    (0xA000, 0xAFFF, "failure", "Refused or failed"),
    (0xB000, 0xB000, "warning", "Coercion of data elements, or sub-operations complete with failures"),
    (0xB006, 0xB006, "warning", "Elements discarded"),
    (0xB007, 0xB007, "warning", "Data set does not match SOP Class"),
    (0xB000, 0xBFFF, "warning", "Warning"),
    (0xC000, 0xCFFF, "failure", "Unable to process"),
    (0xFE00, 0xFE00, "cancel", "Terminated due to a cancel request"),
    (0xFF00, 0xFF00, "pending", "Pending"),
    (0xFF01, 0xFF01, "pending", "Pending; optional keys are not supported"),
)


def kind(status: int) -> Kind:
    """The class of a status; an unknown one is a failure (PS3.7 C.1)."""
    return next((row[2] for row in TABLE if row[0] <= status <= row[1]), "failure")


def words(status: int) -> str:
    """What it means, for a person."""
    return next((row[3] for row in TABLE if row[0] <= status <= row[1]), "Unknown status")


def is_refusal(status: int) -> bool:
    """Whether it is one that the Standard calls refused: not allowed, no resources, or a move destination unknown."""
    return words(status).startswith("Refused:")


def is_pending(status: int) -> bool:
    return status in (PENDING, PENDING_WARNING)


def of_error(error: SagittalError) -> tuple[int, str]:
    """Status and Error Comment of an error: the one place where the error tree meets DIMSE."""
    return error.dimse_status, error.text
