"""Statements of upkeep and of the feeds beside the archive's daily work."""
