"""Encoding and decoding of the PDUs other than P-DATA-TF: PS3.8 9.3, with the user items of PS3.8 D.1 and PS3.7 D.3.3.

Takes and gives whole PDUs, which are small: the caller caps them before it collects one (`stream`). Reserved fields are
sent as 00H and not tested. Unknown items and sub-items are skipped (9.3.1). Nothing here decides what to answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from struct import Struct, error, pack
from typing import Any

from sagittal.ul.pdu import (
    ABORT,
    ASSOCIATE_AC,
    ASSOCIATE_RJ,
    ASSOCIATE_RQ,
    RELEASE_RP,
    RELEASE_RQ,
    Abort,
    AssociateAC,
    AssociateRJ,
    AssociateRQ,
    CommonExtended,
    ContextResult,
    InvalidPDU,
    ProposedContext,
    ReleaseRP,
    ReleaseRQ,
    Role,
    UserIdentity,
    UserInformation,
)

_FIXED = Struct(">H2x64s")  # protocol version, reserved, the titles
_TITLES = Struct("16s16s32x")  # called and calling AE titles, reserved
_ITEM = Struct(">BxH")

Pdu = AssociateRQ | AssociateAC | AssociateRJ | ReleaseRQ | ReleaseRP | Abort


def encode(pdu: Pdu) -> bytes:
    """The PDU's bytes, header included."""
    match pdu:
        case AssociateRQ():
            contexts = b"".join(_proposed(context) for context in pdu.contexts)
            return _pdu(ASSOCIATE_RQ, _associate(pdu, contexts))
        case AssociateAC():
            contexts = b"".join(_result(context) for context in pdu.contexts)
            return _pdu(ASSOCIATE_AC, _associate(pdu, contexts))
        case AssociateRJ():
            return _pdu(ASSOCIATE_RJ, pack(">xBBB", pdu.result, pdu.source, pdu.reason))
        case ReleaseRQ():
            return _pdu(RELEASE_RQ, bytes(4))
        case ReleaseRP():
            return _pdu(RELEASE_RP, bytes(4))
        case Abort():
            return _pdu(ABORT, pack(">xxBB", pdu.source, pdu.reason))


def decode(kind: int, body: bytes) -> Pdu:
    """The PDU of type `kind` whose variable field is `body`; InvalidPDU if it breaks 9.3."""
    try:
        return _DECODERS[kind](body)
    except (error, IndexError) as short:
        raise InvalidPDU(f"PDU of type {kind:02X}H is too short: {short}") from None


def _pdu(kind: int, body: bytes) -> bytes:
    return pack(">BxL", kind, len(body)) + body


def _item(kind: int, value: bytes) -> bytes:
    return _ITEM.pack(kind, len(value)) + value


def _title(aet: str) -> bytes:
    return aet.encode("latin-1", "replace")[:16].ljust(16)


def _associate(pdu: AssociateRQ | AssociateAC, contexts: bytes) -> bytes:
    titles = pdu.titles or _TITLES.pack(_title(pdu.called_aet), _title(pdu.calling_aet))
    fixed = _FIXED.pack(pdu.protocol_version, titles)
    application = _item(0x10, pdu.application_context.encode())
    return fixed + application + contexts + _item(0x50, _user_information(pdu.user))


def _proposed(context: ProposedContext) -> bytes:
    syntaxes = b"".join(_item(0x40, uid.encode()) for uid in context.transfer_syntaxes)
    return _item(0x20, pack(">Bxxx", context.id) + _item(0x30, context.abstract_syntax.encode()) + syntaxes)


def _result(context: ContextResult) -> bytes:
    return _item(0x21, pack(">BxBx", context.id, context.result) + _item(0x40, context.transfer_syntax.encode()))


def _uid(uid: str) -> bytes:
    return pack(">H", len(uid)) + uid.encode()


def _user_information(user: UserInformation) -> bytes:
    parts = [_item(0x51, pack(">L", user.pdu_bytes_max)), _item(0x52, user.implementation_class.encode())]
    if user.asynchronous is not None:
        parts.append(_item(0x53, pack(">HH", *user.asynchronous)))
    parts += [_item(0x54, _uid(role.sop_class) + bytes((role.scu, role.scp))) for role in user.roles]
    if user.implementation_version:
        parts.append(_item(0x55, user.implementation_version.encode()))
    parts += [_item(0x56, _uid(sop_class) + information) for sop_class, information in user.extended]
    parts += [_item(0x57, _common(common)) for common in user.common_extended]
    if user.identity is not None:
        who = user.identity
        head = pack(">BBH", who.kind, who.response_wanted, len(who.primary))
        parts.append(_item(0x58, head + who.primary + pack(">H", len(who.secondary)) + who.secondary))
    if user.identity_response is not None:
        parts.append(_item(0x59, pack(">H", len(user.identity_response)) + user.identity_response))
    return b"".join(parts)


def _common(common: CommonExtended) -> bytes:
    related = b"".join(_uid(uid) for uid in common.related)
    return _uid(common.sop_class) + _uid(common.service_class) + pack(">H", len(related)) + related


# Decoding. A part that runs over the end of what holds it is an invalid PDU, never silently shortened.


def _items(data: bytes, start: int = 0) -> Iterator[tuple[int, bytes]]:
    end = len(data)
    while start < end:
        kind, length = _ITEM.unpack_from(data, start)
        start += 4
        if start + length > end:
            raise InvalidPDU(f"item {kind:02X}H of {length} bytes runs over the end of its PDU or item")
        yield kind, data[start : start + length]
        start += length


def _text(value: bytes) -> str:
    return value.decode("latin-1").strip(" \0")


def _counted(data: bytes, at: int) -> tuple[bytes, int]:
    """A value behind its two-byte length, and where it ends."""
    end = at + 2 + int.from_bytes(data[at : at + 2], "big")
    if at + 2 > len(data) or end > len(data):
        raise InvalidPDU("a length inside a user item runs over its end")
    return data[at + 2 : end], end


def _decode_associate(body: bytes, context_kind: int, context: Callable[[bytes], Any]) -> dict[str, Any]:
    version, titles = _FIXED.unpack_from(body)
    called, calling = map(_text, _TITLES.unpack(titles))
    found: dict[str, Any] = {"protocol_version": version, "called_aet": called, "calling_aet": calling}
    found |= {"titles": titles, "application_context": ""}
    contexts: dict[int, Any] = {}
    for kind, value in _items(body, _FIXED.size):
        if kind == context_kind:
            # Odd and once each (9.3.2.2): an answer could not name an even or a second one. So 128 at the most.
            if not value[0] % 2 or value[0] in contexts:
                raise InvalidPDU(f"presentation context id {value[0]} is even or there twice")
            contexts[value[0]] = context(value)
        elif kind == 0x10:
            found["application_context"] = _text(value)
        elif kind == 0x50:
            found["user"] = _decode_user_information(value)
    return {**found, "contexts": tuple(contexts.values())}


def _decode_rq(body: bytes) -> AssociateRQ:
    return AssociateRQ(**_decode_associate(body, 0x20, _decode_proposed))


def _decode_ac(body: bytes) -> AssociateAC:
    return AssociateAC(**_decode_associate(body, 0x21, _decode_result))


def _decode_proposed(value: bytes) -> ProposedContext:
    items = list(_items(value, 4))
    abstract = [_text(item) for kind, item in items if kind == 0x30]
    if len(abstract) != 1:
        raise InvalidPDU(f"presentation context {value[0]} has {len(abstract)} abstract syntaxes")
    return ProposedContext(value[0], abstract[0], tuple(_text(item) for kind, item in items if kind == 0x40))


def _decode_result(value: bytes) -> ContextResult:
    syntaxes = [_text(item) for kind, item in _items(value, 4) if kind == 0x40]
    return ContextResult(value[0], value[2], syntaxes[0] if syntaxes else "")


def _decode_user_information(value: bytes) -> UserInformation:
    found: dict[str, Any] = {}
    many: dict[str, list[Any]] = {"roles": [], "extended": [], "common_extended": []}
    for kind, item in _items(value):
        if kind in _USER_ITEMS:
            name, convert = _USER_ITEMS[kind]
            if name in many:
                many[name].append(convert(item))
            else:
                found[name] = convert(item)
    found.update((name, tuple(items)) for name, items in many.items())
    return UserInformation(**found)


def _decode_role(item: bytes) -> Role:
    uid, end = _counted(item, 0)
    return Role(_text(uid), bool(item[end]), bool(item[end + 1]))


def _decode_extended(item: bytes) -> tuple[str, bytes]:
    uid, end = _counted(item, 0)
    return _text(uid), item[end:]


def _decode_common(item: bytes) -> CommonExtended:
    sop_class, end = _counted(item, 0)
    service_class, end = _counted(item, end)
    related, at, uids = _counted(item, end)[0] if end < len(item) else b"", 0, []
    while at < len(related):
        uid, at = _counted(related, at)
        uids.append(_text(uid))
    return CommonExtended(_text(sop_class), _text(service_class), tuple(uids))


def _decode_identity(item: bytes) -> UserIdentity:
    primary, end = _counted(item, 2)
    secondary, _ = _counted(item, end) if end < len(item) else (b"", 0)  # absent for kinds 1, 3-5 in some encoders
    return UserIdentity(item[0], primary, secondary, bool(item[1]))


_USER_ITEMS: dict[int, tuple[str, Callable[[bytes], Any]]] = {
    0x51: ("pdu_bytes_max", lambda item: Struct(">L").unpack_from(item)[0]),
    0x52: ("implementation_class", _text),
    0x53: ("asynchronous", lambda item: Struct(">HH").unpack_from(item)),
    0x54: ("roles", _decode_role),
    0x55: ("implementation_version", _text),
    0x56: ("extended", _decode_extended),
    0x57: ("common_extended", _decode_common),
    0x58: ("identity", _decode_identity),
    0x59: ("identity_response", lambda item: _counted(item, 0)[0]),
}

_DECODERS: dict[int, Callable[[bytes], Pdu]] = {
    ASSOCIATE_RQ: _decode_rq,
    ASSOCIATE_AC: _decode_ac,
    ASSOCIATE_RJ: lambda body: AssociateRJ(body[1], body[2], body[3]),
    RELEASE_RQ: lambda body: ReleaseRQ(),
    RELEASE_RP: lambda body: ReleaseRP(),
    ABORT: lambda body: Abort(body[2], body[3]),
}
