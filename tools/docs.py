"""Writes docs/reference/*.md from the code: commands, settings and limits, transfer syntaxes, defects, keys, REST.

    python tools/docs.py            write the pages
    python tools/docs.py --check    fail when one is not current

What a setting or limit is for stands as a comment beside it in the source; the pages quote that.
"""

from __future__ import annotations

import ast
import dataclasses
import io
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click

from sagittal import cli, conformance, limits
from sagittal.archive.index import keys
from sagittal.archive.transcoding import rules
from sagittal.config import settings
from sagittal.dicom.defects import POLICY
from sagittal.dicom.dictionary import keyword_of, tag_text
from sagittal.dicom.syntaxes import SYNTAXES
from sagittal.pixels import codecs
from sagittal.pixels.codecs import video
from sagittal.pixels.transcode import RECOMPRESSED
from sagittal.web.api.rest import create_api
from sagittal.web.house import Settings
from sagittal.web.search import levels

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs" / "reference"
NOTE = "<!-- written by tools/docs.py; `make docs` -->\n"


def comments(source: Path) -> dict[tuple[str, str], tuple[str, str]]:
    """(class, field) -> (default as written, comment on its line)."""
    text = source.read_text()
    beside = {
        token.start[0]: token.string.lstrip("# ")
        for token in tokenize.generate_tokens(io.StringIO(text).readline)
        if token.type == tokenize.COMMENT
    }
    found = {}
    for node in ast.parse(text).body:
        for field in node.body if isinstance(node, ast.ClassDef) else []:
            if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
                default = ast.unparse(field.value) if field.value else ""
                found[node.name, field.target.id] = default, beside.get(field.lineno, "")  # type: ignore[attr-defined]
    return found


def table(head: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def settings_page() -> str:
    page = "# Settings and limits\n\nOf `sagittal serve`. What comes later wins: these defaults, the TOML file of\n"
    page += "`--config FILE`, the environment (`SAGITTAL_DIMSE__PORT=104`), the command line.\n"
    page += (
        "An unknown name is an error; a variable without `__` that is no setting is told of and passed over, as other\n"
    )
    page += (
        "programs may mean it. `stores` is a table of tables, one a store. In the environment a list is JSON, or its\n"
    )
    page += "values with commas between; a table is JSON (`SAGITTAL_STORES='{\"research\": {}}'`).\n"
    beside = comments(ROOT / "src/sagittal/config/settings.py")
    parts = {"Top level": settings.Settings, "[dimse]": settings.DimseSettings, "[web]": settings.WebSettings}
    parts |= {"[index]": settings.IndexSettings, "[stores.NAME]": settings.StoreSettings}
    for name, part in (parts | {"[[nodes]]": settings.NodeSettings, "[[tokens]]": settings.TokenSettings}).items():
        page += f"\n## {name}\n\n" + _fields(part, beside)
    page += "\n## [[transcode]]\n\n" + _fields(rules.Rule, comments(ROOT / "src/sagittal/archive/transcoding/rules.py"))
    beside = comments(ROOT / "src/sagittal/limits.py")
    page += "\n## [limits]\n\nOne flat list of names; every limit can be replaced.\n"
    page += "A name that stands in two tables is replaced in both.\n"
    for limit in dataclasses.fields(limits.Limits):
        part = getattr(limits.Limits(), limit.name)
        page += f"\n### {type(part).__doc__}\n\n"
        fields = [field.name for field in dataclasses.fields(part)]
        rows = ((f"`{n}`", f"{getattr(part, n):,}", beside[type(part).__name__, n][1]) for n in fields)
        page += table(("limit", "default", "why"), rows)
    return page


def _fields(part: type, beside: dict[tuple[str, str], tuple[str, str]]) -> str:
    """The plain settings of one part; parts of their own and limits have their own tables."""
    rows = []
    for (owner, name), (default, comment) in beside.items():
        if owner == part.__name__ and not default.endswith("Settings()") and "default_factory" not in default:
            default = default.removeprefix("Path(").removesuffix(")") if default.startswith("Path(") else default
            rows.append((f"`{name}`", f"`{default}`" if default else "required", comment))
    return table(("setting", "default", "meaning"), iter(rows))


def commands_page() -> str:
    page = "# Commands\n\n" + (cli.__doc__ or "").partition("\n\n")[2].strip() + "\n"
    group = cli.group
    for name in group.list_commands(click.Context(group)):
        command = group.get_command(click.Context(group), name)
        assert command is not None
        page += f"\n## sagittal {name}\n" + help_of(command, f"sagittal {name}")
    return page


def help_of(command: click.Command, name: str) -> str:
    context = click.Context(
        command, info_name=name, terminal_width=100, max_content_width=100, **cli.group.context_settings
    )
    text = f"\n```text\n{command.get_help(context).rstrip()}\n```\n"
    if isinstance(command, click.Group):
        for inner in command.list_commands(context):
            found = command.get_command(context, inner)
            assert found is not None
            text += help_of(found, f"{name} {inner}")
    return text


def syntaxes_page() -> str:
    page = "# Transfer syntaxes\n\nStored and sent as received; the table of `dicom/syntaxes.py`.\n"
    page += "*Frames* says how they lie in Pixel Data, and so whether `/frames` can hand them out without decoding.\n"
    page += "*Decoded* and *encoded* say what `pixels/codecs` has a codec for; video wants the extra `video`.\n\n"
    rows = (
        (s.uid, s.name, s.frames, "yes" if s.storable else "refused", *coded(s.uid), "retired" if s.retired else "")
        for s in SYNTAXES.values()
    )
    return page + table(("UID", "name", "frames", "storage", "decoded", "encoded", ""), rows)


def coded(uid: str) -> tuple[str, str]:
    """Whether frames of a syntax are decoded, and encoded."""
    if not SYNTAXES[uid].storable:
        return "", ""
    if SYNTAXES[uid].video:
        return "video", "video" if uid in video.CODINGS else ""
    encoded = "yes" if codecs.encodes(uid) else "of JPEG" if uid == RECOMPRESSED else ""
    return "yes" if codecs.decodes(uid) else "", encoded


def defects_page() -> str:
    page = "# Defects of objects\n\nWhat the archive does about each, as `dicom/defects.py` says.\n"
    page += "*warn*: stored exactly as received and answered with success; the name stands in the log.\n\n"
    rows = (
        (f"`{name}`", row.action, f"{row.dimse_status:04X}", str(row.http_status), row.text)
        for name, row in POLICY.items()
    )
    return page + table(("defect", "action", "DIMSE status", "HTTP status", "meaning"), rows)


_MATCHED = {
    "uid": "UID, list of UIDs",
    "name": "name: any component group, case and accents folded, wildcards",
    "date": "date, range of dates",
    "time": "time, range of times",
    "number": "number",
    "text": "text, wildcards",
    "any": "text, wildcards; any of its values",
    "any-name": "name, wildcards; any of its values",
    "": "",
}


def query_keys_page() -> str:
    """Of `archive/index/keys.py`: what is in the index, and what of it QIDO-RS answers unasked."""
    page = "# Query keys\n\nThe attributes in the index, which queries find at once. *Level* is the highest that has\n"
    page += "it; the levels below have it too. A search over HTTP answers the marked ones unasked; the others with\n"
    page += "`includefield`, or when they are keys. Any other attribute can be asked as well; it is looked for in\n"
    page += "the headers of the objects.\n\n"
    returned = {tag for tags in levels.DEFAULTS.values() for tag in tags}
    rows = {
        key.tag: (
            tag_text(key.tag),
            keyword_of(key.tag),
            level.lower(),
            _MATCHED.get(key.kind, key.kind),
            "yes" if key.tag in returned else "",
        )
        for level in reversed(keys.LEVELS)
        for key in keys.OWN[level]
    }
    head = ("tag", "attribute", "level", "matched as", "answered")
    return page + table(head, (rows[tag] for tag in sorted(rows)))


def rest_page() -> str:
    """Of the OpenAPI document that a server without an archive would give."""
    nothing: Any = SimpleNamespace(
        archive=SimpleNamespace(readers=None), settings=Settings(), workers=None, readers=None
    )
    document = create_api(nothing).openapi()
    page = (
        "# REST\n\nOurs, below `/api` of `sagittal serve`; below `/stores/NAME/api` of another store. DICOMweb is in\n"
    )
    page += "the [conformance statement](conformance.md). Answers are JSON where nothing else is said, errors problem\n"
    page += "details (RFC 9457). What is in brackets may be left out; a body with anything else is refused.\n"
    page += "A running archive describes it for programs at `/api/openapi.json`, for people at `/api/docs`.\n\n"
    rows = (
        (method.upper(), f"`{path}`", _described(operation), ", ".join(_asked(operation, document["components"])))
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    )
    return page + table(("method", "resource", "what", "takes"), rows)


def _described(operation: dict[str, Any]) -> str:
    more = " ".join(operation.get("description", "").split())
    return operation["summary"] + (f". {more}" if more else "")


def _asked(operation: dict[str, Any], components: dict[str, Any]) -> Iterator[str]:
    """Parameters of the query, fields of the body; those that are not needed in brackets."""
    for parameter in operation.get("parameters", ()):
        if parameter["in"] == "query":
            yield f"`{parameter['name']}`" if parameter["required"] else f"[`{parameter['name']}`]"
    body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
    schema = components["schemas"].get(body.get("$ref", "").rpartition("/")[2], {})
    for name in schema.get("properties", ()):
        yield f"`{name}`" if name in schema.get("required", ()) else f"[`{name}`]"


PAGES = {
    "conformance": conformance.statement,
    "defects": defects_page,
    "commands": commands_page,
    "query-keys": query_keys_page,
    "rest": rest_page,
    "settings": settings_page,
    "transfer-syntaxes": syntaxes_page,
}


def main() -> int:
    check, stale = sys.argv[1:] == ["--check"], []
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, make in PAGES.items():
        path, page = FOLDER / f"{name}.md", NOTE + make()
        if check and (not path.exists() or path.read_text() != page):
            stale.append(f"docs/reference/{name}.md is not current: run `make docs`")
        if not check:
            path.write_text(page)
    print("\n".join(stale) or "reference pages: current")
    return bool(stale)


if __name__ == "__main__":
    raise SystemExit(main())
