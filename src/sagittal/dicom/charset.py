"""Specific Character Set: PS3.5 6.1 and PS3.3 C.12.1.1.2, with code extensions by ISO 2022, GB18030, GBK and UTF-8.

`decode` reads what senders write, not only what they may write: defined terms misspelled in known ways, designations
that the data set didn't declare, Korean and Chinese designations given once a value, or none of the only set that is
declared. What has no character becomes U+FFFD and is flagged; nothing is guessed. Not here: the VRs that are text
(`elements.TEXT_VRS`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from sagittal.limits import CHARACTER_SETS_MAX

UTF_8 = "ISO_IR 192"

# Defined term without its prefix -> (Python codec of G1, ISO 2022 designation of it). Codecs of one byte a character
# (PS3.3 Tables C.12-2 and C.12-3) and of several (C.12-4).
_G1 = {
    "100": ("iso8859_1", b"\x1b-A"),
    "101": ("iso8859_2", b"\x1b-B"),
    "109": ("iso8859_3", b"\x1b-C"),
    "110": ("iso8859_4", b"\x1b-D"),
    "144": ("iso8859_5", b"\x1b-L"),
    "127": ("iso8859_6", b"\x1b-G"),
    "126": ("iso8859_7", b"\x1b-F"),
    "138": ("iso8859_8", b"\x1b-H"),
    "148": ("iso8859_9", b"\x1b-M"),
    "203": ("iso8859_15", b"\x1b-b"),
    "166": ("tis_620", b"\x1b-T"),
    "13": ("shift_jis", b"\x1b)I"),  # JIS X 0201: the katakana half only, see _decode_run
    "149": ("euc_kr", b"\x1b$)C"),  # KS X 1001
    "58": ("gb2312", b"\x1b$)A"),
}
_G0 = {"87": b"\x1b$B", "159": b"\x1b$(D"}  # JIS X 0208, JIS X 0212: two bytes a character, in G0
_WHOLE = {UTF_8: "utf_8", "GB18030": "gb18030", "GBK": "gbk"}  # no code extensions with these

_DESIGNATES_G1 = {escape: codec for codec, escape in _G1.values()}
_DESIGNATES_G0 = {
    b"\x1b(B": "ascii",
    b"\x1b(J": "ascii",  # JIS X 0201 romaji: 0x5C is DICOM's delimiter there too, 0x7E is read as a tilde
    b"\x1b$B": "\x1b$B",
    b"\x1b$@": "\x1b$B",  # JIS C 6226-1978
    b"\x1b$(D": "\x1b$(D",
    b"\x1b$(B": "\x1b$B",
}
_TOKENS = re.compile(rb"\x1b\$[()][A-Z]|\x1b\$[B@]|\x1b[()\-][A-Za-z]|[\x00-\x1a\x1c-\x7f]+|[\x80-\xff]+|\x1b")
_REPLACEMENT = "\ufffd"

_TERM = re.compile(r"(ISO_IR|ISO 2022 IR) (\d+)\Z")
_MISSPELT = re.compile(r"ISO[ _-]*(2022)?[ _-]*(?:IR)?[ _-]*(\d+)\Z")
_ALIASES = {
    **dict.fromkeys(("UTF-8", "UTF8", "ISO 10646"), UTF_8),
    **dict.fromkeys(("GB2312", "ISO 2022 58"), "ISO 2022 IR 58"),
    **dict.fromkeys(("GB 18030", "ISO 2022 GB18030"), "GB18030"),
    **dict.fromkeys(("LATIN1", "LATIN-1"), "ISO_IR 100"),
    **dict.fromkeys(("ASCII", "US-ASCII"), "ISO_IR 6"),
    "ISO 2022 GBK": "GBK",
}
_PARTS_OF_8859 = {1: 100, 2: 101, 3: 109, 4: 110, 5: 144, 6: 127, 7: 126, 8: 138, 9: 148, 11: 166, 15: 203}
_8859 = re.compile(r"ISO[ _-]*8859[ _-]*(\d+)\Z")


def normalise(term: str) -> tuple[str, str]:
    """The defined term meant by one value of (0008,0005), and a defect's name ("" if it was written right).

    An empty value is the default repertoire. A term that nobody knows is returned as written, and decodes as default.
    """
    term = term.strip(" \0")
    if not term or term in _WHOLE:
        return term, ""
    match = _TERM.match(term)
    if match and (match[2] in _G1 or match[2] == "6" or (match[1] == "ISO 2022 IR" and match[2] in _G0)):
        return term, ""
    upper = term.upper().replace("ISO-IR", "ISO_IR")
    meant = _ALIASES.get(upper, "")
    if not meant and (match := _8859.match(upper)) and len(match[1]) < 3 and int(match[1]) in _PARTS_OF_8859:
        meant = f"ISO_IR {_PARTS_OF_8859[int(match[1])]}"
    if not meant and (match := _MISSPELT.match(upper)):
        number = match[2]
        if number == "192":
            meant = UTF_8
        elif number in _G1 or number in _G0 or number == "6":
            meant = ("ISO 2022 IR " if match[1] or number in _G0 else "ISO_IR ") + number
    return (meant, "charset-misspelt") if meant else (term, "charset-unknown")


def parse(text: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The value of (0008,0005) as defined terms, and the defects seen in it.

    Those after the first are told once, and no more than there may be: each value of an object asks them all.
    """
    pairs = [normalise(term) for term in text.split("\\")]
    first, *others = (term for term, _ in pairs)
    terms = (first, *dict.fromkeys(others))[:CHARACTER_SETS_MAX]
    return terms if any(terms) else (), tuple(sorted({defect for _, defect in pairs if defect}))


def decode(data: bytes, charsets: tuple[str, ...], vr: str = "LO") -> str:
    """The text of a value; what has no character in `charsets` becomes U+FFFD. Padding is kept."""
    return decode_checked(data, charsets, vr)[0]


def decode_checked(data: bytes, charsets: tuple[str, ...], vr: str = "LO") -> tuple[str, bool]:
    """As `decode`, and whether every byte had its character."""
    if data.isascii() and b"\x1b" not in data:
        return data.decode("ascii"), True
    codec = next((_WHOLE[term] for term in charsets if term in _WHOLE), "")
    if not codec and len(charsets) < 2 and b"\x1b" not in data:
        codec = _plain_codec(charsets[0] if charsets else "")
    if not codec:
        return _decode_extended(data, charsets, vr)
    return _decode_with(data, codec)


def _plain_codec(term: str) -> str:
    """The codec of a term of one byte a character, "ascii" for the default repertoire and unknown terms, else ""."""
    match = _TERM.match(term)
    return _G1[match[2]][0] if match and match[2] in _G1 and match[2] != "13" else "ascii" if not match else ""


def _decode_extended(data: bytes, charsets: tuple[str, ...], vr: str) -> tuple[str, bool]:
    """ISO 2022: G0 and G1 change by designation and return at delimiters and line ends (PS3.5 6.1.2.5.3)."""
    codecs = [_G1[match[2]][0] if match and match[2] in _G1 else "" for match in map(_TERM.match, charsets)] or [""]
    initial, only = codecs[0], {*codecs} - {""}
    ends = re.compile("[\\\\^=\n\f\r\t]" if vr == "PN" else "[\\\\\n\f\r\t]")
    # Where one set can be meant only, pydicom and others leave its designation out.
    g0, g1 = "ascii", initial or (only.pop() if len(only) == 1 else "")
    out: list[str] = []
    good = True
    for token in _TOKENS.findall(data):
        if token[0] == 0x1B:
            if token in _DESIGNATES_G0:
                g0 = _DESIGNATES_G0[token]
            elif token in _DESIGNATES_G1:
                g1 = _DESIGNATES_G1[token]
            else:
                out.append("\x1b" if len(token) == 1 else token.decode("ascii"))
                good = False
            continue
        text, fine, back = _decode_run(token, g0, g1)
        out.append(text)
        good = good and fine
        if token[0] < 0x80 and (back or g0 == "ascii"):
            g0 = "ascii"
            # Without an initial G1 a designation is kept: many senders give it once a value, not once a component.
            if initial and ends.search(text):
                g1 = initial
    return "".join(out), good


def _decode_run(token: bytes, g0: str, g1: str) -> tuple[str, bool, bool]:
    """One run of bytes of one half: the text, whether it was fine, whether G0 went back to ASCII in it."""
    if token[0] < 0x80:
        if g0 == "ascii":
            return token.decode("ascii"), True, False
        pairs = re.match(rb"[\x21-\x7e]*", token)
        stop = pairs.end() if pairs else 0  # a control character or space ends what was not ended by an escape
        text, fine = _decode_with(g0.encode("ascii") + token[:stop] + b"\x1b(B", "iso2022_jp_2")
        return text + token[stop:].decode("ascii"), fine, stop < len(token)
    if not g1:
        return _REPLACEMENT * len(token), False, False
    if g1 == "shift_jis" and not all(0xA1 <= byte <= 0xDF for byte in token):
        return "".join(chr(0xFEC0 + b) if 0xA1 <= b <= 0xDF else _REPLACEMENT for b in token), False, False
    return (*_decode_with(token, g1), False)


def _decode_with(data: bytes, codec: str) -> tuple[str, bool]:
    try:
        return data.decode(codec), True
    except UnicodeDecodeError:
        return data.decode(codec, "replace"), False


def encode(text: str, charsets: tuple[str, ...] = (), vr: str = "LO") -> bytes:
    """The bytes of `text` in `charsets`; a character that none of them has becomes a question mark. Not padded."""
    if text.isascii():
        return text.encode("ascii")
    first = charsets[0] if charsets else ""
    whole = next((_WHOLE[term] for term in charsets if term in _WHOLE), "")
    if whole:
        return text.encode(whole, "replace")
    numbers = [match[2] for match in map(_TERM.match, charsets) if match]
    if len(charsets) == 1 and numbers and numbers[0] in _G1 and numbers[0] not in ("13", "149", "58"):
        return text.encode(_G1[numbers[0]][0], "replace")
    ends = "\\\\^=\n\f\r\t" if vr == "PN" else "\\\\\n\f\r\t"
    initial = first.rpartition(" ")[2]
    parts = re.split(f"([{ends}])", text)
    return b"".join(b"".join(_encode_component(part, numbers, initial)) for part in parts)


def _encode_component(text: str, numbers: list[str], initial: str) -> Iterator[bytes]:
    """One component, beginning and ending in the initial sets (PS3.5 6.1.2.5.3)."""
    plain = b"\x1b(J" if initial == "13" else b"\x1b(B"  # the G0 of JIS X 0201 is not ASCII (PS3.3 Table C.12-2)
    own = _G1[initial][1] if initial in _G1 and initial not in ("149", "58") else b""
    g0, g1 = plain, own
    for character in text:
        coded = None if character.isascii() else _encode_character(character, numbers)
        escape, data = coded or (plain, character.encode("ascii", "replace"))
        if data[0] < 0x80:
            if escape != g0:
                yield escape
                g0 = escape
        elif escape != g1:
            yield escape
            g1 = escape
        yield data
    if g0 != plain:
        yield plain
    if own and g1 != own:
        yield own


def _encode_character(character: str, numbers: list[str]) -> tuple[bytes, bytes] | None:
    """Designation and bytes of one character in the first set that has it; None if none does."""
    for number in numbers:
        try:
            if number in _G0:
                escape, coded = _G0[number], character.encode("iso2022_jp_2")
                if coded.startswith(escape):
                    return escape, coded.removeprefix(escape).removesuffix(b"\x1b(B")
            elif number == "13":
                if 0xFF61 <= ord(character) <= 0xFF9F:
                    return _G1[number][1], bytes([ord(character) - 0xFEC0])
            elif number in _G1:
                return _G1[number][1], character.encode(_G1[number][0])
        except UnicodeEncodeError:
            continue
    return None
