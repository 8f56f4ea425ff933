"""What the tests of partial retrieval share: files of the corpus, and a peer that gets by Composite Instance Root."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from conftest import Served
from interop.questions import post
from pydicom import Dataset
from pynetdicom import AE, build_role, evt

ROOT_MOVE, ROOT_GET, BULKLESS_GET = (f"1.2.840.10008.5.1.4.1.2.{tail}" for tail in ("4.2", "4.3", "5.3"))
EXPLICIT_LE, IMPLICIT_LE, JPEG_LS = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2", "1.2.840.10008.1.2.4.80"
MULTI_FRAME_TRUE_COLOR, US_MULTI_FRAME = "1.2.840.10008.5.1.4.1.1.7.4", "1.2.840.10008.5.1.4.1.1.3.1"

CT, MR, CINE, HEART, DOSE, SEG = (
    "CT/dtf__eCT_Supplemental.dcm",
    "MR/dtf__emri_small.dcm",
    "MR/dcmjs__cine-test.dcm",
    "NM/dcm4che__NM-MONO2-16-13x-heart",
    "RTDOSE/dtf__rtdose.dcm",
    "SEG/highdicom__seg_image_ct_binary.dcm",
)
CT_JPEG_LS, ULTRASOUND, SEG_RLE, SEG_DEFLATED = (
    "CT/dicomParser__CT0012.fragmented_no_bot_jpeg_ls.81.dcm",
    "US/dcm4che__jpeg-ls-Palette.dcm",
    "SEG/pydicom-data__liver_rle.dcm",
    "SEG/pydicom-data__liver_deflate.dcm",
)
SEG_BIG, SLIDE = "SEG/dtf__liver_expb.dcm", "SM/highdicom__sm_image.dcm"
WAVES, WAVES_DEFLATED, REPORT, OVERLAY = (
    "ECG/pydicom__waveform_ecg.dcm",
    "ECG/dicomParser__wave_dfl",
    "SR/highdicom__sr_document_with_multiple_groups.dcm",
    "MR/nibabel__slicethickness_empty_string.dcm",
)
FILES = (CT, MR, CINE, HEART, DOSE, SEG, CT_JPEG_LS, ULTRASOUND, SEG_RLE, SEG_DEFLATED, SEG_BIG, SLIDE)
FILES += (WAVES, WAVES_DEFLATED, REPORT, OVERLAY)


class _File:
    def __init__(self, path: Path) -> None:
        self.part10 = path.read_bytes()


def post_files(served: Served, paths: list[Path]) -> None:
    post(served, [_File(path) for path in paths])  # type: ignore[misc]


def get(
    archive: Served, model: str, asked: Dataset, sop_class: str, syntaxes: list[str], answer: int = 0x0000
) -> tuple[list[Dataset], int, Any]:
    """What came, the final status and its data set."""
    received: list[Dataset] = []

    def stored(event: evt.Event) -> int:
        data_set = event.dataset
        data_set.file_meta = event.file_meta
        received.append(data_set)
        return answer

    ae = AE("GETTER")
    ae.add_requested_context(model)
    for syntax in syntaxes:
        ae.add_requested_context(sop_class, [syntax])
    roles = [build_role(sop_class, scp_role=True)]
    association = ae.associate(
        archive.host, archive.port, ae_title=archive.aet, ext_neg=roles, evt_handlers=[(evt.EVT_C_STORE, stored)]
    )
    assert association.is_established
    status, data_set = list(association.send_c_get(asked, model))[-1]
    association.release()
    return received, status, data_set


def frames_identifier(instance: str, **keys: Any) -> Dataset:
    asked = Dataset()
    asked.QueryRetrieveLevel = "FRAME"
    asked.SOPInstanceUID = instance
    for keyword, value in keys.items():
        setattr(asked, keyword, value)
    return asked
