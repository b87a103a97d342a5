"""The benchmark of what metrics cost: one tiny run."""

import pytest

from metrics_cost import GROUPS, OFF, ON
from yxanul.monitor.config import Cadences

FEW = ("--cost-steps", "2", "--steps", "3", "--rounds", "2", "--megabytes", "0.3")


@pytest.mark.slow
def test_a_tiny_run(benchmark_results):
    found = benchmark_results("metrics_cost.py", "--shape", "nano", *FEW)["nano"]
    assert set(found["costs"]) == set(GROUPS)
    for group, cost in found["costs"].items():
        every = getattr(Cadences(), group)
        assert cost["share"] == pytest.approx(cost["seconds"] / (every * cost["step"]))
    share = sum(one["share"] for one in found["costs"].values())
    assert found["share"]["found"] == pytest.approx(share)
    assert {
        name: len(speeds) for name, speeds in found["overall"]["tokens_per_second"].items()
    } == {
        ON: 2,
        OFF: 2,
    }
