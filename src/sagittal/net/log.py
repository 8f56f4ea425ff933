"""One line an event on the logger `sagittal.net`: what happened, then `key=value` pairs. No peer can break a line."""

from __future__ import annotations

import logging

INFO, WARNING = logging.INFO, logging.WARNING
LOGGER = logging.getLogger("sagittal.net")


def escape(text: object) -> str:
    """Printable, on one line; in quotes if it has spaces."""
    shown = "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in str(text))
    return f'"{shown}"' if " " in shown or not shown else shown


def event(level: int, what: str, **fields: object) -> None:
    """Log `what` with its fields; empty ones are left out."""
    if LOGGER.isEnabledFor(level):
        pairs = " ".join(f"{name}={escape(value)}" for name, value in fields.items() if value not in (None, ""))
        LOGGER.log(level, "%s %s", what, pairs)
