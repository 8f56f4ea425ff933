"""What every command does with its output: results on stdout, all else on stderr, progress only for a person."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import click

from sagittal.errors import SagittalError

T = TypeVar("T")

_CONTROLS = re.compile("[\x7f-\x9f]")

json_option = click.option("--json", "as_json", is_flag=True, help="One JSON object a line on stdout.")


def result(as_json: bool, row: Mapping[str, Any], text: str | None = None) -> None:
    """One result: a JSON object, or `text` (default: the values, tab-separated) for a person."""
    if sys.stdout.isatty():
        _clear_bar()
    if as_json:
        click.echo(json_text(row))
    elif text is None:
        click.echo("\t".join(escaped(str(value), kept="") for value in row.values()))
    else:
        click.echo(escaped(text))


def say(text: str, *, kept: str = "\t") -> None:
    """A remark, on stderr: one line, as part of it may be a peer's words or the name of a file."""
    click.echo(escaped(text, kept=kept), err=True)


class Failures:
    """How many of several files failed. Each is on its own: one that does keeps none of the others."""

    def __init__(self, as_json: bool = False) -> None:
        self.count, self._as_json = 0, as_json

    @property
    def status(self) -> int:
        """The exit status."""
        return 1 if self.count else 0

    @contextmanager
    def of(self, path: Path) -> Iterator[None]:
        """The work on one file: what it fails with is told, and goes no further."""
        try:
            yield
        except BrokenPipeError:  # nobody reads this any more, which is no fault of the file
            raise
        except (SagittalError, OSError) as error:
            self.add(path, error)

    def add(self, path: Path, error: Exception) -> None:
        """One more, and why."""
        self.count += 1
        text = reason(error, path)
        if self._as_json:
            result(True, {"file": str(path), "error": text})
        else:
            say(f"{path}: {text}")


def _clear_bar() -> None:
    """What is written next takes the line of the progress bar, if there is one; it is drawn anew below.

    For stderr rich does so by itself. Were stdout left to it, too, results would be broken to the terminal's width.
    """
    bar_stands_here = getattr(sys.stderr, "rich_proxied_file", None)
    if bar_stands_here is not None:
        bar_stands_here.write("\r\x1b[2K")
        bar_stands_here.flush()


def reason(error: Exception, path: object = "") -> str:
    """What went wrong, for a person: the system's words, after the file that they are about unless that is `path`."""
    if not isinstance(error, OSError) or not error.strerror:
        return str(error)
    return error.strerror if error.filename in (None, str(path)) else f"{error.filename}: {error.strerror}"


def escaped(text: str, kept: str = "\t\n") -> str:
    """`text` with its control characters shown, since attribute values must not drive a terminal; or make of one value
    of a row several, or several rows, where none are `kept`.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in kept else f"\\x{ord(c):02x}" for c in text)


def json_text(value: Mapping[str, Any]) -> bytes:
    """DICOM JSON for a line of stdout, in UTF-8 whatever the terminal has."""
    from sagittal.dicom.models.jsontext import encode_json

    return json_escaped(encode_json(value).decode()).encode()


def json_escaped(text: str) -> str:
    """JSON may hold the controls of ISO 6429 from DEL on as they are; a terminal must not get them so."""
    return _CONTROLS.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a command's coroutine, on uvloop where there is one."""
    factory: Callable[[], asyncio.AbstractEventLoop] | None = None
    with suppress(ImportError):
        import uvloop

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(work)


@contextmanager
def progress(what: str, total: int | None, *, quiet: bool = False) -> Iterator[Callable[[int], None]]:
    """A progress bar on a terminal; a function that takes how many more are done. Silent when stderr is no terminal."""
    if quiet or not sys.stderr.isatty():
        yield lambda _count: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True, redirect_stdout=False) as bar:
        task = bar.add_task(what, total=total)
        yield lambda count: bar.advance(task, count)
