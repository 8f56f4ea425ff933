"""`[[transcode]]` of a serving archive: DCMTK sends, the rule is at work, and DCMTK and pydicom decode what is held.

The whole corpus goes through one rule: an image is held with the very pixels that pydicom finds in the original, or as
it came, and then the archive says why.
"""

from __future__ import annotations

import json
import re
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy
import pydicom
import pytest
from conftest import Served, sagittal, serve
from interop.corpus import CorpusFile, corpus_files, layers, read
from interop.equality import differences
from programs import corpus_folder, need
from pydicom.data import get_testdata_file

EXPLICIT_LE = "1.2.840.10008.1.2.1"
JPEG_LS, JPEG_2000, NEAR_LOSSLESS = "1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.81"
CT = Path(str(get_testdata_file("CT_small.dcm")))
MR = Path(str(get_testdata_file("MR_small.dcm")))
RULES = f"""
[[transcode]]
to = "{JPEG_LS}"
modalities = ["CT"]
calling_aets = ["SCANNER"]

[[transcode]]
to = "{NEAR_LOSSLESS}"
modalities = ["MR"]
lossy = true
near = 4
keep_original = false
"""
WHY = re.compile("takes .* bits.*, not|does not take|has no form|icon image")
ABOUT_PIXELS = {0x7FE00010, 0x00280006, 0x00280100, 0x00280101, 0x00280102, 0x00280103, 0x00280004}
# Bits outside Bits Stored are kept, an overlay of old among them moves to its own element.
MOVED = {group << 16 | element for group in range(0x6000, 0x6020, 2) for element in (0x0100, 0x0102, 0x3000)}


@pytest.fixture
def ruled(tmp_path: Path) -> Iterator[Callable[[str], Served]]:
    running: list[Served] = []

    def start(rules: str) -> Served:
        file = tmp_path / "sagittal.toml"
        file.write_text(rules)
        running.append(serve(tmp_path / "data", "--config", str(file)))
        return running[-1]

    yield start
    for served in running:
        served.stop()


def ask(served: Served, path: str, accept: str = "application/json") -> bytes:
    request = urllib.request.Request(served.http + path, headers={"Accept": accept})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return bytes(answer.read())


def settled(served: Served, seconds: float = 60) -> dict[str, Any]:
    """What /api/transcoding says once nothing waits."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        told: dict[str, Any] = json.loads(ask(served, "/api/transcoding?limit=1000"))
        if not told["waiting"]:
            return told
        time.sleep(0.1)
    raise AssertionError(f"still waiting: {told}")


def path_of(one: Any) -> str:
    return f"/dicom-web/studies/{one.StudyInstanceUID}/series/{one.SeriesInstanceUID}/instances/{one.SOPInstanceUID}"


def held(served: Served, one: Any) -> pydicom.Dataset:
    """An instance as it is stored."""
    return read(part(ask(served, path_of(one), 'multipart/related; type="application/dicom"; transfer-syntax="*"')))


def part(body: bytes) -> bytes:
    """The one part of a multipart answer."""
    boundary = body[: body.index(b"\r\n")]
    return body[body.index(b"\r\n\r\n") + 4 : body.rindex(b"\r\n" + boundary)]


def storescu(served: Served, *files: Path, aet: str = "SCANNER") -> None:
    command = [need("storescu"), "-aet", aet, "-aec", served.aet, served.host, str(served.port)]
    done = subprocess.run([*command, *map(str, files)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_dcmtk_sends_and_decodes(ruled: Callable[[str], Served], tmp_path: Path) -> None:
    served, original = ruled(RULES), read(CT)
    storescu(served, CT)
    assert settled(served) == {"rules": 2, "waiting": 0, "failed": 0, "failures": []}
    stored = held(served, original)
    assert stored.file_meta.TransferSyntaxUID == JPEG_LS
    assert stored.SOPInstanceUID == original.SOPInstanceUID
    assert numpy.array_equal(stored.pixel_array, original.pixel_array)
    # DCMTK decodes the file that is held.
    stored.save_as(tmp_path / "held.dcm")
    subprocess.run([need("dcmdjpls"), str(tmp_path / "held.dcm"), str(tmp_path / "plain.dcm")], check=True)
    assert numpy.array_equal(read(tmp_path / "plain.dcm").pixel_array, original.pixel_array)
    # DCMTK gets it in the syntax that it takes.
    got = tmp_path / "got"
    got.mkdir()
    keys = [f"{name}={original.get(name)}" for name in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")]
    command = [need("getscu"), "-S", "-aec", served.aet, "-od", str(got), "-k", "QueryRetrieveLevel=IMAGE"]
    command += [word for key in keys for word in ("-k", key)]
    subprocess.run([*command, served.host, str(served.port)], check=True, capture_output=True)
    (file,) = got.iterdir()
    again = read(file)
    assert again.file_meta.TransferSyntaxUID == EXPLICIT_LE
    assert numpy.array_equal(again.pixel_array, original.pixel_array)
    assert not [line for line in differences(original, again) if int(line[:8], 16) not in ABOUT_PIXELS]


def test_sent_again_and_from_elsewhere(ruled: Callable[[str], Served]) -> None:
    served, original = ruled(RULES), read(CT)
    storescu(served, CT, aet="OTHER")  # no rule is of this sender's
    settled(served)
    assert held(served, original).file_meta.TransferSyntaxUID == EXPLICIT_LE
    deleted = urllib.request.Request(served.http + f"/api/studies/{original.StudyInstanceUID}", method="DELETE")
    urllib.request.urlopen(deleted, timeout=30).close()
    storescu(served, CT)
    settled(served)
    before = json.loads(ask(served, f"/api/instances/{original.SOPInstanceUID}/versions"))
    assert [one["state"] for one in before if one["transfer_syntax"] == JPEG_LS] == ["current"]
    storescu(served, CT)
    storescu(served, CT, aet="OTHER")
    post = urllib.request.Request(
        served.http + "/dicom-web/studies", CT.read_bytes(), {"Content-Type": "application/dicom"}, method="POST"
    )
    with urllib.request.urlopen(post, timeout=30) as answer:
        assert (answer.status, b"WarningReason" in answer.read()) == (200, False)
    assert sagittal("store", served.peer, CT).returncode == 0
    settled(served)
    assert json.loads(ask(served, f"/api/instances/{original.SOPInstanceUID}/versions")) == before
    metrics = ask(served, "/metrics", "text/plain").decode()
    assert 'sagittal_objects_total{outcome="transcoded",source="transcode",status="0000"} 1.0' in metrics
    assert 'sagittal_objects_total{outcome="kept"' not in metrics


def test_a_loss_that_was_asked_for(ruled: Callable[[str], Served], tmp_path: Path) -> None:
    served, original = ruled(RULES), read(MR)
    storescu(served, MR)
    settled(served)
    with pytest.raises(urllib.error.HTTPError, match="410"):
        ask(served, path_of(original))
    (found,) = json.loads(
        ask(served, f"/dicom-web/studies/{original.StudyInstanceUID}/instances", "application/dicom+json")
    )
    original_uid, original.SOPInstanceUID = original.SOPInstanceUID, found["00080018"]["Value"][0]
    stored = held(served, original)
    assert (stored.file_meta.TransferSyntaxUID, stored.LossyImageCompression) == (NEAR_LOSSLESS, "01")
    assert stored.ImageType[0] == "DERIVED"
    assert stored.SourceImageSequence[0].ReferencedSOPInstanceUID == original_uid
    stored.save_as(tmp_path / "held.dcm")
    subprocess.run([need("dcmdjpls"), str(tmp_path / "held.dcm"), str(tmp_path / "plain.dcm")], check=True)
    for decoded in (stored, read(tmp_path / "plain.dcm")):
        difference = numpy.abs(decoded.pixel_array.astype(int) - original.pixel_array)
        assert 0 < difference.max() <= 4
    (tombstone,) = json.loads(ask(served, "/api/tombstones?originals=true"))
    assert (tombstone["level"], json.loads(ask(served, "/api/tombstones"))) == ("original", [])


def test_a_restart_goes_on_with_what_was_imported(ruled: Callable[[str], Served], tmp_path: Path) -> None:
    served = ruled(RULES.replace('calling_aets = ["SCANNER"]', ""))
    served.stop()
    done = sagittal("import", "--data", served.data, CT)
    assert done.returncode == 0, done.stderr
    served = ruled(RULES.replace('calling_aets = ["SCANNER"]', ""))
    settled(served)
    assert held(served, read(CT)).file_meta.TransferSyntaxUID == JPEG_LS
    served.stop()
    scrub = sagittal("scrub", "--data", served.data)
    assert scrub.returncode == 0, scrub.stdout


def pixels(data_set: pydicom.Dataset) -> Any:
    """As pydicom decodes them, or None when it can't."""
    try:
        return data_set.pixel_array
    except Exception:
        return None


@pytest.mark.slow
@pytest.mark.parametrize("to", [JPEG_LS, JPEG_2000, "1.2.840.10008.1.2.4.201", "1.2.840.10008.1.2.5"])
def test_the_corpus(to: str, ruled: Callable[[str], Served]) -> None:
    served = ruled(f'duplicates = "keep-first"\n[[transcode]]\nto = "{to}"\n')
    files = layers(corpus_files(corpus_folder()))[0]
    sagittal("store", served.peer, "-q", *(file.path for file in files), timeout=300)
    told = settled(served, 300)
    failed = {one["instance"]: one["reason"] for one in told["failures"]}
    changed = 0
    for file in files:
        changed += _is_right(served, file, to, failed)
    assert changed > 100
    # None because it came back as something else.
    assert [why for why in failed.values() if not WHY.search(why)] == []
    served.stop()
    assert sagittal("scrub", "--data", served.data, timeout=300).returncode == 0


def _is_right(served: Served, file: CorpusFile, to: str, failed: dict[str, str]) -> bool:
    """Whether it was transcoded; either way what is held is what came."""
    try:
        stored = held(served, _Named(file))
    except urllib.error.HTTPError:
        return False  # refused when it came
    original = read(file.path)
    if stored.file_meta.TransferSyntaxUID == file.syntax_uid:
        return False
    assert (stored.file_meta.TransferSyntaxUID, file.sop_instance_uid in failed) == (to, False), file.name
    changed = [line for line in differences(original, stored) if int(line[:8], 16) not in ABOUT_PIXELS | MOVED]
    assert not changed, (file.name, changed)
    before, after = pixels(original), pixels(stored)
    if before is not None and after is not None:
        assert numpy.array_equal(before, after), file.name
    return True


class _Named:
    """The UIDs of a file of the corpus by PS3.6's keywords."""

    def __init__(self, file: CorpusFile) -> None:
        self.StudyInstanceUID, self.SeriesInstanceUID = file.study_uid, file.series_uid
        self.SOPInstanceUID = file.sop_instance_uid
