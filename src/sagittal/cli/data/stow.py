"""Import into a running archive: one STOW-RS request (PS3.18 10.5) a file, several at one time.

One file a request, so that each file gets an answer of its own whatever its head says.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from sagittal.archive.upkeep.sources import Candidate, Member, Opened, Refusal, candidates, outcome_of
from sagittal.client.dicomweb import refuse
from sagittal.client.outcome import Stored
from sagittal.client.storing.stow import HEADERS, answer_of, body_of
from sagittal.dicom.part10 import Part10Head, head_of
from sagittal.dicom.sopclasses import MEDIA_STORAGE_DIRECTORY
from sagittal.errors import Malformed, SagittalError, words_of
from sagittal.lasting import several
from sagittal.limits import ArchiveLimits, ReaderLimits

if TYPE_CHECKING:
    import httpx

Answer = tuple[str, str, str, str]  # file, status, reason, SOP Instance UID
_REQUESTS = 4
_READ_BYTES = 1 << 18


def store_over_http(client: httpx.AsyncClient, paths: Sequence[Path], store: str = "") -> AsyncGenerator[Answer]:
    """Everything at or below `paths`, with an answer for each file; PeerRefused when the archive takes none of us."""
    url = (f"/stores/{quote(store, safe='')}" if store else "") + "/dicom-web/studies"
    return several(candidates(paths, ArchiveLimits()), lambda file: _store(client, url, file), _REQUESTS)


async def _store(client: httpx.AsyncClient, url: str, candidate: Candidate | Refusal) -> Answer:
    if isinstance(candidate, Refusal):
        return candidate.name, candidate.outcome, candidate.reason, ""
    try:
        opened = await asyncio.to_thread(candidate.open)
    except (OSError, RuntimeError, ValueError) as error:
        if isinstance(candidate, Member):
            candidate.abandon()
        return candidate.name, "failed", words_of(error), ""
    try:
        if not candidate.size:
            raise Malformed("empty", "empty")
        head = await asyncio.to_thread(_read_head, opened)
        if head.sop_class_uid == MEDIA_STORAGE_DIRECTORY:
            return candidate.name, "skipped", "a DICOMDIR; the files it lists are imported on their own", ""
        pieces = iter(partial(opened.read, _READ_BYTES), b"")
        response = await client.post(url, headers=HEADERS, content=body_of(pieces))
    except Malformed as error:
        return candidate.name, outcome_of(candidate, error), error.text, ""
    except (SagittalError, OSError) as error:
        return candidate.name, "failed", words_of(error), ""
    finally:
        await asyncio.to_thread(opened.close)
    if response.status_code in (401, 403, 405) or response.is_redirect:  # about who asks, so the same for every file
        refuse(response)
    status, reason, became = answer_of(response)
    if Stored(Path(), status=status).failed:
        return candidate.name, "failed", reason or status, head.sop_instance_uid or ""
    warned = "" if status == "0000" else reason or f"warning {status}"
    return candidate.name, became, warned, head.sop_instance_uid or ""


def _read_head(opened: Opened) -> Part10Head:
    """Raises Malformed unless it is a DICOM file."""
    head = head_of(iter(partial(opened.read, _READ_BYTES), b""), ReaderLimits())
    opened.rewind()
    return head
