"""QIDO-RS against a made-up archive: what is asked of the engine, and what becomes of its rows."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from sagittal.archive.query import Private, Rows
from sagittal.errors import BadRequest, LimitExceeded
from sagittal.limits import Limits, ReaderLimits, WebLimits
from sagittal.web.house import Settings
from sagittal.web.search.levels import DEFAULTS, SERIES_UID, STUDY_UID

PATIENT_ID, PATIENT_NAME, STUDY_DATE, MODALITIES = 0x00100020, 0x00100010, 0x00080020, 0x00080061
REQUEST = 0x00400275


def asked(web: Any, path: str) -> Any:
    answer = web.get("/dicom-web" + path)
    assert answer.status_code == 200, answer.text
    return web.archive.queries[-1]


@pytest.mark.parametrize(
    ("query", "keys"),
    [
        ("", {}),
        ("PatientID=A", {PATIENT_ID: "A"}),
        ("00100020=A", {PATIENT_ID: "A"}),
        ("PatientName=*ob%C3%A9*", {PATIENT_NAME: "*obé*"}),
        ("StudyDate=20200101-20201231", {STUDY_DATE: "20200101-20201231"}),
        ("StudyInstanceUID=1.2,1.3", {STUDY_UID: "1.2\\1.3"}),
        ("StudyInstanceUID=1.2%5C1.3", {STUDY_UID: "1.2\\1.3"}),
        ("StudyInstanceUID=1.2&StudyInstanceUID=1.3", {STUDY_UID: "1.2\\1.3"}),
        ("ModalitiesInStudy=CT&ModalitiesInStudy=MR", {MODALITIES: "CT\\MR"}),
        ("ModalitiesInStudy=CT%2CMR", {MODALITIES: "CT\\MR"}),
        ("PatientName=Doe,Jane", {PATIENT_NAME: "Doe,Jane"}),
        ("PatientID=", {PATIENT_ID: ""}),
        ("PatientID=A+B", {PATIENT_ID: "A B"}),
        ("fuzzymatching=false&PatientID=A", {PATIENT_ID: "A"}),
        ("SeriesDescription=x", {0x0008103E: "x"}),
        ("PatientComments=*x*", {0x00104000: "*x*"}),
        ("00091002=x&00090010=ACME", {Private("ACME", 0x00090002): "x"}),
        ("00090011=ACME&000911FF=", {Private("ACME", 0x000900FF): ""}),
        ("00090010=ACME", {0x00090010: "ACME"}),
        ("00090010=ACME&00091102=x&00090011=OTHER", {0x00090010: "ACME", Private("OTHER", 0x00090002): "x"}),
        ("RequestAttributesSequence=", {REQUEST: ""}),
        ("00400275.00081080=x", {REQUEST: {0x00081080: "x"}}),
        (
            "RequestAttributesSequence.ScheduledProcedureStepID=7&00400275.RequestedProcedureID=8",
            {REQUEST: {0x00400009: "7", 0x00401001: "8"}},
        ),
        ("RequestAttributesSequence=&00400275.00400009=7", {REQUEST: {0x00400009: "7"}}),
        ("00400275.00400009=7&RequestAttributesSequence=", {REQUEST: {0x00400009: "7"}}),
        ("00400275.00400008.CodeValue=7", {REQUEST: {0x00400008: {0x00080100: "7"}}}),
        ("00400275.00091002=x&00400275.00090010=ACME", {REQUEST: {Private("ACME", 0x00090002): "x"}}),
        ("00091003.CodeValue=x&00090010=ACME", {Private("ACME", 0x00090003): {0x00080100: "x"}}),
        ("ReferencedStudySequence.ReferencedSOPInstanceUID=1.2,1.3", {0x00081110: {0x00081155: "1.2\\1.3"}}),
        ("TimezoneOffsetFromUTC=", {}),
        ("SpecificCharacterSet=ISO_IR%20100&PatientID=A", {PATIENT_ID: "A"}),
        ("AcquisitionDateTime=2020010112+0100-2021", {0x0008002A: "2020010112+0100-2021"}),
        ("AcquisitionDateTime=2020-20200102%2B0100", {0x0008002A: "2020-20200102+0100"}),
    ],
)
def test_keys(web: Any, query: str, keys: dict[Any, Any]) -> None:
    assert asked(web, "/studies?" + query).keys == keys


def test_keys_of_the_address(web: Any) -> None:
    query = asked(web, "/studies/1.2/series/1.3/instances?InstanceNumber=4")
    assert query.level == "IMAGE"
    assert query.keys == {STUDY_UID: "1.2", SERIES_UID: "1.3", 0x00200013: "4"}
    assert asked(web, "/studies/1.2/instances").keys == {STUDY_UID: "1.2"}
    assert asked(web, "/studies/1.2/series").level == "SERIES"
    for same in ("1.2", "1.3,1.2", "*", ""):
        assert asked(web, f"/studies/1.2/series?StudyInstanceUID={same}").keys == {STUDY_UID: "1.2"}
    assert web.get("/dicom-web/studies/1.2/series?StudyInstanceUID=1.3").status_code == 400


def test_how_it_is_matched(web: Any) -> None:
    plain = asked(web, "/studies")
    assert plain.combined_datetime  # PS3.18 8.3.4.1: as if it had been negotiated
    assert not (plain.fuzzy or plain.empty_value or plain.multiple_value or plain.timezone)
    flags = "fuzzymatching=true&emptyvaluematching=TRUE&multiplevaluematching=true&TimezoneOffsetFromUTC=-0530"
    query = asked(web, "/studies?" + flags.replace("+", "%2B"))
    assert (query.fuzzy, query.empty_value, query.multiple_value, query.timezone) == (True, True, True, "-0530")
    assert not asked(web, "/studies?fuzzymatching=false").fuzzy
    for plus in ("+", "%2B"):
        assert asked(web, f"/studies?TimezoneOffsetFromUTC={plus}0100").timezone == "+0100"


def test_order(web: Any) -> None:
    query = asked(web, "/studies?orderby=-StudyDate,PatientName&orderby=00100020")
    assert query.order == ((STUDY_DATE, True), (PATIENT_NAME, False), (PATIENT_ID, False))
    again = asked(web, "/studies?orderby=" + ",".join(["-StudyDate", "StudyDate"] * 1_500))  # SQLite takes 2,000 terms
    assert again.order == ((STUDY_DATE, True),)


@pytest.mark.parametrize(
    "query",
    [
        "Nonsense=1",
        "0010002=1",
        "99990000=1",
        "00080000=1",  # group length
        "00020010=1.2",  # of the file, not of the data set
        "00000100=1",
        "00091001=x",  # whose?
        "00091001=x&00090011=ACME",
        "00091001=x&00090010=",
        "00090001=x",
        "includefield=00091001",
        "RequestAttributesSequence=x",
        "PatientID.StudyID=x",
        "00400275.Nonsense=x",
        "00400275.=x",
        ".00400275=x",
        "TimezoneOffsetFromUTC=x",
        "includefield=Nonsense",
        "limit=-1",
        "limit=x",
        "limit=",
        "offset=1.5",
        "offset=9999999999999",
        "fuzzymatching=yes",
        "emptyvaluematching=",
        "PatientID=%FF",
        "=x",
        "orderby=SeriesDescription",
        "orderby=-",
        "orderby=00400275.00081080",
    ],
)
def test_what_cannot_be_asked(web: Any, query: str) -> None:
    for resource in ("/studies?", "/studies/count?"):
        answer = web.get(f"/dicom-web{resource}{query}")
        assert answer.status_code == 400
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["detail"]


def test_a_key_that_was_not_matched_is_refused(web: Any) -> None:
    """Leaving it out would answer too much."""
    web.archive.rows = Rows((STUDY_UID,), [("1.2",)], unmatched=frozenset({0x00104000, Private("ACME", 0x00090002)}))
    answer = web.get("/dicom-web/studies?PatientComments=x")
    assert answer.status_code == 400
    assert "00104000, ACME 00090002" in answer.json()["detail"]


@pytest.mark.parametrize("over", [-1, 0, 1])
def test_depth(web: Any, over: int) -> None:
    web.settings = Settings(limits=Limits(reader=ReaderLimits(depth_max=4)))
    path = ".".join(["00400275"] * (3 + over) + ["CodeValue"])
    assert web.get(f"/dicom-web/studies?{path}=x").status_code == (400 if over > 0 else 200)


def test_bytes_that_are_not_percent_encoded(web: Any) -> None:
    """As curl sends what it is given."""
    from sagittal.web.search.asked import parameters

    assert parameters("PatientName=Müller".encode(), 5) == [("PatientName", "Müller")]
    with pytest.raises(BadRequest):
        parameters(b"PatientName=M\xfcller", 5)


def test_attributes_that_are_answered(web: Any) -> None:
    assert asked(web, "/studies").include == DEFAULTS["STUDY"]
    assert asked(web, "/studies/1.2/series").include == DEFAULTS["SERIES"] | {STUDY_UID, REQUEST}
    assert asked(web, "/series").include == DEFAULTS["STUDY"] | DEFAULTS["SERIES"] | {REQUEST}
    known = DEFAULTS["STUDY"] | DEFAULTS["SERIES"] | DEFAULTS["IMAGE"]
    assert asked(web, "/instances").include == known
    one_series = asked(web, "/studies/1.2/series/1.3/instances").include
    assert one_series == DEFAULTS["IMAGE"] | {STUDY_UID, SERIES_UID}


def test_what_nobody_asked_for_does_not_hide_series(web: Any) -> None:
    web.archive.rows = Rows((STUDY_UID, SERIES_UID), [("1.2", "1.3")])
    web.archive.too_long = frozenset({REQUEST})
    assert len(web.get("/dicom-web/series").json()) == 1
    web.archive.too_long = frozenset({SERIES_UID})
    assert web.get("/dicom-web/series").status_code == 413


def test_includefield(web: Any) -> None:
    query = asked(web, "/studies?includefield=all")
    assert query.include_all and query.include == DEFAULTS["STUDY"]
    assert query.limit == WebLimits().results_whole_max
    # OHIF: one list, percent-encoded; what belongs to series is not of a study, and would cost a look at its objects
    query = asked(web, "/studies?includefield=00081030%2C00080060%2CSOPClassesInStudy&includefield=PatientComments")
    assert query.include == DEFAULTS["STUDY"] | {0x00080062, 0x00104000}
    assert not query.include_all
    query = asked(web, "/studies?includefield=00091002,00400275.00081080,RetrieveURL&00090010=ACME")
    assert query.include == DEFAULTS["STUDY"] | {Private("ACME", 0x00090002), (REQUEST, 0x00081080)}
    assert query.keys == {}


@pytest.mark.parametrize("over", [-1, 0, 1])
def test_limit(web: Any, over: int) -> None:
    web.settings = Settings(limits=Limits(web=WebLimits(results_max=5, results_default=3)))
    asked(web, f"/studies?limit={5 + over}&offset=7")
    assert (web.archive.queries[0].limit, web.archive.queries[0].offset) == (min(5, 5 + over), 7)
    assert asked(web, "/studies").limit == 3
    assert asked(web, "/studies?limit=0").limit == 0


@pytest.mark.parametrize("over", [-1, 0, 1])
def test_limit_of_whole_rows(web: Any, over: int) -> None:
    web.settings = Settings(limits=Limits(web=WebLimits(results_whole_max=5)))
    assert asked(web, f"/studies?limit={5 + over}&includefield=all").limit == min(5, 5 + over)
    assert asked(web, f"/studies?limit={5 + over}").limit == 5 + over


def test_whole_answers_are_made_one_at_a_time(web: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is megabytes; what others ask for does not wait."""
    under_way: list[int] = [0]

    async def find(principal: Any, query: Any, spare: Any) -> Rows:
        under_way.append(under_way[-1] + query.include_all)
        if query.include_all:
            await asyncio.sleep(0)
            under_way.append(under_way[-1] - 1)
        return Rows((STUDY_UID,), [])

    async def act(client: Any) -> list[Any]:
        paths = ["/studies?includefield=all"] * 4 + ["/studies"]
        return list(await asyncio.gather(*(client.get("/dicom-web" + path) for path in paths)))

    monkeypatch.setattr(web.archive, "find", find)
    assert [answer.status_code for answer in web.run(act)] == [200] * 5
    assert max(under_way) == 1 and len(under_way) == 10


def test_a_search_ends_with_the_client(web: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who gave up asks again, and those that still wait would wait for all of it."""
    ended: list[str] = []

    async def find(principal: Any, query: Any, spare: Any) -> Rows:
        try:
            await asyncio.wait_for(asyncio.Event().wait(), 10)
        finally:
            ended.append("ended")
        return Rows((STUDY_UID,), [])

    async def act(_: Any) -> None:
        messages = [{"type": "http.disconnect"}, {"type": "http.request", "body": b""}]
        path = "/dicom-web/studies"
        asking = {"type": "http", "method": "GET", "path": path, "raw_path": path.encode(), "query_string": b"",
                  "headers": [(b"host", b"localhost:8042")], "scheme": "http", "client": ("127.0.0.1", 1)}  # fmt: skip

        async def receive() -> Any:
            return messages.pop()

        async def send(message: Any) -> None:
            ended.append(message["type"])

        app = web.app()
        try:
            await app(asking, receive, send)
        finally:
            app.close()
            await app.house.workers.close()

    monkeypatch.setattr(web.archive, "find", find)
    web.run(act)
    assert ended == ["ended"]


def cut_says(number: str) -> str:
    return f"299 http://localhost:8042/dicom-web: There are {number}additional results that can be requested"


class TestCutAnswers:
    """PS3.18 8.3.4.4, and the way to the next page."""

    @pytest.fixture
    def cut(self, web: Any) -> Any:
        web.archive.rows = Rows((STUDY_UID,), [("1.2",), ("1.3",)], next="c/2+", more=True)
        web.archive.number = 12
        return web

    def test_warning(self, cut: Any) -> None:
        answer = cut.get("/dicom-web/studies?limit=2&offset=3&PatientID=A")
        assert answer.headers["warning"] == cut_says("7 ")

    def test_link(self, cut: Any) -> None:
        answer = cut.get("/dicom-web/studies?limit=2&offset=3&PatientName=D%C3%B6e*")
        assert answer.links["next"]["url"] == (
            "http://localhost:8042/dicom-web/studies?limit=2&PatientName=D%C3%B6e%2A&after=c%2F2%2B"
        )
        following = answer.links["next"]["url"].removeprefix("http://localhost:8042/dicom-web")
        query = asked(cut, following)
        assert (query.after, query.offset, query.keys) == ("c/2+", 0, {PATIENT_NAME: "Döe*"})

    def test_link_behind_a_proxy(self, cut: Any) -> None:
        cut.settings = Settings(public_url="https://pacs.example/archive/")
        cut.archive.rows = Rows((STUDY_UID, SERIES_UID), [("1.2", "1.3")], next="c1", more=True)
        answer = cut.get("/dicom-web/studies/1.2/series")
        assert answer.links["next"]["url"] == "https://pacs.example/archive/dicom-web/studies/1.2/series?after=c1"
        assert answer.json()[0]["00081190"]["Value"] == [
            "https://pacs.example/archive/dicom-web/studies/1.2/series/1.3"
        ]

    @pytest.mark.parametrize("query", ["PatientComments=x", "after=c1", "00400275.00081080=x"])
    def test_what_would_be_dear_to_count_is_not(self, cut: Any, query: str) -> None:
        answer = cut.get("/dicom-web/studies?" + query)
        assert answer.headers["warning"] == cut_says("")
        assert not cut.archive.counted

    @pytest.mark.parametrize(("number", "told"), [(5, "2 "), (13, "10 "), (14, "")])
    def test_counting_ends(self, cut: Any, number: int, told: str) -> None:
        """After one more than could be asked in one answer."""
        cut.settings = Settings(limits=Limits(web=WebLimits(results_max=10)))
        cut.archive.number = number
        answer = cut.get("/dicom-web/studies?limit=2&offset=1")
        assert answer.headers["warning"] == cut_says(f"{told}")
        assert cut.archive.counted[-1].limit == 14

    def test_what_cannot_be_counted(self, cut: Any) -> None:
        cut.archive.number = LimitExceeded("too long")
        answer = cut.get("/dicom-web/studies")
        assert answer.status_code == 200
        assert answer.headers["warning"] == cut_says("")

    def test_a_whole_answer_has_neither(self, web: Any) -> None:
        web.archive.rows = Rows((STUDY_UID,), [("1.2",)])
        assert not web.get("/dicom-web/studies").headers.keys() & {"warning", "link"}


@pytest.mark.parametrize(
    ("resource", "level", "keys"),
    [
        ("/studies", "STUDY", {}),
        ("/series", "SERIES", {}),
        ("/instances", "IMAGE", {}),
        ("/studies/1.2/series", "SERIES", {STUDY_UID: "1.2"}),
        ("/studies/1.2/instances", "IMAGE", {STUDY_UID: "1.2"}),
        ("/studies/1.2/series/1.3/instances", "IMAGE", {STUDY_UID: "1.2", SERIES_UID: "1.3"}),
    ],
)
def test_count(web: Any, resource: str, level: str, keys: dict[int, str]) -> None:
    web.archive.number = 1234
    answer = web.get(f"/dicom-web{resource}/count?PatientID=A&limit=5&offset=3&includefield=all&orderby=PatientID")
    assert (answer.status_code, answer.json()) == (200, {"count": 1234})
    (query,) = web.archive.counted
    assert (query.level, query.keys) == (level, {PATIENT_ID: "A", **keys})
    assert (query.limit, query.offset, query.include, query.order) == (None, 0, frozenset(), ())
    assert not web.archive.queries


def test_too_much_is_413(web: Any) -> None:
    web.archive.number = LimitExceeded("more than 50,000 instances to look through; narrow the query")
    answer = web.get("/dicom-web/studies/count?PatientComments=x")
    assert answer.status_code == 413
    assert "narrow the query" in answer.json()["detail"]


@pytest.mark.parametrize("over", [-1, 0, 1])
def test_parameters(web: Any, over: int) -> None:
    query = "&".join(["StudyInstanceUID=1.2"] * (200 + over))
    assert web.get("/dicom-web/studies?" + query).status_code == (400 if over > 0 else 200)


@pytest.mark.parametrize("resource", ["studies", "series", "instances", "studies/count"])
def test_the_character_set_of_the_answer_is_no_attribute(web: Any, resource: str) -> None:
    """PS3.18 8.3.3.2: a parameter that every resource has."""
    assert web.get(f"/dicom-web/{resource}?charset=utf-8&PatientID=1").status_code == 200
    assert [set(query.keys) for query in (*web.archive.queries, *web.archive.counted)] == [{0x00100020}]


@pytest.mark.parametrize("over", [-1, 0, 1])
def test_patterns_of_what_every_row_says_alike(web: Any, over: int) -> None:
    most = Limits().archive.query_pattern_characters_max
    query = "RetrieveAETitle=*" + "a" * (most - 1 + over)
    assert web.get(f"/dicom-web/studies?{query}").status_code == (413 if over > 0 else 200)


@pytest.mark.parametrize(
    ("value", "found"), [("SAGITTAL", 1), ("SAG*", 1), ("X%5CSAG?TTAL", 1), ("*", 1), ("X*", 0), ("[S]*", 0)]
)
def test_the_title_to_retrieve_from(web: Any, value: str, found: int) -> None:
    assert web.get(f"/dicom-web/studies?RetrieveAETitle={value}").status_code == 200
    assert len(web.archive.queries) == found  # else nobody needs to be asked
