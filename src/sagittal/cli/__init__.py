"""The command `sagittal`: one file a command, imported when it is called, so that `--help` costs nothing.

Results go to stdout (`--json`: one object a line), all else to stderr. Exit status: 0 all done, warnings too; 1 some
failed; 2 usage; 3 the peer refused or was unreachable; 129, 130 and 143 ended by SIGHUP (the terminal was closed),
Ctrl-C and SIGTERM, in the same order, but 0 of `serve` and `receive`, which are meant to end so.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from io import TextIOWrapper
from typing import NoReturn

import click

from sagittal.errors import PeerError, SagittalError, UsageError

# name -> (module below sagittal.cli, what it does); each module has one click command named `command`
COMMANDS: dict[str, tuple[str, str]] = {
    "serve": ("serve", "Run the archive: DIMSE and DICOMweb on one data directory."),
    "import": ("data.imports", "Add files, folders and zip archives to an archive."),
    "export": ("data.export", "Write instances of an archive as files."),
    "backup": ("data.backup", "Copy index and objects consistently, also while serving."),
    "restore": ("data.restore", "Make a data directory from a backup."),
    "scrub": ("data.scrub", "Check every object against its digest and the index."),
    "reindex": ("data.reindex", "Rebuild the index from the objects alone."),
    "nodes": ("data.nodes", "List, add and remove the nodes (AE table) of an archive."),
    "config": ("data.config", "Show the effective settings; make bearer tokens."),
    "echo": ("peer.echo", "C-ECHO: verify that a peer answers."),
    "store": ("peer.store", "Send files to an archive: C-STORE, STOW-RS."),
    "find": ("peer.find", "Query an archive: C-FIND, QIDO-RS."),
    "move": ("peer.move", "C-MOVE: have a peer send instances to a node."),
    "get": ("peer.get", "Retrieve instances into a folder: C-GET, WADO-RS."),
    "receive": ("peer.receive", "Take C-STORE from anyone into a folder."),
    "qido": ("web.qido", "QIDO-RS: search any resource of a DICOMweb server."),
    "wado": ("web.wado", "WADO-RS: objects, metadata, frames, rendered images of a DICOMweb server."),
    "stow": ("web.stow", "STOW-RS: send files to a DICOMweb server."),
    "json": ("models.json", "DICOM files as DICOM JSON, and back."),
    "xml": ("models.xml", "DICOM files as Native DICOM Model (XML), and back."),
    "transcode": ("images.transcode", "DICOM files in another transfer syntax."),
    "info": ("images.info", "What images are like, by modality, in an archive or in files."),
    "fix": ("images.fix", "Put right what is wrong with DICOM files."),
    "mask": ("images.mask", "Rectangles of pixels set to one value: text burned in."),
    "multiframe": ("images.multiframe", "Multi-frame instances as single frames, and back."),
    "render": ("images.render", "Pictures of DICOM files: PNG, JPEG, GIF, WebP, MP4, HTML, SVG."),
    "conformance": ("conformance", "Print the DICOM conformance statement."),
    "dump": ("dump", "Show the elements of DICOM files."),
}


class _LazyGroup(click.Group):
    """Reads names and one-line texts of its commands from a table; a module is imported when its command is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command = import_module(f"sagittal.cli.{COMMANDS[cmd_name][0]}").command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="sagittal")
def group() -> None:
    """Sagittal: the Python-native DICOM archive and toolkit."""


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run one command, that of the command line unless `arguments` are given, and leave with its exit status."""
    if isinstance(sys.stdout, TextIOWrapper) and sys.stdout.errors == "strict":
        # Letters that the terminal or file has no codes for, and bytes of file names that are no text.
        sys.stdout.reconfigure(errors="backslashreplace")
    with _orderly() as ending:
        status = _status(arguments)
    sys.exit(128 + ending[0] if status == 130 and ending else status)


@contextmanager
def _orderly() -> Iterator[list[int]]:
    """SIGTERM and SIGHUP end a command as Ctrl-C does, so that it leaves nothing behind, and are in the list then.

    A command that handles the signal itself takes this place. What `nohup` ignores stays ignored.
    """
    ending: list[int] = []

    def end(number: int, _frame: object) -> None:
        ending.append(number)
        if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # a shell starts what is in the background like that
            raise KeyboardInterrupt
        signal.raise_signal(signal.SIGINT)

    if threading.current_thread() is not threading.main_thread():
        yield ending
        return
    numbers = (signal.SIGTERM, signal.SIGHUP)
    before = {each: signal.signal(each, end) for each in numbers if signal.getsignal(each) is not signal.SIG_IGN}
    try:
        yield ending
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _status(arguments: Sequence[str] | None) -> int:
    """What the command ends with; why it ended early is told."""
    try:
        status = group.main(arguments, standalone_mode=False)
    except click.ClickException as error:
        error.show()
        status = error.exit_code
    except (click.Abort, KeyboardInterrupt):
        status = 130
    except SagittalError as error:
        _tell(error.text, lines=isinstance(error, UsageError))
        status = exit_status(error)
    except BrokenPipeError:  # the reader of our output went away
        sys.stderr.close()
        status = 1
    except OSError as error:  # of a file that was named, or of one that is made
        from sagittal.cli.output import reason

        _tell(reason(error))
        status = 1
    except Exception as error:
        from sagittal.archive.index.connection import failure

        if (told := failure(error)) is None:
            raise
        _tell(told.text)
        status = exit_status(told)
    return status if isinstance(status, int) else 0


def _tell(text: str, *, lines: bool = False) -> None:
    """Why a command ended. Only what we say ourselves has more than one line: a peer's words must not forge any."""
    from sagittal.cli.output import say

    say(f"sagittal: {text}", kept="\t\n" if lines else "\t")


def exit_status(error: SagittalError) -> int:
    """What a command ends with after this error."""
    return 2 if isinstance(error, UsageError) else 3 if isinstance(error, PeerError) else 1
