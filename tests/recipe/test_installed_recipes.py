"""The recipes that come with the package: walked step by step, set against what they promise."""

from collections import Counter
from pathlib import Path

import pytest

from yxanul.recipe import Recipe, dump_recipe, load_recipe
from yxanul.recipe.files import find_file, installed_files
from yxanul.stages.config import DEFAULT_RULES, StageSettings, stage_optim
from yxanul.stages.resume import differences
from yxanul.train.curriculum import Plan, make_plan, planned_lr

NAMES = sorted(set(installed_files("recipe")) - {"base"})
PROMISED = {
    "quickstart",
    "own-text",
    "tinystories",
    "stage1-wikipedia",
    "stage1-rtx4090",
    "stage2-reasoning",
    "stage3-math",
    "stage4-code",
    "four-stages",
    "fineweb-ultra",
    "fineweb-ultra-24gb",
    "fineweb-ultra-h200",
    "nine-phase",
    "fp8-270m",
    "progressive-1b",
}
MILLIONS = [10, 20, 30, 40, 75, 100, 125, 150, 200, 250]
PERCENT = """95/5/0 95/5/0 90/8/2 85/10/5 80/12/8 75/15/10 70/18/12 65/20/15 60/22/18 55/25/20"""
LENGTHS = [8, 16, 32, 64, 128, 256, 512, 768, 1536, 2048]


def plan_of(recipe: Recipe, stage: StageSettings) -> Plan:
    steps, tokens = stage.budget.steps, stage.budget.tokens
    return make_plan(
        stage.curriculum,
        stage.mix,
        recipe.train,
        clip=recipe.optim.grad_clip,
        steps=steps,
        tokens=tokens,
    )


def walk(plan: Plan) -> Counter[str]:
    """Count tokens, sequences and steps, and the tokens of each phase, one step after another."""
    sequences, tokens = 0, Counter[int]()
    for step in range(steps := plan.total_steps):
        phase = plan.phase_at(step)
        sequences += phase.rows
        tokens[phase.index] += phase.rows * phase.seq_len
    counts = Counter(steps=steps, sequences=sequences, tokens=tokens.total())
    return counts + Counter({f"phase {index}": count for index, count in tokens.items()})


def test_all_promised_recipes_are_there():
    assert set(NAMES) == PROMISED


@pytest.mark.parametrize("name", NAMES)
def test_a_resolved_recipe_reads_back_equal(name, tmp_path):
    recipe, copy = load_recipe(name), tmp_path / "recipe.yaml"
    copy.write_text(dump_recipe(recipe))
    assert differences(recipe, load_recipe(str(copy))) == {}
    assert recipe.description


@pytest.mark.parametrize(
    ("name", "tokens", "sequences", "steps"),
    [
        ("fineweb-ultra", 18_939_904_000, 66_560_000, 200_000),
        ("fineweb-ultra-24gb", 8_593_408_000, None, 200_000),
        ("fineweb-ultra-h200", 10_240_000_000, None, 300_000),
        ("nine-phase", 1_626_624_000, None, 100_000),
        ("fp8-270m", 8_847_360_000, None, 150_000),
        ("progressive-1b", 1_000_000_000, None, None),
        ("tinystories", 614_465_536, 4_688 * 1024, 4_688),
    ],
)
def test_the_plan_walked_gives_the_promised_total(name, tokens, sequences, steps):
    recipe = load_recipe(name)
    (stage,) = recipe.stages
    counts = walk(plan_of(recipe, stage))
    assert counts["tokens"] == tokens
    assert sequences in (None, counts["sequences"])
    assert steps in (None, counts["steps"])


def test_progressive_phases_have_exactly_their_tokens_and_mixes():
    recipe = load_recipe("progressive-1b")
    plan = plan_of(recipe, recipe.stages[0])
    counts = walk(plan)
    assert [counts[f"phase {index}"] for index in range(10)] == [n * 10**6 for n in MILLIONS]
    for phase in plan.phases:
        weights = (phase.mix.get(name, 0) for name in ("web", "math", "code"))
        assert "/".join(f"{weight:g}" for weight in weights) == PERCENT.split()[phase.index]
        assert phase.seq_len == LENGTHS[phase.index] or phase.num_steps == 1
        assert phase.rows * phase.seq_len <= recipe.train.batch_tokens


@pytest.mark.parametrize(
    ("name", "step", "seq_len", "rows", "micro_rows", "scale", "clip"),
    [
        ("fineweb-ultra", 1_999, 8, 4096, 4096, 0.3, 0.5),
        ("fineweb-ultra", 2_000, 16, 4096, 4096, 0.4, 0.5),
        ("fineweb-ultra", 140_000, 2048, 64, 32, 1, 1),
        ("fineweb-ultra-24gb", 109_999, 768, 48, 16, 1, 1),
        ("fineweb-ultra-24gb", 110_000, 1536, 48, 8, 1, 1),
        ("fineweb-ultra-h200", 2_999, 8, 4096, 4096, 0.3, 0.5),
        ("fineweb-ultra-h200", 120_000, 768, 48, 48, 1, 1),
        ("nine-phase", 0, 64, 256, 256, 11.3, 5),
        ("nine-phase", 12_000, 768, 21, 21, 1, 0.4),
        ("nine-phase", 50_000, 2048, 8, 8, 0.3, 0.3),
        ("fp8-270m", 0, 128, 256, 8, 2, 1),
        ("fp8-270m", 100_000, 2048, 32, 1, 0.2, 0.3),
        ("stage1-wikipedia", 0, 256, 2048, 128, 1, 0.3),
        ("stage1-wikipedia", 10_000, 1024, 1024, 64, 1, 0.3),
        ("stage1-rtx4090", 0, 512, 64, 8, 1, 1),
        ("stage1-rtx4090", 9_999, 1024, 48, 6, 1, 1),
        ("stage1-rtx4090", 15_000, 2048, 32, 4, 1, 1),
        ("stage2-reasoning", 10_000, 3072, 5, 5, 0.6, 1),
        ("stage2-reasoning", 20_000, 4096, 4, 4, 0.5, 1),
        ("tinystories", 0, 128, 1024, 32, 1, 0.5),
    ],
)
def test_a_step_is_what_the_curriculum_says(name, step, seq_len, rows, micro_rows, scale, clip):
    recipe = load_recipe(name)
    phase = plan_of(recipe, recipe.stages[0]).phase_at(step)
    shape = (phase.seq_len, phase.rows, phase.micro_rows)
    assert (*shape, phase.lr_scale, phase.clip) == (seq_len, rows, micro_rows, scale, clip)


@pytest.mark.parametrize(
    ("name", "schedule", "peak", "floor"),
    [
        ("fineweb-ultra", "cosine", 6e-4, 6e-5),
        ("fp8-270m", "cosine", 2e-4, 2e-5),
        ("nine-phase", "constant", 6e-4, None),
        ("tinystories", "cosine", 1e-4, 1e-5),
        ("stage1-wikipedia", "linear", 2e-4, 2e-5),
        ("stage1-rtx4090", "cosine", 2e-4, 2e-5),
    ],
)
def test_rates(name, schedule, peak, floor):
    optim = load_recipe(name).optim
    assert (optim.name, optim.schedule.name, optim.peak_lr) == ("adamw", schedule, peak)
    assert optim.min_lr_fraction == (floor and pytest.approx(floor / peak))


def test_the_four_stages():
    recipe = load_recipe("four-stages")
    rates = [stage_optim(recipe.optim, stage) for stage in recipe.stages]
    assert [optim.peak_lr for optim in rates] == [2e-4, 1e-4, 5e-5, 2e-5]
    assert [optim.weight_decay for optim in rates] == [0.1, 0.1, 0.01, 0.001]
    tokens = [plan_of(recipe, stage).total_tokens for stage in recipe.stages]
    for found, promised in zip(tokens, (14.4e9, 30e9, 10e9, 3e9), strict=True):
        assert promised <= found < promised + 2**20
    for stage, optim in zip(recipe.stages, rates, strict=True):
        plan = plan_of(recipe, stage)
        assert planned_lr(plan, optim, 1_999) == optim.peak_lr * plan.phase_at(1_999).lr_scale


def test_a_tenth_of_each_later_stage_is_replay():
    seen: set[str] = set()
    for stage in load_recipe("four-stages").stages:
        replay = sum(weight for name, weight in stage.mix.items() if name in seen)
        assert replay == pytest.approx(0.1 if seen else 0)
        assert sum(stage.mix.values()) == pytest.approx(1)
        assert stage.gate.all_rules()[:2] == DEFAULT_RULES
        seen |= set(stage.mix)


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_stage_by_itself_is_that_of_all_four(number):
    together = load_recipe("four-stages").stages[number]
    (alone,) = load_recipe(("stage2-reasoning", "stage3-math", "stage4-code")[number - 1]).stages
    assert (alone.mix, alone.curriculum, alone.budget) == (
        together.mix,
        together.curriculum,
        together.budget,
    )


@pytest.mark.parametrize("name", installed_files("curriculum"))
def test_a_recipe_of_ones_own_takes_a_curriculum(name, tmp_path):
    assert find_file("curriculum", name, Path()) == installed_files("curriculum")[name]
    budget = "budget: {tokens: 9_000_000_000}" if name == "plain" else ""
    text = f"""
extends: progressive-1b
stages:
  - name: only
    extends: {name}
    mix: {{web: 1, math: 1, code: 1}}
    {budget}
"""
    path = tmp_path / "own.yaml"
    path.write_text(text)
    recipe = load_recipe(str(path))
    assert plan_of(recipe, recipe.stages[0]).total_tokens > 0


def test_packages_hold_all_yaml_files():
    import tomllib

    root = Path(__file__).resolve().parents[2]
    config = tomllib.loads((root / "pyproject.toml").read_text())
    globs = config["tool"]["setuptools"]["package-data"]["yxanul"]
    package = root / "src" / "yxanul"
    packed = {path for glob in globs for path in package.glob(glob)}
    assert packed >= set(package.rglob("*.yaml"))
