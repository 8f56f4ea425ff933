# make check | test | bench | fix | docs | lock. RUN= for an environment that is already active.
RUN ?= uv run
CODE = src tests bench tools

.PHONY: check test bench fix docs lock

check:
	$(RUN) ruff format --check $(CODE)
	$(RUN) ruff check $(CODE)
	$(RUN) mypy src
	$(RUN) lint-imports --no-logo
	$(RUN) python tests/tidy.py
	$(RUN) python tools/lock.py --check
	$(RUN) python tools/docs.py --check

test:
	$(RUN) pytest

bench:
	$(RUN) python -m bench $(BENCH)

fix:
	$(RUN) ruff format $(CODE)
	$(RUN) ruff check --fix $(CODE)

docs:
	$(RUN) python tools/docs.py

lock:
	$(RUN) python tools/lock.py
