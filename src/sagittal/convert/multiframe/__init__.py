"""Multi-frame instances to single-frame ones, and back (PS3.3 C.7.6.16, A.70 to A.72)."""
