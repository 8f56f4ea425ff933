"""The instances that an address names, all or those that can be read; and the addresses of instances and values.

Hanging protocols, palettes, templates and the like belong to no study; each service has a resource of its own, by SOP
classes (PS3.18 12.1.1).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from sagittal.dicom.sopclasses import NON_PATIENT
from sagittal.errors import DamagedObject
from sagittal.web.wire.uri import addresses, uids

if TYPE_CHECKING:
    from starlette.requests import Request

    from sagittal.archive.ingest import Outcome
    from sagittal.archive.references import InstanceRef
    from sagittal.web.house import House
    from sagittal.web.wire.conditions import Header
    from sagittal.web.wire.uri import Addresses

log = logging.getLogger("sagittal.web")
_RESOURCE_OF = {sop_class: name for name, classes in NON_PATIENT.items() for sop_class in classes}


def classes_of(path: str) -> tuple[str, ...]:
    """The SOP classes of the resource that a request's path is of; () for those of patients."""
    return NON_PATIENT.get(path.partition("/dicom-web/")[2].partition("/")[0], ())


async def instances_at(house: House, request: Request) -> list[InstanceRef]:
    """The current instances of the study, series or instance that an address names. BadRequest, NotFound, Gone."""
    study, series, instance = uids(request.path_params)
    return await house.archive.instances(
        request.scope["principal"],
        study_uid=study,
        series_uid=series,
        sop_instance_uids=None if instance is None else [instance],
    )


class Readable(NamedTuple):
    """Instances that an answer has, and how it says that there are others."""

    refs: Sequence[InstanceRef]
    status: int = 200
    headers: tuple[Header, ...] = ()

    @property
    def is_one(self) -> bool:
        """Whether no more than one was asked for."""
        return len(self.refs) == 1 and self.status == 200


async def readable_at(house: House, request: Request) -> Readable:
    """The same as far as their files can be read."""
    return await readable(house, request, await instances_at(house, request))


async def readable(house: House, request: Request, refs: Sequence[InstanceRef]) -> Readable:
    """Those whose files can be read: who asks for several wants these, and learns of the others by 206 (PS3.18 10.4.3)
    and a Warning. DamagedObject when there are no more than those others.
    """
    if len(refs) == 1:
        return Readable(refs)
    damage = await asyncio.get_running_loop().run_in_executor(house.readers, house.archive.damage, refs)
    if not damage:
        return Readable(refs)
    left, out = [ref for ref in refs if ref.digest not in damage], [ref for ref in refs if ref.digest in damage]
    for ref in out:
        log.warning("%s is left out of an answer: %s", ref.sop_instance_uid, damage[ref.digest])
    if not left:
        raise DamagedObject(damage[out[0].digest])
    first = f"{out[0].sop_instance_uid}, {damage[out[0].digest]}"
    text = f"{len(out)} of {len(refs)} instances cannot be read and are left out, as {first}"
    warning = addresses(request, house.settings).warning(text)
    return Readable(left, 206, ((b"warning", warning.encode("latin-1", "replace")),))


def instance_address(addresses: Addresses, ref: InstanceRef | Outcome) -> str:
    """Where an instance can be retrieved."""
    if ref.study_uid and ref.series_uid:
        return addresses.instance(ref.study_uid, ref.series_uid, ref.sop_instance_uid)
    return f"{addresses.base}/{_RESOURCE_OF.get(ref.sop_class_uid, 'instances')}/{ref.sop_instance_uid}"


def addressed(member: Mapping[str, Any], address: str) -> Mapping[str, Any]:
    """An element of metadata with the whole addresses of its bulk data, which metadata names within its instance.

    `address` is that of the instance; "" where none is told, and then there is no bulk data either.
    """
    if "BulkDataURI" in member:
        plain = {key: value for key, value in member.items() if key != "BulkDataURI"}
        return {**plain, "BulkDataURI": f"{address}/bulkdata/{member['BulkDataURI']}"} if address else plain
    if member.get("vr") != "SQ" or "Value" not in member:
        return member
    items = [{tag: addressed(inside, address) for tag, inside in (item or {}).items()} for item in member["Value"]]
    return {**member, "Value": items}
