CREATE TABLE attribute_value (
  name TEXT NOT NULL, 
  value TEXT NOT NULL, 
  instance INTEGER NOT NULL, 
  PRIMARY KEY (name, value, instance)
)
 WITHOUT ROWID;
CREATE INDEX ix_attribute_value_instance ON attribute_value (instance);
CREATE TABLE audit (
  id INTEGER NOT NULL, 
  store INTEGER NOT NULL, 
  principal TEXT DEFAULT '' NOT NULL, 
  principal_kind TEXT DEFAULT '' NOT NULL, 
  verb TEXT DEFAULT '' NOT NULL, 
  outcome TEXT DEFAULT '' NOT NULL, 
  address TEXT DEFAULT '' NOT NULL, 
  study_instance_uid TEXT DEFAULT '' NOT NULL, 
  detail TEXT DEFAULT '' NOT NULL, 
  number_of_instances INTEGER DEFAULT '0' NOT NULL, 
  at INTEGER NOT NULL, 
  PRIMARY KEY (id)
);
CREATE TABLE change (
  id INTEGER NOT NULL, 
  store INTEGER NOT NULL, 
  kind TEXT DEFAULT '' NOT NULL, 
  study_instance_uid TEXT DEFAULT '' NOT NULL, 
  series_instance_uid TEXT DEFAULT '' NOT NULL, 
  sop_instance_uid TEXT DEFAULT '' NOT NULL, 
  instance INTEGER, 
  at INTEGER NOT NULL, 
  PRIMARY KEY (id)
);
CREATE TABLE correction (
  id INTEGER NOT NULL, 
  store INTEGER NOT NULL, 
  study_instance_uid TEXT DEFAULT '' NOT NULL, 
  series_instance_uid TEXT DEFAULT '' NOT NULL, 
  attributes TEXT DEFAULT '' NOT NULL, 
  texts TEXT DEFAULT '' NOT NULL, 
  replaced TEXT DEFAULT '' NOT NULL, 
  code TEXT DEFAULT '' NOT NULL, 
  reason TEXT DEFAULT '' NOT NULL, 
  principal TEXT DEFAULT '' NOT NULL, 
  at INTEGER NOT NULL, 
  undone_at INTEGER, 
  undone_by TEXT DEFAULT '' NOT NULL, 
  PRIMARY KEY (id)
);
CREATE INDEX ix_correction_study ON correction (store, study_instance_uid);
CREATE TABLE discrepancy (
  id INTEGER NOT NULL, 
  store INTEGER NOT NULL, 
  level TEXT DEFAULT '' NOT NULL, 
  parent INTEGER NOT NULL, 
  tag INTEGER NOT NULL, 
  value TEXT DEFAULT '' NOT NULL, 
  kept TEXT DEFAULT '' NOT NULL, 
  instance INTEGER NOT NULL, 
  number_of_instances INTEGER DEFAULT '1' NOT NULL, 
  at INTEGER NOT NULL, 
  PRIMARY KEY (id), 
  UNIQUE (store, level, parent, tag, value)
);
CREATE TABLE indexed_attribute (
  name TEXT NOT NULL, 
  done INTEGER DEFAULT '0' NOT NULL, 
  until INTEGER DEFAULT '0' NOT NULL, 
  PRIMARY KEY (name)
);
CREATE TABLE name_code (
  store INTEGER NOT NULL, 
  code TEXT NOT NULL, 
  word INTEGER NOT NULL, 
  PRIMARY KEY (store, code, word)
)
 WITHOUT ROWID;
CREATE INDEX ix_name_code_word ON name_code (word);
CREATE TABLE name_use (
  word INTEGER NOT NULL, 
  tag INTEGER NOT NULL, 
  study INTEGER NOT NULL, 
  PRIMARY KEY (word, tag, study)
)
 WITHOUT ROWID;
CREATE INDEX ix_name_use_study ON name_use (study);
CREATE TABLE name_word (
  id INTEGER NOT NULL, 
  store INTEGER NOT NULL, 
  word TEXT DEFAULT '' NOT NULL, 
  PRIMARY KEY (id), 
  UNIQUE (store, word)
);
CREATE TABLE node (
  id INTEGER NOT NULL, 
  store INTEGER NOT NULL, 
  aet TEXT DEFAULT '' NOT NULL, 
  host TEXT DEFAULT '' NOT NULL, 
  port INTEGER DEFAULT '0' NOT NULL, 
  tls INTEGER DEFAULT '0' NOT NULL, 
  verbs TEXT DEFAULT '' NOT NULL, 
  syntax_order TEXT DEFAULT '' NOT NULL, 
  duplicate_policy TEXT DEFAULT '' NOT NULL, 
  character_set TEXT DEFAULT '' NOT NULL, 
  issuer_of_patient_id TEXT DEFAULT '' NOT NULL, 
  timezone_offset_from_utc TEXT DEFAULT '' NOT NULL, 
  created_at INTEGER NOT NULL, 
  name TEXT DEFAULT '' NOT NULL, 
  addresses TEXT DEFAULT '' NOT NULL, 
  works_in TEXT DEFAULT '' NOT NULL, 
  PRIMARY KEY (id), 
  UNIQUE (store, aet)
);
CREATE TABLE patient (
  id INTEGER NOT NULL, 
  store INTEGER NOT NULL, 
  patient_id TEXT DEFAULT '' NOT NULL, 
  issuer_of_patient_id TEXT DEFAULT '' NOT NULL, 
  patient_name TEXT DEFAULT '' NOT NULL, 
  patient_name_search TEXT DEFAULT '' NOT NULL, 
  patient_birth_date TEXT DEFAULT '' NOT NULL, 
  patient_sex TEXT DEFAULT '' NOT NULL, 
  created_at INTEGER NOT NULL, 
  PRIMARY KEY (id)
);
CREATE TABLE setting (
  name TEXT NOT NULL, 
  value TEXT NOT NULL, 
  PRIMARY KEY (name)
);
CREATE TABLE store (
  id INTEGER NOT NULL, 
  name TEXT NOT NULL, 
  created_at INTEGER NOT NULL, 
  PRIMARY KEY (id), 
  UNIQUE (name)
);
CREATE TABLE token (
  id INTEGER NOT NULL, 
  store INTEGER NOT NULL, 
  name TEXT DEFAULT '' NOT NULL, 
  digest TEXT DEFAULT '' NOT NULL, 
  verbs TEXT DEFAULT '' NOT NULL, 
  created_at INTEGER NOT NULL, 
  expires_at INTEGER, 
  revoked_at INTEGER, 
  works_in TEXT DEFAULT '' NOT NULL, 
  PRIMARY KEY (id), 
  UNIQUE (store, name), 
  UNIQUE (store, digest)
);
CREATE TABLE tombstone (
  id INTEGER NOT NULL, 
  store INTEGER NOT NULL, 
  level TEXT DEFAULT '' NOT NULL, 
  study_instance_uid TEXT DEFAULT '' NOT NULL, 
  series_instance_uid TEXT DEFAULT '' NOT NULL, 
  sop_instance_uid TEXT DEFAULT '' NOT NULL, 
  principal TEXT DEFAULT '' NOT NULL, 
  reason TEXT DEFAULT '' NOT NULL, 
  number_of_instances INTEGER DEFAULT '0' NOT NULL, 
  at INTEGER NOT NULL, 
  undone_at INTEGER, 
  purged_at INTEGER, 
  PRIMARY KEY (id)
);
CREATE TABLE volume (
  id INTEGER NOT NULL, 
  store INTEGER NOT NULL, 
  name TEXT DEFAULT '' NOT NULL, 
  kind TEXT DEFAULT '' NOT NULL, 
  place TEXT DEFAULT '' NOT NULL, 
  PRIMARY KEY (id), 
  UNIQUE (store, name)
);
CREATE TABLE patient_identifier (
  id INTEGER NOT NULL, 
  store INTEGER NOT NULL, 
  patient INTEGER NOT NULL, 
  value TEXT DEFAULT '' NOT NULL, 
  issuer TEXT DEFAULT '' NOT NULL, 
  type TEXT DEFAULT '' NOT NULL, 
  PRIMARY KEY (id), 
  UNIQUE (store, value, issuer), 
  FOREIGN KEY(patient) REFERENCES patient (id)
);
CREATE INDEX ix_patient_identifier_patient ON patient_identifier (patient);
CREATE TABLE study (
  id INTEGER NOT NULL, 
  store INTEGER NOT NULL, 
  patient INTEGER NOT NULL, 
  study_instance_uid TEXT DEFAULT '' NOT NULL, 
  patient_id TEXT DEFAULT '' NOT NULL, 
  issuer_of_patient_id TEXT DEFAULT '' NOT NULL, 
  patient_name TEXT DEFAULT '' NOT NULL, 
  patient_name_search TEXT DEFAULT '' NOT NULL, 
  patient_birth_date TEXT DEFAULT '' NOT NULL, 
  patient_sex TEXT DEFAULT '' NOT NULL, 
  study_date TEXT DEFAULT '' NOT NULL, 
  study_time TEXT DEFAULT '' NOT NULL, 
  timezone_offset_from_utc TEXT DEFAULT '' NOT NULL, 
  accession_number TEXT DEFAULT '' NOT NULL, 
  study_id TEXT DEFAULT '' NOT NULL, 
  study_description TEXT DEFAULT '' NOT NULL, 
  referring_physician_name TEXT DEFAULT '' NOT NULL, 
  referring_physician_name_search TEXT DEFAULT '' NOT NULL, 
  modalities_in_study TEXT DEFAULT '' NOT NULL, 
  sop_classes_in_study TEXT DEFAULT '' NOT NULL, 
  number_of_series INTEGER DEFAULT '0' NOT NULL, 
  number_of_instances INTEGER DEFAULT '0' NOT NULL, 
  revision INTEGER DEFAULT '0' NOT NULL, 
  created_at INTEGER NOT NULL, 
  changed_at INTEGER NOT NULL, 
  PRIMARY KEY (id), 
  UNIQUE (store, study_instance_uid), 
  FOREIGN KEY(patient) REFERENCES patient (id)
);
CREATE INDEX ix_study_accession_number ON study (store, accession_number);
CREATE INDEX ix_study_patient ON study (patient);
CREATE INDEX ix_study_patient_birth_date ON study (store, patient_birth_date);
CREATE INDEX ix_study_patient_id ON study (store, patient_id);
CREATE INDEX ix_study_patient_name_groups ON study (store, patient_name_search) WHERE instr(patient_name_search, '=') > 0;
CREATE INDEX ix_study_patient_name_search ON study (store, patient_name_search);
CREATE INDEX ix_study_referring_physician_name_search ON study (store, referring_physician_name_search);
CREATE INDEX ix_study_study_date ON study (store, study_date);
CREATE INDEX ix_study_study_description ON study (store, study_description);
CREATE INDEX ix_study_study_id ON study (store, study_id);
CREATE TABLE series (
  id INTEGER NOT NULL, 
  store INTEGER NOT NULL, 
  study INTEGER NOT NULL, 
  series_instance_uid TEXT DEFAULT '' NOT NULL, 
  modality TEXT DEFAULT '' NOT NULL, 
  series_number TEXT DEFAULT '' NOT NULL, 
  series_description TEXT DEFAULT '' NOT NULL, 
  series_date TEXT DEFAULT '' NOT NULL, 
  series_time TEXT DEFAULT '' NOT NULL, 
  body_part_examined TEXT DEFAULT '' NOT NULL, 
  laterality TEXT DEFAULT '' NOT NULL, 
  protocol_name TEXT DEFAULT '' NOT NULL, 
  performed_procedure_step_start_date TEXT DEFAULT '' NOT NULL, 
  performed_procedure_step_start_time TEXT DEFAULT '' NOT NULL, 
  performed_procedure_step_id TEXT DEFAULT '' NOT NULL, 
  manufacturer TEXT DEFAULT '' NOT NULL, 
  manufacturer_model_name TEXT DEFAULT '' NOT NULL, 
  institution_name TEXT DEFAULT '' NOT NULL, 
  station_name TEXT DEFAULT '' NOT NULL, 
  operators_name TEXT DEFAULT '' NOT NULL, 
  frame_of_reference_uid TEXT DEFAULT '' NOT NULL, 
  number_of_instances INTEGER DEFAULT '0' NOT NULL, 
  revision INTEGER DEFAULT '0' NOT NULL, 
  created_at INTEGER NOT NULL, 
  changed_at INTEGER NOT NULL, 
  operators_name_search TEXT DEFAULT '' NOT NULL, 
  PRIMARY KEY (id), 
  UNIQUE (store, series_instance_uid, study), 
  FOREIGN KEY(study) REFERENCES study (id)
);
CREATE INDEX ix_series_modality ON series (store, modality, study);
CREATE INDEX ix_series_performed ON series (store, performed_procedure_step_start_date);
CREATE INDEX ix_series_study ON series (study);
CREATE TABLE instance (
  id INTEGER NOT NULL, 
  store INTEGER NOT NULL, 
  study INTEGER, 
  series INTEGER, 
  sop_instance_uid TEXT DEFAULT '' NOT NULL, 
  sop_class_uid TEXT DEFAULT '' NOT NULL, 
  state INTEGER DEFAULT '1' NOT NULL, 
  tombstone INTEGER, 
  digest TEXT DEFAULT '' NOT NULL, 
  volume INTEGER NOT NULL, 
  "key" TEXT DEFAULT '' NOT NULL, 
  "offset" INTEGER DEFAULT '0' NOT NULL, 
  length INTEGER DEFAULT '0' NOT NULL, 
  header_length INTEGER DEFAULT '0' NOT NULL, 
  transfer_syntax_uid TEXT DEFAULT '' NOT NULL, 
  instance_number TEXT DEFAULT '' NOT NULL, 
  content_date TEXT DEFAULT '' NOT NULL, 
  content_time TEXT DEFAULT '' NOT NULL, 
  rows INTEGER, 
  columns INTEGER, 
  bits_allocated INTEGER, 
  number_of_frames INTEGER, 
  defects TEXT DEFAULT '' NOT NULL, 
  reader_version INTEGER DEFAULT '0' NOT NULL, 
  received_at INTEGER NOT NULL, 
  PRIMARY KEY (id), 
  FOREIGN KEY(study) REFERENCES study (id), 
  FOREIGN KEY(series) REFERENCES series (id), 
  FOREIGN KEY(tombstone) REFERENCES tombstone (id), 
  FOREIGN KEY(volume) REFERENCES volume (id)
);
CREATE INDEX ix_instance_not_current ON instance (store, sop_instance_uid) WHERE state <> 1;
CREATE INDEX ix_instance_series ON instance (series);
CREATE INDEX ix_instance_tombstone ON instance (tombstone) WHERE tombstone IS NOT NULL;
CREATE UNIQUE INDEX ux_instance_current ON instance (store, sop_instance_uid) WHERE state = 1;
CREATE TABLE alias (
  store INTEGER NOT NULL, 
  digest TEXT NOT NULL, 
  instance INTEGER NOT NULL, 
  pixels TEXT DEFAULT '' NOT NULL, 
  PRIMARY KEY (store, digest, instance), 
  FOREIGN KEY(instance) REFERENCES instance (id)
)
 WITHOUT ROWID;
CREATE INDEX ix_alias_instance ON alias (instance);
CREATE TABLE failed_transcoding (
  instance INTEGER NOT NULL, 
  store INTEGER NOT NULL, 
  to_syntax TEXT DEFAULT '' NOT NULL, 
  reason TEXT DEFAULT '' NOT NULL, 
  again INTEGER DEFAULT '0' NOT NULL, 
  at INTEGER NOT NULL, 
  PRIMARY KEY (instance), 
  FOREIGN KEY(instance) REFERENCES instance (id)
);
CREATE TABLE frame_index (
  instance INTEGER NOT NULL, 
  body BLOB NOT NULL, 
  PRIMARY KEY (instance), 
  FOREIGN KEY(instance) REFERENCES instance (id)
);
CREATE TABLE metadata (
  instance INTEGER NOT NULL, 
  part INTEGER NOT NULL, 
  body BLOB NOT NULL, 
  PRIMARY KEY (instance, part), 
  FOREIGN KEY(instance) REFERENCES instance (id)
);
CREATE TABLE receipt (
  id INTEGER NOT NULL, 
  store INTEGER NOT NULL, 
  instance INTEGER, 
  outcome TEXT DEFAULT '' NOT NULL, 
  kind TEXT DEFAULT '' NOT NULL, 
  calling_aet TEXT DEFAULT '' NOT NULL, 
  called_aet TEXT DEFAULT '' NOT NULL, 
  address TEXT DEFAULT '' NOT NULL, 
  at INTEGER NOT NULL, 
  character_set TEXT DEFAULT '' NOT NULL, 
  PRIMARY KEY (id), 
  FOREIGN KEY(instance) REFERENCES instance (id)
);
CREATE INDEX ix_receipt_instance ON receipt (instance);
CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY);
