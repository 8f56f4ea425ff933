"""The engine: verbs on objects and their index (ARCHITECTURE.md)."""

from __future__ import annotations

from typing import Literal, get_args

SERVER_FILE = "server.json"  # in a data directory: where the server listens that holds it, and its token

DuplicatePolicy = Literal["keep-first", "replace", "refuse"]  # for other content under a SOP Instance UID that is held
POLICIES: tuple[DuplicatePolicy, ...] = get_args(DuplicatePolicy)
