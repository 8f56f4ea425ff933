"""Letters for pictures and sheets, in the package, since a server has no fonts to count on (docs/decisions/0006)."""
