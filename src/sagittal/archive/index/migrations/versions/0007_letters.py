"""Names with letters that have a stroke or are two in one (Łukasz, Søren, Ægir), folded anew as they are matched."""

from __future__ import annotations

from alembic import op

from sagittal.archive.index.finding import people
from sagittal.dicom.matching.names import fold_name

revision = "0007"
down_revision = "0006"

_FOLDED = (
    ("patient", "patient_name"),
    ("study", "patient_name"),
    ("study", "referring_physician_name"),
    ("series", "operators_name"),
)
_NAMES = "name IN (SELECT DISTINCT name FROM attribute_value WHERE value GLOB 'p*')"


def upgrade() -> None:
    """From the names as they were received; attributes indexed by configuration are read again as time allows."""
    connection = op.get_bind().connection.driver_connection
    assert connection is not None
    connection.create_function("fold_name", 1, fold_name, deterministic=True)
    studies = set()
    for table, name in _FOLDED:
        folded = f"UPDATE {table} SET {name}_search = fold_name({name}) WHERE {name}_search <> fold_name({name})"
        ids = connection.execute(f"{folded} RETURNING id").fetchall()
        studies |= set(ids) if table == "study" else set()
    for (study,) in studies:
        people.forget(connection, study)
        found = connection.execute(f"SELECT store, {', '.join(people.TAGS.values())} FROM study WHERE id = ?", (study,))
        for store, *names in found.fetchall():
            people.record(connection, store, study, zip(people.TAGS, names, strict=True))
    connection.execute(
        "UPDATE indexed_attribute SET done = 0, until = (SELECT coalesce(max(id), 0) FROM instance) "
        f"WHERE until >= 0 AND {_NAMES}"
    )
    connection.execute("DELETE FROM attribute_value WHERE value GLOB 'p*'")
