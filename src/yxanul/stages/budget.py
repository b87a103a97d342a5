"""Budgets: steps, tokens, epochs or minutes become the plan of a stage."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace

import torch

from yxanul.base.seeds import derive_seed
from yxanul.optim.config import OptimSettings
from yxanul.stages.config import StageSettings
from yxanul.train.config import TrainSettings
from yxanul.train.curriculum import Phase, Plan, make_plan
from yxanul.train.engine import Engine
from yxanul.train.memory import (
    forget_gradients,
    free,
    is_out_of_memory,
    random_batch,
    too_large,
)
from yxanul.train.precision.twin import Twin

MEASURED_SECONDS = 1.5
"""How long each phase's step is timed for a budget in minutes."""


def plan_steps(
    stage: StageSettings, train: TrainSettings, optim: OptimSettings, steps: int
) -> Plan:
    """Return the plan of a stage that lasts `steps` updates."""
    return make_plan(stage.curriculum, stage.mix, train, clip=optim.clip, steps=steps)


def plan_tokens(
    stage: StageSettings, train: TrainSettings, optim: OptimSettings, tokens: int
) -> Plan:
    """Return the plan of a stage that lasts `tokens` target tokens."""
    return make_plan(stage.curriculum, stage.mix, train, clip=optim.clip, tokens=tokens)


def plan_stage(
    stage: StageSettings,
    train: TrainSettings,
    optim: OptimSettings,
    available: Mapping[str, int],
    minutes_tokens: int | None,
) -> Plan:
    """Return the plan of a stage. `available` has the training tokens of its sources (asked for
    epochs only), `minutes_tokens` what the minutes of its budget came to."""
    wanted = stage.budget
    if wanted.steps is not None:
        return plan_steps(stage, train, optim, wanted.steps)
    if wanted.epochs is not None:
        mix, tokens = epochs_of(stage, available)
        return plan_tokens(stage.model_copy(update={"mix": mix}), train, optim, tokens)
    tokens = wanted.tokens if wanted.tokens is not None else minutes_tokens
    assert tokens is not None
    return plan_tokens(stage, train, optim, tokens)


def epoch_tokens(mix: Mapping[str, float], available: Mapping[str, int]) -> int:
    """Return the tokens after which the first source of a mix has been seen once."""
    total = sum(mix.values())
    return round(min(available[name] * total / weight for name, weight in mix.items() if weight))


def epochs_of(stage: StageSettings, available: Mapping[str, int]) -> tuple[dict[str, float], int]:
    """Return the mix and the tokens of a stage whose budget is in epochs."""
    epochs = stage.budget.epochs
    assert epochs is not None
    if isinstance(epochs, dict):
        mix = {name: passes * available[name] for name, passes in epochs.items() if passes}
        return mix, max(1, round(sum(mix.values())))
    return stage.mix, max(1, round(epochs * epoch_tokens(stage.mix, available)))


def tokens_for_minutes(
    minutes: float, plan_of: Callable[[int], Plan], seconds_of: Callable[[Phase], float]
) -> tuple[int, float]:
    """Return the tokens that fit into `minutes`, and the speed in tokens a second.

    `plan_of(tokens)` gives a plan and `seconds_of(phase)` the measured time of one of its steps.
    """
    tokens, speed = 1_000_000_000, 0.0
    for _ in range(40):  # where phases start at fixed steps, the mean speed depends on the length
        plan = plan_of(tokens)
        seconds = sum(phase.num_steps * seconds_of(phase) for phase in plan.phases)
        speed = plan.total_tokens / seconds
        tokens = max(1, round(minutes * 60 * speed))
    return tokens, speed


def step_seconds(twin: Twin, optim: OptimSettings, phase: Phase) -> float:
    """Time one training step of a phase; `twin` is trained on nonsense, so give a copy.

    Micro-batches that do not fit into memory are halved.
    """
    engine = Engine(twin)
    engine.begin(optim)
    for halving in range(phase.micro_rows.bit_length()):
        rows = max(1, min(phase.rows, phase.micro_rows) >> halving)
        try:
            return _step_seconds(engine, replace(phase, micro_rows=rows))
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
        forget_gradients(twin)
        free()
    raise too_large(replace(phase, micro_rows=1), engine.device)


def _step_seconds(engine: Engine, phase: Phase) -> float:
    generator = torch.Generator().manual_seed(derive_seed(0, "step_seconds"))
    num_tokens, rows = engine.twin.model.settings.num_tokens, phase.micro_rows
    batch = random_batch(rows, phase.seq_len, num_tokens, generator).to(engine.device)
    num_micro = -(-phase.rows // rows)
    times: list[float] = []
    deadline = time.perf_counter() + MEASURED_SECONDS
    while len(times) < 3 or time.perf_counter() < deadline:
        start = time.perf_counter()
        for number in range(1, num_micro + 1):
            last = number == num_micro
            total, _ = engine.loss(batch, last)
            engine.backward(total / batch.num_targets, last)
        engine.clip(phase.clip)
        engine.apply()
        if engine.device.type == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return sorted(times[1:])[len(times[1:]) // 2]
