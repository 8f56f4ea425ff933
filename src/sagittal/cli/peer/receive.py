"""`sagittal receive`."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import click

from sagittal.cli.output import json_option, result, run, say
from sagittal.cli.peer.telling import Telling
from sagittal.client.folder import Folder
from sagittal.dicom.sopclasses import STORAGE_SERVICE, VERIFICATION, may_be_storage
from sagittal.dimse.address import check_aet
from sagittal.dimse.commands import C_ECHO_RQ
from sagittal.dimse.service import Request, Response, Service, StoreHandler, StoreSink
from sagittal.dimse.status import SUCCESS
from sagittal.errors import StorageUnavailable, words_of
from sagittal.hosts import authority, check_host, is_loopback
from sagittal.limits import NetLimits
from sagittal.net.admission import Accept, Admission, AssociateInfo
from sagittal.net.server import DimseServer
from sagittal.ul.negotiation import storable

_RELEASE_SECONDS, _LOOK_SECONDS = 2.0, 0.02  # for senders after the last instance that was wanted


@click.command("receive")
@click.option("-o", "--out", type=click.Path(path_type=Path, file_okay=False), default=Path(), help="Folder [.]")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), default=11113, show_default=True, help="0 is a free one.")
@click.option("--aet", default="SAGITTAL", show_default=True, help="Our AE title.")
@click.option("-n", "--count", type=click.IntRange(1), help="End after so many instances.")
@json_option
def command(out: Path, host: str, port: int, aet: str, count: int | None, as_json: bool) -> int:
    """Take C-STORE from anyone into a folder: no archive, no index, nothing synced."""
    check_host(host)
    check_aet(aet)
    if not is_loopback(host):
        say(f"everybody who reaches {host} can fill {out}")
    try:
        run(_receive(out, host, port, aet, count, as_json))
    except BrokenPipeError:
        raise
    except OSError as error:
        what = f"listen on {host}" if error.filename is None else f"use {error.filename}"
        say(f"sagittal: cannot {what}: {words_of(error)}")
        return 1
    return 0


async def _receive(out: Path, host: str, port: int, aet: str, count: int | None, as_json: bool) -> None:
    stop, left, telling = asyncio.Event(), count, Telling()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)

    def arrived(path: Path, request: Request) -> None:
        nonlocal left
        uid = request.command["AffectedSOPInstanceUID"]
        telling.row(
            as_json, {"file": str(path), "sop_instance_uid": uid, "from": request.association.calling_aet}, str(path)
        )
        if left is not None:
            left -= 1
            if left <= 0:
                stop.set()

    folder = Folder(out, arrived)

    def store(request: Request) -> StoreSink:
        if left is not None and left <= 0:
            raise StorageUnavailable("as many instances as were wanted have come")
        return folder.store(request)

    server = DimseServer(_services(store), _admit, NetLimits(), aet)
    await server.start(host, port)
    where = authority(host, server.port)
    if as_json:
        result(True, {"dimse": where, "aet": aet})
    say(f"{aet}@{where} takes instances into {out.resolve()}; Ctrl-C ends it")
    try:
        await telling.along(stop.wait())
        if left is not None and left <= 0:
            await _released(server)
    finally:
        await server.stop(10.0)


async def _released(server: DimseServer) -> None:
    """Whoever sent the last one releases the association in a moment; to abort it would look like a failure there."""
    server.draining = True
    for _ in range(round(_RELEASE_SECONDS / _LOOK_SECONDS)):
        if not server.associations:
            return
        await asyncio.sleep(_LOOK_SECONDS)


def _services(store: StoreHandler) -> list[Service]:
    async def echo(_request: Request) -> AsyncIterator[Response]:
        yield Response(SUCCESS)

    return [
        Service("Verification", frozenset({VERIFICATION}), {C_ECHO_RQ: echo}),
        Service("Storage", may_be_storage, store=store, syntaxes=storable, service_class=STORAGE_SERVICE),
    ]


def _admit(info: AssociateInfo) -> Admission:
    return Accept(principal=info.calling_aet)
