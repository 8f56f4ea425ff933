"""The composition root: one archive, its DIMSE and HTTP listeners, from start to drain.

Every part gets what it works with from here and finds nothing by itself. The DIMSE listener comes first and the HTTP
stack is imported beside it, so that a modality is answered early. Deliberately not here: what any request means.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import hashlib
import json
import logging
import os
import resource
import secrets
import shlex
import signal
import ssl
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from ipaddress import ip_network
from typing import TYPE_CHECKING, Any, NamedTuple

from sagittal.archive import SERVER_FILE, faults
from sagittal.archive.archive import Archive
from sagittal.archive.nodes import Assumed, Node, Token, check_assumed, read_nodes, read_tokens
from sagittal.archive.transcoding.byrule import ByRule
from sagittal.archive.transcoding.maker import Maker
from sagittal.config.settings import Settings
from sagittal.errors import UsageError, words_of
from sagittal.hosts import authority
from sagittal.net.client import Association, Peer, Proposal, connect
from sagittal.net.server import DimseServer
from sagittal.net.tls import ClientCertificate, Renewing, client_context, server_context
from sagittal.services import ALL
from sagittal.services.nodes import NodeTable
from sagittal.services.site import Site
from sagittal.services.tokens import TokenTable
from sagittal.ul.negotiation import DEFAULT_ORDER
from sagittal.workers.pool import Pool

if TYPE_CHECKING:
    from sagittal.web.app import WebApp
    from sagittal.web.server import HttpServer

log = logging.getLogger("sagittal.serve")

# Imported once by the process that workers are forked from.
WORKER_MODULES = (
    *("sagittal.convert.rendered", "sagittal.convert.transcoded", "sagittal.convert.verified"),
    "sagittal.pixels.codecs.native",
    *("imagecodecs", "PIL.Image"),
)

_NO_FILES = "too many open files (ulimit -Hn): new connections are dropped"

# Every address of this machine is none to connect to, and no name in a Host header (pages of anybody may use it).
_WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "::1"}


class Tls(NamedTuple):
    """TLS as it was read at the start and renewed since: opening anew meets no half of a pair of certificates."""

    listener: Callable[[], ssl.SSLContext] | None
    nodes: Callable[[], ssl.SSLContext]


@dataclass
class Running:
    """A serving archive; `ready` is what the ready line says: addresses to connect to."""

    settings: Settings
    archive: Archive
    nodes: NodeTable
    tokens: TokenTable
    workers: Pool
    maker: Maker
    by_rule: ByRule
    local_token: str
    dimse: DimseServer | None = None
    http: HttpServer | None = None
    app: WebApp | None = None
    draining: bool = False
    transcoding: asyncio.Task[None] | None = None
    unfound: str | None = ""  # why no command finds us, as far as it was tried; None: they do
    no_files: bool = False  # the system lets us open none

    @property
    def ready(self) -> dict[str, Any]:
        assert self.dimse is not None and self.http is not None
        host = _WILDCARDS.get(self.settings.host, self.settings.host)
        return {
            "http": f"http://{authority(host, self.http.port)}",
            "dimse": authority(host, self.dimse.port),
            "aet": self.settings.aet,
            "data": str(self.settings.data.resolve()),
        }

    @property
    def settled(self) -> Settings:
        """The settings, with the ports that are ours."""
        assert self.dimse is not None and self.http is not None
        dimse, web = replace(self.settings.dimse, port=self.dimse.port), replace(self.settings.web, port=self.http.port)
        return replace(self.settings, dimse=dimse, web=web)

    def reasons(self) -> list[str]:
        """Why not ready, beside what the archive itself says."""
        if self.draining:
            return ["draining"]
        if self.dimse is None or self.http is None:
            return ["the listeners are starting"]
        return [_NO_FILES] if self.no_files else []

    def look_around(self) -> None:
        """Tell commands where we are, once the disk takes that, and the log where new connections are dropped: by the
        system, before anything here learns of them.
        """
        if self.unfound is not None:
            try:
                write_server_file(self)
                self.unfound = None
            except OSError as error:  # a full disk: what is held can be had all the same
                if self.unfound != (reason := words_of(error)):
                    log.warning("commands on the data directory do not find this server yet: %s", reason)
                self.unfound = reason
        before = self.no_files
        try:
            os.close(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
            self.no_files = False
        except OSError:
            self.no_files = True
        if self.no_files != before:
            log.warning(_NO_FILES if self.no_files else "there are open files to be had again")


def check_bind(settings: Settings, nodes: int, tokens: int) -> None:
    """Raise UsageError for a bind that is open by accident (exit status 2), with the lines to type."""
    if settings.loopback:
        return
    if settings.durability == "off":
        raise UsageError(f"durability off is for benchmarks on loopback; {settings.host} is not loopback")
    lines, data = [], shlex.quote(str(settings.data))
    if not nodes:
        lines.append(f"  sagittal nodes add AET@host:port --data {data}")
    if not tokens:
        lines.append(f"  sagittal config token add NAME --data {data}")
    if lines:
        what = " and ".join(name for name, count in (("nodes", nodes), ("tokens", tokens)) if not count)
        raise UsageError(
            f"{settings.host} is not loopback and there are no {what} yet. Type first:\n" + "\n".join(lines)
        )


async def serve(settings: Settings, announce: Callable[[Mapping[str, Any]], None]) -> None:
    """Serve until SIGTERM or SIGINT, then drain. UsageError for an unsafe bind, OSError for a port that is taken.

    After a start on a disk that takes nothing all is opened once more, on the same ports, when the disk does again.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    sys.setswitchinterval(1e-5)  # neither loop nor committer waits for the other longer than it takes to wake it
    limits = settings.limits
    raise_open_files(limits.net.connections_unassociated_max + limits.web.connections_max)
    if settings.durability == "off":
        check_bind(settings, 1, 1)
    tls = Tls(tls_context(settings), node_tls(settings))
    before: Archive | None = None
    while not stop.is_set():
        archive = await Archive.open(
            settings.data,
            limits=limits,
            durability=settings.durability,
            faults=faults.from_environment(os.environ),
            attributes=settings.index.attributes,
            stores=settings.stores,
            before=before,
        )
        settings = await _serve(settings, archive, tls, announce, stop)
        announce, before = _nobody, archive


async def _serve(
    settings: Settings, archive: Archive, tls: Tls, announce: Callable[[Mapping[str, Any]], None], stop: asyncio.Event
) -> Settings:
    """Serve an open archive as long as it can be; gives the settings with the ports that were taken."""
    try:
        running = await _start(settings, archive, tls)
        try:
            announce(running.ready)
            log.info("ready", extra={"fields": {"pid": os.getpid(), "host": settings.host, **running.ready}})
            while not (stop.is_set() or archive.outlived):
                running.look_around()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), settings.limits.archive.audit_seconds_max)
            if archive.outlived:
                log.warning("the disk takes writes again: everything is opened anew")
        finally:
            await _drain(running)
    finally:
        await archive.close()
    return running.settled


def _nobody(ready: Mapping[str, Any]) -> None:
    """Who was told once is not told again."""


def raise_open_files(connections: int) -> None:
    """As many open files as the system allows us: the usual soft limit of 1,024 is less than our `connections`. Where
    the hard one is, too, silent peers can use them up, and the system drops whoever comes then without a word.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            soft = hard
        except (OSError, ValueError) as error:  # macOS has a ceiling of its own below an unlimited hard limit
            log.warning("open files stay limited to %d: %s", soft, error)
    if soft != resource.RLIM_INFINITY and soft < connections:
        told = "the system lets us open %d files, fewer than the %d connections that the limits allow (ulimit -Hn)"
        log.warning(told, soft, connections)


async def _start(settings: Settings, archive: Archive, tls: Tls) -> Running:
    """Both listeners, DIMSE first; nothing is left open if one of them can't be."""
    local_token = secrets.token_urlsafe(32)
    named = [Token(t.name, t.sha256, frozenset(t.verbs), store=t.store) for t in settings.tokens]
    digest = hashlib.sha256(local_token.encode()).hexdigest()
    tokens = TokenTable(archive, await read_tokens(archive.readers), named, digest)
    nodes = node_table(settings, archive, tls, await read_nodes(archive.readers), tokens)
    check_bind(settings, len(nodes), len(tokens))
    workers = Pool(settings.limits.workers, WORKER_MODULES)
    maker = Maker(archive, workers, settings.limits)
    by_rule = ByRule(archive, workers, settings.transcode, settings.limits)
    running = Running(settings, archive, nodes, tokens, workers, maker, by_rule, local_token)
    try:
        await by_rule.begin()
        running.dimse = dimse = dimse_server(settings, archive, tls, nodes, maker)
        await dimse.start(settings.host, settings.dimse.port)
        await _start_http(running, dimse)
        running.look_around()
        running.transcoding = asyncio.get_running_loop().create_task(by_rule.run())
    except BaseException:
        await _drain(running)
        raise
    return running


def node_table(settings: Settings, archive: Archive, tls: Tls, kept: Sequence[Node], tokens: TokenTable) -> NodeTable:
    """The AE table: what the archive keeps and what the configuration fixes."""
    return NodeTable(
        archive,
        kept,
        [given.node() for given in settings.nodes],
        {settings.aet, *settings.dimse.called_aets},
        settings.loopback,
        users=tokens,
        identity_required=settings.dimse.user_identity == "required",
        duplicates=settings.duplicates,
        tls=tls.nodes,
        called={aet: name for name, store in settings.stores.items() for aet in store.called_aets},
        assumed=check_assumed(Assumed(settings.character_set, settings.timezone)),
    )


def titles(settings: Settings, archive: Archive) -> dict[int, str]:
    """By store: the first of the titles by which it is called."""
    return {archive.stores[name]: store.called_aets[0] for name, store in settings.stores.items() if store.called_aets}


def dimse_server(settings: Settings, archive: Archive, tls: Tls, nodes: NodeTable, maker: Maker) -> DimseServer:
    """The DIMSE listener with every service."""

    async def to_peer(peer: Peer, contexts: Sequence[Proposal]) -> Association:
        return await connect(peer, settings.aet, contexts, limits=settings.limits.net)

    site = Site(
        archive=archive,
        aet=settings.aet,
        destination=nodes.destination,
        connect=to_peer,
        limits=settings.limits.reader,
        maker=maker,
        sender=nodes.sender,
        charsets=nodes.charsets,
        aets=titles(settings, archive),
        kept_is_success=settings.dimse.kept_status == "success",
    )
    services = [make(site) for make in ALL]
    order = tuple(dict.fromkeys(settings.dimse.prefer + DEFAULT_ORDER))
    return DimseServer(services, nodes.admit, settings.limits.net, settings.aet, tls.listener, order)


def tls_context(settings: Settings) -> Callable[[], ssl.SSLContext] | None:
    """TLS for the DIMSE listener; client certificates are wanted when authorities are given."""
    dimse = settings.dimse
    if dimse.tls_certificate is None:
        if dimse.tls_key is not None or dimse.tls_authorities is not None:  # nobody wants to listen without TLS then
            raise UsageError(
                "dimse.tls_certificate is missing: without it dimse.tls_key and dimse.tls_authorities do nothing"
            )
        return None
    certificate, key, ca = dimse.tls_certificate, dimse.tls_key, dimse.tls_authorities
    client: ClientCertificate = "required" if ca else "none"
    context = Renewing(functools.partial(server_context, certificate, key, ca=ca, client=client), certificate, key, ca)
    context()
    return context


def node_tls(settings: Settings) -> Callable[[], ssl.SSLContext]:
    """TLS for connections to nodes, with the listener's certificate as ours. Files that are given are read at once."""
    dimse = settings.dimse
    ca, certificate, key = dimse.tls_node_authorities, dimse.tls_certificate, dimse.tls_key
    make = functools.partial(client_context, ca=ca, certificate=certificate, key=key)
    context = Renewing(make, ca, certificate, key)
    if ca is not None:
        context()
    return context


async def _start_http(running: Running, dimse: DimseServer) -> None:
    """Import the HTTP stack on a thread, since the DIMSE listener serves already, and listen."""
    settings = running.settings
    app_module, house_module, server_module = await asyncio.to_thread(_import_web)
    web = house_module.Settings(
        aet=settings.aet,
        aets=titles(settings, running.archive),
        dimse_port=dimse.port,
        senders=settings.dimse.senders,
        loopback=settings.loopback,
        hosts=settings.web.names,
        origins=frozenset(origin.lower().rstrip("/") for origin in settings.web.origins),
        public_url=settings.web.public_url,
        trusted_proxies=tuple(map(ip_network, settings.web.trusted_proxies)),
        tokens=lambda: running.tokens,
        nodes=running.nodes,
        token_table=running.tokens,
        listener=dimse,
        by_rule=running.by_rule,
        ready=running.reasons,
        durability=settings.durability,
        duplicates=settings.duplicates,
        assumed=check_assumed(Assumed(settings.character_set, settings.timezone)),
        limits=settings.limits,
    )
    running.app = app_module.create_app(running.archive, web, running.workers, running.maker)
    place = settings.host, settings.web.port
    server = server_module.HttpServer(running.app, *place, settings.limits.web, running.app.drain)
    await server.start()
    running.http = server


def _import_web() -> tuple[Any, Any, Any]:
    from sagittal.web import app, house, server

    return app, house, server


async def _drain(running: Running) -> None:
    """Take nothing new, let what is under way end within `drain_seconds_max`."""
    running.draining = True
    seconds = running.settings.limits.archive.drain_seconds_max
    with contextlib.suppress(OSError):  # it is not there, or on a disk that may only be read
        (running.settings.data / SERVER_FILE).unlink()
    listeners = [listener for listener in (running.dimse, running.http) if listener is not None]
    results = await asyncio.gather(*(listener.stop(seconds) for listener in listeners), return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            log.error("a listener did not stop cleanly", exc_info=result)
    if running.app is not None:
        running.app.close()
    if running.transcoding is not None:
        running.transcoding.cancel()
        await asyncio.wait((running.transcoding,))
    await running.workers.close()
    log.info("stopped")


def write_server_file(running: Running) -> None:
    """Tell commands on this directory where we listen. Readable by our user only: it lets in as the local operator."""
    path = running.settings.data / SERVER_FILE
    beside = path.with_suffix(".new")
    beside.unlink(missing_ok=True)
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(running.ready | {"pid": os.getpid(), "token": running.local_token}, file)
    beside.replace(path)
