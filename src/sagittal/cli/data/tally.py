"""What became of objects, one after the other, as `backup`, `restore` and `reindex` tell it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from sagittal.cli.output import progress, result


class Told(Protocol):
    """One object: its key, and what is wrong with it, if anything is."""

    @property
    def key(self) -> str: ...
    @property
    def error(self) -> str: ...
    def _asdict(self) -> dict[str, Any]: ...


class Tally:
    """How many went well, and how many did not, each of which is told."""

    def __init__(self, as_json: bool, advance: Callable[[int], None]) -> None:
        self.done = self.failed = 0
        self._as_json, self._advance = as_json, advance

    def add(self, told: Told) -> None:
        """One more."""
        self._advance(1)
        if not told.error:
            self.done += 1
            return
        self.failed += 1
        result(self._as_json, told._asdict(), f"{told.key}\t{told.error}")

    def close(self, **counts: int) -> int:
        """The last row of `--json`, `counts` where they are others than these; the exit status."""
        if self._as_json:
            result(True, counts or {"objects": self.done, "failed": self.failed})
        return 1 if self.failed else 0


@contextmanager
def tallied(what: str, as_json: bool) -> Iterator[Tally]:
    """A tally, with a bar of progress that says `what` goes on."""
    with progress(what, None) as advance:
        yield Tally(as_json, advance)
