"""What every archive can be asked, whatever it speaks. Deliberately not here: reaching one (`opening`)."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from sagittal.client.keys import UIDS, Question, Tree, parse_keys
from sagittal.client.outcome import Retrieved, Stored
from sagittal.client.storing.files import ObjectFile
from sagittal.client.storing.rewrite import Changes
from sagittal.dicom.models.jsontext import first_value
from sagittal.errors import PeerError, UsageError

Arrived = Callable[[Path, str], None]
"""Hears of each file that is complete, and its SOP Instance UID."""
Remark = Callable[[str], None]
_UIDS_MAX = 1_000  # of 64 characters, in a list: in explicit VR a UI has 16 bits for its length


class Remote(Protocol):
    """An archive, reached."""

    def find(self, question: Question) -> AsyncGenerator[dict[str, Any], None]:
        """Each match as a DICOM JSON object. Closing early tells the peer to stop."""

    async def get(self, question: Question, out: Path, arrived: Arrived) -> Retrieved:
        """Retrieve what unique keys name (`named`) into a folder."""

    def store(self, files: Sequence[ObjectFile], sending: Sending) -> AsyncIterator[Stored]:
        """Send files; an answer for each, as they come."""


@dataclass(frozen=True, slots=True)
class Sending:
    """How files are sent."""

    changes: Changes = field(default_factory=Changes)
    associations: int = 1  # or connections, at one time
    window: int = 1  # operations outstanding on one association
    syntaxes: tuple[str, ...] = ()  # proposed instead of those that the files have; DIMSE only
    proposals: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # the same for one SOP class
    transcode: bool = True  # what the peer does not take in its own syntax, without loss; DIMSE only
    halt: bool = False  # end with the first failure
    study: str = ""  # STOW-RS into this study only

    def __post_init__(self) -> None:
        """UsageError where nobody would send."""
        if self.associations < 1:
            raise UsageError(f"at least one association is wanted, not {self.associations}")


async def named(remote: Remote, question: Question) -> list[Question]:
    """Questions whose keys are unique keys only, and lists of them: keys of another kind are looked up first."""
    if not any(question.keys.values()):
        raise UsageError("name what to retrieve, by StudyInstanceUID for instance")
    if question.model != "study":
        return [question]
    chain = list(UIDS.values())[: list(UIDS).index(question.level) + 1]
    wanted = {tag: value for tag, value in question.keys.items() if value}
    if _is_named(wanted, chain) and (question.relational or wanted.keys() == set(chain)):
        return _parts(question, wanted, chain[-1], str(wanted[chain[-1]]).split("\\"))
    asked = parse_keys(f"{tag:08X}" for tag in chain) | dict(question.keys)
    found: dict[tuple[str, ...], dict[str, None]] = {}
    async with aclosing(remote.find(replace(question, keys=asked))) as matches:
        async for match in matches:
            uids = [str(first_value(match, f"{tag:08X}") or wanted.get(tag, "")) for tag in chain]
            if not uids[-1]:
                raise PeerError("the peer answered a match without its unique key, which cannot be retrieved")
            found.setdefault(tuple(uids[:-1]), {})[uids[-1]] = None
    return [
        part
        for above, below in found.items()
        for part in _parts(question, dict(zip(chain, above, strict=False)), chain[-1], list(below))
    ]


def _parts(question: Question, keys: Tree, tag: int, uids: Sequence[str]) -> list[Question]:
    """With these keys and as many of the UIDs as one list takes: peers read a longer one, which comes as UN, as no key
    at all, and send all they have.
    """
    lists = ("\\".join(uids[at : at + _UIDS_MAX]) for at in range(0, len(uids), _UIDS_MAX))
    return [replace(question, keys={**keys, tag: one}) for one in lists]


def _is_named(wanted: Tree, chain: Sequence[int]) -> bool:
    """Whether these are UIDs and nothing else: one at each level above, perhaps a list at its own."""
    for tag, value in wanted.items():
        if tag not in chain or not isinstance(value, str) or "*" in value or "?" in value:
            return False
        if "\\" in value and tag != chain[-1]:
            return False
    return chain[-1] in wanted
