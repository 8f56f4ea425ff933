"""The configuration: one TOML file, the environment and the command line, frozen and handed down from `serve`.

What comes later wins: defaults, `--config FILE`, `SAGITTAL_…` (`SAGITTAL_DIMSE__PORT=104`), command line. An unknown
key is an error that names the nearest one. Nodes and tokens given here are added to those kept in the data directory
(`sagittal nodes`, `sagittal config token`). The standard library only: a settings library would be half of the time it
takes to start. Deliberately not here: anything that changes while the archive runs.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sagittal.archive.index import MAIN
from sagittal.archive.transcoding import rules
from sagittal.config.making import list_of, make, meant, setting_names, unknown
from sagittal.config.settings import NodeSettings, Settings
from sagittal.errors import UsageError

ENVIRONMENT = "SAGITTAL_"
_ROWS = ("nodes", "tokens", "transcode")  # those of the environment come after those of the file
_NOT_SETTINGS = {ENVIRONMENT + name for name in ("CORPUS", "STRICT", "FAULT", "TOKEN", "USER")}  # of tests, of commands


def load(file: Path | None = None, overrides: Mapping[str, Any] | None = None) -> Settings:
    """Read the settings; `overrides` (the command line) are nested like the file. UsageError names each fault."""
    given = _read(file) if file else {}
    _merge(given, _environment(os.environ))
    _merge(given, overrides or {})
    faults = [unknown(name, _variables()) for name in _unknown_environment() if "__" in name]
    settings = make(Settings, given, "", faults)
    if faults:
        raise UsageError("; ".join(faults))
    assert isinstance(settings, Settings)
    _check_stores(settings)
    titles = dict[str, NodeSettings]()
    for node in settings.nodes:
        node.node()
        if titles.setdefault(node.aet, node) != node:
            raise UsageError(f"nodes: {node.aet} is there twice, and not the same")
    rules.check(settings.transcode)
    return settings


def _check_stores(settings: Settings) -> None:
    """Every title of one store only, every store that is named one that is there. UsageError."""
    if settings.stores:
        from sagittal.archive.index.upkeep.stores import check_name

        for name in settings.stores:
            check_name(name)
    taken = dict.fromkeys((settings.aet, *settings.dimse.called_aets), "the archive")
    for name, store in settings.stores.items():
        for aet in store.called_aets:
            if aet in taken:
                raise UsageError(f"stores.{name}.called_aets: {aet} is a title of {taken[aet]}")
            taken[aet] = f"the store {name}"
    known = {MAIN, *settings.stores}
    named = [("nodes", node.aet, node.store) for node in settings.nodes]
    named += [("tokens", token.name, token.store) for token in settings.tokens]
    named += [("transcode", rule.to, name) for rule in settings.transcode for name in rule.stores]
    for table, whose, name in named:
        if name and name not in known:
            raise UsageError(f"{table}: {whose}: there is no store {name}; add [stores.{name}]")


def passed_over() -> list[str]:
    """What to say of variables that look like settings and are none, which others may mean for themselves. Names of
    tables (`__`) are ours alone: `load` refuses them.
    """
    known = _variables()
    return [f"{name} is not a setting{meant(name, known)}" for name in _unknown_environment() if "__" not in name]


def _unknown_environment() -> list[str]:
    return sorted({name for name in os.environ if name.startswith(ENVIRONMENT)} - _variables().keys() - _NOT_SETTINGS)


def _variables() -> dict[str, str]:
    """The variables of the environment that are settings, with the dotted name of each."""
    return {ENVIRONMENT + name.upper().replace(".", "__"): name for name in setting_names()}


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8-sig"))  # some editors begin a file with a mark
    except OSError as error:
        raise UsageError(f"cannot read {file}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{file} is not TOML: {error}") from None


def _environment(variables: Mapping[str, str]) -> dict[str, Any]:
    """What SAGITTAL_… says, nested like the file."""
    given: dict[str, Any] = {}
    for variable, name in _variables().items():
        if (text := variables.get(variable)) is not None:
            *path, last = name.split(".")
            table = given
            for part in path:
                table = table.setdefault(part, {})
            table[last] = list_of(name, text) if name in _ROWS else text
    return given


def _merge(into: dict[str, Any], changes: Mapping[str, Any]) -> None:
    for key, value in changes.items():
        if isinstance(value, Mapping) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        elif key in _ROWS and isinstance(into.get(key), list):
            into[key] = [*into[key], *value]
        else:
            into[key] = dict(value) if isinstance(value, Mapping) else value
