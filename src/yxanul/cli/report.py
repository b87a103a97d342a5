"""`yxanul report`: one page about one or several runs."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

from yxanul.base.errors import YxanulError
from yxanul.base.files import write_text
from yxanul.cli.options import JsonOption, argument, option
from yxanul.cli.output import print_result

NAME = "report"
EXAMPLES = """
yxanul report runs/quickstart
yxanul report runs/a runs/b -o comparison.html
yxanul report runs/quickstart --format card -o README.md
"""


class Format(StrEnum):
    """Format of a report."""

    html = "html"
    md = "md"
    json = "json"
    card = "card"


def command(
    runs: Annotated[list[Path], argument("RUN...", "Run folders; several are compared.")],
    out: Annotated[
        Path | None,
        option("FILE", "File to write.  [default: report.html in the run]", "--out", "-o"),
    ] = None,
    format: Annotated[
        Format,
        option("html|md|json|card", "A page, Markdown, all facts, or a model card for the hub."),
    ] = Format.html,
    as_json: JsonOption = False,
) -> None:
    """Write a report of runs: verdicts, curves, data, samples, cost, how to reproduce them."""
    from yxanul.report.facts import RunReader
    from yxanul.report.page import rendered

    if format == Format.card and len(runs) > 1:
        raise YxanulError("a model card is of one run", got=f"{len(runs)} runs")
    readers = [RunReader(run) for run in runs]
    suffix = {Format.card: "card.md"}.get(format, format.value)
    path = out or (runs[0] / f"report.{suffix}" if len(runs) == 1 else Path(f"report.{suffix}"))
    text = rendered(readers, format.value)
    write_text(path, text)
    print_result({"path": str(path), "bytes": len(text.encode())}, f"wrote {path}", as_json)
