"""How queries, retrievals and stores end: what is told of each instance, and the counts."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sagittal.dimse.status import is_refusal, kind
from sagittal.errors import SagittalError


class Unanswered(SagittalError):
    """The peer ended an operation with a failure."""


class Absent(Unanswered):
    """There is no such resource."""

    dimse_status = 0x0112


@dataclass(frozen=True, slots=True)
class Stored:
    """What became of one file: `status` is DIMSE's (four digits) or STOW-RS's failure reason; "" if never sent.

    `file` is `object 2` of what was no file and the second that was given.
    """

    file: Path
    sop_instance_uid: str = ""
    status: str = ""
    comment: str = ""

    @property
    def outcome(self) -> str:
        """success, warning or failure."""
        found = kind(int(self.status, 16)) if self.status else "failure"
        return found if found in ("success", "warning") else "failure"

    @property
    def failed(self) -> bool:
        return self.outcome == "failure"


@dataclass
class Retrieved:
    """The counts of a retrieval, as the peer tells them."""

    status: int = 0x0110
    comment: str = "no final response"
    completed: int = 0
    warnings: int = 0
    failed: int = 0
    failed_uids: list[str] = field(default_factory=list)

    @classmethod
    def nothing(cls) -> Retrieved:
        """Nothing matched: a success (PS3.4 C.4.3.1.4), as it is for a query. Further outcomes may be added."""
        return cls(0x0000, "")

    @property
    def whole(self) -> bool:
        """Whether everything that was asked for came."""
        return self.status in (0x0000, 0xB000) and not self.failed

    @property
    def refused(self) -> bool:
        """Whether the peer refused the request as a whole, and did nothing."""
        return is_refusal(self.status) and not (self.completed or self.warnings or self.failed)

    def came_later(self, received: Collection[str], since: int = 0) -> None:
        """What failed and has been received is no failure any more; of a peer that doesn't list what failed, the number
        of those that came `since` tells how many.
        """
        left = [uid for uid in self.failed_uids if uid not in received]
        came = len(self.failed_uids) - len(left) if self.failed_uids else min(since, self.failed)
        if came:
            self.failed_uids, self.failed = left, max(self.failed - came, len(left))
            self.completed += came
            self.status = 0xB000 if self.failed or self.warnings else 0x0000
            self.comment = self.comment if self.failed else ""

    def came(self, count: int) -> None:
        """So many came; what the peer counts as completed beyond them has failed. There are peers that don't count."""
        counted = self.completed + self.warnings
        if not counted and not self.failed:
            self.completed = count
        elif counted > count:
            self.warnings = min(self.warnings, count)
            self.failed, self.completed = self.failed + counted - count, count - self.warnings
            self.status = self.status or 0xB000
            self.comment = self.comment or f"the peer counts {counted} as completed, {count} came"

    def lost(self, uids: Collection[str]) -> None:
        """These were sent and could not be kept: they failed, also where the peer counts them as completed."""
        told = len(self.failed_uids)
        self.failed_uids += sorted(set(uids).difference(self.failed_uids))
        more = max(0, len(self.failed_uids) - self.failed)
        if len(self.failed_uids) > told and more:
            self.failed, self.completed = self.failed + more, max(0, self.completed - more)
            self.status = self.status or 0xB000
            self.comment = self.comment or "what was sent could not be kept"

    def add(self, other: Retrieved) -> None:
        """The outcome of a further request counts with this one; the worse status stays."""
        self.completed, self.warnings = self.completed + other.completed, self.warnings + other.warnings
        self.failed, self.failed_uids = self.failed + other.failed, self.failed_uids + other.failed_uids
        if self.status in (0x0000, 0xB000) and other.status not in (0x0000, self.status):
            self.status, self.comment = other.status, other.comment
        self.comment = self.comment or other.comment

    def row(self) -> dict[str, Any]:
        return {
            "status": f"{self.status:04X}",
            "completed": self.completed,
            "warnings": self.warnings,
            "failed": self.failed,
            "failed_uids": self.failed_uids,
            "comment": self.comment,
        }
