"""Ratios against other archives, measured alternately in one run. `make bench`, or `python -m bench --quick`."""
