"""The log: one line an event on stderr, `time level event key=value …`, control characters escaped.

On the standard library's `logging`. An event is a name (`association.rejected`) with fields in `extra={"fields": …}`;
plain messages are taken as they are. Attribute values of patients do not belong in it, and neither do tokens.
"""

from __future__ import annotations

import logging
import sys
from datetime import UTC, datetime

from sagittal.cli.output import escaped

_RESERVED = frozenset(' "=\\')


class LineFormatter(logging.Formatter):
    """One record, one line: nobody writes lines of their own into the log."""

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").removesuffix("+00:00")
        fields = getattr(record, "fields", {})
        parts = [f"{at}Z", record.levelname.lower(), escaped(record.getMessage(), kept="")]
        parts += [f"{key}={_quoted(str(value))}" for key, value in fields.items()]
        if record.exc_info:
            parts.append(f"traceback={_quoted(self.formatException(record.exc_info))}")
        return " ".join(parts)


def _quoted(text: str) -> str:
    text = escaped(text, kept="")
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
