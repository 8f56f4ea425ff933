"""Ingest: the one way by which objects come in, from the first byte to the answer.

A `Transfer` takes the bytes of one object on the loop: hashed, read by the bounded reader and written to staging as
they come. The committer makes objects durable and visible in batches. Here: where an object came from, and what became
of it.
"""

from __future__ import annotations

from dataclasses import dataclass

from sagittal.archive import DuplicatePolicy
from sagittal.archive.index.arrival import Encodes
from sagittal.dicom.dictionary import tag_text


@dataclass(frozen=True, slots=True)
class Source:
    """Where an object comes from, and what its sender's node says about duplicates."""

    kind: str  # "dimse" | "stow" | "import" | "transcode"
    calling_aet: str = ""
    called_aet: str = ""
    address: str = ""
    policy: DuplicatePolicy = "keep-first"
    issuer_of_patient_id: str = ""  # for objects that have none
    character_set: str = ""  # defined terms of (0008,0005), for objects that name none or one that nobody knows
    timezone: str = ""  # offset from UTC, "+0100", for objects that have none
    encodes: Encodes | None = None  # it is no new object, but one that is held in another encoding


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one object. But for "outdated" the archive holds it durably."""

    status: (
        str  # "stored" | "duplicate" (held already) | "kept" (the first stays current) | "replaced" (it is current now)
        # | "transcoded" (it is, for what it encodes) | "outdated" (that is not current any more; nothing was kept)
    )
    sop_class_uid: str
    sop_instance_uid: str
    series_uid: str
    study_uid: str
    digest: str
    warnings: tuple[str, ...] = ()
    offending: int | None = None  # "kept", "replaced": an attribute in which the two differ

    @property
    def remark(self) -> str:
        """Why it is not the current version, for people; "" when it is."""
        if self.status != "kept":
            return ""
        tag = "" if self.offending is None else tag_text(self.offending)
        return f"another content was stored first under this UID{tag and f', they differ in {tag}'}"
