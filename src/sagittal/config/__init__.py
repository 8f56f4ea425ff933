"""The configuration: one TOML file, the environment and the command line, frozen and handed down from `serve`.

What comes later wins: defaults, `--config FILE`, `SAGITTAL_…` (`SAGITTAL_DIMSE__PORT=104`), command line. An unknown
key is an error that names the nearest one. Nodes and tokens given here are added to those kept in the data directory
(`sagittal nodes`, `sagittal config token`). The standard library only: a settings library would be half of the time it
takes to start. Deliberately not here: anything that changes while the archive runs.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import os
import tomllib
import types
import typing
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from sagittal.archive import DuplicatePolicy
from sagittal.archive.index import MAIN
from sagittal.archive.transcoding import rules
from sagittal.config.checks import boolean, check, number
from sagittal.dimse.address import parse_peer
from sagittal.errors import UsageError
from sagittal.hosts import is_loopback
from sagittal.limits import Limits

if typing.TYPE_CHECKING:
    from sagittal.archive.nodes import Node

ENVIRONMENT = "SAGITTAL_"
_ROWS = ("nodes", "tokens", "transcode")  # those of the environment come after those of the file
_NOT_SETTINGS = {ENVIRONMENT + name for name in ("CORPUS", "STRICT", "FAULT", "TOKEN", "USER")}  # of tests, of commands


@dataclass(frozen=True, slots=True)
class NodeSettings:
    """A node of the AE table given in the configuration: `nodes = ["AET@host:port"]` or a table with these keys."""

    aet: str  # its AE title
    host: str  # where we connect to for C-MOVE
    port: int  # its DIMSE port
    tls: bool = False  # we connect to it with TLS
    duplicates: DuplicatePolicy | None = None  # None: as the archive's
    name: str = ""  # for people
    verbs: tuple[str, ...] = ("echo", "store", "find", "get", "move")  # what it may do
    addresses: tuple[str, ...] = ()  # addresses and networks it calls from; none: those of its host
    syntax_order: tuple[str, ...] = ()  # transfer syntaxes by preference, * for every other one; none: the archive's
    character_set: str = ""  # of what it sends without one, or with one that is not defined: as (0008,0005)
    issuer_of_patient_id: str = ""  # of Patient IDs that it sends without one
    timezone: str = ""  # its offset from UTC, as +0100
    store: str = ""  # the store that it works in, whatever title it calls

    def node(self) -> Node:
        """The row of the AE table, its terms as the Standard writes them. UsageError for what can't be."""
        from sagittal.archive.nodes import Node, check_node

        given = {setting.name: getattr(self, setting.name) for setting in dataclasses.fields(self)}
        try:
            return check_node(Node(**given | {"verbs": frozenset(self.verbs), "duplicates": self.duplicates or ""}))
        except UsageError as error:
            raise UsageError(f"nodes: {self.aet}: {error.text}") from None


@dataclass(frozen=True, slots=True)
class TokenSettings:
    """A bearer token by its SHA-256; the token itself is printed once, when it is made, and kept nowhere."""

    name: str  # of who holds it, for the audit log
    sha256: str  # of the token, in hexadecimal
    verbs: tuple[str, ...] = ("echo", "store", "find", "get", "move")  # what it lets do
    store: str = ""  # the only store that it lets into, unless it lets do admin; none: main


@dataclass(frozen=True, slots=True)
class DimseSettings:
    """The DIMSE listener."""

    port: int = 11112  # 0: a free one
    kept_status: Literal["warning", "success"] = "warning"  # B000 or 0000 when the first version was kept
    prefer: tuple[str, ...] = ()  # transfer syntaxes chosen before the usual order
    called_aets: tuple[str, ...] = ()  # AE titles by which we may be called, beside our own
    user_identity: Literal["optional", "required"] = "optional"  # required: only users whose token was verified
    tls_certificate: Path | None = None  # PEM, with its chain; given, the port speaks TLS only
    tls_key: Path | None = None  # PEM, without a passphrase; none: it is in the file of the certificate
    tls_authorities: Path | None = None  # of client certificates, which are then required
    tls_node_authorities: Path | None = None  # of the nodes we connect to; none: the system's

    @property
    def senders(self) -> tuple[str, str]:
        """How DCMTK and `sagittal store` send to this port: program and options, files of the sender by names that are
        to be replaced. dcmsend has no TLS.
        """
        if self.tls_certificate is None:
            return "dcmsend --no-halt", "sagittal store"
        dcmtk, own = "storescu --no-halt +cf CA.pem", "sagittal store --tls --tls-ca CA.pem"
        if self.tls_authorities is None:
            return f"{dcmtk} +tla", own
        return f"{dcmtk} +tls KEY.pem CERTIFICATE.pem", f"{own} --tls-cert CERTIFICATE.pem --tls-key KEY.pem"


@dataclass(frozen=True, slots=True)
class WebSettings:
    """The HTTP listener."""

    port: int = 8042  # 0: a free one
    hosts: tuple[str, ...] = ()  # names a browser may use for us, beside the bind address and loopback
    origins: tuple[str, ...] = ()  # of pages elsewhere that may read and write, as https://viewer.example
    public_url: str | None = None  # what clients see in front of a proxy
    trusted_proxies: tuple[str, ...] = ()  # addresses or networks whose (X-)Forwarded headers are believed

    @property
    def names(self) -> frozenset[str]:
        """What Host may say, beside the bind address and loopback: `hosts`, and the host of `public_url`."""
        public = urlsplit(self.public_url or "").hostname
        return frozenset(name.lower() for name in (*self.hosts, public) if name)


@dataclass(frozen=True, slots=True)
class IndexSettings:
    """What the index holds besides the usual keys."""

    attributes: tuple[str, ...] = ()  # keywords, tags, or 0029,1009@ACME for private ones


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """A store: made when it is first named here, and kept. Its NAME is in URLs; `main` is there without."""

    called_aets: tuple[str, ...] = ()  # AE titles by which it is called, which no other store has


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings of `sagittal serve`, with their defaults."""

    data: Path = Path("sagittal-data")  # made when missing
    host: str = "127.0.0.1"  # beyond loopback only with nodes and tokens
    aet: str = "SAGITTAL"  # our AE title
    durability: Literal["full", "off"] = "full"  # off: nothing is synced, for benchmarks
    duplicates: DuplicatePolicy = "keep-first"  # other content under a held SOP Instance UID
    character_set: str = ""  # of objects and queries without one, or with one that is not defined: as (0008,0005)
    timezone: str = ""  # the offset from UTC of objects that say none, as +0100
    log_level: Literal["debug", "info", "warning", "error"] = "info"  # the least that is told on stderr
    dimse: DimseSettings = DimseSettings()
    web: WebSettings = WebSettings()
    index: IndexSettings = IndexSettings()
    limits: Limits = field(default_factory=Limits)
    stores: Mapping[str, StoreSettings] = field(default_factory=dict)  # NAME: what it is
    nodes: tuple[NodeSettings, ...] = ()  # beside those kept; this table alone changes them
    tokens: tuple[TokenSettings, ...] = ()  # beside those kept; this table alone changes them
    transcode: tuple[rules.Rule, ...] = ()  # what becomes of objects that came in; the first that fits decides

    @property
    def loopback(self) -> bool:
        """Whether both listeners can be reached from this machine only."""
        return is_loopback(self.host)


def load(file: Path | None = None, overrides: Mapping[str, Any] | None = None) -> Settings:
    """Read the settings; `overrides` (the command line) are nested like the file. UsageError names each fault."""
    given = _read(file) if file else {}
    _merge(given, _environment(os.environ))
    _merge(given, overrides or {})
    faults = [_unknown(name, _variables()) for name in _unknown_environment() if "__" in name]
    settings = _make(Settings, given, "", faults)
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
    return [f"{name} is not a setting{_near(name, known)}" for name in _unknown_environment() if "__" not in name]


def _unknown_environment() -> list[str]:
    return sorted({name for name in os.environ if name.startswith(ENVIRONMENT)} - _variables().keys() - _NOT_SETTINGS)


def _variables() -> dict[str, str]:
    """The variables of the environment that are settings, with the dotted name of each."""
    return {ENVIRONMENT + name.upper().replace(".", "__"): name for name in setting_names()}


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
            raise UsageError(_unknown(f"limits.{key}", [f"limits.{name}" for name in known]))
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


def _make(kind: type, given: object, at: str, faults: list[str]) -> object:
    """One part of the settings from a table; what is wrong is added to `faults`."""
    if not isinstance(given, Mapping):
        faults.append(f"{at.rstrip('.')}: a table is wanted")
        return None
    hints, values = typing.get_type_hints(kind), {}
    for key, value in given.items():
        if key not in hints:
            dotted = kind is Settings or at in ("dimse.", "web.", "index.")
            near = setting_names() if dotted else [at + name for name in hints]
            faults.append(_unknown(at + str(key), near))
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
        return _make(typing.cast(type, hint), value, f"{key}.", faults)
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        return None if value is None or value == "" else _value(arguments[0], value, key, faults)
    if origin is Mapping:
        return {str(name): _make(arguments[1], each, f"{key}.{name}.", faults) for name, each in _table(key, value)}
    if origin is Literal:
        if value not in arguments:
            raise UsageError(f"{key}: {value!r} is not one of {' '.join(arguments)}")
        return value
    if origin is tuple:
        return tuple(_value(arguments[0], each, f"{key}[{n}]", faults) for n, each in enumerate(_list(key, value)))
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


def _list(key: str, value: object) -> list[Any]:
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
            table[last] = _list(name, text) if name in _ROWS else text
    return given


def _merge(into: dict[str, Any], changes: Mapping[str, Any]) -> None:
    for key, value in changes.items():
        if isinstance(value, Mapping) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        elif key in _ROWS and isinstance(into.get(key), list):
            into[key] = [*into[key], *value]
        else:
            into[key] = dict(value) if isinstance(value, Mapping) else value


def _unknown(key: str, names: Iterable[str]) -> str:
    return f"unknown setting {key}{_near(key, names)}"


def _near(key: str, names: Iterable[str]) -> str:
    near = difflib.get_close_matches(key, list(names), 1, 0.5)
    return f"; did you mean {near[0]}?" if near else ""
