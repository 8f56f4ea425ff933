"""/rendered and /thumbnail of a running archive, looked at by Pillow: every kind of object, option and media type."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest
from conftest import Served
from interop.pictured import RAMP, STUDY, dataset, image, objects
from PIL import Image
from pypdf import PdfReader


def store(client: httpx.Client, made: Any) -> None:
    import pydicom

    file = io.BytesIO()
    pydicom.dcmwrite(file, made, enforce_file_format=True)
    body = b"--x\r\nContent-Type: application/dicom\r\n\r\n" + file.getvalue() + b"\r\n--x--\r\n"
    kind = 'multipart/related; type="application/dicom"; boundary=x'
    assert client.post("/dicom-web/studies", content=body, headers={"content-type": kind}).status_code == 200


@pytest.fixture(scope="module")
def held(shared_server: Served) -> Iterator[dict[str, str]]:
    """The address of each object."""
    addresses = {}
    with httpx.Client(base_url=shared_server.http, timeout=60) as client:
        for name, made in objects().items():
            store(client, made)
            addresses[name] = (
                f"{shared_server.http}/dicom-web/studies/{STUDY}/series/{made.SeriesInstanceUID}"
                f"/instances/{made.SOPInstanceUID}"
            )
    yield addresses


def get(address: str, accept: str = "*/*", **parameters: Any) -> httpx.Response:
    return httpx.get(address, params=parameters, headers={"accept": accept}, timeout=60)


def picture(address: str, accept: str = "image/png", **parameters: Any) -> Any:
    answer = get(address, accept, **parameters)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == accept
    return np.asarray(Image.open(io.BytesIO(answer.content)))


def test_the_window_of_the_image_and_of_the_request(held: dict[str, str]) -> None:
    shown = picture(held["ct"] + "/rendered")
    assert shown.shape == (48, 64) and shown[0, 0] == 0 and shown[-1, -1] == 255
    assert np.abs(shown.astype(int) - np.round((RAMP.astype(int) + 1000) * 255 / 3071)).max() <= 1
    asked = picture(held["ct"] + "/rendered", window="0,100,linear")
    assert (asked == 0).sum() == 951 and (asked == 255).sum() == 48 * 64 - 1049
    exact = picture(held["ct"] + "/rendered", window="0,100,sigmoid")
    assert exact[RAMP == 0] == 128


def test_pictures_as_parts_are_asked_for_again(held: dict[str, str]) -> None:
    """Only their boundary differs, so their tag is a weak one; another question has another."""
    address, parts = f"{held['frames']}/frames/1,3/rendered", 'multipart/related; type="image/png"'
    first = get(address, parts)
    assert first.headers["vary"] == "accept" and first.headers["etag"].startswith("W/")
    again = httpx.get(address, headers={"accept": parts, "if-none-match": first.headers["etag"]}, timeout=60)
    assert (again.status_code, again.content) == (304, b"")
    others = [
        get(address.replace("1,3", "3,1"), parts),
        get(address, parts, window="0,100"),
        get(address, parts, quality="9"),
    ]
    assert len({answer.headers["etag"] for answer in (first, *others)}) == 4
    over = get(f"{held['segmentation']}/rendered", parts)
    assert over.headers["vary"] == "accept" and "etag" not in over.headers


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP", "JPEG2000"])
def test_every_media_type_of_a_picture(held: dict[str, str], kind: str) -> None:
    media_type = "image/jp2" if kind == "JPEG2000" else f"image/{kind.lower()}"
    answer = get(held["ct"] + "/rendered", media_type)
    assert answer.headers["content-type"] == media_type
    opened = Image.open(io.BytesIO(answer.content))
    assert (opened.format, opened.size) == (kind, (64, 48))


def test_jpeg_is_the_default_and_jpeg_xl_can_be_had(held: dict[str, str]) -> None:
    assert get(held["ct"] + "/rendered").headers["content-type"] == "image/jpeg"
    assert get(held["ct"] + "/rendered", "image/*").headers["content-type"] == "image/jpeg"
    assert get(held["ct"] + "/rendered", "image/jxl").content[:2] == b"\xff\x0a"
    assert get(held["ct"] + "/rendered", "image/tiff").status_code == 406
    by_parameter = httpx.get(held["ct"] + "/rendered?accept=image/png", headers={"accept": "text/html"}, timeout=60)
    assert by_parameter.headers["content-type"] == "image/png"


def test_viewports_and_annotations(held: dict[str, str]) -> None:
    assert picture(held["ct"] + "/rendered", viewport="32,100").shape == (24, 32)
    plain = picture(held["ct"] + "/rendered")
    assert (picture(held["ct"] + "/rendered", viewport="10,10,5,7,10,10") == plain[7:17, 5:15]).all()
    assert (picture(held["ct"] + "/rendered", viewport="64,48,0,0,-64,48") == plain[:, ::-1]).all()
    assert (picture(held["ct"] + "/rendered", annotation="patient,technique") != plain).any()


@pytest.mark.parametrize(
    "asked",
    [
        "window=1", "window=a,b", "window=1,0", "window=1,2,cubic", "viewport=0,0", "viewport=5", "quality=0",
        "quality=101", "quality=x", "annotation=all", "iccprofile=maybe", "viewport=10,10,60,0,30,30", "window=",
        "window=1,2&window=3,4",
    ],
)  # fmt: skip
def test_parameters_that_make_no_sense(held: dict[str, str], asked: str) -> None:
    answer = httpx.get(f"{held['ct']}/rendered?{asked}", timeout=60)
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/problem+json"


def test_frames(held: dict[str, str]) -> None:
    levels = [picture(f"{held['frames']}/frames/{n}/rendered", window="128,256")[0, 0] for n in (1, 2, 3)]
    assert levels == [10, 120, 250]
    assert get(f"{held['frames']}/frames/4/rendered").status_code == 404
    parts = get(f"{held['frames']}/frames/1,3/rendered", 'multipart/related; type="image/png"')
    assert parts.content.count(b"\x89PNG") == 2
    assert get(held["frames"] + "/rendered", 'multipart/related; type="image/jpeg"').content.count(b"image/jpeg") == 3


def test_moving_pictures(held: dict[str, str]) -> None:
    for kind in ("gif", "webp"):
        answer = get(held["frames"] + "/rendered", f"image/{kind}", window="128,256")
        opened = Image.open(io.BytesIO(answer.content))
        assert getattr(opened, "n_frames", 1) == 3
        opened.seek(1)
        opened.load()
        assert opened.info["duration"] == 250


def test_what_lies_over_frames_of_one_image_moves(held: dict[str, str]) -> None:
    answer = get(held["marked"] + "/rendered", "image/gif", window="128,256")
    film = Image.open(io.BytesIO(answer.content))
    assert (answer.status_code, getattr(film, "n_frames", 1), film.size) == (200, 2, (40, 32))
    for number, level in ((0, 10), (1, 250)):  # the first and the third frame of three
        film.seek(number)
        shown = np.asarray(film.convert("RGB")).astype(int)
        assert np.abs(shown[-1, -1] - level).max() <= 3 and shown[0, 0, 0] > shown[0, 0, 1] + 50


def test_what_lies_over_several_images_does_not_move(held: dict[str, str]) -> None:
    """It is one picture then, or parts: a frame of it is no frame of the image."""
    for accept in ("image/gif", "image/webp"):
        answer = get(held["labels"] + "/rendered", accept)
        assert (answer.status_code, answer.headers["content-type"]) == (200, accept)
        assert getattr(Image.open(io.BytesIO(answer.content)), "n_frames", 1) == 1
    refused = get(held["labels"] + "/frames/1,2/rendered", "image/gif")
    assert refused.status_code == 406 and "multipart/related" in refused.json()["detail"]
    assert get(held["labels"] + "/frames/1,2/rendered", "image/png").status_code == 200
    study, _, rest = held["labels"].partition("/dicom-web/studies/")[2].partition("/series/")
    series, _, instance = rest.partition("/instances/")
    asked = {"requestType": "WADO", "studyUID": study, "seriesUID": series, "objectUID": instance}
    server = held["labels"].partition("/dicom-web")[0]
    still = get(server + "/wado", "*/*", contentType="image/gif", **asked)
    assert (still.status_code, getattr(Image.open(io.BytesIO(still.content)), "n_frames", 1)) == (200, 1)


def test_color(held: dict[str, str]) -> None:
    shown = picture(held["color"] + "/rendered")
    assert shown[0, 0].tolist() == [255, 0, 0] and shown[0, -1].tolist() == [0, 0, 255]
    profiled = get(held["color"] + "/rendered", "image/png", iccprofile="srgb")
    assert "icc_profile" in Image.open(io.BytesIO(profiled.content)).info


def test_presentation_states_by_address_and_by_name(held: dict[str, str]) -> None:
    plain = picture(held["ct"] + "/rendered")
    turned = 255 - np.rot90(plain, -1).astype(int)
    shown = picture(held["state"] + "/rendered")
    assert np.abs(shown - turned).max() <= 1
    named = picture(held["ct"] + "/rendered", presentationUID=held["state"].rpartition("/")[2])
    assert (named == shown).all()


def test_structures_and_segments_over_their_image(held: dict[str, str]) -> None:
    plain = picture(held["ct"] + "/rendered")
    outlined = picture(held["structures"] + "/rendered")
    assert outlined[10, 20].tolist() == [255, 0, 0] and outlined[20, 20].tolist() == [plain[20, 20]] * 3
    blended = picture(held["segmentation"] + "/rendered")
    assert len(set(blended[2, 2].tolist())) > 1 and blended[40, 40].tolist() == [plain[40, 40]] * 3


def test_a_segmentation_that_names_no_image_is_shown_on_black(held: dict[str, str]) -> None:
    for address in (held["alone"] + "/rendered", held["alone"] + "/frames/1/rendered"):
        shown = picture(address)
        assert shown.shape == (48, 64, 3) and shown[2, 2].any() and not shown[40, 40].any()


def test_a_label_map_over_the_image_of_each_of_its_frames(held: dict[str, str]) -> None:
    plain = picture(held["ct"] + "/rendered")
    over = picture(held["labels"] + "/rendered")
    assert over.shape == (48, 64, 3) and over[40, 40].tolist() == [plain[40, 40]] * 3
    assert over[10, 40, 0] > over[10, 40, 1] + 50
    assert (picture(held["labels"] + "/frames/1/rendered") == over).all()
    second = picture(held["labels"] + "/frames/2/rendered")
    bare = picture(held["frames"] + "/frames/3/rendered")
    assert second.shape == (32, 40, 3) and second[10, 30].tolist() == [bare[10, 30]] * 3
    assert second[10, 10, 1] > second[10, 10, 0] + 50
    third = picture(held["frames"] + "/frames/3/rendered", presentationUID=held["labels"].rpartition("/")[2])
    assert (third == second).all()
    first = picture(held["frames"] + "/frames/1/rendered", presentationUID=held["labels"].rpartition("/")[2])
    assert (first == picture(held["frames"] + "/frames/1/rendered")[..., None]).all()


def test_what_is_no_image_is_rendered_as_what_it_is(held: dict[str, str]) -> None:
    report = get(held["report"] + "/rendered")
    assert report.headers["content-type"] == "text/html; charset=utf-8"
    assert "&lt;b&gt;nothing&lt;/b&gt;" in report.text and f'href="{held["ct"]}/rendered"' in report.text
    printed = get(held["report"] + "/rendered", "application/pdf")
    assert printed.headers["content-type"] == "application/pdf"
    (sheet,) = PdfReader(io.BytesIO(printed.content)).pages
    assert "<b>nothing</b>" in sheet.extract_text()
    again = httpx.get(held["report"] + "/rendered", timeout=60,
                      headers={"accept": "application/pdf", "if-none-match": printed.headers["etag"]})  # fmt: skip
    assert again.status_code == 304
    _, study, _, series, _, uid = held["report"].rsplit("/", 5)
    named = {"studyUID": study, "seriesUID": series, "objectUID": uid, "contentType": "application/pdf"}
    by_uri = get(held["report"].partition("/dicom-web")[0] + "/wado", requestType="WADO", **named)
    assert (by_uri.status_code, by_uri.content) == (200, printed.content)
    plain = get(held["report"] + "/rendered", "text/plain, text/html;q=0.5")
    assert plain.headers["content-type"] == "text/plain; charset=utf-8" and "<b>nothing</b>" in plain.text
    by_uri = get(held["report"].partition("/dicom-web")[0] + "/wado", requestType="WADO",
                 **(named | {"contentType": "text/plain"}))  # fmt: skip
    assert (by_uri.headers["content-type"], by_uri.text) == (plain.headers["content-type"], plain.text)
    document = get(held["document"] + "/rendered")
    assert (document.headers["content-type"], document.content) == ("application/pdf", b"%PDF-1.4 hello\n")
    ecg = get(held["ecg"] + "/rendered")
    assert ecg.headers["content-type"] == "image/svg+xml" and b"<polyline" in ecg.content
    assert get(held["report"] + "/rendered", "image/png").status_code == 406
    assert get(held["plan"] + "/rendered").status_code == 406


def test_thumbnails_of_everything_and_every_level(held: dict[str, str]) -> None:
    for name, address in held.items():
        answer = get(address + "/thumbnail")
        assert answer.status_code == 200, name
        assert max(Image.open(io.BytesIO(answer.content)).size) == 200, name
    study = held["ct"].partition("/series/")[0]
    for level in (study, held["ct"].partition("/instances/")[0], held["frames"] + "/frames/2"):
        assert get(level + "/thumbnail").headers["content-type"] == "image/jpeg"
    assert picture(held["ct"] + "/thumbnail", viewport="32,32").shape == (24, 32)
    assert picture(held["ct"] + "/thumbnail", viewport="64,24").shape == (24, 32)  # fitted into it, not into a square
    assert picture(held["ct"] + "/thumbnail", viewport="200,12,32,0,32,12").shape == (12, 32)
    assert get(held["ct"] + "/thumbnail", viewport="9,9,0,0,999,9").status_code == 400
    assert picture(held["report"] + "/thumbnail", viewport="40,30").shape == (30, 30)


def test_what_has_no_pixels_does_not_stand_for_a_study(shared_server: Served) -> None:
    study = "2.25.77002"
    made = (
        dataset(1, "481.5", RTPlanLabel="P", StudyInstanceUID=study),
        dataset(2, "79.1", StudyInstanceUID=study),  # a report that is not among the others
        dataset(3, "9.100.1", StudyInstanceUID=study),  # nor is a state of waveforms one of them
        image(4, RAMP, StudyInstanceUID=study),
    )
    with httpx.Client(base_url=shared_server.http, timeout=60) as client:
        for number, each in enumerate(made, 1):
            each.SOPInstanceUID = each.file_meta.MediaStorageSOPInstanceUID = f"{study}.{number}"
            each.SeriesInstanceUID = f"{study}.0.{number}"
            store(client, each)
    address = f"{shared_server.http}/dicom-web/studies/{study}"
    plan, grid, state, ct = (f"{address}/series/{study}.0.{n}/instances/{study}.{n}" for n in (1, 2, 3, 4))
    assert get(address + "/thumbnail").content == get(ct + "/thumbnail").content
    assert "radiotherapy" in get(plan + "/rendered").json()["detail"]
    assert get(grid + "/rendered").headers["content-type"] == "text/html; charset=utf-8"
    assert "shows waveforms" in get(state + "/rendered").json()["detail"]


def test_a_document_says_itself_what_it_is_written_in(shared_server: Served) -> None:
    made = dataset(77, "104.2", MIMETypeOfEncapsulatedDocument="text/xml")
    text = '<?xml version="1.0" encoding="ISO-8859-1"?><a>\xe9</a>'.encode("latin-1")
    made.EncapsulatedDocument = text + b"\0"  # of an odd length, which is not told
    with httpx.Client(base_url=shared_server.http, timeout=60) as client:
        store(client, made)
        path = f"/dicom-web/studies/{STUDY}/series/{made.SeriesInstanceUID}/instances/{made.SOPInstanceUID}/rendered"
        named = {"studyUID": STUDY, "seriesUID": made.SeriesInstanceUID, "objectUID": made.SOPInstanceUID}
        for answer in (client.get(path), client.get("/wado", params={"requestType": "WADO", **named})):
            assert (answer.headers["content-type"], answer.content) == ("text/xml", text)


def test_a_study_is_a_part_each(held: dict[str, str]) -> None:
    answer = get(held["ct"].partition("/series/")[0] + "/rendered", 'multipart/related; type="image/jpeg"')
    assert answer.status_code == 200
    for name in ("ct", "frames", "color", "segmentation", "labels"):
        assert f"Content-Location: {held[name]}/rendered".encode() in answer.content
    assert held["report"].encode() not in answer.content


@pytest.mark.parametrize("name", ["ct", "frames"])
@pytest.mark.parametrize("level", ["/series/", "/instances/", None])
def test_no_part_is_a_video(held: dict[str, str], name: str, level: str | None) -> None:
    address = held[name].partition(level)[0] if level else held[name]
    refused = get(address + "/rendered", 'multipart/related; type="video/mp4"')
    assert refused.status_code == 406
    assert refused.json()["detail"].startswith(("an image is rendered as ", "each of several is rendered as "))


def test_documents_of_a_series_are_a_part_each(shared_server: Served) -> None:
    texts = [b"%PDF-1.4 first\n", b"%PDF-1.4 second "]
    with httpx.Client(base_url=shared_server.http, timeout=60) as client:
        for number, text in enumerate(texts, 1):
            made = dataset(number, "104.1", MIMETypeOfEncapsulatedDocument="application/pdf")
            made.StudyInstanceUID, made.SOPInstanceUID = f"{STUDY}.7", f"{STUDY}.7.{number}"
            made.EncapsulatedDocument, made.EncapsulatedDocumentLength = text + b"\0" * (len(text) % 2), len(text)
            store(client, made)
        answer = get(f"{shared_server.http}/dicom-web/studies/{STUDY}.7/rendered")
    assert answer.status_code == 200
    assert 'type="application/pdf"' in answer.headers["content-type"]
    assert all(b"\r\n\r\n" + text + b"\r\n--" in answer.content for text in texts)


def test_what_is_held_is_not_sent_again(held: dict[str, str]) -> None:
    for address in (held["ct"] + "/rendered", held["ct"] + "/thumbnail", held["report"] + "/rendered"):
        tag = get(address).headers["etag"]
        again = httpx.get(address, headers={"if-none-match": tag}, timeout=60)
        assert (again.status_code, again.content) == (304, b"")


def test_a_stranger_is_not_found(held: dict[str, str]) -> None:
    assert get(held["ct"] + "9/rendered").status_code == 404
    assert get(held["ct"] + "/rendered", presentationUID="1.2.3.4").status_code == 404
