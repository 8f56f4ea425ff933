"""`sagittal qido`."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import aclosing

import click

from sagittal.cli.output import json_option, run, say
from sagittal.cli.peer.find import show
from sagittal.cli.peer.options import url_options
from sagittal.client.keys import Question, parameters, parse_keys
from sagittal.client.place import Access, Url
from sagittal.errors import UsageError


@click.command("qido")
@url_options
@click.argument("resource", default="studies")
@click.option(
    "-k", "--key", "keys", multiple=True, metavar="KEY=VALUE", help="Keyword or tag, Sequence.Keyword; repeatable."
)
@click.option("--include", "fields", multiple=True, metavar="KEY", help="Return this too, or `all`; repeatable.")
@click.option("-n", "--limit", type=click.IntRange(1), help="So many matches.")
@click.option("--offset", type=click.IntRange(0), default=0, help="After so many.")
@click.option("--order", multiple=True, metavar="[-]KEY", help="Order by, where the server can; repeatable.")
@click.option("--fuzzy", is_flag=True, help="Fuzzy matching of names.")
@json_option
def command(
    url: Url,
    access: Access,
    resource: str,
    keys: tuple[str, ...],
    fields: tuple[str, ...],
    limit: int | None,
    offset: int,
    order: tuple[str, ...],
    fuzzy: bool,
    as_json: bool,
) -> int:
    """QIDO-RS: search RESOURCE (studies, series, instances, studies/UID/series…) of the DICOMweb server at URL."""
    if "?" in resource:
        raise UsageError("what to look for goes into -k and --include, not into the resource")
    question = Question("study", parse_keys(keys), fuzzy=fuzzy, order=order)
    pairs = parameters(question) + [("includefield", field) for field in fields]
    run(_search(url, access, "/" + resource.strip("/"), pairs, (limit, offset), question.keys, as_json))
    return 0


async def _search(
    url: Url, access: Access, path: str, pairs: list[tuple[str, str]], page: tuple[int | None, int],
    wanted: Iterable[int], as_json: bool,
) -> None:  # fmt: skip
    from sagittal.client.dicomweb import open_url

    async with open_url(url, access, say) as archive, aclosing(archive.search(path, pairs, *page)) as matches:
        async for match in matches:
            show(match, wanted, as_json)
