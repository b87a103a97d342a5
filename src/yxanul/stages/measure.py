"""Machine-dependent decisions: measured once per run before its first step, kept in the ledger."""

from __future__ import annotations

import copy
import math
import os
import platform
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch

from yxanul import __version__
from yxanul.base.machine import processor_name
from yxanul.base.seeds import derive_seed
from yxanul.base.ui import SilentUi, Ui
from yxanul.model.config import ModelSettings
from yxanul.model.count import flops_per_token
from yxanul.model.language_model import LanguageModel
from yxanul.optim.config import OptimSettings
from yxanul.recipe import Recipe
from yxanul.stages.config import longest_row, stage_optim
from yxanul.stages.ledger import Ledger
from yxanul.stages.plan import plan_steps
from yxanul.train.config import PRECISIONS_OF
from yxanul.train.curriculum import Phase
from yxanul.train.engine import Engine, make_mixed_precision
from yxanul.train.memory import (
    forget_gradients,
    free,
    is_out_of_memory,
    largest_phase,
    random_batch,
    too_large,
)
from yxanul.train.mixed_precision.decide import (
    measure_precisions,
    precision_candidates,
    precision_peak,
)
from yxanul.train.mixed_precision.weights import MixedPrecision, choose_device, choose_precision
from yxanul.train.threads import best_num_threads, usual_num_threads

_MANY_STEPS = 1_000_000_000
_MEASURED_SECONDS = 1.5
"""Seconds of timing for each precision that is compared."""
_USUAL_MFU = 0.4
"""Typical MFU of a step: a first estimate of the speed, until steps have been timed."""
AUTO_PRESETS = ("micro", "nano")
"""Choices of `preset: auto`, largest first."""
_ENOUGH_TOKENS = 5_000_000
"""With fewer tokens the next smaller preset learns more in the same time (docs/lab-notes.md)."""


def decide_preset(with_preset: Callable[[str], Recipe], ui: Ui) -> Recipe:
    """Return the recipe with the largest preset that can train on enough tokens on this machine in
    the minutes of its stages; `with_preset` returns the recipe for a preset."""
    choices = [with_preset(preset) for preset in AUTO_PRESETS]
    train, stages = choices[0].train, choices[0].stages
    minutes = [stage.budget.minutes or math.inf for stage in stages]
    if math.inf in minutes:
        return choices[0]
    device = choose_device(train.device)
    peak = precision_peak(device, choose_precision(train.precision, device)).flops_per_second
    longest = max(map(longest_row, stages))
    speeds = [guess_speed(one.model.resolved(None), longest, peak) for one in choices]
    tokens = [60 * sum(minutes) * speed for speed in speeds]
    chosen = next((i for i, count in enumerate(tokens) if count >= _ENOUGH_TOKENS), -1)
    ui.say(
        f"model: preset {choices[chosen].model.preset} (about {tokens[chosen]:,.0f} tokens in"
        f" {sum(minutes):g} minutes at {peak / 1e9:,.0f} GFLOP/s)"
    )
    return choices[chosen]


def guess_speed(model: ModelSettings, seq_len: int, flops_per_second: float) -> float:
    """Estimate the training speed of a model, in tokens per second."""
    return _USUAL_MFU * flops_per_second / flops_per_token(model, seq_len).total


def decide_precision(
    ledger: Ledger, recipe: Recipe, model: LanguageModel, processes: int, ui: Ui
) -> str:
    """Return the precision to train in; the result of `auto` is kept for resumed runs."""
    train = recipe.train
    requested = train.precision + (" without fp8" if train.fp8.engine == "none" else "")
    if ledger.decisions.get("asked_precision") != requested:
        device = model.embedding.tokens.device
        candidates = precision_candidates(train, model.settings, device)
        if processes > 1 and train.strategy in PRECISIONS_OF:
            candidates = [name for name in candidates if name in PRECISIONS_OF[train.strategy]]
        decision = measure_precisions(candidates, lambda name: _seconds(model, recipe, name))
        ledger.decisions |= {"asked_precision": requested, "precision": decision.precision}
        if decision.line:
            ledger.decisions["precision_measured"] = decision.to_dict()
            ui.say(decision.line)
        ledger.write()
    return ledger.decisions["precision"]


def decide_threads(ledger: Ledger, device: torch.device, ui: Ui) -> None:
    """Choose the number of CPU threads of a new run; a resumed one uses the same, since sums
    depend on it."""
    if device.type != "cpu":
        return
    if "threads" not in ledger.decisions:
        threads = ledger.decisions["threads"] = best_num_threads()
        if threads < usual_num_threads():
            ui.warn(
                f"other processes are using the CPU: training with {threads} threads instead of"
                f" {usual_num_threads()}, which is faster"
            )
        ledger.write()
    torch.set_num_threads(min(ledger.decisions["threads"], usual_num_threads()))


def use_threads(ledger: Ledger, stage: str, steps_done: int) -> None:
    """Set the number of CPU threads that the ledger has for the step after `steps_done`."""
    threads = ledger.threads_at(stage, steps_done)
    if threads is not None and threads != torch.get_num_threads():
        torch.set_num_threads(min(threads, usual_num_threads()))


def _seconds(model: LanguageModel, recipe: Recipe, precision: str) -> float:
    """Time a step of one micro-batch of the recipe's largest phase."""
    optim, phase = recipe.optim, _largest_phase(recipe)
    mixed_precision = make_mixed_precision(
        copy.deepcopy(model), recipe.train, precision, SilentUi()
    )
    return step_seconds(mixed_precision, optim, replace(phase, rows=phase.micro_rows))


def _largest_phase(recipe: Recipe) -> Phase:
    phases = [
        largest_phase(
            plan_steps(stage, recipe.train, stage_optim(recipe.optim, stage), _MANY_STEPS)
        )
        for stage in recipe.stages
    ]
    return max(phases, key=lambda phase: (phase.micro_rows * phase.seq_len, phase.seq_len))


def step_seconds(mixed_precision: MixedPrecision, optim: OptimSettings, phase: Phase) -> float:
    """Time one training step of a phase on random tokens; this changes the weights, so pass a copy.

    Micro-batches that do not fit into memory are halved.
    """
    engine = Engine(mixed_precision)
    engine.init_optimizer(optim)
    for halving in range(phase.micro_rows.bit_length()):
        rows = max(1, min(phase.rows, phase.micro_rows) >> halving)
        try:
            return _step_seconds(engine, replace(phase, micro_rows=rows))
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
        forget_gradients(mixed_precision)
        free()
    raise too_large(replace(phase, micro_rows=1), engine.device)


def _step_seconds(engine: Engine, phase: Phase) -> float:
    generator = torch.Generator().manual_seed(derive_seed(0, "step_seconds"))
    num_tokens, rows = engine.mixed_precision.model.settings.num_tokens, phase.micro_rows
    batch = random_batch(rows, phase.seq_len, num_tokens, generator).to(engine.device)
    num_micro = -(-phase.rows // rows)
    times: list[float] = []
    deadline = time.perf_counter() + _MEASURED_SECONDS
    while len(times) < 3 or time.perf_counter() < deadline:
        start = time.perf_counter()
        for number in range(1, num_micro + 1):
            last = number == num_micro
            total, _ = engine.loss(batch, last)
            engine.backward(total / batch.num_targets, last)
        engine.clip(phase.clip)
        engine.step()
        if engine.device.type == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return sorted(times[1:])[len(times[1:]) // 2]


def describe_environment() -> dict[str, Any]:
    """Return versions and hardware, as needed to interpret or reproduce a run's results."""
    gpus = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return {
        "yxanul": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "system": f"{platform.system()} {platform.machine()}",
        "processor": processor_name(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpus": gpus,
    }
