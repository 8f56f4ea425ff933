"""Instances without a study (PS3.4 C.6, GG): which are held of some SOP classes, and those that match keys.

They are matched on the metadata that ingest kept, under the same budget as any search that no index answers.
"""

from __future__ import annotations

import json
import sqlite3
import zlib
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import orjson

from sagittal.archive.access import Principal, authorize
from sagittal.archive.index.connection import Readers
from sagittal.archive.index.finding.nonpatient import NON_PATIENT, WITHOUT_STUDY
from sagittal.archive.index.select import METADATA
from sagittal.archive.references import InstanceRef
from sagittal.archive.search.asked import check_patterns
from sagittal.dicom.matching.predicate import Keys, Matcher
from sagittal.dicom.matching.rules import Options
from sagittal.errors import LimitExceeded
from sagittal.limits import ArchiveLimits

_AT_ONCE = 24  # instances inflated and matched in one go on a reader thread


class Found(NamedTuple):
    """An instance and its DICOM JSON object, of so many bytes."""

    ref: InstanceRef
    obj: Mapping[str, Any]
    length: int


class Page(NamedTuple):
    """Some of what matches, from `offset` on, and how many do."""

    found: list[Found]
    number: int


async def without_study(readers: Readers, principal: Principal) -> list[InstanceRef]:
    """Every current instance that is of no study, whatever its SOP class."""
    authorize(principal, "get")
    return await readers.rows(InstanceRef, WITHOUT_STUDY + " ORDER BY id", (principal.store,))


async def find_non_patient(
    readers: Readers,
    limits: ArchiveLimits,
    principal: Principal,
    sop_classes: Iterable[str],
    keys: Keys,
    fuzzy: bool = False,
    offset: int = 0,
    limit: int | None = None,
) -> Page:
    """The instances of these classes that match all keys, in the order they were stored: from `offset` on, so many as
    `limit` says and as are held at one time (limits.returned_bytes_max).

    BadRequest for a key that cannot be read, LimitExceeded when more are held than may be looked through.
    """
    authorize(principal, "find")
    check_patterns(keys, limits.query_pattern_characters_max)
    scan_max = limits.scan_instances_max
    matches = Matcher(keys, Options(fuzzy=fuzzy))
    named = json.dumps(list(sop_classes))
    refs = await readers.rows(InstanceRef, NON_PATIENT, (principal.store, named, scan_max + 1))
    if len(refs) > scan_max:
        raise LimitExceeded(f"more than {scan_max} instances to look through (limits.scan_instances_max)")

    def match(connection: sqlite3.Connection, some: list[InstanceRef]) -> list[Found]:
        found = []
        for ref in some:
            text = b"".join(zlib.decompress(body) for (body,) in connection.execute(METADATA, (ref.id,)))
            if text and all(need in text for need in matches.needs) and matches(obj := orjson.loads(text)):
                found.append(Found(ref, obj, len(text)))
        return found

    page: list[Found] = []
    number, room = 0, limits.returned_bytes_max
    for at in range(0, len(refs), _AT_ONCE):
        for each in await readers.piece(match, refs[at : at + _AT_ONCE]):
            number += 1
            if number > offset and room > 0 and (limit is None or len(page) < limit):
                room -= each.length
                page += [each] if room >= 0 or not page else []
    return Page(page, number)
