"""What is asked for: matching keys, written as an identifier (PS3.4 C.4.1.1.3) or as parameters (PS3.18 8.3.4).

A key is a keyword or a tag, its path through sequences with dots: `PatientName=DOE*`,
`RequestAttributesSequence.ScheduledProcedureStepID=X`. A private attribute takes its creator along as it lies in a data
set: `0009,0010=ACME` and `0009,1001=value`. Nothing is matched here, and no value is judged but numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from datetime import date, datetime, time
from typing import Any, Union

from sagittal.dicom.dictionary import keyword_of, tag_of, tag_text, vr_of
from sagittal.dicom.elements import NUMBERS, encode, encode_numbers, encode_sequence, encode_text
from sagittal.dicom.matching.times import is_offset
from sagittal.dicom.syntaxes import TransferSyntax, syntax
from sagittal.errors import UsageError

LEVELS = ("patient", "study", "series", "image")
CHARACTER_SET, LEVEL, TIMEZONE = 0x00080005, 0x00080052, 0x00080201
PATIENT_ID, STUDY_UID, SERIES_UID, INSTANCE_UID = 0x00100020, 0x0020000D, 0x0020000E, 0x00080018
_ALSO = {"instance": "image"}  # PS3.18's word beside PS3.4's
UIDS = {"study": STUDY_UID, "series": SERIES_UID, "image": INSTANCE_UID}

Tree = Mapping[int, Union[str, "Tree"]]
"""Tag → value ("" universal matching, a list joined by backslashes), or the keys inside a sequence."""

_WITHOUT_COMMA = ("UI", "CS")  # PS3.5 6.2: no value has one, so it stands between values, as in an address
_SEVERAL = (Sequence, Set, Iterator)  # text is one of them as well
_WRITTEN = ((datetime, "%Y%m%d%H%M%S.%f%z"), (date, "%Y%m%d"), (time, "%H%M%S.%f"))  # a datetime is a date, too

# What is asked for when nothing is said about it: enough to tell one from the other.
USUAL = {
    "patient": ("PatientID", "PatientName", "PatientBirthDate", "PatientSex"),
    "study": ("StudyInstanceUID", "StudyDate", "PatientID", "PatientName", "ModalitiesInStudy", "StudyDescription"),
    "series": ("SeriesInstanceUID", "Modality", "SeriesNumber", "SeriesDescription"),
    "image": ("SOPInstanceUID", "SOPClassUID", "InstanceNumber"),
}


@dataclass(frozen=True, slots=True)
class Question:
    """One query. What beyond the keys a peer can't or won't do, it is asked for and may decline."""

    level: str  # one of LEVELS
    keys: Tree = field(default_factory=dict)
    model: str = "study"  # information model: study, patient or patient-study (DIMSE only)
    relational: bool = False  # keys of any level without those above (PS3.4 C.4.1.2.2.1)
    fuzzy: bool = False  # person names
    combined_datetime: bool = False  # a date and its time as one
    timezone: str = ""  # "+0100": how dates and times are meant
    limit: int | None = None  # then the peer is told to stop
    offset: int = 0  # DICOMweb only
    order: tuple[str, ...] = ()  # DICOMweb only, as our own archive has it: PatientName, -StudyDate

    def __post_init__(self) -> None:
        """UsageError for a level or an offset that is none, and a limit that lets nothing through."""
        if self.level not in LEVELS:
            raise UsageError(f"the level is one of {', '.join(LEVELS)} (or instance); not {self.level!r}")
        if self.limit is not None and self.limit < 1:
            raise UsageError(f"the limit is at least 1, not {self.limit}")
        if self.timezone and not is_offset(self.timezone):
            raise UsageError(f"{self.timezone!r} is not an offset from UTC such as +0100")


def tag_for(name: str) -> int:
    """A tag from a keyword or from eight hexadecimal digits."""
    try:
        return tag_of(name)
    except KeyError:
        raise UsageError(f"{name!r} is neither a keyword of PS3.6 nor a tag") from None


def parse_keys(keys: Iterable[str]) -> dict[int, Any]:
    """`Keyword=value` or `Keyword` (universal matching); a key that is given twice makes a list."""
    found: dict[int, Any] = {}
    for key in keys:
        name, _, value = key.partition("=")
        _put(found, name, value)
    return found


def keys_of(values: Mapping[str, Any]) -> dict[int, Any]:
    """The same from a mapping: text, numbers, dates and times, None (universal), several of these in a list or anything
    like one, mappings inside sequences. UsageError for a list of nothing, which would be asked for as universal.
    """
    found: dict[int, Any] = {}
    for name, value in values.items():
        if not isinstance(name, str):
            raise UsageError(f"a key is a keyword or a tag as text, such as '00100020', not {name!r}")
        if isinstance(value, Mapping):
            found[tag_for(name)] = keys_of(value)
            continue
        if _is_several(value):
            value = list(value)
            if not value:
                raise UsageError(f"{name}: a list without values matches nothing; None asks for whatever there is")
        _put(found, name, written(value, vr_of(tag_for(name.rpartition(".")[2]))))
    return found


def _is_several(value: object) -> bool:
    return isinstance(value, _SEVERAL) and not isinstance(value, (str, bytes))


def written(value: Any, vr: str) -> str:
    """A value as it is typed (PS3.5 6.2). UsageError for bytes, whose character set nobody knows."""
    if value is None:
        return ""
    if _is_several(value):
        return "\\".join(written(one, vr) for one in value)
    if isinstance(value, bytes):
        raise UsageError(f"{value!r} is no text")
    if isinstance(value, datetime) and vr in ("DA", "TM"):
        value = value.date() if vr == "DA" else value.time()
    pattern = next((pattern for kind, pattern in _WRITTEN if isinstance(value, kind)), None)
    return value.strftime(pattern) if pattern else str(value)


def _put(tree: dict[int, Any], name: str, value: str) -> None:
    *path, last = (tag_for(part) for part in name.split("."))
    for tag in path:
        inner = tree.setdefault(tag, {})
        if inner == "":  # the sequence was named without anything in it
            inner = tree[tag] = {}
        if not isinstance(inner, dict):
            raise UsageError(f"{name}: a sequence has keys inside it, no value")
        tree = inner
    if any("\ud800" <= letter <= "\udfff" for letter in value):  # bytes of the command line that are not UTF-8
        raise UsageError(f"{name}: {value!r} is no text")
    held = tree.get(last)
    if vr_of(last) == "SQ" and value:
        raise UsageError(f"{name} is a sequence: name a key in it, as {name}.Keyword={value}")
    if isinstance(held, dict):
        return
    if vr_of(last) in _WITHOUT_COMMA:
        value = value.replace(",", "\\")
    tree[last] = value if not held else f"{held}\\{value}" if value else held


def usual(level: str, keys: Tree) -> dict[int, Any]:
    """The keys, and what is usually shown at this level."""
    return parse_keys(USUAL.get(level, ())) | dict(keys)


def level_named(text: str) -> str:
    """The level that people call so: as PS3.4 or PS3.18 does, in small letters or capitals."""
    return _ALSO.get(text.lower(), text.lower())


def level_of(keys: Tree, model: str | None = None) -> str:
    """The lowest level whose UID is among the keys; the patient's in a model that begins there and without a UID."""
    if model not in (None, "study") and not keys.keys() & set(UIDS.values()):
        return "patient"
    return "image" if INSTANCE_UID in keys else "series" if SERIES_UID in keys else "study"


def advice(question: Question) -> str:
    """What to type where a peer finds that an identifier lacks keys, or has too many (A900), "" if that is not it."""
    chain = {"patient": PATIENT_ID, **UIDS} if question.model != "study" else UIDS
    above = [tag for level, tag in chain.items() if LEVELS.index(level) < LEVELS.index(question.level)]
    wanted = [f"one {keyword_of(tag)}" for tag in above if _is_not_one(question.keys.get(tag))]
    if question.relational or not wanted:
        return ""
    return f"name {' and '.join(wanted)}, or ask for relational queries (--relational, relational=True)"


def _is_not_one(value: object) -> bool:
    return not value or "\\" in str(value)


def identifier(question: Question, syntax_uid: str) -> bytes:
    """The identifier of a query or retrieval, in UTF-8 when ASCII does not do."""
    to = syntax(syntax_uid)
    charsets = () if _is_ascii(question.keys) else ("ISO_IR 192",)
    elements = [(LEVEL, "CS", question.level.upper().encode())]
    if charsets:
        elements.append((CHARACTER_SET, "CS", charsets[0].encode()))
    if question.timezone:
        elements.append((TIMEZONE, "SH", question.timezone.encode()))
    elements += _elements(question.keys, charsets, to)
    return encode(elements, to)


def _elements(keys: Tree, charsets: Sequence[str], to: TransferSyntax) -> list[tuple[int, str, bytes]]:
    found = []
    for tag, value in keys.items():
        vr = vr_of(tag)
        if not isinstance(value, str):
            item = encode(_elements(value, charsets, to), to)
            found.append((tag, "SQ", encode_sequence([item], to)))
        elif vr in NUMBERS and value:
            found.append((tag, vr, encode_numbers(vr, _numbers(tag, value), to)))
        else:
            # Of a private attribute only its owner knows the VR: text, in any case, is what was typed.
            vr = "LO" if vr == "UN" and value else vr
            found.append((tag, vr, b"" if vr == "SQ" else encode_text(vr, value, charsets)))
    return found


def _numbers(tag: int, value: str) -> list[float]:
    try:
        return [float(one) if "." in one or "e" in one.lower() else int(one) for one in value.split("\\")]
    except ValueError:
        raise UsageError(f"{tag_text(tag)} takes numbers, not {value!r}") from None


def _is_ascii(keys: Tree) -> bool:
    return all(value.isascii() if isinstance(value, str) else _is_ascii(value) for value in keys.values())


def parameters(question: Question, without: Iterable[int] = ()) -> list[tuple[str, str]]:
    """The query of a search; `without` are keys that its path says already."""
    left_out = {f"{tag:08X}" for tag in without}
    more = (
        ("fuzzymatching", "true" if question.fuzzy else ""),
        (f"{TIMEZONE:08X}", question.timezone),
        ("orderby", ",".join(question.order)),
        ("limit", str(question.limit or "")),
        ("offset", str(question.offset or "")),
    )
    found = [(name, value) for name, value in _parameters(question.keys, "") if name not in left_out]
    return found + [(name, value) for name, value in more if value]


def _parameters(keys: Tree, before: str) -> Iterator[tuple[str, str]]:
    for tag, value in keys.items():
        name = f"{before}{tag:08X}"
        if not isinstance(value, str):
            yield from _parameters(value, f"{name}.")
        elif value == "":
            yield "includefield", name
        else:
            yield name, value.replace("\\", ",") if vr_of(tag) == "UI" else value
