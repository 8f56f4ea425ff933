"""The configuration: one TOML file, the environment and the command line, frozen and handed down from `serve`.

What comes later wins: defaults, `--config FILE`, `SAGITTAL_…` (`SAGITTAL_DIMSE__PORT=104`), command line. An unknown
key is an error that names the nearest one. Nodes and tokens given here are added to those kept in the data directory
(`sagittal nodes`, `sagittal config token`). Deliberately not here: anything that changes while the archive runs.
"""

from __future__ import annotations

import dataclasses
import difflib
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from sagittal.dimse.address import is_loopback, parse_peer
from sagittal.errors import UsageError
from sagittal.limits import Limits

# PS3.5 6.2, VR AE: no backslash, no control characters, spaces inside only
AeTitle = Annotated[str, Field(min_length=1, max_length=16, pattern=r"^[!-\[\]-~](?:[ -\[\]-~]*[!-\[\]-~])?$")]
Port = Annotated[int, Field(ge=0, le=65535)]
DuplicatePolicy = Literal["keep-first", "replace", "refuse"]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class NodeSettings(_Part):
    """A node of the AE table given in the configuration: `nodes = ["AET@host:port"]` or a table with these keys."""

    aet: AeTitle
    host: str
    port: Port
    tls: bool = False
    duplicates: DuplicatePolicy | None = None  # None: as the archive's


class TokenSettings(_Part):
    """A bearer token by its SHA-256; the token itself is printed once, when it is made, and kept nowhere."""

    name: str = Field(min_length=1, max_length=64)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    verbs: tuple[str, ...] = ("echo", "store", "find", "get", "move")


class DimseSettings(_Part):
    """The DIMSE listener."""

    port: Port = 11112
    kept_status: Literal["warning", "success"] = "warning"  # B000 or 0000 when the first version was kept
    prefer: tuple[str, ...] = ()  # transfer syntaxes chosen before the usual order
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    tls_authorities: Path | None = None


class WebSettings(_Part):
    """The HTTP listener."""

    port: Port = 8042
    hosts: tuple[str, ...] = ()  # names a browser may use for us, beside the bind address and loopback
    origins: tuple[str, ...] = ()  # pages that may write, as https://viewer.example
    public_url: str | None = None  # what clients see in front of a proxy


class Settings(BaseSettings):
    """All settings of `sagittal serve`, with their defaults."""

    model_config = SettingsConfigDict(
        frozen=True, extra="forbid", env_prefix="SAGITTAL_", env_nested_delimiter="__", validate_default=False
    )

    data: Path = Path("sagittal-data")
    host: str = "127.0.0.1"
    aet: AeTitle = "SAGITTAL"
    durability: Literal["full", "off"] = "full"
    duplicates: DuplicatePolicy = "keep-first"  # other content under a held SOP Instance UID
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    dimse: DimseSettings = DimseSettings()
    web: WebSettings = WebSettings()
    limits: Limits = Limits()
    nodes: tuple[NodeSettings, ...] = ()
    tokens: tuple[TokenSettings, ...] = ()

    @field_validator("limits", mode="before")
    @classmethod
    def _limits_by_name(cls, value: object) -> Limits:
        return value if isinstance(value, Limits) else limits_with(value)

    @field_validator("nodes", mode="before")
    @classmethod
    def _nodes_as_text(cls, value: object) -> object:
        if not isinstance(value, list | tuple):
            return value
        return tuple(parse_peer(node)._asdict() if isinstance(node, str) else node for node in value)

    @classmethod
    def settings_customise_sources(
        cls, settings_cls: type[BaseSettings], init_settings: PydanticBaseSettingsSource, *_: Any, **__: Any
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, EnvSettingsSource(settings_cls)

    @property
    def loopback(self) -> bool:
        """Whether both listeners can be reached from this machine only."""
        return is_loopback(self.host)


def limits_with(changes: object) -> Limits:
    """The default limits with some replaced by name: `[limits]` has one flat list of names."""
    if not isinstance(changes, Mapping):
        raise UsageError("[limits] is a table of names and numbers")
    parts = {part.name: getattr(Limits(), part.name) for part in dataclasses.fields(Limits)}
    known = _limit_parts()
    for key, value in changes.items():
        if key not in known:
            raise UsageError(_unknown(f"limits.{key}", [f"limits.{name}" for name in known]))
        part = parts[known[key]]
        kind = type(getattr(part, key))
        try:
            number = kind(value)
        except (TypeError, ValueError):
            raise UsageError(f"limits.{key} is not a number: {value!r}") from None
        if isinstance(value, bool) or number < 0:
            raise UsageError(f"limits.{key} is not a positive number: {value!r}")
        parts[known[key]] = dataclasses.replace(part, **{key: number})
    return Limits(**parts)


def load(file: Path | None = None, overrides: Mapping[str, Any] | None = None) -> Settings:
    """Read the settings; `overrides` (the command line) are nested like the file. UsageError names each fault."""
    given = _read(file) if file else {}
    _merge(given, _environment())
    _merge(given, overrides or {})
    try:
        return Settings(**given)
    except ValidationError as error:
        raise UsageError("; ".join(_fault(fault) for fault in error.errors())) from None


def setting_names() -> list[str]:
    """Every key, dotted, as the configuration takes it."""
    names = []
    for name, field in Settings.model_fields.items():
        part = field.annotation
        if isinstance(part, type) and issubclass(part, BaseModel):
            names += [f"{name}.{inner}" for inner in part.model_fields]
        elif part is Limits:
            names += [f"limits.{limit}" for limit in _limit_parts()]
        else:
            names.append(name)
    return names


def _limit_parts() -> dict[str, str]:
    """Limit name -> the part of `Limits` that has it."""
    limits = Limits()
    names = [part.name for part in dataclasses.fields(limits)]
    return {field.name: name for name in names for field in dataclasses.fields(getattr(limits, name))}


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"cannot read {file}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{file} is not TOML: {error}") from None


def _environment() -> dict[str, Any]:
    """What SAGITTAL_… says, before validation, so that it takes its place between the file and the command line."""
    source = EnvSettingsSource(Settings)
    return {key: value for key, value in source().items() if key in Settings.model_fields}


def _merge(into: dict[str, Any], changes: Mapping[str, Any]) -> None:
    for key, value in changes.items():
        if isinstance(value, Mapping) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        elif key in ("nodes", "tokens") and isinstance(into.get(key), list):
            into[key] = [*into[key], *value]
        else:
            into[key] = dict(value) if isinstance(value, Mapping) else value


def _fault(fault: Mapping[str, Any]) -> str:
    key = ".".join(str(part) for part in fault["loc"])
    if fault["type"] == "extra_forbidden":
        return _unknown(key, setting_names())
    return f"{key}: {fault['msg']}"


def _unknown(key: str, names: Iterable[str]) -> str:
    near = difflib.get_close_matches(key, list(names), 1, 0.5)
    return f"unknown setting {key}" + (f"; did you mean {near[0]}?" if near else "")
