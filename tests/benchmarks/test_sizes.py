"""The benchmark of sizes, and the scaling law that ships."""

import json
from pathlib import Path

import pytest

import sizes
from yxanul.model.scaling_law import SCALING_LAW, ScalingLaw

RESULTS = sorted((Path(sizes.__file__).parent / "results").glob("*-sizes-cpu.json"))


def runs_of(law, text="wiki"):
    return [
        {"text": text, "preset": preset, "tokens": tokens, "loss": loss, "bits_per_byte": loss}
        for preset in sizes.PRESETS
        for tokens in (1e6, 2e6, 4e6, 8e6, 1.6e7)
        for loss in [law.loss(sizes.parameters(preset), tokens)]
    ]


def test_the_fit_finds_the_law_that_runs_follow():
    law = ScalingLaw(E=1.5, A=30.0, alpha=sizes.ALPHA, B=250.0, beta=0.4)
    found = sizes.fit(
        runs_of(law) + runs_of(ScalingLaw(2.5, 30.0, 0.34, 250.0, 0.4), "tinystories")
    )
    for name in ("A", "B", "beta"):
        assert found[name] == pytest.approx(getattr(law, name), rel=0.02)
    assert found["E"] == {
        "wiki": pytest.approx(1.5, rel=0.02),
        "tinystories": pytest.approx(2.5, rel=0.02),
    }


def test_the_regret_is_how_far_the_choice_is_from_the_best():
    speeds = dict(zip(sizes.PRESETS, (100_000, 60_000, 30_000, 15_000, 7_000), strict=True))
    (row,) = sizes.regrets(runs_of(SCALING_LAW), speeds, [1])
    bits = row["bits_per_byte"]
    assert row["regret"] == 0 and bits[row["chosen"]] == min(b for b in bits.values() if b)
    other = next(p for p in sizes.PRESETS if p != row["chosen"] and bits[p])
    halved = [
        run | {"bits_per_byte": run["bits_per_byte"] / (1 + (run["preset"] == other))}
        for run in runs_of(SCALING_LAW)
    ]
    (row,) = sizes.regrets(halved, speeds, [1])
    assert row["regret"] == pytest.approx(bits[row["chosen"]] / (bits[other] / 2) - 1)
    (row,) = sizes.regrets(runs_of(SCALING_LAW), speeds, [1000])
    assert row["regret"] is None and set(row["bits_per_byte"].values()) == {None}


def test_the_law_that_ships_is_that_of_the_newest_result_and_chooses_well():
    result = json.loads(RESULTS[-1].read_text())
    law = result["law"]
    for name in ("A", "alpha", "B", "beta"):
        assert getattr(SCALING_LAW, name) == pytest.approx(law[name], rel=0.01)
    assert pytest.approx(law["E"]["tinystories"], rel=0.01) == SCALING_LAW.E
    for machine in result["choices"]:
        speeds = machine["tokens_per_second"]
        known = [
            row["regret"]
            for row in sizes.regrets(result["runs"], speeds, [2, 5, 15])
            if row["regret"] is not None
        ]
        assert known and max(known) < 0.02
