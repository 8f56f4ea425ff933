"""Hostile bytes on the HTTP port."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from abuse.conftest import Watch, echo, echoing
from conftest import Served
from wire import image, part10

from sagittal.limits import WebLimits

_FILES = 'multipart/related; type="application/dicom"; boundary=cut'


def _connection(served: Served) -> http.client.HTTPConnection:
    return http.client.HTTPConnection(urlsplit(served.http).netloc, timeout=120)


def _post(served: Served, body: bytes | Iterator[bytes], kind: str = _FILES) -> tuple[int, bytes]:
    connection = _connection(served)
    connection.request("POST", "/dicom-web/studies", body, {"Content-Type": kind, "Accept": "application/dicom+json"})
    answer = connection.getresponse()
    return answer.status, answer.read()


def _part(content: bytes, headers: bytes = b"Content-Type: application/dicom\r\n") -> bytes:
    return b"--cut\r\n" + headers + b"\r\n" + content + b"\r\n"


def test_slow_headers_end_and_hinder_nobody(
    start_server: Callable[..., Served], tmp_path: Path, record_property: Callable[..., None]
) -> None:
    settings = tmp_path / "sagittal.toml"
    settings.write_text("[limits]\nheader_seconds_max = 1.0\n")
    served = start_server("--config", str(settings))
    with echoing(served) as alone:
        for _ in range(20):
            echo(served)
    address = urlsplit(served.http)
    sockets = [socket.create_connection((address.hostname or "", address.port or 0)) for _ in range(200)]
    with echoing(served) as echoes:
        for one in sockets:
            with suppress(ConnectionError):
                one.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Slow: ")
        for one in sockets:
            one.settimeout(20)
            with one, suppress(ConnectionError):  # reset, where it was over before its head began
                while one.recv(1000):  # an answer (408) or nothing, then the end
                    pass
    assert not echoes.failures
    assert served.log.read_text().count("limits.header_seconds_max") == len(sockets)
    record_property("echo_p99_ms_alone", 1000 * alone.percentile(0.99))
    record_property("echo_p99_ms_among_slow_headers", 1000 * echoes.percentile(0.99))
    connection = _connection(served)
    connection.request("GET", "/healthz")
    assert connection.getresponse().status == 200


def test_a_preamble_without_end(watch: Watch) -> None:
    status, _ = _post(watch.served, iter([b"x" * 65536] * 160))
    assert status in (400, 413)
    watch.check("request refused")


def test_a_part_header_without_end(watch: Watch) -> None:
    status, _ = _post(watch.served, b"--cut\r\nContent-Type: " + b"x" * 200_000)
    assert status in (400, 413, 431)
    watch.check("request refused")


def test_a_million_part_headers(watch: Watch) -> None:
    status, _ = _post(watch.served, _part(b"", b"a: b\r\n" * 1000) + b"--cut--\r\n")
    assert status in (400, 413, 431)
    watch.check("request refused")


@pytest.mark.slow
def test_100000_parts_that_are_no_dicom(watch: Watch) -> None:
    status, body = _post(watch.served, _part(b"hello") * 100_000 + b"--cut--\r\n")
    assert status == 409 and body.count(b"not a DICOM file") == 100_000
    watch.check()


@pytest.mark.slow
def test_metadata_that_is_much_more_in_memory_than_in_bytes(watch: Watch) -> None:
    kind = 'multipart/related; type="application/dicom+json"; boundary=cut'
    most = WebLimits().json_body_bytes_max
    members = b",".join(b'"%08X":{}' % number for number in range(most // 14))
    values = (b"[%s0]" % (value * ((most - 50) // len(value))) for value in (b"0.5,", b"{},"))
    for obj in (b"{%s}" % members, *(b'{"00091001":{"vr":"FD","Value":%s}}' % each for each in values)):
        part = _part(b"[%s]" % obj, b"Content-Type: application/dicom+json\r\n")
        status, body = _post(watch.served, part + b"--cut--\r\n", kind=kind)
        assert status == 409 and b"is missing or empty" in body
        watch.check()


@pytest.mark.slow
def test_a_body_of_rest_that_is_much_more_in_memory_than_in_bytes(watch: Watch) -> None:
    connection = _connection(watch.served)
    body = b"[%s{}]" % (b"{}," * (WebLimits().api_body_bytes_max // 3 - 2))
    connection.request("POST", "/api/nodes", body, {"Content-Type": "application/json"})
    assert connection.getresponse().status == 422
    watch.check()


def test_a_part_that_is_no_dicom(watch: Watch) -> None:
    status, body = _post(watch.served, _part(b"hello" * 100) + b"--cut--\r\n")
    assert status == 409, body
    watch.check("not a DICOM file")


def test_good_beside_bad_is_202(watch: Watch) -> None:
    status, body = _post(watch.served, _part(part10(image())) + _part(b"bad" * 100) + b"--cut--\r\n")
    assert status == 202, body
    watch.check("not a DICOM file")


def test_a_body_that_stops(watch: Watch) -> None:
    address = urlsplit(watch.served.http)
    with socket.create_connection((address.hostname or "", address.port or 0)) as one:
        head = (
            "POST /dicom-web/studies HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n"
            'Content-Type: multipart/related; type="application/dicom"; boundary=cut\r\n\r\n'
        )
        one.sendall(head.encode() + _part(part10(image(rows=256, columns=256)))[:60_000])
    watch.check()
    assert list((watch.served.data / "staging").iterdir()) == []


def test_paths_as_uids_in_urls(watch: Watch) -> None:
    for path in ("..%2f..%2fetc%2fpasswd", "%2e%2e/%2e%2e/etc/passwd", "1.2.3%00", "%2fetc%2fpasswd", "1.2.3'--"):
        connection = _connection(watch.served)
        connection.request("GET", f"/dicom-web/studies/{path}/metadata")
        assert connection.getresponse().status in (400, 404), path
    watch.check()


def test_hosts_and_origins_of_strangers(watch: Watch) -> None:
    for method, headers, status in (
        ("GET", {"Host": "evil.example"}, {400, 403, 421}),
        ("POST", {"Origin": "https://evil.example", "Content-Type": "application/dicom"}, {403}),
    ):
        connection = _connection(watch.served)
        connection.request(method, "/dicom-web/studies", headers=headers)
        answer = connection.getresponse()
        assert answer.status in status
        assert "Access-Control-Allow-Origin" not in answer.headers
    watch.check()
