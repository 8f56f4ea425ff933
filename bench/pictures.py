"""Frames, pictures and zip files: against Orthanc, and nginx with the same bytes.

The pixels are a phantom with noise, as compressible as a CT image. All objects are stored once; requests go round them,
so that a server which keeps the pictures it made has most of them; rows named `-new` ask for no picture twice.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from random import Random
from typing import TYPE_CHECKING, Any

from bench import probes
from bench.dimse import connect
from bench.objects import CT_IMAGE, MULTIFRAME, Item, Template
from bench.peers import Orthanc, Ours, Server
from bench.probes import instance_of, paced, study_of
from bench.sender import send
from bench.workload import Bench, Measure, Row

if TYPE_CHECKING:
    import numpy as np

FRAMES = 'multipart/related; type="application/octet-stream"'
JPEG, ZIP, ANY = "image/jpeg", "application/zip", "*/*"
_SLICES, _COUNT, _SIDE = 60, 200, 256
_PHANTOMS = 4  # different ones
_QUALITIES = sorted(range(40, 100), key=lambda quality: abs(quality - 90))  # 90 is both servers' own


@cache
def phantom(side: int, seed: int) -> np.ndarray[Any, np.dtype[np.uint16]]:
    """A round body with organs in it and the noise of a CT image, as stored values."""
    import numpy as np

    made = np.random.default_rng(seed)
    y, x = np.mgrid[0:side, 0:side] / side - 0.5
    image = np.where(x**2 / 0.2 + y**2 / 0.12 < 1, 1050.0, 24.0)
    for _ in range(12):
        cx, cy, radius = made.uniform(-0.25, 0.25), made.uniform(-0.2, 0.2), made.uniform(0.01, 0.08)
        image[(x - cx) ** 2 + (y - cy) ** 2 < radius**2] = made.uniform(200, 2000)
    image += made.normal(0, 8, image.shape)
    return np.clip(image, 0, 4095).astype(np.uint16)


@cache
def series() -> list[Item]:
    """A CT study."""
    kinds = [Template(512, 512, 1, CT_IMAGE, phantom(512, n).tobytes()) for n in range(_PHANTOMS)]
    return [kinds[n % _PHANTOMS].object(90_000_001 + n, 90_000_001, n + 1) for n in range(_SLICES)]


@cache
def multiframe() -> Item:
    """An object of 200 frames."""
    pixels = b"".join(phantom(_SIDE, n).tobytes() for n in range(_PHANTOMS))
    return Template(_SIDE, _SIDE, _COUNT, MULTIFRAME, pixels).object(91_000_001, 90_000_002, 1)


class OursPictured(Ours):
    def fill(self) -> None:
        self.held = [*series(), multiframe()]
        send(self, self.held, 1)


class OrthancPictured(Orthanc):
    def fill(self) -> None:
        self.held = [*series(), multiframe()]
        send(self, self.held, 1)


class Nginx(Server):
    """A file a frame, as quick as files can be served."""

    program = "nginx"
    speaks_http = True

    def command(self) -> list[str]:
        pixels, size = multiframe().pixels, _SIDE * _SIDE * 2
        (self.folder / "frames").mkdir(exist_ok=True)
        for n in range(_COUNT):
            (self.folder / "frames" / str(n + 1)).write_bytes(pixels[n * size : (n + 1) * size])
        user = "user root;" if os.getuid() == 0 else ""
        places = " ".join(f"{each}_temp_path {self.folder};" for each in ("proxy", "fastcgi", "uwsgi", "scgi"))
        (self.folder / "nginx.conf").write_text(f"""{user} daemon off; worker_processes 1; pid {self.folder}/pid;
            error_log stderr; events {{}}
            http {{ access_log off; client_body_temp_path {self.folder}; {places}
              sendfile on; tcp_nopush on; keepalive_requests 1000000; default_type application/octet-stream;
              server {{ listen 127.0.0.1:{self.http_port}; root {self.folder}; }} }}""")
        return ["nginx", "-p", str(self.folder), "-c", str(self.folder / "nginx.conf")]

    def answers(self) -> None:
        connect(self.http_port).close()


def orthanc_id(*parts: str) -> str:
    """What Orthanc calls a patient, study, series or instance: of the identifiers from the patient down."""
    digest = hashlib.sha1("|".join(parts).encode(), usedforsecurity=False).hexdigest()
    return "-".join(digest[at : at + 8] for at in range(0, 40, 8))


def _instance_id(item: Item) -> str:
    return orthanc_id(item.patient, item.study, item.series, item.sop_instance)


def _fetched(paths: Callable[[Server], list[str]], accept: str, size_min: int) -> Measure:
    """Milliseconds of a GET."""

    def measure(server: Server, bench: Bench) -> float:
        return paced(probes.fetch(server.http_port, paths(server), accept, size_min), server) * 1000

    return measure


def _frame_numbers() -> list[int]:
    return Random(1).sample(range(1, _COUNT + 1), _COUNT)


def _frames(server: Server) -> list[str]:
    if isinstance(server, Nginx):
        return [f"/frames/{n}" for n in _frame_numbers()]
    return [f"{instance_of(multiframe())}/frames/{n}" for n in _frame_numbers()]


def _pictures(server: Server) -> list[str]:
    if isinstance(server, Orthanc):
        return [f"/instances/{_instance_id(item)}/rendered" for item in series()]
    return [f"{instance_of(item)}/rendered" for item in series()]


def _pictures_unordered(server: Server) -> list[str]:
    return Random(1).sample(_pictures(server), _SLICES)


def _frame_pictures(server: Server, numbers: Sequence[int] = ()) -> list[str]:
    item, numbers = multiframe(), numbers or _frame_numbers()
    if isinstance(server, Orthanc):
        return [f"/instances/{_instance_id(item)}/frames/{n - 1}/rendered" for n in numbers]
    return [f"{instance_of(item)}/frames/{n}/rendered" for n in numbers]


def _in_order(server: Server) -> list[str]:
    return _frame_pictures(server, range(1, _COUNT + 1))


def _new(paths: Callable[[Server], list[str]], size_min: int, turn: int) -> Measure:
    """Milliseconds of a picture that nobody asked for before: with a quality that none of it had yet. Of two rows about
    the same pictures, each has every second one, by its `turn`.
    """
    asked: dict[int, Iterator[str]] = {}  # by the port of a server

    def measure(server: Server, bench: Bench) -> float:
        new = (f"{path}?quality={q}" for q in _QUALITIES[turn::2] for path in paths(server))
        each = asked.setdefault(server.http_port, new)
        return paced(probes.fetch(server.http_port, each, JPEG, size_min), server) * 1000

    return measure


def _thumbnails(server: Server) -> list[str]:
    return [f"{instance_of(item)}/thumbnail" for item in series()]


def _thumbnail(server: Server, bench: Bench) -> float:
    made = probes.fetch(server.http_port, _thumbnails(server), JPEG)
    for _ in series():
        made()
    return paced(made, server) * 1000


def _zip(server: Server, bench: Bench) -> float:
    """MB/s of the objects in it; a connection each time, since Orthanc closes it after such an answer."""
    items = series()
    path = study_of(items[0])
    if isinstance(server, Orthanc):
        path = f"/studies/{orthanc_id(items[0].patient, items[0].study)}/archive"

    def probe() -> None:
        probes.fetch(server.http_port, [path], ZIP, 1_000_000)()

    return sum(item.size for item in items) / paced(probe, server, 2, 1) / 1e6


def _row(key: str, title: str, bar: float, peer: type[Server], measure: Measure) -> Row:
    return Row(key, title, "ms", bar, OursPictured, (peer,), measure, lower=True, lasting=True)


_FRAME = _fetched(_frames, FRAMES, _SIDE * _SIDE * 2)
_STYLE = _fetched(lambda _: ["/ui/style.css"], ANY, 100)
ROWS = (
    Row("zip", "zip of a CT study", "MB/s", 1.5, OursPictured, (OrthancPictured,), _zip, lasting=True),
    _row("frame", "a frame of a 200-frame object, stored syntax", 5, OrthancPictured, _FRAME),
    _row("frame-file", "the same / the frames as files of nginx", 1 / 3, Nginx, _FRAME),
    _row("rendered", "a CT image as JPEG", 1.5, OrthancPictured, _fetched(_pictures, JPEG, 5_000)),
    _row(
        "rendered-new", "the same, new ones of a series in its order", 1.5, OrthancPictured, _new(_pictures, 5_000, 0)
    ),
    _row("rendered-unordered", "the same, in no order", 1.5, OrthancPictured, _new(_pictures_unordered, 5_000, 1)),
    _row("rendered-frame", "a frame of 200 as JPEG", 5, OrthancPictured, _fetched(_frame_pictures, JPEG, 2_000)),
    _row("rendered-frame-next", "the same, one after the other", 5, OrthancPictured, _new(_in_order, 2_000, 0)),
    _row(
        "rendered-frame-new", "the same, asked for the first time", 5, OrthancPictured, _new(_frame_pictures, 2_000, 1)
    ),
    Row(
        "thumbnail",
        "a thumbnail made before / the page's style sheet",
        "ms",
        0.5,
        OursPictured,
        (OursPictured,),
        _STYLE,
        lower=True,
        lasting=True,
        ours_measure=_thumbnail,
    ),
)
