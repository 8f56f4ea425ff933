"""What pictures are gone through, one after the other: the frames of an object, the instances of a series.

A walk belongs to who asks: what comes next is looked for and had by verbs of the archive, for that principal. Pictures
get the names that they have when they are asked for one by one. Deliberately not here: when, and how many (`ahead`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from sagittal.errors import Gone, NotFound
from sagittal.web.render.kinds import IMAGE, kind_of
from sagittal.web.render.shelf import Shelf, name_of
from sagittal.workers.message import FDS_MAX

if TYPE_CHECKING:
    from sagittal.archive.access import Principal
    from sagittal.archive.archive import Archive
    from sagittal.archive.references import InstanceRef
    from sagittal.workers.pool import Answer

_NEIGHBOURS_MAX = 200  # instances on each side that one look at the index finds
_INSTANCES_MAX = FDS_MAX // 2  # of one call: each has a file, and what was kept of it may be in another
Call = Callable[..., Awaitable["Answer"]]  # (call, principal, refs, **arguments)


class Manner(NamedTuple):
    """How pictures are asked for."""

    call: str  # what workers do for one
    shelf: Shelf
    how: tuple[Hashable, ...]  # what tells it from others, in their names
    arguments: dict[str, Any]


class Frames:
    """The frames of one object, with what is laid over them."""

    def __init__(self, call: Call, principal: Principal, refs: Sequence[InstanceRef], frame: int, manner: Manner):
        self._call, self._principal, self._refs, self._manner = call, principal, refs, manner
        ref = refs[0]
        self.key = (ref.store, ref.sop_instance_uid, manner.how)
        self.at, self.shelf, self.order = frame, manner.shelf, range(1, (ref.frames or 1) + 1)

    async def orders(self) -> Sequence[Sequence[Hashable]]:
        return [self.order]

    async def pictures(self, places: Sequence[Any]) -> dict[bytes, Any]:
        return {name_of(self._refs, frame, *self._manner.how): frame for frame in places}

    async def make(self, pictures: Mapping[bytes, Any]) -> None:
        more = {**self._manner.arguments, "frames": list(pictures.values())}
        answer = await self._call("stills", self._principal, self._refs, ahead=True, **more)
        _put(self.shelf, pictures, answer)


class Instances:
    """The instances of a series that have one frame, by instance number or as they came, in which QIDO lists them."""

    order = ()

    def __init__(self, archive: Archive, call: Call, principal: Principal, ref: InstanceRef, manner: Manner):
        self._archive, self._call, self._principal, self._ref, self._manner = archive, call, principal, ref, manner
        self.key = (ref.store, ref.study_uid, ref.series_uid, manner.call, manner.how)
        self.at, self.shelf = ref.sop_instance_uid, manner.shelf

    async def orders(self) -> Sequence[Sequence[Hashable]]:
        return await self._archive.neighbours(self._principal, self._ref, _NEIGHBOURS_MAX)

    async def pictures(self, places: Sequence[Any]) -> dict[bytes, Any]:
        """Of the instances as they are now, whatever they were when their order was looked for."""
        study, series = self._ref.study_uid, self._ref.series_uid
        try:
            refs = await self._archive.instances(
                self._principal, study_uid=study, series_uid=series, sop_instance_uids=places, detail="looking ahead"
            )
        except (Gone, NotFound):
            return {}
        return {name_of([each], 1, *self._manner.how): each for each in refs if kind_of(each) is IMAGE}

    async def make(self, pictures: Mapping[bytes, Any]) -> None:
        names, more = list(pictures), {**self._manner.arguments, "of_each": self._manner.call}
        for some in (names[at : at + _INSTANCES_MAX] for at in range(0, len(names), _INSTANCES_MAX)):
            refs = [pictures[name] for name in some]
            _put(self.shelf, some, await self._call("several", self._principal, refs, ahead=True, **more))


def _put(shelf: Shelf, names: Iterable[bytes], answer: Answer) -> None:
    """The pictures of an answer, one behind the other; those without a length could not be made."""
    at = 0
    for name, length in zip(names, answer.told["lengths"], strict=True):
        if length:
            shelf.put(name, bytes(answer.body[at : at + length]))
        at += length
