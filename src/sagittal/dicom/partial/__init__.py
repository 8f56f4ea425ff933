"""Data sets sent in part: without their bulk data, or with some of their frames (PS3.4 Y and Z)."""
