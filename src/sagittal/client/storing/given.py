"""What a program gives to be stored: files and folders by name, files as bytes, pydicom data sets.

What is not a file yet is made one, in a folder that goes with the call. A data set is written by pydicom as its file
meta information says; where that says nothing, as it was read; one that was made, in Explicit VR Little Endian.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from copy import copy
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Union

from sagittal.client.outcome import Stored
from sagittal.dicom.syntaxes import EXPLICIT_BE, EXPLICIT_LE, IMPLICIT_LE
from sagittal.errors import UsageError, words_of

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

Storable = Union[str, "os.PathLike[str]", bytes, "Dataset"]

_AS_READ: Mapping[object, str] = {(True, True): IMPLICIT_LE, (False, False): EXPLICIT_BE}  # implicit, little endian


class Given:
    """Use as a context: `paths` are what is to be sent, `failed` what could not be made a file."""

    def __init__(self, objects: Iterable[Storable]) -> None:
        self.paths: list[Path] = []
        self.failed: list[Stored] = []
        self._objects = list(objects)
        self._folder: Path | None = None  # once it is needed: names of files want no room for temporary ones
        self._made = ExitStack()

    def __enter__(self) -> Given:
        with ExitStack() as unless_done:
            unless_done.push(self._made)
            for number, each in enumerate(self._objects, 1):
                self._add(number, each)
            unless_done.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._made.close()

    def told(self, answer: Stored) -> Stored:
        """An answer, without the name that the file had here."""
        return replace(answer, file=Path(answer.file.name)) if answer.file.parent == self._folder else answer

    def _add(self, number: int, each: Storable) -> None:
        if isinstance(each, (str, os.PathLike)):
            self.paths.append(Path(each))
            return
        name = f"object {number}"
        try:
            if self._folder is None:
                folder = TemporaryDirectory(prefix="sagittal-", ignore_cleanup_errors=True)
                self._folder = Path(self._made.enter_context(folder))
            path = self._folder / name
            if isinstance(each, bytes):
                path.write_bytes(each)
            else:
                _write(each, path)
        except UsageError:
            raise
        except Exception as error:  # whatever pydicom's writers of values raise, with their traceback in the text
            self.failed.append(Stored(Path(name), comment=words_of(error).partition("\n")[0]))
        else:
            self.paths.append(path)


def _write(given: object, path: Path) -> None:
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import UID

    if not isinstance(given, Dataset):
        kinds = "the name of a file or folder, bytes of a file, or a pydicom data set"
        raise UsageError(f"{kinds} can be stored, not {type(given).__name__}; give several one by one, as store(*them)")
    told = (getattr(given, "file_meta", None) or {}).get("TransferSyntaxUID") or _AS_READ.get(given.original_encoding)
    whole = copy(given)
    whole.file_meta = FileMetaDataset()
    whole.file_meta.TransferSyntaxUID = UID(told or EXPLICIT_LE)
    # One without UIDs is written, too: who reads it then says so.
    whole.save_as(path, enforce_file_format=bool(given.get("SOPClassUID") and given.get("SOPInstanceUID")))
