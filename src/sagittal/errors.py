"""The error tree.

Every class carries the DIMSE status (PS3.7 Annex C, PS3.4 B.2.3) and the HTTP status (PS3.18) it answers with; the two
are put on the wire in two places only (`dimse.status`, `web.app`). A text in an error is for a person at the other end:
it names the element, the limit or the setting, and never a path of this machine.
"""

from __future__ import annotations

import re


class SagittalError(Exception):
    """Anything the archive refuses or fails at, on purpose."""

    dimse_status = 0x0110  # Processing failure
    http_status = 500

    def __init__(self, text: str = "") -> None:
        super().__init__(text or type(self).__doc__ or type(self).__name__)
        self.text = str(self)


class UsageError(SagittalError):
    """The command line or the configuration cannot be used."""

    http_status = 400


class BadRequest(SagittalError):
    """The request does not follow PS3.18 or PS3.4."""

    dimse_status = 0xC000  # Unable to process
    http_status = 400


class NotAuthenticated(SagittalError):
    """No valid credentials were given."""

    dimse_status = 0x0124
    http_status = 401


class NotAuthorized(SagittalError):
    """The principal may not do this."""

    dimse_status = 0x0124
    http_status = 403


class NotFound(SagittalError):
    """No such resource."""

    dimse_status = 0x0112  # No such SOP Instance
    http_status = 404


class Gone(NotFound):
    """The resource was deleted."""

    http_status = 410


class NotAcceptable(SagittalError):
    """No representation that the requestor accepts can be made."""

    dimse_status = 0x0122
    http_status = 406


class PixelsUndecodable(NotAcceptable):
    """The pixel data cannot be decoded: damaged, or of a kind that no codec here reads. It can be had as stored."""


class UnsupportedMedia(SagittalError):
    """The payload is of a media type that this resource does not take."""

    http_status = 415


class PreconditionFailed(SagittalError):
    """What is there now is not what the request is meant for."""

    http_status = 412


class RangeNotSatisfiable(SagittalError):
    """The range that is asked for lies outside of what there is."""

    http_status = 416


class LimitExceeded(SagittalError):
    """A limit was exceeded; the text names it."""

    dimse_status = 0xA700  # Out of resources
    http_status = 413


class Malformed(SagittalError):
    """The bytes break the encoding rules of PS3.5 or PS3.10.

    `defect` is a row of the policy table (`dicom.defects`), `offset` the byte of the data set where it was seen.
    """

    dimse_status = 0xC000  # Cannot understand
    http_status = 409

    def __init__(self, defect: str, text: str, offset: int | None = None) -> None:
        super().__init__(text if offset is None else f"{text} (at byte {offset})")
        self.defect = defect
        self.offset = offset


class IdentifierMismatch(SagittalError):
    """A UID is missing, empty, invalid or differs from the command."""

    dimse_status = 0xA900
    http_status = 409


class DataSetMismatch(SagittalError):
    """The data set lacks what its SOP class needs, or contradicts its bulk data."""

    dimse_status = 0xA900
    http_status = 409


class DuplicateInstance(SagittalError):
    """Another content is held under this SOP Instance UID and the policy is to refuse."""

    dimse_status = 0x0111
    http_status = 409


class StorageUnavailable(SagittalError):
    """The storage or the index cannot make anything durable at the moment."""

    dimse_status = 0xA700
    http_status = 503


class Busy(SagittalError):
    """Too much is under way; ask again later."""

    dimse_status = 0xA700
    http_status = 503


PASSING = (Busy, StorageUnavailable)  # about the server and the moment: later it may be otherwise


class WorkerLost(SagittalError):
    """The process that worked on this crashed or was ended; nothing else was harmed."""


class DirectoryHeld(SagittalError):
    """Another process has the data directory open."""

    http_status = 503


class UnknownDestination(SagittalError):
    """The move destination is not a configured node."""

    dimse_status = 0xA801
    http_status = 400


class DamagedObject(SagittalError):
    """The bytes on the volume are not those that were stored."""


class PeerError(SagittalError):
    """A peer refused or could not be reached (exit status 3)."""

    http_status = 502


class PeerUnreachable(PeerError):
    """No connection to the peer could be made."""


class PeerRefused(PeerError):
    """The peer rejected or aborted the association, or refused the request."""


def words_of(error: Exception) -> str:
    """What an error says to a person: of one of the system's its words, without the number and the path; of one that
    says nothing its name, as words (read timeout).
    """
    name = re.sub(r"\B(?=[A-Z][a-z])", " ", type(error).__name__).lower()
    return getattr(error, "strerror", None) or str(error) or name
