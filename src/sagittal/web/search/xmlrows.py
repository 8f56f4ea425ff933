"""Rows as multipart/related of application/dicom+xml (PS3.18 8.7.3): a Native DICOM Model (PS3.19 A.1) for each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson
from starlette.responses import Response

from sagittal.dicom.models.xml import to_xml
from sagittal.web.search.rows import RowWriter, slices
from sagittal.web.wire.accept import DICOM_XML
from sagittal.web.wire.multipart import Framing

if TYPE_CHECKING:
    from sagittal.archive.query import Rows


async def multipart(writer: RowWriter, found: Rows) -> Response:
    """A part for each row; without rows 204, as there is no multipart without a part (RFC 2046 5.1.1)."""
    if not found.rows:
        return Response(status_code=204)
    framing = Framing(DICOM_XML)
    pieces: list[bytes] = []
    async for rows in slices(found):
        for row, extra in rows:
            held = orjson.loads(writer.row(row, extra).encode("utf-8", "replace"))
            pieces += (framing.head(DICOM_XML), to_xml(held))
    pieces.append(framing.close)
    return Response(b"".join(pieces), media_type=framing.content_type)
