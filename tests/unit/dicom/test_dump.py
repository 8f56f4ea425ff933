"""The text of a file: every element, escaped, up to the defect."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from sagittal.dicom import dump
from sagittal.dicom.elements import encode, encode_numbers, encode_sequence
from sagittal.dicom.part10 import meta_group
from sagittal.dicom.syntaxes import DEFLATED_LE, EXPLICIT_BE, EXPLICIT_LE, IMPLICIT_LE, syntax
from sagittal.errors import Malformed

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom")
CT = "1.2.840.10008.5.1.4.1.1.2"


def file(uid: str, *elements: tuple[int, str, bytes]) -> bytes:
    return meta_group(CT, "1.2.3", uid) + encode(elements, syntax(uid))


def lines(data: bytes, piece: int = 50, **options: bool) -> list[str]:
    return list(dump.lines((data[start : start + piece] for start in range(0, len(data), piece)), **options))


@pytest.mark.parametrize("uid", [IMPLICIT_LE, EXPLICIT_LE, EXPLICIT_BE, DEFLATED_LE])
def test_lines_of_a_file(uid: str) -> None:
    row = syntax(uid) if uid != DEFLATED_LE else syntax(EXPLICIT_LE)
    item = encode([(0x00080104, "LO", b"Inner")], row)
    found = lines(
        file(
            uid,
            (0x00080016, "UI", CT.encode()),
            (0x00081140, "SQ", encode_sequence([item], row)),
            (0x00100010, "PN", b"Doe^Jane"),
            (0x00280009, "AT", encode_numbers("AT", [0x00181063], row)),
            (0x00280010, "US", encode_numbers("US", [512], row)),
            (0x00280030, "DS", b"0.5\\0.5 "),
            (0x00100020, "LO", b""),
        )
    )
    assert found[0] == "# Dicom-Meta-Information-Header"
    assert "(0002,0010) UI =" + syntax(uid).keyword in "\n".join(found)
    body = [
        re.sub(r" +", " ", line) for line in found[found.index(f"# Dicom-Data-Set, {syntax(uid).name} ({uid})") + 1 :]
    ]
    assert body == [
        "(0008,0016) UI =CTImageStorage # 26, 1 SOPClassUID",
        "(0008,1140) SQ (Sequence with explicit length) # " + body[1].split("# ")[1],
        " (fffe,e000) na (Item with explicit length) # " + body[2].split("# ")[1],
        " (0008,0104) LO [Inner] # 6, 1 CodeMeaning",
        " (fffe,e00d) na (ItemDelimitationItem) # 0, 0 ItemDelimitationItem",
        "(fffe,e0dd) na (SequenceDelimitationItem) # 0, 0 SequenceDelimitationItem",
        "(0010,0010) PN [Doe^Jane] # 8, 1 PatientName",
        "(0010,0020) LO (no value available) # 0, 0 PatientID",
        "(0028,0009) AT (0018,1063) # 4, 1 FrameIncrementPointer",
        "(0028,0010) US 512 # 2, 1 Rows",
        "(0028,0030) DS [0.5\\0.5] # 8, 2 PixelSpacing",
    ]


def test_control_characters_are_escaped() -> None:
    found = "\n".join(lines(file(EXPLICIT_LE, (0x00104000, "LT", b"a\x1b[2Jb\r\nc\x00"), (0x00100010, "PN", b"\xe9"))))
    assert "\x1b" not in found and "[a\\x1b[2Jb\\r\\nc]" in found


def test_character_set_of_the_data_set_and_of_an_item() -> None:
    row = syntax(EXPLICIT_LE)
    item = encode([(0x00080005, "CS", b"ISO_IR 192"), (0x00080104, "LO", "é".encode())], row)
    data = file(
        EXPLICIT_LE,
        (0x00080005, "CS", b"ISO_IR 100"),
        (0x00081140, "SQ", encode_sequence([item], row)),
        (0x00100010, "PN", b"\xe9"),
    )
    assert sum("[é]" in line for line in lines(data)) == 2


def test_long_values_are_cut_unless_all_is_asked_for() -> None:
    data = file(EXPLICIT_LE, (0x00104000, "LT", b"x" * 1000), (0x7FE00010, "OW", b"\x01\x02" * 500))
    short, full = lines(data), lines(data, full=True)
    assert "x" * 64 + "...]" in short[-2] and "x" * 1000 + "]" in full[-2]
    assert "0201\\0201" in short[-1] and len(short[-1]) < 120
    assert full[-1].count("0201") == 500


def test_private_elements_by_creator() -> None:
    data = file(
        EXPLICIT_LE,
        (0x00090010, "LO", b"GEMS_IDEN_01"),
        (0x00091001, "LO", b"GE"),
        (0x00091099, "UN", b"xx"),
        (0x00111001, "UN", b"xx"),
    )
    names = [line.rsplit("# ", 1)[1].strip() for line in lines(data)[-4:]]
    assert names == ["12, 1 PrivateCreator", "2, 1 Full fidelity", "2, 1 PrivateTag", "2, 1 PrivateTag"]


def test_un_of_a_known_attribute_is_shown_as_what_it_means() -> None:
    found = lines(file(EXPLICIT_BE, (0x00100020, "UN", b"7 "), (0x00280010, "UN", b"\0\x02")))
    assert "LO" not in found[-2] and "UN [7]" in found[-2] and "UN 512" in found[-1]


def test_fragments() -> None:
    fragments = b"\xfe\xff\x00\xe0\0\0\0\0\xfe\xff\x00\xe0\x04\0\0\0\xff\xd8\xff\xd9\xfe\xff\xdd\xe0\0\0\0\0"
    data = meta_group(CT, "1.2.3", "1.2.840.10008.1.2.4.50") + b"\xe0\x7f\x10\0OB\0\0\xff\xff\xff\xff" + fragments
    found = lines(data)
    assert "(Pixel Sequence with undefined length)" in found[-4] and "# u/l, 1 PixelData" in found[-4]
    assert "pi ff\\d8\\ff\\d9" in found[-2]


def test_a_damaged_file_is_shown_up_to_its_defect() -> None:
    data = file(EXPLICIT_LE, (0x00100010, "PN", b"Doe^Jane"), (0x00100020, "LO", b"12345678"))[:-4]
    seen: list[str] = []
    with pytest.raises(Malformed):
        seen.extend(dump.lines([data]))
    with pytest.raises(Malformed):
        for line in dump.lines([data]):
            seen.append(line)
    assert "PatientName" in seen[-1]


def test_not_dicom() -> None:
    with pytest.raises(Malformed):
        lines(b"PK\x03\x04" + bytes(500))


def test_tolerated_defects_of_the_head_are_named() -> None:
    assert "# tolerated: no-preamble" in lines(encode([(0x00080016, "UI", b"1.2")], syntax(EXPLICIT_LE)))


def test_metadata_is_the_readers() -> None:
    data = file(EXPLICIT_LE, (0x00080016, "UI", CT.encode()), (0x00100010, "PN", b"Doe^Jane"))
    found = json.loads("".join(dump.metadata([data[:200], data[200:]])))
    assert found["00100010"]["Value"] == [{"Alphabetic": "Doe^Jane"}]


def test_every_element_of_pydicoms_files_is_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    import pydicom

    # A sequence that came as UN of defined length stays UN here.
    monkeypatch.setattr(pydicom.config, "replace_un_with_known_vr", False)

    for path in sorted((Path(pydicom.__file__).parent / "data/test_files").glob("*.dcm")):
        if path.stat().st_size > 300_000:
            continue
        expected = [element.tag for element in _all(pydicom.dcmread(path, force=True)) if element.tag >> 16 > 2]
        seen: list[str] = []
        try:
            for line in dump.lines([path.read_bytes()]):
                seen.append(line.strip())
        except Malformed:
            assert path.name in {"MR_truncated.dcm", "rtplan_truncated.dcm", "no_meta.dcm"}, path.name
            continue
        tags = [int(line[1:5] + line[6:10], 16) for line in seen if line.startswith("(")]
        assert [tag for tag in tags if tag >> 16 > 2 and tag >> 16 != 0xFFFE] == expected, path.name


def _all(data_set):  # type: ignore[no-untyped-def]
    for element in data_set:
        yield element
        if element.VR == "SQ":
            for item in element.value:
                yield from _all(item)
