"""Upkeep of an archive: counts, scrub, reindex, backup, import, export. Nothing here is on the way of a request."""
