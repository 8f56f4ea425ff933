"""Attributes as an address names them (PS3.18 8.3.4.1): keywords, tags, paths into sequences, private elements.

A private element says nothing without its private creator, which is given along as a parameter of its own: the value of
`00090010=ACME` is who reserved the block of `00091002` (PS3.5 7.8.1). Within a sequence the creator is given in that
sequence too: `00400275.00090010=ACME`. It deliberately knows neither values nor levels.
"""

from __future__ import annotations

from collections.abc import Mapping

from sagittal.archive.query import Private, Tag
from sagittal.dicom.dictionary import lookup, tag_of, vr_of
from sagittal.errors import BadRequest

Path = tuple[int, ...]
_SHOWN = 64  # characters of a name that an error repeats


def path_of(name: str, depth_max: int) -> Path:
    """The tags that a name leads through; BadRequest when one is none or leads into what is no sequence."""
    parts = name.split(".")
    if len(parts) > depth_max:
        raise BadRequest(f"an attribute is nested deeper than {depth_max} (limits.depth_max)")
    path = tuple(_tag(part, name) for part in parts)
    for tag in path[:-1]:
        if not is_private(tag) and vr_of(tag) != "SQ":
            raise BadRequest(f"{name[:_SHOWN]!r} leads into an attribute that is not a sequence")
    return path


def _tag(part: str, name: str) -> int:
    try:
        tag = tag_of(part)
    except KeyError:
        tag = 0
    if not tag >> 16 > 2 or not (_is_element(tag) if is_private(tag) else lookup(tag)):
        raise BadRequest(f"{name[:_SHOWN]!r} is not an attribute of a data set")
    return tag


def is_private(tag: int) -> bool:
    """Whether the group is odd."""
    return bool(tag >> 16 & 1)


def is_creator(tag: int) -> bool:
    """Whether it is a private creator (PS3.5 7.8.1)."""
    return is_private(tag) and 0x10 <= tag & 0xFFFF <= 0xFF


def _is_element(tag: int) -> bool:
    """Groups up to FFFF are odd too, but those below 0009 and the last are nobody's (PS3.5 7.1)."""
    return 0x0009 <= tag >> 16 < 0xFFFF and (is_creator(tag) or tag & 0xFFFF >= 0x1000)


def named(path: Path, creators: Mapping[Path, str]) -> tuple[Tag, ...]:
    """The path as the archive understands it: private elements by creator and element, whatever the block."""
    return tuple(_named(path[:at], tag, creators) for at, tag in enumerate(path))


def block(above: Path, tag: int) -> Path:
    """Where the creator of a private element is."""
    return (*above, (tag & 0xFFFF0000) | (tag >> 8 & 0xFF))


def _named(above: Path, tag: int, creators: Mapping[Path, str]) -> Tag:
    if not is_private(tag) or is_creator(tag):
        return tag
    where = block(above, tag)
    creator = creators.get(where)
    if not creator:
        needed = ".".join(f"{part:08X}" for part in where)
        raise BadRequest(f"{tag:08X} is private: say who reserved its block, for instance {needed}=ACME")
    return Private(creator, tag & 0xFFFF00FF)
