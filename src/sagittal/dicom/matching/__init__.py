"""Matching of attributes against keys (PS3.4 C.2.2.2), without an index: what a key means, and the predicate."""
