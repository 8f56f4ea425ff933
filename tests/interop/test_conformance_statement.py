"""The conformance statement against a running archive: every SOP class in every transfer syntax, every option."""

from __future__ import annotations

import asyncio
import re

import httpx
import pytest
from builders import build
from conftest import Served
from conftest import sagittal_here as sagittal
from pydicom.charset import python_encoding

from sagittal.conformance import statement
from sagittal.dicom.sopclasses import STUDY_ROOT_FIND, STUDY_ROOT_GET, STUDY_ROOT_MOVE, WELL_KNOWN
from sagittal.dicom.syntaxes import EXPLICIT_LE, SYNTAXES
from sagittal.net.client import Peer, Proposal, connect

IMAGE = build(1, rows=8, columns=8)
PRIVATE = "1.2.826.0.1.3680043.9.9999.77"
UID = re.compile(r"[0-2](\.[0-9]+)+\Z")


def rows(heading: str) -> list[list[str]]:
    """The rows of every table below a heading of the printed statement."""
    part = re.split(rf"^#+ [0-9.]+ {heading}$", statement(), flags=re.MULTILINE)[1]
    part = re.split(r"^#+ ", part, maxsplit=1, flags=re.MULTILINE)[0]
    lines = [line for line in part.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("| \n").split(" | ")] for line in lines]


def stated() -> set[tuple[str, str]]:
    """SOP class and transfer syntax of every context that the statement says is accepted with us as SCP."""
    text = statement()
    sets = {
        name: re.findall(r"\| ([0-9.]+) \|$", body, re.MULTILINE)
        for name, body in re.findall(r"^Set ([A-Z]):\n(.*?)(?=^Set |^#|^Refused)", text, re.MULTILINE | re.DOTALL)
    }
    found = set()
    for line in re.findall(
        r"^\| .* \|$", re.split(r"^### 1.1 Content and transfer$", text, flags=re.MULTILINE)[1], re.MULTILINE
    ):
        cells = [cell.strip() for cell in line[1:-1].split("|")]
        if len(cells) == 6 and UID.match(cells[2]) and cells[3] == "yes":
            found |= {(cells[2], syntax) for syntax in sets[cells[5]]}
    return found


async def accepted(peer: Peer, asked: list[tuple[str, str]], role: str) -> set[tuple[str, str]]:
    """What the archive accepts of these contexts; `role` is ours."""
    found = set()
    for batch in (asked[at : at + 128] for at in range(0, len(asked), 128)):
        async with await connect(peer, "ASKING", [Proposal(*pair, role) for pair in map(_lists, batch)]) as association:
            found |= {
                (each.abstract_syntax, each.transfer_syntax)
                for each in association.info.contexts
                if (each.peer_scp if role == "scu" else each.peer_scu)
            }
    return found


def _lists(pair: tuple[str, str]) -> tuple[str, list[str]]:
    return pair[0], [pair[1]]


def peer_of(server: Served) -> Peer:
    return Peer(server.aet, server.host, server.port)


def test_what_is_stated_is_what_is_negotiated(shared_server: Served) -> None:
    classes = [uid for uid, row in WELL_KNOWN.items() if row.kind in "TCM"]
    asked = [(sop_class, syntax) for sop_class in classes for syntax in SYNTAXES]
    expected = stated()
    assert len(expected) > 1000
    assert asyncio.run(accepted(peer_of(shared_server), asked, "scu")) == expected


def test_classes_that_nobody_knows_are_stored(shared_server: Served) -> None:
    asked = [(PRIVATE, EXPLICIT_LE), (PRIVATE, "1.2.826.0.1.3680043.9.9999.78")]
    assert asyncio.run(accepted(peer_of(shared_server), asked, "scu")) == set(asked)


def test_our_scu_role_is_granted_where_it_is_stated(shared_server: Served) -> None:
    scu = {row[2] for row in rows("Content and transfer") if len(row) == 6 and row[4] == "yes"}
    classes = [uid for uid, row in WELL_KNOWN.items() if row.kind in "TCM"]
    asked = [(uid, EXPLICIT_LE) for uid in classes]
    assert {uid for uid, _ in asyncio.run(accepted(peer_of(shared_server), asked, "scp"))} == scu != set()


@pytest.mark.parametrize(("sop_class", "column"), [(STUDY_ROOT_FIND, 1), (STUDY_ROOT_MOVE, 2), (STUDY_ROOT_GET, 2)])
async def test_options_are_granted_as_stated(shared_server: Served, sop_class: str, column: int) -> None:
    table = [row + [""] * (3 - len(row)) for row in rows("Extended negotiation")[1:]]
    options = [row[column] == "granted" for row in table if row[column]]
    contexts = [Proposal(sop_class, [EXPLICIT_LE])]
    extended = {sop_class: bytes([1] * len(options))}
    async with await connect(peer_of(shared_server), "ASKING", contexts, extended=extended) as association:
        assert association.info.extended.get(sop_class, bytes(len(options))) == bytes(options)


# PS3.2 N
SECTIONS = [
    "1 Overview", "2 Table of contents", "3 Introduction", "4 Implementation model",
    "5 Service and interoperability description", "6 Configuration", "7 Network and media communication details",
    "8 Security",
]  # fmt: skip


def test_the_sections_are_those_of_the_template() -> None:
    assert re.findall(r"^## (.*)$", statement(), re.MULTILINE) == SECTIONS
    assert re.findall(r"^- (.*)$", statement().split("## 3")[0].split("## 2")[1], re.MULTILINE) == SECTIONS


def test_who_works_in_which_store_is_stated() -> None:
    assert len(rows("Stores")) == 1 + 4
    assert ["`called_aets`", "`()`"] in rows("Fields of a store")
    assert ["`store`", "``"] in rows("Nodes of the AE table")


@pytest.mark.parametrize(
    ("heading", "said"),
    [
        ("Query", "Retrieve AE Title (0008,0054) and Instance Availability (0008,0056), which is `ONLINE`"),
        ("Query", "left out where none is known (PS3.4 C.4.1.1.3.2)"),
        ("DICOM Web services", "200 with an empty list (PS3.18 10.6.3 and 11.9.3 of 2026a"),
        ("DICOM Web services", "Retrieve URL (0008,1190), Retrieve AE Title (0008,0054) and Instance Availability"),
    ],
)
def test_what_an_answer_has_is_stated(heading: str, said: str) -> None:
    parts = re.split(rf"^#+ [0-9.]+ {heading}$", statement(), flags=re.MULTILINE)[1:]
    texts = [" ".join(re.split(r"^#+ ", part, maxsplit=1, flags=re.MULTILINE)[0].split()) for part in parts]
    assert any(said in text for text in texts)


def test_services_are_used_that_a_command_uses() -> None:
    """The commands listed further down; the archive's own SCUs are of the table before."""
    commands = {row[1] for row in rows("The commands")[1:]}
    classes = {row[2]: row[0] for row in rows("Content and transfer")[1:]}
    used = {classes[uid] for uid in commands & classes.keys()} | {"Storage"}
    stated = {row[0].partition(" (")[0]: row[1] == "yes" for row in rows("DIMSE services")[1:] if len(row) == 3}
    assert {name for name, yes in stated.items() if yes} == used
    assert not stated["Composite Instance Get"]


def test_character_sets_are_those_of_pydicom_and_one_more() -> None:
    stated = {row[0].strip("`") for row in rows("Specific character sets")[1:]}
    misspelt = {"", "ISO 2022 GBK", "ISO 2022 58"}  # which pydicom takes too
    assert stated == (python_encoding.keys() - misspelt) | {"ISO_IR 203", "ISO 2022 IR 203"}


def test_refusals_of_frames_are_stated() -> None:
    stated = {row[0]: row[2] for row in rows("Retrieve")[1:]}
    assert {f"AA0{number}" for number in range(5)} | {"0000", "A801", "A900", "C000"} <= stated.keys()
    assert stated["AA00"] == "of frames: none of the frames requested were found in the SOP Instance"


def test_paths_are_told_without_the_words_of_the_router() -> None:
    assert ":path" not in statement()


def test_the_command_prints_it() -> None:
    done = sagittal("conformance")
    assert done.returncode == 0
    assert done.stdout == statement()


def test_parameters_that_are_stated_are_read(shared_server: Served) -> None:
    """One that is left out of the code would be ignored, or taken for a key."""
    stated = {service: set(re.findall(r"`(\w+)`", names)) for service, names in rows("Query parameters")}
    base = shared_server.http + "/dicom-web"
    assert httpx.post(f"{base}/studies", content=IMAGE.part10, headers={"content-type": "application/dicom"}).is_success
    instance = f"studies/{IMAGE.study_uid}/series/{IMAGE.series_uid}/instances/{IMAGE.sop_instance_uid}"
    free = {"accept", "charset", "after", "reason", "requestType", "studyUID", "seriesUID", "objectUID", "contentType"}

    def refused(path: str, names: set[str]) -> set[str]:
        return {name for name in names - free if not httpx.get(path, params={name: "no, such: thing"}).is_success}

    for service, path in (
        ("Search of studies, series, instances", f"{base}/studies"),
        ("Search of non-patient instances", f"{base}/color-palettes"),
        ("Retrieve Rendered", f"{base}/{instance}/rendered"),
        ("Retrieve Thumbnail", f"{base}/{instance}/thumbnail"),
    ):
        assert refused(path, stated[service]) == stated[service] - free, service
    uri = stated["URI service, at `/wado`"]
    wado = (
        f"requestType=WADO&studyUID={IMAGE.study_uid}&seriesUID={IMAGE.series_uid}&objectUID={IMAGE.sop_instance_uid}"
    )
    asked = {name: httpx.get(f"{shared_server.http}/wado?{wado}&{name}=no").status_code for name in uri - free}
    assert set(asked.values()) <= {400, 404, 406}, asked
    assert httpx.get(f"{shared_server.http}/wado?{wado}&other=no").is_success
