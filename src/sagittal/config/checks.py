"""What a single value of the configuration may be: numbers, truth, and checks by the name of the setting.

Each raises UsageError that says what is wanted. Deliberately not here: what is wrong only beside another setting.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from ipaddress import ip_network
from typing import Any
from urllib.parse import urlsplit

from sagittal.archive.access import VERBS
from sagittal.dimse.address import check_aet
from sagittal.errors import UsageError
from sagittal.hosts import check_host
from sagittal.uid import is_uid

# RFC 6454 6.2: without a path. `serve` takes a slash at the end away, and capitals for small letters.
_ORIGIN = re.compile(r"https?://([a-z0-9.-]+|\[[0-9a-f:.]+\])(:\d{1,5})?/?", re.IGNORECASE)


def number(key: str, value: object, kind: type[int] | type[float]) -> int | float:
    """A number that is not negative, whole where it is one of things; environment and command line give text."""
    try:
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise ValueError
        found = kind(value)
        if not isinstance(value, str) and found != value:  # a part of one, or NaN
            raise ValueError
    except (ValueError, OverflowError):
        found = -1
    if not found >= 0:
        raise UsageError(f"{key}: a {'whole ' if kind is int else ''}number from 0 is wanted, not {value!r}")
    return found


def boolean(key: str, value: object) -> bool:
    found = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}.get(str(value).lower())
    if found is None:
        raise UsageError(f"{key}: true or false is wanted, not {value!r}")
    return found


def check(at: str, name: str, value: Any) -> None:
    """UsageError when a value is none of those that a setting of this name may have."""
    try:
        if by_name := _CHECKS.get(name):
            by_name(value)
    except (UsageError, ValueError) as error:
        raise UsageError(f"{at}{name}: {error}") from None


def _each(check: Callable[[str], object]) -> Callable[[Iterable[str]], object]:
    """The check of a list, by that of its values."""
    return lambda values: [check(value) for value in values]


def _one_that(fits: Callable[[Any], object], otherwise: str) -> Callable[[Any], None]:
    """The check that a value `fits`; `otherwise` is said of one that does not."""

    def check(value: Any) -> None:
        if not fits(value):
            raise UsageError(otherwise.format(value))

    return check


def _check_aet(value: str) -> None:
    check_aet(value, padded=False)  # titles are compared as they are


def _check_name(value: str) -> None:
    if not value or re.search(r"[/@*]|(?<!\]):\d*$", value.partition("]")[2] or value):
        raise UsageError(f"{value!r} is not the name of a host alone, without scheme and port")
    check_host(value)


def _check_url(value: str | None) -> None:
    try:
        parts = urlsplit(value or "https://none")
        right = parts.scheme in ("http", "https") and parts.hostname and not parts.query and not parts.fragment
        _ = parts.port
    except ValueError:
        right = False
    if not right:
        raise UsageError(f"{value!r} is not a URL such as https://pacs.example")


def _check_assumed(character_set: str = "", timezone: str = "") -> None:
    from sagittal.archive.nodes import Assumed, check_assumed

    check_assumed(Assumed(character_set, timezone))


def _check_attribute(value: str) -> None:
    from sagittal.archive.index.finding.attributes import attribute_of

    attribute_of(value)


_CHECKS: dict[str, Callable[[Any], object]] = {
    "aet": _check_aet,
    "host": check_host,
    "port": _one_that(lambda value: value <= 65535, "{} is not a port"),
    "sha256": _one_that(re.compile("[0-9a-f]{64}").fullmatch, "not a SHA-256 in hexadecimal"),
    "trusted_proxies": _each(ip_network),
    "addresses": _each(ip_network),
    "called_aets": _each(_check_aet),
    "calling_aets": _each(_check_aet),
    "verbs": _each(_one_that(VERBS.__contains__, f"unknown verb {{!r}}; verbs are {' '.join(sorted(VERBS))}")),
    "prefer": _each(_one_that(is_uid, "{!r} is not the UID of a transfer syntax")),
    "hosts": _each(_check_name),
    "origins": _each(_one_that(_ORIGIN.fullmatch, "{!r} is not an origin such as https://viewer.example")),
    "public_url": _check_url,
    "character_set": _check_assumed,
    "timezone": lambda value: _check_assumed(timezone=value),
    "attributes": _each(_check_attribute),
}
