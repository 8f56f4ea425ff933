"""What the commands that talk to an archive share: where it is, who we are, TLS, credentials, timeouts, keys."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import wraps
from pathlib import Path
from typing import Any, NamedTuple, cast

import click
from click.core import ParameterSource

from sagittal.cli.options import F, together
from sagittal.cli.output import result, say
from sagittal.client.keys import level_named
from sagittal.client.outcome import Retrieved
from sagittal.client.place import Access, Place, Url, parse_place, parse_url
from sagittal.dimse.address import PeerAddress, parse_peer
from sagittal.dimse.status import words
from sagittal.errors import UsageError
from sagittal.limits import NetLimits

_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)
_COMMON = (
    click.option("--tls-ca", type=_FILE, help="Authorities of the peer (PEM) [the system's]."),
    click.option("--tls-cert", type=_FILE, help="Our certificate (PEM)."),
    click.option("--tls-key", type=_FILE, help="Our key (PEM)."),
    click.option("--timeout", type=click.FloatRange(0.1), metavar="SECONDS", help="For a connection, for an answer."),
)
_DIMSE = (
    click.option("--aet", default="SAGITTAL", show_default=True, help="Our AE title."),
    click.option("--tls", is_flag=True, help="Use TLS (DIMSE)."),
    click.option("--identity", is_flag=True, help="Show SAGITTAL_TOKEN or SAGITTAL_USER to the peer, too (DIMSE)."),
)
_CREDENTIALS = (
    click.option("--token", metavar="TOKEN", help="Bearer token; JSON Web Token of DIMSE [SAGITTAL_TOKEN]."),
    click.option("--user", metavar="NAME:PASSWORD", help="HTTP basic authentication; user of DIMSE [SAGITTAL_USER]."),
)


_PEER, _HTTPS_URL, _HTTP_URL, _DIRECTORY = "AET@host:port", "an https URL", "an http URL", "a data directory"


class _Meant(NamedTuple):
    """Parameters of commands, and what kinds of archive they say something of."""

    parameters: tuple[str, ...]
    kinds: tuple[str, ...]
    told: str


# Those that are not here say something of any. A store of anything but a directory is refused where it is opened.
_MEANT = (
    _Meant(
        ("aet", "tls", "identity", "model", "relational", "combined", "window", "syntaxes", "proposed"), (_PEER,), _PEER
    ),
    _Meant(("tls_ca", "tls_cert", "tls_key"), (_PEER, _HTTPS_URL), f"{_PEER} or {_HTTPS_URL}"),
    _Meant(("token", "user"), (_PEER, _HTTPS_URL, _HTTP_URL), f"{_PEER} or a URL"),
)

_STORE = click.option("--store", default="", metavar="NAME", help="Store of a data directory [main].")


def place_options(command: F) -> F:
    """ARCHIVE: a peer, a URL or a data directory. The command gets `place` and `access`."""
    return _with(command, "place", "ARCHIVE", parse_place, (*_DIMSE, *_CREDENTIALS, _STORE, *_COMMON))


def peer_options(command: F) -> F:
    """PEER. The command gets `peer` (an address) and `access`."""
    return _with(command, "peer", "PEER", parse_peer, (*_DIMSE, *_CREDENTIALS, *_COMMON))


def url_options(command: F) -> F:
    """URL. The command gets `url` and `access`."""
    return _with(command, "url", "URL", parse_url, (*_CREDENTIALS, *_COMMON))


def _with(
    command: F, name: str, shown: str, parse: Callable[[str], Any], options: tuple[Callable[[Any], Any], ...]
) -> F:
    def parsed(_context: click.Context, _parameter: click.Parameter, value: str) -> Any:
        try:
            return parse(value)
        except UsageError as error:
            raise click.BadParameter(error.text) from None

    @wraps(command)
    def called(**given: Any) -> Any:
        _check(given[name], given)
        # Peers did not ask for credentials, and mostly hear them in clear: those of the environment may be for others.
        wanted = given.pop("identity", False)
        access = _access(given)
        if wanted or not isinstance(given[name], PeerAddress):
            access = access.with_environment()
        if wanted and access.identity() is None:
            raise UsageError("there is neither SAGITTAL_TOKEN nor SAGITTAL_USER to show with --identity")
        return command(access=access, **given)

    argument: Callable[[Any], Any] = click.argument(name, metavar=shown, callback=parsed)
    return cast(F, together(argument, *options)(called))


def _check(place: Place, given: dict[str, Any]) -> None:
    """UsageError for an option that says nothing of this kind of archive: it would be passed over in silence."""
    secure = _HTTPS_URL if str(place).startswith("https:") else _HTTP_URL
    kind = _PEER if isinstance(place, PeerAddress) else secure if isinstance(place, Url) else _DIRECTORY
    meant = {name: row for row in _MEANT if kind not in row.kinds for name in row.parameters}
    context = click.get_current_context()
    for option in context.command.params:
        if option.name not in meant or context.get_parameter_source(option.name) is not ParameterSource.COMMANDLINE:
            continue
        value = getattr(option, "flag_value", None)
        if isinstance(value, str) and value != given[option.name]:
            continue  # another one of those that give the same parameter
        raise UsageError(f"{option.opts[-1]} is for {meant[option.name].told}, not for {kind}")


def _access(given: dict[str, Any]) -> Access:
    """Takes its options out of those of a command."""
    timeout, limits = given.pop("timeout"), NetLimits()
    if timeout is not None:
        names = ("connect_seconds_max", "response_seconds_max", "move_seconds_max", "artim_seconds")
        limits = replace(limits, **dict.fromkeys(names, timeout))
    return Access(
        aet=given.pop("aet", "SAGITTAL"),
        tls=given.pop("tls", False),
        tls_ca=given.pop("tls_ca"),
        tls_certificate=given.pop("tls_cert"),
        tls_key=given.pop("tls_key"),
        token=given.pop("token", None) or "",
        user=given.pop("user", None) or "",
        store=given.pop("store", ""),
        limits=limits,
    )


class Level(click.Choice[str]):
    """One of some levels, by any of its names."""

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        return super().convert(level_named(value), param, ctx)


def selection_options(levels: Sequence[str]) -> Callable[[F], F]:
    """Which instances: `-L` of `levels`, `-k`."""
    text = "Keyword or tag, with the value to match; repeatable."
    return together(
        click.option("-L", "--level", type=Level(levels), help="[lowest level with a key]"),
        click.option("-k", "--key", "keys", multiple=True, required=True, metavar="KEY=VALUE", help=text),
    )


# The information model (PS3.4 C.6); the command gets `model`.
model_options = together(
    *(
        click.option(name, "model", flag_value=model, default=None, help=f"{text} (DIMSE).")
        for name, model, text in (
            ("--study-root", "study", "Study Root, as without any of these"),
            ("--patient-root", "patient", "Patient Root instead of Study Root"),
            ("--patient-study-only", "patient-study", "Patient/Study Only instead of Study Root"),
        )
    )
)


def report(outcome: Retrieved, as_json: bool) -> int:
    """Say how a retrieval went, with --json on stdout, too; the exit status."""
    if as_json:
        result(True, outcome.row())
    say(f"{outcome.completed} completed, {outcome.warnings} with a warning, {outcome.failed} failed")
    for uid in outcome.failed_uids:
        say(f"failed: {uid}")
    if outcome.whole:
        return 0
    say(f"the peer ended with {outcome.status:04X}: {outcome.comment or words(outcome.status)}")
    return 3 if outcome.refused else 1
