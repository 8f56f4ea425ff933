"""What the REST takes and gives, as OpenAPI describes it; and who asks, as every operation gets it."""

from __future__ import annotations

from dataclasses import asdict, is_dataclass
from typing import Annotated, Any, Literal

from fastapi import Depends, Query, Request
from pydantic import BaseModel, Field

from sagittal.archive import DuplicatePolicy
from sagittal.archive.access import Principal
from sagittal.archive.nodes import NODE_VERBS


class NodeIn(BaseModel, extra="forbid"):
    """A node of the AE table."""

    peer: str = Field(examples=["SCANNER1@192.168.1.20:104"], max_length=300)
    tls: bool = Field(False, description="we connect to it with TLS")
    duplicates: Literal["", DuplicatePolicy] = Field("", description="empty: as the archive does")
    name: str = Field("", max_length=64, description="for people")
    verbs: list[str] = Field(default=sorted(NODE_VERBS), max_length=20, description="what it may do")
    addresses: list[str] = Field(
        default=[], max_length=100, examples=[["10.1.0.0/16"]], description="where it calls from; none: its host"
    )
    syntax_order: list[str] = Field(
        default=[],
        max_length=100,
        description="transfer syntaxes by preference, * for every other; none: the archive's",
    )
    character_set: str = Field("", max_length=200, description="of what it sends without one: as (0008,0005)")
    issuer_of_patient_id: str = Field("", max_length=64, description="of Patient IDs that it sends without one")
    timezone: str = Field("", max_length=5, examples=["+0100"], description="its offset from UTC")
    store: str = Field("", max_length=32, description="the store that it works in, whatever title it calls")


class TokenIn(BaseModel, extra="forbid"):
    """A bearer token, by the SHA-256 of its secret: the secret stays with who made it."""

    name: str = Field(min_length=1, max_length=64)
    digest: str = Field(pattern="^[0-9a-f]{64}$", description="SHA-256 of what clients send behind `Bearer`")
    verbs: list[str] = Field(examples=[["find", "get"]], max_length=20, description="what it lets do")
    store: str = Field("", max_length=32, description="the only one that it lets into, unless it may admin; none: main")


class UpkeepIn(BaseModel, extra="forbid"):
    """What a command did beside the server."""

    verb: Literal["scrub", "backup", "export"]
    outcome: Literal["done", "findings", "failed"] = "done"
    detail: str = Field("", max_length=200)
    instances: int = Field(0, ge=0, le=1 << 53, description="that it looked at or copied")


class Change(BaseModel):
    cursor: str = Field(description="goes on after this change")
    kind: str = Field(description="stored, replaced, transcoded, kept, deleted, undeleted, purged or corrected")
    study: str
    series: str
    instance: str
    at: int = Field(description="microseconds since 1970, UTC")


class ChangePage(BaseModel):
    changes: list[Change]
    cursor: str = Field(description="hand it back as `since` to go on")


class Deleted(BaseModel):
    tombstone: int
    instances: int


class Undeleted(BaseModel):
    instances: int


class Version(BaseModel):
    """One of the contents that came under a SOP Instance UID."""

    id: int
    state: str = Field(description="current, other, deleted (can be undeleted) or purged")
    digest: str = Field(description="SHA-256 of the file")
    size: int = Field(description="bytes of the file")
    transfer_syntax: str
    sop_class: str
    study: str
    series: str
    frames: int | None


class Discrepancy(BaseModel):
    """A value that differs from the one that came first and is kept for the study, its patient or the series."""

    level: str
    study: str
    series: str
    instance: str = Field(description="the first that carries it")
    tag: str = Field(examples=["00100010"])
    kept: str
    value: str
    instances: int = Field(description="that carry it")
    at: int = Field(description="microseconds since 1970, UTC")


class Problem(BaseModel):
    """RFC 9457."""

    status: int
    title: str
    detail: str


def _principal(request: Request) -> Principal:
    principal: Principal = request.scope["principal"]
    return principal


Asking = Annotated[Principal, Depends(_principal)]

Reason = Annotated[str, Query(max_length=1000, description="kept in the tombstone")]


def as_dict(row: Any) -> dict[str, Any]:
    """A named tuple or data class by its names."""
    return asdict(row) if is_dataclass(row) and not isinstance(row, type) else dict(row._asdict())
