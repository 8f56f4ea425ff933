"""Some frames of an instance as a new one in another transfer syntax (PS3.4 Y.3.3): for peers that don't take its own.

Nothing is lost: the frames are decoded and encoded as whole instances are. Deliberately not here: choosing frames, and
the header of the new instance but for what the pixels change (`dicom.partial.frames`).
"""

from __future__ import annotations

from collections.abc import Iterator

from sagittal.dicom.partial.edited import elements
from sagittal.dicom.partial.frames import Extraction, Header, Survey
from sagittal.dicom.syntaxes import TransferSyntax
from sagittal.dicom.walk import Event, Walk
from sagittal.errors import NotAcceptable
from sagittal.pixels.codecs.interface import Options
from sagittal.pixels.images import Image
from sagittal.pixels.instances import Open, Rewriting, Transcoding
from sagittal.pixels.transcode import Changes, embedded_overlays, plan


class Extracting(Transcoding):
    """Chosen frames on their way to a Little Endian syntax. NotAcceptable at once when they can't be."""

    _takes_runs = False

    def __init__(self, image: Image, opened: Open, to_syntax: str, extraction: Extraction) -> None:
        super().__init__(image, opened, to_syntax, Options(reversible=True), numbers=extraction.frames)
        if self._target.deflated or not self._target.little_endian:
            raise NotAcceptable(f"frames are not taken out into {self._target.name}")
        self.plan = self.plan or plan(image.description, image.syntax_uid, to_syntax, limits=image.limits)
        if self.plan.way == "values" and embedded_overlays(image.members):
            raise NotAcceptable("overlays in unused bits of the pixels would be lost")
        self._extraction = extraction

    def _edited(self, walk: Walk, changed: Changes, plain: TransferSyntax) -> Rewriting:
        survey = Survey()
        for _ in survey.look(Walk(self._open(), self._source, self._limits)):
            pass
        removed = frozenset(int(tag, 16) for tag in changed.removed)
        return _Extracted(Header(walk, survey, self._extraction, plain, self._plain(changed), removed))

    def _plain(self, changed: Changes) -> dict[int, tuple[str, bytes]]:
        """What is set, as elements in Little Endian; a step without loss sets none that has items."""
        found = {}
        for tag, events in elements(changed.members, self._limits).items():
            ((_, vr, value),) = events[0].run
            found[tag] = vr, value
        return found


class _Extracted:
    """The header of the new instance, and nothing after its pixels."""

    def __init__(self, header: Header) -> None:
        self._header = header
        self.pixels: Event | None = None

    def before(self) -> Iterator[Event]:
        yield from self._header.events()
        self.pixels = self._header.pixels

    def after(self) -> Iterator[Event]:
        return iter(())
