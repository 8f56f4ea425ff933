"""Files to a DICOMweb server: one STOW-RS request (PS3.18 10.5) a file, several at one time.

One file a request, so that each file gets an answer of its own whatever its head says.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, NamedTuple

from sagittal.client.outcome import Stored
from sagittal.client.remote import Sending
from sagittal.client.storing.files import ObjectFile
from sagittal.client.storing.rewrite import Changes
from sagittal.client.storing.sending import changed
from sagittal.dicom.models.jsontext import first_value
from sagittal.dicom.part10 import meta_group
from sagittal.dimse.service import FileRegion
from sagittal.errors import PeerError, SagittalError, words_of
from sagittal.folders import pieces_of, read_in_pieces
from sagittal.lasting import several
from sagittal.web.store.became import STORED, decode

if TYPE_CHECKING:
    import httpx

Post = Callable[..., "Awaitable[httpx.Response]"]
"""One request to the services, as `WebArchive.post`."""
_READ_BYTES = 1 << 18
_BOUNDARY = "sagittal-part"
HEADERS = {
    "content-type": f'multipart/related; type="application/dicom"; boundary={_BOUNDARY}',
    "accept": "application/dicom+json",
}
_HEAD = f"--{_BOUNDARY}\r\nContent-Type: application/dicom\r\n\r\n".encode()
_STORED = b"00081199"  # Referenced SOP Sequence
_TAIL = f"\r\n--{_BOUNDARY}--\r\n".encode()


async def send(post: Post, files: Sequence[ObjectFile], sending: Sending) -> AsyncIterator[Stored]:
    """An answer for each file, in the order in which they come. PeerError when the server can't be reached at all."""

    def store(file: ObjectFile) -> Coroutine[Any, Any, Stored]:
        return _store(post, file, sending.changes, sending.study)

    async with aclosing(several(iter(files), store, sending.associations)) as answers:
        async for answer in answers:
            yield answer
            if answer.failed and sending.halt:
                return


async def _store(post: Post, file: ObjectFile, changes: Changes, study: str) -> Stored:
    uid = changes.sop_instance(file.sop_instance_uid)
    path = f"/studies/{study}" if study else "/studies"
    try:
        body = body_of(await asyncio.to_thread(_pieces, file, changes))
        # What went wrong with this file is said in the answer, whatever its status.
        response = await post(path, headers=HEADERS, content=body)
    except PeerError:
        raise
    except (SagittalError, OSError) as error:
        return Stored(file.path, uid, comment=words_of(error))
    return Stored(file.path, uid, *answer_of(response)[:2])


async def body_of(pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
    """One part and its delimiters."""
    yield _HEAD
    while (piece := await asyncio.to_thread(next, pieces, None)) is not None:
        yield piece
    yield _TAIL


def _pieces(file: ObjectFile, changes: Changes) -> Iterator[bytes]:
    """The file as it lies there; with changes, a new head and the changed data set."""
    return _changed(file, changes) if changes else read_in_pieces(file.path, _READ_BYTES)


def _changed(file: ObjectFile, changes: Changes) -> Iterator[bytes]:
    opened = file.path.open("rb")
    try:
        pieces = changed(opened.fileno(), file, file.syntax_uid, changes)
    except BaseException:
        opened.close()
        raise
    head = meta_group(
        changes.sop_class(file.sop_class_uid), changes.sop_instance(file.sop_instance_uid), file.syntax_uid
    )

    def given() -> Iterator[bytes]:
        with opened:
            yield head
            for piece in pieces:
                if isinstance(piece, FileRegion):
                    yield from pieces_of(piece.fd, piece.offset, piece.length, _READ_BYTES)
                else:
                    yield piece

    return given()


class Answer(NamedTuple):
    """What a STOW-RS response tells of its only instance (PS3.18 10.5.3, I)."""

    status: str  # of DIMSE; "" where the server tells none
    reason: str = ""
    became: str = STORED  # of what was stored: as `archive.ingest.Outcome`, where the server tells


def answer_of(response: httpx.Response) -> Answer:
    """What became of the instance. A success that does not name what is stored is none: pages of proxies have one, too,
    and who believes them may delete the only copy. Nothing at all is taken for the status that it comes with.
    """
    try:
        told = response.json()
    except ValueError:
        told = None
    failed = [*_items(told, "00081198"), *_items(told, "0008119A")]  # the second: those without UIDs
    reason = f"{response.status_code} {response.reason_phrase}"
    if response.is_success and not failed:
        if response.content and _STORED not in response.content:  # in JSON or XML
            return Answer("", f"{reason}, but the server does not say that it stored anything")
        (item,) = _items(told, _STORED.decode())[:1] or [{}]
        status = first_value(item, "00081196")
        code = f"{status:04X}" if isinstance(status, int) else "0000"
        return Answer(code, str(first_value(item, "00000902") or ""), decode(item))
    comments = [comment for row in failed if (comment := first_value(row, "00000902"))]
    codes = [f"{code:04X}" for row in failed if isinstance(code := first_value(row, "00081197"), int)]
    detail = told.get("detail") if isinstance(told, dict) else None
    return Answer((codes or [""])[0], str((comments or [detail or reason])[0]))


def _items(told: object, tag: str) -> list[dict[str, Any]]:
    found = told.get(tag) if isinstance(told, dict) else None
    items = found.get("Value") if isinstance(found, dict) else None
    return [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []
