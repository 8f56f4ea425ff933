"""`sagittal config show|token`."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import click

from sagittal.cli.data.place import data_option, existing, tend
from sagittal.cli.output import json_option, result, run, say

if TYPE_CHECKING:
    from sagittal.archive.archive import Archive

VERBS = ("find", "get", "store")  # what a token lets do when nothing is said


@click.group("config")
def command() -> None:
    """Show the effective settings; make bearer tokens."""


@command.command("show")
@click.option("--config", "file", type=click.Path(path_type=Path, dir_okay=False), help="Settings file (TOML).")
@json_option
def show(file: Path | None, as_json: bool) -> None:
    """The settings in force: defaults, file, environment; as a settings file, in which tokens are a comment."""
    from sagittal import config

    settings = dataclasses.asdict(config.load(file))
    for text in config.passed_over():
        say(text)
    settings["tokens"] = [{**token, "sha256": "…"} for token in settings["tokens"]]
    if as_json:
        result(True, json.loads(json.dumps(settings, default=str)))
        return
    for name, value in settings.items():
        if name == "limits":
            value = _limits(value)
        for key, inner in value.items() if isinstance(value, dict) else [("", value)]:
            # Tokens without their digests are no settings, nor is a limit whose parts have numbers of their own.
            comment = "# " if name == "tokens" or (name == "limits" and isinstance(inner, list)) else ""
            click.echo(f"{comment}{name}{'.' if key else ''}{key} = {_toml(inner)}")


def _limits(parts: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """One flat list; of a name that several parts have, all numbers when they differ."""
    found: dict[str, list[Any]] = {}
    for part in parts.values():
        for name, number in part.items():
            found.setdefault(name, []).append(number)
    return {name: numbers if len(set(numbers)) > 1 else numbers[0] for name, numbers in found.items()}


def _toml(value: object) -> str:
    """A value as TOML has it, which lacks null: what is not set is empty text, as the settings take it."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {_toml(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps("" if value is None else value, default=str, ensure_ascii=False)


@command.group("token")
def token() -> None:
    """Bearer tokens for HTTP; in force at once, also beside a running server."""


@token.command("add")
@click.argument("name")
@click.option("--verb", "verbs", multiple=True, help=f"What it lets do; repeatable [{' '.join(VERBS)}].")
@click.option("--store", default="", metavar="NAME", help="The only store it lets into, unless it may admin [main].")
@data_option
@json_option
def add_token(name: str, verbs: tuple[str, ...], store: str, data: Path, as_json: bool) -> None:
    """Make a token, or a new one of this name; it is printed once and kept nowhere."""
    secret = secrets.token_urlsafe(32)
    digest = hashlib.sha256(secret.encode()).hexdigest()
    row = {"name": name, "verbs": sorted(set(verbs or VERBS)), "store": store}
    run(_put(data, row | {"digest": digest}))
    result(as_json, row | {"token": secret}, secret)
    say(f"the token {name} is shown only here; clients send it as Authorization: Bearer …")


@token.command("list")
@data_option
@json_option
def list_tokens(data: Path, as_json: bool) -> None:
    """The tokens that hold, by name."""
    for row in run(_list(data)):
        store = f"\tstore {row['store']}" if row["store"] else ""
        result(as_json, row, f"{row['name']}\t{' '.join(row['verbs'])}{store}")


@token.command("revoke")
@click.argument("name")
@data_option
@json_option
def revoke(name: str, data: Path, as_json: bool) -> None:
    """End a token."""
    run(_revoke(data, name))
    if as_json:
        result(True, {"name": name, "revoked": True})
    say(f"the token {name} holds no more")


async def _put(data: Path, row: dict[str, Any]) -> None:
    from sagittal.archive.access import LOCAL
    from sagittal.archive.nodes import Token, put_token

    made = Token(row["name"], row["digest"], frozenset(row["verbs"]), store=row["store"])
    await tend(data, lambda archive: put_token(archive.act, LOCAL, made), "POST", "/api/tokens", row)


async def _list(data: Path) -> list[dict[str, Any]]:
    from sagittal.archive.nodes import read_tokens
    from sagittal.services.tokens import row_of

    async def here(archive: Archive) -> list[dict[str, Any]]:
        return [row_of(token) for token in await read_tokens(archive.readers)]

    return await tend(existing(data), here, "GET", "/api/tokens")


async def _revoke(data: Path, name: str) -> None:
    from sagittal.archive.access import LOCAL
    from sagittal.archive.nodes import revoke_token

    path = f"/api/tokens/{quote(name, safe='')}"
    await tend(existing(data), lambda archive: revoke_token(archive.act, LOCAL, name), "DELETE", path)
