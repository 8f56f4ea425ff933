"""Every limit of the listener, at cap-1, cap and cap+1; and what breaks the protocol, over real sockets."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import nullcontext
from dataclasses import replace

import pytest
from loopback import (
    CT,
    EXPLICIT_LE,
    FIND,
    STORING,
    STUDY_FIND,
    Raw,
    Store,
    echo_request,
    message,
    request,
    run,
    services,
    serving,
    store_request,
    until,
)

from sagittal.dimse.commands import encode as encode_command
from sagittal.dimse.exchange import header
from sagittal.dimse.service import Request, Response
from sagittal.errors import PeerRefused
from sagittal.limits import NetLimits
from sagittal.net.client import Peer, connect
from sagittal.ul.codec import encode
from sagittal.ul.pdu import Abort, AssociateAC, AssociateRJ, AssociateRQ, ProposedContext, UserInformation


@pytest.mark.parametrize(("size", "taken"), [(4095, True), (4096, True), (4097, False), (0x7FFFFFFF, False)])
async def test_pdu_receive_bytes_max(size: int, taken: bool) -> None:
    store = Store()
    async with serving(services(store), pdu_receive_bytes_max=4096) as server:
        raw = await Raw.open(server.port, associate=STORING)
        data = bytes(min(size, 5000) - 6)
        command = store_request(data)[: -len(data) - 12]
        raw.send(command + b"\x04\0" + size.to_bytes(4, "big") + (size - 4).to_bytes(4, "big") + b"\x01\x02" + data)
        if taken:
            assert (await raw.command())["Status"] == 0
            assert store.kept == [data]
        else:
            assert await raw.answer() == Abort(2, 6)
            assert await raw.ended()
            assert store.aborted == 1
        raw.close()


def associate_of(size: int) -> bytes:
    """An A-ASSOCIATE-RQ whose variable field has `size` bytes."""
    asked = request()
    bare = len(encode(asked)) - 6
    rest = size - bare - 4 - 2 - 3
    user = UserInformation(16384, "1.2.3", extended=(("1.2", bytes(rest)),))
    return encode(AssociateRQ("SAGITTAL", "RAW", asked.contexts, user))


@pytest.mark.parametrize(("size", "taken"), [(4095, True), (4096, True), (4097, False)])
async def test_associate_pdu_bytes_max(size: int, taken: bool) -> None:
    async with serving(associate_pdu_bytes_max=4096) as server:
        raw = await Raw.open(server.port)
        data = associate_of(size)
        assert len(data) == size + 6
        raw.send(data)
        kind, _ = await raw.pdu()
        assert kind == (2 if taken else 7)
        raw.close()


@pytest.mark.parametrize(("count", "answer"), [(2, 2), (3, 2), (4, 3)])
async def test_presentation_contexts_max(count: int, answer: int) -> None:
    async with serving(presentation_contexts_max=3) as server:
        raw = await Raw.open(server.port)
        raw.send(encode(request(*[(CT, EXPLICIT_LE)] * count)))
        kind, body = await raw.pdu()
        assert kind == answer
        if answer == 3:
            assert tuple(body[1:]) == (1, 3, 2)
        raw.close()


@pytest.mark.parametrize("ids", [(2,), (1, 1), tuple(2 * i + 1 for i in range(129))])
async def test_context_ids_that_cannot_be_answered_are_aborted(ids: tuple[int, ...]) -> None:
    async with serving() as server:
        raw = await Raw.open(server.port)
        asked = AssociateRQ("A", "B", tuple(ProposedContext(i % 256, CT, (EXPLICIT_LE,)) for i in ids))
        raw.send(encode(asked))
        assert await raw.answer() == Abort(0, 0)
        assert await raw.ended()
        raw.close()


@pytest.mark.parametrize(("size", "answer"), [(0, 2), (255, 3), (256, 2), (257, 2)])
async def test_peer_pdu_bytes_min(size: int, answer: int) -> None:
    async with serving() as server:
        raw = await Raw.open(server.port)
        raw.send(encode(request(pdu_bytes_max=size)))
        assert (await raw.pdu())[0] == answer
        raw.close()


@pytest.mark.parametrize(("size", "taken"), [(0, True), (255, False), (256, True), (257, True)])
async def test_peer_pdu_bytes_min_of_an_acceptor(size: int, taken: bool) -> None:
    async with serving(pdu_receive_bytes_max=size) as server:
        opening = connect(Peer("B", "127.0.0.1", server.port), "A", [(CT, [EXPLICIT_LE])])
        with nullcontext() if taken else pytest.raises(PeerRefused, match="Maximum Length of 255 bytes"):
            await (await opening).release()


@pytest.mark.parametrize(("more", "taken"), [(-1, True), (0, True), (1, False)])
async def test_command_set_bytes_max(more: int, taken: bool) -> None:
    command = {"AffectedSOPClassUID": CT, "CommandField": 1, "MessageID": 1, "CommandDataSetType": 1,
               "AffectedSOPInstanceUID": "1.2"}  # fmt: skip
    encoded = encode_command(command)
    filler = b"\0\0\x50\x03" + (200 + more - len(encoded) - 8).to_bytes(4, "little")
    encoded += filler + bytes(200 + more - len(encoded) - 8)
    async with serving(command_set_bytes_max=200) as server:
        raw = await Raw.open(server.port, associate=STORING)
        raw.send(header(1, len(encoded), command=True, last=True) + encoded + header(1, 2, last=True) + b"ab")
        assert (await raw.pdu())[0] == (4 if taken else 7)
        raw.close()


@pytest.mark.parametrize(("size", "code"), [(99, 0), (100, 0), (101, 0xA700)])
async def test_identifier_bytes_max(size: int, code: int) -> None:
    async def find(request: Request) -> AsyncIterator[Response]:
        assert len(request.identifier or b"") == size
        yield Response(0)

    async with serving(services(find=find), identifier_bytes_max=100) as server:
        raw = await Raw.open(server.port, associate=request((STUDY_FIND, EXPLICIT_LE)))
        raw.send(message(1, FIND, bytes(size), limit=60))
        assert (await raw.command())["Status"] == code
        raw.close()


@pytest.mark.parametrize("beyond", [-1, 0, 1])
async def test_associations_max(beyond: int) -> None:
    async with serving(associations_max=2) as server:
        opened = [await Raw.open(server.port) for _ in range(2 + beyond)]
        answers = []
        for each in opened:
            each.send(encode(request()))
            answers.append(await each.answer())
        refused = [answer for answer in answers if isinstance(answer, AssociateRJ)]
        assert refused == [AssociateRJ(2, 3, 2)] * max(0, beyond)
        assert (server.accepted, server.rejections) == (min(2, 2 + beyond), {"2/3/2": 1} if refused else {})
        opened[0].close()
        await until(lambda: len(server.associations) == min(2, 2 + beyond) - 1)
        opened.append(await Raw.open(server.port, associate=request()))  # there is room again
        for each in opened:
            each.close()


@pytest.mark.parametrize("beyond", [-1, 0, 1])
async def test_associations_per_title_max(beyond: int) -> None:
    async with serving(associations_per_title_max=2) as server:
        opened = [await Raw.open(server.port, associate=request()) for _ in range(min(2, 2 + beyond))]
        if beyond > 0:
            opened.append(await Raw.open(server.port))
            opened[-1].send(encode(request()))
            assert await opened[-1].answer() == AssociateRJ(2, 3, 2)
        opened.append(await Raw.open(server.port, associate=replace(request(), calling_aet="OTHER")))
        opened[0].close()
        await until(lambda: len(server.associations) == min(2, 2 + beyond))
        opened.append(await Raw.open(server.port, associate=request()))  # there is room again
        for each in opened:
            each.close()


@pytest.mark.parametrize("beyond", [-1, 0, 1])
def test_connections_unassociated_max(beyond: int, caplog: pytest.LogCaptureFixture) -> None:
    """The oldest that says nothing makes room; an association does not count."""

    async def test() -> None:
        async with serving(connections_unassociated_max=3) as server:
            working = await Raw.open(server.port, associate=request())
            silent = []
            for count in (2, 3, 4, 4)[: 3 + beyond]:
                silent.append(await Raw.open(server.port))
                await until(lambda wanted=count: server.connections == wanted)
            if beyond > 0:
                assert await silent[0].ended()
            assert server.connections == min(3, 3 + beyond) + 1
            for each in (working, *silent[max(0, beyond) :]):
                if each is not working:
                    each.send(encode(request()))
                    assert isinstance(await each.answer(), AssociateAC)
                each.send(echo_request())
                assert (await each.command())["Status"] == 0
            newcomer = await Raw.open(server.port, associate=request())
            for each in (*silent, working, newcomer):
                each.close()

    with caplog.at_level(logging.WARNING, "sagittal.net"):
        run(test)
    told = [record.getMessage() for record in caplog.records]
    assert sum("too many connections without an association" in line for line in told) == max(0, beyond)


@pytest.mark.parametrize("beyond", [-1, 0, 1])
async def test_connections_per_address_max(beyond: int) -> None:
    async with serving(connections_per_address_max=2) as server:
        opened = [await Raw.open(server.port) for _ in range(2 + beyond)]
        if beyond > 0:
            assert await opened[-1].ended()
        await until(lambda: server.connections == min(2, 2 + beyond))
        for each in opened[:2]:
            each.send(encode(request()))
            assert isinstance(await each.answer(), AssociateAC)
        opened[0].close()
        await until(lambda: server.connections == min(2, 2 + beyond) - 1)
        opened.append(await Raw.open(server.port, associate=request()))
        for each in opened:
            each.close()


async def test_artim_ends_the_silent_and_the_dribbling_not_the_associated() -> None:
    async with serving(artim_seconds=0.1) as server:
        hasty, server.limits = server.limits, NetLimits()
        good = await Raw.open(server.port, associate=request())
        server.limits = hasty
        silent, dribbling = await Raw.open(server.port), await Raw.open(server.port)
        data = encode(request())
        for byte in data[:-1]:  # all but the last byte, each in a packet of its own
            if dribbling.writer.transport.is_closing():  # that took longer than it may
                break
            dribbling.send(bytes([byte]))
            await asyncio.sleep(0)
        assert await silent.ended() and await dribbling.ended()
        good.send(echo_request())
        assert (await good.command())["Status"] == 0
        for each in (good, silent, dribbling):
            each.close()


async def test_idle_seconds_max() -> None:
    async with serving(idle_seconds_max=0.1) as server:
        raw = await Raw.open(server.port, associate=request())
        assert await raw.answer() == Abort(0, 0)
        raw.close()


async def test_the_progress_floor_inside_a_message() -> None:
    store = Store()
    async with serving(services(store), progress_window_seconds=0.1, receive_bytes_per_second_min=100_000) as server:
        raw = await Raw.open(server.port, associate=STORING)
        raw.send(store_request(bytes(1000))[:-10])
        assert await raw.answer() == Abort(0, 0)
        assert store.aborted == 1
        raw.close()


async def test_a_peer_that_takes_nothing_is_cut_off() -> None:
    async def find(request: Request) -> AsyncIterator[Response]:
        while True:
            yield Response(0xFF00, bytes(100_000))

    async with serving(services(find=find), send_stall_seconds_max=0.1) as server:
        raw = await Raw.open(server.port, associate=request((STUDY_FIND, EXPLICIT_LE)))
        raw.writer.transport.pause_reading()  # type: ignore[attr-defined]
        raw.send(message(1, FIND, b"keys"))
        await until(lambda: bool(server.associations))
        await until(lambda: server.connections == 0)
        raw.close()


@pytest.mark.parametrize(("sent", "words"), [
    (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP"), (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "TLS"),
    (b"\x08\0\0\0\0\x04abcd", "not DICOM"), (b"\xff" * 5000, "not DICOM"), (b"evil\r\nline\x1b[0m", "not DICOM"),
    (echo_request(), "unexpected P-DATA-TF in Sta2"), (b"\x04\0\x7f\xff\xff\xff\x7f\xff\xff\xf0\x01\x00", "P-DATA-TF"),
    (b"\x01\0\xff\xff\xff\xff", "4294967295"),
])  # fmt: skip
def test_garbage_is_aborted_and_told_in_one_line(sent: bytes, words: str, caplog: pytest.LogCaptureFixture) -> None:
    async def test() -> None:
        async with serving() as server:
            raw = await Raw.open(server.port)
            raw.send(sent)
            assert await raw.answer() == Abort(0, 0)
            assert await raw.ended()
            raw.close()
            await until(lambda: server.connections == 0)

    with caplog.at_level(logging.INFO, "sagittal.net"):
        run(test)
    (line,) = [record.getMessage() for record in caplog.records if record.name == "sagittal.net"]
    assert words in line and line.isprintable()


@pytest.mark.parametrize("part", [1, 5, 6, 20])
async def test_half_a_pdu_then_close(part: int) -> None:
    async with serving() as server:
        raw = await Raw.open(server.port)
        raw.send(encode(request())[:part])
        await until(lambda: server.connections == 1)
        raw.writer.close()
        await until(lambda: server.connections == 0)
        raw = await Raw.open(server.port, associate=request())
        raw.send(echo_request()[:part])
        raw.writer.close()
        await until(lambda: server.connections == 0)


async def test_200_silent_sockets_hinder_nobody() -> None:
    async with serving() as server:
        silent = [await Raw.open(server.port) for _ in range(200)]
        raw = await Raw.open(server.port, associate=request())
        for _ in range(20):
            raw.send(echo_request())
            assert (await raw.command())["Status"] == 0
        for each in (*silent, raw):
            each.close()
        await until(lambda: server.connections == 0)


async def test_tiny_values_are_joined_and_wait_their_turn() -> None:
    store = Store()
    async with serving(services(store)) as server:
        raw, other = [await Raw.open(server.port, associate=STORING) for _ in range(2)]
        data = bytes(range(256)) * 400
        raw.send(store_request(data, limit=1))
        other.send(store_request(b"other"))
        assert (await other.command())["Status"] == 0
        assert (await raw.command())["Status"] == 0
        assert store.kept[1] == data
        for each in (raw, other):
            each.close()
