"""`yxanul schema`: the JSON schema of recipes."""

from __future__ import annotations

import json

from yxanul.cli.options import JsonOption

NAME = "schema"
EXAMPLES = """**Examples**

`yxanul schema > recipe.schema.json`, then in a recipe's first line:
`# yaml-language-server: $schema=recipe.schema.json`"""


def command(as_json: JsonOption = True) -> None:
    """Print the JSON schema of recipes, so that editors complete and check them."""
    from yxanul.cli.output import print_text
    from yxanul.recipe import recipe_schema

    print_text(json.dumps(recipe_schema(), indent=2))
