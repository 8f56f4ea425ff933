"""Reaching the archive at a place: over DIMSE, over HTTP, or in a folder; what it speaks is imported then."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from pathlib import Path

from sagittal.client.place import Access, Place, Url
from sagittal.client.remote import Remark, Remote
from sagittal.dimse.address import PeerAddress
from sagittal.errors import UsageError


def open_remote(place: Place, access: Access, remark: Remark) -> AbstractAsyncContextManager[Remote]:
    """The archive at a place. UsageError for a store of anything but a data directory."""
    if access.store and not isinstance(place, Path):
        raise UsageError(
            "a store is named for a data directory only; call a peer by the title of its store, "
            f"or take the URL …/stores/{access.store}/dicom-web"
        )
    if isinstance(place, PeerAddress):
        from sagittal.client.dimse import open_dimse

        return open_dimse(place, access, remark)
    if isinstance(place, Url):
        from sagittal.client.dicomweb import open_url

        return open_url(place, access, remark)
    from sagittal.client.directory import open_directory

    return open_directory(place, access, remark)
