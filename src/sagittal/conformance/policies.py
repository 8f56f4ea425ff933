"""What surrounds the services: overview, media, character sets, security, configuration."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from importlib.metadata import version

from sagittal.archive.access import VERBS
from sagittal.client.dimse import MODELS
from sagittal.config.settings import DimseSettings, NodeSettings, Settings, StoreSettings, WebSettings
from sagittal.conformance.markdown import section, table
from sagittal.conformance.networking import services
from sagittal.dicom import charset
from sagittal.dicom.sopclasses import STORAGE, VERIFICATION

# PS3.3 C.12.1.1.2, Tables C.12-2 to C.12-5
_ONE_BYTE = (100, 101, 109, 110, 144, 127, 126, 138, 148, 203, 13, 166)
_SEVERAL_BYTES = (87, 159, 149, 58)
_TERMS = (
    "ISO_IR 6",
    *(f"ISO_IR {number}" for number in _ONE_BYTE),
    "ISO 2022 IR 6",
    *(f"ISO 2022 IR {number}" for number in (*_ONE_BYTE, *_SEVERAL_BYTES)),
    "ISO_IR 192",
    "GB18030",
    "GBK",
)


def overview() -> Iterator[str]:
    text = f"""\
Sagittal {version("sagittal")} is an archive and a toolkit: it stores objects of any SOP class as they were sent, and
answers queries and retrievals over DIMSE and DICOMweb; its commands do the same towards other archives. This page is
printed by `sagittal conformance` from the tables that the program runs on, with the settings at their defaults. Its
sections are those of PS3.2 N.
"""
    yield section("Overview", text)


def overview_of_services() -> Iterator[str]:
    """The rest of the overview."""
    yield section("DIMSE services", table(("service", "user (SCU)", "provider (SCP)"), _service_rows()), depth=3)
    yield section("DICOM Web services", table(("service", "user agent", "origin server"), _WEB), depth=3)
    yield section("Media services", "No application profile of PS3.11 is claimed.\n", depth=3)
    yield section("Real-time video", "Streams of ST 2110 are refused.\n", depth=3)
    yield section("De-identification profiles", "Nothing that is stored is de-identified (PS3.15 E).\n", depth=3)
    yield section(
        "Specific character sets", _CHARACTERS, table(("defined term", "read and written"), _term_rows()), depth=3
    )


_WEB = (
    ("URI service (PS3.18 9)", "", "yes"),
    ("Studies service (PS3.18 10)", "yes", "yes"),
    ("Non-patient instance service (PS3.18 12)", "", "yes"),
    ("Capabilities (PS3.18 8.9)", "", "yes"),
)


def _service_rows() -> Iterator[tuple[str, str, str]]:
    used = {VERIFICATION, *STORAGE, *(uid for uids in MODELS.values() for uid in uids)}  # by the commands
    for service in services():
        clause = f"{service.name} ({service.clause})" if service.clause else service.name
        yield clause, "yes" if any(map(service.covers, used)) else "", "yes" if service.scp else ""


def introduction() -> Iterator[str]:
    """Of what version this is, for whom."""
    yield section("Introduction", _INTRODUCTION)
    rows = [(version("sagittal"), "this statement, which each version prints of itself")]
    yield section("Revision history", table(("version", "is described by"), rows), depth=3)


_INTRODUCTION = """\
For those who connect this archive with other systems and know DICOM. Two statements that fit do not replace a test of
the two systems. Words are those of the Standard; a *store* is a project of the archive, and a *node* an application
entity that its AE table knows.
"""


def model() -> Iterator[str]:
    """Application entities, and what lies behind them."""
    yield section("Implementation model")
    yield section("Application entities and data flow", _MODEL, depth=3)
    yield section("Stores", _STORES, table(("who", "works in"), _WHERE), depth=3)


_MODEL = """\
One application entity, SAGITTAL unless configured otherwise, listens on one port (11112), plain or with TLS. It
answers verification, stores what is sent, and answers queries and retrievals; for C-MOVE it opens associations to
nodes of its AE table. An HTTP server on another port is the origin server of the web services. Both work on the same
objects: what came by one way is there at once by every other. A C-STORE that is answered with success is on disk: file,
directory and index row are synced.
"""
_STORES = """\
The archive has a store `main`, and those of the configuration. A store may hold the same UIDs as another one with other
content; nobody who works in one finds, retrieves or changes anything of another one. Retrieve AE Title (0008,0054) is
the first title of the store, else our own.
"""
_WHERE = (
    ("an association of a node with a `store`", "that store, whatever title it calls"),
    ("any other association", "the store of the called AE title (`stores.NAME.called_aets`), else `main`"),
    ("a request below `/stores/NAME`", "that store; else `main`"),
    ("a bearer token, or a verified user", "the store of the token alone, unless it may `admin`"),
)


def media() -> Iterator[str]:
    """PS3.11."""
    text = "No application profile of PS3.11 is claimed. `sagittal import` reads Part 10 files.\n"
    yield section("Media services", text, depth=3)


def security() -> Iterator[str]:
    """What is allowed, and what is protected."""
    yield section("Security", _SECURITY, f"Verbs that nodes and tokens may have: {', '.join(sorted(VERBS))}.\n")


def configuration() -> Iterator[str]:
    """The settings that the statement depends on."""
    yield section("Configuration", _CONFIGURATION, _settings())
    yield section("Nodes of the AE table", _fields(NodeSettings, ("aet", "host", "port")), depth=3)
    yield section("Fields of a store", _fields(StoreSettings, ()), depth=3)


_CHARACTERS = """\
Text is kept as the bytes that were sent. In the index, in DICOM JSON and in responses it is Unicode; a value that its
character set does not explain is marked, and its bytes stay. Terms that are misspelled in known ways are understood.
Names match without regard to case and accents.
"""


def _term_rows() -> Iterator[tuple[str, str]]:
    for term in _TERMS:
        found, defects = charset.parse(term)
        if found and not defects:
            yield f"`{term}`", "with code extensions" if "2022" in term else "yes"


_SECURITY = """\
- TLS on the DIMSE listener and towards peers: TLS 1.2 at least (PS3.15 B.12, the BCP 195 profile, with OpenSSL's
  cipher suites for these versions). Client certificates are required when authorities for them are configured.
- HTTP listens in plain; HTTPS is a proxy's matter. Tokens are kept as SHA-256 digests.
- An address that is not loopback is refused until the AE table and tokens exist.
- Each act is authorized by its verb, and audited in the transaction that does it. Audit messages of PS3.15 A.5 are
  not sent.
- Digital signatures stay as they are; de-identification (PS3.15 E) is not applied to what is stored.
"""


_CONFIGURATION = """\
By file, environment and command line; all settings and limits are in [settings](settings.md). Those that this
statement depends on:
"""


def _settings() -> str:
    names = {
        "": (Settings, ("host", "aet", "duplicates", "transcode")),
        "dimse.": (DimseSettings, None),
        "web.": (WebSettings, None),
    }
    rows = [
        (f"`{prefix}{field.name}`", f"`{field.default}`")
        for prefix, (part, only) in names.items()
        for field in fields(part)
        if only is None or field.name in only
    ]
    return table(("setting", "default"), rows)


def _fields(kind: type[NodeSettings | StoreSettings], required: tuple[str, ...]) -> str:
    rows = [(f"`{f.name}`", "required" if f.name in required else f"`{f.default}`") for f in fields(kind)]
    return table(("field", "default"), rows)
