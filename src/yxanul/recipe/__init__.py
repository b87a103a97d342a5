"""Recipes: YAML files that describe a whole run, validated strictly."""

from yxanul.recipe.load import (
    RecipeError,
    check_tree,
    load_recipe,
    load_with_preset,
    read_tree,
    refuse,
)
from yxanul.recipe.recipe import Recipe, as_plain, dump_recipe, recipe_schema

__all__ = [
    "Recipe",
    "RecipeError",
    "as_plain",
    "check_tree",
    "dump_recipe",
    "load_recipe",
    "load_with_preset",
    "read_tree",
    "recipe_schema",
    "refuse",
]
