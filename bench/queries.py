"""Queries of archives with 10,000 and with 100,000 studies: each by C-FIND and by QIDO-RS.

What the studies say comes from `bench.seeding`: ours gets it straight into its index, Orthanc by C-STORE as objects of
some 90 elements. The questions of a row go round so many studies, and each has as many matches in either size. Zip
files are in `bench.pictures`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache, partial
from urllib.parse import quote, urlencode

from bench import probes
from bench.objects import Item, element, even, padded
from bench.peers import Orthanc, Ours, Server
from bench.seeding import fillers, name_of, seed, unindexed, values_of
from bench.sender import send
from bench.workload import Bench, Measure, Row
from sagittal.dicom.dictionary import vr_of

QUERY_LEVEL = 0x00080052
_NAME, _STUDY, _SERIES, _DATE = 0x00100010, 0x0020000D, 0x0020000E, 0x00080020
_STORE_AT_ONCE = 1_000
_ROUND = 16  # studies that the questions of a row go round


class Ours10k(Ours):
    studies = 10_000

    def command(self) -> list[str]:
        if not (self.folder / "data").exists():
            seed(self.folder / "data", self.studies)
        return super().command()


class Ours100k(Ours10k):
    studies = 100_000


class Orthanc10k(Orthanc):
    studies = 10_000

    def fill(self) -> None:
        filled = self.folder / "filled"
        if filled.exists():
            return
        for first in range(0, self.studies, _STORE_AT_ONCE):
            stored = send(self, [item_of(number) for number in range(first, first + _STORE_AT_ONCE)], 4)
            if stored.refused:
                raise probes.Wrong(f"{stored.refused} objects were refused")
        filled.touch()


def item_of(number: int) -> Item:
    """The only object of a study, as small as it may be."""
    values = values_of(number, 0) | unindexed(number, 0)
    encoded = {tag: (vr, even(text)) for tag, (vr, text) in fillers().items()}
    encoded |= {tag: (vr_of(tag), _encoded(vr_of(tag), text)) for tag, text in values.items()}
    shape = {0x00280002: 1, 0x00280010: 32, 0x00280011: 48, 0x00280101: 16, 0x00280102: 15, 0x00280103: 0}
    encoded |= {tag: ("US", struct.pack("<H", value)) for tag, value in shape.items()}
    encoded[0x00280004] = "CS", b"MONOCHROME2 "
    pixels = memoryview(bytes(32 * 48 * 2))
    header = b"".join(element(tag, *value) for tag, value in sorted(encoded.items()))
    header += struct.pack("<HH2sHI", 0x7FE0, 0x0010, b"OW", 0, len(pixels))
    sop_class, instance, study, series, patient, date = map(
        values.__getitem__, (0x00080016, 0x00080018, _STUDY, _SERIES, 0x00100020, _DATE)
    )
    return Item(sop_class, instance, study, series, patient, date, header, pixels)


def _encoded(vr: str, text: str) -> bytes:
    return padded(text) if vr == "UI" else struct.pack("<H", int(text)) if vr == "US" else even(text)


@dataclass(frozen=True)
class Query:
    """`keys` of a question about the study of a number, and how many matches it has."""

    key: str
    title: str
    keys: Callable[[int], dict[int, str]]
    matches: int | Callable[[int, int], int] = 1  # of the number, among so many studies
    level: str = "STUDY"
    bar: float = 2
    indexed: bool = True
    hierarchical: bool = True  # C-FIND names the study and series of what it asks for (PS3.4 C.4.1.2.1)

    def questions(self, studies: int) -> tuple[list[dict[int, str]], int]:
        """Of an archive with so many studies, and the matches of each."""
        middle = studies // 2
        if callable(self.matches):  # then it is the same question each time
            return [self.keys(middle)], self.matches(middle, studies)
        return [self.keys(middle + 20 * n) for n in range(_ROUND if self.indexed else 1)], self.matches


def _values(*tags: int) -> Callable[[int], dict[int, str]]:
    return lambda number: {tag: values_of(number, 0)[tag] for tag in tags}


def _days(number: int, count: int = 100) -> str:
    return f"{values_of(number, 0)[0x00080020]}-{values_of(number + count - 1, 0)[0x00080020]}"


def _beginning(number: int) -> str:
    family, _, given = name_of(number).partition("^")
    return f"{family}^{given[:2]}*"


def _inside(number: int) -> str:
    family, _, given = name_of(number).partition("^")
    return f"*{family[2:]}^{given[:3]}*"


@cache
def _with_inside(number: int, studies: int) -> int:
    pattern = _inside(number).lower()
    return sum(fnmatchcase(name_of(n).lower(), pattern) for n in range(studies))


QUERIES = (
    Query("study-uid", "Study Instance UID", _values(_STUDY)),
    Query("patient-id", "Patient ID", _values(0x00100020), 2),
    Query("accession", "Accession Number", _values(0x00080050)),
    Query("name", "Patient's Name, exact", _values(_NAME), 2),
    Query("prefix", "Patient's Name, `begin*`", lambda n: {_NAME: _beginning(n)}, 2),
    Query("date", "Study Date", _values(_DATE)),
    Query("range", "Study Date, range with 100 studies", lambda n: {_DATE: _days(n)}, 100),
    Query("modalities", "Modalities in Study and a range", lambda n: {_DATE: _days(n), 0x00080061: "MR"}, 25),
    Query(
        "modality",
        "Modality of series and a range",
        lambda n: {_DATE: _days(n), 0x00080060: "MR"},
        25,
        "SERIES",
        hierarchical=False,
    ),
    Query("of-study", "Modality of the series of a study", _values(_STUDY, 0x00080060), 1, "SERIES"),
    Query("series-uid", "Series Instance UID", _values(_STUDY, _SERIES), 1, "SERIES"),
    Query("instance-uid", "SOP Instance UID", _values(_STUDY, _SERIES, 0x00080018), 1, "IMAGE"),
    Query("wildcard", "Patient's Name, `*middle*`", lambda n: {_NAME: _inside(n)}, _with_inside, indexed=False),
    Query(
        "unindexed",
        "Plate ID among 10,000 instances in a range",
        lambda n: {_DATE: _days(0, 10_000), 0x00181004: unindexed(n, 0)[0x00181004]},
        1,
        "IMAGE",
        bar=10,
        indexed=False,
        hierarchical=False,
    ),
)
_RESOURCES = {"STUDY": "studies", "SERIES": "series", "IMAGE": "instances"}
_OWN: dict[str, tuple[int, ...]] = {"STUDY": (), "SERIES": (_SERIES, 0x00080060), "IMAGE": (_SERIES, 0x00080018)}


def _find(query: Query, server: Server, bench: Bench) -> float:
    questions, matches = query.questions(_studies(server))
    own = dict.fromkeys(_OWN[query.level], "") | {QUERY_LEVEL: query.level}
    return probes.paced(probes.find(server, [own | keys for keys in questions], matches), server) * 1000


def _qido(query: Query, server: Server, bench: Bench) -> float:
    questions, matches = query.questions(_studies(server))
    paths = [f"{_RESOURCES[query.level]}?{_parameters(keys)}" for keys in questions]
    return probes.paced(probes.qido(server, paths, matches), server) * 1000


def _parameters(keys: dict[int, str]) -> str:
    """Orthanc leaves `%5E` as it is."""
    return urlencode({f"{tag:08X}": text for tag, text in keys.items()}, quote_via=quote, safe="^*")


def _studies(server: Server) -> int:
    assert isinstance(server, Ours10k | Orthanc10k)
    return server.studies


def _rows() -> Iterator[Row]:
    kinds: tuple[tuple[str, str, Callable[[Query, Server, Bench], float]], ...]
    kinds = (("find", "C-FIND", _find), ("qido", "QIDO", _qido))
    for query in QUERIES:
        for key, title, function in kinds:
            if key == "find" and not query.hierarchical:
                continue
            measure: Measure = partial(function, query)
            named = f"{title}, {query.title}"
            peers: tuple[type[Server], ...] = (Orthanc10k,)
            yield Row(f"{key}-{query.key}", named, "ms", query.bar, Ours10k, peers, measure, lower=True, lasting=True)
            if query.indexed:
                peers = (Ours10k,)
                more = f"{named}: of 100,000 / of 10,000"
                yield Row(
                    f"flat-{key}-{query.key}", more, "ms", 1 / 1.5, Ours100k, peers, measure, lower=True, lasting=True
                )


ROWS = tuple(_rows())
