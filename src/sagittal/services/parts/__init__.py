"""Retrieving by SOP Instance UID alone, instances or parts of them: PS3.4 Annexes Y and Z."""
