"""Recipes in the documents are recipes."""

import re
from pathlib import Path

import pytest

from yxanul.recipe import load_recipe

DOCS = Path(__file__).resolve().parents[2] / "docs"
BLOCKS = [
    pytest.param(block, id=f"{path.name}-{number}")
    for path in sorted(DOCS.rglob("*.md"))
    for number, block in enumerate(
        re.findall(r"^```yaml\n(.*?)^```", path.read_text(), re.M | re.S)
    )
]


@pytest.mark.parametrize("block", BLOCKS)
def test_a_recipe_in_the_documents_is_one(block, tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text(block)
    assert load_recipe(str(path)).stages
