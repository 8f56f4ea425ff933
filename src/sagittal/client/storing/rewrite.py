"""A data set with some attributes changed while it streams by: what `sagittal store --set --remove --new-uids` sends.

Only what lies before the pixels is read and written anew (sequences come out with undefined length); from Pixel Data on
the bytes of the file go as they are. What is set or removed is at the top level; UIDs are replaced wherever they stand,
those that name instances, series, studies and what belongs to them, never classes, syntaxes or devices.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from sagittal.client.keys import CHARACTER_SET, INSTANCE_UID, tag_for
from sagittal.dicom import charset
from sagittal.dicom.dictionary import name_of, vr_of
from sagittal.dicom.elements import BINARY_VRS, NUMBERS, TEXT_VRS, encode_numbers, encode_text
from sagittal.dicom.reencode import can_reencode, deflated, written
from sagittal.dicom.syntaxes import TransferSyntax
from sagittal.dicom.walk import Event, Walk
from sagittal.errors import BadRequest, NotAcceptable, UsageError
from sagittal.limits import ReaderLimits
from sagittal.uid import is_uid, new_uid

SOP_CLASS = 0x00080016
_FIRST_PIXELS = 0x7FE00001  # extended offset tables, then the pixels
_STANDARD = "1.2.840.10008."
_NO_TEXT = BINARY_VRS | {"AT", "SQ"}

# Of the UIDs that PS3.15 E.1-1 replaces (action U), those of instances and of what is described in them; and what else
# refers to such, which would be left without its target.
_INSTANCES = """
00080017 00080018 00080019 00080058 00081155 00081167 00081195 00083010 00182042 0018991E 0020000D 0020000E 00200052
00200200 00200242 00209161 00209164 00209312 00209313 003A0310 00400554 0040A124 0040A171 00620021 00640003 0070031A
0070031B 00701101 00701102 00880140 04000100 30060024 300600C2 300A0013 300A0083 300A0609 300A0650 300A0675 300A0700
300A0785 30100006 3010000B 30100013 30100015 30100031 3010003B 3010006E 3010006F
"""
REPLACED = frozenset(int(tag, 16) for tag in _INSTANCES.split())


class NewUids:
    """Old UID → new one: the same for the same, over all files that are sent with it."""

    def __init__(self) -> None:
        self._new: dict[str, str] = {}

    def __getitem__(self, uid: str) -> str:
        if not is_uid(uid) or uid.startswith(_STANDARD):  # well-known instances, and what is no UID, stay
            return uid
        return self._new.setdefault(uid, new_uid())


@dataclass(frozen=True, slots=True)
class Changes:
    """What is different in what is sent."""

    values: Mapping[int, str] = field(default_factory=dict)  # top-level attributes; "" makes one empty
    removed: frozenset[int] = frozenset()
    uids: NewUids | None = None

    def __bool__(self) -> bool:
        return bool(self.values or self.removed or self.uids is not None)

    def sop_class(self, uid: str) -> str:
        return self.values.get(SOP_CLASS, uid)

    def sop_instance(self, uid: str) -> str:
        if INSTANCE_UID in self.values:
            return self.values[INSTANCE_UID]
        return uid if self.uids is None else self.uids[uid]


def parse_changes(values: Iterable[str], removed: Iterable[str], new_uids: bool) -> Changes:
    """`Keyword=value`, `gggg,eeee=value`; keywords or tags to remove."""
    wanted: dict[int, str] = {}
    for text in values:
        name, equals, value = text.partition("=")
        if not equals:
            raise UsageError(f"{text!r} is not KEY=VALUE")
        tag = _top(name)
        if vr_of(tag) in _NO_TEXT:
            raise UsageError(f"{name} can't be given as text")
        wanted[tag] = value
    out = frozenset(_top(name) for name in removed)
    if out & {SOP_CLASS, INSTANCE_UID}:
        raise UsageError("an object is nothing without its SOP Class UID and SOP Instance UID")
    return Changes(wanted, out - wanted.keys(), NewUids() if new_uids else None)


def _top(name: str) -> int:
    tag = tag_for(name)
    if tag >> 16 in (0x0000, 0x0002) or tag >= _FIRST_PIXELS or tag == CHARACTER_SET:
        raise UsageError(f"{name} can't be changed on the way")
    return tag


class Rewriting:
    """One data set with its changes. `pieces` gives it up to the pixels; `rest_at` is then where they begin.

    The rest of the file follows as it is, unless the syntax is another one or deflated: then `rest_at` stays -1 and
    `pieces` gives everything.
    """

    def __init__(
        self,
        chunks: Iterable[bytes],
        source: TransferSyntax,
        target: TransferSyntax,
        changes: Changes,
        limits: ReaderLimits,
    ) -> None:
        if not can_reencode(source, target):
            raise NotAcceptable(f"{source.name} can't be re-encoded as {target.name or target.uid} without a codec")
        self.rest_at = -1
        self._changes, self._target = changes, target
        self._copies = source.uid == target.uid and not source.deflated
        self._walk = Walk(chunks, source, limits)
        self._charsets: tuple[str, ...] | None = None

    def pieces(self) -> Iterator[bytes]:
        """Raises Malformed, LimitExceeded, or BadRequest for a value that can't be written."""
        plain = written(self._walk, self._events(), self._target)
        return deflated(plain) if self._target.deflated else plain

    def _events(self) -> Iterator[Event]:
        waiting = sorted(self._changes.values)
        skipping = False
        for event in self._walk.events():
            if event.depth == 0 and event.kind in ("element", "sequence", "fragments"):
                if self._charsets is None and event.tag > CHARACTER_SET:
                    yield from self._character_set(())
                while waiting and waiting[0] <= event.tag:
                    yield self._set(waiting.pop(0))
                if event.tag >= _FIRST_PIXELS and not waiting and self._copies:
                    self.rest_at = event.at
                    return
                skipping = event.tag in self._changes.removed or event.tag in self._changes.values
            if skipping:
                continue
            yield from self._kept(event)
        if self._charsets is None:
            yield from self._character_set(())
        for tag in waiting:
            yield self._set(tag)

    def _kept(self, event: Event) -> Iterator[Event]:
        if event.kind == "element" and event.depth == 0 and event.tag == CHARACTER_SET:
            text = self._walk.value().decode("ascii", "replace")
            yield from self._character_set(charset.parse(text.strip(" \0"))[0], text)
        elif event.kind == "element" and event.tag in REPLACED and self._changes.uids is not None:
            uids = self._walk.value().decode("ascii", "replace").strip(" \0").split("\\")
            yield _run(event.tag, "UI", "\\".join(self._changes.uids[uid] for uid in uids).encode("ascii"))
        else:
            yield event

    def _character_set(self, found: Sequence[str], text: str = "") -> Iterator[Event]:
        """The one that is declared; UTF-8 where none is and a new value needs one, since ASCII is a part of it."""
        self._charsets = tuple(found)
        values = self._changes.values.items()
        if not self._charsets and not all(value.isascii() for tag, value in values if vr_of(tag) in TEXT_VRS):
            self._charsets, text = ("ISO_IR 192",), "ISO_IR 192"
        if text:
            yield _run(CHARACTER_SET, "CS", text.encode("ascii"))

    def _set(self, tag: int) -> Event:
        value, vr = self._changes.values[tag], vr_of(tag)
        name = name_of(f"{tag:08X}")
        if vr in NUMBERS:
            try:
                numbers = [float(one) if vr in ("FL", "FD") else int(one) for one in value.split("\\") if one]
                return _run(tag, vr, encode_numbers(vr, numbers, self._target), self._target.little_endian)
            except (ValueError, struct.error):
                raise BadRequest(f"{name} takes numbers, not {value!r}") from None
        charsets = self._charsets or ()
        encoded = encode_text(vr, value, charsets)
        if not value.isascii() and (vr not in TEXT_VRS or charset.decode(encoded, charsets, vr) != value):
            raise BadRequest(f"{name}: {value!r} can't be written in the character set of the file")
        return _run(tag, vr, encoded)


def _run(tag: int, vr: str, value: bytes, little: bool = True) -> Event:
    return Event("run", 0, "", 0, 0, 0, little, [(tag, vr, value)])
