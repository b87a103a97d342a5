"""`yxanul run`: a recipe from start to end."""

from __future__ import annotations

from yxanul.cli.options import JsonOption, OutOption, Overrides, RecipeArgument, run_folder_of

NAME = "run"
EXAMPLES = """**Examples**

`yxanul run quickstart`

`yxanul run own-text data.sources.mine.path=~/books stages.0.budget={minutes: 10} --out runs/books`

An interrupted or failed run goes on when the same command is given again."""


def command(
    recipe: RecipeArgument,
    overrides: Overrides = None,
    out: OutOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run a recipe: tokenizer, shards, every stage and its gate, then a sample and the scores."""
    from yxanul.cli.train import carry_out

    carry_out(recipe, overrides or [], run_folder_of(recipe, out), as_json, with_prepare=True)
