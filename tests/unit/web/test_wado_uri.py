"""WADO-URI: what is answered, and what is refused with a reason."""

from __future__ import annotations

from pathlib import Path

import pytest
from archived import answers
from builders import Built, build

from sagittal.dicom.syntaxes import EXPLICIT_LE, IMPLICIT_LE, JPEG_BASELINE

HELD = build()
DICOM = "&contentType=application/dicom"


def address(held: Built, more: str = DICOM) -> str:
    uids = f"studyUID={held.study_uid}&seriesUID={held.series_uid}&objectUID={held.sop_instance_uid}"
    return f"/wado?requestType=WADO&{uids}{more}"


@pytest.mark.parametrize("syntax_uid", [EXPLICIT_LE, IMPLICIT_LE, JPEG_BASELINE])
def test_as_stored(tmp_path: Path, syntax_uid: str) -> None:
    held = build(syntax_uid=syntax_uid)
    asks = [(address(held, f"{DICOM}&transferSyntax={asked}"), {}) for asked in (syntax_uid, "*")]
    for answer in answers(tmp_path, [held], *asks):
        assert answer.headers["content-type"] == "application/dicom"
        assert answer.content == held.part10
        assert "etag" in answer.headers


def test_explicit_little_endian_is_the_default(tmp_path: Path) -> None:
    held, same = build(syntax_uid=IMPLICIT_LE), build()
    default, named = answers(
        tmp_path, [held], (address(held), {}), (address(held, f"{DICOM}&transferSyntax={EXPLICIT_LE}"), {})
    )
    assert default.content == named.content == same.part10


def test_by_accept(tmp_path: Path) -> None:
    """`*/*` is any picture, and goes before the object only where it is liked better."""
    asks = ("application/dicom", "*/*, application/dicom", "*/*, application/dicom;q=0.9")
    *objects, picture = answers(tmp_path, [HELD], *((address(HELD, ""), {"accept": accept}) for accept in asks))
    assert [answer.content for answer in objects] == [HELD.part10] * 2
    assert picture.headers["content-type"] != "application/dicom"


def test_parameters_that_nobody_knows_are_as_if_not_present(tmp_path: Path) -> None:
    more = f"{DICOM}&_=1700000000&_=2&token=x"
    (answer,) = answers(tmp_path, [HELD], (address(HELD, more), {}))
    assert (answer.status_code, answer.content) == (200, HELD.part10)


def test_unchanged(tmp_path: Path) -> None:
    (first,) = answers(tmp_path / "a", [HELD], (address(HELD), {}))
    (again,) = answers(tmp_path / "a", [], (address(HELD), {"if-none-match": first.headers["etag"]}))
    assert again.status_code == 304


@pytest.mark.parametrize(
    ("path", "status", "says"),
    [
        (address(HELD, "&contentType=text/plain"), 406, "image/jpeg"),
        (address(HELD, DICOM + "&transferSyntax=1.2.3"), 406, "1.2.840.10008.1.2.4.90"),
        (address(HELD, "&contentType=image/jpeg&transferSyntax=1.2.840.10008.1.2.4.80"), 400, "transferSyntax is for"),
        (address(HELD, DICOM + "&anonymize=yes"), 406, "de-identified"),
        (address(HELD, DICOM + "&frameNumber=1"), 400, "frameNumber"),
        (address(HELD, "&frameNumber=2"), 400, "1 frames"),  # PS3.18 9.5.2
        (address(HELD, DICOM + "&windowCenter=1"), 400, "windowCenter"),
        (address(HELD, DICOM + "&requestType=WADO"), 400, "twice"),
        (address(HELD).replace("WADO&", "GET&"), 400, "requestType"),
        (address(HELD).replace("seriesUID", "seriesUid"), 400, "seriesUID is missing"),
        ("/wado?requestType=WADO&studyUID=1.2&seriesUID=1.3", 400, "objectUID is missing"),
        ("/wado?requestType=WADO&studyUID=1.2&seriesUID=1.3&objectUID=x", 400, "not a UID"),
        (address(build(2)), 404, "instances"),
        (address(HELD).replace(f"studyUID={HELD.study_uid}", "studyUID=1.2"), 404, "instances"),
    ],
)
def test_refused(tmp_path: Path, path: str, status: int, says: str) -> None:
    (answer,) = answers(tmp_path, [HELD], (path, {}))
    assert answer.status_code == status
    assert says in answer.json()["detail"]
