"""The Python face says what is wrong with a call in an error of ours."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from builders import build, opened, store
from conftest import Served

import sagittal
from sagittal.client import Access, Archive, Unanswered
from sagittal.client.place import parse_place
from sagittal.errors import StorageUnavailable, UsageError


@pytest.fixture
def data(tmp_path: Path) -> Path:
    async def fill() -> None:
        async with opened(tmp_path / "data") as archive:
            await store(archive, build())

    asyncio.run(fill())
    return tmp_path / "data"


@pytest.mark.parametrize("level", ["instances", ""])
def test_a_level_that_is_none(data: Path, level: str) -> None:
    with Archive(data) as archive, pytest.raises(UsageError, match="one of patient, study, series, image"):
        archive.find(level)


def test_one_name_stands_alone(data: Path) -> None:
    """A text is not a row of letters."""
    with Archive(data) as archive:
        (study,) = archive.find(include="PatientSex", PatientID="P1")
        assert study["PatientSex"] == "F"
        assert not archive.store(data, remove="PatientSex", new_uids=True)[0].failed


@pytest.mark.parametrize("key", [0x00100020, (0x0010, 0x0020)])
def test_a_tag_that_is_no_text(data: Path, key: Any) -> None:
    with Archive(data) as archive, pytest.raises(UsageError, match="'00100020'"):
        archive.find(keys={key: "P1"})


@pytest.mark.parametrize("level", ["image", "IMAGE", "instance"])
def test_a_level_by_the_words_of_dimse_and_of_dicomweb(data: Path, tmp_path: Path, level: str) -> None:
    with Archive(data) as archive:
        assert [match["SOPInstanceUID"] for match in archive.find(level)] == [build().sop_instance_uid]
        assert len(archive.get(tmp_path / "out", level=level, PatientID="P1")) == 1


@pytest.mark.parametrize(
    "call", [Archive.find, lambda archive: archive.get("out", PatientID="x"), lambda archive: archive.store("x")]
)
@pytest.mark.filterwarnings("error")  # of a coroutine that was never awaited
def test_after_it_was_closed(data: Path, call: Callable[[Any], Any]) -> None:
    archive = Archive(data)
    archive.close()
    archive.close()
    with pytest.raises(UsageError, match="was closed"):
        call(archive)


@pytest.mark.parametrize("place", ["SILENT@127.0.0.1:{}", "http://127.0.0.1:{}"])
def test_what_another_thread_waits_for_ends_as_it_is_closed(place: str) -> None:
    told: list[str] = []

    def find() -> None:
        with pytest.raises(UsageError) as raised:
            archive.find()
        told.append(raised.value.text)

    with socket.create_server(("127.0.0.1", 0)) as silent:
        archive = Archive(place.format(silent.getsockname()[1]))
        other = threading.Thread(target=find, daemon=True)
        other.start()
        with silent.accept()[0]:
            archive.close()
            other.join(20)
    assert told == ["the archive was closed"]


@pytest.mark.filterwarnings("ignore:.*multi-threaded")  # Python 3.12 warns of what programs do all the same
def test_a_fork_has_no_archive(data: Path) -> None:
    """Its loop has no thread there: a call would wait for ever, as in the workers that load a training's data."""
    with Archive(data) as archive:
        if not (fork := os.fork()):
            signal.alarm(20)
            try:
                archive.find()
            except UsageError as error:
                archive.close()
                os._exit(42 if "fork" in error.text else 1)
            finally:
                os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(fork, 0)[1]) == 42
        assert archive.find()


def test_that_nobody_sends(data: Path) -> None:
    with Archive(data) as archive, pytest.raises(UsageError, match="at least one association"):
        archive.store(data, associations=0)


@pytest.mark.parametrize("title", ["", "SEVENTEEN_LETTERS", "ÄRZTE"])
def test_who_we_are_is_an_ae_title(title: str) -> None:
    """A longer one would be cut on its way."""
    with pytest.raises(UsageError, match="not an AE title"):
        Access(aet=title)


def test_files_of_certificates_are_named_by_text_too(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"authorities in absent\.pem can't be used"):
        Access(tls_ca=str(tmp_path / "absent.pem")).tls_context()


def test_secrets_are_not_shown() -> None:
    """A notebook shows what a cell ends with, and a traceback may."""
    shown = repr(Access(token="t0ken", user="jane:s3cret")) + repr(parse_place("http://jane:s3cret@host/dicom-web"))
    assert "t0ken" not in shown and "s3cret" not in shown


def test_a_series_by_other_keys_than_uids(start_server: Callable[..., Served], data: Path, tmp_path: Path) -> None:
    """A peer wants the UID of the study, or relational queries."""
    served = start_server(data=data)
    with Archive(served.peer) as peer:
        with pytest.raises(Unanswered, match="relational=True"):
            peer.get(tmp_path / "out", level="series", Modality="CT")
        assert len(peer.get(tmp_path / "out", level="series", relational=True, Modality="CT")) == 1


def test_relational_of_any_archive(start_server: Callable[..., Served], data: Path, tmp_path: Path) -> None:
    """What a peer has to be asked for, a server over HTTP does anyway: programs are for both."""
    served = start_server(data=data)
    for place in (served.peer, served.http, data):
        with Archive(place) as archive:
            assert len(archive.get(tmp_path / "out", relational=True, SOPInstanceUID=build().sop_instance_uid)) == 1
            assert len(archive.find("image", relational=True, SOPInstanceUID=build().sop_instance_uid)) == 1


@pytest.mark.parametrize("out", ["taken", "taken/below"])
def test_a_folder_that_cannot_be(
    start_server: Callable[..., Served], data: Path, tmp_path: Path, out: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever is spoken: an error of ours that names it, and no word of asyncio's on what was given up."""
    served = start_server(data=data)
    (tmp_path / "taken").touch()
    for place in (served.peer, served.http, data):
        with Archive(place) as archive, pytest.raises(StorageUnavailable, match=f"the folder '.*/{out}': "):
            archive.get(tmp_path / out, PatientName="*")
        gc.collect()
    assert not [record for record in caplog.records if record.name == "asyncio"]


def test_type_checkers_read_our_types() -> None:
    """PEP 561: without this file a program that imports us gets `Any` for all of it."""
    assert (Path(sagittal.__file__).parent / "py.typed").is_file()
