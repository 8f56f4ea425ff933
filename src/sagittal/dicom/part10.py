"""The head of a DICOM file: preamble, prefix and File Meta Information (PS3.10 7.1), written and read.

What is written is the same for the same instance: no AE title, no date. What is read may be anything: no preamble, no
meta group, a wrong or missing group length, a meta group in another encoding. It doesn't read the data set: that is
`dicom.reader`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable

from sagittal.dicom.dictionary import VRS, vr_of
from sagittal.dicom.elements import LONG_CODES, VRS_BY_CODE, encode
from sagittal.dicom.syntaxes import EXPLICIT_BE, EXPLICIT_LE, IMPLICIT_LE, SYNTAXES
from sagittal.errors import LimitExceeded, Malformed
from sagittal.limits import ReaderLimits
from sagittal.uid import IMPLEMENTATION_CLASS, IMPLEMENTATION_VERSION, is_uid

PREAMBLE_BYTES = 128
SHOWING_BYTES = 8  # of a data set: they show which plain syntax it is in
SOP_CLASS, SOP_INSTANCE, SYNTAX = 0x00020002, 0x00020003, 0x00020010

_GROUP_LENGTH = 0x00020000
_HEAD = PREAMBLE_BYTES + 4
_FIRST = _HEAD + 8  # bytes that tell where the meta group starts
_META_GROUPS = (b"\x02\0", b"\0\x02")
_SEQUENCE_ENDS = {"<": b"\xfe\xff\xdd\xe0\0\0\0\0", ">": b"\xff\xfe\xe0\xdd\0\0\0\0"}
_LAST_FIRST_GROUP = 0x0020  # the group that the first element of a data set without meta group may have
_FIRST_VALUE_BYTES_MAX = 1 << 20  # a longer first element in Implicit VR is not believed
_PLAIN = (IMPLICIT_LE, EXPLICIT_LE, EXPLICIT_BE)


def meta_group(sop_class_uid: str, sop_instance_uid: str, syntax_uid: str) -> bytes:
    """Preamble, prefix and meta group of an instance: everything before its data set."""
    elements = [
        (0x00020001, "OB", b"\x00\x01"),
        (SOP_CLASS, "UI", sop_class_uid.encode("ascii", "replace")),
        (SOP_INSTANCE, "UI", sop_instance_uid.encode("ascii", "replace")),
        (SYNTAX, "UI", syntax_uid.encode("ascii", "replace")),
        (0x00020012, "UI", IMPLEMENTATION_CLASS.encode("ascii")),
        (0x00020013, "SH", IMPLEMENTATION_VERSION.encode("ascii")),
    ]
    explicit = SYNTAXES[EXPLICIT_LE]
    group = encode(elements, explicit)
    length = encode([(_GROUP_LENGTH, "UL", struct.pack("<I", len(group)))], explicit)
    return bytes(PREAMBLE_BYTES) + b"DICM" + length + group


def guess_syntax(head: bytes) -> str | None:
    """The uncompressed syntax that the first 8 bytes of a data set show, None if they look like no data set.

    Only its first element is looked at: a low group, known to the dictionary, and a VR or a length that fits it.
    """
    if len(head) < SHOWING_BYTES:
        return None
    (group, number, length), (group_be, number_be) = struct.unpack_from("<HHI", head), struct.unpack_from(">HH", head)
    if head[4:6] in VRS_BY_CODE:
        little = group <= group_be
        tag = group << 16 | number if little else group_be << 16 | number_be
        return (EXPLICIT_LE if little else EXPLICIT_BE) if _may_be_first(tag) else None
    return IMPLICIT_LE if _may_be_first(group << 16 | number) and length <= _FIRST_VALUE_BYTES_MAX else None


def shown_syntax(declared: str, head: bytes) -> str:
    """The syntax of a data set that begins with these 8 bytes: as declared, unless they show another plain one."""
    if declared not in _PLAIN:
        return declared
    seen = guess_syntax(head)
    return seen if seen is not None and seen != declared and _fits(head, seen) else declared


def _may_be_first(tag: int) -> bool:
    group = tag >> 16
    return 0 < group <= _LAST_FIRST_GROUP and (tag in VRS or not tag & 0xFFFF or bool(group & 1))


class Part10Head:
    """Reads the head of a file incrementally: `feed` until `done`, or `finish` at the end of a file that ended before.

    Then `rest` holds the bytes of the data set that were fed already (those fed later are the caller's),
    `data_set_offset` where it starts in the file, and `defects` what was tolerated. The outcome doesn't depend on
    how the bytes were split.
    """

    def __init__(self, limits: ReaderLimits) -> None:
        self.done = False
        self.elements: dict[int, bytes] = {}  # the meta group as it lay in the file
        self.syntax_uid = ""
        self.data_set_offset = 0
        self.rest = b""
        self.defects: tuple[str, ...] = ()
        self._limits = limits
        self._buffer = bytearray()
        self._position = -1  # -1: where the meta group starts is not known yet
        self._end: int | None = None  # where the meta group ends by (0002,0000)
        self._order = "<"

    @property
    def sop_class_uid(self) -> str | None:
        return self._uid(SOP_CLASS)

    @property
    def sop_instance_uid(self) -> str | None:
        return self._uid(SOP_INSTANCE)

    def feed(self, data: bytes | memoryview) -> None:
        """Takes the next bytes. Raises Malformed or LimitExceeded."""
        self._buffer += data
        self._advance(last=False)

    def finish(self) -> None:
        """The file has ended. Raises Malformed unless it ended after its head."""
        if not self.done:
            self._advance(last=True)

    def _advance(self, last: bool) -> None:
        if self._position < 0:
            if len(self._buffer) < _FIRST and not last:
                return
            self._find_start()
        while not self.done and self._element(last):
            pass

    def _find_start(self) -> None:
        head = bytes(self._buffer[:_FIRST])
        prefixed = head[PREAMBLE_BYTES:_HEAD] == b"DICM"
        # A data set without preamble may hold "DICM" just there.
        if prefixed and (head[_HEAD : _HEAD + 2] in _META_GROUPS or guess_syntax(head) is None):
            self._position = _HEAD
            return
        self._defect("no-preamble")
        self._position = 4 if head[:4] == b"DICM" else 0
        start = head[self._position :]
        if start[:2] not in _META_GROUPS:
            self._defect("no-meta")
            if guess_syntax(start) is None:
                raise Malformed("not-dicom", "not a DICOM file: no prefix, and no data set at its start")

    def _element(self, last: bool) -> bool:
        """Reads one meta element, or ends the head; False when more bytes are needed."""
        buffer, position = self._buffer, self._position
        available = len(buffer) - position
        if available < 8 and not last:
            return False
        if available >= 8 and bytes(buffer[position : position + 2]) in _META_GROUPS and not self._is_over():
            start, length = self._shape(position, last)
            if start < 0:
                return False
            end = start + length if length != 0xFFFFFFFF else self._find_sequence_end(start)
            if end > _HEAD + self._limits.meta_group_bytes_max:
                raise LimitExceeded("the meta group is longer than meta_group_bytes_max")
            if end < 0 or end > len(buffer):
                if last:
                    raise Malformed("truncated", "the file ends inside its meta group")
                return False
            self._keep(position, start, end)
            return True
        if last and available < 8 and (self._end or _FIRST) > len(buffer):
            raise Malformed("truncated", "the file ends inside its meta group")
        self._end_head()
        return False

    def _is_over(self) -> bool:
        """Where the group length says so, and deflated: the bytes of such a data set may look like a meta element."""
        row = SYNTAXES.get(self._uid(SYNTAX) or "")
        return self._position == self._end and row is not None and row.deflated

    def _shape(self, position: int, last: bool) -> tuple[int, int]:
        """Where a value starts and its length; start is -1 when more bytes are needed."""
        buffer = self._buffer
        self._order = "<" if buffer[position] == 2 else ">"
        code = bytes(buffer[position + 4 : position + 6])
        if self._order == ">" or code not in VRS_BY_CODE:
            self._defect("meta-not-explicit-le")
        if code not in VRS_BY_CODE:
            return position + 8, struct.unpack_from(self._order + "I", buffer, position + 4)[0]
        if code not in LONG_CODES:
            return position + 8, struct.unpack_from(self._order + "H", buffer, position + 6)[0]
        if len(buffer) - position < 12:
            if last:
                raise Malformed("truncated", "the file ends inside its meta group")
            return -1, 0
        return position + 12, struct.unpack_from(self._order + "I", buffer, position + 8)[0]

    def _find_sequence_end(self, start: int) -> int:
        found = self._buffer.find(_SEQUENCE_ENDS[self._order], start)
        if found < 0 and len(self._buffer) > _HEAD + self._limits.meta_group_bytes_max:
            raise LimitExceeded("the meta group is longer than meta_group_bytes_max")
        return found + 8 if found >= 0 else -1

    def _keep(self, position: int, start: int, end: int) -> None:
        group, number = struct.unpack_from(self._order + "HH", self._buffer, position)
        tag = group << 16 | number
        value = bytes(self._buffer[start:end])
        if tag == _GROUP_LENGTH and len(value) == 4:
            self._end = end + int(struct.unpack(self._order + "I", value)[0])
        if tag in self.elements:
            self._defect("meta-duplicate")
        self.elements.setdefault(tag, value)
        self._position = end

    def _end_head(self) -> None:
        if self.elements:
            if self._end is None:
                self._defect("meta-length-missing")
            elif self._end != self._position:
                self._defect("meta-length-wrong")
        elif "no-meta" not in self.defects:
            self._defect("no-meta")
        self.data_set_offset = self._position
        self.rest = bytes(memoryview(self._buffer)[self._position :])
        self.syntax_uid = self._syntax()
        self._buffer = bytearray()
        self.done = True

    def _syntax(self) -> str:
        """The syntax of the data set: as declared, unless the first element shows another plain one."""
        declared, head = self._uid(SYNTAX) or "", self.rest[:8]
        if not is_uid(declared):  # nobody could ask for it, or be told what it is
            seen = guess_syntax(head)
            if self.elements:
                self._defect("syntax-guessed")
            if seen is None and head[4:6] in VRS_BY_CODE:
                raise Malformed("syntax-missing", "no Transfer Syntax UID, and the data set shows none")
            return seen or IMPLICIT_LE  # PS3.5 10.1: the default
        shown = shown_syntax(declared, head)
        if shown != declared:
            self._defect("syntax-wrong")
        return shown

    def _uid(self, tag: int) -> str | None:
        value = self.elements.get(tag)
        return None if value is None else value.decode("ascii", "replace").strip(" \0") or None

    def _defect(self, name: str) -> None:
        if name not in self.defects:
            self.defects = (*self.defects, name)


def head_of(pieces: Iterable[bytes], limits: ReaderLimits) -> Part10Head:
    """The head of a file that comes in pieces, no more of which are taken than it needs. Raises as `feed`."""
    head = Part10Head(limits)
    for piece in pieces:
        head.feed(piece)
        if head.done:
            return head
    head.finish()
    return head


def _fits(head: bytes, syntax_uid: str) -> bool:
    """Whether the first element is so clearly in this syntax that it may overrule what is said of it."""
    if syntax_uid == IMPLICIT_LE:
        return not (head[4:6].isalpha() and head[4:6].isupper())  # neither a VR where one has to be, nor one to come
    group, number = struct.unpack_from("<HH" if syntax_uid == EXPLICIT_LE else ">HH", head)
    return head[4:6].decode("ascii") in (vr_of(group << 16 | number), "UN")
