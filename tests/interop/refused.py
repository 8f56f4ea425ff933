"""The files of the corpus that aren't malformed on purpose and are refused all the same: which, how and why.

One row a file. `store` is what `sagittal store` reports (no status: it was not even sent), `stow` the Failure Reason of
STOW-RS, `imported` what `sagittal import` says of it. A test fails for a file that is refused and isn't here, and for
one that is here and is accepted.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from interop.corpus import CorpusFile


class Refusal(NamedTuple):
    """How a file is refused on each way in; `text` is part of the reason that is given."""

    store: str
    stow: int
    imported: str
    text: str


# PS3.4 B.2.3: the data set doesn't identify its instance.
NO_INSTANCE = Refusal("A900", 0xA900, "failed", "SOP Instance UID (0008,0018) is missing")
NO_STUDY = Refusal("A900", 0xA900, "failed", "Study Instance UID (0020,000D) is missing")
# The same, and the meta group doesn't either, so there is nothing to put into a C-STORE-RQ.
NO_UIDS = Refusal("", 0xA900, "failed", " UID ")
# PS3.10 8: a DICOMDIR lists a file-set; it is no composite instance and is never exchanged over the network.
DICOMDIR = Refusal("", 0xA900, "skipped", "")
DICOMDIR_BROKEN = DICOMDIR._replace(stow=0xC000)
CUT = Refusal("C000", 0xC000, "failed", "the data set ends inside an element")
# Its first byte is a stray 00.
NOT_DICOM = Refusal("", 0xC000, "failed", "not a DICOM file")

_FILE_SET = "dicomdir/pydicom-dicomdirtests"
REFUSED: Mapping[str, Refusal] = {
    "MR/dcm4che__3gb-bulk-data-truncated": CUT,
    "RTPLAN/dtf__rtplan_truncated.dcm": CUT,
    f"{_FILE_SET}/DICOMDIR": DICOMDIR,
    f"{_FILE_SET}/DICOMDIR-bigEnd": DICOMDIR,
    f"{_FILE_SET}/DICOMDIR-empty.dcm": DICOMDIR,
    f"{_FILE_SET}/DICOMDIR-implicit": DICOMDIR,
    f"{_FILE_SET}/DICOMDIR-nooffset": DICOMDIR_BROKEN,
    f"{_FILE_SET}/DICOMDIR-nopatient": DICOMDIR,
    f"{_FILE_SET}/DICOMDIR-reordered": DICOMDIR,
    f"{_FILE_SET}/TINY_ALPHA/DICOMDIR": DICOMDIR,
    "none/dcm4che__no_preamble_dicm_in_data": NO_UIDS,
    "none/dtf__empty_charset_LEI.dcm": NO_UIDS,
    "none/dtf__no_meta_group_length.dcm": NO_INSTANCE,
    "none/dtf__priv_SQ.dcm": NO_INSTANCE,
    "none/pydicom-data__HTJ2KLossless_08_RGB.dcm": NO_STUDY,
    "none/pydicom-data__HTJ2K_08_RGB.dcm": NO_STUDY,
    "none/pydicom-data__JLSL_08_07_0_1F.dcm": NO_STUDY,
    "none/pydicom-data__JLSL_16_15_1_1F.dcm": NO_STUDY,
    "none/pydicom-data__JLSL_RGB_ILV2.dcm": NO_UIDS,
    "none/pydicom-data__JLSN_RGB_ILV0.dcm": NO_UIDS,
    "none/pydicom__JPEGLSNearLossless_08.dcm": NO_STUDY,
    "none/pydicom__UN_sequence.dcm": NO_INSTANCE,
    "none/pydicom__chrSQEncoding.dcm": NO_INSTANCE,
    "none/pydicom__chrSQEncoding1.dcm": NO_INSTANCE,
    **{f"worklist/wklist{number}.wl": NO_INSTANCE for number in range(1, 11)},
    # Those that come with pydicom
    "pydicom/JPEGLSNearLossless_16.dcm": NO_STUDY,
    "pydicom/MR_truncated.dcm": CUT,
    "pydicom/SC_rgb_jls_lossy_line.dcm": NO_STUDY,
    "pydicom/SC_rgb_jls_lossy_sample.dcm": NO_STUDY,
    "pydicom/meta_missing_tsyntax.dcm": NO_UIDS,
    "pydicom/nested_priv_SQ.dcm": NO_UIDS,
    "pydicom/no_meta.dcm": NOT_DICOM,
    "pydicom/priv_SQ.dcm": NO_INSTANCE,
}

# SOP classes outside the patient hierarchy (PS3.4 GG): stored, but no study to retrieve them by.
NON_PATIENT = frozenset({"1.2.840.10008.5.1.4.39.1"})  # Color Palette Storage


def valid(files: tuple[CorpusFile, ...]) -> list[CorpusFile]:
    """Those that the archive has to take."""
    return [file for file in files if file.name not in REFUSED]
