"""Where a protocol word meets an engine verb: one SOP class family, one file.

`ALL` is the whole list; what isn't in it isn't negotiated. `serve` calls each entry with the `Site` of its archive.
"""

from __future__ import annotations

from collections.abc import Callable

from sagittal.dimse.service import Service
from sagittal.services.parts.composite import composite_get, composite_move, get_without_bulk
from sagittal.services.query import query
from sagittal.services.retrieve import get, move
from sagittal.services.site import Site
from sagittal.services.storage import storage
from sagittal.services.verification import verification

ALL: tuple[Callable[[Site], Service], ...] = (
    verification,
    storage,
    query,
    move,
    get,
    composite_move,
    composite_get,
    get_without_bulk,
)
