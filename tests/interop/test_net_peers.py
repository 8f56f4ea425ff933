"""The network rooms alone, with trivial services, against DCMTK and pynetdicom in both roles."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from interop.peers import free_port, listening
from loopback import CT, EXPLICIT_LE, IMPLICIT_LE, STUDY_FIND, VERIFICATION, Store, services, serving, until
from programs import need
from pydicom import Dataset, dcmread
from pydicom.dataset import FileMetaDataset
from pydicom.uid import UID
from pynetdicom import AE, ALL_TRANSFER_SYNTAXES, AllStoragePresentationContexts, build_context, build_role, evt
from pynetdicom.sop_class import CTImageStorage, Verification  # type: ignore[attr-defined]

from sagittal.dimse.service import Request, Response
from sagittal.errors import PeerRefused
from sagittal.net.client import Peer, connect
from sagittal.net.server import DimseServer


def ct_image() -> Dataset:
    image = Dataset()
    image.SOPClassUID, image.SOPInstanceUID = CTImageStorage, "1.2.3.4.5.6"
    image.StudyInstanceUID, image.SeriesInstanceUID, image.PatientID = "1.2", "1.3", "ID"
    image.Rows = image.Columns = 300
    image.BitsAllocated = 16
    image.PixelData = bytes(300 * 300 * 2)
    image["PixelData"].VR = "OW"
    return image


def ct_file(folder: Path) -> Path:
    path = folder / "ct.dcm"
    image = ct_image()
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = UID(EXPLICIT_LE)
    image.save_as(path, enforce_file_format=True)
    return path


async def program(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return await asyncio.to_thread(
        lambda: subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=60)
    )


def with_server(test: object, store: Store | None = None, **handlers: object) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(90), serving(services(store, **handlers)) as server:
            await test(server)  # type: ignore[operator]

    asyncio.run(bounded())


def test_pynetdicom_proposes_all_it_can() -> None:
    """128 contexts with all transfer syntaxes and a role each: DCMTK takes that."""
    proposed = [build_context(CT, ALL_TRANSFER_SYNTAXES) for _ in range(128)]
    roles = [build_role(context.abstract_syntax, scp_role=True) for context in AllStoragePresentationContexts[:128]]

    async def test(server: DimseServer) -> None:
        def accepted() -> int:
            association = AE("ALL").associate("127.0.0.1", server.port, contexts=proposed, ext_neg=roles)
            count = len(association.accepted_contexts)
            association.release()
            return count

        assert await asyncio.to_thread(accepted) == 128

    with_server(test)


@pytest.mark.parametrize("pdu", [4096, 16384, 131072])
def test_dcmtk_echo_and_store(tmp_path: Path, pdu: int) -> None:
    echoscu, storescu, store = need("echoscu"), need("storescu"), Store()
    path = ct_file(tmp_path)

    async def test(server: DimseServer) -> None:
        port = str(server.port)
        assert (await program(echoscu, "127.0.0.1", port)).returncode == 0
        sent = await program(
            storescu, "-xe", "--max-pdu", str(pdu), "--max-send-pdu", str(pdu), "127.0.0.1", port, path
        )
        assert sent.returncode == 0, sent.stderr
        await until(lambda: not server.associations)

    with_server(test, store)
    file = dcmread(path)
    assert len(store.kept) == 1 and file.PixelData in store.kept[0]


async def two_rows(request: Request) -> AsyncIterator[Response]:
    for name in (b"ONE ", b"TWO "):
        yield Response(0xFF00, b"\x10\0\x20\0LO\x04\0" + name)
    yield Response(0)


def test_dcmtk_find(tmp_path: Path) -> None:
    findscu = need("findscu")

    async def test(server: DimseServer) -> None:
        found = await program(findscu, "-v", "-S", "-xe", "-k", "PatientID=", "127.0.0.1", str(server.port))
        assert found.returncode == 0, found.stderr
        assert "ONE" in found.stdout + found.stderr and "TWO" in found.stdout + found.stderr

    with_server(test, find=two_rows)


def test_pynetdicom_as_scu(tmp_path: Path) -> None:
    store = Store()

    def session(port: int) -> list[int]:
        ae = AE("PYNETDICOM")
        for abstract in (VERIFICATION, CT, STUDY_FIND):
            ae.add_requested_context(abstract, EXPLICIT_LE)
        association = ae.associate("127.0.0.1", port, ae_title="SAGITTAL")
        assert association.is_established
        image = ct_image()
        image.file_meta = dcmread(ct_file(tmp_path)).file_meta
        statuses = [association.send_c_echo().Status, association.send_c_store(image).Status]
        query = Dataset()
        query.QueryRetrieveLevel = "STUDY"
        statuses += [status.Status for status, _ in association.send_c_find(query, STUDY_FIND)]
        association.release()
        assert association.is_released
        return statuses

    async def test(server: DimseServer) -> None:
        assert await asyncio.to_thread(session, server.port) == [0, 0, 0xFF00, 0xFF00, 0]

    with_server(test, store, find=two_rows)
    assert len(store.kept) == 1


def test_dcmtk_storescp_as_peer(tmp_path: Path) -> None:
    storescp = need("storescp")
    received, path = tmp_path / "received", ct_file(tmp_path)
    received.mkdir()

    port = free_port()
    with listening([storescp, "-od", received, "+xe", str(port)], port):
        asyncio.run(store_to(Peer("STORESCP", "127.0.0.1", port), path))
    (file,) = received.iterdir()
    assert dcmread(file).PixelData == dcmread(path).PixelData


async def store_to(peer: Peer, path: Path) -> None:
    data = path.read_bytes()
    start = 132 + 12 + int.from_bytes(data[140:144], "little")
    contexts = [(VERIFICATION, [EXPLICIT_LE]), (CT, [EXPLICIT_LE, IMPLICIT_LE])]
    async with asyncio.timeout(30), await connect(peer, "SAGITTAL", contexts) as association:
        assert await association.echo() == 0
        assert (await association.store(CT, "1.2.3.4.5.6", EXPLICIT_LE, data[start:])).status == 0


def test_pynetdicom_as_scp(tmp_path: Path) -> None:
    kept: list[Dataset] = []
    ae = AE("PEER")
    ae.add_supported_context(Verification)
    ae.add_supported_context(CTImageStorage, [EXPLICIT_LE])
    ae.require_called_aet = True

    def keep(event: evt.Event) -> int:
        kept.append(event.dataset)
        return 0

    server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, keep)])
    assert server is not None
    try:
        port = server.server_address[1]
        asyncio.run(store_to(Peer("PEER", "127.0.0.1", port), ct_file(tmp_path)))
        with pytest.raises(PeerRefused, match="called AE title not recognized"):
            asyncio.run(_connect(Peer("OTHER", "127.0.0.1", port)))
    finally:
        server.shutdown()
    assert kept[0].PatientID == "ID" and len(kept[0].PixelData) == 180_000


async def _connect(peer: Peer) -> None:
    await connect(peer, "SAGITTAL", [(VERIFICATION, [IMPLICIT_LE])])
