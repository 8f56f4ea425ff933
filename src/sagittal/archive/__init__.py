"""The engine: verbs on objects and their index (ARCHITECTURE.md)."""

SERVER_FILE = "server.json"  # in a data directory: where the server listens that holds it, and its token
