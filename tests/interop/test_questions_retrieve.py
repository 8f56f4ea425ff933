"""What a retrieve request at each level brings, by getscu, by pynetdicom's C-GET and by C-MOVE to pynetdicom and to
movescu itself; and identifiers that are refused.

Statuses and lists of failed sub-operations are in `test_retrieve`, cancels in `test_cancelled`. Here it is which
instances come, and that their data sets are those that were stored.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from builders import Built, build
from conftest import Served
from interop.corpus import data_set_of
from interop.questions import post, seeds, store_seeds, uid_of
from interop.ways import sagittal
from programs import need
from pydicom import Dataset
from pynetdicom import AE, build_role, evt
from pynetdicom.association import Association

from sagittal.dicom.sopclasses import STORAGE
from sagittal.dicom.syntaxes import SYNTAXES

pytestmark = pytest.mark.filterwarnings("ignore")

STUDY_ROOT_MOVE, STUDY_ROOT_GET = "1.2.840.10008.5.1.4.1.2.2.2", "1.2.840.10008.5.1.4.1.2.2.3"
EXPLICIT_LE = "1.2.840.10008.1.2.1"
CLASSES = sorted({built.sop_class_uid for built in seeds().values()})


class Asked(NamedTuple):
    """A retrieve request, by names, and the names of what has to come."""

    level: str
    study: str
    series: str
    image: str
    found: str


REQUESTS = (
    Asked("STUDY", "S1", "", "", "S1/A/1 S1/A/2 S1/B/1 S1/C/1"),
    Asked("STUDY", "S2 S3", "", "", "S2/A/1 S2/A/2 S2/A/3 S3/A/1"),
    Asked("SERIES", "S1", "S1/A", "", "S1/A/1 S1/A/2"),
    Asked("SERIES", "S1", "S1/A S1/C", "", "S1/A/1 S1/A/2 S1/C/1"),
    Asked("IMAGE", "S2", "S2/A", "S2/A/2", "S2/A/2"),
    Asked("IMAGE", "S2", "S2/A", "S2/A/1 S2/A/3", "S2/A/1 S2/A/3"),
    Asked("SERIES", "S1", "S2/A", "", ""),  # a series of another study
    Asked("STUDY", "S9", "", "", ""),
)


@pytest.fixture(scope="module")
def archive(moving: Served) -> Served:
    store_seeds(moving)
    return moving


class Received:
    """Takes C-STORE for pynetdicom: the data set of each instance."""

    def __init__(self) -> None:
        self.data_sets: dict[str, bytes] = {}

    def __call__(self, event: Any) -> int:
        assert event.context.transfer_syntax == EXPLICIT_LE
        self.data_sets[event.request.AffectedSOPInstanceUID] = event.request.DataSet.getvalue()
        return 0x0000


def keys_of(asked: Asked) -> dict[str, str]:
    names = {"StudyInstanceUID": asked.study, "SeriesInstanceUID": asked.series, "SOPInstanceUID": asked.image}
    keys = {keyword: "\\".join(map(uid_of, value.split())) for keyword, value in names.items() if value}
    return {"QueryRetrieveLevel": asked.level, **keys}


def identifier(keys: dict[str, str]) -> Dataset:
    data_set = Dataset()
    for keyword, value in keys.items():
        setattr(data_set, keyword, value)
    return data_set


def expected(asked: Asked) -> dict[str, bytes]:
    built: list[Built] = [seeds()[name] for name in asked.found.split()]
    return {one.sop_instance_uid: one.data for one in built}


def associated(archive: Served, stored: Callable[[Any], int] | None = None) -> Association:
    ae = AE("ASKER")
    for model in (STUDY_ROOT_GET, STUDY_ROOT_MOVE):
        ae.add_requested_context(model)
    for sop_class in CLASSES:
        ae.add_requested_context(sop_class, EXPLICIT_LE)
    association = ae.associate(
        archive.host,
        archive.port,
        ae_title=archive.aet,
        ext_neg=[build_role(sop_class, scp_role=True) for sop_class in CLASSES],
        evt_handlers=[(evt.EVT_C_STORE, stored)] if stored else [],
    )
    assert association.is_established
    return association


def of_files(folder: Path) -> list[bytes]:
    return sorted(data_set_of(path.read_bytes()) for path in folder.iterdir())


@pytest.mark.parametrize("asked", REQUESTS, ids=str)
def test_getscu(asked: Asked, archive: Served, tmp_path: Path) -> None:
    command = [need("getscu"), "-S", "+B", "-od", str(tmp_path), "-aec", archive.aet]
    for keyword, value in keys_of(asked).items():
        command += ["-k", f"{keyword}={value}"]
    done = subprocess.run([*command, archive.host, str(archive.port)], capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert of_files(tmp_path) == sorted(expected(asked).values())


@pytest.mark.parametrize("asked", REQUESTS, ids=str)
def test_get_by_pynetdicom(asked: Asked, archive: Served) -> None:
    received = Received()
    association = associated(archive, received)
    final, _ = list(association.send_c_get(identifier(keys_of(asked)), STUDY_ROOT_GET))[-1]
    association.release()
    assert final.Status == 0x0000
    assert final.NumberOfCompletedSuboperations == len(expected(asked))
    assert received.data_sets == expected(asked)


@pytest.mark.parametrize("asked", REQUESTS, ids=str)
def test_move_to_pynetdicom(asked: Asked, archive: Served, destination_port: int) -> None:
    received = Received()
    ae = AE("DEST")
    for sop_class in CLASSES:
        ae.add_supported_context(sop_class, EXPLICIT_LE)
    destination = ae.start_server(
        ("127.0.0.1", destination_port), block=False, evt_handlers=[(evt.EVT_C_STORE, received)]
    )
    assert destination is not None
    try:
        association = associated(archive)
        final, _ = list(association.send_c_move(identifier(keys_of(asked)), "DEST", STUDY_ROOT_MOVE))[-1]
        association.release()
    finally:
        destination.shutdown()
    assert (final.Status, final.NumberOfCompletedSuboperations) == (0x0000, len(expected(asked)))
    assert received.data_sets == expected(asked)


def test_movescu_to_itself(archive: Served, destination_port: int, tmp_path: Path) -> None:
    """movescu is a destination too, with a port of its own; with +B it writes where it is started (DCMTK 3.6.7)."""
    asked = REQUESTS[3]
    command = [need("movescu"), "-S", "+B", "+P", str(destination_port), "-aet", "DEST", "-aem", "DEST"]
    for keyword, value in keys_of(asked).items():
        command += ["-k", f"{keyword}={value}"]
    command += ["-aec", archive.aet, archive.host, str(archive.port)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert of_files(tmp_path) == sorted(expected(asked).values())


@pytest.mark.parametrize(
    "keys",
    [
        {"QueryRetrieveLevel": "STUDY"},
        {"QueryRetrieveLevel": "STUDY", "StudyInstanceUID": "1.2.*"},
        {"QueryRetrieveLevel": "STUDY", "PatientID": "P-001"},
        {"QueryRetrieveLevel": "SERIES", "SeriesInstanceUID": uid_of("S1/A")},
        {"QueryRetrieveLevel": "IMAGE", "SOPInstanceUID": uid_of("S1/A/1")},
        {"QueryRetrieveLevel": "PATIENT", "PatientID": "P-001"},
    ],
    ids=str,
)
def test_identifiers_without_the_unique_keys_are_refused(keys: dict[str, str], archive: Served) -> None:
    association = associated(archive)
    got = [status.Status for status, _ in association.send_c_get(identifier(keys), STUDY_ROOT_GET)]
    moved = [status.Status for status, _ in association.send_c_move(identifier(keys), "DEST", STUDY_ROOT_MOVE)]
    association.release()
    assert (got, moved) == ([0xA900], [0xA900])


def test_an_unknown_destination(archive: Served) -> None:
    association = associated(archive)
    asked = identifier(keys_of(REQUESTS[0]))
    assert [status.Status for status, _ in association.send_c_move(asked, "NOBODY", STUDY_ROOT_MOVE)] == [0xA801]
    association.release()


def test_sagittal_get_goes_on_past_128_contexts(archive: Served, tmp_path: Path) -> None:
    """More SOP classes in a study than one association has contexts for, in the syntaxes that come last."""
    classes = sorted(STORAGE)[:12]
    syntaxes = [row.uid for row in SYNTAXES.values() if row.storable and row.encapsulated][-5:]
    study = [
        build(number, study="many", sop_class_uid=sop_class, syntax_uid=syntax_uid)
        for number, (sop_class, syntax_uid) in enumerate(product(classes, [EXPLICIT_LE, *syntaxes]))
    ]
    assert len(classes) * len(SYNTAXES) > 3 * 128
    post(archive, study)
    rows = sagittal("get", archive.peer, "-k", f"StudyInstanceUID={study[0].study_uid}", "-o", tmp_path)
    assert (rows[-1]["status"], rows[-1]["completed"], rows[-1]["failed"]) == ("0000", len(study), 0)
    assert of_files(tmp_path) == sorted(one.data for one in study)
