"""Discrepancies, values that lost against the one that came first: the list of them, and those of a study found anew.

A study may have as many as there are attributes in its objects: they are put some at a time, so that what is received
meanwhile need not wait for them. One of them wins when what won is deleted. Deliberately not here: which value wins
otherwise (`anew`, and `hierarchy` at ingest).
"""

from __future__ import annotations

import json
import sqlite3
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import orjson

from sagittal.archive.index import CURRENT, corrections
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
from sagittal.dicom.dictionary import vr_of
from sagittal.dicom.models.members import value_text

# Levels patient and study have the study as their parent, which may carry any of both.
DISCREPANCIES = (
    "SELECT d.id, d.level, study.study_instance_uid, coalesce(series.series_instance_uid, ''), "
    "coalesce(instance.sop_instance_uid, ''), d.tag, d.kept, d.value, d.number_of_instances, d.at FROM discrepancy d "
    "LEFT JOIN series ON d.level = 'series' AND series.id = d.parent "
    "JOIN study ON study.id = CASE d.level WHEN 'series' THEN series.study ELSE d.parent END "
    "LEFT JOIN instance ON instance.id = d.instance "
    "WHERE d.store = ? AND (? = '' OR study.study_instance_uid = ?) ORDER BY d.id DESC LIMIT ?"
)
_AT_ONCE = 500  # rows of one transaction: some 5 ms
_LISTED = (
    "SELECT tag, value, id FROM discrepancy WHERE store = ? AND level = ? AND parent = ? AND (tag, value) > (?, ?) "
    "ORDER BY tag, value LIMIT ?"
)
# Of what was transcoded since, it is told of what it became; of what was deleted meanwhile, nothing.
_PUT = (
    "INSERT INTO discrepancy (store, level, parent, tag, value, kept, instance, number_of_instances, at) "
    "SELECT :store, :level, :parent, :tag, :value, :kept, "
    "coalesce((SELECT min(alias.instance) FROM alias JOIN instance original ON original.store = alias.store "
    "AND original.digest = alias.digest WHERE original.id = :instance), :instance), :number, :at "
    "WHERE EXISTS (SELECT 1 FROM series WHERE :level = 'series' AND id = :parent "
    "UNION ALL SELECT 1 FROM study WHERE :level <> 'series' AND id = :parent) "
    "ON CONFLICT (store, level, parent, tag, value) DO UPDATE SET kept = excluded.kept, "
    "instance = excluded.instance, number_of_instances = excluded.number_of_instances, at = excluded.at"
)
# About one attribute of a patient's other studies. What lost against the patient is what the study keeps.
_OTHERS = "SELECT id FROM study WHERE patient = :patient AND id <> :study"
_FORGET = (
    "DELETE FROM discrepancy WHERE store = :store AND level = 'patient' AND tag = :tag AND parent IN "
    f"({_OTHERS}) AND value = (SELECT {{column}} FROM study WHERE study.id = parent)"
)
_DISAGREE = (
    "INSERT INTO discrepancy (store, level, parent, tag, value, kept, instance, at) "
    "SELECT :store, 'patient', s.id, :tag, s.{column}, p.{column}, i.id, i.received_at FROM study s "
    "JOIN patient p ON p.id = s.patient JOIN instance i ON i.id = "
    "(SELECT min(id) FROM instance WHERE series IN (SELECT id FROM series WHERE study = s.id)) "
    f"WHERE s.id IN ({_OTHERS}) AND s.{{column}} <> '' AND p.{{column}} <> '' AND s.{{column}} <> p.{{column}} "
    "AND NOT EXISTS (SELECT 1 FROM correction c, json_each(c.attributes) corrected WHERE c.store = :store "
    "AND c.study_instance_uid = s.study_instance_uid AND c.series_instance_uid = '' AND c.undone_at IS NULL "
    "AND corrected.key IN (SELECT value FROM json_each(:tags)))"
)
_OF_STUDY = (
    "SELECT 'study' AS place, parent, '' AS uid, tag, kept, value FROM discrepancy WHERE store = :store "
    "AND level IN ('study', 'patient') AND parent = :study UNION ALL "
    "SELECT 'series', parent, series_instance_uid, tag, kept, value FROM series JOIN discrepancy d "
    "ON d.store = :store AND d.level = 'series' AND d.parent = series.id WHERE study = :study"
)
_HELD = {
    "study": f"SELECT id FROM instance WHERE series IN (SELECT id FROM series WHERE study = ?) AND state = {CURRENT}",
    "series": f"SELECT id FROM instance WHERE series = ? AND state = {CURRENT}",
}
_HELD_MAX = 5_000  # instances that are looked at: half a second, in which nothing is committed
_ABOUT = "store = :store AND level IN ({}) AND parent = :parent AND tag = :tag"
_WON = (
    f"DELETE FROM discrepancy WHERE {_ABOUT} AND value IN (:kept, :won)",
    f"UPDATE discrepancy SET kept = :won WHERE {_ABOUT} AND kept = :kept",
)
_LEVELS = {"study": "'study', 'patient'", "series": "'series'"}
_COLUMNS = {"study": STUDY_COLUMNS, "series": SERIES_COLUMNS}
_OF_SENDERS = (ISSUER_OF_PATIENT_ID, TIMEZONE_OFFSET_FROM_UTC)  # where an object is silent its sender's node said them


class Claim(NamedTuple):
    """A value that lost, and where."""

    level: str  # as in the table
    parent: int
    tag: int
    value: str


@dataclass(slots=True)
class Lost:
    """Against what it lost, and who claims it: the first instance, when that came, how many there are."""

    kept: str
    instance: int
    at: int
    number_of_instances: int = 1


class Place(NamedTuple):
    """A row that values lost against, and all that did, in the order of tags and values."""

    store: int
    level: str
    parent: int
    found: Sequence[tuple[Claim, Lost]]


class Cursor(NamedTuple):
    """How far a list is: the place, and in there how many were put, and the tag and value behind which it goes on."""

    place: int = 0
    put: int = 0
    after: tuple[int, str] = (-1, "")


def put_some(connection: sqlite3.Connection, places: Sequence[Place], cursor: Cursor) -> Cursor | None:
    """Let some of those of a study be what was found; where to go on, None at the end.

    What was listed before keeps its place in the list, what was not found goes.
    """
    room = _AT_ONCE
    while cursor.place < len(places) and room > 0:
        store, level, parent, found = places[cursor.place]
        some = {claim[2:]: lost for claim, lost in found[cursor.put : cursor.put + room]}
        listed = connection.execute(_LISTED, (store, level, parent, *cursor.after, room)).fetchall()
        # Beyond the last of either there may be more of the other: that is for the next time.
        ends = [*some][room - 1 : room] + [row[:2] for row in listed[room - 1 : room]]
        end = min(ends, default=None)
        here = {key: lost for key, lost in some.items() if end is None or key <= end}
        gone = [(id,) for *key, id in listed if (end is None or tuple(key) <= end) and tuple(key) not in some]
        connection.executemany("DELETE FROM discrepancy WHERE id = ?", gone)
        connection.executemany(
            _PUT,
            (
                {
                    "store": store,
                    "level": level,
                    "parent": parent,
                    "tag": tag,
                    "value": value,
                    "kept": lost.kept,
                    "instance": lost.instance,
                    "number": lost.number_of_instances,
                    "at": lost.at,
                }
                for (tag, value), lost in here.items()
            ),
        )
        room -= 1 + max(len(here), len(listed))
        cursor = Cursor(cursor.place + 1) if end is None else Cursor(cursor.place, cursor.put + len(here), end)
    return cursor if cursor.place < len(places) else None


def compare_others(connection: sqlite3.Connection, store: int, patient: int, study: int, tags: Iterable[int]) -> None:
    """After `study` described its patient otherwise in `tags`: list which of the patient's other studies differ now.

    But where that is corrected, or the study was given to the patient by a correction.
    """
    for tag in tags:
        corrected = json.dumps([f"{other:08X}" for other in (tag, PATIENT_ID, ISSUER_OF_PATIENT_ID)])
        bound = {"store": store, "patient": patient, "study": study, "tag": tag, "tags": corrected}
        for statement in (_FORGET, _DISAGREE):
            connection.execute(statement.format(column=PATIENT_COLUMNS[tag]), bound)


def settle(connection: sqlite3.Connection, study: int, at: int) -> None:
    """After instances of a study went: where none says any more what won, what the first says that lost wins instead.

    Where that was corrected, the correction stays.
    """
    store, study_uid = connection.execute(
        "SELECT store, study_instance_uid FROM study WHERE id = ?", (study,)
    ).fetchone()
    rows = connection.execute(_OF_STUDY, {"store": store, "study": study}).fetchall()
    corrected = corrections.in_force(connection, store, study_uid) if rows else {}
    disputed: dict[tuple[str, int], dict[int, list[str]]] = {}
    for table, id, series_uid, tag, kept, value in rows:
        present = connection.execute(f"SELECT {_COLUMNS[table][tag]} FROM {table} WHERE id = ?", (id,)).fetchone()
        if present == (kept,) and tag not in corrected.get(series_uid, {}):  # a study may differ from its patient, too
            disputed.setdefault((table, id), {}).setdefault(tag, [kept]).append(value)
    for (table, id), texts in disputed.items():
        won = _won(connection, table, id, texts)
        if won:
            corrections.write(connection, store, table, id, won, at)
        for tag, value in won.items():
            bound = {"store": store, "parent": id, "tag": tag, "kept": texts[tag][0], "won": value}
            for statement in _WON:
                connection.execute(statement.format(_LEVELS[table]), bound)


def _won(connection: sqlite3.Connection, table: str, id: int, texts: Mapping[int, Sequence[str]]) -> dict[int, str]:
    """The values of a place that win now, by tag; of each tag that one comes first which won before."""
    left, found = set(texts), dict[int, str]()
    held = connection.execute(f"{_HELD[table]} ORDER BY id LIMIT ?", (id, _HELD_MAX + 1)).fetchall()
    for (instance,) in held if len(held) <= _HELD_MAX else ():
        if not left:  # all that won before are said still
            break
        parts = [zlib.decompress(body) for (body,) in connection.execute(METADATA, (instance,))]
        obj = orjson.loads(b"".join(parts))
        for tag in [*left]:
            said = _said(obj, tag)
            text = next((text for text in texts[tag] if _as_said(tag, text) == said), None)
            if text == texts[tag][0] or (not said and tag in _OF_SENDERS):
                left.discard(tag)
            elif text is not None:
                found.setdefault(tag, text)
    return {tag: found[tag] for tag in left if tag in found}


def _said(obj: Mapping[str, Any], tag: int) -> str:
    """What an object says, as text."""
    values = (obj.get(f"{tag:08X}") or {}).get("Value") or ()
    return _as_said(tag, columns_of({tag: "\\".join(map(value_text, values))})[tag])


def _as_said(tag: int, text: str) -> str:
    """A column's text without what DICOM JSON leaves out: zeros before a number, groups behind a name."""
    found = number(text) if vr_of(tag) == "IS" else None
    return text.rstrip("=") if found is None else str(found)
