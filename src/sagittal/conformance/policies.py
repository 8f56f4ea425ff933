"""What surrounds the services: overview, media, character sets, security, configuration."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from importlib.metadata import version

from sagittal.archive.access import VERBS
from sagittal.config import DimseSettings, NodeSettings, Settings, WebSettings
from sagittal.conformance.markdown import section, table
from sagittal.conformance.networking import services
from sagittal.dicom import charset

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
printed by `sagittal conformance` from the tables that the program runs on, with the settings at their defaults. The
topics are those of PS3.2.
"""
    yield section("Overview", text, table(("service", "user (SCU)", "provider (SCP)"), _service_rows()), _WEB)


_WEB = """\
DICOMweb: origin server and user agent of Studies Service transactions (PS3.18 10). Media storage: none.
"""


def _service_rows() -> Iterator[tuple[str, str, str]]:
    for service in services():
        clause = f"{service.name} ({service.clause})" if service.clause else service.name
        # What the archive provides, its commands use.
        yield clause, "yes", "yes" if service.scp else ""


def rest() -> Iterator[str]:
    yield section(
        "Media interchange", "No application profile of PS3.11 is claimed. `sagittal import` reads Part 10 files.\n"
    )
    yield section("Character sets", _CHARACTERS, table(("defined term", "read and written"), _term_rows()))
    yield section("Security", _SECURITY, _verbs())
    yield section("Configuration", _CONFIGURATION, _settings(), "A node of the AE table has:\n", _node_fields())


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


def _verbs() -> str:
    return f"Verbs that nodes and tokens may have: {', '.join(sorted(VERBS))}.\n"


_CONFIGURATION = """\
By file, environment and command line; all settings and limits are in [settings](settings.md). Those that this
statement depends on:
"""


def _settings() -> str:
    names = {
        "": (Settings, ("host", "aet", "duplicates")),
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


def _node_fields() -> str:
    required = ("aet", "host", "port")
    rows = [(f"`{f.name}`", "required" if f.name in required else f"`{f.default}`") for f in fields(NodeSettings)]
    return table(("field", "default"), rows)
