"""The Non-Patient Instance service (PS3.18 12): palettes, hanging protocols, implant templates, defined protocols,
protocol approvals and inventories, each below a resource of its own.

Searched on the metadata that ingest kept: any attribute of the dictionary, in sequences too (`A.B=…`), and answered in
DICOM JSON. Retrieved as an object, or as its metadata where JSON or XML is preferred. Deliberately not here: private
keys, fuzzy matching, paging by cursor; there are few of them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

import orjson
from starlette.responses import Response

from sagittal.dicom.dictionary import lookup, tag_of, vr_of
from sagittal.errors import BadRequest, NotAcceptable, NotFound
from sagittal.web.retrieve.bulkdata import BulkData
from sagittal.web.retrieve.metadata import Metadata
from sagittal.web.retrieve.packaging import acceptable
from sagittal.web.retrieve.wado import Wado
from sagittal.web.wire import uri
from sagittal.web.wire.accept import DICOM_JSON, accepts
from sagittal.web.wire.resources import classes_of, instance_address

if TYPE_CHECKING:
    from starlette.requests import Request

    from sagittal.archive.nonpatient import Found
    from sagittal.archive.retrieve import InstanceRef
    from sagittal.web.house import House

_ONLY_MORE = '299 sagittal "There are additional results that can be requested."'
# What every answer says, besides what was asked for (PS3.4 U.6, X.6, BB.6, HH.6): tags in DICOM JSON.
_DEFAULTS = frozenset(
    f"{tag_of(keyword):08X}"
    for keyword in (
        *("SpecificCharacterSet", "SOPClassUID", "SOPInstanceUID", "Modality", "ProtocolName"),
        *("ContentLabel", "ContentDescription", "ContentCreatorName", "PaletteColorLookupTableUID"),
        *("HangingProtocolName", "HangingProtocolDescription", "HangingProtocolLevel", "HangingProtocolCreator"),
        *("HangingProtocolCreationDateTime", "HangingProtocolDefinitionSequence", "NumberOfPriorsReferenced"),
        *("Manufacturer", "ImplantName", "ImplantSize", "ImplantPartNumber", "ImplantAssemblyTemplateName"),
        *("ImplantTemplateGroupName", "ImplantTemplateGroupDescription", "EffectiveDateTime", "InventoryPurpose"),
    )
)
_RETRIEVE_URL = "00081190"


class NonPatient:
    """Search and retrieve of instances that belong to no study."""

    def __init__(self, house: House) -> None:
        self._house, self._archive = house, house.archive
        self._limits = house.settings.limits
        self._wado, self._metadata, self._bulk_data = Wado(house), Metadata(house), BulkData(house)

    async def search(self, request: Request) -> Response:
        ranges = acceptable(request, self._limits.web.accept_ranges_max)
        type_ = accepts(ranges, DICOM_JSON, "application/json")
        if type_ is None:
            raise NotAcceptable(f"searches are answered as {DICOM_JSON}")
        asked = _Asked(request, self._limits.web.results_default, self._limits.web.results_max)
        asked.read(self._limits.web.query_parameters_max)
        found = await self._archive.find_non_patient(
            request.scope["principal"], classes_of(request.scope["path"]), asked.keys
        )
        shown = found[asked.offset : asked.offset + asked.limit]
        addresses = uri.addresses(request, self._house.settings)
        body = orjson.dumps([_row(each, asked.include, instance_address(addresses, each.ref)) for each in shown])
        answer = Response(body, media_type=type_)
        if asked.offset + len(shown) < len(found):
            answer.headers.append("warning", _ONLY_MORE)
        return answer

    async def retrieve(self, request: Request) -> Response:
        ref = await self._instance(request)
        ranges = acceptable(request, self._limits.web.accept_ranges_max)
        preferred = ranges[0].root if ranges else ""
        if preferred in (DICOM_JSON, "application/json", "application/dicom+xml"):
            return self._metadata.answer(request, [ref])
        try:
            return self._wado.answer(request, [ref], ref.sop_instance_uid)
        except NotAcceptable:
            return self._metadata.answer(request, [ref])

    async def value(self, request: Request) -> Response:
        return await self._bulk_data.value_of(request, await self._instance(request))

    async def _instance(self, request: Request) -> InstanceRef:
        instance = uri.uid(request.path_params["uid"], "SOP Instance UID")
        refs = await self._archive.instances(request.scope["principal"], sop_instance_uids=[instance])
        if refs[0].sop_class_uid not in classes_of(request.scope["path"]):
            raise NotFound("no such instance")
        return refs[0]


class _Asked:
    """The parameters of one search: PS3.18 12.6.1.2."""

    def __init__(self, request: Request, limit_default: int, limit_max: int) -> None:
        self._query = request.scope["query_string"]
        self._limit_max = limit_max
        self.limit, self.offset = limit_default, 0
        self.keys: dict[int, Any] = {}
        self.include: set[str] | None = set(_DEFAULTS)  # None: everything

    def read(self, count_max: int) -> None:
        for name, value in _parameters(self._query, count_max):
            if name == "limit":
                self.limit = min(_number(name, value), self._limit_max)
            elif name == "offset":
                self.offset = _number(name, value)
            elif name == "includefield":
                self._include(value)
            elif name != "accept":
                self._key(name, value)

    def _include(self, value: str) -> None:
        for name in filter(None, value.split(",")):
            if name == "all":
                self.include = None
            elif self.include is not None:
                self.include.add(f"{_path(name)[0]:08X}")

    def _key(self, name: str, value: str) -> None:
        path = _path(name)
        if self.include is not None:
            self.include.add(f"{path[0]:08X}")
        keys = self.keys
        for tag in path[:-1]:
            inside = keys.setdefault(tag, {})
            if not isinstance(inside, dict):
                raise BadRequest(f"{name[:64]!r} contradicts another key")
            keys = inside
        if path[-1] in keys or vr_of(path[-1]) == "SQ":
            raise BadRequest(f"{name[:64]!r} can't be matched, or is there twice")
        keys[path[-1]] = value.replace(",", "\\") if vr_of(path[-1]) == "UI" else value


def _parameters(query: bytes, count_max: int) -> Iterable[tuple[str, str]]:
    try:
        return parse_qsl(query.decode(), keep_blank_values=True, errors="strict", max_num_fields=count_max)
    except UnicodeDecodeError:
        raise BadRequest("the query is not UTF-8, percent-encoded") from None
    except ValueError:
        raise BadRequest(f"more than {count_max} query parameters (limits.web.query_parameters_max)") from None


def _path(name: str) -> list[int]:
    try:
        path = [tag_of(part) for part in name.split(".")]
    except KeyError:
        path = []
    if not path or len(path) > 16 or any(lookup(tag) is None for tag in path):
        raise BadRequest(f"{name[:64]!r} is not an attribute")
    if any(vr_of(tag) != "SQ" for tag in path[:-1]):
        raise BadRequest(f"{name[:64]!r} leads into an attribute that is not a sequence")
    return path


def _number(name: str, value: str) -> int:
    if not (value.isascii() and value.isdigit() and len(value) <= 12):
        raise BadRequest(f"{name} is a number from 0")
    return int(value)


def _row(found: Found, include: Collection[str] | None, address: str) -> Mapping[str, Any]:
    # Bulk data is addressed relative to the instance.
    row = {tag: _absolute(member, address) for tag, member in found.obj.items() if include is None or tag in include}
    row[_RETRIEVE_URL] = {"vr": "UR", "Value": [address]}
    return dict(sorted(row.items()))


def _absolute(member: Mapping[str, Any], address: str) -> Mapping[str, Any]:
    if "BulkDataURI" in member:
        return {**member, "BulkDataURI": f"{address}/bulkdata/{member['BulkDataURI']}"}
    if member.get("vr") != "SQ" or "Value" not in member:
        return member
    items = [{tag: _absolute(inside, address) for tag, inside in (item or {}).items()} for item in member["Value"]]
    return {**member, "Value": items}
