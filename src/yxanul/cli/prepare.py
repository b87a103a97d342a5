"""`yxanul prepare`: build a recipe's tokenizer and shards."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from yxanul.cli.options import JsonOption, OutOption, Overrides, RecipeArgument, run_folder_of

NAME = "prepare"
EXAMPLES = """**Examples**

`yxanul prepare quickstart`

`yxanul prepare own-text data.sources.mine.path=~/books --out runs/books`

`yxanul prepare my-corpus data.folder=s3://bucket/corpus --executor ray`"""


def command(
    recipe: RecipeArgument,
    overrides: Overrides = None,
    out: OutOption = None,
    executor: Annotated[
        str | None,
        typer.Option(
            "--executor",
            metavar="processes|ray",
            help="Encode in local processes, or on the Ray cluster of RAY_ADDRESS."
            "  [default: data.executor]",
            show_default=False,
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Build the tokenizer and encode all text into shards; resume an interrupted call."""
    from yxanul.base.cache import is_address
    from yxanul.base.files import folder_lock
    from yxanul.base.interrupt import StopRequest
    from yxanul.base.run_folder import RunFolder
    from yxanul.cli.launch import load_for_run
    from yxanul.cli.output import make_ui, print_json, print_text
    from yxanul.data.report import report_on
    from yxanul.plan import preflight
    from yxanul.stages.data import prepare
    from yxanul.stages.resume import reconcile_recipe

    chosen = [f"data.executor={executor}"] if executor else []
    run, ui = RunFolder(run_folder_of(recipe, out)), make_ui()
    overrides = [*(overrides or ()), *chosen]
    resolved = load_for_run(recipe, overrides, run, preflight.of_preparation)
    for misfit in preflight.of_memory(resolved):
        ui.warn(str(misfit))  # a warning only: another machine may train it
    with StopRequest().handled(), folder_lock(run.path):
        reconcile_recipe(run, resolved, ui)
        report = report_on(prepare(run, resolved, ui))
    if as_json:
        print_json({"run": str(run.path)} | report)
    else:
        folder = resolved.data.folder
        shown = folder if folder and is_address(folder) else run.data(folder)
        print_text(report_table(report, run.path, shown))


def report_table(report: dict[str, Any], run: Path, folder: Path | str) -> str:
    """Return figures by source, documents left out by cause, and a histogram of lengths.

    `folder` holds the run's shards.
    """
    from yxanul.cli.pictures import left_out, length_bars, length_columns

    names, lengths = list(report["documents"]), report["lengths"]
    lines = report_figures(report)
    dropped = {n: left_out(report["dropped"][n], report["documents"][n]) for n in names}
    if any(dropped.values()):
        width = max(len(name) for name in names if dropped[name])
        lines += ["", "left out, with the share of all documents:"]
        lines += [f"  {name:<{width}}  {causes}" for name, causes in dropped.items() if causes]
        file = f"{folder}/{names[0] if len(names) == 1 else 'SOURCE'}/dropped.jsonl"
        lines.append(f"samples of them: {file}, or yxanul data show {run} --dropped")
    picture = length_bars(lengths[names[0]]) if len(names) == 1 else length_columns(lengths)
    return "\n".join([*lines, "", "documents by tokens:", *(f"  {line}" for line in picture)])


def report_figures(report: dict[str, Any]) -> list[str]:
    """Return a table with one row per source, and the total of several."""
    from yxanul.cli.pictures import percent, table

    def row(name: str, documents: int, tokens: int, held_out: int, out: int) -> list[str]:
        figures = (documents, tokens, sizes[name], documents - held_out, held_out)
        chars = f"{ratios[name]:.2f}" if name in ratios else ""
        shown = f"{out:,} ({percent(out, documents + out)})" if out else "0"
        return [f"{name}{notes.get(name, '')}", *(f"{n:,}" for n in figures), chars, shown]

    sizes, ratios = dict(report["bytes"]), report["chars_per_token"]
    notes = {name: " (synthetic)" for name, is_so in report["synthetic"].items() if is_so}
    columns = [
        [report["documents"][n] for n in ratios],
        [report["tokens"][n] for n in ratios],
        [report["splits"]["documents"][n]["validation"] for n in ratios],
        [sum(report["dropped"][n].values()) for n in ratios],
    ]
    rows = [row(name, *figures) for name, *figures in zip(ratios, *columns, strict=True)]
    if len(rows) > 1:
        sizes["total"] = sum(report["bytes"].values())
        rows.append(row("total", *map(sum, columns)))
    header = ("source", "documents", "tokens", "bytes", "train", "held out")
    return table((*header, "chars/token", "left out"), rows)
