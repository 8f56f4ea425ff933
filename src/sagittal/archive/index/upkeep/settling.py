"""What a study and its series say after instances went, came back or were read again, and what is listed of them then.

What won stays while a current instance says it; else the first of them that says anything wins. What comes back is
compared as if it came in. Corrections in force stay on top, and know from then on what the objects say instead. It is
found in the metadata of instances, mostly in that of the first. Deliberately not here: objects that come in
(`hierarchy`).
"""

from __future__ import annotations

import json
import sqlite3
import zlib
from collections.abc import Container, Iterable, Mapping, Sequence, Set
from functools import cache
from itertools import count
from typing import Any, NamedTuple

import orjson

from sagittal.archive.index import CURRENT, DELETED, OTHER, corrections
from sagittal.archive.index.arrival import (
    ISSUER_OF_PATIENT_ID,
    PATIENT_COLUMNS,
    PATIENT_ID,
    SERIES_COLUMNS,
    STUDY_COLUMNS,
    TIMEZONE_OFFSET_FROM_UTC,
    columns_of,
    number,
)
from sagittal.archive.index.select import METADATA
from sagittal.archive.index.upkeep import discrepancies
from sagittal.archive.index.upkeep.discrepancies import Claim, Lost
from sagittal.dicom.dictionary import vr_of
from sagittal.dicom.models.members import value_text

_STUDY = f"SELECT store, study_instance_uid, {', '.join(STUDY_COLUMNS.values())} FROM study WHERE id = ?"
_SERIES = f"SELECT id, series_instance_uid, {', '.join(SERIES_COLUMNS.values())} FROM series WHERE study = ?"
_TOUCHED = (
    "SELECT id FROM series WHERE study = ? AND number_of_instances <> "
    f"(SELECT count(*) FROM instance WHERE instance.series = series.id AND state = {CURRENT})"
)
_INSTANCES = {"study": "series IN (SELECT id FROM series WHERE study = ?)", "series": "series = ?"}
_HELD = f"SELECT id, received_at, state FROM instance WHERE {{}} AND state IN ({OTHER}, {CURRENT}) ORDER BY id"
_VERSIONS = (
    f"SELECT series, id, received_at, state FROM instance WHERE {_INSTANCES['study']} "
    "AND id IN (SELECT value FROM json_each(?)) ORDER BY id"
)
_FEW = 16
_NEXT = tuple(
    f"SELECT id FROM instance WHERE series = (SELECT series FROM instance WHERE id = ?) AND id {side} ? "
    f"AND state = {CURRENT} ORDER BY id {order} LIMIT 1"
    for side, order in (("<", "DESC"), (">", "ASC"))
)
_TAGS = (*STUDY_COLUMNS, *SERIES_COLUMNS)
_UNREADABLE = ("",) * len(_TAGS)  # compared by identity: what such a one says is not known
_LOOKED_AT_MAX = 5_000  # instances, of those that were not before: half a second, in which nothing is committed
_ALL = 1 << 40


class Described(NamedTuple):
    """The row of a study or series, and the corrections in force of it, the oldest first."""

    store: int
    table: str
    id: int
    columns: Mapping[int, str]
    present: dict[int, str]
    active: list[corrections.Row]

    def stored(self) -> dict[int, str]:
        """What its objects say: what is present, but for corrections."""
        stored = dict(self.present)
        for row in self.active:
            stored |= {int(tag, 16): value for tag, value in json.loads(row.replaced).items()}
        return stored

    def corrected(self) -> set[int]:
        return {int(tag, 16) for row in self.active for tag in json.loads(row.replaced)}


def described(connection: sqlite3.Connection, study: int) -> list[Described]:
    """A study and its series; nothing when it is gone."""
    found = connection.execute(_STUDY, (study,)).fetchone()
    if found is None:
        return []
    store, study_uid, *values = found
    active = corrections.active(connection, store, [study_uid])

    def row(table: str, id: int, uid: str, columns: Mapping[int, str], values: Iterable[str]) -> Described:
        present = dict(zip(columns, values, strict=True))
        return Described(store, table, id, columns, present, [each for each in active if each.series_uid == uid])

    series = connection.execute(_SERIES, (study,)).fetchall()
    return [
        row("study", study, "", STUDY_COLUMNS, values),
        *(row("series", id, uid, SERIES_COLUMNS, texts) for id, uid, *texts in series),
    ]


def _bring(connection: sqlite3.Connection, row: Described, stored: Mapping[int, str], at: int) -> None:
    """Let a row be as its objects say."""
    for correction in row.active:
        corrections.put_replaced(connection, correction, stored)
    away = row.corrected()
    changed = {tag: value for tag, value in stored.items() if tag not in away and value != row.present[tag]}
    if changed:
        corrections.write(connection, row.store, row.table, row.id, changed, at)


def settle(
    connection: sqlite3.Connection, study: int, at: int, went: Sequence[int] = (), came: Sequence[int] = (),
    looked: Objects | None = None,
) -> None:  # fmt: skip
    """After versions of instances of a study `went` (none: any may have), or `came` back; some were `looked` at.

    What did both was there before, as another version.
    """
    touched = {("series", id) for (id,) in connection.execute(_TOUCHED, (study,))} | {("study", study)}
    gone = discrepancies.forget_gone(connection, study)
    objects = (looked or Objects()).of(connection)
    fresh = objects.of_rows(study, came, (OTHER, CURRENT))
    deleted = objects.of_rows(study, went, (DELETED,))  # another version may not have been counted
    for row in described(connection, study):
        key = row.table, row.id
        _count_down(objects, row, deleted.get(key, []))
        if key in touched | gone.keys() | fresh.keys():
            listed = gone.get(key, set())
            if listed or came or not objects.leave_all(row, went):
                tags = {tag for tag, _ in listed}
                _settle(objects, row, row.stored(), at, tags, fresh.get(key, []), listed, are_new=went != came)


def settle_all(connection: sqlite3.Connection, study: int, at: int, looked: Objects) -> None:
    """After all instances of a study were read again, and `looked` at."""
    objects = looked.of(connection)
    for row in described(connection, study):
        _settle(objects, row, row.stored(), at, row.columns.keys(), objects.held(row))


def prefer(
    connection: sqlite3.Connection, study: int, before: Mapping[tuple[str, int], Mapping[int, str]], at: int
) -> None:
    """After a reindex: what won `before` in some rows of a study stays, too; in a hidden one whatever it was: all of
    it may come back.
    """
    objects = Objects(_ALL).of(connection)
    for row in described(connection, study):
        if won := before.get((row.table, row.id)):
            _settle(objects, row, won, at)


def _settle(
    objects: Objects, row: Described, won: Mapping[int, str], at: int,
    listed: Set[int] = frozenset(), fresh: Sequence[_Instance] = (), gone: Set[tuple[int, str]] = frozenset(), *,
    are_new: bool = True,
) -> None:  # fmt: skip
    """One row, of which `won` was known, to which `fresh` ones came; what is `listed` of these tags is found anew, and
    `gone` was, too.
    """
    fresh, held, was = objects.some(fresh), objects.held(row), row.stored()
    current = [instance for instance in held if instance.state == CURRENT]
    now = was | {tag: text for tag, text in won.items() if text or not current}
    objects.know(row, was | now)
    if current:
        now |= objects.instead(now, current)
    for instance in fresh:
        if instance.state == CURRENT:
            now |= {tag: text for tag, text in objects.said(instance).items() if not now.get(tag, text)}
    told = {tag for tag in now if now[tag] != was[tag]} | (listed if current else set())
    # As at ingest, and in a reindex: of another version of an instance, what came after a current one did.
    claiming = [one for one in fresh if current and (one.state == CURRENT or one.id > current[0].id)]
    if not are_new:  # then they may be counted, or not
        told |= {claim.tag for claim in objects.lost(row, now, now.keys(), claiming)}
    _bring(objects.connection, row, now, at)
    _list(objects, row, now, told, held, gone)
    for claim, lost in objects.lost(row, now, now.keys() - told, claiming).items():
        discrepancies.add(objects.connection, row.store, claim, lost)


def _count_down(objects: Objects, row: Described, deleted: Sequence[_Instance]) -> None:
    """What is listed still, so many fewer say. Of more than are looked at not all may have been counted: that stays."""
    tags = {tag for tag, _ in discrepancies.listed(objects.connection, row.store, row.table, row.id)} if deleted else ()
    if tags and objects.are_all(row):
        stored = row.stored()
        objects.know(row, stored)
        for claim, lost in objects.lost(row, stored, set(tags), objects.some(deleted)).items():
            discrepancies.count_down(objects.connection, row.store, claim, lost.number_of_instances)


def _list(
    objects: Objects, row: Described, now: Mapping[int, str], tags: Set[int], held: Sequence[_Instance],
    gone: Set[tuple[int, str]],
) -> None:  # fmt: skip
    """List anew what lost of some attributes; of versions beside current ones what was listed, or is `gone` now."""
    found = objects.lost(row, now, tags, held)
    current = objects.lost(row, now, tags, [instance for instance in held if instance.state == CURRENT])
    kept = discrepancies.forget(
        objects.connection, (row.store, row.table, row.id), tags, {claim[2:] for claim in found}
    )
    for claim, lost in found.items():
        if claim in current or claim[2:] in kept | gone:
            discrepancies.put(objects.connection, row.store, claim, lost)
    if row.table == "study" and tags & PATIENT_COLUMNS.keys():
        discrepancies.compare_study(objects.connection, row.id)


class _Instance(NamedTuple):
    id: int
    received_at: int = 0
    state: int = CURRENT


class Objects:
    """What instances say, by their metadata; each is looked at once."""

    def __init__(self, most: int | None = None, bytes_max: int = 0) -> None:
        """`most` are looked at while nothing is committed, and before it what says no more than so many bytes."""
        self.connection: sqlite3.Connection
        self._most, self._room = most or _LOOKED_AT_MAX, bytes_max
        self._found: dict[int, tuple[str, ...]] = {}
        self._alike: dict[tuple[str, ...], tuple[str, ...]] = {}  # one for all that say the same
        self._texts: dict[tuple[int, str], str] = {}
        self._said: dict[int, dict[int, str]] = {}  # by the identity of one in `_alike`
        self._column = cache(_column)  # most say the same

    def of(self, connection: sqlite3.Connection) -> Objects:
        """The same, about what this one has."""
        self.connection = connection
        return self

    def look(self, connection: sqlite3.Connection, instances: Sequence[int]) -> None:
        """At some, as long as there is room for what they say."""
        self.of(connection)
        for id in instances:
            before = len(self._alike)
            texts = self._look(id) if self._room > 0 else ()
            self._room -= sum(map(len, texts)) if len(self._alike) > before else 0

    def _look(self, id: int) -> tuple[str, ...]:
        if id not in self._found:
            bodies = self.connection.execute(METADATA, (id,))
            try:
                obj = orjson.loads(b"".join(zlib.decompress(body) for (body,) in bodies))
            except (zlib.error, orjson.JSONDecodeError):  # damaged, which `scrub` tells; or it was purged meanwhile
                self._found[id] = _UNREADABLE
            else:
                texts = tuple(self._column(tag, _text(obj, tag)) for tag in _TAGS)
                self._found[id] = self._alike.setdefault(texts, texts)
        return self._found[id]

    def held(self, row: Described) -> list[_Instance]:
        """The versions of a row, but deleted ones, the oldest first: as many as can be looked at."""
        most = self._most + len(self._found)
        held = self.connection.execute(f"{_HELD.format(_INSTANCES[row.table])} LIMIT ?", (row.id, most)).fetchall()
        some = self.some(map(_Instance._make, held))
        self._is_all = len(some) == len(held) < most
        return some

    def are_all(self, row: Described) -> bool:
        """Whether as many as a row has can be looked at."""
        self.held(row)
        return self._is_all

    def of_rows(self, study: int, ids: Sequence[int], states: Container[int]) -> dict[tuple[str, int], list[_Instance]]:
        """Those of some versions, in some states, that are of the row of a study, or of a series of it."""
        found: dict[tuple[str, int], list[_Instance]] = {}
        for series, *each in self.connection.execute(_VERSIONS, (study, json.dumps(ids))) if ids else ():
            for key in (("study", study), ("series", series)) if each[-1] in states else ():
                found.setdefault(key, []).append(_Instance._make(each))
        return found

    def some(self, instances: Iterable[_Instance]) -> list[_Instance]:
        """Those that were looked at before, and of the others as many as there is time for."""
        unknown = count()
        return [one for one in instances if one.id in self._found or next(unknown) < self._most]

    def know(self, row: Described, texts: Mapping[int, str]) -> None:
        """From now on it is about a row: its texts to the letter, of which DICOM JSON leaves out a part."""
        listed = discrepancies.listed(self.connection, row.store, row.table, row.id)
        self._texts = {(tag, _as_said(tag, text)): text for tag, text in (*listed, *texts.items())}
        self._tags = row.columns.keys()
        self._said.clear()

    def said(self, instance: _Instance) -> dict[int, str]:
        """What one says of the row."""
        texts = self._look(instance.id)
        said = self._said.get(id(texts))
        if said is None:
            told = zip(_TAGS, texts, strict=True)
            said = {tag: self._texts.get((tag, text), text) for tag, text in told if tag in self._tags}
            self._said[id(texts)] = said
        return said

    def leave_all(self, row: Described, went: Sequence[int]) -> bool:
        """Whether all that few say who went, and that won, is said by those that came next before or after them."""
        if not 0 < len(went) <= _FEW:
            return False
        won = row.stored()
        self.know(row, won)
        left = {tag for id in went for tag, text in self.said(_Instance(id)).items() if text and text == won[tag]}
        for id in went if left else ():
            for statement in _NEXT:
                for (beside,) in self.connection.execute(statement, (id, id)):
                    left -= {tag for tag, text in self.said(_Instance(beside)).items() if text == won[tag]}
        return not left

    def instead(self, won: Mapping[int, str], held: Sequence[_Instance]) -> dict[int, str]:
        """Where none says any more what won: what the first says that says anything, "" when none does. Of more than
        are looked at, or can be, what those say counts.
        """
        left, found, is_all = {tag for tag, text in won.items() if text}, dict[int, str](), self._is_all
        for instance in held:
            if not left:  # mostly after the first
                break
            is_all = is_all and self._look(instance.id) is not _UNREADABLE
            said = self.said(instance)
            for tag in [*left]:
                if said[tag] == won[tag] or (not said[tag] and _may_be_the_senders(tag, said)):
                    left.discard(tag)
                elif said[tag]:
                    found.setdefault(tag, said[tag])
        return {tag: found.get(tag, "") for tag in left if is_all or tag in found}

    def lost(
        self, row: Described, now: Mapping[int, str], tags: Set[int], instances: Sequence[_Instance]
    ) -> dict[Claim, Lost]:
        """What some instances say of some attributes that another value was kept of."""
        found: dict[Claim, Lost] = {}
        alike: dict[int, list[_Instance]] = {}
        for instance in instances if tags else ():
            alike.setdefault(id(self._look(instance.id)), []).append(instance)
        for first, *others in alike.values():
            said = self.said(first)
            for tag in sorted(tags):
                if said[tag] and now[tag] and said[tag] != now[tag]:
                    level = "patient" if row.table == "study" and tag in PATIENT_COLUMNS else row.table
                    claim = Claim(level, row.id, tag, said[tag])
                    lost = found.setdefault(claim, Lost(now[tag], first.id, first.received_at, 0))
                    lost.number_of_instances += 1 + len(others)
        return found


def _may_be_the_senders(tag: int, said: Mapping[int, str]) -> bool:
    """Where an object is silent, its sender's node may have said what is kept (`arrival.with_senders`)."""
    return tag == TIMEZONE_OFFSET_FROM_UTC or (tag == ISSUER_OF_PATIENT_ID and bool(said[PATIENT_ID]))


def _text(obj: Mapping[str, Any], tag: int) -> str:
    """What an object says."""
    values = (obj.get(f"{tag:08X}") or {}).get("Value") or ()
    return "\\".join(map(value_text, values))


def _column(tag: int, text: str) -> str:
    """The same as columns have it."""
    return _as_said(tag, columns_of({tag: text})[tag])


def _as_said(tag: int, text: str) -> str:
    """A column's text without what DICOM JSON leaves out: zeros before a number, groups behind a name."""
    found = number(text) if vr_of(tag) == "IS" else None
    return text.rstrip("=") if found is None else str(found)
