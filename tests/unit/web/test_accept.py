"""Media types and what is chosen among them: every form of Accept that real clients send."""

# ruff: noqa: E501  (one line a row)

from __future__ import annotations

import pytest

from sagittal.dicom.syntaxes import (
    EXPLICIT_LE,
    IMPLICIT_LE,
    JPEG_2000,
    JPEG_2000_LOSSLESS,
    JPEG_BASELINE,
    JPEG_LOSSLESS_SV1,
    JPEG_LS_LOSSLESS,
    SYNTAXES,
)
from sagittal.errors import BadRequest, NotAcceptable
from sagittal.web.retrieve.offers import frame_offers
from sagittal.web.wire.accept import (
    COMPRESSED_TYPES,
    DEFAULT_SYNTAXES,
    DICOM,
    OCTET_STREAM,
    Offer,
    accepted,
    accepts,
    choose,
    media_type,
)

J2K = [Offer("image/jp2", JPEG_2000_LOSSLESS), Offer(OCTET_STREAM, JPEG_2000_LOSSLESS)]
NATIVE = [Offer(OCTET_STREAM, EXPLICIT_LE)]
OBJECT = [Offer(DICOM, IMPLICIT_LE), Offer(DICOM, EXPLICIT_LE, stored=False)]
PLAIN = [Offer(DICOM, EXPLICIT_LE)]
COMPRESSED = [Offer(DICOM, JPEG_BASELINE)]


@pytest.mark.parametrize(
    ("text", "type_", "parameters"),
    [
        ('multipart/related; type="application/dicom"; boundary=a', "multipart/related", {"type": "application/dicom", "boundary": "a"}),
        ("Multipart/Related;Type=application/dicom", "multipart/related", {"type": "application/dicom"}),
        ('multipart/related; boundary="a;b,c\\"d"', "multipart/related", {"boundary": 'a;b,c"d'}),
        ("application/dicom", "application/dicom", {}),
        ("text/html; charset=utf-8; charset=latin-1", "text/html", {"charset": "utf-8"}),
    ],
)  # fmt: skip
def test_media_types(text: str, type_: str, parameters: dict[str, str]) -> None:
    found = media_type(text)
    assert (found.type, found.parameters) == (type_, parameters)


@pytest.mark.parametrize("text", ["", "dicom", "a/b/c", "a b/c", "; type=x/y"])
def test_what_is_no_media_type(text: str) -> None:
    with pytest.raises(BadRequest):
        media_type(text)


def test_order_of_ranges() -> None:
    ranges = accepted(["text/html;q=0.1, image/jp2;q=0, application/dicom+json, nonsense, */*;q=x, a/b;q=0.5"])
    assert [r.type for r in ranges] == ["application/dicom+json", "a/b", "text/html"]
    assert [r.type for r in accepted([])] == ["*/*"]
    assert [r.type for r in accepted(["text/html"], ["image/jpeg"])] == ["image/jpeg"]
    assert accepted([",".join(["a/b"] * 64)])
    with pytest.raises(BadRequest):
        accepted([",".join(["a/b"] * 65)])


@pytest.mark.parametrize(
    ("accept", "offers", "answer"),
    [
        # PS3.18 8.7.3: without transfer-syntax the default is Explicit VR Little Endian
        ('multipart/related; type="application/dicom"', OBJECT, (EXPLICIT_LE, True)),
        ('multipart/related; type="application/dicom"', PLAIN, (EXPLICIT_LE, True)),
        ('multipart/related; type="application/dicom"', COMPRESSED, None),
        ('multipart/related; type="application/dicom"; transfer-syntax=*', COMPRESSED, (JPEG_BASELINE, True)),
        ('multipart/related; type="application/dicom"; transfer-syntax="*"', OBJECT, (IMPLICIT_LE, True)),
        (f"multipart/related; type=application/dicom; transfer-syntax={JPEG_BASELINE}", COMPRESSED, (JPEG_BASELINE, True)),
        (f"multipart/related; type=application/dicom; transfer-syntax={IMPLICIT_LE}", OBJECT, (IMPLICIT_LE, True)),
        (f"application/dicom; transfer-syntax={JPEG_2000_LOSSLESS}", COMPRESSED, None),
        (f"application/dicom; transfer-syntax={JPEG_2000_LOSSLESS}, application/dicom;q=0.9;transfer-syntax=*", COMPRESSED,
         (JPEG_BASELINE, False)),
        ("application/dicom", PLAIN, (EXPLICIT_LE, False)),
        ("*/*", COMPRESSED, (JPEG_BASELINE, True)),
        ("multipart/related", COMPRESSED, (JPEG_BASELINE, True)),
        ("multipart/*", COMPRESSED, (JPEG_BASELINE, True)),
        ('multipart/*; type="application/dicom"', PLAIN, (EXPLICIT_LE, True)),
        ("application/*", PLAIN, (EXPLICIT_LE, False)),
        ("text/html", PLAIN, None),
        # frames
        ("multipart/related; type=application/octet-stream; transfer-syntax=*", J2K, (JPEG_2000_LOSSLESS, True)),  # OHIF
        ("multipart/related; type=application/octet-stream", J2K, None),
        ("multipart/related; type=application/octet-stream", NATIVE, (EXPLICIT_LE, True)),
        ("multipart/related; type=application/octet-stream; transfer-syntax=*", NATIVE, (EXPLICIT_LE, True)),
        (f"multipart/related; type=application/octet-stream; transfer-syntax={EXPLICIT_LE}", NATIVE, (EXPLICIT_LE, True)),
        ('multipart/related; type="image/jp2"', J2K, (JPEG_2000_LOSSLESS, True)),
        ('multipart/related; type="image/*"', J2K, (JPEG_2000_LOSSLESS, True)),
        ('multipart/related; type="image/"', J2K, (JPEG_2000_LOSSLESS, True)),
        ("image/jp2", J2K, (JPEG_2000_LOSSLESS, False)),
        ("image/jpeg", J2K, None),
        (f"image/jp2; transfer-syntax={JPEG_BASELINE}", J2K, None),
        ("application/octet-stream", NATIVE, (EXPLICIT_LE, False)),
    ],
)  # fmt: skip
def test_choice(accept: str, offers: list[Offer], answer: tuple[str, bool] | None) -> None:
    ranges = accepted([accept])
    if answer is None:
        with pytest.raises(NotAcceptable, match=f"this is answered as .*{offers[0].media_type}"):
            choose(ranges, offers, single=True)
    else:
        choice = choose(ranges, offers, single=True)
        assert (choice.offer.syntax, choice.multipart) == answer


def test_several_parts_need_multipart() -> None:
    with pytest.raises(NotAcceptable):
        choose(accepted(["application/dicom"]), PLAIN, single=False)
    assert choose(accepted(["*/*"]), PLAIN, single=False).multipart


@pytest.mark.parametrize("given", ["application/dicom+json", "application/dicom json", "application/dicom json; q=0.5"])
def test_a_plus_of_the_query_that_is_not_encoded(given: str) -> None:
    """A query means a space by it; people type it all the same."""
    assert [each.type for each in accepted(["text/html"], [given])] == ["application/dicom+json"]


def test_what_is_remembered_is_given_anew_and_within_its_limit() -> None:
    first = accepted(["image/png;q=0.5, image/jpeg"])
    first.clear()
    assert [each.type for each in accepted(["image/png;q=0.5, image/jpeg"])] == ["image/jpeg", "image/png"]
    with pytest.raises(BadRequest):
        accepted(["image/png;q=0.5, image/jpeg"], ranges_max=1)
    long = ", ".join(f"image/x-{number}" for number in range(60)) + f", image/{'y' * 2000}"
    assert [each.type for each in accepted([long])] == long.split(", ")


@pytest.mark.parametrize(
    ("accept", "answer"),
    [
        ("image/*, image/jpeg;q=0", "image/png"),
        ("image/jpeg;q=0, */*", "image/png"),
        ("*/*, image/jpeg;q=0.1", "image/png"),
        ("*/*;q=0.5, image/jpeg;q=0.1, image/png;q=0.2", "image/gif"),
        ("*/*;q=0.1, image/*;q=0", "text/html"),
        ("*/*;q=0.5, image/png", "image/png"),
        ("*/*, image/png", "image/jpeg"),
        ("image/jpeg;q=0", None),
        ('*/*, multipart/related;type="image/jpeg";q=0', "image/jpeg"),
        ("*/*, image/jpeg;transfer-syntax=1.2.840.10008.1.2.4.50;q=0.5", "image/jpeg"),
    ],
)
def test_a_narrower_range_goes_before_a_wider_one(accept: str, answer: str | None) -> None:
    """RFC 9110 12.5.1: the quality of a type is that of the most specific range."""
    assert accepts(accepted([accept]), "image/jpeg", "image/png", "image/gif", "text/html") == answer


def test_parts_and_objects_that_are_excluded() -> None:
    parts = accepted(['multipart/related; type="*/*", multipart/related; type="image/jp2"; q=0'])
    assert choose(parts, J2K, single=True).offer.type == OCTET_STREAM
    assert choose(accepted(["*/*, image/jp2;q=0"]), J2K, single=True).offer.type == OCTET_STREAM


MADE = [*NATIVE, Offer("image/jpeg", JPEG_LOSSLESS_SV1, stored=False), Offer("image/jp2", JPEG_2000_LOSSLESS, stored=False),
        Offer("image/jp2", JPEG_2000, stored=False)]  # fmt: skip


@pytest.mark.parametrize(
    ("accept", "answer"),
    [
        ('multipart/related; type="image/jp2"; transfer-syntax=*', ("image/jp2", JPEG_2000_LOSSLESS)),
        ("image/jp2; transfer-syntax=*", ("image/jp2", JPEG_2000_LOSSLESS)),
        ('multipart/related; type="image/*"', ("image/jpeg", JPEG_LOSSLESS_SV1)),
        ('multipart/related; type="image/*"; transfer-syntax=*', ("image/jpeg", JPEG_LOSSLESS_SV1)),
        ('multipart/related; type="*/*"; transfer-syntax=*', (OCTET_STREAM, EXPLICIT_LE)),
        ("*/*", (OCTET_STREAM, EXPLICIT_LE)),
    ],
)
def test_any_syntax_is_the_default_where_the_stored_one_is_of_another_type(
    accept: str, answer: tuple[str, str]
) -> None:
    """PS3.18 8.7.3: with `*` it is the server's to choose; never one that loses."""
    offer = choose(accepted([accept]), MADE, single=True).offer
    assert (offer.type, offer.syntax) == answer


# What dicom-microscopy-viewer asks for a tile with, in its order.
TILE = ", ".join(
    f'multipart/related; type="{type_}"; transfer-syntax={uid}'
    for type_, uid in (
        ("image/jls", JPEG_LS_LOSSLESS), ("image/jp2", JPEG_2000_LOSSLESS), ("image/jp2", JPEG_2000),
        (OCTET_STREAM, "*"), ("image/jpeg", JPEG_BASELINE),
    )
)  # fmt: skip


@pytest.mark.parametrize(
    ("stored", "accept", "answer"),
    [
        (JPEG_BASELINE, TILE, ("image/jpeg", JPEG_BASELINE)),
        (JPEG_2000, TILE, ("image/jp2", JPEG_2000)),
        (JPEG_LOSSLESS_SV1, TILE, ("image/jls", JPEG_LS_LOSSLESS)),  # it does not decode all that * means
        (JPEG_2000, "image/jls, image/jp2", ("image/jp2", JPEG_2000)),
        (JPEG_2000, "image/jls, image/jp2;q=0.9", ("image/jls", JPEG_LS_LOSSLESS)),
        (JPEG_2000, "image/jls, */*", ("image/jls", JPEG_LS_LOSSLESS)),  # that means: if nothing else
    ],
)
def test_of_types_as_good_the_stored_one_that_is_named(stored: str, accept: str, answer: tuple[str, str]) -> None:
    """RFC 9110 12.5.1: the order of ranges of one quality means nothing, so that nothing needs to be made."""
    offer = choose(accepted([accept]), frame_offers(stored), single=True).offer
    assert offer == Offer(*answer, stored=answer[1] == stored)


# PS3.18 Table 8.7.3-5 by what PS3.6 calls the transfer syntaxes; the first that fits.
NAMED = (
    ("High-Throughput JPEG 2000", "image/jphc"), ("JPEG 2000 Part 2", "image/jpx"), ("JPEG 2000", "image/jp2"),
    ("JPEG-LS", "image/jls"), ("JPEG XL", "image/jxl"), ("JPEG", "image/jpeg"), ("RLE", "image/dicom-rle"),
    ("MPEG2", "video/mpeg"), ("H.264", "video/mp4"), ("H.265", "video/mp4"),
)  # fmt: skip


def test_every_compressed_syntax_has_the_media_type_of_its_name() -> None:
    compressed = {uid: row.name for uid, row in SYNTAXES.items() if row.encapsulated}
    named = {uid: next((type_ for part, type_ in NAMED if part in name), None) for uid, name in compressed.items()}
    assert {uid: type_ for uid, type_ in named.items() if type_} == COMPRESSED_TYPES
    assert all(
        COMPRESSED_TYPES[uid] == type_ and "Lossless" in compressed[uid] for type_, uid in DEFAULT_SYNTAXES.items()
    )
