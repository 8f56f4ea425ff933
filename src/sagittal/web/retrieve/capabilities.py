"""Retrieve Capabilities (PS3.18 8.9): OPTIONS below /dicom-web answers the table of resources as WADL or as JSON.

It is printed from the table that the router reads, so that nothing is in it that isn't served. The JSON is ours; WADL
(8.9.3.1, Annex H) is the default. OPTIONS of one resource says the methods of that one in `Allow` besides.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import quoteattr

import orjson
from starlette.responses import Response

from sagittal.errors import NotAcceptable
from sagittal.web.api.statement import PATH
from sagittal.web.render.asked import MOVING, SMALL, STILL
from sagittal.web.render.kinds import DOCUMENTS, REPORT, WAVEFORM
from sagittal.web.retrieve.offers import encoders
from sagittal.web.routes import RESOURCES, Resource, allowed
from sagittal.web.wire import uri
from sagittal.web.wire.accept import COMPRESSED_TYPES, DICOM, DICOM_JSON, DICOM_XML, OCTET_STREAM, acceptable, accepts

if TYPE_CHECKING:
    from starlette.requests import Request

    from sagittal.web.house import House

WADL = "application/vnd.sun.wadl+xml"
_PARTS = 'multipart/related; type="{}"'
_XML = _PARTS.format(DICOM_XML)
_PIXELS = (OCTET_STREAM, *dict.fromkeys(COMPRESSED_TYPES.values()))
_VALUES = (*(_PARTS.format(type_) for type_ in _PIXELS), *_PIXELS)
_PICTURES = tuple(dict.fromkeys(STILL + MOVING))
_RENDERED = tuple(dict.fromkeys((*_PICTURES, "video/mpeg", *REPORT.types, *WAVEFORM.types, *DOCUMENTS)))
_PICTURE_PARTS = tuple(_PARTS.format(type_) for type_ in STILL)

# Handler, or all of a class -> the media types of its answers. What isn't here answers no content.
ANSWERS: dict[str, tuple[str, ...]] = {
    "store.stow:Stow": (DICOM_JSON, DICOM_XML),
    "search.qido:Qido": (DICOM_JSON, "application/json", _XML, "text/csv"),
    "search.qido:Qido.count_studies": ("application/json",),
    "search.qido:Qido.count_series": ("application/json",),
    "search.qido:Qido.count_instances": ("application/json",),
    "retrieve.wado:Wado": (_PARTS.format(DICOM), DICOM, "application/zip"),
    "retrieve.metadata:Metadata": (DICOM_JSON, _XML),
    "retrieve.frames:Frames": _VALUES,
    "retrieve.bulk.bulkdata:BulkData": _VALUES,
    "retrieve.bulk.bulkdata:BulkData.value": (*_VALUES, *DOCUMENTS),
    "nonpatient.service:NonPatient.search": (DICOM_JSON,),
    "nonpatient.service:NonPatient.retrieve": (_PARTS.format(DICOM), DICOM, DICOM_JSON, _XML),
    "nonpatient.service:NonPatient.value": (_PARTS.format(OCTET_STREAM), OCTET_STREAM),
    "render.rendered:Rendered.thumbnail": SMALL,
    "render.rendered:Rendered.frames": (*_PICTURES, *_PICTURE_PARTS),
    "render.rendered:Rendered": (*_RENDERED, *_PICTURE_PARTS),
    "retrieve.capabilities:Capabilities": (WADL, "application/json"),
}
_TAKES = {"store.stow:Stow": (_PARTS.format(DICOM), DICOM, _PARTS.format(DICOM_JSON), _XML)}
_VARIABLE = re.compile(r"\{(\w+)(?::path)?\}")


class Capabilities:
    """OPTIONS of the service and its resources."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._limits = house.settings.limits.web

    async def options(self, request: Request) -> Response:
        type_ = accepts(
            acceptable(request, self._limits.accept_ranges_max), WADL, "application/json", "application/xml"
        )
        if type_ is None:
            raise NotAcceptable(f"capabilities are answered as {WADL} or application/json")
        base = uri.addresses(request, self._house.settings).base
        body = orjson.dumps(_json(base)) if type_ == "application/json" else _wadl(base).encode()
        return Response(
            body,
            media_type=type_,
            headers={
                "allow": allowed(request.scope["path"]),
                "vary": "accept",
                "link": f'<{_statement(base)}>; rel="describedby"',
            },
        )


def _statement(base: str) -> str:
    return base.removesuffix(uri.PREFIX) + PATH


def template(path: str) -> str:
    """A path of the table as it is told: a variable by its name alone."""
    return _VARIABLE.sub(r"{\1}", path)


def _described() -> dict[str, list[Resource]]:
    """Path -> its resources, in the order of the table."""
    found: dict[str, list[Resource]] = {}
    for each in RESOURCES:
        found.setdefault(template(each.path), []).append(each)
    return found


def media_types(resource: Resource) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What a resource takes, and what it answers."""
    return _media(resource, _TAKES), _media(resource, ANSWERS)


def _media(resource: Resource, table: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    return table.get(resource.handler) or table.get(resource.handler.rpartition(".")[0], ())


def _says(resource: Resource) -> str:
    """The first line of the handler's class."""
    module, _, name = resource.handler.rpartition(".")[0].partition(":")
    return str(getattr(import_module(f"sagittal.web.{module}"), name).__doc__ or "").partition("\n")[0]


def _json(base: str) -> dict[str, Any]:
    resources = [
        {
            "path": path,
            "methods": [
                {"method": each.method, "takes": _media(each, _TAKES), "answers": _media(each, ANSWERS)}
                for each in held
            ],
        }
        for path, held in _described().items()
    ]
    told = {"base": base, "standard": "PS3.18", "conformance": _statement(base), "resources": resources}
    return told | {"transfer_syntaxes": encoders()}  # beside what is stored


def _wadl(base: str) -> str:
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<application xmlns="http://wadl.dev.java.net/2009/02">\n'
        f'<doc xml:lang="en" title={quoteattr("DICOM conformance statement: " + _statement(base))}/>\n'
        f"<resources base={quoteattr(base + '/')}>\n{''.join(_resources())}</resources>\n</application>\n"
    )


def _resources() -> Iterator[str]:
    for path, held in _described().items():
        yield f"<resource path={quoteattr(path.lstrip('/'))}>\n"
        for name in _VARIABLE.findall(path):
            yield f'<param name="{name}" style="template" required="true"/>\n'
        for each in held:
            takes = "".join(f"<representation mediaType={quoteattr(type_)}/>" for type_ in _media(each, _TAKES))
            answers = "".join(f"<representation mediaType={quoteattr(type_)}/>" for type_ in _media(each, ANSWERS))
            yield f'<method name="{each.method}"><doc xml:lang="en" title={quoteattr(_says(each))}/>'
            yield f"<request>{takes}</request>" if takes else ""
            yield f"<response>{answers}</response></method>\n"
        yield "</resource>\n"
