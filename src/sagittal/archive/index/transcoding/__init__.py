"""Rows of what is transcoded by rule: originals that give way, their digests, what waits, and what failed."""
