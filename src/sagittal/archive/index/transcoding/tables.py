"""Tables of transcoding by rule. Together with `index.tables` and `finding.tables` the schema.

What they hold no object tells: `reindex` carries them over, `backup` has them. Deliberately not here: statements.
"""

from __future__ import annotations

from sqlalchemy import Column, ForeignKey, Index, Integer, Table, Text

from sagittal.archive.index.finding.tables import schema as schema
from sagittal.archive.index.tables import Number

# A digest that an object had before it was transcoded without loss, and the version that it is now: who sends those
# bytes again sends what is held. Otherwise encoded it is known by its pixels, and by all else that it says.
alias = Table(
    "alias",
    schema,
    Column("store", Integer, primary_key=True),
    Column("digest", Text, primary_key=True),
    Column("instance", Number, ForeignKey("instance.id"), primary_key=True),
    Column("pixels", Text, nullable=False, server_default=""),  # `pixels.fingerprint`
    Index("ix_alias_instance", "instance"),
    sqlite_with_rowid=False,
)

# Versions that a rule fits and that stay as they came.
failed_transcoding = Table(
    "failed_transcoding",
    schema,
    Column("instance", Number, ForeignKey("instance.id"), primary_key=True, autoincrement=False),
    Column("store", Integer, nullable=False),
    Column("to_syntax", Text, nullable=False, server_default=""),
    Column("reason", Text, nullable=False, server_default=""),
    Column("again", Integer, nullable=False, server_default="0"),  # 1: somebody asked to try once more
    Column("at", Number, nullable=False),
)
