"""`yxanul schema`: the JSON schema of recipes, or a reference page of all keys."""

from __future__ import annotations

import json
from typing import Annotated

from yxanul.base.errors import YxanulError
from yxanul.cli.options import JsonOption, flag
from yxanul.cli.output import print_json, print_text

NAME = "schema"
EXAMPLES = """
yxanul schema > recipe.schema.json
"""


def command(
    as_json: JsonOption = False,
    markdown: Annotated[
        bool, flag("--markdown", "Print a Markdown page of all keys instead.")
    ] = False,
) -> None:
    """Print the JSON schema of recipes, for completion and checks in editors.

    An editor reads it if a recipe begins with `# yaml-language-server: $schema=recipe.schema.json`.
    """
    from yxanul.recipe import recipe_schema

    if markdown and as_json:
        raise YxanulError("--markdown and --json cannot be combined")
    if markdown:
        from yxanul.cli.recipe_keys import recipe_keys_page

        print_text(recipe_keys_page().rstrip("\n"))
        return
    schema = recipe_schema()
    print_json(schema) if as_json else print_text(json.dumps(schema, indent=2))
