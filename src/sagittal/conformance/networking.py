"""Networking by DIMSE: SOP classes by role, transfer syntaxes, associations, services with keys and statuses."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, cast

from sagittal.archive.index.keys import KEYS, LEVELS
from sagittal.client.dimse import MODELS
from sagittal.conformance.markdown import section, table
from sagittal.dicom.dictionary import lookup, tag_text
from sagittal.dicom.sopclasses import LEVELS as MODEL_LEVELS
from sagittal.dicom.sopclasses import STORAGE, VERIFICATION, WELL_KNOWN, name_of
from sagittal.dicom.syntaxes import SYNTAXES
from sagittal.dimse.service import Service
from sagittal.dimse.status import CANCEL, PENDING, PENDING_WARNING, words
from sagittal.limits import NetLimits, ReaderLimits
from sagittal.services import ALL
from sagittal.services.extended import FIND_GRANTED, RETRIEVE_GRANTED
from sagittal.services.parts.framelist import REFUSALS
from sagittal.services.site import Site
from sagittal.services.storage import KEPT_FIRST
from sagittal.services.suboperations import ALL_FAILED, SOME_FAILED
from sagittal.uid import IMPLEMENTATION_CLASS, IMPLEMENTATION_VERSION
from sagittal.ul.negotiation import DEFAULT_ORDER

_MATCHING = {
    "text": "single value, wildcard",
    "name": "single value, wildcard; by component group, without regard to case and accents",
    "any-name": "single value, wildcard, as names; any of several values",
    "any": "single value, wildcard; any of several values",
    "uid": "list of UIDs",
    "date": "single value, range",
    "time": "single value, range",
    "number": "single value",
    "": "returned only",
}
_TERMS = {
    "relational": "Relational queries and retrieval",
    "combined_datetime": "Combined date-time matching",
    "fuzzy": "Fuzzy semantic matching of person names",
    "timezone": "Time zone query adjustment",
    "enhanced_conversion": "Enhanced Multi-Frame Image conversion",
    "empty_value": "Empty Value Matching",
    "multiple_value": "Multiple Value Matching",
}


def services() -> list[Service]:
    """What the listener negotiates; none of them is run here, so they get no archive."""
    site = Site(cast(Any, None), "SAGITTAL", lambda _aet: None, cast(Any, None), ReaderLimits())
    return [make(site) for make in ALL]


def classes_of(service: Service) -> list[str]:
    """The SOP classes of a service that PS3.6 knows, those in force first."""
    known = (uid for uid, row in WELL_KNOWN.items() if row.kind in "TCM" and service.covers(uid))
    return sorted(known, key=lambda uid: (WELL_KNOWN[uid].retired, name_of(uid)))


def syntaxes_of(service: Service) -> tuple[str, ...]:
    """The transfer syntaxes that a service accepts."""
    return tuple(uid for uid in SYNTAXES if service.syntaxes(uid))


def content() -> Iterator[str]:
    """Which SOP classes, in which roles."""
    made = services()
    yield section("Content and transfer", _CLASSES, table(_HEAD, _class_rows(made, _sets(made))), depth=3)


def services_described() -> Iterator[str]:
    """What each service does, with its statuses."""
    yield section("DIMSE services", _MAPPING, depth=3)
    yield section("Storage", _STORAGE, _statuses(_STORE), depth=4)
    yield section("Query", _QUERY, _models(), *_keys(), _statuses(_FIND), depth=4)
    yield section("Retrieve", _RETRIEVE, _statuses(_MOVE), depth=4)
    yield section("The commands", _COMMANDS, table(("SOP class", "UID", "command"), _command_rows()), depth=4)


def communication() -> Iterator[str]:
    """How associations are made."""
    yield section("Associations", table(("policy", "value"), _association_rows()), depth=3)
    yield section("Extended negotiation", table(("option", "FIND", "MOVE and GET"), _terms()), depth=3)
    yield section("Transfer syntaxes of DIMSE services", *_syntaxes(_sets(services())), depth=3)


_MAPPING = """\
All services of the archive are of its one application entity; those of the commands are of one of their own.
"""
_CLASSES = """\
*SCP*: we perform the operations. *SCU*: we invoke them, on associations that we open for C-MOVE, and on the
association of a C-GET whose requestor took the SCP role. Beyond this table, Storage accepts every SOP Class UID that
PS3.6 does not list: private classes, and those newer than this version. The last column names a set below.
"""
_HEAD = ("service", "SOP class", "UID", "SCP", "SCU", "transfer syntaxes")


def _sets(made: Iterable[Service]) -> dict[tuple[str, ...], str]:
    found: dict[tuple[str, ...], str] = {}
    for service in made:
        found.setdefault(syntaxes_of(service), "ABCDEFGH"[len(found)])
    return found


def _class_rows(made: Iterable[Service], sets: dict[tuple[str, ...], str]) -> Iterator[tuple[str, ...]]:
    for service in made:
        for uid in classes_of(service):
            retired = " (retired)" if WELL_KNOWN[uid].retired else ""
            roles = ("yes" if service.scp else "", "yes" if service.scu else "")
            yield service.name, name_of(uid) + retired, uid, *roles, sets[syntaxes_of(service)]


def _syntaxes(sets: dict[tuple[str, ...], str]) -> Iterator[str]:
    order = ", ".join("all others as the requestor has them" if uid == "*" else name_of(uid) for uid in DEFAULT_ORDER)
    yield f"Of those proposed for one context one is chosen by the order of the calling node, else: {order}.\n"
    for uids, name in sets.items():
        yield f"Set {name}:\n"
        yield table(("transfer syntax", "UID"), ((SYNTAXES[uid].name, uid) for uid in uids))
    refused = ", ".join(f"{row.name}" for row in SYNTAXES.values() if not row.storable)
    yield f"Refused for storage, since their data sets do not hold their pixels: {refused}.\n"
    yield "A transfer syntax that PS3.6 does not list is accepted for storage, and kept as bytes.\n"


def _association_rows() -> Iterator[tuple[str, object]]:
    net = NetLimits()
    yield "Application context", "1.2.840.10008.3.1.1.1"
    yield "Implementation Class UID, Implementation Version Name", f"{IMPLEMENTATION_CLASS}, {IMPLEMENTATION_VERSION}"
    yield "Associations as acceptor, at most", net.associations_max
    yield "Of those with one calling AE title, at most", net.associations_per_title_max
    yield "Maximum Length Received that we announce", net.pdu_receive_bytes_max
    yield "Presentation contexts in one association, at most", net.presentation_contexts_max
    yield "Asynchronous operations as acceptor: performed at one time, at most", net.operations_max
    yield "Identifier of a query or retrieval, bytes at most", net.identifier_bytes_max
    yield "ARTIM, seconds for the whole negotiation", f"{net.artim_seconds:g}"
    yield "Association without traffic is aborted after seconds", f"{net.idle_seconds_max:g}"
    yield "As requestor: seconds for a connection", f"{net.connect_seconds_max:g}"
    yield "As requestor: seconds for an answer", f"{net.response_seconds_max:g}"
    yield "As requestor: seconds for an answer to C-MOVE", f"{net.move_seconds_max:g}"
    yield "SCP/SCU role selection", "accepted for Storage classes (C-GET)"
    yield "SOP Class Common Extended Negotiation", "read: a class that is declared to be of a service is served by it"
    yield "User identity", "a token (alone, or with its name) is verified; any other is noted and not trusted"
    yield "As requestor: user identity", "by the commands, if wanted: a name, a name with passcode, a JSON Web Token"
    yield "Acceptance", "on loopback anybody; else calling AE title, address and called AE title must agree"
    yield "Called AE titles", "our own, `dimse.called_aets`, and those of stores (`stores.NAME.called_aets`)"


def _terms() -> Iterator[tuple[str, str, str]]:
    find, retrieve = FIND_GRANTED._asdict(), RETRIEVE_GRANTED._asdict()
    for name in find:
        yield _TERMS[name], _granted(find, name), _granted(retrieve, name)


def _granted(terms: dict[str, bool], name: str) -> str:
    return "" if name not in terms else "granted" if terms[name] else "declined"


_STORAGE = """\
Level 2 (Full) conformance: every attribute, private ones too, is kept, byte for byte as it was sent. No element is
coerced. Objects that break the encoding rules in a way that can be read in one way only are stored and logged; what
is done about each defect is in [defects](defects.md). Digital signatures are neither checked nor broken. An instance
is available at once, and for as long as it is not deleted. By a rule of the configuration (`transcode`; there are none
by default) an instance is held in another transfer syntax later, with every pixel and every other element as it was. A
rule that allows a loss makes a derived instance (PS3.3 C.7.6.1.1.3, C.7.6.1.1.5), with a SOP Instance UID of its own.
"""
_STORE = (
    (0x0000, "stored; or the very same object is held already"),
    (KEPT_FIRST, "another content is held under this SOP Instance UID, and both are kept (a setting makes it 0000)"),
    (0x0111, "the same, where the sender's policy is to refuse"),
    (0x0124, "the sender may not store"),
    (0xA700, "no space, the volume can't be written, or a limit is exceeded"),
    (0xA900, "a UID is missing, invalid, or differs from the command"),
    (0xC000, "the data set can't be read"),
)
_QUERY = """\
Hierarchical queries, and relational ones where negotiated. Every attribute that is asked for is returned; those of
the tables from the index, any other standard or private one from what was kept of the objects. A key without an index
is matched within what the indexed keys leave, up to a limit, else A700. Keys that can't be matched give FF01.
Every response has Retrieve AE Title (0008,0054) and Instance Availability (0008,0056), which is `ONLINE`, asked for or
not. Storage Media File-Set ID and UID, and Retrieve URL (0008,1190), come back without a value.
Two quotation marks (`""`) match what has no value (Empty Value Matching, PS3.4 C.2.2.2.7), negotiated or not: as
literal text they would match nothing that is held. Of several values any may match; where Multiple Value Matching is
negotiated all have to, if the attribute can have several (C.2.2.2.8).
Names match by component group, without regard to case and accents, wild cards too. In fuzzy semantic matching each word
that is asked for equals a word of the name, in whatever component, but for one letter, or sounds like it (a Soundex of
folded spellings).
Responses come in the character set of the request where it can hold them, else in ISO_IR 192. Dates and times are
answered as received, whatever zone the request names: Timezone Offset From UTC, when asked for, says the offset of what
is answered, and is left out where none is known (PS3.4 C.4.1.1.3.2).
"""
_FIND = (
    (0x0000, "no more matches"),
    (PENDING, "a match"),
    (PENDING_WARNING, "a match, with a key that was not matched"),
    (CANCEL, "after C-CANCEL"),
    (0x0124, "the requestor may not query"),
    (0xA700, "too many matches, or too much to look through; or the index can't be read at the moment"),
    (0xA900, "the identifier lacks a key it needs, or has one of another level"),
    (0xC000, "the identifier, or a value to be matched, can't be read"),
)
_RETRIEVE = """\
C-MOVE sends to nodes of the AE table only, over further associations when the SOP classes need more than 128
contexts. C-GET sends in the accepted contexts in which the requestor has the SCP role. An object goes in its stored
transfer syntax. When that was not accepted it is brought to one that was and loses nothing, an uncompressed one by
preference; nothing is sent with a loss. C-MOVE proposes a context for each stored syntax, and one with Explicit and
Implicit VR Little Endian.
"""


def _clause(kind: type) -> str:
    """What a class of errors says of itself, as a part of a sentence."""
    text = (kind.__doc__ or "").partition("\n")[0].rstrip(".")
    return text[:1].lower() + text[1:]


_MOVE = (
    (0x0000, "all was sent, or nothing matched"),
    (PENDING, "sub-operations go on; counts are told"),
    (CANCEL, "after C-CANCEL"),
    (SOME_FAILED, "some sub-operations failed or ended with a warning; Failed SOP Instance UID List is told"),
    (0xA700, "the index can't be read at the moment"),
    (ALL_FAILED, "every sub-operation failed"),
    (0xA801, "the move destination is no node of the AE table"),
    (0x0124, "the requestor may not retrieve"),
    (0xA900, "the identifier lacks a key it needs, or has one of another level"),
    (0xC000, "the identifier can't be read"),
    *((kind.dimse_status, f"of frames: {_clause(kind)}") for kind in REFUSALS),
)


def _statuses(rows: Iterable[tuple[int, str]]) -> str:
    return table(("status", "meaning", "when"), ((f"{code:04X}", words(code), when) for code, when in rows))


def _models() -> str:
    made = services()
    offered = {uid: levels for uid, levels in MODEL_LEVELS.items() if any(service.covers(uid) for service in made)}
    rows = ((name_of(uid), " ".join(levels)) for uid, levels in offered.items())
    return table(("information model", "levels"), rows)


def _keys() -> Iterator[str]:
    for level in LEVELS:
        yield f"Keys of the index at the {level} level:\n"
        yield table(("attribute", "tag", "matching"), _key_rows(level))


def _key_rows(level: str) -> Iterator[tuple[str, str, str]]:
    for number, key in sorted(KEYS[level].items()):
        entry = lookup(number)
        yield (entry.name if entry else ""), tag_text(number), _MATCHING[key.kind]


_COMMANDS = """\
`sagittal echo`, `store`, `find`, `get` and `move` are SCUs of their own, calling as SAGITTAL unless told otherwise.
They propose Explicit and Implicit VR Little Endian; `store` proposes what its files are in, `get` every storable
transfer syntax, or the usual ones for all images where the peer does not tell its SOP classes. They ask for extended
negotiation and a window of operations only when told to. `sagittal receive` is an SCP of Verification and Storage that
writes into a folder.
"""


def _command_rows() -> Iterator[tuple[str, str, str]]:
    yield name_of(VERIFICATION), VERIFICATION, "echo"
    yield f"every Storage SOP class ({len(STORAGE)} in PS3.6), private ones", "", "store, get"
    for uids in MODELS.values():
        for uid, command in zip(uids, ("find", "move", "get"), strict=True):
            yield name_of(uid), uid, command
