"""Other people's storage clients: how each is asked to send files of the corpus, and what it can't send and why."""

from __future__ import annotations

import re
import subprocess
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import requests
from interop.corpus import CorpusFile, data_set_of, read
from interop.relay import Relay
from programs import need

_LITTLE = "1.2.840.10008.1.2"
_JPEG = "1.2.840.10008.1.2.4"
# The option of storescu that proposes each syntax; it knows no others (DCMTK 3.6.7).
_STORESCU = {
    _LITTLE: "-xi", f"{_LITTLE}.1": "-xe", f"{_LITTLE}.2": "-xb", f"{_LITTLE}.1.99": "-xd", f"{_LITTLE}.5": "-xr",
    f"{_JPEG}.50": "-xy", f"{_JPEG}.51": "-xx", f"{_JPEG}.70": "-xs", f"{_JPEG}.80": "-xt", f"{_JPEG}.81": "-xu",
    f"{_JPEG}.90": "-xv", f"{_JPEG}.91": "-xw", f"{_JPEG}.100": "-xm", f"{_JPEG}.102": "-xn", f"{_JPEG}.107": "-x4",
}  # fmt: skip


def storescu(http: str, relay: Relay, files: Sequence[CorpusFile]) -> None:
    """An association for each transfer syntax; only the contexts that the files need."""
    by_option: dict[str, list[str]] = {}
    for file in files:
        by_option.setdefault(_STORESCU.get(file.syntax_uid, "-x="), []).append(str(file.path))
    for option, paths in by_option.items():
        _run(need("storescu"), "--no-halt", "--required", option, "127.0.0.1", str(relay.port), *paths)


def dcmsend(http: str, relay: Relay, files: Sequence[CorpusFile]) -> None:
    """Every syntax that DCMTK knows; uncompressed ones go as Explicit VR Little Endian."""
    paths = [str(file.path) for file in files]
    options = ("--decompress-never", "--no-halt", "--no-uid-checks", "--read-file")
    _run(need("dcmsend"), *options, "127.0.0.1", str(relay.port), *paths)


def _run(*command: str) -> None:
    subprocess.run(command, capture_output=True, timeout=300, check=False)  # what it sent is judged, not what it says


def pynetdicom(http: str, relay: Relay, files: Sequence[CorpusFile]) -> None:
    """Data sets read and encoded by pydicom, as many contexts to an association as there may be."""
    from pynetdicom import AE

    pairs = sorted({(file.sop_class_uid, file.syntax_uid) for file in files})
    for at in range(0, len(pairs), 128):
        ae = AE("PYNETDICOM")
        for sop_class, syntax in pairs[at : at + 128]:
            ae.add_requested_context(sop_class, syntax)
        association = ae.associate("127.0.0.1", relay.port)
        assert association.is_established
        for file in files:
            if (file.sop_class_uid, file.syntax_uid) in pairs[at : at + 128]:
                _send(association, file)
        association.release()


def _send(association: Any, file: CorpusFile) -> None:
    try:
        status = association.send_c_store(read(file.path))
    except (AttributeError, UnboundLocalError):  # how pynetdicom says that it can't
        return
    assert status.Status == 0, (file.name, status)


def dicomweb_client(http: str, relay: Relay, files: Sequence[CorpusFile]) -> None:
    """Data sets read and written by pydicom, ten to a request."""
    from dicomweb_client.api import DICOMwebClient

    client = DICOMwebClient(f"{http}/dicom-web", session=_Recording(relay.sent), timeout=120)
    data_sets = [data_set for file in files if (data_set := _written(file)) is not None]
    for at in range(0, len(data_sets), 10):
        answer = client.store_instances(data_sets[at : at + 10])
        assert "FailedSOPSequence" not in answer, answer


def _written(file: CorpusFile) -> Any:
    """The data set, or None if pydicom can't write it."""
    import io

    import pydicom

    data_set = read(file.path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            pydicom.dcmwrite(io.BytesIO(), data_set)
    except (AttributeError, ValueError):
        return None
    return data_set


class _Recording(requests.Session):
    """Keeps the data sets of the multipart messages that it posts, by SOP Instance UID."""

    def __init__(self, sent: dict[str, bytes]) -> None:
        super().__init__()
        self._sent = sent

    def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:
        body = request.body
        assert body is not None and not isinstance(body, str)
        request.body = body if isinstance(body, bytes) else b"".join(body)
        boundary = re.search(r'boundary="?([^";]+)', str(request.headers["Content-Type"]))
        assert boundary is not None
        for part in request.body.split(b"--" + boundary[1].encode())[1:-1]:
            file = part.partition(b"\r\n\r\n")[2].removesuffix(b"\r\n")
            self._sent[str(read(file).SOPInstanceUID)] = data_set_of(file)
        return super().send(request, **options)


class Client(NamedTuple):
    """A client; `unable` tells by transfer syntax or file what it can't send, for those versions that can't."""

    send: Callable[[str, Relay, Sequence[CorpusFile]], None]
    at_least: int  # files of the corpus that every version of it can send
    unable: Mapping[str, str]

    def cannot(self, file: CorpusFile) -> bool:
        return file.name in self.unable or file.syntax_uid in self.unable


_DCMTK = {
    f"{_LITTLE}.8.1": "Deflated Image Frame Compression is newer than DCMTK 3.6.7",
    f"{_JPEG}.111": "so is JPEG XL",
    "RTDOSE/dtf__rtdose_rle.dcm": "its meta group tells other UIDs than its data set",
    "RTDOSE/dtf__rtdose_rle_1frame.dcm": "the same",
    "none/dtf__emri_small_jpeg_2k_lossless_too_short.dcm": "its Pixel Data has no delimiter at the end",
}
_PYDICOM = {
    "OP/dcmjs__sample-op.lei": "no meta group, so pydicom knows no transfer syntax for it",
    "OT/dtf__OT-PAL-8-face.dcm": "the same",
    "RTPLAN/dtf__ExplVR_BigEndNoMeta.dcm": "the same",
    "RTSTRUCT/dtf__rtstruct.dcm": "the same",
    "none/dtf__emri_small_jpeg_2k_lossless_too_short.dcm": "pydicom reads no element of it",
}
_PYDICOM_WRITING = {
    f"{_LITTLE}.8.1": "pydicom 3.0.2 doesn't know it",
    f"{_JPEG}.111": "the same",
    "CT/dicom-validator-ts__iod-sop-class-unknown.dcm": "pydicom writes no file with an element of group 0000",
    "invalidl/dicom-validator-ts__vr-format-CS.dcm": "the same",
    "none/dicom-validator-ts__type1-missing.dcm": "the same",
}
CLIENTS: dict[str, Client] = {
    "storescu": Client(
        storescu,
        255,
        _DCMTK
        | {
            f"{_JPEG}.53": "no option of storescu proposes it",
            f"{_JPEG}.55": "the same",
            f"{_JPEG}.57": "the same: -xs proposes SV1 only",
            "CT/dicom-validator-ts__iod-sop-class-unknown.dcm": "a SOP class that DCMTK doesn't know",
            "SEG/highdicom__seg_image_sm_control_labelmap.dcm": "Label Map Segmentation is newer than DCMTK 3.6.7",
            "SEG/highdicom__seg_image_sm_control_labelmap_palette_color.dcm": "the same",
        },
    ),
    "dcmsend": Client(dcmsend, 265, _DCMTK),
    "pynetdicom": Client(pynetdicom, 265, _PYDICOM),
    "dicomweb-client": Client(dicomweb_client, 260, _PYDICOM | _PYDICOM_WRITING),
}
