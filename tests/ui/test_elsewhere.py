"""A page of another origin in a real browser: it stores, reads and deletes when it is named, and nothing otherwise."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from builders import build
from conftest import Served
from programs import need

ASK = """async ([base, octets, study]) => {
    const at = (path, init) => fetch(base + path, init);
    const file = Uint8Array.from(octets);
    const stored = await at("/studies", {method: "POST", body: file, headers: {"content-type": "application/dicom"}});
    const found = await at(`/studies/${study}/metadata`, {headers: {"if-none-match": "x"}});
    const gone = await at(`/studies/${study}`, {method: "DELETE"});
    return [stored.status, (await found.json()).length, found.headers.get("etag") !== null, gone.status];
}"""


class Viewer(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/html")
        self.end_headers()
        self.wfile.write(b"<title>viewer</title>")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def viewer() -> Iterator[str]:
    """The origin of a server that has nothing but a page."""
    server = HTTPServer(("127.0.0.1", 0), Viewer)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.slow  # a browser starts in seconds
def test_a_page_of_another_origin(viewer: str, tmp_path: Path, start_server: Callable[..., Served]) -> None:
    from playwright.sync_api import Error, sync_playwright

    config, built = tmp_path / "sagittal.toml", build()
    config.write_text(f'[web]\norigins = ["{viewer}/"]\n')
    named, other = start_server("--config", str(config), data=tmp_path / "1"), start_server(data=tmp_path / "2")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=need("chromium"), args=["--no-sandbox"])
        page = browser.new_page()
        page.goto(viewer)
        asked = [[f"{server.http}/dicom-web", list(built.part10), built.study_uid] for server in (named, other)]
        assert page.evaluate(ASK, asked[0]) == [200, 1, True, 204]
        with pytest.raises(Error, match="Failed to fetch"):
            page.evaluate(ASK, asked[1])
        browser.close()
