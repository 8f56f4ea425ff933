"""The statements that find instances without a study, all or by SOP class: palettes, hanging protocols, templates.

They are few, and searched on their metadata, so that they have no columns of their own.
"""

from __future__ import annotations

from sagittal.archive.index import CURRENT

# Columns of InstanceRef. Bound: the store.
WITHOUT_STUDY = (
    "SELECT id, NULL, NULL, sop_class_uid, sop_instance_uid, transfer_syntax_uid, digest, length, header_length,"
    ' number_of_frames, volume, "key", "offset", state, NULL, store FROM instance'
    f" WHERE series IS NULL AND +store = ? AND state = {CURRENT}"
)
# Bound: the store, the SOP classes as a JSON list, the most rows.
NON_PATIENT = WITHOUT_STUDY + " AND sop_class_uid IN (SELECT value FROM json_each(?)) ORDER BY id LIMIT ?"
