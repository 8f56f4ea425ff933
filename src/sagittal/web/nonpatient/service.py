"""The Non-Patient Instance service (PS3.18 12): palettes, hanging protocols, implant templates, defined protocols,
protocol approvals and inventories, each below a resource of its own.

Searched on the metadata that ingest kept: any attribute, in sequences too (`A.B=…`), private ones by their creator
(`00091002=…&00090010=ACME`), and answered in DICOM JSON. Retrieved as an object, or as its metadata where JSON or XML
is preferred. Deliberately not here: paging by cursor; there are few of them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from starlette.responses import Response

from sagittal.archive.query import Tag
from sagittal.dicom.dictionary import tag_of, vr_of
from sagittal.dicom.matching.predicate import tag_in
from sagittal.dicom.models.jsontext import encode_json
from sagittal.dicom.models.members import element
from sagittal.errors import BadRequest, NotAcceptable, NotFound
from sagittal.web.retrieve.bulk.bulkdata import BulkData
from sagittal.web.retrieve.metadata import Metadata
from sagittal.web.retrieve.wado import Wado
from sagittal.web.search.asked import number, parameters, truth
from sagittal.web.search.attributes import Path, is_creator, named, path_of
from sagittal.web.wire import uri
from sagittal.web.wire.accept import DICOM_JSON, DICOM_XML, acceptable, accepts
from sagittal.web.wire.resources import Readable, addressed, classes_of, instance_address

if TYPE_CHECKING:
    from starlette.requests import Request

    from sagittal.archive.references import InstanceRef
    from sagittal.archive.search.nonpatient import Found
    from sagittal.web.house import House

_ONLY_MORE = "There are {} additional results that can be requested"  # PS3.18 8.3.4.4
CONTROLS = frozenset({"limit", "offset", "includefield", "accept", "charset", "fuzzymatching"})
_DEPTH_MAX = 16
# What every answer says, besides what was asked for (PS3.4 U.6, X.6, BB.6, HH.6).
_DEFAULTS = frozenset(
    tag_of(keyword)
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
        principal, classes = request.scope["principal"], classes_of(request.scope["path"])
        shown, number = await self._archive.find_non_patient(
            principal, classes, asked.keys, asked.fuzzy, asked.offset, asked.limit
        )
        addresses = uri.addresses(request, self._house.settings)
        body = encode_json([_row(each, asked.include, instance_address(addresses, each.ref)) for each in shown])
        answer = Response(body, media_type=type_)
        if more := max(0, number - asked.offset - len(shown)):
            answer.headers.append("warning", addresses.warning(_ONLY_MORE.format(more)))
        return answer

    async def retrieve(self, request: Request) -> Response:
        ref = await self._instance(request)
        ranges = acceptable(request, self._limits.web.accept_ranges_max)
        preferred = ranges[0].root if ranges else ""
        if preferred in (DICOM_JSON, "application/json", DICOM_XML):
            return self._metadata.answer(request, [ref])
        try:
            return self._wado.answer(request, Readable([ref]), ref.sop_instance_uid)
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
        self.fuzzy = False
        self.keys: dict[Tag, Any] = {}
        self.include: set[Tag] | None = set(_DEFAULTS)  # None: everything
        self._creators: dict[Path, str] = {}

    def read(self, count_max: int) -> None:
        given = [pair for pair in parameters(self._query, count_max) if not self._is_creator(*pair)]
        for name, value in given:
            if name == "limit":
                self.limit = min(number(name, value), self._limit_max)
            elif name == "offset":
                self.offset = number(name, value)
            elif name == "fuzzymatching":
                self.fuzzy = truth(name, value)
            elif name == "includefield":
                self._include(value)
            elif name not in ("accept", "charset"):  # PS3.18 8.3.3; all is answered in UTF-8
                self._key(name, value)

    def _is_creator(self, name: str, value: str) -> bool:
        """Whether a parameter says who reserved a block of private elements; then it is noted."""
        if name in CONTROLS:
            return False
        path = path_of(name, _DEPTH_MAX)
        if is_creator(path[-1]):
            self._creators[path] = value
        return is_creator(path[-1])

    def _include(self, value: str) -> None:
        for name in filter(None, value.split(",")):
            if name == "all":
                self.include = None
            elif self.include is not None:
                self.include.add(named(path_of(name, _DEPTH_MAX), self._creators)[0])

    def _key(self, name: str, value: str) -> None:
        path = named(path_of(name, _DEPTH_MAX), self._creators)
        if self.include is not None:
            self.include.add(path[0])
        keys = self.keys
        for tag in path[:-1]:
            inside = keys.setdefault(tag, {})
            if not isinstance(inside, dict):
                raise BadRequest(f"{name[:64]!r} contradicts another key")
            keys = inside
        last = path[-1]
        vr = vr_of(last) if isinstance(last, int) else ""
        if last in keys or vr == "SQ":
            raise BadRequest(f"{name[:64]!r} can't be matched, or is there twice")
        keys[last] = value.replace(",", "\\") if vr == "UI" else value


def _row(found: Found, include: Collection[Tag] | None, address: str) -> Mapping[str, Any]:
    wanted = set(found.obj) if include is None else {name for tag in include for name in _names(found.obj, tag)}
    # Bulk data is addressed relative to the instance.
    row = {tag: addressed(member, address) for tag, member in found.obj.items() if tag in wanted}
    row[_RETRIEVE_URL] = element("UR", address)
    return dict(sorted(row.items()))


def _names(obj: Mapping[str, Any], tag: Tag) -> tuple[str, ...]:
    """Where an attribute is in an object; a private one together with who reserved its block (PS3.5 7.8.1)."""
    if isinstance(tag, int):
        return (f"{tag:08X}",)
    name = tag_in(obj, tag)
    return () if name is None else (name, f"{name[:4]}00{name[4:6]}")
