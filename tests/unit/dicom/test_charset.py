"""Specific Character Set against the examples of PS3.5 Annexes H, I, J and K, and round trips in every set."""

# ruff: noqa: RUF001  (names in every alphabet)

from __future__ import annotations

import pytest
from pydicom.charset import CODES_TO_ENCODINGS, python_encoding

from sagittal.dicom.charset import decode, decode_checked, encode, normalise, parse

SAMPLES = [
    # (0008,0005), a person name that it can encode
    (("ISO_IR 100",), "Buc^Jérôme"),
    (("ISO_IR 101",), "Wałęsa"),
    (("ISO_IR 109",), "Ĥo^ĵaŭdo"),
    (("ISO_IR 110",), "Ķemeri^Ēriks"),
    (("ISO_IR 144",), "Люкceмбypг"),
    (("ISO_IR 127",), "قباني^لنزار"),
    (("ISO_IR 126",), "Διονυσιος"),
    (("ISO_IR 138",), "שרון^דבורה"),
    (("ISO_IR 148",), "Çavuşoğlu"),
    (("ISO_IR 203",), "Cœur^€"),
    (("ISO_IR 166",), "นามสกุล"),
    (("ISO_IR 13",), "ﾔﾏﾀﾞ^ﾀﾛｳ"),
    (("ISO_IR 192",), "Wang^XiaoDong=王^小东=𝄞"),
    (("GB18030",), "Wang^XiaoDong=王^小东=䶮"),
    (("GBK",), "Wang^XiaoDong=王^小东"),
    (("", "ISO 2022 IR 87"), "Yamada^Tarou=山田^太郎=やまだ^たろう"),
    (("ISO 2022 IR 13", "ISO 2022 IR 87"), "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう"),
    (("", "ISO 2022 IR 87", "ISO 2022 IR 159"), "Ono=丂^太郎"),
    (("", "ISO 2022 IR 149"), "Hong^Gildong=洪^吉洞=홍^길동"),
    (("", "ISO 2022 IR 58"), "Zhang^XiaoDong=张^小东="),
    (("ISO 2022 IR 100", "ISO 2022 IR 144"), "Äneas=Люк^Жук"),
    (("ISO 2022 IR 6", "ISO 2022 IR 126", "ISO 2022 IR 203"), "Δι=œ"),
]


@pytest.mark.parametrize(("charsets", "text"), SAMPLES, ids=lambda value: "-".join(value).strip("-")[:40])
def test_every_set_encodes_and_decodes(charsets: tuple[str, ...], text: str) -> None:
    data = encode(text, charsets, "PN")
    assert decode_checked(data, charsets, "PN") == (text, True)
    several = encode(f"{text}\\{text}", charsets, "PN")
    assert decode(several, charsets, "PN") == f"{text}\\{text}"


PRINTED = [
    (  # PS3.5 H.3.1
        ("", "ISO 2022 IR 87"),
        b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B=\x1b$B$d$^$@\x1b(B^\x1b$B$?$m$&\x1b(B",
        "Yamada^Tarou=山田^太郎=やまだ^たろう",
    ),
    (  # PS3.5 H.3.2
        ("ISO 2022 IR 13", "ISO 2022 IR 87"),
        b"\xd4\xcf\xc0\xde^\xc0\xdb\xb3=\x1b$B;3ED\x1b(J^\x1b$BB@O:\x1b(J=\x1b$B$d$^$@\x1b(J^\x1b$B$?$m$&\x1b(J",
        "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう",
    ),
    (  # PS3.5 I.2
        ("", "ISO 2022 IR 149"),
        b"Hong^Gildong=\x1b$)C\xfb\xf3^\x1b$)C\xd1\xce\xd4\xd7=\x1b$)C\xc8\xab^\x1b$)C\xb1\xe6\xb5\xbf",
        "Hong^Gildong=洪^吉洞=홍^길동",
    ),
    (("ISO_IR 192",), b"Wang^XiaoDong=\xe7\x8e\x8b^\xe5\xb0\x8f\xe4\xb8\x9c=", "Wang^XiaoDong=王^小东="),  # J.3
    (("GB18030",), b"Wang^XiaoDong=\xcd\xf5^\xd0\xa1\xb6\xab=", "Wang^XiaoDong=王^小东="),  # J.4
    (  # PS3.5 K.2
        ("", "ISO 2022 IR 58"),
        b"Zhang^XiaoDong=\x1b$)A\xd5\xc5^\x1b$)A\xd0\xa1\xb6\xab=",
        "Zhang^XiaoDong=张^小东=",
    ),
]


@pytest.mark.parametrize(("charsets", "data", "text"), PRINTED)
def test_what_is_written_is_what_the_standard_prints(charsets: tuple[str, ...], data: bytes, text: str) -> None:
    assert encode(text, charsets, "PN") == data


ESCAPES = {codec: escape for escape, codec in CODES_TO_ENCODINGS.items()}
OF_ONE_BYTE = {
    term.rpartition(" ")[2]: codec for term, codec in python_encoding.items() if term.startswith("ISO_IR 1")
} | {"203": "iso8859_15"}  # newer than pydicom 3.0.2
del OF_ONE_BYTE["192"], OF_ONE_BYTE["13"]  # the latter's two halves are no codec of Python's


@pytest.mark.parametrize(("number", "codec"), OF_ONE_BYTE.items())
def test_every_byte_is_the_character_that_pydicom_reads(number: str, codec: str) -> None:
    escape = ESCAPES.get(codec, b"\x1b-b")
    for data in (bytes([byte]) for byte in range(0xA0, 0x100)):
        character = data.decode(codec, "replace")
        known = character != "�"
        assert decode_checked(data, (f"ISO_IR {number}",)) == (character, known)
        assert decode_checked(escape + data, ("", f"ISO 2022 IR {number}")) == (character, known)
        if known:
            assert encode(character, (f"ISO_IR {number}",)) == data
            assert encode(character, ("", f"ISO 2022 IR {number}")) == escape + data


def test_the_first_set_is_active_again_before_a_delimiter() -> None:
    """PS3.5 6.1.2.5.3: G1 as well as G0."""
    assert (
        encode("Ä^Łódź", ("ISO 2022 IR 100", "ISO 2022 IR 101"), "PN") == b"\xc4^\x1b-B\xa3\x1b-A\xf3d\x1b-B\xbc\x1b-A"
    )


@pytest.mark.parametrize(
    ("charsets", "data", "text"),
    [
        *PRINTED,
        # Designated once a value, not once a component: what many Korean senders write
        (("", "ISO 2022 IR 149"), b"\x1b$)C\xfb\xf3^\xd1\xce\xd4\xd7", "洪^吉洞"),
        # Not at all: pydicom writes it so
        (("", "ISO 2022 IR 58"), "Wang=王^小东".encode("gb2312"), "Wang=王^小东"),
        (("", "ISO 2022 IR 100"), b"M\xfcller^J\xfcrgen", "Müller^Jürgen"),
        (("ISO 2022 IR 6", "ISO 2022 IR 87", "ISO 2022 IR 149"), b"A=\x1b$B;3\x1b(B^\xb1\xe6", "A=山^길"),
        # A backslash as the second byte of a character is no delimiter
        (("GB18030",), "A\\誠\\B".encode("gb18030"), "A\\誠\\B"),
        (("", "ISO 2022 IR 87"), "A\\ソ構".encode("iso2022_jp"), "A\\ソ構"),
    ],
)
def test_what_senders_write(charsets: tuple[str, ...], data: bytes, text: str) -> None:
    assert decode_checked(data, charsets, "PN") == (text, True)


def test_the_initial_set_is_back_after_a_delimiter() -> None:
    data = b"\xc4\x1b-L\xbb\xee\xda\\\xc4"
    assert decode(data, ("ISO 2022 IR 100", "ISO 2022 IR 144"), "LO") == "ÄЛюк\\Ä"
    assert decode(data.replace(b"\\", b"^"), ("ISO 2022 IR 100", "ISO 2022 IR 144"), "PN") == "ÄЛюк^Ä"


@pytest.mark.parametrize(
    ("charsets", "data"),
    [
        ((), b"M\xfcller"),
        (("ISO_IR 192",), b"M\xfcller"),
        (("ISO_IR 6",), b"M\xfcller"),
        (("nobody knows",), b"M\xfcller"),
        (("", "ISO 2022 IR 100", "ISO 2022 IR 101"), b"M\xfcller"),
        (("", "ISO 2022 IR 87"), b"M\xfcller"),
    ],
)
def test_nothing_is_guessed(charsets: tuple[str, ...], data: bytes) -> None:
    assert decode_checked(data, charsets, "LO") == ("M�ller", False)


def test_what_a_set_lacks_becomes_a_question_mark() -> None:
    assert encode("Łódź", ("ISO_IR 100",)) == b"?\xf3d?"
    assert encode("Łódź") == b"??d?"


@pytest.mark.parametrize(
    ("term", "meant"),
    [
        ("ISO IR 100", "ISO_IR 100"),
        ("ISO-IR 100", "ISO_IR 100"),
        ("ISO_IR_100", "ISO_IR 100"),
        ("ISO2022 IR 87", "ISO 2022 IR 87"),
        ("ISO 2022 58", "ISO 2022 IR 58"),
        ("ISO-8859-1", "ISO_IR 100"),
        ("ISO 8859-15", "ISO_IR 203"),
        ("UTF-8", "ISO_IR 192"),
        ("utf8", "ISO_IR 192"),
        ("ISO-IR 192", "ISO_IR 192"),
        ("iso_ir 192", "ISO_IR 192"),
        ("latin1", "ISO_IR 100"),
    ],
)
def test_misspelt_terms_are_understood(term: str, meant: str) -> None:
    assert normalise(term) == (meant, "charset-misspelt")


def test_defined_terms_are_no_defects() -> None:
    assert parse("") == ((), ())
    assert parse("\\ISO 2022 IR 87") == (("", "ISO 2022 IR 87"), ())
    assert parse("ISO_IR 100 ") == (("ISO_IR 100",), ())
    assert parse("KLINGON") == (("KLINGON",), ("charset-unknown",))


@pytest.mark.parametrize(("number", "kept"), [(63, 63), (64, 64), (65, 64)])
def test_so_many_terms_are_asked_for_each_value(number: int, kept: int) -> None:
    """A megabyte with thousands of them took seconds."""
    told = [f"TERM {at}" for at in range(number)]
    assert parse("\\".join(told))[0] == tuple(told[:kept])


def test_terms_are_told_once() -> None:
    assert parse("\\".join(["ISO 2022 IR 6", *["ISO 2022 IR 87", "ISO 2022 IR 6"] * 2_000]))[0] == (
        "ISO 2022 IR 6", "ISO 2022 IR 87", "ISO 2022 IR 6"
    )  # fmt: skip
