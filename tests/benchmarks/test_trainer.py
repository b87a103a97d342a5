"""The benchmark of whole trainers: its arithmetic, its contenders, and one tiny run."""

import numpy as np
import pytest

from harness.shapes import STEP_SHAPES
from trainer import (
    BARE,
    SOURCE,
    TRAINER,
    WANTED,
    efficiency,
    hold_of,
    judge,
    share_held,
    split_of,
    trainer_recipe,
)
from yxanul.recipe import load_recipe

SHORT = ("--shape", "nano", "--large", "nano", "--megabytes", "0.3", "--precisions", "fp32")
FEW = ("--steps", "3", "--rounds", "2", "--races", "1", "--starts", "1", "--hold-steps", "4")


def speeds(*values):
    return [{"tokens_per_second": value} for value in values]


def test_efficiency_is_taken_round_by_round():
    found = efficiency({TRAINER: speeds(90, 40), BARE: speeds(100, 50)})
    assert found["ratios"] == {BARE: {"median": 0.85, "min": 0.8, "max": 0.9}}
    # 2 rounds of 1 token: 1/90 + 1/40 s against 1/100 + 1/50 s.
    assert found["overall"][BARE] == pytest.approx((1 / 100 + 1 / 50) / (1 / 90 + 1 / 40), 1e-3)
    assert found["tokens_per_second"][BARE] == pytest.approx(66.7)


def test_the_split_of_a_start_is_of_medians():
    starts = [{"imports": 2.0, "model": 1.0}, {"imports": 3.0, "model": 5.0}]
    starts.append({"imports": 2.5, "model": 1.5})
    found = split_of(starts)
    assert found == {"imports": 2.5, "model": 1.5, "total": 4.0, "least": 3.0, "most": 8.0}


def test_the_cost_of_a_checkpoint():
    # A step takes 1 s. The first save holds for 0.5 s, later ones for 0.2 s, and the step beside
    # which it is written takes 1.3 s.
    first = {"steps": [1.0, 1.0 + 0.5 + 0.3, 1.0, 1.0], "holds": [0.5]}
    later = {"steps": [1.0, 1.0 + 0.2 + 0.3, 1.0, 1.0], "holds": [0.2]}
    found = hold_of([first, later, later])
    assert found == pytest.approx(
        {
            "step_seconds": 1.0,
            "checkpoints": 3,
            "first_hold_seconds": 0.5,
            "hold_seconds": 0.2,
            "longest_hold_seconds": 0.2,
            "slowed_seconds": 0.3,
        }
    )
    share = share_held(found, 10)
    assert share["held"] == pytest.approx(0.2 / 10.2, rel=1e-4)
    assert share["held_and_slowed"] == pytest.approx(0.5 / 10.5, rel=1e-4)
    quick = share_held(found | {"slowed_seconds": -0.1}, 10)  # noise never pays for a save
    assert quick["held_and_slowed"] == quick["held"]


def test_what_is_asked_is_judged():
    at = {"shape": "micro", "precision": "bf16"}
    found = {
        "A": [at | {"ratios": {BARE: {"median": 0.96}}}, at | {"absent": {BARE: "failed"}}],
        "B": [at | {"ratios": {"yxanul": {"litgpt": {"median": 0.7}, "other": {"median": 9}}}}],
        "C": [at | {"later": {"total": 8.5}}],
        "D": [at | {"shares": [{"held": 0.001}, {"held": 0.5}]}],
    }
    judged = judge(found)
    met = {name.rpartition(",")[0]: one["met"] for name, one in judged.items()}
    assert met == {
        "trainer / bare step": False,
        "seconds / litgpt": True,
        "seconds to the first step": False,
        "share held by checkpoints at the default cadence": True,
    }
    assert met.keys() < WANTED.keys() and judge({}) == {}
    assert judged["trainer / bare step, micro bf16"]["wanted"] == "at least 0.97"


@pytest.mark.parametrize("name", ["micro", "51m", "small", "nano"])
def test_the_recipe_is_of_the_shape(name, tmp_path):
    import yaml

    shape = STEP_SHAPES[name]
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(trainer_recipe(shape, tmp_path, 1_000_000, seed=3)))
    recipe = load_recipe(str(path))
    found = recipe.model.resolved(shape.settings.known_vocab_size)
    same = {"preset": None}
    assert found.model_copy(update=same) == shape.settings.model_copy(update=same)
    assert recipe.train.batch_tokens == shape.tokens and recipe.optim.name == "adamw"
    assert recipe.train.checkpoint.every_steps == 1000 and recipe.seed == 3
    assert recipe.stages[0].mix == {SOURCE: 1}


@pytest.mark.slow
def test_a_tiny_run(benchmark_results):
    names = ("yxanul", "transformers", "litgpt")
    found = benchmark_results("trainer.py", *SHORT, *FEW, "--contenders", *names)
    (a,), (b,), (c,), (d,) = (found[part] for part in "ABCD")
    assert not a["absent"] and set(a["ratios"]) == {BARE}
    # Both start from random weights of their own: the loss of either is that of chance.
    assert list(a["first_loss"].values()) == pytest.approx([np.log(320)] * 2, rel=0.05)
    assert set(b["runs"]) | set(b["absent"]) == set(names) and "yxanul" in b["runs"]
    for runs in b["runs"].values():
        (one,) = runs
        assert one["tokens"] == 3 * 128
        assert one["mean_loss"] == pytest.approx(np.log(320), rel=0.08)
        assert 0 < one["first_step_seconds"] < one["seconds"]
    ours = b["runs"]["yxanul"][0]
    assert ours["in_steps_seconds"] + ours["checkpoint_seconds"] < ours["seconds"]
    assert c["later"]["total"] > c["imports"]["total"] > c["imports"]["torch"] > 0
    assert d["checkpoints"] == 2 and 0 < d["shares"][0]["held"] < d["shares"][1]["held"] < 1
    assert found["machine"]["threads"] == 1 and found["judged"]
