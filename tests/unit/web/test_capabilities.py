"""Capabilities: what they say is the table of resources, and each media type they name is answered."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
from archived import asking
from builders import build

from sagittal.conformance import statement
from sagittal.dicom.syntaxes import EXPLICIT_LE
from sagittal.web.routes import RESOURCES

NS = "{http://wadl.dev.java.net/2009/02}"
# Of compressed objects and documents: test_wado and test_bulkdata have one each.
PIXEL_TYPES = ("image/", "video/", "model/", "application/pdf", "text/xml", "text/html", "text/plain")


def test_wadl_is_the_table(web: Any) -> None:
    answer = web.request("OPTIONS", "/dicom-web/")
    assert answer.headers["content-type"].startswith("application/vnd.sun.wadl+xml")
    root = ET.fromstring(answer.content)
    resources = root.find(f"{NS}resources")
    assert resources is not None
    assert resources.get("base") == "http://localhost:8042/dicom-web/"
    listed = [
        (method.get("name"), "/" + str(resource.get("path")))
        for resource in resources
        for method in resource.findall(f"{NS}method")
    ]
    assert sorted(listed) == sorted((each.method, each.path.replace(":path", "")) for each in RESOURCES)


def test_every_get_says_what_it_answers(web: Any) -> None:
    body = web.request("OPTIONS", "/dicom-web/", headers={"accept": "application/json"}).json()
    gets = {
        each["path"]: method for each in body["resources"] for method in each["methods"] if method["method"] == "GET"
    }
    assert len(gets) == len([each for each in RESOURCES if each.method == "GET"])
    assert [path for path, method in gets.items() if not method["answers"]] == []


def test_json(web: Any) -> None:
    answer = web.request("OPTIONS", "/dicom-web/", headers={"accept": "application/json"})
    body = answer.json()
    assert body["base"] == "http://localhost:8042/dicom-web"
    assert {EXPLICIT_LE, "1.2.840.10008.1.2.4.90"} <= set(body["transfer_syntaxes"])
    methods = {each["path"]: [method["method"] for method in each["methods"]] for each in body["resources"]}
    assert methods["/studies/{study}"] == ["POST", "GET", "DELETE"]


@pytest.mark.parametrize(
    ("path", "status", "allow"),
    [
        ("", 200, "OPTIONS"),
        ("studies/1.2", 200, "DELETE, GET, HEAD, OPTIONS, POST"),
        ("studies/1.2/series/1.3/metadata", 200, "GET, HEAD, OPTIONS"),
        ("nothing", 404, None),
        ("studies/1.2/nothing", 404, None),
    ],
)
def test_allow(web: Any, path: str, status: int, allow: str | None) -> None:
    answer = web.request("OPTIONS", f"/dicom-web/{path}")
    assert (answer.status_code, answer.headers.get("allow")) == (status, allow)


def test_without_its_slash(web: Any) -> None:
    answer = web.request("OPTIONS", "/dicom-web")
    assert (answer.status_code, answer.headers["allow"]) == (200, "OPTIONS")
    assert answer.content == web.request("OPTIONS", "/dicom-web/").content


@pytest.mark.parametrize(
    "path", ["studies", "studies/1.2", "studies/1.2/series/1.3/instances/1.4/frames/1", "studies/count"]
)
@pytest.mark.parametrize("method", ["PUT", "PATCH"])
def test_methods_that_there_are_not(web: Any, path: str, method: str) -> None:
    """RFC 9110 15.5.6: 405 names all that the resource has, as OPTIONS does."""
    answer = web.request(method, f"/dicom-web/{path}")
    assert answer.status_code == 405
    assert answer.headers["allow"] == web.request("OPTIONS", f"/dicom-web/{path}").headers["allow"]


def test_another_form(web: Any) -> None:
    assert web.request("OPTIONS", "/dicom-web/", headers={"accept": "text/html"}).status_code == 406


async def test_what_is_named_is_answered(tmp_path: Path) -> None:
    held = build()
    async with asking(tmp_path, [held]) as (client, _):
        body = (await client.request("OPTIONS", "/dicom-web/", headers={"accept": "application/json"})).json()
        (obj,) = (await client.get(f"/dicom-web/studies/{held.study_uid}/metadata")).json()
        bulk = obj["7FE00010"]["BulkDataURI"].partition("/bulkdata/")[2]
        names = {"study": held.study_uid, "series": held.series_uid, "instance": held.sop_instance_uid}
        count = 0
        for resource in body["resources"]:
            path = resource["path"].format(**names, frames="1", path=bulk, uid="")
            for method in resource["methods"]:
                types = [each for each in method["answers"] if not any(part in each for part in PIXEL_TYPES)]
                if method["method"] != "GET" or "{uid}" in resource["path"]:  # test_nonpatient has these
                    continue
                for type_ in types:
                    answer = await client.get(f"/dicom-web{path}", headers={"accept": type_})
                    got = answer.headers["content-type"].replace('"', "")
                    assert answer.status_code == 200, (path, type_, answer.text)
                    assert got.startswith(type_.replace('"', ""))
                    count += 1
        assert count > 30


async def test_pictures_that_are_named_are_drawn(tmp_path: Path) -> None:
    """Of an image of one frame; reports, waveforms, documents and videos have tests of their own."""
    held = build()
    async with asking(tmp_path, [held]) as (client, _):
        body = (await client.request("OPTIONS", "/dicom-web/", headers={"accept": "application/json"})).json()
        count = 0
        for resource in body["resources"]:
            if not resource["path"].endswith("/rendered"):
                continue
            path = resource["path"].format(
                study=held.study_uid, series=held.series_uid, instance=held.sop_instance_uid, frames="1"
            )
            for type_ in (each for each in resource["methods"][0]["answers"] if "image/" in each and "svg" not in each):
                answer = await client.get(f"/dicom-web{path}", headers={"accept": type_})
                assert answer.status_code == 200, (path, type_, answer.text)
                assert answer.headers["content-type"].replace('"', "").startswith(type_.replace('"', ""))
                count += 1
        assert count >= 4 * 12


async def test_the_conformance_statement_is_where_they_say(tmp_path: Path) -> None:
    async with asking(tmp_path, []) as (client, _):
        answer = await client.request("OPTIONS", "/dicom-web/", headers={"accept": "application/json"})
        address = answer.json()["conformance"]
        assert answer.headers["link"] == f'<{address}>; rel="describedby"'
        assert address in (await client.request("OPTIONS", "/dicom-web/")).text
        told = await client.get(address)
        assert told.headers["content-type"].startswith("text/markdown") and told.text == statement()
        again = await client.get(address, headers={"if-none-match": told.headers["etag"]})
        assert again.status_code == 304
