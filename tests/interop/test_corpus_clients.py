"""DCMTK, pynetdicom and dicomweb-client store the corpus: what reached the archive is what they put on the wire, byte
for byte, and says what the file says, element by element.

Daily one file of each transfer syntax, all of them under `slow`. What a client can't send is listed in `clients.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from conftest import Served
from interop.clients import CLIENTS, Client
from interop.corpus import CorpusFile, corpus_files, data_set_of, layers, read
from interop.equality import differences
from interop.refused import NON_PATIENT, valid
from interop.relay import Relay
from interop.ways import ANY_SYNTAX, forget

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(params=CLIENTS)
def client(request: pytest.FixtureRequest) -> Client:
    return CLIENTS[str(request.param)]


@pytest.fixture
def archive(start_server: Callable[..., Served]) -> Served:
    return start_server("--durability", "off")


@pytest.fixture
def relay(archive: Served) -> Iterator[Relay]:
    relay = Relay(archive.host, archive.port)
    yield relay
    relay.close()


def smallest_of_each_syntax(files: list[CorpusFile]) -> list[CorpusFile]:
    files = sorted(files, key=lambda file: file.path.stat().st_size, reverse=True)
    by_syntax = {file.syntax_uid: file for file in files if file.sop_class_uid not in NON_PATIENT}
    return layers(by_syntax.values())[0]


def check(archive: Served, relay: Relay, files: list[CorpusFile]) -> None:
    """Those that were sent are held as they were sent, and say what the files say."""
    with httpx.Client(base_url=f"{archive.http}/dicom-web", headers=ANY_SYNTAX, timeout=60) as http:
        for file in files:
            response = http.get(file.resource)
            assert response.status_code == 200, (file.name, response.status_code, response.text[:300])
            assert data_set_of(response.content) == relay.sent[file.sop_instance_uid], file.name
            assert list(differences(read(file.path), read(response.content))) == [], file.name


def test_one_file_of_each_transfer_syntax(client: Client, archive: Served, relay: Relay, corpus_dir: Path) -> None:
    files = smallest_of_each_syntax(valid(corpus_files(corpus_dir)))
    assert len({file.syntax_uid for file in files}) >= 18
    client.send(archive.http, relay, files)
    assert [file.name for file in files if file.sop_instance_uid not in relay.sent and not client.cannot(file)] == []
    check(archive, relay, [file for file in files if file.sop_instance_uid in relay.sent])


@pytest.mark.slow
def test_the_whole_corpus(client: Client, archive: Served, relay: Relay, corpus_dir: Path) -> None:
    held: dict[str, str] = {}  # SOP Instance UID → study
    sent: list[str] = []
    unsent: list[str] = []
    for files in layers(valid(corpus_files(corpus_dir))):
        forget(archive, {held[file.sop_instance_uid] for file in files if file.sop_instance_uid in held})
        relay.sent.clear()
        able = [file for file in files if not client.cannot(file)]
        client.send(archive.http, relay, able)
        arrived = [file for file in able if file.sop_instance_uid in relay.sent]
        unsent += [file.name for file in able if file not in arrived]
        sent += [file.name for file in arrived]
        of_patients = [file for file in arrived if file.sop_class_uid not in NON_PATIENT]
        check(archive, relay, of_patients)
        held |= {file.sop_instance_uid: file.study_uid for file in of_patients}
    assert unsent == []
    assert len(sent) >= client.at_least
