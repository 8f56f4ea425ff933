"""The statement that lists discrepancies: values that lost against the one that came first."""

from __future__ import annotations

# Levels patient and study have the study as their parent, which may carry any of both.
DISCREPANCIES = (
    "SELECT d.id, d.level, study.study_instance_uid, coalesce(series.series_instance_uid, ''), "
    "coalesce(instance.sop_instance_uid, ''), d.tag, d.kept, d.value, d.number_of_instances, d.at FROM discrepancy d "
    "LEFT JOIN series ON d.level = 'series' AND series.id = d.parent "
    "JOIN study ON study.id = CASE d.level WHEN 'series' THEN series.study ELSE d.parent END "
    "LEFT JOIN instance ON instance.id = d.instance "
    "WHERE d.store = ? AND (? = '' OR study.study_instance_uid = ?) ORDER BY d.id DESC LIMIT ?"
)
