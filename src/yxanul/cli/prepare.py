"""`yxanul prepare`: text to tokenizer and shards."""

from __future__ import annotations

from typing import Any

from yxanul.cli.options import JsonOption, OutOption, Overrides, RecipeArgument, run_folder_of

NAME = "prepare"
EXAMPLES = """**Examples**

`yxanul prepare quickstart`

`yxanul prepare own-text data.sources.mine.path=~/books --out runs/books`"""


def command(
    recipe: RecipeArgument,
    overrides: Overrides = None,
    out: OutOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make the tokenizer and encode all text into shards; an interrupted call goes on."""
    from yxanul.base.files import folder_lock
    from yxanul.base.interrupt import StopRequest
    from yxanul.base.run_folder import RunFolder
    from yxanul.cli.output import make_ui, print_json, print_text
    from yxanul.recipe import load_recipe
    from yxanul.stages.corpus import prepare
    from yxanul.stages.resume import settle_recipe

    resolved = load_recipe(recipe, overrides or ())
    run, ui = RunFolder(run_folder_of(recipe, out)), make_ui()
    with StopRequest().handled(), folder_lock(run.path):
        settle_recipe(run, resolved, ui)
        report = prepare(run, resolved, ui).as_dict()
    if as_json:
        print_json(report)
    else:
        print_text(report_table(report))


def report_table(report: dict[str, Any]) -> str:
    """Return one line a source: documents, tokens, bytes, what was dropped and why."""
    lines = [f"{'source':<16}{'documents':>12}{'tokens':>14}{'bytes':>14}  dropped"]
    for name, causes in report["dropped"].items():
        documents, tokens, size = (report[what][name] for what in ("documents", "tokens", "bytes"))
        dropped = ", ".join(f"{count:,} {cause}" for cause, count in causes.items()) or "none"
        note = "  (synthetic)" if report["synthetic"][name] else ""
        lines.append(f"{name:<16}{documents:>12,}{tokens:>14,}{size:>14,}  {dropped}{note}")
    return "\n".join(lines)
