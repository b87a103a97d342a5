"""The most rows that fit are found in few trials; a step has the same rows whatever they are."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from steps import same
from yxanul.base.errors import YxanulError
from yxanul.optim.config import OptimSettings
from yxanul.train import memory, micro_batch
from yxanul.train.curriculum import Plan
from yxanul.train.micro_batch import (
    evened,
    find_micro_rows,
    halved,
    micro_rows_of,
    sizes,
    with_micro_rows,
)
from yxanul.train.parallel.world import World

TOTAL = 1_000_000
"""Bytes of the made-up GPU; 100,000 of them are others'."""
FIXED, PER_TOKEN = 200_000, 1_000
"""What a micro-batch takes there."""


@pytest.fixture
def plan(make_phase):
    """Three phases; the second ends in a smaller step."""
    shapes = [(0, 8, 64, 4), (1, 16, 24, 6), (1, 10, 3, 3), (2, 32, 2, 2)]
    return Plan(
        tuple(
            make_phase(index=i, seq_len=t, rows=r, micro_rows=m, first_step=5 * place)
            for place, (i, t, r, m) in enumerate(shapes)
        )
    )


class TestPlans:
    def test_micro_rows_change_nothing_else(self, plan):
        other = with_micro_rows(plan, {0: 32, 1: 8})
        assert [phase.micro_rows for phase in other.phases] == [32, 8, 3, 2]
        assert [replace(phase, micro_rows=1) for phase in other.phases] == [
            replace(phase, micro_rows=1) for phase in plan.phases
        ]
        assert micro_rows_of(other) == {0: 32, 1: 8, 2: 2}
        assert with_micro_rows(plan, micro_rows_of(plan)) == plan
        assert with_micro_rows(plan, {2: 99}).phases[3].micro_rows == 2

    def test_halved_down_to_one_row(self, plan):
        assert [phase.micro_rows for phase in halved(plan, 1).phases] == [4, 3, 3, 2]
        twice = halved(halved(plan, 1), 1)
        assert [phase.micro_rows for phase in twice.phases] == [4, 1, 1, 2]
        assert twice.total_tokens == plan.total_tokens
        with pytest.raises(YxanulError, match=r"gradient_checkpointing=full") as caught:
            halved(twice, 1)
        assert "phase 1" in str(caught.value) and "1 row of 16 tokens" in str(caught.value)

    @given(st.integers(1, 500), st.integers(1, 500))
    def test_even_micro_batches(self, rows, micro_rows):
        micro_rows = min(rows, micro_rows)
        even = evened(rows, micro_rows)
        assert 1 <= even <= micro_rows
        assert -(-rows // even) == -(-rows // micro_rows)

    def test_sizes(self):
        assert sizes(24, 512) == [1, 2, 4, 8, 16, 24]
        assert sizes(1, 512) == [1]
        assert sizes(64, 512) == [1, 2, 4, 8, 16, 32, 64]
        assert sizes(1000, 1024)[-1] == 128 == 131_072 // 1024
        assert sizes(4, 1_000_000) == [1]


@pytest.fixture
def gpu(monkeypatch, make_engine):
    """An engine on a made-up GPU: what torch says of its memory follows the size of the batch."""
    engine = make_engine(most=(TOTAL - FIXED) // PER_TOKEN)

    def peak(_):
        return FIXED + PER_TOKEN * max(rows * length for _, (rows, length), _ in engine.losses())

    for module in (memory, micro_batch):  # looking for garbage takes long in tests
        monkeypatch.setattr(module, "free", lambda: None)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (TOTAL - 150_000, TOTAL))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda _: 50_000)
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda _: engine.log.clear())
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", peak)
    return engine


def found(engine, plan, world=None):
    return find_micro_rows(engine, plan, OptimSettings(peak_lr=1e-2), world or World())


class TestFind:
    def test_the_most_that_fit_with_a_margin(self, gpu, plan):
        # 1,000,000 - 100,000 of others - 100,000 of margin - 200,000 fixed: 600 tokens.
        assert found(gpu, plan) == {0: 64, 1: 24, 2: 2}
        gpu.most = 300
        assert found(gpu, plan) == {0: 32, 1: 12, 2: 2}  # 16 of 24 rows fit: two times 12
        plan = with_micro_rows(plan, found(gpu, plan))
        assert [phase.micro_rows for phase in plan.phases] == [32, 12, 3, 2]
        assert plan.total_tokens == with_micro_rows(plan, {0: 1}).total_tokens

    def test_the_margin_counts_where_there_is_no_error(self, gpu, make_phase):
        plan = Plan((make_phase(seq_len=10, rows=64, micro_rows=1),))
        assert found(gpu, plan) == {0: 32}  # 640 tokens fit, but not into what may be used

    def test_each_process_has_its_share_of_the_rows(self, gpu, plan, monkeypatch):
        monkeypatch.setattr(World, "sum", lambda self, value: value)
        monkeypatch.setattr(World, "broadcast", lambda self, value: value)
        assert found(gpu, plan, world=World(size=2)) == {0: 32, 1: 12, 2: 1}

    def test_one_process_without_room_is_enough(self, gpu, plan, monkeypatch):
        """Another process fails above 100 tokens."""
        monkeypatch.setattr(World, "broadcast", lambda self, value: value)
        monkeypatch.setattr(
            World,
            "any",
            lambda self, flag: flag or max(r * t for _, (r, t), _ in gpu.losses()) > 100,
        )
        assert found(gpu, plan, world=World(size=2)) == {0: 8, 1: 4, 2: 1}

    def test_not_even_a_row_fits(self, gpu, plan):
        gpu.most = 7
        with pytest.raises(YxanulError, match=r"phase 0 .* 1 rows? of 8 tokens"):
            found(gpu, plan)

    def test_weights_stay(self, gpu, plan):
        before = {name: weight.detach().clone() for name, weight in gpu.trained().items()}
        found(gpu, plan)
        assert same(gpu.trained(), before)
