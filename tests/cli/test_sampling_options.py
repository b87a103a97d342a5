"""The options of `generate` and the settings behind them allow the same."""

import inspect
import typing

import pytest

from yxanul.cli.generate import command
from yxanul.generate.config import SampleSettings

OPTION_OF = {"num_samples": "samples"}
NUMBERS = [name for name in SampleSettings.model_fields if name != "stop"]


@pytest.mark.parametrize("name", NUMBERS)
def test_an_option_has_the_range_and_the_default_of_its_setting(name):
    field = SampleSettings.model_fields[name]
    option = OPTION_OF.get(name, name)
    (info,) = typing.get_type_hints(command, include_extras=True)[option].__metadata__
    schema = SampleSettings.model_json_schema()["properties"][name]
    (number,) = [one for one in schema.get("anyOf", [schema]) if one["type"] != "null"]
    least = number.get("minimum", number.get("exclusiveMinimum", -1) + 1)
    assert "exclusiveMinimum" not in number or number["type"] == "integer"
    assert (info.min, info.max) == (least, number.get("maximum"))
    assert inspect.signature(command).parameters[option].default == field.default
