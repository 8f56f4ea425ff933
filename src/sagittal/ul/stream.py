"""The byte stream of a transport cut into PDUs, in place: PS3.8 9.3.1 and 9.3.5.

P-DATA-TF is never collected: the fragments of its presentation data values are handed on as views of the caller's
buffer, as far as they have come, neighbours of one message part in one `Run`. Other PDUs are collected whole, under a
cap. Bytes that are no PDU end the stream with one `Invalid`; what comes after has no meaning and is dropped. No state
of the association is known here.
"""

from __future__ import annotations

from collections.abc import Sequence
from struct import Struct, error
from typing import NamedTuple

from sagittal.errors import SagittalError
from sagittal.ul.codec import Pdu, decode
from sagittal.ul.pdu import ABORT, ASSOCIATE_AC, ASSOCIATE_RQ, P_DATA, InvalidPDU

_DATA = Struct(">BxLLBB")  # PDU type and length, PDV item length, presentation context id, message control header
_PDU = Struct(">BxL")
_PDV = Struct(">LBB")
# The two bits of the message control header (PS3.8 E.2), last and command, change places: so `key >> 1` names a run.
_KEY_BITS = (0, 2, 1, 3)


class Run(NamedTuple):
    """Consecutive fragments of one command set or data set, in one context."""

    context_id: int
    command: bool
    last: bool  # the last of these fragments ends the command set or data set
    fragments: Sequence[memoryview]


class Invalid(NamedTuple):
    """No valid PDU, for this reason. Nothing follows."""

    error: SagittalError


Piece = Run | Invalid | Pdu


class PduStream:
    """Feed it what the socket gave; it returns what that made complete."""

    def __init__(self, *, pdu_bytes_max: int, associate_bytes_max: int) -> None:
        self._data_max = pdu_bytes_max
        self._associate_max = associate_bytes_max
        self._tail = b""  # an incomplete header
        self._kind = 0
        self._body: bytearray | None = None  # an incomplete PDU other than P-DATA-TF
        self._body_left = 0
        self._pdu_left = 0  # bytes of the current P-DATA-TF that belong to PDVs not begun
        self._pdv_left = -1  # bytes of the current fragment still to come; -1: in no PDV
        self._key = 0  # of the current PDV: context id, then the bits command and last
        self._ended = False  # with an Invalid
        self._is_first = True  # no PDU came before

    @property
    def inside(self) -> bool:
        """Whether a PDU has begun and isn't complete."""
        return bool(self._tail) or self._body is not None or self._pdu_left > 0 or self._pdv_left >= 0

    def receive(self, view: memoryview) -> list[Piece]:
        """The pieces in `view`, in order. Runs refer to it: they are good until the caller changes its buffer."""
        pieces: list[Piece] = []
        if self._ended:
            return pieces
        if self._tail:
            view = memoryview(self._tail + bytes(view))  # seldom: a read ended inside a header
            self._tail = b""
        try:
            self._cut(view, pieces)
        except InvalidPDU as invalid:
            self._ended = True
            self._body, self._pdu_left, self._pdv_left = None, 0, -1
            pieces.append(Invalid(invalid))
        return pieces

    def _cut(self, view: memoryview, pieces: list[Piece]) -> None:
        position, end = 0, len(view)
        while position < end:
            if self._pdv_left >= 0 or self._pdu_left:
                position = self._data(view, position, pieces)
            elif self._body is not None:
                position = self._collect(view, position, pieces)
            elif end - position < 6:
                self._tail = bytes(view[position:])
                return
            elif view[position] == P_DATA:
                position = self._data(view, position, pieces)
            else:
                self._begin(view, position)
                position = self._collect(view, position + 6, pieces)
            if self._tail:
                return

    def _data(self, view: memoryview, position: int, pieces: list[Piece]) -> int:
        """Follow P-DATA-TF PDUs as long as there are any: the loop that every stored byte passes."""
        end, left, key, header, unpack = len(view), self._pdv_left, self._key, self._header, _DATA.unpack_from
        run: list[memoryview] = []
        while position < end:
            if left < 0:
                if self._pdu_left or end - position < 12:
                    position, left, new_key = header(view, position)
                else:
                    kind, size, length, context_id, control = unpack(view, position)
                    if kind == P_DATA and size == length + 4 <= self._data_max and length > 1:  # as nearly all are
                        position, left = position + 12, length - 2
                        new_key = (context_id << 2) | _KEY_BITS[control & 3]
                    else:
                        position, left, new_key = header(view, position)
                if left < 0:  # not all there, or another PDU
                    break
                if new_key >> 1 != key >> 1 and run:
                    self._flush(pieces, key, run)
                    run = []
                key = new_key
            stop = position + left
            if stop > end:
                if end > position:
                    run.append(view[position:])
                left, position = stop - end, end
                break
            if left:
                run.append(view[position:stop])
            position, left = stop, -1
            if key & 1:
                pieces.append(Run(key >> 2, bool(key & 2), True, run))
                run = []
        if run:
            self._flush(pieces, key, run)
        self._pdv_left, self._key = left, key
        return position

    def _header(self, view: memoryview, position: int) -> tuple[int, int, int]:
        """Read a PDV header (the first with its PDU's): where its fragment begins, its length or -1, its key."""
        pdu_left = self._pdu_left
        try:
            if pdu_left:
                length, context_id, control = _PDV.unpack_from(view, position)
                start = position + 6
            else:
                kind, pdu_left, length, context_id, control = _DATA.unpack_from(view, position)
                start = position + 12
                if kind != P_DATA:
                    return position, -1, 0
        except error:  # not all of it is there yet
            if pdu_left or view[position] == P_DATA:
                self._tail = bytes(view[position:])
                if not pdu_left and len(self._tail) >= 6 and (length := _PDU.unpack_from(self._tail)[1]) < 6:
                    raise InvalidPDU(f"P-DATA-TF of {length} bytes, too few for one value") from None
            return position, -1, 0
        after = pdu_left - length - 4
        if pdu_left > self._data_max or length < 2 or after < 0 or 0 < after < 6:
            raise InvalidPDU(f"P-DATA-TF of {pdu_left} bytes with a value of {length}; {self._data_max} were announced")
        self._pdu_left = after
        return start, length - 2, (context_id << 2) | _KEY_BITS[control & 3]

    @staticmethod
    def _flush(pieces: list[Piece], key: int, run: list[memoryview]) -> None:
        if run:
            pieces.append(Run(key >> 2, bool(key & 2), False, run))

    def _begin(self, view: memoryview, position: int) -> None:
        """The header of a PDU that is collected whole."""
        kind, length = _PDU.unpack_from(view, position)
        if not ASSOCIATE_RQ <= kind <= ABORT:
            raise InvalidPDU(self._unrecognized(bytes(view[position : position + 16])), reason=1)
        if (length > self._associate_max) if kind in (ASSOCIATE_RQ, ASSOCIATE_AC) else (length != 4):
            raise InvalidPDU(f"PDU of type {kind:02X}H with {length} bytes")
        self._kind, self._body, self._body_left = kind, bytearray(), length
        self._is_first = False

    def _collect(self, view: memoryview, position: int, pieces: list[Piece]) -> int:
        assert self._body is not None
        part = view[position : position + self._body_left]
        self._body += part
        self._body_left -= len(part)
        if not self._body_left:
            body, self._body = bytes(self._body), None
            pieces.append(decode(self._kind, body))
        return position + len(part)

    def _unrecognized(self, head: bytes) -> str:
        if self._is_first:
            if head.startswith((b"GET ", b"POST ", b"HEAD ", b"PUT ", b"OPTIONS ", b"CONNECT ", b"PRI * HTTP")):
                return f"an HTTP request on the DICOM port: {head!r}"
            if head.startswith(b"\x16\x03"):
                return "a TLS handshake, but this listener doesn't use TLS"
            return f"not DICOM: {head!r}"
        return f"unrecognized PDU type {head[0]:02X}H"
