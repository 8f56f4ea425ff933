"""The multi-frame images of the corpus look the same as single frames, and joined again."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from interop.corpus import Taken, corpus_files
from programs import corpus_folder

from sagittal.convert.multiframe.files import join, object_of, split
from sagittal.convert.multiframe.splitting import CLASSES
from sagittal.pixels.images import Image
from sagittal.pixels.rendering.render import Options, render
from sagittal.workers.worker import Input

LARGEST_BYTES = 600_000


def shown(image: Image, frame: int) -> Any:
    return render(image.frame(frame), Options())[0]


def test_they_look_the_same(taken: Taken, tmp_path: Path) -> None:
    files = [file for file in corpus_files(corpus_folder()) if file.sop_class_uid in CLASSES]
    small = [file.path for file in taken(files) if file.path.stat().st_size <= LARGEST_BYTES]
    compared = 0
    with ExitStack() as open_files:

        def opened(path: Path) -> Image:
            file = open_files.enter_context(path.open("rb"))
            return object_of(Input(file.fileno(), 0, path.stat().st_size))

        def written(made: tuple[str, Any]) -> Image:
            path = tmp_path / made[0]
            path.write_bytes(b"".join(made[1]))
            return opened(path)

        for path in small:
            image = opened(path)
            if image.count < 2 or image.is_video:
                continue
            singles = [written(made) for made in split(image)]
            again = written(join(singles))
            for number in {1, image.count}:
                expected = shown(image, number)
                np.testing.assert_array_equal(
                    shown(singles[number - 1], 1), expected, f"{path.name}, frame {number} alone"
                )
                np.testing.assert_array_equal(shown(again, number), expected, f"{path.name}, frame {number} joined")
            compared += 1
    assert compared >= 5
