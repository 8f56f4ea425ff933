"""Addresses: the base of those we hand out, and the checks of those we get."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Any

import pytest
from starlette.requests import Request

from sagittal.errors import BadRequest
from sagittal.web.house import Settings
from sagittal.web.wire import uri


@pytest.mark.parametrize(
    ("host", "server", "public_url", "base"),
    [
        ("localhost:8042", ("127.0.0.1", 8042), None, "http://localhost:8042/dicom-web"),
        ("pacs.example", ("10.0.0.1", 8042), None, "http://pacs.example/dicom-web"),
        # dicomweb-client leaves the port out
        ("localhost", ("127.0.0.1", 8042), None, "http://localhost:8042/dicom-web"),
        ("10.0.0.1", ("10.0.0.1", 8042), None, "http://10.0.0.1:8042/dicom-web"),
        ("[::1]", ("::1", 8042), None, "http://[::1]:8042/dicom-web"),
        ("localhost", ("127.0.0.1", 80), None, "http://localhost/dicom-web"),
        ("localhost:8042", ("127.0.0.1", 8042), "https://pacs.example/a/", "https://pacs.example/a/dicom-web"),
    ],
)
def test_base(host: str, server: Any, public_url: str | None, base: str) -> None:
    scope = {"type": "http", "scheme": "http", "headers": [(b"host", host.encode())], "server": server}
    assert uri.addresses(Request(scope), Settings(public_url=public_url)).base == base


PROXY = (ip_network("10.0.0.0/24"), ip_network("::1"))


@pytest.mark.parametrize(
    ("client", "told", "base"),
    [
        ("10.0.0.9", {"proto": "https", "host": "pacs.example"}, "https://pacs.example/dicom-web"),
        ("::1", {"proto": "HTTPS", "host": "pacs.example:8443"}, "https://pacs.example:8443/dicom-web"),
        (
            "10.0.0.9",
            {"proto": "https", "host": "PACS.example", "prefix": "/a/b/"},
            "https://pacs.example/a/b/dicom-web",
        ),
        ("10.0.0.9", {"host": "evil.example, pacs.example"}, "http://pacs.example/dicom-web"),
        ("10.0.0.9", {"host": "[::2]:1"}, "http://[::2]:1/dicom-web"),
        # what is no host, scheme or path is left alone
        ("10.0.0.9", {"proto": "gopher", "host": "a/b"}, "http://held.example/dicom-web"),
        ("10.0.0.9", {"host": 'x"><script>', "prefix": "//evil.example/"}, "http://held.example/dicom-web"),
        # nobody else is believed
        ("10.0.1.9", {"proto": "https", "host": "evil.example"}, "http://held.example/dicom-web"),
        ("testclient", {"proto": "https", "host": "evil.example"}, "http://held.example/dicom-web"),
    ],
)
def test_base_that_a_proxy_tells(client: str, told: dict[str, str], base: str) -> None:
    headers = [(b"host", b"held.example"), *((f"x-forwarded-{n}".encode(), v.encode()) for n, v in told.items())]
    scope = {"type": "http", "scheme": "http", "headers": headers, "server": ("10.0.0.1", 80), "client": (client, 9)}
    assert uri.addresses(Request(scope), Settings(trusted_proxies=PROXY)).base == base
    assert uri.addresses(Request(scope), Settings()).base == "http://held.example/dicom-web"


@pytest.mark.parametrize("text", ["", "a", "1.2/3", "..x", "1" * 65, "1.2\n", "\u0661.\u0662"])
def test_what_is_no_uid(text: str) -> None:
    with pytest.raises(BadRequest):
        uri.uid(text, "UID")


def test_tag_paths() -> None:
    assert uri.tag_path("7fe00010") == "7FE00010"
    assert uri.tag_path("52009229/1/00289145") == "52009229/1/00289145"
    for text in ("", "7FE0001", "7FE00010/", "7FE00010/0/7FE00010", "7FE00010/7FE00010", "../7FE00010"):
        with pytest.raises(BadRequest):
            uri.tag_path(text)


@pytest.mark.parametrize(
    ("told", "base"),
    [
        (["for=192.0.2.60;proto=https;host=pacs.example"], "https://pacs.example/dicom-web"),
        (['For="[2001:db8::1]:9";Proto=HTTPS;Host="pacs.example:8443"'], "https://pacs.example:8443/dicom-web"),
        (["host=evil.example;proto=http, host=pacs.example;proto=https"], "https://pacs.example/dicom-web"),
        (["host=evil.example", "proto=https;host=pacs.example"], "https://pacs.example/dicom-web"),
        (['host=evil.example, for="a,b;c"; proto=https; host=pacs.example'], "https://pacs.example/dicom-web"),
        (["proto=https"], "https://other.example/dicom-web"),  # X-Forwarded-Host has what it lacks
        (['host="pacs.example'], "http://other.example/dicom-web"),
        (["host=a/b;proto=gopher"], "http://held.example/dicom-web"),
        (['host="x\\"><script>"'], "http://held.example/dicom-web"),
    ],
)
def test_base_that_a_proxy_tells_by_the_standard(told: list[str], base: str) -> None:
    headers = [(b"host", b"held.example"), (b"x-forwarded-host", b"other.example")]
    headers += [(b"forwarded", value.encode()) for value in told]
    scope = {
        "type": "http",
        "scheme": "http",
        "headers": headers,
        "server": ("10.0.0.1", 80),
        "client": ("10.0.0.9", 9),
    }
    assert uri.addresses(Request(scope), Settings(trusted_proxies=PROXY)).base == base
    scope["client"] = ("10.0.1.9", 9)
    assert uri.addresses(Request(scope), Settings(trusted_proxies=PROXY)).base == "http://held.example/dicom-web"
