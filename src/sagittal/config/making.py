"""Settings made of what a file, the environment or the command line gives: tables, lists and text, as the type of each
setting says. Deliberately not here: where these come from (`config`), what single values may be (`checks`).
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import types
import typing
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from sagittal.config.checks import boolean, check, number
from sagittal.config.settings import NodeSettings, Settings
from sagittal.dimse.address import parse_peer
from sagittal.errors import UsageError
from sagittal.limits import Limits


def setting_names() -> list[str]:
    """Every key, dotted, as the configuration takes it."""
    return [name for name, _ in _fields(Settings, "")]


def limit_parts() -> dict[str, list[str]]:
    """Limit name → the parts of `Limits` that have it."""
    limits, found = Limits(), dict[str, list[str]]()
    for part in dataclasses.fields(limits):
        for limit in dataclasses.fields(getattr(limits, part.name)):
            found.setdefault(limit.name, []).append(part.name)
    return found


def limits_with(changes: Mapping[str, Any]) -> Limits:
    """The default limits with some replaced by name: `[limits]` is one flat list. Raises UsageError."""
    parts = {part.name: getattr(Limits(), part.name) for part in dataclasses.fields(Limits)}
    known = limit_parts()
    for key, value in changes.items():
        if key not in known:
            raise UsageError(unknown(f"limits.{key}", [f"limits.{name}" for name in known]))
        for name in known[key]:
            given = number(f"limits.{key}", value, type(getattr(parts[name], key)))
            parts[name] = dataclasses.replace(parts[name], **{key: given})
    try:
        return Limits(**parts)
    except ValueError as error:
        raise UsageError(f"limits: {error}") from None


def _fields(kind: type, prefix: str) -> Iterator[tuple[str, Any]]:
    """Dotted name and type of each setting."""
    hints = typing.get_type_hints(kind)
    for name in (setting.name for setting in dataclasses.fields(kind)):
        hint = hints[name]
        if hint is Limits:
            yield from ((f"{prefix}{name}.{limit}", hint) for limit in limit_parts())
        elif dataclasses.is_dataclass(hint):
            yield from _fields(typing.cast(type, hint), f"{prefix}{name}.")
        else:
            yield prefix + name, hint


def make(kind: type, given: object, at: str, faults: list[str]) -> object:
    """One part of the settings from a table; what is wrong is added to `faults`."""
    if not isinstance(given, Mapping):
        faults.append(f"{at.rstrip('.')}: a table is wanted")
        return None
    hints, values = typing.get_type_hints(kind), {}
    for key, value in given.items():
        if key not in hints:
            dotted = kind is Settings or at in ("dimse.", "web.", "index.")
            near = setting_names() if dotted else [at + name for name in hints]
            faults.append(unknown(at + str(key), near))
            continue
        try:
            values[key] = _value(hints[key], value, at + key, faults)
            check(at, key, values[key])
        except UsageError as error:
            faults.append(error.text)
    others = (f for f in dataclasses.fields(kind) if f.name not in given)
    nothing = dataclasses.MISSING
    faults += [f"{at}{f.name}: is missing" for f in others if f.default is nothing and f.default_factory is nothing]
    return None if faults else kind(**values)


def _value(hint: Any, value: Any, key: str, faults: list[str]) -> Any:
    """A value as its type says; environment and command line give text."""
    if hint is Limits:
        return limits_with(value if isinstance(value, Mapping) else {str(value): None})
    if dataclasses.is_dataclass(hint):
        if hint is NodeSettings and isinstance(value, str):
            value = parse_peer(value)._asdict()
        return make(typing.cast(type, hint), value, f"{key}.", faults)
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        return None if value is None or value == "" else _value(arguments[0], value, key, faults)
    if origin is Mapping:
        return {str(name): make(arguments[1], each, f"{key}.{name}.", faults) for name, each in _table(key, value)}
    if origin is Literal:
        if value not in arguments:
            raise UsageError(f"{key}: {value!r} is not one of {' '.join(arguments)}")
        return value
    if origin is tuple:
        return tuple(_value(arguments[0], each, f"{key}[{n}]", faults) for n, each in enumerate(list_of(key, value)))
    if hint in (int, float):
        return number(key, value, hint)
    if hint is bool:
        return boolean(key, value)
    if hint is Path:
        return _path(key, value)
    if not isinstance(value, str | Path):
        raise UsageError(f"{key}: text is wanted, not {value!r}")
    return str(value)


def _path(key: str, value: object) -> Path:
    """A path that a file can have; a shell would have expanded what begins with ~."""
    if not isinstance(value, str | Path) or value == "" or "\0" in str(value):  # "" is the folder that we are in
        raise UsageError(f"{key}: a path is wanted, not {value!r}")
    try:
        return Path(value) if isinstance(value, Path) else Path(value).expanduser()
    except RuntimeError as error:
        raise UsageError(f"{key}: {error}") from None


def list_of(key: str, value: object) -> list[Any]:
    """A list; text is JSON or values with commas between."""
    if isinstance(value, str):
        try:
            value = json.loads(value) if value.lstrip().startswith("[") else [part for part in value.split(",") if part]
        except ValueError:
            value = None
    if not isinstance(value, list | tuple):
        raise UsageError(f"{key}: a list is wanted")
    return list(value)


def _table(key: str, value: object) -> Iterable[tuple[Any, Any]]:
    """The items of a table; text is JSON."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            value = None
    if not isinstance(value, Mapping):
        raise UsageError(f"{key}: a table is wanted")
    return value.items()


def unknown(key: str, names: Iterable[str]) -> str:
    return f"unknown setting {key}{meant(key, names)}"


def meant(key: str, names: Iterable[str]) -> str:
    near = difflib.get_close_matches(key, list(names), 1, 0.5)
    return f"; did you mean {near[0]}?" if near else ""
