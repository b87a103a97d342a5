"""`yxanul prepare`: build a recipe's tokenizer and shards."""

from __future__ import annotations

from typing import Annotated

from yxanul.base.cache import is_address
from yxanul.base.files import folder_lock
from yxanul.base.interrupt import StopRequest
from yxanul.base.run_folder import RunFolder
from yxanul.cli.options import (
    JsonOption,
    OutOption,
    Overrides,
    RecipeArgument,
    option,
    run_folder_of,
)
from yxanul.cli.output import make_ui, print_json, print_text
from yxanul.cli.run import load_for_run

NAME = "prepare"
EXAMPLES = """
yxanul prepare quickstart
yxanul prepare own-text data.sources.mine.path=~/books --out runs/books
yxanul prepare my-corpus data.folder=s3://bucket/corpus --executor ray
"""


def command(
    recipe: RecipeArgument,
    overrides: Overrides = None,
    out: OutOption = None,
    executor: Annotated[
        str | None,
        option(
            "processes|ray",
            "Encode in local processes, or on the Ray cluster of RAY_ADDRESS."
            "  [default: data.executor]",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Build the tokenizer and encode all text into shards; resume an interrupted call."""
    from yxanul.cli.data_text import report
    from yxanul.data.report import figures_of, report_on
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
        manifests = prepare(run, resolved, ui)
    if as_json:
        print_json({"run": str(run.path)} | report_on(manifests))
    else:
        folder = resolved.data.folder
        where = folder if folder and is_address(folder) else run.data(folder)
        file = f"{where}/{next(iter(manifests)) if len(manifests) == 1 else 'SOURCE'}/dropped.jsonl"
        samples = f"samples of them: {file}, or yxanul data show {run.path} --dropped"
        figures = {name: figures_of(manifest) for name, manifest in manifests.items()}
        print_text("\n".join(report(figures, samples)))
