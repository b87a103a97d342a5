import pytest
from pydantic import ValidationError

from yxanul.base.errors import YxanulError
from yxanul.data.config import DecontaminateSettings
from yxanul.recipe import load_recipe


def test_benchmarks_come_from_the_hub_or_a_file():
    settings = DecontaminateSettings(benchmarks={"gsm8k": {}, "humaneval": {"path": "x.jsonl.gz"}})
    assert settings.benchmarks["gsm8k"].path is None
    assert settings.benchmarks["humaneval"].path == "x.jsonl.gz"


@pytest.mark.parametrize("wrong", [{"gsm8k": {"file": "x"}}, {"gsm8k": {"path": ""}}, {"x": {}}])
def test_benchmarks_without_sense_are_refused(wrong):
    with pytest.raises(ValidationError):
        DecontaminateSettings(benchmarks=wrong)


def test_an_unknown_benchmark_in_a_recipe_is_one_line_with_the_near_miss():
    with pytest.raises(
        YxanulError, match=r"data\.decontaminate\.benchmarks.*'gsm8'.*'gsm8k'"
    ) as info:
        load_recipe("quickstart", ["data.decontaminate.benchmarks={gsm8: {}}"])
    assert "\n" not in str(info.value)
    recipe = load_recipe(
        "quickstart", ["data.decontaminate.benchmarks={gsm8k: {path: a.jsonl}, triviaqa: {}}"]
    )
    assert set(recipe.data.benchmarks) == {"gsm8k", "triviaqa"}


@pytest.mark.parametrize("old", ["data.decontaminate=true", "eval.benchmarks={gsm8k: {}}"])
def test_the_forms_of_0_1_are_refused_with_the_one_of_today(old):
    with pytest.raises(
        YxanulError, match=r"data\.decontaminate\.benchmarks|\{benchmarks: "
    ) as info:
        load_recipe("quickstart", [old])
    assert "\n" not in str(info.value)
