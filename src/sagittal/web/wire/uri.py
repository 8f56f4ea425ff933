"""The resources of PS3.18 10.1 as addresses: `{base}/studies/{study}/series/{series}/instances/{instance}`.

Builds and checks; it deliberately never makes a file name of a UID, and follows no address from a request.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from sagittal.errors import BadRequest
from sagittal.web.wire import forwarded

if TYPE_CHECKING:
    from starlette.requests import Request

    from sagittal.web.house import Settings

# Leading zeros in a component break PS3.5 9.1, but objects with such UIDs are held and must be found.
_UID = re.compile(r"[0-9.]{1,64}\Z")
_TAG_PATH = re.compile(r"[0-9A-Fa-f]{8}(?:/[1-9][0-9]{0,8}/[0-9A-Fa-f]{8})*\Z")
PREFIX = "/dicom-web"
LOOPBACK_HOSTS = frozenset({"localhost", "127.0.0.1", "[::1]"})


@dataclass(frozen=True)
class Addresses:
    """Addresses below one base, for instance `http://localhost:8042/stores/research/dicom-web`."""

    root: str  # of all that we serve, as http://localhost:8042
    store: str = ""  # as /stores/research; of main nothing

    @property
    def here(self) -> str:
        """Of the store, where /api is too."""
        return self.root + self.store

    @cached_property  # a long answer has thousands of addresses
    def base(self) -> str:
        return self.here + PREFIX

    def warning(self, text: str) -> str:
        """A Warning header field as PS3.18 8.3.4 words it: the text in no quotes, the service as its base address."""
        return f"299 {self.base}: {text}"

    def study(self, study: str) -> str:
        return f"{self.base}/studies/{study}"

    def series(self, study: str, series: str) -> str:
        return f"{self.base}/studies/{study}/series/{series}"

    def instance(self, study: str, series: str, instance: str) -> str:
        return f"{self.base}/studies/{study}/series/{series}/instances/{instance}"


def addresses(request: Request, settings: Settings) -> Addresses:
    """As the client named us (its Host has passed the allow-list), as `public_url` or a trusted proxy says."""
    scope, host = request.scope, request.headers["host"]
    store = scope.get("store", "")  # as `security.Guard` found it
    if settings.public_url:
        return Addresses(settings.public_url.rstrip("/"), store)
    if seen := forwarded.origin(scope, settings.trusted_proxies):
        scheme, host, prefix = seen
        return Addresses(f"{scheme}://{host}{prefix}", store)
    own, port = scope.get("server") or ("", 0)
    # dicomweb-client leaves the port out of Host. A name may be that of a proxy, but this address can't be without it.
    if host in (own, f"[{own}]", *LOOPBACK_HOSTS) and port not in (0, 80):
        host = f"{host}:{port}"
    return Addresses(f"{scope['scheme']}://{host}", store)


def uid(text: str, what: str) -> str:
    """A UID of an address; anything else is a bad request, whatever it looks like."""
    if not _UID.match(text):
        raise BadRequest(f"the {what} in the address is not a UID")
    return text


def uids(path: dict[str, str]) -> tuple[str, str | None, str | None]:
    """Study, series and instance of an address, checked."""
    series, instance = path.get("series"), path.get("instance")
    return (
        uid(path["study"], "Study Instance UID"),
        None if series is None else uid(series, "Series Instance UID"),
        None if instance is None else uid(instance, "SOP Instance UID"),
    )


def frame_list(text: str, count_max: int) -> list[int]:
    """`1,2,5` (PS3.18 10.4.1.1.6): frame numbers from 1, in the order asked for."""
    items = text.split(",")
    if len(items) > count_max:
        raise BadRequest(f"more than {count_max} frames in one request (limits.frames_per_request_max)")
    if not all(item.isascii() and item.isdigit() and len(item) <= 9 and int(item) > 0 for item in items):
        raise BadRequest("frames are listed as numbers from 1, separated by commas")
    return [int(item) for item in items]


def tag_path(text: str) -> str:
    """`7FE00010` or `52009229/1/00289145`: the attribute of a bulk data address."""
    if not _TAG_PATH.match(text):
        raise BadRequest("bulk data is addressed by tags, and item numbers between them: 52009229/1/00289145")
    return text.upper()
