"""Folding of person names for matching: PS3.5 6.2.1, PS3.4 C.2.2.2.1 (matching of PN may ignore case and accents).

The stored text stays beside the folded one. Deliberately not here: wildcard and range matching.
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache


@lru_cache(maxsize=4096)
def fold_name(name: str) -> str:
    """Case, accents and padding away: "Müller^Jörg^^ " and "muller^jorg" fold to one text."""
    if not name.isascii():
        name = "".join(c for c in unicodedata.normalize("NFKD", name.casefold()) if not unicodedata.combining(c))
    groups = [
        "^".join(component.strip() for component in group.split("^")).rstrip("^")
        for group in name.casefold().split("=")
    ]
    return "=".join(groups).rstrip("=")
