"""Reading the metadata of instances for keys that no index answers, some milliseconds at a time.

The text of an object is inflated and looked through for the attribute's tag; only one that has it is parsed. The thread
is given back between slices, so that other queries and the loop have their turn. Corrections are laid over it, so
that what is right is found and returned. Deliberately not here: opening files.
"""

from __future__ import annotations

import json
import sqlite3
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from time import monotonic
from typing import Any

import orjson

from sagittal.archive.acts.corrections import in_force
from sagittal.archive.index import corrections
from sagittal.archive.index.connection import Readers
from sagittal.archive.index.select import METADATA_OF
from sagittal.dicom.matching.predicate import Matcher
from sagittal.errors import LimitExceeded

_SLICE_SECONDS = 0.002
_ROWS_AT_ONCE = 32
Pair = tuple[int, int]  # row, instance


async def matching(
    readers: Readers, pairs: Sequence[Pair], matcher: Matcher, enough: int, until: float, bytes_max: int
) -> dict[int, int]:
    """The rows of which some instance matches, in the order of `pairs`, with the first instance that does.

    Stops at `enough` rows. LimitExceeded after `until` (monotonic), or for an instance with more metadata than
    `bytes_max` that may match.
    """
    found: dict[int, int] = {}
    at = 0
    while at < len(pairs) and len(found) < enough:
        if monotonic() > until:
            raise LimitExceeded("the query took too long; narrow it")
        at = await readers.piece(_slice, pairs, at, matcher, found, bytes_max)
    return dict(list(found.items())[:enough])


def _slice(
    connection: sqlite3.Connection,
    pairs: Sequence[Pair],
    at: int,
    matcher: Matcher,
    found: dict[int, int],
    bytes_max: int,
) -> int:
    """Look at pairs from `at` on, for a short while; gives where it came to."""
    until = monotonic() + _SLICE_SECONDS
    while True:
        chunk = [pair for pair in pairs[at : at + _ROWS_AT_ONCE] if pair[0] not in found]
        at += _ROWS_AT_ONCE
        texts = _texts(connection, [instance for _, instance in chunk], matcher.needs, bytes_max)
        matched = {
            instance for instance, text in texts if matcher.may_match(text.decode()) and matcher(orjson.loads(text))
        }
        for row, instance in chunk:
            if row not in found and instance in matched:
                found[row] = instance
        if at >= len(pairs) or monotonic() >= until:
            return at


def _texts(
    connection: sqlite3.Connection, instances: list[int], needs: tuple[bytes, ...], bytes_max: int
) -> Iterator[tuple[int, bytes]]:
    """The metadata of those instances that have all the bytes that are needed, with the corrections in force."""
    corrected = corrections.of_instances(connection, instances)
    for instance, bodies in _bodies(connection, instances):
        text = _joined(bodies, bytes_max)
        if text is None:
            if not all(_is_in(need, bodies) for need in needs):
                continue
            raise LimitExceeded(
                f"narrow the query: an instance that it reads has metadata of more than {bytes_max} bytes "
                "(limits.scan_metadata_bytes_max)"
            )
        if instance in corrected:
            text = _effective(text, *corrected[instance])
        if all(need in text for need in needs):
            yield instance, text


def _joined(bodies: Sequence[bytes], bytes_max: int) -> bytes | None:
    """Parts inflated to one text; None when it is longer than `bytes_max`, which is never in memory then."""
    parts, room = list[bytes](), bytes_max
    for body in bodies:
        parts.append(zlib.decompress(body))
        room -= len(parts[-1])
        if room < 0:
            return None
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _is_in(need: bytes, bodies: Iterable[bytes]) -> bool:
    """Whether some bytes are in a text, of which one part after another is inflated."""
    end = b""
    for body in bodies:
        part = end + zlib.decompress(body)
        if need in part:
            return True
        end = part[len(part) - len(need) + 1 :]
    return False


def _effective(text: bytes, series_uid: str, found: Sequence[corrections.Row], is_unordered: bool) -> bytes:
    from sagittal.dicom.models.overlayjson import overlaid_json

    laid_over = in_force(found, series_uid)
    if not laid_over:
        return text
    return overlaid_json(text.decode("utf-8"), laid_over, unordered=is_unordered).encode("utf-8")


def _bodies(connection: sqlite3.Connection, instances: list[int]) -> Iterator[tuple[int, list[bytes]]]:
    current, bodies = -1, list[bytes]()
    for instance, body in connection.execute(METADATA_OF, (json.dumps(instances),)):
        if instance != current:
            if bodies:
                yield current, bodies
            current, bodies = instance, []
        bodies.append(body)
    if bodies:
        yield current, bodies


def objects(
    connection: sqlite3.Connection, instances: list[int], bytes_max: int
) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """The parsed metadata of instances."""
    for instance, text in _texts(connection, instances, (), bytes_max):
        yield instance, orjson.loads(text)
