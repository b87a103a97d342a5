"""The study of learning: its arithmetic, its list of jobs, and one tiny study from end to end."""

import math
from dataclasses import asdict

import pytest

from harness.seeds import Mean, crossing, mean_of, paired
from harness.shapes import STEP_SHAPES
from harness.study import (
    CLAIMED,
    FIRST_PEER_RATE,
    GOAL,
    PEERS,
    TRIALS,
    Job,
    Plan,
    Study,
    planned,
)
from harness.texts import DATASETS, recipe_of, split_at_titles
from learning import WHAT, best_peer, by_seed, claim, claim_row, our_arms, rates_of, share_rows
from yxanul.recipe import load_recipe

STUDY = Study(("a", "b"), steps=100)


def job(arm, seed=0, steps=100, rate=None, dataset="a"):
    return Job(dataset, arm, seed, steps, rate)


def loss(value):
    return {"loss": value}


def finish(study, loss_of):
    """Do all jobs of a study by a formula; return them in the order in which they were done."""
    results = {}
    while left := [job for job in planned(study, results) if job not in results]:
        results[left[0]] = loss(loss_of(left[0]))
    return results


def bowl(job):
    """A loss that is lowest at a rate of 4e-3, and falls with the tokens."""
    distance = abs(math.log2((job.rate or 4e-3) / 4e-3))
    return 3 + 0.1 * distance + 100 / job.steps + 0.01 * job.seed + 0.05 * (job.arm == "peer")


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


def test_the_first_jobs_choose_the_start_weights():
    jobs = list(planned(STUDY, {}))
    jobs = jobs[len(TRIALS) :]
    assert [(one.arm, one.rate) for one in jobs[:2]] == [(arm, FIRST_PEER_RATE) for arm in PEERS]
    assert all(one.arm not in PEERS and one.steps == 60 for one in jobs[2:5])


@pytest.mark.parametrize("better", PEERS)
def test_the_peer_goes_on_from_the_better_start_weights(better):
    results = {job(arm, rate=FIRST_PEER_RATE): loss(3 - (arm == better)) for arm in PEERS}
    more = [one for one in planned(STUDY, results) if one.is_peer and one not in results]
    assert {one.arm for one in more} == {better}
    assert {one.rate for one in more if one.dataset == "b"} == set(STUDY.peer_rates)


def test_a_whole_study():
    results = finish(STUDY, bowl)
    jobs = list(results)
    assert len(jobs) == len(set(jobs))
    for dataset in STUDY.datasets:
        # The peer and AdamW are tuned on one seed, then repeated at their best rate.
        tuned = {one.seed: one for one in jobs if one.dataset == dataset and one.rate == 4e-3}
        assert {0, 1, 2} <= tuned.keys()
        for arm in ("peer-our-init", "adamw"):
            others = [one for one in jobs if (one.dataset, one.arm) == (dataset, arm) and one.seed]
            best = Plan(STUDY, results).best_rate(dataset, arm)
            assert {one.rate for one in others} == {best} and len(others) == 2
        for arm in our_arms(256):
            done = [one for one in jobs if (one.dataset, one.arm) == (dataset, arm)]
            assert done or (dataset, arm) == ("b", "warm")
    first_shares = next(i for i, one in enumerate(jobs) if one.arm == "adamw")
    claims = [
        one for one in jobs if one.arm in (*PEERS, CLAIMED[0]) and one.steps == _steps(one.arm)
    ]
    assert all(jobs.index(one) < first_shares for one in claims)
    assert {one.steps for one in jobs} == {100, 60, 50, 40}


def _steps(arm):
    return STUDY.steps_of(arm)


@pytest.mark.parametrize(
    ("best", "expected"),
    [
        (2e-3, [1e-3, 2e-3, 4e-3]),
        (4e-3, [1e-3, 2e-3, 4e-3, 8e-3]),
        (1e-3, [5e-4, 1e-3, 2e-3, 4e-3]),
    ],
)
def test_rates_go_past_an_edge(best, expected):
    study, results = Study(("a",), steps=100, adamw_rates=(4e-3, 1e-3, 2e-3)), {}
    assert Plan(study, results).best_rate("a", "adamw") is None
    while True:
        tried = Plan(study, results).rates("a", "adamw")
        left = [rate for rate in tried if job("adamw", rate=rate, steps=60) not in results]
        if not left:
            break
        results[job("adamw", rate=left[0], steps=60)] = loss(abs(math.log(left[0] / best)))
    assert tried == pytest.approx(expected)
    assert Plan(study, results).best_rate("a", "adamw") == pytest.approx(best)


def test_rates_do_not_go_on_for_ever():
    study, results = Study(("a",), steps=100, adamw_rates=(1e-3, 2e-3)), {}
    for _ in range(10):
        tried = Plan(study, results).rates("a", "adamw")
        results |= {job("adamw", rate=rate, steps=60): loss(-rate) for rate in tried}
    assert tried == pytest.approx([1e-3, 2e-3, 4e-3, 8e-3])


def test_the_claim():
    peer = {job("peer-our-init", seed, rate=2e-3): loss(3.0 + 0.1 * seed) for seed in range(3)}
    other = {job("peer", rate=2e-3): loss(2.0)}  # one lucky seed: the arm with all seeds counts
    ours = {
        job("ours", seed, steps): loss(level + 0.1 * seed)
        for seed in range(3)
        for steps, level in ((60, 2.9), (40, 3.1), (100, 2.5))
    }
    found = claim(STUDY, "a", "ours", peer | other | ours)
    assert found["ours_at_goal_minus_peer"]["mean"] == pytest.approx(-0.1)
    assert found["ours_at_goal_minus_peer"]["half_interval_95"] == pytest.approx(0, abs=1e-9)
    assert list(found["ours_by_share"]) == ["0.4", str(GOAL), "1.0"]
    assert found["reached_at_by_seed"]["1"] == pytest.approx(math.sqrt(0.4 * 0.6))
    row = claim_row("a", "ours", found)
    assert row[:2] == ["a", "ours"] and row[4].startswith("-0.1000 ±")
    assert row[5:] == ["", "0.49, 0.49, 0.49"]
    warm = {job("peer-warm", seed, rate=4e-3): loss(2.5 + 0.1 * seed) for seed in range(3)}
    found = claim(STUDY, "a", "ours", peer | ours | warm)
    assert found["ours_at_goal_minus_warm_peer"]["mean"] == pytest.approx(0.4)
    assert found["ours_at_goal_minus_peer"]["mean"] == pytest.approx(-0.1)
    assert claim(STUDY, "b", "ours", peer) == {}


def test_losses_of_an_arm_are_those_of_one_rate():
    results = {job("adamw", 0, rate=rate): loss(4 - rate) for rate in (1e-3, 2e-3)}
    assert by_seed(results, "a", "adamw", 100) == {0: 4 - 2e-3}
    results |= {job("adamw", 1, rate=1e-3): loss(3.9)}
    assert by_seed(results, "a", "adamw", 100) == {0: 4 - 1e-3, 1: 3.9}
    assert by_seed(results, "a", "adamw", 60) == {}
    assert best_peer(results, "a", 100) == {}
    assert rates_of(results, "a", "adamw", 100) == "0.001: 3.999, 0.002: 3.998"


def test_rows_of_the_table():
    results = finish(STUDY, bowl)
    rows = {row[0]: row for row in share_rows(STUDY, "a", results, WHAT)}
    assert rows.keys() == WHAT.keys()
    assert [len(row) for row in rows.values()] == [6] * len(rows)
    assert rows["ours"][4] == "" and rows["cosine"][4] == "+0.0000 ± 0.0000"
    assert rows["peer"][2] == "100" and rows["cosine"][2] == "60"
    # 3 + 0.1 + 1 + 0.05 at a rate that is half of the best, and 3 + 100 / 60.
    assert rows["peer"][4] == "-0.5167 (1 seed)"
    assert rows["peer-our-init"][3] == "4.0100 ± 0.0248"


def test_keys_tell_jobs_apart():
    jobs = list(finish(STUDY, bowl))
    assert len({(one.dataset, one.key) for one in jobs}) == len(jobs)
    assert Job(**asdict(jobs[0])) == jobs[0]


@pytest.mark.parametrize("arm", our_arms(256))
def test_every_arm_is_a_sound_recipe(arm, tmp_path):
    dataset, shape = DATASETS["made-up"], STEP_SHAPES["micro"]
    sources = dataset.sources(tmp_path, tmp_path)
    path = tmp_path / "recipe.yaml"
    import yaml

    wanted = recipe_of(shape, dataset, sources, tmp_path)
    path.write_text(yaml.safe_dump(wanted))
    plain, changed = load_recipe(str(path)), load_recipe(str(path), our_arms(256)[arm])
    assert (plain == changed) == (arm == "ours")
    assert plain.optim.name == "muon" and plain.optim.schedule.name == "linear_to_zero"
    assert changed.train.batch_tokens == 2048
    assert max(phase.seq_len for phase in changed.stages[0].curriculum) == 256


def test_wikitext_is_cut_at_titles():
    text = "\n = One = \n\n a \n = = Part = = \n b \n = Two = \n c\n"
    assert [part.split()[1] for part in split_at_titles(text)] == ["One", "Two"]
    assert "Part" in split_at_titles(text)[0]


RATES = (None, 2e-3, 3e-3)


@pytest.mark.slow
def test_a_tiny_study(benchmark_results, tmp_path):
    pytest.importorskip("transformers", reason="needs the extra 'bench'")
    pytest.importorskip("accelerate", reason="needs the extra 'bench'")
    small = ("--datasets", "made-up", "--scale", "tiny", "--steps", "5", "--seeds", "0")
    rates = ("--peer-rates", "2e-3", "--adamw-rates", "3e-3", "--precision", "fp32")
    work = tmp_path / "work"
    found = benchmark_results("learning.py", *small, *rates, "--work", str(work))
    jobs = {(one["arm"], one["steps"]): one for one in found["jobs"] if one["rate"] in RATES}
    assert not found["missing"]
    ours, peer = jobs["ours", 5], jobs["peer-our-init", 5]
    # The same start weights see the same rows: the first loss is the same to rounding.
    assert peer["first_loss"] == pytest.approx(ours["first_loss"], rel=1e-3)
    assert jobs["peer", 5]["first_loss"] != pytest.approx(ours["first_loss"], rel=1e-6)
    assert ours["tokens"] == peer["tokens"] == 5 * 128
    assert jobs["ours", 3]["tokens"] == 3 * 128
    assert len({one["held_out_tokens"] for one in found["jobs"]}) == 1
    # The peer's settings in our program come to what the peer comes to.
    assert jobs["peer-settings", 5]["loss"] == pytest.approx(peer["loss"], rel=0.02)
    assert not any((work / "made-up" / "runs").iterdir())
    again = benchmark_results("learning.py", *small, *rates, "--work", str(work))
    assert again["jobs"] == found["jobs"]  # nothing is done twice, seconds and all
