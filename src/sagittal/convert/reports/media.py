"""The media types that a report can be had as (PS3.18 8.7.4), the default first."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from sagittal.convert.reports import page, plain, printed
from sagittal.pixels.rendering.attributes import Attributes

MAKERS: Mapping[str, Callable[[Attributes, page.Link], bytes]] = {
    "text/html": lambda held, link: page.html(held, link).encode(),
    "text/plain": lambda held, link: plain.text(held).encode(),
    "application/pdf": lambda held, link: printed.pdf(held),
}
