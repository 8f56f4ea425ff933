"""A DICOMweb server that can't be talked to: one error, whatever the library makes of it."""

from __future__ import annotations

import asyncio
import ssl

import httpx
import pytest

from sagittal.client.dicomweb import WebArchive
from sagittal.errors import PeerUnreachable

LATE = ssl.SSLError(1, "tlsv13 alert certificate required")


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (httpx.ConnectError("refused"), "refused"),
        (httpx.ConnectTimeout(""), "connect timeout"),
        (httpx.ReadTimeout(""), "read timeout"),
        (LATE, "alert certificate required"),
    ],
)
@pytest.mark.parametrize("way", ["asking", "post"])
def test_is_told_as_unreachable(way: str, error: Exception, told: str) -> None:
    """A TLS 1.3 server refuses a missing certificate after the handshake: the first read raises, no error of httpx."""

    def handle(_: httpx.Request) -> httpx.Response:
        raise error

    async def run() -> None:
        async with httpx.AsyncClient(transport=httpx.MockTransport(handle)) as client:
            archive = WebArchive(client, "https://archive/dicom-web", lambda _: None)
            if way == "post":
                await archive.post("/studies", content=b"")
                return
            async with archive.asking("GET", "/studies"):
                pass

    with pytest.raises(PeerUnreachable, match=rf"archive/dicom-web: .*{told}"):
        asyncio.run(run())
