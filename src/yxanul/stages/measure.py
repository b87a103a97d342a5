"""Machine-dependent decisions: measured before a run's first step and kept in the ledger."""

from __future__ import annotations

import copy
import math
import os
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch

from yxanul import __version__
from yxanul.base.errors import YxanulError
from yxanul.base.machine import processor_name
from yxanul.base.seeds import derive_seed
from yxanul.base.ui import SilentUi, Ui
from yxanul.model.config import ModelSettings
from yxanul.model.count import block_parameters, flops_per_token
from yxanul.model.language_model import LanguageModel
from yxanul.model.scaling_law import SCALING_LAW
from yxanul.model.zoo import AUTO_PRESET, AUTO_PRESETS
from yxanul.optim.config import OptimSettings
from yxanul.recipe import Recipe, RecipeError
from yxanul.stages.config import longest_row
from yxanul.stages.ledger import Ledger
from yxanul.stages.plan import make_stage_plan
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
)
from yxanul.train.mixed_precision.weights import MixedPrecision, choose_device, choose_precision
from yxanul.train.threads import best_num_threads, usual_num_threads

_MANY_STEPS = 1_000_000_000
_PRECISION_SECONDS = 1.5
"""Seconds of timing for each precision that is compared."""
_PRESET_SECONDS = 0.2
"""Seconds of timing for each preset that is compared."""
_MAX_SPEEDUP = 2.0
"""Most by which a preset exceeds the FLOP/s of the next smaller one, which uses the machine worse:
it is not timed if it would not pay even so."""

_NEAR = 1.001
"""Expected losses within this factor of the lowest count as equal to it."""


@dataclass(frozen=True)
class Candidate:
    """A preset, and what it would reach within the minutes of the stages."""

    preset: str
    tokens: int
    epochs: float
    """Epochs over the training text; 0 if its size is not known."""
    loss: float
    """Nats per token by the scaling law: compares presets, but is no forecast for this text."""


def decide_preset(
    ledger: Ledger,
    with_preset: Callable[[str], Recipe],
    vocab_size: int,
    text_tokens: float,
    processes: int,
    ui: Ui,
) -> Recipe:
    """Return the recipe with the preset that `auto` means; it is kept for resumed runs.

    `with_preset` returns the recipe for a preset; `text_tokens` is as for `compare_presets`.
    """
    if "preset" not in ledger.decisions:
        device = choose_device(with_preset(AUTO_PRESET).train.device)
        decide_threads(ledger, device, processes, ui)
        candidates = compare_presets(with_preset, vocab_size, text_tokens, processes)
        ledger.decisions["preset"] = best_preset(candidates)
        ledger.decisions["presets"] = [asdict(one) for one in candidates]
        ledger.write()
        ui.say(f"model: {describe_presets(candidates)}")
    return with_preset(ledger.decisions["preset"])


def compare_presets(
    with_preset: Callable[[str], Recipe],
    vocab_size: int | None = None,
    text_tokens: float = math.inf,
    processes: int = 1,
) -> list[Candidate]:
    """Time steps of presets, smallest first, until a larger one is expected to reach a higher loss
    within the minutes of the stages; return those considered, or none without minutes.

    `vocab_size` is the tokenizer's; None: the size that the recipe's tokenizer is to have.
    `text_tokens` is the size of the training text: beyond it, tokens are repeated.
    """
    recipe = with_preset(AUTO_PRESET)
    stages = recipe.stages
    if vocab_size is None and recipe.tokenizer is not None:
        vocab_size = recipe.tokenizer.max_vocab_size
    seconds = 60 * sum(stage.budget.minutes or math.inf for stage in stages)
    if seconds == math.inf:
        return []
    longest = max(map(longest_row, stages))
    candidates: list[Candidate] = []

    def candidate(preset: str, shape: ModelSettings, tokens: float) -> Candidate:
        loss = SCALING_LAW.loss(block_parameters(shape), tokens, text_tokens)
        return Candidate(preset, round(tokens), round(tokens / text_tokens, 1), loss)

    lowest, flops_per_second = math.inf, None
    for preset in AUTO_PRESETS:
        try:
            recipe = with_preset(preset)
        except RecipeError:  # the recipe's own model settings do not go with this shape
            continue
        shape = recipe.model.resolved(vocab_size)
        flops = flops_per_token(shape, longest).total
        if flops_per_second is not None:
            tokens = seconds * flops_per_second / flops
            if candidate(preset, shape, _MAX_SPEEDUP * tokens).loss > lowest:
                return [*candidates, candidate(preset, shape, tokens)]
        try:
            tokens_per_second = processes * measure_speed(recipe, shape)
        except (YxanulError, RuntimeError, MemoryError) as error:
            does_not_fit = isinstance(error, YxanulError) or is_out_of_memory(error)
            if not (does_not_fit and candidates):
                raise
            break
        candidates.append(candidate(preset, shape, seconds * tokens_per_second))
        if candidates[-1].loss > lowest:
            break
        lowest, flops_per_second = candidates[-1].loss, flops * tokens_per_second
    return candidates


def best_preset(candidates: Sequence[Candidate]) -> str:
    """Return the smallest preset of those with the lowest expected loss."""
    lowest = min((one.loss for one in candidates), default=0.0)
    near = [one.preset for one in candidates if one.loss <= _NEAR * lowest]
    return near[0] if near else AUTO_PRESET


def describe_presets(candidates: Sequence[Candidate]) -> str:
    """Return a line about the best preset, the next smaller and the next larger."""
    best = best_preset(candidates)
    if not candidates:
        return f"preset {best}, as not every stage has a budget in minutes"
    at = [one.preset for one in candidates].index(best)
    chosen = candidates[at]
    others = [
        f"{_compared(one, chosen)} with {one.preset} ({one.tokens:,})"
        for one in candidates[max(0, at - 1) : at + 2]
        if one is not chosen
    ]
    higher = f"; expected loss {' and '.join(others)}" if others else ""
    epochs = f" ({chosen.epochs:.1f} epochs)" if chosen.epochs > 1 else ""
    return f"preset {best}, about {chosen.tokens:,} tokens{epochs} in the stages' minutes{higher}"


def _compared(one: Candidate, chosen: Candidate) -> str:
    percent = 100 * (one.loss / chosen.loss - 1)
    return f"{percent:.1f} % higher" if percent >= 0.05 else "the same"


def measure_speed(recipe: Recipe, shape: ModelSettings) -> float:
    """Time steps of the recipe's largest phase on random weights; return tokens per second."""
    device = choose_device(recipe.train.device)
    with torch.device(device):
        model = LanguageModel(shape)
    model.init_weights(torch.Generator(device).manual_seed(0))
    precision = choose_precision(recipe.train.precision, device)
    mixed_precision = make_mixed_precision(model, recipe.train, precision, SilentUi())
    phase = _largest_phase(recipe)
    seconds = step_seconds(mixed_precision, recipe.optim, phase, _PRESET_SECONDS)
    return phase.rows * phase.seq_len / seconds


def decide_precision(
    ledger: Ledger, recipe: Recipe, model: LanguageModel, processes: int, ui: Ui
) -> str:
    """Return the precision to train in; the result of `auto` is kept for resumed runs."""
    train = recipe.train
    requested = train.precision + (" without fp8" if train.fp8.engine == "none" else "")
    allowed = PRECISIONS_OF.get(train.strategy) if processes > 1 else None
    is_known = ledger.decisions.get("asked_precision") == requested
    if not is_known or (allowed and ledger.decisions["precision"] not in allowed):
        device = model.embedding.tokens.device
        candidates = precision_candidates(train, model.settings, device)
        if allowed:
            candidates = [name for name in candidates if name in allowed]
        decision = measure_precisions(candidates, lambda name: _seconds(model, recipe, name))
        ledger.decisions |= {"asked_precision": requested, "precision": decision.precision}
        if decision.line:
            ledger.decisions["precision_measured"] = decision.to_dict()
            ui.say(decision.line)
        ledger.write()
    return ledger.decisions["precision"]


def decide_threads(ledger: Ledger, device: torch.device, processes: int, ui: Ui) -> None:
    """Choose the number of CPU threads of each process of a new run; a resumed one uses the same,
    and as many processes, since sums depend on both."""
    if device.type != "cpu":
        return
    if "threads" not in ledger.decisions:
        threads = ledger.decisions["threads"] = best_num_threads()
        ledger.decisions["processes"] = processes
        if threads < usual_num_threads():
            ui.warn(
                f"other processes are using the CPU: training with {threads}"
                f" thread{'s' * (threads > 1)} instead of {usual_num_threads()}, which is faster"
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
        largest_phase(make_stage_plan(recipe, stage, steps=_MANY_STEPS)) for stage in recipe.stages
    ]
    return max(phases, key=lambda phase: (phase.micro_rows * phase.seq_len, phase.seq_len))


def step_seconds(
    mixed_precision: MixedPrecision,
    optim: OptimSettings,
    phase: Phase,
    seconds: float = _PRECISION_SECONDS,
) -> float:
    """Time training steps of a phase on random tokens, three or more for about `seconds`; this
    changes the weights, so pass a copy.

    Micro-batches that do not fit into memory are halved.
    """
    engine = Engine(mixed_precision)
    engine.init_optimizer(optim)
    for halving in range(phase.micro_rows.bit_length()):
        rows = max(1, min(phase.rows, phase.micro_rows) >> halving)
        try:
            return _step_seconds(engine, replace(phase, micro_rows=rows), seconds)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
        forget_gradients(mixed_precision)
        free()
    raise too_large(replace(phase, micro_rows=1), engine.device)


def _step_seconds(engine: Engine, phase: Phase, seconds: float) -> float:
    generator = torch.Generator().manual_seed(derive_seed(0, "step_seconds"))
    vocab_size, rows = engine.mixed_precision.model.settings.known_vocab_size, phase.micro_rows
    batch = random_batch(rows, phase.seq_len, vocab_size, generator).to(engine.device)
    num_micro = -(-phase.rows // rows)
    times: list[float] = []
    deadline = time.perf_counter() + seconds
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
