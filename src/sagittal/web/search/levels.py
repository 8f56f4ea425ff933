"""What a search answers besides what was asked for: PS3.18 Tables 10.6.3-3 to 10.6.3-5.

Study and Series Description besides, which every list shows. Retrieve URL, Retrieve AE Title and Instance Availability
are not here: they are the same for every row but for the address, and the writers of rows add them. Query/Retrieve
Level, which clients of C-FIND bring along as a key, is what the resource says.
"""

from __future__ import annotations

from collections.abc import Collection

STUDY_UID, SERIES_UID, INSTANCE_UID = 0x0020000D, 0x0020000E, 0x00080018
RETRIEVE_URL, RETRIEVE_AE_TITLE, INSTANCE_AVAILABILITY = 0x00081190, 0x00080054, 0x00080056
QUERY_LEVEL, TIMEZONE = 0x00080052, 0x00080201
ADDED = frozenset({RETRIEVE_URL, RETRIEVE_AE_TITLE, INSTANCE_AVAILABILITY, QUERY_LEVEL})

DEFAULTS: dict[str, frozenset[int]] = {
    "STUDY": frozenset(
        {
            *(0x00080020, 0x00080030, 0x00080050, 0x00080061, 0x00080090, TIMEZONE, 0x00081030, 0x00100010),
            *(0x00100020, 0x00100030, 0x00100040, STUDY_UID, 0x00200010, 0x00201206, 0x00201208),
        }
    ),
    "SERIES": frozenset({0x00080060, TIMEZONE, 0x0008103E, SERIES_UID, 0x00200011, 0x00201209, 0x00400244, 0x00400245}),
    "IMAGE": frozenset(
        {0x00080016, INSTANCE_UID, TIMEZONE, 0x00200013, 0x00280008, 0x00280010, 0x00280011, 0x00280100, 0x00083002}
    ),
}
# Of Table 10.6.3-4, but not in the index: answered for series, and not with every one of their instances.
UNINDEXED = frozenset({0x00400275})
ABOVE = {"STUDY": (), "SERIES": ("STUDY",), "IMAGE": ("STUDY", "SERIES")}
UIDS = {"STUDY": (STUDY_UID,), "SERIES": (STUDY_UID, SERIES_UID), "IMAGE": (STUDY_UID, SERIES_UID, INSTANCE_UID)}


def answered(level: str, told: Collection[object]) -> frozenset[int]:
    """The attributes of a row of `level` when the keys `told` are asked.

    Asked across studies or series, each row tells which one it is of (PS3.18 10.6.3.3).
    """
    tags = DEFAULTS[level] | set(UIDS[level]) | (UNINDEXED if level == "SERIES" else frozenset())
    for above in ABOVE[level]:
        if UIDS[above][-1] not in told:
            tags |= DEFAULTS[above]
    return tags
