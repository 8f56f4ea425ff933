"""DICOMweb in the transfer syntax that the client names: dicomweb-client and plain requests."""

from __future__ import annotations

import io
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import httpx
import numpy
import pydicom
import pytest
from conftest import Served
from dicomweb_client.api import DICOMwebClient
from interop.corpus import read
from interop.test_transcoded import FILES, holding, same
from PIL import Image
from programs import corpus_folder
from pydicom.encaps import encapsulate

EXPLICIT_LE, JPEG, JPEG_LOSSLESS = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.70"
JPEG_LS, JPEG_2000_LOSSLESS, JPEG_2000 = "1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91"
RLE, DEFLATED = "1.2.840.10008.1.2.5", "1.2.840.10008.1.2.1.99"
CT, COLOUR, MULTI = FILES[0], FILES[4], FILES[3]
PARTS = 'multipart/related; type="{}"'


@pytest.fixture(scope="module")
def originals() -> dict[str, pydicom.Dataset]:
    return {name: read(corpus_folder() / name) for name in FILES}


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with holding(tmp_path_factory.mktemp("transcoded"), FILES) as served:
        yield served


@pytest.fixture(scope="module")
def client(archive: Served) -> DICOMwebClient:
    return DICOMwebClient(f"{archive.http}/dicom-web")


def uids(data_set: Any) -> tuple[str, str, str]:
    return data_set.StudyInstanceUID, data_set.SeriesInstanceUID, data_set.SOPInstanceUID


def path_of(data_set: Any) -> str:
    return "/dicom-web/studies/{}/series/{}/instances/{}".format(*uids(data_set))


def alone(web: httpx.Client, data_set: Any, syntax_uid: str = "") -> tuple[pydicom.Dataset, httpx.Response]:
    accept = "application/dicom" + (f"; transfer-syntax={syntax_uid}" if syntax_uid else "")
    answer = web.get(path_of(data_set), headers={"accept": accept})
    assert answer.status_code == 200, answer.text
    return pydicom.dcmread(io.BytesIO(answer.content)), answer


@pytest.mark.parametrize("name", FILES)
def test_the_default_is_explicit_little_endian(name, client, web, originals):
    original = originals[name]
    sent, _ = alone(web, original)
    assert sent.file_meta.TransferSyntaxUID == EXPLICIT_LE
    same(sent, original)
    back = client.retrieve_instance(*uids(original), media_types=(("application/dicom", EXPLICIT_LE),))
    assert back.file_meta.TransferSyntaxUID == EXPLICIT_LE
    assert back.PixelData == sent.PixelData


@pytest.mark.parametrize("syntax_uid", [JPEG_LOSSLESS, JPEG_LS, JPEG_2000_LOSSLESS, RLE, DEFLATED])
@pytest.mark.parametrize("name", [CT, MULTI])
def test_lossless_syntaxes_by_their_uid(name, syntax_uid, client, web, originals):
    original = originals[name]
    sent, answer = alone(web, original, syntax_uid)
    assert sent.file_meta.TransferSyntaxUID == syntax_uid
    same(sent, original)
    again = web.get(
        path_of(original),
        headers={"accept": str(answer.request.headers["accept"]), "if-none-match": answer.headers["etag"]},
    )
    assert again.status_code == 304
    if syntax_uid == DEFLATED:  # which the client library does not know
        return
    (of_series,) = [
        each
        for each in client.retrieve_series(*uids(original)[:2], media_types=(("application/dicom", syntax_uid),))
        if original.SOPInstanceUID == each.SOPInstanceUID
    ]
    assert of_series.file_meta.TransferSyntaxUID == syntax_uid


def test_tags_differ_by_syntax(web, originals):
    found = {alone(web, originals[CT], uid)[1].headers["etag"] for uid in ("", "*", JPEG_2000_LOSSLESS, JPEG_2000, RLE)}
    assert len(found) == 5


def test_a_loss_has_to_be_named_and_makes_another_instance(web, originals):
    original = originals[CT]
    sent, _ = alone(web, original, JPEG_2000)
    assert sent.file_meta.TransferSyntaxUID == JPEG_2000
    assert sent.SOPInstanceUID == sent.file_meta.MediaStorageSOPInstanceUID != original.SOPInstanceUID
    assert sent.LossyImageCompression == "01"
    assert sent.SourceImageSequence[-1].ReferencedSOPInstanceUID == original.SOPInstanceUID
    assert alone(web, original, JPEG_2000)[0].SOPInstanceUID == sent.SOPInstanceUID
    error = numpy.abs(sent.pixel_array.astype(int) - original.pixel_array.astype(int))
    assert error.max() > 0
    assert error.mean() < 100


def test_what_cannot_be_made_is_left_out_of_several(client, archive, originals):
    study = originals[CT].StudyInstanceUID
    found = client.retrieve_study(study, media_types=(("application/dicom", EXPLICIT_LE),))
    assert [each.SOPInstanceUID for each in found] == [originals[CT].SOPInstanceUID]
    assert "1.2.3.99 is left out" in archive.log.read_text()


def test_what_cannot_be_made_alone_says_why(web, originals):
    path = path_of(originals[CT]).rpartition("/")[0] + "/1.2.3.99"
    answer = web.get(path, headers={"accept": "application/dicom"})
    assert answer.status_code >= 400
    assert "decoded" in answer.json()["detail"]
    answer = web.get(path_of(originals[CT]), headers={"accept": f"application/dicom; transfer-syntax={JPEG}"})
    assert answer.status_code == 406
    assert "8 bits" in answer.json()["detail"]
    answer = web.get(path_of(originals[CT]), headers={"accept": "application/dicom; transfer-syntax=1.2.3"})
    assert answer.status_code == 406
    assert JPEG_2000_LOSSLESS in answer.json()["detail"]


@pytest.mark.parametrize(
    ("accept", "type_"),
    [(f'{PARTS.format("application/dicom")}; transfer-syntax={JPEG}, application/dicom; transfer-syntax=*; q=0.9',
      "application/dicom"),
     (f'application/dicom; transfer-syntax={JPEG}, {PARTS.format("application/dicom")}; transfer-syntax={RLE}; q=0.9',
      "multipart/related")],
)  # fmt: skip
def test_what_cannot_be_made_in_one_packaging_is_answered_in_the_other(accept, type_, web, originals):
    headers = {"accept": accept}
    answer = web.get(path_of(originals[CT]), headers=headers)
    assert (answer.status_code, answer.headers["content-type"].partition(";")[0]) == (200, type_), answer.text
    assert web.head(path_of(originals[CT]), headers=headers).headers["etag"] == answer.headers["etag"]
    is_weak = type_ == "multipart/related"  # which If-Match never takes
    for tag, status in ((answer.headers["etag"], 412 if is_weak else 200), ('"other"', 412)):
        assert web.get(path_of(originals[CT]), headers=headers | {"if-match": tag}).status_code == status
    again = web.get(path_of(originals[CT]), headers=headers | {"if-none-match": answer.headers["etag"]})
    assert again.status_code == 304


def frames(client: DICOMwebClient, data_set: Any, numbers: list[int], type_: str, syntax_uid: str) -> list[bytes]:
    return client.retrieve_instance_frames(*uids(data_set), numbers, media_types=((type_, syntax_uid),))


def decoded(code_streams: list[bytes], like: pydicom.Dataset, syntax_uid: str) -> numpy.ndarray:
    """By pydicom, which is told what the object says."""
    made = pydicom.Dataset()
    made.update({e.tag: deepcopy(e) for e in like if e.tag.group == 0x0028})
    made.file_meta = pydicom.dataset.FileMetaDataset()
    made.file_meta.TransferSyntaxUID = syntax_uid
    made.NumberOfFrames, made.PixelData = len(code_streams), encapsulate(code_streams)
    made["PixelData"].VR = "OB"
    return made.pixel_array


@pytest.mark.parametrize("name", FILES)
def test_frames_as_octets_are_decoded(name, client, originals):
    original = originals[name]
    count = int(original.get("NumberOfFrames") or 1)
    numbers = list(range(count, 0, -1))
    got = frames(client, original, numbers, "application/octet-stream", EXPLICIT_LE)
    expected = original.pixel_array if count > 1 else original.pixel_array[None]
    assert [frame[: expected[0].nbytes] for frame in got] == [expected[number - 1].tobytes() for number in numbers]


@pytest.mark.parametrize(
    ("type_", "syntax_uid"),
    [
        ("image/jpeg", JPEG_LOSSLESS),
        ("image/jp2", JPEG_2000_LOSSLESS),
        ("image/dicom-rle", RLE),
        ("image/jls", JPEG_LS),
    ],
)
@pytest.mark.parametrize("name", [FILES[1], MULTI])
def test_frames_in_another_syntax(name, type_, syntax_uid, client, originals):
    original = originals[name]
    numbers = [1] if name != MULTI else [2, 1]
    got = frames(client, original, numbers, type_, syntax_uid)
    made = decoded(got, original, syntax_uid)
    expected = original.pixel_array[[1, 0]] if name == MULTI else original.pixel_array
    assert numpy.array_equal(made, expected)


def test_one_frame_alone_without_a_syntax_is_the_default_of_its_type(web, originals):
    where = path_of(originals[MULTI]) + "/frames/1"
    jpeg = web.get(where, headers={"accept": "image/jpeg"})
    assert (jpeg.status_code, jpeg.headers["content-type"]) == (200, "image/jpeg")
    assert numpy.array_equal(decoded([jpeg.content], originals[MULTI], JPEG_LOSSLESS), originals[MULTI].pixel_array[0])
    stored = web.get(where, headers={"accept": "image/jp2"})
    octets = web.get(where, headers={"accept": "application/octet-stream"})
    assert len({answer.headers["etag"].removeprefix("W/") for answer in (jpeg, stored, octets)}) == 3
    assert octets.content[: originals[MULTI].pixel_array[0].nbytes] == originals[MULTI].pixel_array[0].tobytes()
    compressed = web.get(where, headers={"accept": f"application/octet-stream; transfer-syntax={JPEG_LOSSLESS}"})
    assert compressed.content == jpeg.content
    assert web.get(where, headers={"accept": "image/png"}).status_code == 406


def test_lossy_frames_have_to_be_named(web, originals):
    where = path_of(originals[COLOUR])
    answer = web.get(where + "/frames/1", headers={"accept": f"image/jp2; transfer-syntax={JPEG_2000}"})
    assert answer.status_code == 200
    made = decoded([answer.content], originals[COLOUR], JPEG_2000)
    assert made.shape == originals[COLOUR].pixel_array[0].shape


def test_wado_uri_by_transfer_syntax(web, originals):
    study, series, instance = uids(originals[CT])
    asked = {"requestType": "WADO", "studyUID": study, "seriesUID": series, "objectUID": instance}
    for more, syntax_uid in (({}, EXPLICIT_LE), ({"transferSyntax": JPEG_2000_LOSSLESS}, JPEG_2000_LOSSLESS)):
        answer = web.get("/wado", params=asked | {"contentType": "application/dicom"} | more)
        sent = pydicom.dcmread(io.BytesIO(answer.content))
        assert sent.file_meta.TransferSyntaxUID == syntax_uid
        same(sent, originals[CT])


JPEG_LS = "1.2.840.10008.1.2.4.80"


@pytest.mark.parametrize(
    ("parameters", "accept", "media_type"),
    [
        ({}, f"application/dicom; transfer-syntax={JPEG_LS}", "application/dicom"),
        (
            {},
            f"application/dicom; transfer-syntax=1.2.3, application/dicom; transfer-syntax={JPEG_LS}",
            "application/dicom",
        ),
        ({"contentType": f"application/dicom; transfer-syntax={JPEG_LS}"}, "*/*", "application/dicom"),
        ({"transferSyntax": JPEG_LS}, "text/html, */*;q=0.8", "application/dicom"),
        ({}, f"image/png;q=0.5, application/dicom; transfer-syntax={JPEG_LS}", "application/dicom"),
        ({}, f"*/*, application/dicom; transfer-syntax={JPEG_LS}", "application/dicom"),
        ({}, f"text/html, application/dicom; transfer-syntax={JPEG_LS};q=0.1", "application/dicom"),
        ({}, "image/png, application/dicom;q=0.5", "image/png"),
        ({}, "*/*, application/dicom;q=0.5", "image/jpeg"),
        ({"contentType": "image/png,application/dicom"}, "application/dicom", "image/png"),
        ({"contentType": "image/gif", "rows": 3}, "application/dicom", "image/gif"),
    ],
)
def test_wado_uri_gives_the_best_of_what_is_taken(
    web: httpx.Client, originals: Any, parameters: dict[str, Any], accept: str, media_type: str
) -> None:
    """Objects in the syntax that is named, pictures where they are wanted more."""
    study, series, instance = uids(originals[CT])
    asked = {"requestType": "WADO", "studyUID": study, "seriesUID": series, "objectUID": instance}
    answer = web.get("/wado", params=asked | parameters, headers={"accept": accept})
    assert (answer.status_code, answer.headers["content-type"]) == (200, media_type)
    if media_type == "application/dicom":
        sent = pydicom.dcmread(io.BytesIO(answer.content))
        assert sent.file_meta.TransferSyntaxUID == JPEG_LS
        same(sent, originals[CT])


def picture(answer: httpx.Response) -> Image.Image:
    assert answer.status_code == 200, answer.text
    return Image.open(io.BytesIO(answer.content))


def shown(web: httpx.Client, data_set: Any, **parameters: object) -> httpx.Response:
    study, series, instance = uids(data_set)
    asked = {"requestType": "WADO", "studyUID": study, "seriesUID": series, "objectUID": instance}
    return web.get("/wado", params=asked | parameters)


def test_wado_uri_renders_by_default(web, originals):
    original = originals[CT]
    answer = shown(web, original)
    assert answer.headers["content-type"] == "image/jpeg"
    assert picture(answer).size == (original.Columns, original.Rows)
    assert web.get(str(answer.request.url), headers={"if-none-match": answer.headers["etag"]}).status_code == 304


@pytest.mark.parametrize(
    ("type_", "kind"), [("image/png", "PNG"), ("image/gif", "GIF"), ("image/jpeg", "JPEG"), ("image/jp2", "JPEG2000")]
)
def test_wado_uri_renders_as_named(type_, kind, web, originals):
    assert picture(shown(web, originals[CT], contentType=type_)).format == kind


@pytest.mark.parametrize(
    ("parameters", "size"),
    [
        ({"rows": 64}, (64, 64)),
        ({"columns": 32}, (32, 32)),
        ({"rows": 64, "columns": 32}, (32, 32)),
        ({"region": "0,0,0.5,0.25"}, (256, 128)),
        ({"region": "0.5,0.5,1,1", "rows": 100}, (100, 100)),
    ],
)
def test_wado_uri_sizes_and_regions(parameters, size, web, originals):
    assert originals[CT].pixel_array.shape == (512, 512)
    assert picture(shown(web, originals[CT], contentType="image/png", **parameters)).size == size


def test_a_region_shows_that_part(web, originals):
    whole = numpy.asarray(picture(shown(web, originals[CT], contentType="image/png")))
    part = numpy.asarray(picture(shown(web, originals[CT], contentType="image/png", region="0.5,0,1,0.5")))
    assert numpy.array_equal(part, whole[:256, 256:])


def test_wado_uri_windows_frames_and_quality(web, originals):
    wide = picture(shown(web, originals[CT], contentType="image/png", windowCenter=40, windowWidth=4000))
    narrow = picture(shown(web, originals[CT], contentType="image/png", windowCenter=40, windowWidth=50))
    assert numpy.asarray(narrow).std() > numpy.asarray(wide).std()
    first, second = (shown(web, originals[MULTI], contentType="image/png", frameNumber=n).content for n in (1, 2))
    assert first != second
    good, poor = (shown(web, originals[CT], imageQuality=quality).content for quality in (95, 10))
    assert len(good) > 2 * len(poor)
    assert getattr(picture(shown(web, originals[MULTI], contentType="image/webp")), "n_frames", 1) == 10


@pytest.mark.parametrize(
    ("parameters", "status", "says"),
    [
        ({"rows": 0}, 400, "rows"),
        ({"rows": 16385}, 400, "16384"),
        ({"frameNumber": 2}, 400, "1 frames"),
        ({"windowCenter": 1}, 400, "windowWidth"),
        ({"windowCenter": 1, "windowWidth": 0}, 400, "at least 1"),
        (
            {"windowCenter": 1, "windowWidth": 2, "presentationUID": "1.2", "presentationSeriesUID": "1.2"},
            400,
            "window",
        ),
        ({"presentationUID": "1.2"}, 400, "presentationSeriesUID"),
        ({"region": "0,0,1"}, 400, "xmin"),
        ({"region": "0.5,0,0.5,1"}, 400, "smaller"),
        ({"imageQuality": 101}, 400, "100"),
        ({"annotation": "colour"}, 400, "patient"),
        ({"contentType": "text/html"}, 406, "image/jpeg"),
        ({"contentType": "application/dicom", "rows": 1}, 400, "rows"),
    ],
)
def test_what_wado_uri_refuses(parameters, status, says, web, originals):
    answer = shown(web, originals[CT], **parameters)
    assert answer.status_code == status
    assert says in answer.json()["detail"]


def test_bulk_data_as_octets_is_decoded(web, originals):
    single, several = originals[CT], originals[COLOUR]
    octets = {"accept": "application/octet-stream"}
    alone = web.get(path_of(single) + "/bulkdata/7FE00010", headers=octets)
    assert (alone.status_code, alone.content) == (200, single.pixel_array.tobytes())
    assert web.get(path_of(single) + "/pixeldata", headers=octets).content == alone.content
    parts = web.get(
        path_of(several) + "/bulkdata/7FE00010", headers={"accept": PARTS.format("application/octet-stream")}
    )
    assert parts.status_code == 200
    assert all(frame.tobytes() in parts.content for frame in several.pixel_array)
    boundary = parts.headers["content-type"].partition("boundary=")[2].encode()
    assert parts.content.count(b"--" + boundary) == 3
