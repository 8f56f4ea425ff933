"""Statements of the AE table and of bearer tokens. Both are of the whole archive, and kept under the main store."""

from __future__ import annotations

from sagittal.archive.index import MAIN_STORE

_COLUMNS = (
    "host", "port", "tls", "verbs", "syntax_order", "duplicate_policy", "name", "addresses", "character_set",
    "issuer_of_patient_id", "timezone_offset_from_utc", "works_in",
)  # fmt: skip
NODES = f"SELECT aet, {', '.join(_COLUMNS)} FROM node WHERE store = {MAIN_STORE} ORDER BY aet"
PUT_NODE = (
    f"INSERT INTO node (store, aet, {', '.join(_COLUMNS)}, created_at) "
    f"VALUES ({MAIN_STORE}, ?, {', '.join('?' * len(_COLUMNS))}, ?) "
    f"ON CONFLICT (store, aet) DO UPDATE SET {', '.join(f'{column} = excluded.{column}' for column in _COLUMNS)}"
)
REMOVE_NODE = f"DELETE FROM node WHERE store = {MAIN_STORE} AND aet = ?"

TOKENS = (
    f"SELECT name, digest, verbs, works_in FROM token WHERE store = {MAIN_STORE} AND revoked_at IS NULL ORDER BY name"
)
PUT_TOKEN = (
    f"INSERT INTO token (store, name, digest, verbs, works_in, created_at) VALUES ({MAIN_STORE}, ?, ?, ?, ?, ?) "
    "ON CONFLICT (store, name) DO UPDATE SET digest = excluded.digest, verbs = excluded.verbs, "
    "works_in = excluded.works_in, created_at = excluded.created_at, revoked_at = NULL"
)
REVOKE_TOKEN = f"UPDATE token SET revoked_at = ? WHERE store = {MAIN_STORE} AND name = ? AND revoked_at IS NULL"
