"""Statements of the counts and the latest studies."""

from __future__ import annotations

from sagittal.archive.index import CURRENT, DELETED, DELETED_OTHER, OTHER

STUDIES = (
    "SELECT count(*), count(DISTINCT patient), coalesce(sum(number_of_series), 0), "
    "coalesce(sum(number_of_instances), 0) FROM study WHERE +store = ? AND number_of_instances > 0"
)
# Versions that are not current have a partial index; they are few.
NOT_CURRENT = (
    f"SELECT coalesce(sum(state = {OTHER}), 0), coalesce(sum(state IN ({DELETED}, {DELETED_OTHER})), 0) "
    f"FROM instance WHERE store = ? AND state <> {CURRENT}"
)
NON_PATIENT = f"SELECT count(*) FROM instance WHERE series IS NULL AND state = {CURRENT} AND +store = ?"
BYTES_SINCE = "SELECT coalesce(sum(length), 0), coalesce(max(id), ?) FROM instance WHERE id > ? AND +store = ?"
LATEST_STUDIES = (
    "SELECT study_instance_uid, patient_id, patient_name, study_date, study_description, modalities_in_study, "
    "number_of_series, number_of_instances, changed_at FROM study "
    "WHERE +store = ? AND number_of_instances > 0 ORDER BY id DESC LIMIT ?"
)
# For the report of images: instances after one, with what the index has of them.
IMAGES_AFTER = (
    "SELECT i.id, s.modality, i.series, i.sop_class_uid, i.transfer_syntax_uid, i.rows, i.columns, i.bits_allocated, "
    "i.number_of_frames, f.body FROM instance i JOIN series s ON s.id = i.series "
    "LEFT JOIN frame_index f ON f.instance = i.id "
    f"WHERE i.id > ? AND i.state = {CURRENT} AND +i.store = ? ORDER BY i.id LIMIT ?"
)
MODALITIES = (
    "SELECT modality, count(DISTINCT study), count(*) FROM series "
    "WHERE +store = ? AND number_of_instances > 0 GROUP BY modality"
)
CHANGES_SINCE = "SELECT max(id), coalesce(sum(kind <> 'stored'), 0) FROM change WHERE id > ?"
