"""Transcoding by rule over REST: how far it is, what stayed as it came and why, and another try of that."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from fastapi import FastAPI, Query
from pydantic import BaseModel, Field

from sagittal.errors import NotFound
from sagittal.web.api.models import Asking

if TYPE_CHECKING:
    from sagittal.web.house import House


class Failure(BaseModel):
    """An object that a rule fits and that stays as it came."""

    instance: str
    study: str
    transfer_syntax: str = Field(description="in which it is")
    to: str = Field(description="in which it should be")
    reason: str
    again: bool = Field(description="it is tried once more")
    at: int = Field(description="microseconds since 1970, UTC")


class Transcoding(BaseModel):
    """How far the rules of `[[transcode]]` are."""

    rules: int
    waiting: int = Field(description="changes that they have not looked at yet")
    failed: int = Field(description="objects that stay as they came")
    failures: list[Failure] = Field(description="the latest of those")


class Again(BaseModel):
    instances: int


def add_transcoding(api: FastAPI, house: House) -> None:
    """See, and try again."""
    by_rule = house.settings.by_rule

    @api.get("/transcoding", summary="How far transcoding by rule is, and what it could not do")
    async def get_transcoding(asking: Asking, limit: Annotated[int, Query(ge=1, le=10_000)] = 100) -> Transcoding:
        if by_rule is None:
            raise NotFound("this archive transcodes nothing by rule")
        found = await by_rule.report(asking, limit)
        failures = [
            Failure(instance=row.sop_instance_uid, study=row.study_uid, transfer_syntax=row.syntax_uid,
                    to=row.to_syntax, reason=row.reason, again=bool(row.again), at=row.at)
            for row in found.failures
        ]  # fmt: skip
        state = found.state
        return Transcoding(rules=by_rule.rules, waiting=state.waiting, failed=state.failed, failures=failures)

    @api.post("/transcoding/again", summary="Try everything again that stayed as it came")
    async def post_again(asking: Asking) -> Again:
        if by_rule is None or not by_rule.rules:
            raise NotFound("this archive transcodes nothing by rule")
        return Again(instances=await by_rule.again(asking))
