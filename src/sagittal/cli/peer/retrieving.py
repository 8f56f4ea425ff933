"""What `get` and `move` have in common: the identifier, the responses and how they end."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Set
from typing import Any, TypeVar

import click

from sagittal.cli.output import say
from sagittal.cli.peer.options import LEVELS, level_of, parse_keys, read_response
from sagittal.dimse.service import Response
from sagittal.errors import UsageError

F = TypeVar("F", bound=Callable[..., Any])
FAILED_UIDS = 0x00080058


def key_options(command: F) -> F:
    """Which instances: `-L`, `-k`."""
    command = click.option("-k", "--key", "keys", multiple=True, required=True, metavar="KEY=UID", help="Repeatable.")(
        command
    )
    return click.option("-L", "--level", type=click.Choice(LEVELS[1:]), help="[lowest level with a key]")(command)


def keys_and_level(keys: tuple[str, ...], level: str | None) -> tuple[dict[int, str], str]:
    """The keys, and the level they mean."""
    wanted = parse_keys(keys)
    if not any(wanted.values()):
        raise UsageError("name what to retrieve: -k StudyInstanceUID=…")
    return wanted, level or level_of(wanted)


class Outcome:
    """The counts of the sub-operations, as the peer tells them."""

    def __init__(self) -> None:
        self.status, self.comment = 0x0110, "no final response"
        self.completed = self.warnings = self.failed = 0
        self.failed_uids: list[str] = []

    async def follow(self, responses: AsyncIterator[Response], syntax_uid: str, step: Callable[[int], None]) -> None:
        """Read to the final response; `step` hears how many more are done."""
        async for response in responses:
            before = self.completed + self.warnings + self.failed
            counts = response.extra
            self.completed = counts.get("NumberOfCompletedSuboperations", self.completed)
            self.warnings = counts.get("NumberOfWarningSuboperations", self.warnings)
            self.failed = counts.get("NumberOfFailedSuboperations", self.failed)
            step(self.completed + self.warnings + self.failed - before)
            if response.status != 0xFF00:
                self.status, self.comment = response.status, response.comment
                failed = read_response(response.data_set, syntax_uid).get(FAILED_UIDS, "")
                self.failed_uids = [uid for uid in failed.split("\\") if uid]

    def came_later(self, received: Set[str]) -> None:
        """What failed and has been received since is no failure any more."""
        left = [uid for uid in self.failed_uids if uid not in received]
        came = len(self.failed_uids) - len(left)
        if came:
            self.failed_uids, self.failed, self.completed = left, self.failed - came, self.completed + came
            self.status = 0xB000 if self.failed or self.warnings else 0x0000
            self.comment = self.comment if self.failed else ""

    def row(self) -> dict[str, Any]:
        return {
            "status": f"{self.status:04X}",
            "completed": self.completed,
            "warnings": self.warnings,
            "failed": self.failed,
            "failed_uids": self.failed_uids,
            "comment": self.comment,
        }

    def report(self) -> int:
        """Say how it went; the exit status."""
        say(f"{self.completed} completed, {self.warnings} with a warning, {self.failed} failed")
        for uid in self.failed_uids:
            say(f"failed: {uid}")
        if self.status in (0x0000, 0xB000) and not self.failed:
            return 0
        say(f"the peer ended with {self.status:04X}" + (f": {self.comment}" if self.comment else ""))
        return 1
