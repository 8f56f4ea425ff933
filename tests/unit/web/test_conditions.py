"""Entity tags: the same as long as what is answered is, another as soon as it isn't."""

from __future__ import annotations

from pathlib import Path

import pytest
from archived import asking, hold, instance_of, series_of, study_of
from builders import build

HELD = build(frames=2)
RESOURCES = [
    (study_of(HELD), None),
    (study_of(HELD), "application/zip"),
    (instance_of(HELD), "application/dicom"),
    (study_of(HELD) + "/metadata", None),
    (series_of(HELD) + "/metadata", 'multipart/related; type="application/dicom+xml"'),
    (study_of(HELD) + "/bulkdata", None),
    (instance_of(HELD) + "/pixeldata", "application/octet-stream"),
    (instance_of(HELD) + "/frames/1,2", None),
    (instance_of(HELD) + "/frames/1", "application/octet-stream"),
]


@pytest.mark.parametrize(("path", "accept"), RESOURCES)
async def test_unchanged(tmp_path: Path, path: str, accept: str | None) -> None:
    headers = {"accept": accept} if accept else {}
    async with asking(tmp_path, [HELD]) as (client, _):
        first = await client.get(path, headers=headers)
        tag = first.headers["etag"]
        assert first.headers["vary"] == "accept"
        assert first.headers["cache-control"] == "private, no-cache"
        again = await client.get(path, headers=headers)
        assert again.headers["etag"] == tag
        if not tag.startswith("W/"):  # the same bytes each time
            assert again.content == first.content
        for condition in (tag, f'"x", {tag}', "*", tag.removeprefix("W/")):
            answer = await client.get(path, headers={**headers, "if-none-match": condition})
            assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", tag)
        other = await client.get(path, headers={**headers, "if-none-match": '"x"'})
        assert other.status_code == 200


@pytest.mark.parametrize(("path", "accept"), RESOURCES)
async def test_another_representation_is_wanted(tmp_path: Path, path: str, accept: str | None) -> None:
    """RFC 9110 13.1.1; it comes before If-None-Match (13.2.2)."""
    headers = {"accept": accept} if accept else {}
    async with asking(tmp_path, [HELD]) as (client, _):
        tag = (await client.get(path, headers=headers)).headers["etag"]
        strong = 412 if tag.startswith("W/") else 200
        for condition, status in ((tag, strong), (f'"x", {tag}', strong), ("*", 200), ('"x"', 412)):
            answer = await client.get(path, headers={**headers, "if-match": condition})
            assert answer.status_code == status, condition
        answer = await client.get(path, headers={**headers, "if-match": '"x"', "if-none-match": "*"})
        assert answer.status_code == 412


@pytest.mark.parametrize(("path", "accept"), RESOURCES[:2] + RESOURCES[3:6])
async def test_another_instance_comes(tmp_path: Path, path: str, accept: str | None) -> None:
    headers = {"accept": accept} if accept else {}
    async with asking(tmp_path, [HELD]) as (client, archive):
        tag = (await client.get(path, headers=headers)).headers["etag"]
        await hold(archive, build(2))
        answer = await client.get(path, headers={**headers, "if-none-match": tag})
        assert answer.status_code == 200
        assert answer.headers["etag"] != tag


async def test_another_form_has_another_tag(tmp_path: Path) -> None:
    async with asking(tmp_path, [HELD]) as (client, _):
        found = [await client.get(path, headers={"accept": accept or "*/*"}) for path, accept in RESOURCES]
        named = await client.get(RESOURCES[3][0], headers={"host": "localhost:8042"})
        tags = [answer.headers["etag"] for answer in (*found, named)]
    assert len(set(tags)) == len(tags)


@pytest.mark.parametrize("path", [instance_of(HELD), "/api" + study_of(HELD).removeprefix("/dicom-web")])
async def test_nothing_is_deleted_for_a_tag(path: str, tmp_path: Path) -> None:
    """RFC 9110 13.1.1: not unless it matches, and there is none that could."""
    async with asking(tmp_path, [HELD]) as (client, _):
        tag = (await client.get(study_of(HELD) + "/metadata")).headers["etag"]
        for condition in (tag, '"x"'):
            assert (await client.delete(path, headers={"if-match": condition})).status_code == 412
        assert (await client.get(study_of(HELD))).status_code == 200
        assert (await client.delete(path, headers={"if-match": "*"})).status_code in (200, 204)
