"""The proof that a worker gives for what it transcoded by rule: whatever differs is seen."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from builders import Built, build

from sagittal.convert.files import object_in
from sagittal.convert.verified import check_same, verified, worst_error
from sagittal.dicom.syntaxes import EXPLICIT_BE, EXPLICIT_LE, JPEG_2000_LOSSLESS, JPEG_LS_LOSSLESS, RLE_LOSSLESS
from sagittal.errors import DamagedObject, NotAcceptable, PixelsUndecodable
from sagittal.pixels.images import Image
from sagittal.pixels.instances import Transcoding
from sagittal.workers.worker import Input

GRADIENT = b"".join((row * 40 + column * 7).to_bytes(2, "little") for row in range(32) for column in range(32))
HELD = build(rows=32, columns=32, extra={"PixelData": GRADIENT})


@pytest.fixture
def made(tmp_path: Path) -> Callable[..., tuple[dict[str, Any], bytes]]:
    """`verified` on what was built; what it tells, and the file."""

    def make(
        built: Built, to: str = JPEG_LS_LOSSLESS, options: dict[str, Any] | None = None, digest: str = "", **more: Any
    ) -> tuple[dict[str, Any], bytes]:
        paths = [tmp_path / name for name in ("came", "made", "aside")]
        for path in paths:
            path.write_bytes(b"")
        paths[0].write_bytes(built.part10)
        files = [path.open("r+b") for path in paths]
        try:
            inputs = [Input(files[0].fileno(), 0, len(built.part10)), *(Input(f.fileno(), 0, 0) for f in files[1:])]
            told = verified(
                inputs, digest or built.digest, built.sop_class_uid, to, options or {"reversible": True}, **more
            )
        finally:
            for file in files:
                file.close()
        return told, paths[1].read_bytes()

    return make


def image(file: bytes, tmp_path: Path) -> Image:
    path = tmp_path / "again"
    path.write_bytes(file)
    with path.open("rb") as opened:
        found = object_in(Input(opened.fileno(), 0, len(file)))
    data = file[_data_set_at(file) :]
    return replace(found, read=lambda at, length: data[at : at + length])


def _data_set_at(file: bytes) -> int:
    return 144 + int.from_bytes(file[140:144], "little")


def test_what_it_tells(made: Any, tmp_path: Path) -> None:
    told, file = made(HELD)
    assert len(told.pop("pixels")) == 64
    assert told == {
        "digest": hashlib.sha256(file).hexdigest(), "loses": False, "error": 0.0,
        "sop_instance_uid": HELD.sop_instance_uid,
    }  # fmt: skip
    assert image(file, tmp_path).frame(1).stored.tobytes() == GRADIENT


@pytest.mark.parametrize(
    "change",
    [
        lambda held: replace(held, data=held.data.replace(b"Doe^Jane", b"Doe^Joan")),
        lambda held: replace(held, data=held.data.replace(b"Series 1", b"Series 2")),
        lambda held: build(rows=32, columns=32, extra={"PixelData": GRADIENT, "PatientComments": "one more"}),
    ],
)  # fmt: skip
def test_another_element_is_seen(change: Callable[[Built], Built], made: Any, tmp_path: Path) -> None:
    _, file = made(change(HELD))
    with pytest.raises(PixelsUndecodable, match="came back as something else"):
        check_same(image(HELD.part10, tmp_path), image(file, tmp_path))
    check_same(image(change(HELD).part10, tmp_path), image(file, tmp_path))


def test_another_long_value_is_seen(made: Any, tmp_path: Path) -> None:
    one, other = (
        build(rows=32, columns=32, extra={"PixelData": GRADIENT, "RedPaletteColorLookupTableData": bytes([n]) * 5000})
        for n in (1, 2)
    )
    _, file = made(one)
    check_same(image(one.part10, tmp_path), image(file, tmp_path))
    with pytest.raises(PixelsUndecodable, match="0028,1201"):
        check_same(image(other.part10, tmp_path), image(file, tmp_path))


def test_another_pixel_is_seen(made: Any, tmp_path: Path) -> None:
    _, file = made(HELD)
    for at, worst in ((0, 1.0), (len(GRADIENT) - 1, 256.0)):
        pixels = bytearray(GRADIENT)
        pixels[at] ^= 1
        other = build(rows=32, columns=32, extra={"PixelData": bytes(pixels)})
        assert worst_error(image(other.part10, tmp_path), image(file, tmp_path)) == worst
    assert worst_error(image(HELD.part10, tmp_path), image(file, tmp_path)) == 0
    with pytest.raises(PixelsUndecodable, match="another image"):
        worst_error(image(build(rows=16, columns=64).part10, tmp_path), image(file, tmp_path))


def test_a_codec_that_loses_keeps_nothing(made: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Frames that came out otherwise than they should: as a library with a bug would make them."""
    frames = Transcoding.frames

    def wrong(self: Transcoding) -> Any:
        assert self.plan is not None
        for number in range(1, self._image.count + 1):
            yield self.plan.frame(bytes(1) + self._image.encoded(number)[1:-1] + b"\x55")

    monkeypatch.setattr(Transcoding, "frames", wrong)
    with pytest.raises(PixelsUndecodable, match="errors of up to"):
        made(HELD)
    monkeypatch.setattr(Transcoding, "frames", frames)
    made(HELD)


def test_the_original_has_to_be_what_it_was(made: Any) -> None:
    with pytest.raises(DamagedObject):
        made(HELD, digest="0" * 64)


def test_bits_outside_of_values_stay(made: Any, tmp_path: Path) -> None:
    """Overlays of old in unused bits: in the cells where a syntax keeps those, as planes of their own elsewhere."""
    cells = b"".join((n & 0xFFF | (n % 3 == 0) << 12).to_bytes(2, "little") for n in range(1024))
    extra = {"PixelData": cells, "BitsStored": b"\x0c\0", "HighBit": b"\x0b\0"}
    built = build(rows=32, columns=32, extra=extra)
    tags = b"".join(
        b"\x00\x60" + tag + b"US\x02\0" + value
        for tag, value in ((b"\x10\0", b"\x20\0"), (b"\x11\0", b"\x20\0"), (b"\0\1", b"\x10\0"), (b"\2\1", b"\x0c\0"))
    )
    at = built.data.rindex(b"\xe0\x7f\x10\x00")
    built = replace(built, data=built.data[:at] + tags + built.data[at:])
    for to in (RLE_LOSSLESS, JPEG_2000_LOSSLESS, JPEG_LS_LOSSLESS):
        _, file = made(built, to)
        original, again = image(built.part10, tmp_path), image(file, tmp_path)
        assert again.frame(1).stored.tobytes() == original.frame(1).stored.tobytes()
        check_same(original, again)
    # A plane that differs is seen.
    other = bytearray(built.data)
    other[at + len(tags) + 12 + 1] ^= 0x10
    with pytest.raises(PixelsUndecodable, match="6000,3000"):
        check_same(image(replace(built, data=bytes(other)).part10, tmp_path), again)


def test_what_would_change_more_than_pixels_is_refused(made: Any) -> None:
    signed = build(rows=32, columns=32, extra={"PixelData": GRADIENT, "DigitalSignaturesSequence": b""})
    with pytest.raises(NotAcceptable, match="signed"):
        made(signed)
    with pytest.raises(NotAcceptable, match="signed"):
        made(signed, "1.2.840.10008.1.2.4.81", {"near": 2}, instance_uid="1.2.3")
    _, file = made(build(rows=32, columns=32, extra={"PixelData": GRADIENT, "IconImageSequence": b""}), RLE_LOSSLESS)
    compressed = replace(HELD, data=file[_data_set_at(file) :], syntax_uid=RLE_LOSSLESS)
    with pytest.raises(NotAcceptable, match="icon"):
        made(compressed)


def test_a_loss_has_its_bound(made: Any) -> None:
    told, _ = made(HELD, "1.2.840.10008.1.2.4.81", {"near": 3}, instance_uid="1.2.3", error_max=3)
    assert (told["loses"], told["sop_instance_uid"], 0 < told["error"] <= 3) == (True, "1.2.3", True)
    with pytest.raises(PixelsUndecodable, match="more than 1"):
        made(HELD, "1.2.840.10008.1.2.4.81", {"near": 3}, instance_uid="1.2.3", error_max=1)
    with pytest.raises(NotAcceptable, match="asked for"):
        made(HELD, "1.2.840.10008.1.2.4.81", {"near": 3})


@pytest.mark.parametrize("to", ["1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.112"])
def test_a_loss_of_colours_is_measured_as_they_are_seen(to: str, made: Any) -> None:
    """YBR_FULL comes back as RGB from JPEG and JPEG XL."""
    smooth = b"".join(bytes((100 + row, 120 + column, 130)) for row in range(32) for column in range(32))
    colours: dict[str, Any] = {"PhotometricInterpretation": "YBR_FULL", "PlanarConfiguration": b"\0\0"}
    colours |= {"SamplesPerPixel": b"\3\0", "BitsAllocated": b"\x08\0", "BitsStored": b"\x08\0", "HighBit": b"\7\0"}
    held = build(rows=32, columns=32, extra=colours | {"PixelData": smooth})
    told, _ = made(held, to, {"quality": 95}, instance_uid="1.2.3", error_max=12)
    assert told["loses"] and 0 < told["error"] <= 12


def test_native_forms_are_proved_too(made: Any, tmp_path: Path) -> None:
    _, file = made(HELD, EXPLICIT_BE)
    check_same(image(HELD.part10, tmp_path), image(file, tmp_path))
    assert worst_error(image(HELD.part10, tmp_path), image(file, tmp_path)) == 0
    assert made(HELD, EXPLICIT_LE)[1] == HELD.part10
