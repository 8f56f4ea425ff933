"""The schema of the index, as SQLAlchemy Core tables.

What objects tell is in patient, study, series, instance, metadata, frame_index: rebuildable from the objects. What
they can't tell is in receipt, discrepancy, tombstone, change, audit, node, token: only here. Every unique key starts
with `store`.

Conventions: attribute columns have the attribute's keyword in snake case; text as received, trimmed, "" when empty or
absent, several values joined by a backslash. `*_search` is the same text folded by `names.fold_name`. Times that we
take ourselves are `*_at`: integer microseconds UTC. Ids are given out by the one writer. Values of study and series are
the *effective* ones; what an object itself says is in its metadata. Deliberately not here: statements (beside this
file). A change here wants a migration and a new `fresh.sql`; a test compares all three.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from sagittal.archive.index import CURRENT as CURRENT
from sagittal.archive.index import DELETED as DELETED
from sagittal.archive.index import MAIN_STORE as MAIN_STORE
from sagittal.archive.index import OTHER as OTHER

schema = MetaData()
Number = BigInteger().with_variant(Integer, "sqlite")  # in SQLite an INTEGER primary key is the row id itself


def _id() -> Column[int]:
    return Column("id", Number, primary_key=True)


def _store() -> Column[int]:
    return Column("store", Integer, nullable=False)


def _text(name: str) -> Column[str]:
    return Column(name, Text, nullable=False, server_default="")


def _number(name: str, default: int | None = None) -> Column[int]:
    """An integer; without default it may be NULL: absent or no number."""
    if default is None:
        return Column(name, Number)
    return Column(name, Number, nullable=False, server_default=str(default))


def _at(name: str = "at") -> Column[int]:
    return Column(name, Number, nullable=False)


def _refers(name: str, target: str, *, optional: bool = False) -> Column[int]:
    return Column(name, Number, ForeignKey(f"{target}.id"), nullable=optional)


setting = Table("setting", schema, Column("name", Text, primary_key=True), Column("value", Text, nullable=False))

store = Table("store", schema, _id(), Column("name", Text, nullable=False, unique=True), _at("created_at"))

volume = Table(
    "volume", schema, _id(), _store(), _text("name"), _text("kind"), _text("place"), UniqueConstraint("store", "name")
)

patient = Table(
    "patient",
    schema,
    _id(),
    _store(),
    _text("patient_id"),  # the first identifier, for display; lookups go through patient_identifier
    _text("issuer_of_patient_id"),
    _text("patient_name"),
    _text("patient_name_search"),
    _text("patient_birth_date"),
    _text("patient_sex"),
    _at("created_at"),
)

# A patient without a Patient ID has no row here: it is the patient of its one study.
patient_identifier = Table(
    "patient_identifier",
    schema,
    _id(),
    _store(),
    _refers("patient", "patient"),
    _text("value"),
    _text("issuer"),
    _text("type"),
    UniqueConstraint("store", "value", "issuer"),
    Index("ix_patient_identifier_patient", "patient"),
)

study = Table(
    "study",
    schema,
    _id(),
    _store(),
    _refers("patient", "patient"),
    _text("study_instance_uid"),
    # Patient attributes as this study has them, so that a study query reads one table. First instance wins.
    _text("patient_id"),
    _text("issuer_of_patient_id"),
    _text("patient_name"),
    _text("patient_name_search"),
    _text("patient_birth_date"),
    _text("patient_sex"),
    _text("study_date"),
    _text("study_time"),
    _text("timezone_offset_from_utc"),
    _text("accession_number"),
    _text("study_id"),
    _text("study_description"),
    _text("referring_physician_name"),
    _text("referring_physician_name_search"),
    # Kept up by the committer; they count current instances. A study with none is hidden.
    _text("modalities_in_study"),
    _text("sop_classes_in_study"),
    _number("number_of_series", 0),
    _number("number_of_instances", 0),
    _number("revision", 0),
    _at("created_at"),
    _at("changed_at"),
    UniqueConstraint("store", "study_instance_uid"),
    Index("ix_study_patient", "patient"),
    *(
        Index(f"ix_study_{column}", "store", column)
        for column in (
            "patient_id",
            "patient_name_search",
            "patient_birth_date",
            "study_date",
            "accession_number",
            "study_id",
            "study_description",
            "referring_physician_name_search",
        )
    ),
)

Index(
    "ix_study_patient_name_groups",  # names with ideographic or phonetic groups, which a key may match too
    study.c.store,
    study.c.patient_name_search,
    sqlite_where=text("instr(patient_name_search, '=') > 0"),
    postgresql_where=text("strpos(patient_name_search, '=') > 0"),
)

series = Table(
    "series",
    schema,
    _id(),
    _store(),
    _refers("study", "study"),
    _text("series_instance_uid"),
    _text("modality"),
    _text("series_number"),
    _text("series_description"),
    _text("series_date"),
    _text("series_time"),
    _text("body_part_examined"),
    _text("laterality"),
    _text("protocol_name"),
    _text("performed_procedure_step_start_date"),
    _text("performed_procedure_step_start_time"),
    _text("performed_procedure_step_id"),
    _text("manufacturer"),
    _text("manufacturer_model_name"),
    _text("institution_name"),
    _text("station_name"),
    _text("operators_name"),
    _text("frame_of_reference_uid"),
    _number("number_of_instances", 0),  # current ones; a series with none is hidden
    _number("revision", 0),
    _at("created_at"),
    _at("changed_at"),
    _text("operators_name_search"),
    # Senders do use one Series Instance UID in two studies; both are kept.
    UniqueConstraint("store", "series_instance_uid", "study"),
    Index("ix_series_study", "study"),
    Index("ix_series_modality", "store", "modality", "study"),
    Index("ix_series_performed", "store", "performed_procedure_step_start_date"),
)

# One row for every version of an instance. The file of a version is (volume, key, offset, length). As the digest covers
# the SOP Instance UID, only rows of one SOP Instance UID can share a file: who removes bytes looks among those for the
# same key.
instance = Table(
    "instance",
    schema,
    _id(),
    _store(),
    _refers("study", "study", optional=True),  # NULL, as series: a non-patient object
    _refers("series", "series", optional=True),
    _text("sop_instance_uid"),
    _text("sop_class_uid"),
    _number("state", CURRENT),  # OTHER (kept beside or replaced) | CURRENT | DELETED
    _refers("tombstone", "tombstone", optional=True),
    _text("digest"),  # SHA-256 of the file, hexadecimal
    _refers("volume", "volume"),
    _text("key"),
    _number("offset", 0),  # of the file within the blob, not zero in packs only
    _number("length", 0),  # of the whole file
    _number("header_length", 0),  # bytes before the data set
    _text("transfer_syntax_uid"),
    _text("instance_number"),
    _text("content_date"),
    _text("content_time"),
    _number("rows"),
    _number("columns"),
    _number("bits_allocated"),
    _number("number_of_frames"),
    _text("defects"),  # tolerated ones, joined by a space
    _number("reader_version", 0),
    _at("received_at"),
    Index("ix_instance_series", "series"),
)
Index(
    "ux_instance_current",
    instance.c.store,
    instance.c.sop_instance_uid,
    unique=True,
    sqlite_where=text(f"state = {CURRENT}"),
    postgresql_where=text(f"state = {CURRENT}"),
)
Index(
    "ix_instance_not_current",
    instance.c.store,
    instance.c.sop_instance_uid,
    sqlite_where=text(f"state <> {CURRENT}"),
    postgresql_where=text(f"state <> {CURRENT}"),
)
Index(
    "ix_instance_tombstone",
    instance.c.tombstone,
    sqlite_where=text("tombstone IS NOT NULL"),
    postgresql_where=text("tombstone IS NOT NULL"),
)

# The DICOM JSON Model of the instance as UTF-8, cut into parts, each compressed by itself (zlib); joined in order after
# inflating.
metadata = Table(
    "metadata",
    schema,
    Column("instance", Number, ForeignKey("instance.id"), primary_key=True),
    Column("part", Integer, primary_key=True),
    Column("body", LargeBinary, nullable=False),
)

frame_index = Table(
    "frame_index",
    schema,
    Column("instance", Number, ForeignKey("instance.id"), primary_key=True, autoincrement=False),
    Column("body", LargeBinary, nullable=False),  # dicom.frameindex.FrameIndex.encode()
)

receipt = Table(
    "receipt",
    schema,
    _id(),
    _store(),
    _refers("instance", "instance", optional=True),
    _text("outcome"),  # Outcome.status
    _text("kind"),  # Source.kind
    _text("calling_aet"),
    _text("called_aet"),
    _text("address"),
    _at(),
    _text("character_set"),  # in which it was read because it names none
    Index("ix_receipt_instance", "instance"),
)

# Values that lost against the first one; one row for each distinct value, however many instances carry it.
discrepancy = Table(
    "discrepancy",
    schema,
    _id(),
    _store(),
    _text("level"),  # "patient" | "study" | "series"
    Column("parent", Number, nullable=False),  # id of the study (levels patient and study) or the series
    Column("tag", Number, nullable=False),
    _text("value"),
    _text("kept"),
    Column("instance", Number, nullable=False),  # the first that carries it
    _number("number_of_instances", 1),
    _at(),
    UniqueConstraint("store", "level", "parent", "tag", "value"),
)

tombstone = Table(
    "tombstone",
    schema,
    _id(),
    _store(),
    _text("level"),  # "study" | "series" | "instance"
    _text("study_instance_uid"),
    _text("series_instance_uid"),
    _text("sop_instance_uid"),
    _text("principal"),
    _text("reason"),
    _number("number_of_instances", 0),
    _at(),
    Column("undone_at", Number),
    Column("purged_at", Number),
)

change = Table(
    "change",
    schema,
    _id(),  # the cursor's number; grows in commit order
    _store(),
    _text("kind"),  # "stored" | "replaced" | "kept" | "deleted" | "undeleted" | …
    _text("study_instance_uid"),
    _text("series_instance_uid"),
    _text("sop_instance_uid"),
    Column("instance", Number),
    _at(),
)

audit = Table(
    "audit",
    schema,
    _id(),
    _store(),
    _text("principal"),
    _text("principal_kind"),
    _text("verb"),
    _text("outcome"),
    _text("address"),
    _text("study_instance_uid"),
    _text("detail"),
    _number("number_of_instances", 0),
    _at(),
)

# What is put right beside the objects; see `corrections`.
correction = Table(
    "correction",
    schema,
    _id(),
    _store(),
    _text("study_instance_uid"),
    _text("series_instance_uid"),  # "" for the study
    _text("attributes"),  # JSON: tag -> element of DICOM JSON
    _text("texts"),  # JSON: tag -> the same as the index has it
    _text("replaced"),  # JSON: tag -> what the row of study or series had from the objects
    _text("code"),  # "CORRECT" | "COERCE"
    _text("reason"),
    _text("principal"),
    _at(),
    Column("undone_at", Number),
    _text("undone_by"),
    Index("ix_correction_study", "store", "study_instance_uid"),
)

node = Table(
    "node",
    schema,
    _id(),
    _store(),
    _text("aet"),
    _text("host"),
    _number("port", 0),
    _number("tls", 0),
    _text("verbs"),  # joined by a space
    _text("syntax_order"),  # transfer syntax UIDs joined by a space; "" = the archive's
    _text("duplicate_policy"),  # "" = the archive's
    _text("character_set"),  # for objects without Specific Character Set
    _text("issuer_of_patient_id"),
    _text("timezone_offset_from_utc"),
    _at("created_at"),
    _text("name"),  # for people
    _text("addresses"),  # where it calls from: addresses and networks joined by a space; "" = those of `host`
    _text("works_in"),  # the name of the store that it works in, whatever title it calls; "" = that of the title
    UniqueConstraint("store", "aet"),
)

token = Table(
    "token",
    schema,
    _id(),
    _store(),
    _text("name"),
    _text("digest"),  # of the secret; never the secret
    _text("verbs"),
    _at("created_at"),
    Column("expires_at", Number),
    Column("revoked_at", Number),
    _text("works_in"),  # the name of its store; "" = main
    UniqueConstraint("store", "name"),
    UniqueConstraint("store", "digest"),
)
