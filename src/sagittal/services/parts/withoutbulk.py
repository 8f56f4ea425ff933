"""Instances without their bulk data (PS3.4 Z.1.3, Z.4.2.3): nothing else of them changes.

Without its pixels a compressed object needs no compressed syntax; it may go in any plain one, unless an icon in it is
compressed too.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sagittal.archive.references import InstanceRef, OpenObject
from sagittal.dicom.partial.bulkless import holds_fragments, without_bulk
from sagittal.dicom.reencode import deflated, written
from sagittal.dicom.syntaxes import EXPLICIT_LE, IMPLICIT_LE, syntax
from sagittal.dicom.walk import Walk
from sagittal.dimse.service import Source
from sagittal.errors import NotAcceptable
from sagittal.services.parts.slices import EVENTS_AT_ONCE, chunks, run_out, taking_turns
from sagittal.services.site import Site
from sagittal.services.suboperations import Rendition


class _WithoutBulk:
    def syntaxes(self, site: Site, ref: InstanceRef, accepted: Iterable[str]) -> Sequence[str]:
        """As stored, else a plain one."""
        offered = set(accepted)
        order = (ref.syntax_uid, EXPLICIT_LE, IMPLICIT_LE, *sorted(uid for uid in offered if syntax(uid).plain))
        return [uid for uid in dict.fromkeys(order) if uid in offered]

    def uid(self, ref: InstanceRef) -> str:
        return ref.sop_instance_uid

    async def opened(self, site: Site, ref: InstanceRef, to: str) -> OpenObject:
        return site.archive.open_object(ref)

    async def source(self, site: Site, opened: OpenObject, ref: InstanceRef, to: str) -> Source:
        stored, target = syntax(ref.syntax_uid), syntax(to)
        if stored.encapsulated and not target.encapsulated:
            await run_out(_refusing(holds_fragments(Walk(chunks(opened), stored, site.limits, runs=True).events())))
        walk = Walk(chunks(opened), stored, site.limits, runs=True)
        plain = written(walk, without_bulk(walk.events()), target, EVENTS_AT_ONCE)
        return taking_turns(deflated(plain) if target.deflated else plain)


def _refusing(found: Iterable[bool]) -> Iterable[bool]:
    for each in found:
        if each:
            raise NotAcceptable("something compressed within the object needs its transfer syntax")
        yield each


WITHOUT_BULK: Rendition = _WithoutBulk()
