"""DICOMweb: resources with their methods and media types, limits of an answer, statuses of errors."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from sagittal import errors
from sagittal.conformance.markdown import section, table
from sagittal.dicom.syntaxes import SYNTAXES
from sagittal.limits import WebLimits
from sagittal.web.nonpatient import service
from sagittal.web.render import asked as rendered
from sagittal.web.retrieve import wado_uri
from sagittal.web.retrieve.capabilities import media_types, template
from sagittal.web.retrieve.offers import encoders
from sagittal.web.routes import RESOURCES
from sagittal.web.search import asked as search
from sagittal.web.wire.accept import COMPRESSED_TYPES, OCTET_STREAM


def services_described() -> Iterator[str]:
    """What the origin server answers, and what the commands ask."""
    yield section("DICOM Web services", _SERVER, depth=3)
    yield section("Resources", table(("method", "resource", "takes", "answers"), _resource_rows()), depth=4)
    yield section("Query parameters", _PARAMETERS, table(("service", "parameters"), _parameter_rows()), depth=4)
    yield section("Answers to a store request", _STORED, depth=4)
    yield section("Media types of frames", table(("media type", "transfer syntaxes"), _types()), depth=4)
    yield section("Limits", table(("limit", "value"), _limit_rows()), depth=4)
    yield section("The commands", _AGENT, depth=4)


def communication() -> Iterator[str]:
    """Transfer syntaxes and errors."""
    made = table(("made by a codec", "UID"), ((SYNTAXES[uid].name, uid) for uid in encoders()))
    yield section("Transfer syntaxes of DICOM Web services", _SYNTAXES, made, depth=3)
    yield section("Errors, by HTTP and by DIMSE", _ERRORS, table(("HTTP", "DIMSE", "meaning"), _error_rows()), depth=3)


_SERVER = """\
Below `/dicom-web` on the HTTP port (8042), plain; a proxy in front makes HTTPS of it. That is the store `main`; below
`/stores/NAME/dicom-web` the same resources are those of another store, and so are the addresses in answers. Whoever
shows a bearer token (RFC 6750) has its verbs; on loopback without tokens everybody may do everything. An empty search
answers 200 with an empty list (PS3.18 10.6.3 and 11.9.3 of 2026a; editions before had 204), but as multipart/related
204, since that can't be without a part. Answers that are cut say so in `Warning: 299`. Each row has Retrieve URL
(0008,1190), Retrieve AE Title (0008,0054) and Instance Availability (0008,0056).

Of a study or a series what is missing from the disk or cannot be read is left out, as objects, as a zip file, as bulk
data and rendered: the answer is 206 then (PS3.18 10.4.3), and `Warning: 299` says how many are left out. Blocks that
turn out to be lost while they are sent cut that answer; the next one does without the object. Metadata needs no files.
Only what turns out to be undecodable while several are sent in another transfer syntax, or rendered, or to be nothing
that this syntax can carry, is left out of an answer of 200, with a line in the log: as stored it can be had.

A query parameter of a search that is no attribute is refused with 400, though PS3.18 8.3 would have it ignored: a
misspelled key would find everything. All other resources ignore parameters that they don't know.
"""
_SYNTAXES = """\
Instances and frames are answered in their stored transfer syntax when the request accepts it, else in one that it names
and that there is a codec for. Without a name the default of PS3.18 8.7.3 is taken, which loses nothing; a lossy syntax
has to be named, and makes an instance with a SOP Instance UID of its own. Video is answered as it is stored.
"""
_STORED = """\
The answer to a store request tells in each item of Referenced SOP Sequence (0008,1199) what became of an instance that
was not simply stored: `(0009,xx01)` of the private creator `SAGITTAL`, CS, is `DUPLICATE` when its content was held
already, `KEPT` when the content that came first stays current (with Warning Reason B000), `REPLACED` when the new one
is current now.
"""
_ERRORS = """\
One tree of errors; each carries both statuses. HTTP answers are problem details (RFC 9457), DIMSE responses have the
text as Error Comment.
"""
_AGENT = """\
`sagittal qido`, `wado`, `stow`, and `find`, `get`, `store` with a URL, are user agents of Search, Retrieve and Store
Transactions. They accept `application/dicom+json`, and `application/dicom` in any transfer syntax; they show a bearer
token or a user (RFC 6750, RFC 7617), and check the server's certificate.
"""


_PARAMETERS = """\
Ours, beyond the Standard, are `orderby`, `after` (which the `Link` header gives) and `reason`. `anonymize` is refused
with 406.
"""


def _parameter_rows() -> Iterator[tuple[str, str]]:
    any_attribute = "attributes by keyword or tag, with dots into sequences"
    yield "Search of studies, series, instances", f"{any_attribute}; {_named(search.CONTROLS)}"
    yield "Search of non-patient instances", f"{any_attribute}; {_named(sorted(service.CONTROLS))}"
    yield "Retrieve Rendered", _named((*rendered.PARAMETERS, "accept"))
    yield "Retrieve Thumbnail", _named(("viewport", "accept"))
    yield "Retrieve, all others", _named(("accept",))
    yield "Delete", _named(("reason",))
    yield "URI service, at `/wado`", _named(sorted(wado_uri.PARAMETERS))


_PICTURE_PARTS = 'multipart/related; type="image/'


def _resource_rows() -> Iterator[tuple[str, str, str, str]]:
    for resource in RESOURCES:
        takes, answers = media_types(resource)
        yield resource.method, f"`{template(resource.path)}`", _listed(takes), _listed(answers)


def _listed(types: tuple[str, ...]) -> str:
    """The media types; those that come alone and as parts named once."""
    if OCTET_STREAM in types and set(COMPRESSED_TYPES.values()) <= set(types):
        return "`application/octet-stream` and the media types of frames, alone or in `multipart/related`"
    parts = {f'multipart/related; type="{type_}"': type_ for type_ in types}
    both = [parts[type_] for type_ in types if type_.startswith(_PICTURE_PARTS)]
    if not both:
        return _named(types)
    others = [type_ for type_ in types if type_ not in parts and type_ not in both]
    return f"{_named(both)}, alone or in `multipart/related`" + (f"; {_named(others)}" if others else "")


def _named(types: Iterable[str]) -> str:
    return ", ".join(f"`{type_}`" for type_ in types)


def _types() -> Iterator[tuple[str, str]]:
    found: dict[str, list[str]] = {}
    for uid, type_ in COMPRESSED_TYPES.items():
        if uid in SYNTAXES:
            found.setdefault(type_, []).append(SYNTAXES[uid].name)
    for type_, names in found.items():
        yield f"`{type_}`", "; ".join(names)


def _limit_rows() -> Iterator[tuple[str, object]]:
    web = WebLimits()
    yield "matches in an answer, unless `limit` says otherwise", web.results_default
    yield "matches in an answer, at most", web.results_max
    yield "matches in an answer with `includefield=all`, at most", web.results_whole_max
    yield "parts of a request, at most", web.parts_max
    yield "frames of a request, at most", web.frames_per_request_max
    yield "query parameters, at most", web.query_parameters_max


def _error_rows() -> Iterator[tuple[str, str, str]]:
    rows: dict[tuple[int, int, str], None] = {}
    for kind in vars(errors).values():
        if isinstance(kind, type) and issubclass(kind, errors.SagittalError):
            text = (kind.__doc__ or "").partition("\n")[0]
            rows[kind.http_status, kind.dimse_status, text] = None
    for http, dimse, text in sorted(rows):
        yield str(http), f"{dimse:04X}", text
