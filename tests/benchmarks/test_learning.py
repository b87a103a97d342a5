"""The study of learning: its arithmetic, its jobs, and one tiny study from end to end."""

import argparse
import json
import math

import pytest
import yaml

import learning
from harness.seeds import Mean, crossing, mean_of, paired
from harness.shapes import STEP_SHAPES
from harness.texts import DATASETS, recipe_of, split_at_titles
from learning import ARMS, Study, compare, overrides_of
from yxanul.recipe import load_recipe


def study_of(folder, **options):
    chosen = {"scale": "micro", "steps": 100, "seeds": [0, 1, 2], "rates": None, "until": None}
    chosen |= {"report": False, "work": folder, "arms": list(ARMS)} | options
    return Study(argparse.Namespace(**chosen))


@pytest.fixture
def trained(monkeypatch):
    """Replace training by a formula, lowest at a rate of 4e-3; return the jobs that were done."""
    done = []

    def train(study, dataset, arm, seed, rate, key):
        done.append((dataset, key))
        distance = abs(math.log2((rate or 4e-3) / 4e-3))
        gain = 0.5 * (not arm.is_peer) + 0.1 * arm.long_warmup
        return {"loss": 3 + 0.1 * distance - math.log(arm.share) + 0.01 * seed - gain}

    monkeypatch.setattr(Study, "_train", train)
    return done


def test_mean_has_the_interval_of_student():
    # The standard error of 1, 2, 3 is 1 / sqrt(3).
    mean = mean_of([1.0, 2.0, 3.0])
    assert mean.mean == 2.0 and mean.seeds == 3
    assert mean.half_interval_95 == pytest.approx(4.303 / math.sqrt(3))
    assert str(mean) == "2.0000 ± 2.4843"
    assert str(mean_of([0.5])) == "0.5000 (1 seed)"


def test_differences_are_paired_by_seed():
    # Seeds that differ much in both arms, and by the same: the difference is sure.
    found = paired({0: 1.0, 1: 5.0, 2: 3.0}, {0: 1.5, 1: 5.5, 2: 3.5, 3: 9.0})
    assert found == Mean(-0.5, 0.0, 3)
    assert paired({0: 1.0}, {1: 1.0}) is None


def test_crossing_lies_on_a_line_over_log_tokens():
    points = {1.0: 2.0, 0.25: 4.0}
    assert crossing(points, 3.0) == pytest.approx(0.5)
    assert crossing(points, 4.0) == pytest.approx(0.25)
    assert crossing(points, 2.0) == pytest.approx(1.0)
    assert crossing(points, 1.9) is None and crossing(points, 4.1) is None
    assert crossing({0.5: 3.0}, 3.0) is None
    # Where noise has the loss rise again, the first crossing counts.
    assert crossing({0.3: 4.0, 0.4: 3.0, 0.5: 3.5, 0.6: 2.5}, 3.0) == pytest.approx(0.4)


def test_rates_are_tried_on_the_first_seed_and_the_best_repeated(tmp_path, trained):
    tried, losses = study_of(tmp_path).losses("stories", "peer")
    assert list(tried) == list(learning.PEER_RATES) and min(tried, key=tried.get) == 4e-3
    assert losses == pytest.approx({0: 3.0, 1: 3.01, 2: 3.02})
    assert len(trained) == len(set(trained)) == len(learning.PEER_RATES) + 2


def test_the_claim(tmp_path, trained):
    claim = compare(study_of(tmp_path), "stories")
    assert claim["peer"] == "peer-warm"  # the best of the peers counts
    assert claim["minus_peer"]["mean"] == pytest.approx(-0.4 - math.log(0.6))
    assert claim["minus_peer"]["half_interval_95"] == pytest.approx(0, abs=1e-9)
    assert claim["reached_at"] == pytest.approx(math.exp(-0.4))
    done = list(trained)
    assert compare(study_of(tmp_path), "stories") == claim and trained == done


def test_a_report_does_no_job(tmp_path, trained):
    assert compare(study_of(tmp_path, arms=["peer", "curriculum"], until="00:00"), "stories") == {}
    assert not trained
    some = {"arms": ["peer", "curriculum"], "seeds": [0]}
    claim = compare(study_of(tmp_path, **some), "stories")
    done = list(trained)
    assert claim["reached_at"] is None  # one share
    assert compare(study_of(tmp_path, report=True, **some), "stories") == claim
    more = compare(study_of(tmp_path, report=True), "stories")
    assert more["peer"] == "peer" and trained == done


def test_results_say_which_job_they_are_of(tmp_path, trained):
    study_of(tmp_path).losses("stories", "adamw")
    kept = [json.loads(path.read_text()) for path in (tmp_path / "stories/results").iterdir()]
    assert {one["arm"] for one in kept} == {"adamw"}
    assert {(one["seed"], one["rate"]) for one in kept} >= {(1, 3e-3), (2, 3e-3), (0, 6e-3)}


@pytest.mark.parametrize("name", [name for name, arm in ARMS.items() if not arm.is_peer])
def test_every_arm_is_a_sound_recipe(name, tmp_path):
    dataset, shape, path = DATASETS["made-up"], STEP_SHAPES["micro"], tmp_path / "recipe.yaml"
    sources = dataset.sources(tmp_path, tmp_path)
    path.write_text(yaml.safe_dump(recipe_of(shape, dataset, sources, tmp_path)))
    changed = load_recipe(str(path), overrides_of(ARMS[name], shape, 100, 3, ARMS[name].rates[0]))
    plain = load_recipe(str(path), ["seed=3", "stages.0.budget={tokens: 204800}"])
    assert (plain == changed) == (name == "ours")
    assert plain.optim.name == "muon" and plain.optim.schedule.name == "linear_to_zero"
    assert changed.train.batch_tokens == 2048
    assert max(phase.seq_len for phase in changed.stages[0].curriculum) == 256


def test_wikitext_is_cut_at_titles():
    text = "\n = One = \n\n a \n = = Part = = \n b \n = Two = \n c\n"
    assert [part.split()[1] for part in split_at_titles(text)] == ["One", "Two"]
    assert "Part" in split_at_titles(text)[0]


@pytest.mark.slow
def test_a_tiny_study(benchmark_results, tmp_path):
    pytest.importorskip("transformers", reason="needs the extra 'bench'")
    pytest.importorskip("accelerate", reason="needs the extra 'bench'")
    small = ("--datasets", "made-up", "--scale", "tiny", "--steps", "5", "--seeds", "0")
    more = ("--rates", "2e-3", "--precision", "fp32", "--work", str(tmp_path / "work"))
    found = benchmark_results("learning.py", *small, *more)
    jobs = {one["arm"]: one for one in found["jobs"]}
    assert jobs.keys() == ARMS.keys()
    ours, peer = jobs["curriculum-1.0"], jobs["peer-our-init"]
    settings = jobs["peer-settings"]
    # The same start weights see the same rows: the first loss is the same to rounding.
    assert peer["first_loss"] == pytest.approx(settings["first_loss"], rel=1e-3)
    assert jobs["peer"]["first_loss"] != pytest.approx(settings["first_loss"], rel=1e-6)
    assert ours["tokens"] == peer["tokens"] == 5 * 128
    assert jobs["ours"]["tokens"] == 3 * 128
    assert len({one["held_out_tokens"] for one in found["jobs"]}) == 1
    # The peer's settings in our program come to what the peer comes to.
    assert settings["loss"] == pytest.approx(peer["loss"], rel=0.02)
    assert found["claims"]["made-up"]["minus_peer"]["seeds"] == 1
    assert not any((tmp_path / "work" / "made-up" / "runs").iterdir())
    again = benchmark_results("learning.py", *small, *more)
    assert again["jobs"] == found["jobs"]  # nothing is done twice, seconds and all
