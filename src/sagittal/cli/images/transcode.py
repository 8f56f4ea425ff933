"""`sagittal transcode`: DICOM files in another transfer syntax.

Files are transcoded by worker processes; each result is written beside its place and moved there when it is whole.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from sagittal.cli.images.batch import Outcome, Place, Told, jobs_option, places, some_at_once, some_rewritten
from sagittal.cli.output import json_option
from sagittal.dicom.syntaxes import SYNTAXES
from sagittal.errors import UsageError
from sagittal.uid import new_uid
from sagittal.workers.pool import Pool

_P = "1.2.840.10008.1.2"
# What people call them: dcm2dcm's and DCMTK's words.
NAMES = {
    "implicit": _P, "explicit": _P + ".1", "big-endian": _P + ".2", "deflated": _P + ".1.99",
    "deflated-frame": _P + ".8.1", "rle": _P + ".5", "jpeg": _P + ".4.50", "jpeg-extended": _P + ".4.51",
    "jpeg-lossless": _P + ".4.70", "jpeg-lossless-p14": _P + ".4.57", "jpeg-ls": _P + ".4.80",
    "jpeg-ls-near": _P + ".4.81", "jpeg2000": _P + ".4.90", "jpeg2000-lossy": _P + ".4.91", "htj2k": _P + ".4.201",
    "htj2k-rpcl": _P + ".4.202", "htj2k-lossy": _P + ".4.203", "jpeg-xl": _P + ".4.110",
    "jpeg-xl-jpeg": _P + ".4.111", "jpeg-xl-lossy": _P + ".4.112", "mpeg2": _P + ".4.100", "mpeg2-high": _P + ".4.101",
    "h264": _P + ".4.102", "h264-4.2": _P + ".4.104", "hevc": _P + ".4.107",
}  # fmt: skip
_UIDS = {row.keyword: uid for uid, row in SYNTAXES.items()} | NAMES
_MODULES = ("sagittal.convert.transcoded", "imagecodecs")


@click.command("transcode")
@click.argument("paths", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="File, or folder for several.")
@click.option("--to", "to_", required=True, help=f"A transfer syntax: UID, keyword or {', '.join(NAMES)}.")
@click.option("--quality", type=click.IntRange(1, 100), help="JPEG.")
@click.option("--near", type=click.IntRange(1, 255), help="JPEG-LS near-lossless: the largest error of a value.")
@click.option("--ratio", type=click.FloatRange(1), help="JPEG 2000, HTJ2K lossy: native bytes to compressed ones.")
@click.option("--psnr", type=click.FloatRange(10, 120), help="JPEG 2000, HTJ2K lossy: decibels.")
@click.option("--distance", type=click.FloatRange(0.01, 15), help="JPEG XL lossy: 1 is visually lossless.")
@click.option("--effort", type=click.IntRange(1, 9), help="JPEG XL.")
@click.option("--verify", is_flag=True, help="Decode what was made and compare.")
@jobs_option
@json_option
def command(
    paths: tuple[Path, ...], output: Path, to_: str, quality: int | None, near: int | None, ratio: float | None,
    psnr: float | None, distance: float | None, effort: int | None, verify: bool, jobs: int | None, as_json: bool,
) -> int:  # fmt: skip
    """Transcode DICOM files and folders. A lossy syntax makes new instances, which name what they were made of.

    Frames become a video, and a video frames, with the extra `video`.
    """
    uid = _UIDS.get(to_, to_)
    if uid not in SYNTAXES:
        raise UsageError(f"--to is the UID or keyword of a transfer syntax, or one of {', '.join(NAMES)}")
    given = {"quality": quality, "near": near, "ratio": ratio, "psnr": psnr, "distance": distance, "effort": effort}
    options = {name: value for name, value in given.items() if value is not None}
    if {"ratio", "psnr"} <= options.keys():
        raise UsageError("--ratio and --psnr both say how small: give one of them")
    _check(uid, options)
    lossless = SYNTAXES[uid].lossless is True

    more = {"to_syntax": uid, "options": options | {"reversible": lossless}, "verify": verify}

    async def act(pool: Pool, some: Sequence[Place]) -> list[Outcome]:
        uids = ["" if lossless else new_uid() for _ in some]
        made = await some_rewritten(pool, some, "sagittal.convert.transcoded:files", instance_uids=uids, **more)
        return [_told(one, place) for one, place in zip(made, some, strict=True)]

    work = places(paths, output)
    return some_at_once(work, act, word="transcoded", modules=_MODULES, jobs=jobs, as_json=as_json)


def _check(uid: str, options: Mapping[str, Any]) -> None:
    """UsageError for an option that the syntax knows nothing of: `--to jpeg2000 --ratio 10` would lose nothing."""
    from sagittal.pixels.reach import READ_BY

    for name in options:
        if uid not in READ_BY[name]:
            known = ", ".join(short for short, each in NAMES.items() if each in READ_BY[name])
            raise UsageError(f"--{name} says nothing of {SYNTAXES[uid].name}; it is for {known}")


def _told(made: dict[str, Any] | Exception, place: Place) -> Outcome:
    if isinstance(made, Exception):
        return made
    row = {"transcoded": str(place.where), "sop_instance_uid": made["sop_instance_uid"], "lossy": made["loses"]}
    return [Told(row if made["error"] is None else row | {"error_max": made["error"]}, str(place.where))]
