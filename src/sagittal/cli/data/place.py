"""Where an archive is: a data directory that nobody holds, one that a server holds, or a server's URL."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import aclosing, asynccontextmanager, closing
from dataclasses import asdict, dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, Protocol, TypeVar, cast
from urllib.parse import quote

import click
from click.core import ParameterSource

from sagittal.client.place import Access, bearer, listener_of, parse_url
from sagittal.errors import DirectoryHeld, NotFound, PeerRefused, PeerUnreachable, UsageError, words_of
from sagittal.folders import holds_something_else

if TYPE_CHECKING:
    import httpx

    from sagittal.archive.access import Principal
    from sagittal.archive.archive import Archive
    from sagittal.archive.index.connection import Readers
    from sagittal.archive.local import LocalVolume
    from sagittal.limits import Limits

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")


class Told(Protocol):
    """One object: what is wrong with it, if anything is."""

    @property
    def error(self) -> str: ...


One = TypeVar("One", bound=Told)


class DataPath(click.Path):
    """A path that is not empty: that of a shell's variable without a value would be the folder that we are in."""

    def __init__(self) -> None:
        super().__init__(path_type=Path, file_okay=False)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value == "":
            self.fail("it is empty", param, ctx)
        return super().convert(value, param, ctx)


def data_option(command: F) -> F:
    """`--data DIR`."""
    option = click.option(
        "--data", type=DataPath(), envvar="SAGITTAL_DATA", default=Path("sagittal-data"), show_default=True,
        help="Data directory.",
    )  # fmt: skip
    return option(command)


def store_option(command: F) -> F:
    """`--store NAME`."""
    return click.option("--store", "store", default="", metavar="NAME", help="Work in this store [main].")(command)


def server_option(command: F) -> F:
    """`--url URL`, and the authorities of one that is https. The command gets `server`, or None."""

    @wraps(command)
    def called(url: str | None, tls_ca: Path | None, **given: Any) -> Any:
        if tls_ca is not None and not (url or "").startswith("https:"):
            raise UsageError("--tls-ca is for an https URL")
        if url is not None and click.get_current_context().get_parameter_source("data") is ParameterSource.COMMANDLINE:
            raise UsageError("--data or --url, not both")
        return command(server=None if url is None else server_at(url, tls_ca), **given)

    file = click.Path(path_type=Path, exists=True, dir_okay=False)
    ca = click.option("--tls-ca", type=file, help="Authorities of an https URL (PEM) [the system's].")
    at = click.option("--url", help="A running archive, as http://127.0.0.1:8042 (token: SAGITTAL_TOKEN).")
    return cast(F, at(ca(called)))  # a click decorator gives what it was given


def local(archive: Archive, store: str) -> Principal:
    """The operator at this machine, in a store. UsageError when there is none of this name."""
    from sagittal.archive.access import LOCAL, enter
    from sagittal.archive.index.upkeep.stores import number_of

    return enter(LOCAL, number_of(archive.stores, store))


def existing(data: Path) -> Path:
    """A data directory that is there, for commands that must not make one. UsageError."""
    if not (data / "index.db").is_file():
        raise UsageError(f"{data} is not a data directory")
    return data


def check_outside(data: Path, target: Path) -> None:
    """UsageError for a target within the data directory, whose start clears some of what lies there."""
    if Path(os.path.realpath(target)).is_relative_to(os.path.realpath(data)):
        raise UsageError(f"{target} is in the data directory {data}: choose a place outside of it")


def check_apart(data: Path, sources: Iterable[Path]) -> None:
    """UsageError for a new data directory where the files lie that are to be taken: they would be passed over."""
    here = os.path.realpath(data)
    if holds_something_else(data) and any(Path(os.path.realpath(source)).is_relative_to(here) for source in sources):
        raise UsageError(f"{data} holds the files: choose another folder as the data directory")


@asynccontextmanager
async def open_unheld(data: Path, limits: Limits | None = None) -> AsyncIterator[Archive | None]:
    """The archive of a directory; None while a server has it."""
    from sagittal.archive.archive import Archive

    try:
        archive = await Archive.open(data, limits=limits)
    except DirectoryHeld:
        archive = None
    try:
        yield archive
    finally:
        if archive is not None:
            await archive.close()


@dataclass(frozen=True, slots=True)
class Server:
    """A running archive, reached over HTTP."""

    url: str
    token: str
    tls_ca: Path | None = None
    may_be_proxied: bool = False  # by who the environment names

    @asynccontextmanager
    async def client(self) -> AsyncIterator[httpx.AsyncClient]:
        """An HTTP client that shows the token; PeerUnreachable when nobody answers."""
        import httpx

        headers = bearer(self.token) if self.token else {}
        timeout = httpx.Timeout(30.0, read=300.0, write=300.0)
        try:
            verify = Access(tls_ca=self.tls_ca).verification()
            direct = None if self.may_be_proxied else httpx.AsyncHTTPTransport(verify=verify)
            async with httpx.AsyncClient(
                base_url=self.url, headers=headers, timeout=timeout, verify=verify, transport=direct
            ) as client:
                yield client
        except httpx.TransportError as error:
            raise PeerUnreachable(f"{self.url}: {words_of(error)}") from None


async def server_of(data: Path) -> Server:
    """The server that holds a directory."""
    return Server(*await listener_of(data))


def server_at(url: str, tls_ca: Path | None) -> Server:
    """A server by its URL; the token comes from SAGITTAL_TOKEN."""
    base = url.rstrip("/").removesuffix("/dicom-web")
    return Server(base, os.environ.get("SAGITTAL_TOKEN", ""), tls_ca, parse_url(url).may_be_proxied)


def refused(response: httpx.Response) -> NoReturn:
    """Say why a server refused, as it tells itself."""
    raise PeerRefused(f"the server answered {response.status_code}: {_reason(response)}")


def _reason(response: httpx.Response) -> str:
    try:
        return str(response.json()["detail"])
    except (ValueError, KeyError, TypeError):
        return response.reason_phrase


async def tend(
    data: Path, here: Callable[[Archive], Awaitable[T]], method: str, path: str, row: dict[str, Any] | None = None
) -> T:
    """`here` with the archive of a directory that nobody holds; else the server that holds it is asked the same.

    What `here` gives, or the JSON that the server answers (None when it answers nothing); NotFound when it has no such
    thing and UsageError when what is asked is wrong, as `here` says it too, PeerRefused when it refuses.
    """
    async with open_unheld(data) as archive:
        if archive is not None:
            return await here(archive)
    async with (await server_of(data)).client() as client:
        response = await client.request(method, path, json=row)
    if response.status_code == 404:
        raise NotFound(_reason(response))
    if response.status_code == 400:
        raise UsageError(_reason(response))
    if response.is_error:
        refused(response)
    return cast(T, response.json() if response.content else None)


@dataclass
class Done:
    """What the audit log is told of a command at its end."""

    outcome: str = "failed"
    detail: str = ""
    instances: int = 0


async def note(data: Path, verb: str, done: Done, store: str = "") -> None:
    """Have it written down by the server that holds a directory, or here if that has ended meanwhile."""

    async def here(archive: Archive) -> None:
        from sagittal.archive.access import audit_row

        who = local(archive, store)
        archive.audit(audit_row(who, verb, done.outcome, detail=done.detail, number_of_instances=done.instances))

    path = (f"/stores/{quote(store, safe='')}" if store else "") + "/api/upkeep"
    await tend(data, here, "POST", path, {"verb": verb, **asdict(done)})


async def beside(
    data: Path, verb: str, work: Callable[[Readers, LocalVolume], Awaitable[Callable[[], Iterator[One]]]],
    store: str = "",
) -> AsyncGenerator[One]:  # fmt: skip
    """What is done beside a server, in its audit log: objects are immutable, and can be read while it goes on."""
    from sagittal.archive.index.connection import Readers
    from sagittal.archive.local import LocalVolume
    from sagittal.archive.upkeep.tasks import steps

    done = Done()
    try:
        with closing(Readers(existing(data) / "index.db", 1)) as readers, closing(LocalVolume(data)) as volume:
            async with aclosing(steps(await work(readers, volume))) as found:
                async for one in found:
                    done.instances += not one.error
                    yield one
        done.outcome = "done"
    finally:
        await note(data, verb, done, store)
