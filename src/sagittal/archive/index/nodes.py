"""Statements of the AE table and of bearer tokens."""

from __future__ import annotations

from sagittal.archive.index import MAIN_STORE

NODES = (
    "SELECT aet, host, port, tls, verbs, syntax_order, duplicate_policy FROM node "
    f"WHERE store = {MAIN_STORE} ORDER BY aet"
)
PUT_NODE = (
    "INSERT INTO node (store, aet, host, port, tls, verbs, syntax_order, duplicate_policy, created_at) "
    f"VALUES ({MAIN_STORE}, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (store, aet) DO UPDATE SET host = excluded.host, "
    "port = excluded.port, tls = excluded.tls, verbs = excluded.verbs, syntax_order = excluded.syntax_order, "
    "duplicate_policy = excluded.duplicate_policy"
)
REMOVE_NODE = f"DELETE FROM node WHERE store = {MAIN_STORE} AND aet = ?"

TOKENS = (
    f"SELECT name, digest, verbs, expires_at FROM token WHERE store = {MAIN_STORE} AND revoked_at IS NULL ORDER BY name"
)
PUT_TOKEN = (
    f"INSERT INTO token (store, name, digest, verbs, created_at) VALUES ({MAIN_STORE}, ?, ?, ?, ?) "
    "ON CONFLICT (store, name) DO UPDATE SET digest = excluded.digest, verbs = excluded.verbs, "
    "created_at = excluded.created_at, revoked_at = NULL"
)
REVOKE_TOKEN = f"UPDATE token SET revoked_at = ? WHERE store = {MAIN_STORE} AND name = ? AND revoked_at IS NULL"
