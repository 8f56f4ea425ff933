"""The log: one line an event on stderr, `time level event key=value …`, control characters escaped.

On the standard library's `logging`. An event is a name (`association.rejected`) with fields in `extra={"fields": …}`;
plain messages are taken as they are. Attribute values of patients do not belong in it, and neither do tokens.
"""

from __future__ import annotations

import logging
import sys
from datetime import UTC, datetime

_RESERVED = frozenset(' "=\\')


class LineFormatter(logging.Formatter):
    """One record, one line."""

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").removesuffix("+00:00")
        fields = getattr(record, "fields", {})
        parts = [f"{at}Z", record.levelname.lower(), printable(record.getMessage())]
        parts += [f"{key}={_quoted(str(value))}" for key, value in fields.items()]
        if record.exc_info:
            parts.append(f"traceback={_quoted(self.formatException(record.exc_info))}")
        return " ".join(parts)


def printable(text: str) -> str:
    """`text` on one line, so that nobody writes lines of their own into the log."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)


def _quoted(text: str) -> str:
    text = printable(text)
    if text and not _RESERVED.intersection(text):
        return text
    return '"' + text.replace('"', "'") + '"'


def start(level: str) -> None:
    """Send the log of this process to stderr."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LineFormatter())
    logging.basicConfig(handlers=[handler], level=level.upper(), force=True)
    for noisy in ("asyncio", "uvicorn", "uvicorn.error"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
