"""A query taken apart: which keys the index answers, which are read from metadata, what is returned from where.

Deliberately not here: running anything.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sagittal.archive.index.finding import people
from sagittal.archive.index.finding.attributes import Attributes, answers
from sagittal.archive.index.keys import KEYS, Key, below
from sagittal.archive.index.matching import Form, form_of
from sagittal.archive.index.select import Asked, Order, can_order, is_lower
from sagittal.archive.search import cursor
from sagittal.archive.search.asked import Keys, Path, Private, Query, Tag
from sagittal.dicom.dictionary import tag_text, vr_of
from sagittal.dicom.matching import times
from sagittal.dicom.matching.predicate import Matcher, are_combined, date_of, time_of
from sagittal.dicom.matching.rules import EMPTY, RULES, Options, all_of
from sagittal.errors import BadRequest

Values = list[str | int | float | None]


@dataclass(frozen=True, slots=True)
class Prepared:
    """A query, ready to be run."""

    level: str
    shape: tuple[Asked, ...]
    values: Values  # of the shape and, behind them, of the cursor
    lower: Values  # of what of the shape is asked of lower levels
    columns: tuple[int, ...]
    order: Order
    after: bool
    matcher: Matcher | None  # of keys that only metadata can answer
    scanned: tuple[Tag, ...]  # those keys
    paths: frozenset[Path]  # returned from metadata
    include_all: bool
    store: int
    unmatched: frozenset[Tag]

    @property
    def reads_metadata(self) -> bool:
        """Whether more than the index is returned."""
        return bool(self.paths) or self.include_all


class _Parts:
    def __init__(self, query: Query, attributes: Attributes, corrected: frozenset[int]) -> None:
        self.corrected = corrected
        self.query, self.known, self.attributes = query, KEYS[query.level], attributes
        self.options = options_of(query)
        self.shape: list[Asked] = []
        self.values: Values = []
        self.lower: list[Values] = []
        self.scanned: dict[Tag, str | Keys] = {}
        self.unmatched: set[Tag] = set()
        self.joined: set[int] = set()

    def take(self, tag: Tag, asked: str | Keys) -> None:
        """One key, to where it is answered."""
        if not isinstance(asked, str):
            if asked:
                self.scanned[tag] = asked
            return
        if not asked.replace("\0", "").strip().strip("*") or tag in self.joined:
            return
        key = self.known.get(tag) if isinstance(tag, int) else None
        if key is None and isinstance(tag, int):
            key = below(self.query.level, tag)
        if key is not None and not key.kind:
            self.unmatched.add(tag)
        elif key is not None and self._by_index(key, asked):
            return
        elif not self._by_configuration(tag, asked):
            self._by_metadata(tag, asked)

    def _by_index(self, key: Key, text: str) -> bool:
        if key.kind in ("name", "any-name") and self.options.fuzzy and key.tag not in people.TAGS:
            return False
        if key.kind in ("date", "time"):
            return self._moment(key, text)
        for each in all_of(key.tag, text, self.options):
            self._add(Asked(key, ""), form_of(key.kind, each, self.options))
        return True

    def _add(self, asked: Asked, form: Form | None) -> None:
        if form is not None:
            asked = asked._replace(shape=form.shape)
            self.shape.append(asked)
            self.values.extend(form.values)
            if is_lower(self.query.level, asked):
                self.lower.append(list(form.values))

    def _moment(self, key: Key, text: str) -> bool:
        """A date or a time, maybe with the one that belongs to it, maybe in the requestor's time zone."""
        is_date, shift = key.kind == "date", self.options.timezone
        partner = time_of(key.tag) if is_date else date_of(key.tag)
        other = None if partner is None else self.known.get(partner)
        if key.within and (shift is not None or self.options.combined_datetime):
            return False  # of a level below: by metadata
        asked = Asked(key, "", other.column if other else "", False, shift if other else None)
        clock = self.query.keys.get(partner) if other and is_date and partner else None
        if self.options.combined_datetime and isinstance(clock, str) and are_combined(text, clock):
            assert partner is not None
            bounds = times.combined_range(text, clock)
            self.joined.add(partner)
            form = None if bounds is None else Form("within", bounds)
            self._add(asked._replace(joined=True), form)
        else:
            form = form_of(key.kind, text, self.options)
            self._add(asked, form)
            if asked.shift is None:
                return True
        if is_date and form is not None and form.shape in ("eq", "within"):
            self._add(Asked(key, ""), _around(form, asked.shift))
        return True

    def _by_configuration(self, tag: Tag, text: str) -> bool:
        """By an attribute that the configuration wants indexed, when all of it is."""
        found = self.attributes.key(self.query.level, tag, tag in self.corrected)
        if found is None or (self.options.empty_value and EMPTY in text):
            return False
        key, name = found
        if not answers(key.kind, text):
            return False
        plain = self.options._replace(empty_value=False, multiple_value=False) == Options()
        if not plain and key.kind in ("date", "time", "date-time", "name", "private"):
            return False
        forms = [self.attributes.form(key, each) for each in all_of(key.tag, text, self.options)]
        for form in filter(None, forms):
            self._add(Asked(key, ""), form._replace(values=(name, *form.values)))
            if tag in self.corrected:
                self.scanned[tag] = text
        return True

    def _by_metadata(self, tag: Tag, text: str) -> None:
        if isinstance(tag, int) and not self._can_match(tag, text):
            self.unmatched.add(tag)
        else:
            self.scanned[tag] = text

    def _can_match(self, tag: int, text: str) -> bool:
        vr = vr_of(tag)
        if vr == "SQ":
            return self.options.empty_value and text == EMPTY
        return vr in RULES and tag & 0xFFFF != 0 and tag >> 16 > 0x0002


def prepare(query: Query, attributes: Attributes, store: int, corrected: frozenset[int] = frozenset()) -> Prepared:
    """Take a query of a store apart; `corrected` are attributes that a correction is about. BadRequest."""
    known = KEYS.get(query.level)
    if known is None:
        raise BadRequest("not a query level")
    for by, _ in query.order:
        if not can_order(query.level, by):
            raise BadRequest(f"rows cannot be ordered by {tag_text(by)}")
    parts = _Parts(query, attributes, corrected)
    for tag, asked in sorted(query.keys.items(), key=_dates_first):
        parts.take(tag, asked)
    lower = [value for values in parts.lower for value in values]
    values = parts.values + (lower if len(parts.lower) > 1 else []) + cursor.read(query)
    included = set(known) if query.include_all else set[int]()
    included |= {tag for tag in (*query.include, *query.keys) if isinstance(tag, int) and tag in known}
    columns = tuple(sorted(included))
    paths = {path for tag, asked in query.keys.items() for path in _paths(tag, asked)}
    paths |= {(path,) if isinstance(path, int | Private) else path for path in query.include}
    return Prepared(
        level=query.level,
        shape=tuple(parts.shape),
        values=values,
        lower=lower,
        columns=columns,
        order=query.order,
        after=bool(query.after),
        matcher=Matcher(parts.scanned, parts.options) if parts.scanned else None,
        scanned=tuple(parts.scanned),
        paths=frozenset(path for path in paths if path[0] not in known and _is_data(path[0])),
        include_all=query.include_all,
        store=store,
        unmatched=frozenset(parts.unmatched),
    )


def options_of(query: Query) -> Options:
    """How a query's keys are matched. BadRequest when its time zone is none."""
    zone = times.offset_minutes(query.timezone) if query.timezone else None
    if query.timezone and zone is None:
        raise BadRequest(f"not an offset from UTC: {query.timezone[:16]!r}")
    return Options(query.fuzzy, query.combined_datetime, zone, query.empty_value, query.multiple_value)


def _dates_first(item: tuple[Tag, object]) -> tuple[bool, str]:
    """In a settled order; a date before the time that may be matched with it."""
    tag = item[0]
    return not (isinstance(tag, int) and vr_of(tag) == "DA"), str(tag)


def _paths(tag: Tag, asked: str | Keys) -> list[Path]:
    """What a key wants returned: itself, or of a sequence what is asked of its items."""
    if isinstance(asked, str) or not asked:
        return [(tag,)]
    return [(tag, *path) for inner, within in asked.items() for path in _paths(inner, within)]


def _is_data(tag: Tag) -> bool:
    """Whether it can be an attribute of an object: no group length, no command, no query control."""
    return not isinstance(tag, int) or (tag & 0xFFFF != 0 and tag >> 16 > 0x0002)


def _around(form: Form, shift: int | None) -> Form | None:
    """Stored dates that may be in a range after their time zone is taken into account: an index can answer this."""
    first, last = (str(value) for value in (form.values if form.shape == "within" else form.values * 2))
    days = 0 if shift is None else 2  # from -1200 to +1400 there are 26 hours
    begin, end = _days(first[:8], -days), _days(last[:8], days)
    if form.shape == "eq" and not begin:
        return None
    return Form("within", (begin, (end if first_is_date(last) else "") + times.LAST))


def first_is_date(text: str) -> bool:
    """Whether a bound begins with a date."""
    return text[:8].isdecimal() and len(text) >= 8


def _days(date: str, days: int) -> str:
    """A date moved by days; "" when it is none."""
    try:
        return f"{datetime.strptime(date, '%Y%m%d') + timedelta(days=days):%Y%m%d}" if len(date) == 8 else ""
    except (ValueError, OverflowError):
        return ""
