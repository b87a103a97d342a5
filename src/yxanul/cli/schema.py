"""`yxanul schema`: the JSON schema of recipes, or a reference page of all keys."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from yxanul.base.errors import YxanulError
from yxanul.cli.options import JsonOption
from yxanul.cli.output import print_json, print_text

NAME = "schema"
EXAMPLES = """**Examples**

`yxanul schema > recipe.schema.json`

Then begin a recipe with this line:

`# yaml-language-server: $schema=recipe.schema.json`"""


def command(
    as_json: JsonOption = False,
    markdown: Annotated[
        bool,
        typer.Option("--markdown", metavar="", help="Print a Markdown page of all keys instead."),
    ] = False,
) -> None:
    """Print the JSON schema of recipes, for completion and checks in editors."""
    from yxanul.recipe import recipe_schema

    if markdown and as_json:
        raise YxanulError("--markdown and --json cannot be combined")
    if markdown:
        from yxanul.cli.recipe_keys import recipe_keys_page

        print_text(recipe_keys_page().rstrip("\n"))
        return
    schema = recipe_schema()
    print_json(schema) if as_json else print_text(json.dumps(schema, indent=2))
