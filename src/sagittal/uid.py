"""Unique identifiers: PS3.5 section 9 and Annex B.2 (UUID-derived, root 2.25)."""

from __future__ import annotations

import hashlib
import re
import uuid

# Components without leading zeros, at most 64 characters.
_UID = re.compile(r"(?:0|[1-9][0-9]*)(?:\.(?:0|[1-9][0-9]*))*\Z")

IMPLEMENTATION_CLASS = "2.25.148906190426353937262017573913427414017"
IMPLEMENTATION_VERSION = "SAGITTAL_0_1"  # PS3.7 D.3.3.2: at most 16 characters


def is_uid(text: str) -> bool:
    """Whether `text` is a valid UID by PS3.5 9.1."""
    return 0 < len(text) <= 64 and _UID.match(text) is not None


def new_uid() -> str:
    """A new UID under 2.25, from a random UUID."""
    return f"2.25.{uuid.uuid4().int}"


def derived_uid(*parts: str) -> str:
    """A UID under 2.25 that is the same for the same parts, from a name-based UUID."""
    digest = hashlib.sha256("\n".join(parts).encode()).digest()[:16]
    return f"2.25.{uuid.UUID(bytes=digest, version=5).int}"
