"""Options of the commands that talk to peers: certificates, timeouts, information models, parts by WADO-RS."""

from __future__ import annotations

import http.server
import json
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest
from builders import CT, Built, build
from conftest import Served
from conftest import sagittal as in_a_process
from conftest import sagittal_here as sagittal
from pydicom.dataset import Dataset
from pynetdicom import AE, evt
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    PatientStudyOnlyQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelFind,
    Verification,
)

from sagittal.client import Access, Archive
from sagittal.net.client import Association

IMAGES = [build(number, frames=3) for number in (1, 2)]


def rows(done: subprocess.CompletedProcess[str]) -> list[dict]:
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture(scope="module")
def held(shared_server: Served) -> Served:
    for built in IMAGES:
        answer = httpx.post(f"{shared_server.http}/dicom-web/studies", content=built.part10,
                            headers={"content-type": "application/dicom"})  # fmt: skip
        assert answer.status_code == 200
    return shared_server


def mutual(cert: Path, key: Path) -> ssl.SSLContext:
    """Of a server that wants the certificate of its client too."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    context.load_verify_locations(cert)
    context.verify_mode = ssl.CERT_REQUIRED
    return context


def test_tls_for_dimse(certificates: tuple[Path, Path]) -> None:
    cert, key = certificates
    ae = AE("PEER")
    ae.add_supported_context(Verification)
    server = ae.start_server(("127.0.0.1", 0), block=False, ssl_context=mutual(cert, key))
    peer = f"PEER@127.0.0.1:{server.server_address[1]}"
    ours = ("--tls-cert", cert, "--tls-key", key)
    try:
        assert sagittal("echo", peer, "--tls", "--tls-ca", cert, *ours).returncode == 0
        stranger = sagittal("echo", peer, "--tls", *ours)  # the system's authorities do not know the peer
        assert stranger.returncode == 3 and "certificate" in stranger.stderr.lower()
        assert sagittal("echo", peer, "--tls", "--tls-ca", cert, "--timeout", "5").returncode == 3  # without our own
        assert sagittal("echo", peer, "--timeout", "5").returncode == 3  # nothing but TLS is spoken there
        assert sagittal("echo", peer, "--tls-ca", "absent.pem").returncode == 2
    finally:
        server.shutdown()


def test_the_time_of_an_echo_ends_with_its_answer(held: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, release = [0.0], Association.release

    async def late(association: Association) -> None:
        clock[0] = 99.0
        await release(association)

    monkeypatch.setattr("sagittal.cli.peer.echo.time", SimpleNamespace(perf_counter=lambda: clock[0]))
    monkeypatch.setattr(Association, "release", late)
    assert rows(sagittal("echo", held.peer, "--json"))[0]["seconds"] == 0.0
    assert clock[0] == 99.0


@pytest.mark.parametrize(
    ("options", "environment", "shown"),
    [
        (["--user", "jane"], {}, (1, b"jane", b"")),
        (["--user", "jane:s3:cret"], {}, (2, b"jane", b"s3:cret")),
        (["--token", "ey.J.x"], {}, (5, b"ey.J.x", b"")),
        (["--identity"], {"SAGITTAL_USER": "jane:s3"}, (2, b"jane", b"s3")),
        (["--identity"], {"SAGITTAL_USER": "jane:s3", "SAGITTAL_TOKEN": "ey"}, (5, b"ey", b"")),
        ([], {"SAGITTAL_USER": "jane:s3", "SAGITTAL_TOKEN": "ey"}, None),
    ],
)
@pytest.mark.parametrize("answer", ["confirmed", "unheard", "refused"])
def test_user_identity(
    options: list[str],
    environment: dict[str, str],
    shown: tuple[int, bytes, bytes] | None,
    answer: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen = []

    def judge(event: evt.Event) -> tuple[bool, bytes | None]:
        seen.append((event.user_id_type, event.primary_field, event.secondary_field or b""))
        return answer != "refused", b"" if answer == "confirmed" else None

    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    ae = AE("PEER")
    ae.add_supported_context(Verification)
    server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_USER_ID, judge)])
    try:
        done = sagittal("echo", f"PEER@127.0.0.1:{server.server_address[1]}", *options)
    finally:
        server.shutdown()
    assert seen == ([shown] if shown else [])
    assert done.returncode == (3 if shown and answer == "refused" else 0)
    heard = answer == "confirmed" and shown and shown[0] == 5  # pynetdicom says nothing of the other kinds
    assert ("does not confirm" in done.stderr) == bool(shown and answer != "refused" and not heard)


def test_user_identity_of_our_own(tmp_path: Path, start_server: Callable[..., Served]) -> None:
    (tmp_path / "sagittal.toml").write_text('[dimse]\nuser_identity = "required"\n')
    server = start_server("--config", str(tmp_path / "sagittal.toml"))
    secret = sagittal("config", "token", "add", "jane", "--data", server.data).stdout.strip()
    for options in (["--user", f"jane:{secret}"], ["--token", secret]):
        done = sagittal("find", server.peer, *options)
        assert (done.returncode, done.stderr) == (0, "")
    for options in ([], ["--user", "jane"], ["--token", "wrong"]):
        assert sagittal("echo", server.peer, *options).returncode == 3
    for access in (Access(token=secret), Access(user=f"jane:{secret}")):
        with Archive(server.peer, access) as archive:
            assert archive.find() == []


class Nothing(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


class NoImages(Nothing):
    """An archive without images, and without services."""

    def do_GET(self) -> None:
        body = b'{"modalities":[]}'
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        while self.rfile.readline() != b"0\r\n":  # the last chunk
            pass
        self.send_response(409)
        self.send_header("content-length", "0")
        self.end_headers()


@contextmanager
def secure(context: ssl.SSLContext, handler: type[Nothing]) -> Iterator[str]:
    """The address of an HTTPS server."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"https://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_tls_for_http(certificates: tuple[Path, Path]) -> None:
    cert, key = certificates
    with secure(mutual(cert, key), Nothing) as url:
        assert sagittal("qido", url, "--tls-ca", cert, "--tls-cert", cert, "--tls-key", key).returncode == 0
        assert sagittal("qido", url, "--tls-cert", cert, "--tls-key", key).returncode == 3
        assert sagittal("qido", url, "--tls-ca", cert).returncode == 3


def test_authorities_of_a_running_archive(certificates: tuple[Path, Path], tmp_path: Path) -> None:
    """Of `import` and `info`, whose archive is at a URL too."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificates)
    (tmp_path / "a.dcm").write_bytes(IMAGES[0].part10)
    with secure(context, NoImages) as url:
        for command, reached in (("info", 0), ("import", 1)):  # which is refused the only file
            words = (command, *([tmp_path / "a.dcm"] if command == "import" else []), "--url", url)
            assert sagittal(*words).returncode == 3
            assert sagittal(*words, "--tls-ca", certificates[0]).returncode == reached
    assert sagittal("info", "--url", "http://127.0.0.1:1", "--tls-ca", certificates[0]).returncode == 2


@contextmanager
def silent() -> Iterator[int]:
    """A port that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


@pytest.mark.parametrize(
    "command", ["echo X@127.0.0.1:{}", "find X@127.0.0.1:{}", "qido http://127.0.0.1:{}/dicom-web"]
)
def test_a_peer_that_never_answers_is_given_up(command: str) -> None:
    with silent() as port:  # without it half a minute and more, which is not waited for
        done = in_a_process(*command.format(port).split(), "--timeout", "0.3", timeout=25)
    assert done.returncode == 3, done.stderr


def test_patient_study_only() -> None:
    """A model of PS3.4 that was retired; old archives know it alone."""
    asked: list[str] = []

    def find(event: evt.Event) -> Iterator[tuple[int, Dataset]]:
        asked.append(str(event.identifier.QueryRetrieveLevel))
        found = Dataset()
        found.QueryRetrieveLevel, found.StudyInstanceUID, found.PatientID = "STUDY", "1.2.3", "P1"
        yield 0xFF00, found

    ae = AE("OLD")
    ae.add_supported_context(PatientStudyOnlyQueryRetrieveInformationModelFind)
    server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_FIND, find)])
    peer = f"OLD@127.0.0.1:{server.server_address[1]}"
    try:
        key = ("-k", "PatientID=P1", "--json")
        (row,) = rows(sagittal("find", peer, "--patient-study-only", *key))
        assert row["0020000D"]["Value"] == ["1.2.3"]
        assert sagittal("find", peer, *key).returncode == 3  # Study Root is not taken there
    finally:
        server.shutdown()
    assert asked == ["STUDY"]


def test_a_query_that_the_peer_cancels_by_itself_has_failed() -> None:
    """It may have had more to say."""

    def find(_: evt.Event) -> Iterator[tuple[int, Dataset | None]]:
        found = Dataset()
        found.QueryRetrieveLevel, found.StudyInstanceUID = "STUDY", "1.2.3"
        yield 0xFF00, found
        yield 0xFE00, None

    ae = AE("TIRED")
    ae.add_supported_context(StudyRootQueryRetrieveInformationModelFind)
    server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_FIND, find)])
    peer = f"TIRED@127.0.0.1:{server.server_address[1]}"
    try:
        done = sagittal("find", peer, "--json")
        assert (done.returncode, len(rows(done))) == (1, 1) and "FE00" in done.stderr
        assert sagittal("find", peer, "-n", "1", "--json").returncode == 0  # this one we cancelled
    finally:
        server.shutdown()


def path_of(built: Built) -> str:
    return f"studies/{built.study_uid}/series/{built.series_uid}/instances/{built.sop_instance_uid}"


def test_parts_of_an_object_by_wado(held: Served, tmp_path: Path) -> None:
    built, size = IMAGES[0], 4 * 4 * 2
    pixels = built.data[-3 * size :]
    done = sagittal("wado", held.http, path_of(built) + "/frames/1,3", "-o", tmp_path / "frames", "--json")
    assert done.returncode == 0, done.stderr
    *files, last = rows(done)
    assert last["completed"] == 2
    assert [Path(row["file"]).read_bytes() for row in files] == [pixels[:size], pixels[2 * size :]]
    assert [Path(row["file"]).stem.rpartition("frame")[2].strip("-_") for row in files] == ["1", "3"]
    done = sagittal("wado", held.http, path_of(built) + "/bulkdata/7FE00010", "-o", tmp_path / "bulk", "--json")
    assert done.returncode == 0, done.stderr
    *files, last = rows(done)
    assert last["completed"] == len(files)
    assert b"".join(Path(row["file"]).read_bytes() for row in files) == pixels
    assert sagittal("wado", held.http, path_of(built) + "/frames/4", "-o", tmp_path / "none").returncode != 0
    assert not (tmp_path / "none").exists() or not list((tmp_path / "none").iterdir())


@pytest.mark.parametrize("way", ["dimse", "web"])
def test_single_objects_by_get(held: Served, way: str, tmp_path: Path) -> None:
    place = held.peer if way == "dimse" else held.http
    built = IMAGES[1]
    uids = {"StudyInstanceUID": built.study_uid, "SeriesInstanceUID": built.series_uid}
    keys = [word for name, value in uids.items() for word in ("-k", f"{name}={value}")]
    one = ("-k", f"SOPInstanceUID={built.sop_instance_uid}")
    done = sagittal("get", place, "-L", "image", *keys, *one, "-o", tmp_path, "--json")
    assert done.returncode == 0, done.stderr
    assert [row.get("sop_instance_uid") for row in rows(done)[:-1]] == [built.sop_instance_uid]
    (file,) = tmp_path.iterdir()
    assert file.read_bytes().endswith(built.data)
    assert rows(sagittal("find", place, "-L", "image", *keys, *one, "-k", "SOPClassUID", "--json"))[0]["00080016"][
        "Value"
    ] == [CT]


@pytest.mark.parametrize("way", ["dimse", "web", "directory"])
@pytest.mark.parametrize(
    "keys",
    [
        ["StudyInstanceUID=2.25.404"],
        [f"StudyInstanceUID={IMAGES[0].study_uid}", "SeriesInstanceUID=2.25.404"],
        ["PatientID=nobody"],
    ],
)
def test_getting_what_there_is_none_of_is_no_failure(held: Served, way: str, keys: list[str], tmp_path: Path) -> None:
    place = {"dimse": held.peer, "web": held.http, "directory": str(held.data)}[way]
    words = [word for key in keys for word in ("-k", key)]
    done = sagittal("get", place, *words, "-o", tmp_path, "--json")
    assert done.returncode == 0, done.stderr
    assert [(row["status"], row["completed"], row["failed"]) for row in rows(done)] == [("0000", 0, 0)]
    with Archive(place) as archive:
        assert archive.get(tmp_path, keys=dict(key.split("=") for key in keys)) == []


def test_a_url_without_services_has_failed(held: Served, tmp_path: Path) -> None:
    done = sagittal("get", held.http + "/elsewhere", "-k", "StudyInstanceUID=2.25.404", "-o", tmp_path, "--json")
    assert done.returncode == 1
    assert [(row["status"], row["failed"]) for row in rows(done)] == [("0112", 1)]


@pytest.mark.parametrize("command", ["echo", "find", "get"])
def test_a_key_without_its_certificate(command: str, tmp_path: Path) -> None:
    """It was passed over, and the association opened without TLS."""
    (tmp_path / "key.pem").write_text("")
    more = ["-k", "StudyInstanceUID=1.2.3"] if command == "get" else []
    done = sagittal(command, "PEER@127.0.0.1:1", "--tls-key", tmp_path / "key.pem", *more)
    assert done.returncode == 2 and "certificate" in done.stderr
