"""Other archives, and ours, from the outside: find, get and store over DIMSE and DICOMweb alike.

`Archive` is for programs, `opening.open_remote` for the commands. Each kind of archive is one file.
"""

from __future__ import annotations

from sagittal.client.archive import Archive
from sagittal.client.match import Match
from sagittal.client.outcome import Stored, Unanswered
from sagittal.client.place import Access
from sagittal.client.storing.rewrite import NewUids

__all__ = ["Access", "Archive", "Match", "NewUids", "Stored", "Unanswered"]
