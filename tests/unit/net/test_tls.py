"""TLS on both sides, with a certificate authority made for the test."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from loopback import CT, EXPLICIT_LE, VERIFICATION, Raw, Store, run, services, serving, until
from programs import need

from sagittal import lasting
from sagittal.errors import PeerError, PeerUnreachable, UsageError
from sagittal.net.acceptor import Acceptor
from sagittal.net.admission import Accept, AssociateInfo
from sagittal.net.client import Peer, connect
from sagittal.net.tls import Renewing, client_context, server_context

ALL = [(VERIFICATION, [EXPLICIT_LE]), (CT, [EXPLICIT_LE])]


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One self-signed certificate for 127.0.0.1 that serves as its own authority, at both ends."""
    return certify(tmp_path_factory.mktemp("tls"))


def certify(folder: Path) -> Path:
    command = [need("openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
               "-keyout", "key.pem", "-out", "cert.pem", "-days", "2", "-subj", "/CN=sagittal-test",
               "-addext", "subjectAltName=IP:127.0.0.1"]  # fmt: skip
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return folder


def exchange(certificates: Path, client: str, context: ssl.SSLContext, seen: list[AssociateInfo], size: int) -> int:
    async def test() -> None:
        def admit(info: AssociateInfo) -> Accept:
            seen.append(info)
            return Accept()

        cert, key = certificates / "cert.pem", certificates / "key.pem"
        tls = server_context(cert, key, ca=cert, client=client)  # type: ignore[arg-type]
        store = Store()
        async with serving(services(store), admit, tls) as server:
            peer = Peer("SAGITTAL", "127.0.0.1", server.port, context)
            async with asyncio.timeout(20), await connect(peer, "CLIENT", ALL) as association:
                assert await association.echo() == 0
                await association.store(CT, "1.2.3", EXPLICIT_LE, bytes(size))
        kept.append(len(store.kept[0]))

    kept: list[int] = []
    run(test)
    return kept[0]


@pytest.mark.parametrize("client", ["none", "optional", "required"])
def test_store_over_tls(certificates: Path, client: str) -> None:
    cert, key = certificates / "cert.pem", certificates / "key.pem"
    seen: list[AssociateInfo] = []
    context = client_context(ca=cert, certificate=cert, key=key)
    assert exchange(certificates, client, context, seen, 3_000_000) == 3_000_000
    assert bool(seen[0].certificate) == (client != "none")


def test_without_a_certificate(certificates: Path) -> None:
    context = client_context(ca=certificates / "cert.pem")
    assert exchange(certificates, "optional", context, [], 10) == 10
    with pytest.raises(PeerError):
        exchange(certificates, "required", context, [], 10)


def test_an_unknown_authority_is_refused(certificates: Path) -> None:
    with pytest.raises(PeerUnreachable, match="certificate"):
        exchange(certificates, "none", client_context(), [], 10)


async def test_renewed_certificates_are_taken_while_serving(
    certificates: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """By both ends: the listener shows the new one, and requests to nodes trust it; half a pair changes nothing."""
    (tmp_path / "new").mkdir()
    old, new = certificates, certify(tmp_path / "new")
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"

    def put(folder: Path, *files: Path) -> None:
        for file in files:
            file.write_bytes((folder / file.name).read_bytes())

    put(old, cert, key)
    trusting = Renewing(lambda: client_context(ca=cert), cert)
    async with serving(tls=Renewing(lambda: server_context(cert, key), cert, key)) as server:

        async def met(context: ssl.SSLContext) -> bool:
            try:
                association = await connect(Peer("SAGITTAL", "127.0.0.1", server.port, context), "CLIENT", ALL)
            except PeerUnreachable:
                return False
            await association.release()
            return True

        assert await met(trusting())
        with caplog.at_level(logging.WARNING, "sagittal.net"):
            put(new, cert)  # the key comes a moment later
            assert [await met(client_context(ca=old / "cert.pem")) for _ in range(3)] == [True] * 3
            key.unlink()
            assert await met(client_context(ca=old / "cert.pem"))
        told = [record.getMessage() for record in caplog.records if "stay in force" in record.getMessage()]
        assert len(told) == 2 and "mismatch" in told[0].lower()
        put(new, key)
        assert await met(trusting()) and not await met(client_context(ca=old / "cert.pem"))


def bad_server(folder: Path) -> None:
    server_context(folder / "cert.pem", client="required")


def missing_file(folder: Path) -> None:
    server_context(folder / "nothing.pem")


def missing_authority(folder: Path) -> None:
    client_context(ca=folder / "nothing.pem")


def test_nobody_is_asked_for_a_passphrase(certificates: Path) -> None:
    """OpenSSL would ask for it on the terminal."""
    command = [need("openssl"), "pkey", "-in", "key.pem", "-aes256", "-passout", "pass:secret", "-out", "encrypted.pem"]
    subprocess.run(command, cwd=certificates, check=True, capture_output=True)
    with pytest.raises(UsageError, match="without a passphrase"):
        server_context(certificates / "cert.pem", certificates / "encrypted.pem")


@pytest.mark.parametrize("make", [bad_server, missing_file, missing_authority])
def test_settings_that_cannot_work(certificates: Path, make: Callable[[Path], None]) -> None:
    with pytest.raises(UsageError) as error:
        make(certificates)
    assert str(certificates) not in str(error.value)


def test_tls_1_1_is_not_spoken(certificates: Path) -> None:
    assert server_context(certificates / "cert.pem", certificates / "key.pem").minimum_version == ssl.TLSVersion.TLSv1_2


def test_handshakes_count_as_connections(certificates: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The oldest that doesn't finish makes room; who speaks TLS comes in beside them."""
    tls = server_context(certificates / "cert.pem", certificates / "key.pem")

    async def test() -> None:
        async with serving(tls=tls, connections_unassociated_max=2, artim_seconds=20) as server:
            silent = []
            for count in (1, 2, 2, 2):
                silent.append(await Raw.open(server.port))
                await until(lambda wanted=count: server.connections == wanted)
            assert await silent[0].ended() and await silent[1].ended()
            peer = Peer("SAGITTAL", "127.0.0.1", server.port, client_context(ca=certificates / "cert.pem"))
            async with await connect(peer, "CLIENT", ALL) as association:
                assert await association.echo() == 0
            assert await silent[2].ended()
            for each in silent:
                each.close()
            await until(lambda: server.connections == 0)

    with caplog.at_level(logging.WARNING, "sagittal.net"):
        run(test)
    assert "too many connections without an association" in caplog.records[0].getMessage()


@pytest.mark.parametrize("beyond", [-1, 0, 1])
async def test_handshakes_count_by_address(certificates: Path, beyond: int) -> None:
    tls = server_context(certificates / "cert.pem", certificates / "key.pem")
    async with serving(tls=tls, connections_per_address_max=3) as server:
        silent = [await Raw.open(server.port) for _ in range(3 + beyond)]
        await until(lambda: server.connections == min(3, 3 + beyond))
        if beyond > 0:
            assert await silent[-1].ended()
        for each in silent:
            each.close()
        await until(lambda: server.connections == 0)


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\x00"])
def test_a_handshake_that_never_ends_is_ended(
    certificates: Path, sent: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    tls = server_context(certificates / "cert.pem", certificates / "key.pem")

    async def test() -> None:
        async with serving(tls=tls, artim_seconds=0.1) as server:
            raw = await Raw.open(server.port)
            raw.send(sent)
            assert await raw.ended()
            await until(lambda: server.connections == 0)
            raw.close()

    with caplog.at_level(logging.WARNING, "sagittal.net"):
        run(test)
    (line,) = [record.getMessage() for record in caplog.records if record.name == "sagittal.net"]
    assert "handshake" in line


async def test_a_connection_that_fails_unexpectedly_keeps_nobody_out(
    certificates: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tls = server_context(certificates / "cert.pem", certificates / "key.pem")
    secure, taken = Acceptor.secure, list[int]()

    def fail_once(self: Acceptor, accepted: socket.socket, context: ssl.SSLContext) -> None:
        taken.append(accepted.fileno())
        if len(taken) == 1:
            accepted.close()
            raise ZeroDivisionError
        secure(self, accepted, context)

    monkeypatch.setattr(Acceptor, "secure", fail_once)
    monkeypatch.setattr(lasting, "PAUSES", (0.01, 0.01))
    async with serving(tls=tls) as server:
        first = await Raw.open(server.port)
        assert await first.ended()
        first.close()
        peer = Peer("SAGITTAL", "127.0.0.1", server.port, client_context(ca=certificates / "cert.pem"))
        association = await connect(peer, "CLIENT", ALL)
        await association.release()
    assert "accepting connections failed, and is tried again" in caplog.text


async def test_stopping_within_a_handshake(certificates: Path) -> None:
    tls = server_context(certificates / "cert.pem", certificates / "key.pem")
    async with serving(tls=tls) as server:
        raw = await Raw.open(server.port)
        await until(lambda: server.connections == 1)
        await server.stop(5)
        assert server.connections == 0
        assert await raw.ended()
        raw.close()


async def test_connections_reset_before_they_are_accepted_harm_nobody(certificates: Path) -> None:
    """As port scans make them: accepted, they have no peer any more."""
    cert = certificates / "cert.pem"
    tls = server_context(cert, certificates / "key.pem")
    async with serving(tls=tls) as server:
        for _ in range(20):  # all of them before the listener gets a turn
            with socket.create_connection(("127.0.0.1", server.port)) as scan:
                scan.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        peer = Peer("SAGITTAL", "127.0.0.1", server.port, client_context(ca=cert))
        async with asyncio.timeout(10), await connect(peer, "CLIENT", ALL) as association:
            assert await association.echo() == 0
        await until(lambda: server.connections == 0)


@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
def test_a_peer_is_told_why_the_handshake_failed(
    certificates: Path, version: str, caplog: pytest.LogCaptureFixture
) -> None:
    """By an alert, as OpenSSL's own servers do; with TLS 1.3 it comes when the peer is through with its part."""
    cert = certificates / "cert.pem"
    tls = server_context(cert, certificates / "key.pem", ca=cert, client="required")
    context = client_context(ca=cert)
    context.minimum_version = context.maximum_version = ssl.TLSVersion[version]

    async def test() -> None:
        async with serving(tls=tls) as server:
            with pytest.raises(PeerError, match=r"(?i)handshake.failure|certificate.required"):
                await connect(Peer("SAGITTAL", "127.0.0.1", server.port, context), "CLIENT", ALL)
            await until(lambda: server.connections == 0)

    with caplog.at_level(logging.WARNING, "sagittal.net"):
        run(test)
    assert "PEER_DID_NOT_RETURN_A_CERTIFICATE" in caplog.text


@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
@pytest.mark.parametrize(
    ("host", "known", "told"), [("127.0.0.1", False, "UNKNOWN_CA"), ("localhost", True, "BAD_CERTIFICATE")]
)
def test_a_peer_is_told_why_its_certificate_is_refused(
    certificates: Path, version: str, host: str, known: bool, told: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Its authority is not known, or the name is another."""
    tls = server_context(certificates / "cert.pem", certificates / "key.pem")
    context = client_context(ca=certificates / "cert.pem" if known else None)
    context.minimum_version = context.maximum_version = ssl.TLSVersion[version]

    async def test() -> None:
        async with serving(tls=tls) as server:
            with pytest.raises(PeerUnreachable, match=r"(?i)self.signed|mismatch"):
                await connect(Peer("SAGITTAL", host, server.port, context), "CLIENT", ALL)
            await until(lambda: server.connections == 0)

    with caplog.at_level(logging.WARNING, "sagittal.net"):
        run(test)
    assert f"ALERT_{told}" in caplog.text


@pytest.mark.parametrize("gone", [b"", b"\x16\x03\x01"])
def test_the_log_says_why_also_where_the_system_does_not(
    certificates: Path, gone: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    tls = server_context(certificates / "cert.pem", certificates / "key.pem")

    async def test() -> None:
        async with serving(tls=tls) as server:
            raw = await Raw.open(server.port)
            raw.send(gone)
            await until(lambda: server.connections == 1)
            raw.close()
            await until(lambda: server.connections == 0)

    with caplog.at_level(logging.WARNING, "sagittal.net"):
        run(test)
    assert 'failed: "' not in caplog.text


async def test_a_peer_that_does_not_close_tls_is_not_waited_for(
    certificates: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its connection stayed half a minute after ARTIM, and a shutdown took as long as it might."""
    monkeypatch.setattr("sagittal.net.acceptor.CLOSE_NOTIFY_SECONDS", 0.05)
    cert = certificates / "cert.pem"
    tls, context = server_context(cert, certificates / "key.pem"), client_context(ca=cert)
    async with serving(tls=tls) as server:
        plain = socket.create_connection(("127.0.0.1", server.port))
        with await asyncio.to_thread(context.wrap_socket, plain, server_hostname="127.0.0.1"):
            await until(lambda: server.connections == 1)
            async with asyncio.timeout(15):
                await server.stop(25)
            assert server.connections == 0


def test_who_speaks_no_tls_is_told_apart(certificates: Path, caplog: pytest.LogCaptureFixture) -> None:
    """From either side, in words: OpenSSL finds a wrong version number in what is no record at all."""
    cert = certificates / "cert.pem"

    async def test() -> None:
        async with serving() as server:
            with pytest.raises(PeerUnreachable, match="does not speak TLS"):
                await connect(Peer("SAGITTAL", "127.0.0.1", server.port, client_context(ca=cert)), "CLIENT", ALL)
        async with serving(tls=server_context(cert, certificates / "key.pem")) as server:
            with pytest.raises(PeerError):
                await connect(Peer("SAGITTAL", "127.0.0.1", server.port), "CLIENT", ALL)
            await until(lambda: server.connections == 0)

    with caplog.at_level(logging.WARNING, "sagittal.net"):
        run(test)
    assert "the peer does not speak TLS" in caplog.records[-1].getMessage()
