"""Words of person names, for fuzzy matching: which words there are, what they have in common with others, who has them.

A word is a row once, with its codes (`dicom.matching.names.codes`); a study's names refer to words. So a fuzzy query is
a few look-ups whatever is held. Deliberately not here: names of series (operators), which fuzzy queries read from the
metadata.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping

from sagittal.archive.index import STORE
from sagittal.dicom.matching.names import codes, words

PATIENT_NAME, REFERRING_PHYSICIAN_NAME = 0x00100010, 0x00080090
TAGS: Mapping[int, str] = {PATIENT_NAME: "patient_name", REFERRING_PHYSICIAN_NAME: "referring_physician_name"}

_FIND_WORD = "SELECT id FROM name_word WHERE store = ? AND word = ?"
_ADD_WORD = "INSERT INTO name_word (store, word) VALUES (?, ?)"
_ADD_CODE = "INSERT INTO name_code (store, code, word) VALUES (?, ?, ?)"
_ADD_USE = "INSERT OR IGNORE INTO name_use (word, tag, study) VALUES (?, ?, ?)"
_FORGET_USES = "DELETE FROM name_use WHERE study = ? RETURNING word"
_UNUSED = "SELECT 1 FROM name_use WHERE word = ? LIMIT 1"
_WORDS = {
    "sound": f"SELECT c.word FROM name_code c WHERE c.store = {STORE} AND c.code IN (SELECT value FROM json_each(?))",
    "begin": f"SELECT w.id FROM name_word w WHERE w.store = {STORE} AND w.word >= ? AND w.word < ?",
    "word": f"SELECT w.id FROM name_word w WHERE w.store = {STORE} AND w.word GLOB ?",
}


def record(connection: sqlite3.Connection, store: int, study: int, names: Iterable[tuple[int, str]]) -> None:
    """The names of a study of a store, by tag, beside those it has; inside the caller's transaction."""
    for tag, name in names:
        for word in words(name):
            connection.execute(_ADD_USE, (_word(connection, store, word), tag, study))


def forget(connection: sqlite3.Connection, study: int) -> None:
    """Forget the names of a study, and words that nobody has any more."""
    for (word,) in set(connection.execute(_FORGET_USES, (study,)).fetchall()):
        if connection.execute(_UNUSED, (word,)).fetchone() is None:
            connection.execute("DELETE FROM name_code WHERE word = ?", (word,))
            connection.execute("DELETE FROM name_word WHERE id = ?", (word,))


def record_all(connection: sqlite3.Connection) -> None:
    """The names of every study that is held: for an index that had none of this."""
    columns = ", ".join(TAGS.values())
    for id, store, *names in connection.execute(f"SELECT id, store, {columns} FROM study").fetchall():
        record(connection, store, id, zip(TAGS, names, strict=True))


def condition(level: str, tag: int, shape: str) -> str:
    """Rows of a level whose study has a name with words of this shape (`matching`); holds STORE."""
    study = "study.id"
    alternatives = []
    for part in shape.split("|"):
        if part == "empty":
            alternatives.append(f"study.{TAGS[tag]} = ''")
            continue
        used = (
            f"SELECT u.study FROM name_use u WHERE u.tag = {tag} AND u.word IN ({_WORDS[w]})" for w in part.split("&")
        )
        alternatives.append(" AND ".join(f"{study} IN ({uses})" for uses in used))
    found = "(" + " OR ".join(f"({text})" for text in alternatives) + ")"
    if level != "PATIENT":
        return found
    return f"patient.id IN (SELECT study.patient FROM study WHERE {found})"


def _word(connection: sqlite3.Connection, store: int, word: str) -> int:
    row = connection.execute(_FIND_WORD, (store, word)).fetchone()
    if row is not None:
        return int(row[0])
    id = connection.execute(_ADD_WORD, (store, word)).lastrowid
    assert id is not None
    connection.executemany(_ADD_CODE, ((store, code, id) for code in codes(word)))
    return id
