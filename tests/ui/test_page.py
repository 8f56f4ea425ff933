"""The page at `/` in a real browser: both languages, live, nothing from elsewhere, text as text."""

from __future__ import annotations

import hashlib
import re
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from builders import build
from conftest import Served
from programs import need

from sagittal.dicom.elements import encode
from sagittal.dicom.part10 import meta_group
from sagittal.dicom.syntaxes import EXPLICIT_LE, JPEG_LS_LOSSLESS, RLE_LOSSLESS, SYNTAXES

# Waits until each is loaded.
WIDTHS = """() => Promise.all([...document.querySelectorAll("#latest td.picture img")]
                    .map((image) => image.decode().then(() => image.naturalWidth)))"""
CT = "1.2.840.10008.5.1.4.1.1.2"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=need("chromium"), args=["--no-sandbox"])
        yield browser
        browser.close()


def opened(browser: Any, locale: str) -> Any:
    """A page that waits a tenth of the time before it looks again."""

    def hasty(route: Any) -> None:
        answer = route.fetch()
        text, waits = re.subn(r"(?m)^(const \w+_MILLISECONDS = \d+)0;", r"\1;", answer.text())
        assert waits == 2
        route.fulfill(response=answer, body=text)

    page = browser.new_page(locale=locale)
    page.route("**/page.js", hasty)
    return page


def store(server: Served, number: int, name: str, below: str = "", date: str = "") -> None:
    texts = [
        (0x00080016, "UI", CT),
        (0x00080018, "UI", f"2.25.{number}3"),
        (0x00080020, "DA", date),
        (0x00080060, "CS", "CT"),
        (0x00081030, "LO", "<img src=x onerror=alert(1)>"),
        (0x00100010, "PN", name),
        (0x00100020, "LO", "ID"),
        (0x0020000D, "UI", f"2.25.{number}1"),
        (0x0020000E, "UI", f"2.25.{number}2"),
    ]
    data_set = encode([(tag, vr, text.encode()) for tag, vr, text in texts if text], SYNTAXES[EXPLICIT_LE])
    send(server, meta_group(CT, f"2.25.{number}3", EXPLICIT_LE) + data_set, below)


def send(server: Served, part10: bytes, below: str = "") -> None:
    request = urllib.request.Request(
        server.http + below + "/dicom-web/studies", part10, {"content-type": "application/dicom"}
    )
    assert urllib.request.urlopen(request).status == 200


@pytest.fixture
def page(browser: Any, server: Served) -> Iterator[Any]:
    page = opened(browser, "es-MX")
    page.complaints = []
    page.on("console", lambda message: page.complaints.append(message.text))
    page.on("pageerror", lambda error: page.complaints.append(str(error)))
    page.on("request", lambda request: request.url.startswith(server.http) or page.complaints.append(request.url))
    yield page
    assert page.complaints == []
    page.close()


def test_the_page_lives(page: Any, server: Served) -> None:
    page.goto(server.http + "/")
    page.wait_for_selector("#state.good")
    assert not page.is_visible("#transcoding")  # there are no rules
    assert page.text_content("#state-text") == "Listo"
    line = page.text_content("#dcmtk")
    assert line == f"dcmsend --no-halt -aec SAGITTAL {server.host} {server.port} +sd +r CARPETA"
    assert page.is_visible("#empty")

    store(server, 1, "Doe^Jane")
    page.wait_for_selector("#latest tbody tr")
    assert page.locator("#latest tbody tr").count() == 1
    counts = page.locator(".counts li").all_inner_texts()[:3]
    assert [" ".join(count.split()) for count in counts] == ["1 estudio", "1 serie", "1 instancia"]
    row = page.text_content("#latest tbody tr")
    assert "Doe, Jane" in row and "<img src=x onerror=alert(1)>" in row

    page.select_option("#language", "en")
    assert page.text_content("#latest-title") == "Latest studies"
    store(server, 2, "Roe^Richard")
    page.wait_for_selector("#latest tbody tr:nth-child(2)")
    assert "Roe" in page.text_content("#latest tbody tr:first-child")
    assert page.text_content(".counts li:first-child").split() == ["2", "studies"]

    # A value without end is cut and breaks, so that others stay in sight; a day that no month has is as it came.
    store(server, 3, "W" * 5_000, date="99999999")
    page.wait_for_selector("#latest tbody tr:nth-child(3)")
    assert page.evaluate("(box => box.scrollWidth <= box.clientWidth)(document.querySelector('.scroll'))")
    _, day, name = page.locator("#latest tbody tr:first-child td").all_text_contents()[:3]
    assert day == "99999999" and name.endswith("W…") and len(name) < 200


def test_dates_and_names_are_those_of_the_study(page: Any, server: Served) -> None:
    for number, date in enumerate(("20200229", "20200231", "00000000", "00010101"), 1):
        store(server, number, f"=Roe^{number}", date=date)
    page.goto(server.http + "/")
    page.wait_for_selector("#latest tbody tr")
    cells = page.locator("#latest tbody td:nth-child(2)").all_text_contents()
    assert cells == ["1 ene 1", "00000000", "20200231", "29 feb 2020"]
    assert page.locator("#latest tbody td:nth-child(3)").all_text_contents() == ["Roe, 4", "Roe, 3", "Roe, 2", "Roe, 1"]


def test_studies_show_a_thumbnail(page: Any, server: Served) -> None:
    store(server, 1, "Doe^Jane")
    page.goto(server.http + "/")
    shown = page.locator("#latest td.picture img")
    shown.wait_for(state="visible")
    assert page.evaluate(WIDTHS) == [96]
    assert shown.get_attribute("alt") == "Miniatura del estudio: Doe, Jane"
    assert shown.get_attribute("loading") == "lazy"
    page.select_option("#language", "en")
    assert page.locator("#latest td.picture img").get_attribute("alt") == "Thumbnail of the study: Doe, Jane"
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    store(server, 2, "Roe^Richard")
    page.wait_for_selector("#latest tbody tr:nth-child(2)")
    assert page.evaluate(WIDTHS) == [96, 96]
    loaded = [url for url in requests if "/thumbnail" in url]
    assert len(loaded) == 1 and "/studies/2.25.21/" in loaded[0]  # the other is kept


def test_a_store_is_chosen(browser: Any, start_server: Any, tmp_path: Any) -> None:
    (tmp_path / "sagittal.toml").write_text(
        '[stores.research]\ncalled_aets = ["RESEARCH1"]\n[stores.quiet]\n', encoding="utf-8"
    )
    server = start_server("--config", str(tmp_path / "sagittal.toml"))
    store(server, 1, "Doe^Jane")
    store(server, 2, "Trial^One", "/stores/research")
    page = opened(browser, "en")
    page.goto(server.http + "/")
    page.wait_for_selector("#latest tbody tr")
    assert page.locator("#store-name option").all_text_contents() == ["main", "research", "quiet"]
    page.select_option("#store-name", "research")
    page.wait_for_selector("#latest tbody tr:has-text('Trial')")
    assert page.locator("#latest tbody tr").count() == 1
    assert page.text_content("#aet") == "RESEARCH1"
    assert page.text_content("#web") == f"{server.http}/stores/research/dicom-web"
    assert page.evaluate(WIDTHS) == [96]
    store(server, 3, "Trial^Two", "/stores/research")
    page.wait_for_selector("#latest tbody tr:nth-child(2)")
    page.select_option("#store-name", "quiet")
    page.wait_for_selector("#empty:visible")
    assert not page.is_visible("#sending")
    page.select_option("#store-name", "main")
    page.wait_for_selector("#latest tbody tr:has-text('Doe')")
    page.close()


def test_how_far_rules_are(browser: Any, start_server: Any, tmp_path: Any) -> None:
    (tmp_path / "sagittal.toml").write_text(f'[[transcode]]\nto = "{RLE_LOSSLESS}"\n', encoding="utf-8")
    server = start_server("--config", str(tmp_path / "sagittal.toml"))
    page = opened(browser, "en")
    page.goto(server.http + "/")
    line = "Transcoding rules: 1 · objects transcoded since the start: {} · left as they came: {}"
    page.wait_for_selector(f"#transcoding:text-is('{line.format(0, 0)}')")
    send(server, build(1, rows=8, columns=8).part10)
    send(server, build(2, syntax_uid=JPEG_LS_LOSSLESS, rows=8, columns=8).part10)  # whose frames are no JPEG-LS
    page.wait_for_selector(f"#transcoding:text-is('{line.format(1, 1)}')")
    page.select_option("#language", "es")
    assert page.text_content("#transcoding") == (
        "Reglas de transcodificación: 1 · objetos transcodificados desde el arranque: 1 · sin poder transcodificarse: 1"
    )
    page.close()


def test_the_rest_is_described(page: Any, server: Served) -> None:
    page.goto(server.http + "/api/docs")
    page.wait_for_selector("#operations section")
    assert "GET /api/changes" in page.text_content("#operations")


def asking_for_a_token(folder: Path) -> str:
    path = folder / "sagittal.toml"
    path.write_text(f'[[tokens]]\nname = "reader"\nsha256 = "{hashlib.sha256(b"sesame").hexdigest()}"\n')
    return str(path)


def test_a_token_is_asked_for_once(browser: Any, start_server: Any, tmp_path: Any) -> None:
    """The pages themselves are for everybody, as links send no token; what they show is not."""
    server = start_server("--config", asking_for_a_token(tmp_path))
    page = opened(browser, "en")
    page.goto(server.http + "/api/docs")
    page.wait_for_selector("#description:has-text('asks for a bearer token')")
    page.goto(server.http + "/")
    for token, state in (("open", "bad"), ("sesame", "good")):
        page.fill("#token", token)
        page.click("#sign-in button")
        page.wait_for_selector(f"#state.{state}:not(:has-text('asks for'))")
    assert not page.is_visible("#sign-in") and not page.is_visible("footer [href='/metrics']")
    page.click("footer [href='/api/docs']")
    page.wait_for_selector("#operations section")
    page.close()


def test_a_browser_that_keeps_nothing_for_any_page(browser: Any, start_server: Any, tmp_path: Any) -> None:
    """As many are told to; the page was empty and said nothing."""
    page = opened(browser, "en")
    for store in ("localStorage", "sessionStorage"):
        page.add_init_script(f"Object.defineProperty(window, '{store}', {{get() {{ throw new DOMException(); }}}})")
    page.goto(start_server("--config", asking_for_a_token(tmp_path)).http + "/")
    page.fill("#token", "sesame")
    page.click("#sign-in button")
    page.wait_for_selector("#state.good")
    page.select_option("#language", "es")
    assert page.text_content("#state-text") == "Listo"
    page.close()


def test_behind_a_proxy_with_a_prefix_in_a_store(browser: Any, start_server: Any, tmp_path: Any) -> None:
    """A proxy may leave the prefix in the path, so that none is needed to see what the browser asks for."""
    text = '[web]\npublic_url = "https://pacs.example/archive"\n[stores.research]\n'
    (tmp_path / "sagittal.toml").write_text(text, encoding="utf-8")
    server = start_server("--config", str(tmp_path / "sagittal.toml"))
    page = opened(browser, "en")
    outside: list[str] = []
    page.on("request", lambda each: each.url.startswith(server.http + "/archive/") or outside.append(each.url))
    page.goto(server.http + "/archive/")
    page.wait_for_selector("#state.good")
    store(server, 1, "Doe^Jane", "/archive/stores/research")
    page.select_option("#store-name", "research")
    page.wait_for_selector("#latest tbody tr")
    assert page.text_content("#web") == server.http + "/archive/stores/research/dicom-web"
    page.goto(server.http + "/archive/stores/research/api/docs")
    page.wait_for_selector("#operations section")
    assert "DELETE /archive/stores/research/api/studies/{study}" in page.text_content("#operations")
    assert page.get_attribute("#source", "href") == "/archive/stores/research/api/openapi.json"
    assert outside == []
    page.close()
