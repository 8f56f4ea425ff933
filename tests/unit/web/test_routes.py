"""What is asked image by image is found by its names in one step; all else as the table says."""

from __future__ import annotations

from typing import Any

import pytest

from sagittal.dicom.syntaxes import EXPLICIT_LE
from sagittal.web.routes import Often

AT = "/dicom-web/studies/1.2.1/series/1.2.2/instances/1.2.3.1"
OFTEN = [f"{AT}/frames/1", f"{AT}/frames/1/rendered", f"{AT}/rendered", f"{AT}/thumbnail"]


def often(web: Any) -> Often:
    app = web.app()
    app.close()
    found: Often = app._inside._app
    return found


@pytest.mark.parametrize("path", OFTEN)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_found_in_one_step(web: Any, path: str, method: str) -> None:
    found = often(web).find(method, path)
    assert found is not None
    wanted = {"study": "1.2.1", "series": "1.2.2", "instance": "1.2.3.1"}
    assert found[1] == wanted | ({"frames": "1"} if "/frames/" in path else {})


def test_to_store_is_found_in_one_step(web: Any) -> None:
    found = often(web).find("POST", "/dicom-web/studies")
    assert found is not None and found[1] == {}


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", OFTEN[0]),
        ("GET", "/dicom-web/studies"),
        ("PUT", "/dicom-web/studies"),
        ("POST", "/dicom-web/studies/"),
        ("POST", "/dicom-web/series"),
        ("OPTIONS", OFTEN[2]),
        ("GET", AT),
        ("GET", OFTEN[0] + "/"),
        ("GET", AT.replace("1.2.2", "") + "/rendered"),
        ("GET", AT.replace("dicom-web", "elsewhere") + "/rendered"),
        ("GET", AT.replace("series", "sets") + "/rendered"),
        ("OPTIONS", "*"),
        ("GET", "/"),
    ],
)
def test_left_to_the_table(web: Any, method: str, path: str) -> None:
    assert often(web).find(method, path) is None


def test_another_method_is_told_which_there_are(web: Any, archive: Any) -> None:
    answer = web.request("POST", OFTEN[0])
    assert answer.status_code == 405 and {"GET", "HEAD"} <= set(answer.headers["allow"].split(", "))
    assert web.get(AT.replace("1.2.2", "") + "/rendered").status_code == 404


def test_a_frame_by_the_short_way_and_its_head(web: Any, archive: Any) -> None:
    archive.hold(bytes(8), EXPLICIT_LE, frames=2)
    archive.ranges[1] = [[(0, 32)], [(32, 32)]]
    answer = web.get(OFTEN[0], "application/octet-stream")
    assert (answer.status_code, answer.content) == (200, bytes(4))
    head = web.request("HEAD", OFTEN[0], headers={"accept": "application/octet-stream"})
    assert (head.status_code, head.content) == (200, b"")
