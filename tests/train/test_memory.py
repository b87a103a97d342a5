"""What does not fit into memory is found before the first step, and nothing is changed by it."""

import gc
import random
import subprocess
import sys
import weakref
from dataclasses import replace

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from yxanul.base.errors import YxanulError
from yxanul.optim.config import EmaSettings, OptimSettings
from yxanul.optim.table import OPTIMIZERS
from yxanul.train import memory
from yxanul.train.config import TrainSettings
from yxanul.train.curriculum import Plan
from yxanul.train.memory import demand, dry_run, is_out_of_memory, largest_phase

OUT_OF_MEMORY = "CUDA out of memory. Tried to allocate 20.00 MiB"


@pytest.fixture
def plan(make_phase):
    """Short rows, then the largest micro-batches (two a step), then long rows; 15 steps."""
    shapes = [(8, 12, 4), (16, 12, 6), (32, 2, 2)]
    return Plan(
        tuple(
            make_phase(index=i, seq_len=t, rows=r, micro_rows=m, first_step=5 * i, clip=0.5)
            for i, (t, r, m) in enumerate(shapes)
        )
    )


@pytest.fixture
def _without_collecting(monkeypatch):
    """Looking for garbage among all that tests hold takes long."""
    monkeypatch.setattr(memory, "free", lambda: None)


def tried(engine, plan, optim=None, **fields):
    return dry_run(engine, plan, optim or OptimSettings(peak_lr=1e-2), **fields)


def gradients(engine):
    models = (engine.mixed_precision.master_model, engine.mixed_precision.model)
    return [weight.grad for model in models for weight in model.parameters()]


def bits(engine):
    """Every bit that a trial could change."""
    tensors = [
        *engine.mixed_precision.master_model.parameters(),
        *engine.mixed_precision.model.parameters(),
    ]
    if engine.ema is not None:
        tensors += engine.ema.averages.values()
    copied = [tensor.detach().clone().view(torch.uint8) for tensor in tensors]
    return [*copied, torch.get_rng_state()]


class TestErrors:
    @pytest.mark.parametrize(
        "error",
        [
            torch.OutOfMemoryError(OUT_OF_MEMORY),
            MemoryError(),
            RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 b"),
            RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 1 bytes."),
            RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be"),
            RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate`"),
            RuntimeError("std::bad_alloc"),
        ],
    )
    def test_memory_ran_out(self, error):
        assert is_out_of_memory(error)
        try:
            raise ValueError("in the compiler") from error
        except ValueError as outer:
            assert is_out_of_memory(outer)

    @pytest.mark.parametrize(
        "error",
        [
            None,
            RuntimeError("mat1 and mat2 shapes cannot be multiplied (2x3 and 4x5)"),
            ValueError("not enough memory"),
            YxanulError("phase 1 ran out of memory"),
            OSError(28, "No space left on device"),
        ],
    )
    def test_something_else(self, error):
        assert not is_out_of_memory(error)

    def test_what_torch_says_here(self):
        with pytest.raises(RuntimeError) as caught:
            torch.empty(2**58, dtype=torch.uint8)
        assert is_out_of_memory(caught.value)


class TestLargestPhase:
    def test_it_has_most_tokens_at_once(self, plan):
        assert [demand(phase) for phase in plan.phases] == [
            (32, 8, True),
            (96, 16, True),
            (64, 32, False),
        ]
        assert largest_phase(plan).index == 1

    def test_of_as_many_tokens_the_longest_rows(self, make_phase):
        phases = [make_phase(index=0, seq_len=8), make_phase(index=1, seq_len=16, micro_rows=2)]
        assert largest_phase(Plan(tuple(phases))).index == 1
        assert largest_phase(Plan(tuple(reversed(phases)))).index == 1

    def test_what_is_over_does_not_count(self, plan):
        assert largest_phase(plan, steps_done=9).index == 1
        assert largest_phase(plan, steps_done=10).index == 2
        unused = replace(plan.phases[1], index=3, first_step=15, num_steps=0)
        assert largest_phase(Plan((*plan.phases, unused)), steps_done=10).index == 2

    def test_processes_share_the_rows(self, plan):
        assert demand(plan.phases[1], 3) == (64, 16, False)
        assert demand(plan.phases[2], 2) == (32, 32, False)


@pytest.mark.usefixtures("_without_collecting")
class TestDryRun:
    @pytest.mark.parametrize("name", OPTIMIZERS)
    @pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
    def test_nothing_changes_by_a_bit(self, make_engine, plan, name, precision):
        engine = make_engine(precision, ema=EmaSettings())
        with torch.no_grad():
            for weight in engine.mixed_precision.master_model.parameters():
                weight[3] = -0.0
            engine.mixed_precision.refresh()
        before, plain = bits(engine), (random.getstate(), np.random.get_state()[1].copy())
        assert tried(engine, plan, OptimSettings(name=name, peak_lr=1e-2)) is plan.phases[1]
        for one, other in zip(bits(engine), before, strict=True):
            assert torch.equal(one, other)
        assert random.getstate() == plain[0] and (np.random.get_state()[1] == plain[1]).all()
        assert all(gradient is None for gradient in gradients(engine))

    def test_it_does_what_a_second_step_does(self, make_engine, plan):
        engine = make_engine()
        tried(engine, plan)
        assert engine.log == [
            ("loss", (6, 16), False),
            ("backward", False),
            ("loss", (6, 16), True),
            ("backward", True),
            ("clip", 0.5),
        ]
        engine.log.clear()
        assert tried(engine, plan, processes=3) is plan.phases[1]
        assert engine.log == [("loss", (4, 16), False), ("backward", True), ("clip", 0.5)]

    def test_the_optimizer_has_its_state_by_then_and_is_dropped(self, make_engine, plan):
        engine, seen = make_engine(), []
        make, made = engine.make_optimizer, []

        def note(optim):
            made.append(make(optim))
            return made[-1]

        engine.make_optimizer = note
        engine.on_loss = lambda: seen.append(len(made[0].state))
        tried(engine, plan)
        assert seen == [len(list(engine.mixed_precision.master_model.parameters()))] * 2
        assert len(made) == 1
        optimizer = weakref.ref(made.pop())
        gc.collect()
        assert optimizer() is None

    def test_it_is_left_out_where_the_next_step_is_as_large(self, make_engine, plan, make_phase):
        engine = make_engine()
        assert tried(engine, plan, steps_done=5) is None
        assert tried(engine, plan, steps_done=10) is None
        one = make_phase(num_steps=5)
        smaller = make_phase(index=1, first_step=5, micro_rows=2)
        assert tried(engine, Plan((one, smaller))) is None
        assert engine.log == []
        assert tried(engine, Plan((one, smaller)), steps_done=5) is None

    @pytest.mark.parametrize("precision", ["fp32", "bf16"])
    def test_out_of_memory_comes_at_once_and_says_what_helps(self, make_engine, plan, precision):
        engine = make_engine(precision, most=95)
        before = bits(engine)
        with pytest.raises(YxanulError) as caught:
            tried(engine, plan)
        said = str(caught.value)
        assert "phase 1" in said and "6 rows of 16 tokens" in said and "GiB on cpu" in said
        assert "train.micro_batch_size=3" in said and "train.gradient_checkpointing=full" in said
        assert "\n" not in said
        assert all(torch.equal(one, other) for one, other in zip(bits(engine), before, strict=True))
        assert all(gradient is None for gradient in gradients(engine))
        engine.most = 96
        assert tried(engine, plan) is plan.phases[1]

    def test_gradients_of_half_a_step_are_dropped(self, make_engine, plan):
        engine = make_engine("bf16")
        engine.on_loss = lambda: setattr(engine, "most", 0) if len(engine.log) > 1 else None
        with pytest.raises(YxanulError, match="fit in memory"):
            tried(engine, plan)
        assert engine.log[-1] == ("loss", (6, 16), True)
        assert all(gradient is None for gradient in gradients(engine))

    def test_one_row_cannot_be_halved(self, make_engine, make_phase):
        one = make_phase(rows=1, micro_rows=1)
        plan = Plan((one, replace(one, index=1, seq_len=32, first_step=5)))
        with pytest.raises(YxanulError, match="shorter seq_len"):
            tried(make_engine(most=9), plan)

    def test_other_errors_are_not_swallowed(self, make_engine, plan):
        engine = make_engine()

        def fail():
            raise RuntimeError("shapes cannot be multiplied")

        engine.on_loss = fail
        with pytest.raises(RuntimeError, match="multiplied"):
            tried(engine, plan)

    def test_training_goes_on_as_if_it_had_not_been(self, make_trainer, make_phase):
        phases = [make_phase(), make_phase(index=1, seq_len=16, rows=2, first_step=5)]
        losses = []
        for with_trial in (False, True):
            trainer = make_trainer(*phases, precision="bf16")
            if with_trial:
                assert tried(trainer.engine, trainer.plan) is trainer.plan.phases[1]
            trainer.run()
            losses.append([report.loss for report in trainer.reports])
        assert losses[0] == losses[1] and len(losses[0]) == 10


def test_free_gives_back_what_refers_to_itself_alone():
    class Circle:
        pass

    circle = Circle()
    circle.itself, alive = circle, weakref.ref(circle)
    del circle
    memory.free()
    assert alive() is None


class TestSettings:
    @pytest.mark.parametrize(("wanted", "every"), [("none", None), ("full", 1), (1, 1), (3, 3)])
    def test_gradient_checkpointing(self, wanted, every):
        assert TrainSettings(gradient_checkpointing=wanted).checkpoint_every == every
        assert TrainSettings().checkpoint_every is None

    @pytest.mark.parametrize("wanted", [0, -1, "half", 1.5, None])
    def test_nonsense(self, wanted):
        with pytest.raises(ValidationError, match="gradient_checkpointing"):
            TrainSettings(gradient_checkpointing=wanted)


def test_the_memory_of_a_cpu_is_at_most_what_the_process_may_have(monkeypatch, tmp_path):
    installed = memory.device_memory(torch.device("cpu"))
    assert installed > 2**28
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "limit_in_bytes").write_text(f"{2**27}\n")
    for name, limit in (("memory.max", installed), ("limit_in_bytes", 2**27), ("none", installed)):
        monkeypatch.setattr(memory, "_CGROUP_FILES", (tmp_path / name,))
        assert memory.device_memory(torch.device("cpu")) == limit, name
    monkeypatch.setattr(memory.resource, "getrlimit", lambda _: (2**28, 2**29))
    assert memory.device_memory(torch.device("cpu")) == 2**28


SHORT_OF_MEMORY = """
import resource, torch
from pathlib import Path
from yxanul.base.errors import YxanulError
from yxanul.model.config import ModelSettings
from yxanul.model.language_model import LanguageModel
from yxanul.optim.config import OptimSettings
from yxanul.train.curriculum import Phase, Plan
from yxanul.train.engine import Engine
from yxanul.train.memory import dry_run, is_out_of_memory
from yxanul.train.mixed_precision.weights import MixedPrecision

torch.set_num_threads(1)
model = LanguageModel(ModelSettings(width=64, depth=4, num_heads=2, max_seq_len=512, vocab_size=64))
model.init_weights(torch.Generator().manual_seed(0))
engine = Engine(MixedPrecision(model, "fp32"))
small = Phase(0, 8, 1, 1, 0, 5, 1.0, 1.0, {"made": 1.0})
middle = Phase(1, 512, 8, 8, 5, 5, 1.0, 1.0, {"made": 1.0})
large = Phase(2, 512, 256, 256, 10, 5, 1.0, 1.0, {"made": 1.0})

def tried(*phases):
    return dry_run(engine, Plan(phases), OptimSettings(peak_lr=1e-2))

assert tried(small, middle) is middle
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
limit = used + 600 * 2**20
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
for _ in range(3):
    try:
        tried(small, middle, large)
    except YxanulError as error:
        print(error)
    assert tried(small, middle) is middle  # what was held is free again
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="limits of memory are enforced under Linux")
def test_a_process_that_is_really_short_of_memory():
    run = [sys.executable, "-c", SHORT_OF_MEMORY]
    done = subprocess.run(run, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    lines = done.stdout.splitlines()
    assert len(lines) == 3
    assert all("256 rows of 512 tokens per micro-batch" in line for line in lines)
