import pytest
from pydantic import ValidationError

from yxanul.base.errors import YxanulError
from yxanul.eval.config import EvalSettings
from yxanul.recipe import load_recipe


def test_benchmarks_come_from_the_hub_or_a_file():
    settings = EvalSettings(benchmarks={"gsm8k": {}, "humaneval": {"path": "x.jsonl.gz"}})
    assert settings.benchmarks["gsm8k"].path is None
    assert settings.benchmarks["humaneval"].path == "x.jsonl.gz"
    assert EvalSettings().benchmarks == {}


@pytest.mark.parametrize("wrong", [{"gsm8k": {"file": "x"}}, {"gsm8k": {"path": ""}}, {"x": {}}])
def test_benchmarks_without_sense_are_refused(wrong):
    with pytest.raises(ValidationError):
        EvalSettings(benchmarks=wrong)


def test_an_unknown_benchmark_in_a_recipe_is_one_line_with_the_near_miss():
    with pytest.raises(
        YxanulError, match=r"eval\.benchmarks.*'gsm8'.*did you mean 'gsm8k'"
    ) as info:
        load_recipe("quickstart", ["eval.benchmarks={gsm8: {}}"])
    assert "\n" not in str(info.value)
    recipe = load_recipe("quickstart", ["eval.benchmarks={gsm8k: {path: a.jsonl}, triviaqa: {}}"])
    assert set(recipe.eval.benchmarks) == {"gsm8k", "triviaqa"}
