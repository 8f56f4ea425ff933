"""Host, Origin and token: who is let in, before any route."""

from __future__ import annotations

import base64
import hashlib
import re
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from archived import asking

from sagittal.archive.access import LOCAL, Principal
from sagittal.convert.reports.page import html
from sagittal.errors import NotAuthorized
from sagittal.pixels.rendering.attributes import Attributes
from sagittal.web.house import Settings
from sagittal.web.security import Guard, default_headers

READER = Principal("reader", "token", frozenset({"find", "get"}))
TOKENS = {hashlib.sha256(b"sesame").hexdigest(): READER}


def settings(**more: Any) -> Settings:
    return Settings(hosts=frozenset({"pacs.example"}), origins=frozenset({"https://viewer.example"}), **more)


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("LOCALHOST:8042", 200),
        ("127.0.0.1:8042", 200),
        ("[::1]:8042", 200),
        ("pacs.example", 200),
        ("pacs.example:443", 200),
        ("evil.example", 403),
        ("localhost.evil.example", 403),
        ("127.0.0.1.evil.example", 403),
        ("evil.example:localhost", 400),
        ("localhost:", 200),
        ("localhost:8042/elsewhere", 400),
        ('localhost:8042"><b>', 400),
        ("[::1]elsewhere", 400),
        ("localhost:80:80", 400),
        ("localhost@evil.example", 403),
        ("192.0.2.1", 403),
        ("[::2]", 403),
        ("", 403),
    ],
)
def test_hosts(web: Any, host: str, status: int) -> None:
    web.settings = settings()
    assert web.get("/dicom-web/studies", host=host).status_code == status


@pytest.mark.parametrize("address", ["192.0.2.7", "::ffff:192.0.2.7"])
def test_the_address_that_was_connected_to_is_ours(web: Any, address: str) -> None:
    """Also as an IPv6 socket tells one of IPv4."""
    guard = Guard(lambda *_: None, settings(), web.archive)  # type: ignore[arg-type, return-value]
    scope = {"server": (address, 8042), "headers": [(b"host", b"")]}
    assert guard._host(scope, {b"host": b"192.0.2.7:8042"}) == "192.0.2.7:8042"
    with pytest.raises(NotAuthorized):
        guard._host(scope, {b"host": b"192.0.2.8:8042"})


def test_probes_take_any_host(web: Any) -> None:
    for path in ("/healthz", "/readyz"):
        assert web.get(path, host="10.0.0.1:8042").status_code == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 400),
        ({"origin": "http://localhost:8042"}, 400),
        ({"origin": "HTTP://LOCALHOST:8042"}, 400),
        ({"origin": "https://viewer.example"}, 400),
        ({"origin": "https://pacs.public"}, 400),
        ({"origin": "https://pacs.public.evil.example"}, 403),
        ({"origin": "https://pacs.pub"}, 403),
        ({"origin": "https:"}, 403),
        ({"origin": "http://localhost"}, 403),
        ({"origin": "http://localhost:8043"}, 403),
        ({"origin": "https://localhost:8042"}, 403),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "same-site"}, 403),
        ({"sec-fetch-site": "same-origin"}, 400),
    ],
)
def test_origins_of_writes(web: Any, headers: dict[str, str], status: int) -> None:
    web.settings = settings(public_url="https://pacs.public/sagittal")
    headers["content-type"] = "multipart/related"  # without boundary: 400 once let in
    assert web.request("POST", "/dicom-web/studies", headers=headers).status_code == status


@pytest.mark.parametrize(
    ("trusted", "origin", "status"),
    [
        ("127.0.0.0/8", "https://pacs.example", 400),
        ("127.0.0.0/8", "https://evil.example", 403),
        ("10.0.0.0/8", "https://pacs.example", 403),
    ],
)
def test_origins_of_writes_through_a_trusted_proxy(web: Any, trusted: str, origin: str, status: int) -> None:
    web.settings = Settings(trusted_proxies=(ip_network(trusted),))
    told = {"x-forwarded-proto": "https", "x-forwarded-host": "pacs.example"}
    headers = {"origin": origin, "content-type": "multipart/related", **told}
    assert web.request("POST", "/dicom-web/studies", headers=headers).status_code == status


def test_reads_do_not_need_an_origin_but_give_no_cors(web: Any) -> None:
    answer = web.get("/dicom-web/studies", origin="http://evil.example")
    assert answer.status_code == 200
    assert not [name for name in answer.headers if name.startswith("access-control")]
    assert web.request("OPTIONS", "/dicom-web/studies", headers={"origin": "http://evil.example"}).status_code == 403


def test_pages_of_a_named_origin_may_ask_and_read(web: Any) -> None:
    """As browsers do it (WHATWG Fetch 3.2.2): before what is not simple they ask, and without a token."""
    web.settings = settings(tokens=dict, loopback=False)
    page = {"origin": "https://Viewer.example"}
    wanted = {"access-control-request-method": "POST", "access-control-request-headers": "authorization,content-type"}
    for path in ("/dicom-web/studies", "/api/nodes", "/dicom-web/studies/1.2/metadata"):
        asked = web.request("OPTIONS", path, headers=page | wanted)
        assert (asked.status_code, asked.content) == (204, b"")
        assert asked.headers["access-control-allow-origin"] == page["origin"]
        assert "POST" in asked.headers["access-control-allow-methods"]
        assert {"authorization", "content-type"} <= set(asked.headers["access-control-allow-headers"].split(", "))
    refused = web.get("/dicom-web/studies", **page)
    assert (refused.status_code, refused.headers["access-control-allow-origin"]) == (401, page["origin"])
    web.settings = settings()
    answer = web.get("/dicom-web/studies", **page)
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, page["origin"])
    assert "etag" in answer.headers["access-control-expose-headers"] and "origin" in answer.headers["vary"]
    assert "access-control-allow-credentials" not in answer.headers


@pytest.mark.parametrize("origin", ["https://evil.example", "https://viewer.example.evil.example", "null", ""])
def test_pages_of_other_origins_may_not(web: Any, origin: str) -> None:
    web.settings = settings()
    headers = {"access-control-request-method": "GET"} | ({"origin": origin} if origin else {})
    asked = web.request("OPTIONS", "/dicom-web/studies", headers=headers)
    answer = web.get("/dicom-web/studies", **({"origin": origin} if origin else {}))
    assert asked.status_code == (403 if origin else 200)
    for each in (asked, answer):
        assert not [name for name in each.headers if name.startswith("access-control")]
        assert "origin" in each.headers["vary"]


@pytest.mark.parametrize(
    ("tokens", "loopback", "authorization", "status"),
    [
        (False, True, "", 200),
        (False, False, "", 401),
        (True, True, "", 401),
        (True, True, "Bearer sesame", 200),
        (True, False, "bearer  sesame ", 200),
        (True, True, "Bearer open", 401),
        (True, True, "Bearer ", 401),
        (True, True, "Basic c2VzYW1l", 401),
        (False, True, "Bearer sesame", 401),
    ],
)
def test_tokens(web: Any, tokens: bool, loopback: bool, authorization: str, status: int) -> None:
    web.settings = settings(tokens=lambda: TOKENS if tokens else {}, loopback=loopback)
    for path in ("/dicom-web/studies", "/api/summary", "/api/changes", "/metrics"):
        answer = web.get(path, authorization=authorization)
        assert answer.status_code == status, path
        if status == 401:
            assert answer.headers["www-authenticate"].startswith("Bearer")
            assert answer.json()["status"] == 401
    for path in ("/", "/ui/page.js", "/healthz", "/api/docs", "/stores/main/api/docs"):
        assert web.get(path, authorization=authorization).status_code == 200


@pytest.mark.parametrize(
    ("headers", "words"),
    [
        ({"authorization": "Bearer open"}, "the bearer token is not known"),
        ({}, "a bearer token is needed"),
        ({"host": "evil.example"}, "the host name 'evil.example' is not ours"),
        ({"origin": "https://evil.example"}, "a page of 'https://evil.example'"),
    ],
)
def test_who_is_not_let_in_is_a_line_of_the_log(
    web: Any, caplog: pytest.LogCaptureFixture, headers: dict[str, str], words: str
) -> None:
    """Without what may be of a patient: who guesses tokens is seen, as who tries AE titles."""
    web.settings = settings(tokens=lambda: TOKENS)
    web.request("POST", "/api/patients/DOE-1/merge", headers=headers)
    [record] = [each for each in caplog.records if each.name == "sagittal.web"]
    assert record.getMessage() == "request refused"
    assert record.fields["request"] == "POST /api/patients" and words in record.fields["reason"]


def test_a_token_may_not_do_more_than_its_verbs(web: Any) -> None:
    web.settings = settings(tokens=lambda: TOKENS)
    answer = web.request(
        "POST",
        "/dicom-web/studies",
        content=b"x",
        headers={"content-type": "application/dicom", "authorization": "Bearer sesame"},
    )
    assert answer.status_code == 403
    assert answer.json()["detail"] == "reader may not store"


def test_the_local_operator(web: Any) -> None:
    web.request("POST", "/dicom-web/studies", content=b"x", headers={"content-type": "application/dicom"})
    assert web.archive.principals == [LOCAL]


def test_what_a_page_of_a_named_origin_only_shows(web: Any) -> None:
    """An image or a video comes without an Origin, and a document is not shown where its policy does not say so."""
    web.settings = settings()
    shows = "cross-origin-resource-policy"
    for page, policy in (
        ({"referer": "https://viewer.example/study/1"}, "cross-origin"),
        ({"referer": "https://viewer.example"}, "cross-origin"),
        ({"origin": "https://viewer.example"}, "cross-origin"),
        ({"origin": "null", "referer": "https://viewer.example/"}, "same-origin"),
        ({"referer": "https://viewer.example.evil.example/"}, "same-origin"),
        ({"referer": "https://evil.example/https://viewer.example/"}, "same-origin"),
        ({}, "same-origin"),
    ):
        answer = web.get("/dicom-web/studies", **page)
        assert answer.headers.get_list(shows) == [policy], page
        assert "referer" in answer.headers["vary"]
        told = answer.headers["content-security-policy"]
        assert told.partition("frame-ancestors ")[2] == "'self' https://viewer.example"
    assert "frame-ancestors 'none'" in web.get("/").headers["content-security-policy"]
    web.settings = Settings()
    assert web.get("/dicom-web/studies").headers["content-security-policy"].endswith("frame-ancestors 'self'")


def test_a_browser_takes_the_style_of_reports() -> None:
    """A policy names it by its digest (Content Security Policy 6.7.3.3)."""
    style = re.search("<style>(.*?)</style>", html(Attributes({})))
    assert style
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode("ascii")
    policy = default_headers(frozenset())[b"content-security-policy"].decode("ascii")
    assert f"style-src 'sha256-{digest}'" in policy.split("; ")


def test_headers_of_every_answer(web: Any) -> None:
    for path in ("/", "/dicom-web/studies", "/nothing", "/healthz", "/dicom-web/studies?limit=x"):
        headers = web.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "form-action 'none'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["referrer-policy"] == "no-referrer"


@pytest.mark.parametrize(
    "path",
    [
        "/dicom-web/studies/..",
        "/dicom-web/studies/%2e%2e/metadata",
        "/dicom-web/studies/..%2f..%2fetc/series/1.2/instances/1.2",
        "/dicom-web/studies//etc/passwd",
        "/dicom-web/studies/1.2/series/%2fabs/metadata",
        "/dicom-web/studies/1.2/series/1.2/instances/a.b/frames/1",
        "/dicom-web/studies/1.2%00/metadata",
        "/dicom-web/studies/" + "1" * 65,
        "/dicom-web/studies/1.2/series/1.2/instances/1.2/bulkdata/../../../etc/passwd",
        "/dicom-web/studies/1.2/series/1.2/instances/1.2/bulkdata/%2e%2e/7FE00010",
        "/ui/..%2fapp.py",
        "/ui/page.py",
    ],
)
def test_addresses_that_lead_elsewhere(web: Any, path: str) -> None:
    assert web.get(path).status_code in (400, 404, 405)  # 405: of `/dicom-web` there are only the capabilities


@pytest.mark.parametrize(
    ("public_url", "trusted", "headers", "path", "status"),
    [
        ("https://pacs.example/archive/", "", {}, "/archive/dicom-web/studies", 200),
        ("https://pacs.example/archive/", "", {}, "/dicom-web/studies", 200),  # the proxy takes it away
        ("https://pacs.example/archive/", "", {}, "/archive/archive/dicom-web/studies", 404),
        ("https://pacs.example/archive/", "", {}, "/archives/dicom-web/studies", 404),
        ("https://pacs.example/dicom-web", "", {}, "/dicom-web/studies", 200),  # never taken for a prefix
        (None, "127.0.0.0/8", {"x-forwarded-prefix": "/a/b"}, "/a/b/dicom-web/studies", 200),
        (None, "10.0.0.0/8", {"x-forwarded-prefix": "/a/b"}, "/a/b/dicom-web/studies", 404),
        (None, "", {}, "/archive/dicom-web/studies", 404),
    ],
)
def test_a_prefix_that_the_proxy_leaves(
    web: Any, public_url: str | None, trusted: str, headers: dict[str, str], path: str, status: int
) -> None:
    networks = (ip_network(trusted),) if trusted else ()
    web.settings = Settings(public_url=public_url, trusted_proxies=networks)
    assert web.request("GET", path, headers=headers).status_code == status


@pytest.mark.parametrize(("tokens", "loopback"), [(False, True), (False, False), (True, True), (True, False)])
async def test_openapi_says_who_is_let_in(tmp_path: Path, tokens: bool, loopback: bool) -> None:
    """As it is at the time: what its `security` lets pass is let pass, and nothing else."""
    known = dict(TOKENS)
    async with asking(tmp_path, [], Settings(tokens=lambda: known, loopback=loopback)) as (client, _):
        told = (await client.get("/api/openapi.json", headers={"authorization": "Bearer sesame"})).json()
        if not tokens:
            known.clear()
        told = [told, (await client.get("/api/openapi.json")).json()] if loopback and not tokens else [told]
        *told, bare = [*told, await client.get("/api/statistics")]
    for document, is_open in zip(told, (False, True), strict=False):
        assert (
            document["components"]["securitySchemes"]["bearer"].items() >= {"type": "http", "scheme": "bearer"}.items()
        )
        assert document["security"] == [{"bearer": []}] + ([{}] if is_open else [])
        for operation in (each for path in document["paths"].values() for each in path.values()):
            assert "security" not in operation
            assert operation["responses"].keys() >= {"401", "403"}
            assert "WWW-Authenticate" in operation["responses"]["401"]["headers"]
    assert bare.status_code == (200 if loopback and not tokens else 401)
    assert ("www-authenticate" in bare.headers) == (bare.status_code == 401)
