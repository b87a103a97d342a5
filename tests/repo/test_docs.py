"""Recipes in the documents are recipes."""

import math
import re
from pathlib import Path

import pytest

from yxanul.cli.recipe_keys import recipe_keys_page
from yxanul.eval.run_tasks import ALL_TASKS
from yxanul.recipe import Recipe, load_recipe
from yxanul.recipe.keys import walk
from yxanul.recipe.other_names import other_names

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


def test_the_page_of_keys_is_that_of_the_settings():
    """`yxanul schema --markdown > docs/recipe-keys.md` writes it."""
    assert (DOCS / "recipe-keys.md").read_text() == recipe_keys_page()


def test_the_page_of_evaluation_has_every_task():
    page, documents = (DOCS / "evaluation.md").read_text(), {}
    for names, counts in re.findall(r"^\| (`\w+`(?:, `\w+`)*) \| ([\d, x]+)", page, re.M):
        sizes = [int(n.replace(",", "")) for n in re.findall(r"[\d,]*\d", counts)]
        sizes = [math.prod(sizes)] if " x " in counts else sizes
        names = re.findall(r"\w+", names)
        documents |= dict(zip(names, sizes, strict=True))
    assert documents == {name: task.documents for name, task in ALL_TASKS.items()}


def test_every_other_name_is_of_a_key_that_there_is():
    known = {key.dotted for key in walk(Recipe)}
    assert set(other_names("keys")) <= known
    for key, names in other_names("keys").items():
        siblings = {one.path[-1] for one in walk(Recipe) if one.dotted.rpartition(".")[0] == ""}
        assert not siblings & set(names), key
