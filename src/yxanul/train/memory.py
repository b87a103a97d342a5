"""Memory check before the first step, so that a run does not fail in the middle."""

from __future__ import annotations

import gc
import os
import resource
from pathlib import Path

import torch

from yxanul.base.errors import YxanulError, causes_of
from yxanul.data.batches import Batch
from yxanul.optim.config import OptimSettings
from yxanul.optim.groups import set_lr
from yxanul.train.curriculum import Phase, Plan
from yxanul.train.engine import Engine
from yxanul.train.mixed_precision.weights import MixedPrecision

DOCUMENTS_IN_ROW = 4
"""Documents per row of a dry run's random batch."""

_CGROUP_FILES = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)
"""Limits of a container, versions 2 and 1."""
_OOM_MESSAGES = (
    "can't allocate memory",  # torch's allocator for the CPU
    "not enough memory",  # the same under Windows
    "bad_alloc",  # libraries in C++
    "out of memory",  # CUDA itself, outside of torch's allocator
    "cublas_status_alloc_failed",
    "cudnn_status_alloc_failed",
)


def is_out_of_memory(error: BaseException | None) -> bool:
    """Return whether an error or one of its causes is an out-of-memory error."""
    return any(_is_shortage(cause) for cause in causes_of(error))


def _is_shortage(error: BaseException) -> bool:
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    message = str(error).lower()
    return isinstance(error, RuntimeError) and any(text in message for text in _OOM_MESSAGES)


def free() -> None:
    """Collect garbage and empty the CUDA cache."""
    gc.collect()
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()


def device_memory(device: torch.device) -> int:
    """Return a device's memory in bytes; for a CPU, what this process may use."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"), *map(_limit, _CGROUP_FILES)]
    allowed, _ = resource.getrlimit(resource.RLIMIT_AS)
    limits.append(None if allowed == resource.RLIM_INFINITY else allowed)
    return min(limit for limit in limits if limit is not None)


def _limit(path: Path) -> int | None:
    """Return the bytes that a container may use; None for no limit."""
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None


def process_rows(phase: Phase, processes: int) -> int:
    """Return the rows of a step on the process that has the most."""
    return -(-phase.rows // processes)


def demand(phase: Phase, processes: int = 1) -> tuple[int, int, bool]:
    """Return a phase's memory demand on a process, as a sort key: the tokens of a micro-batch, the
    sequence length, and whether gradients of earlier micro-batches are held meanwhile."""
    rows = process_rows(phase, processes)
    micro_rows = min(rows, phase.micro_rows)
    return micro_rows * phase.seq_len, phase.seq_len, rows > micro_rows


def largest_phase(plan: Plan, steps_done: int = 0, processes: int = 1) -> Phase:
    """Return the phase with the largest demand among those not yet finished."""
    ends = ((phase, phase.first_step + phase.num_steps) for phase in plan.phases if phase.num_steps)
    left = [phase for phase, end in ends if end > steps_done]
    return max(left, key=lambda phase: demand(phase, processes))


def dry_run(
    engine: Engine, plan: Plan, optim: OptimSettings, *, steps_done: int = 0, processes: int = 1
) -> Phase | None:
    """Try the largest phase ahead; raise YxanulError if it does not fit into memory.

    Weights, RNG state and data are left bit-identical. Call it before the stage's optimizer
    exists. Returns the phase, or None if nothing was tried because the next step is as large.
    """
    phase = largest_phase(plan, steps_done, processes)
    if demand(plan.phase_at(steps_done), processes) == demand(phase, processes):
        return None
    if not fits(engine, phase, optim, processes):
        raise too_large(phase, engine.device, processes)
    return phase


def too_large(phase: Phase, device: torch.device, processes: int = 1) -> YxanulError:
    """Return the error for a phase that does not fit into the memory of a device."""
    rows = min(process_rows(phase, processes), phase.micro_rows)
    less = f"train.micro_batch_size={rows // 2}" if rows > 1 else "a shorter seq_len"
    memory = device_memory(device) / 2**30
    return YxanulError(
        f"phase {phase.index} does not fit in memory",
        got=f"{rows} rows of {phase.seq_len} tokens per micro-batch, {memory:.1f} GiB on {device}",
        hint=f"try {less}, or train.gradient_checkpointing=full",
    )


def fits(engine: Engine, phase: Phase, optim: OptimSettings, processes: int = 1) -> bool:
    """Run the most memory-hungry part of a step; return whether it fit.

    Leaves nothing behind: no gradients, no optimizer, no change of weights or RNG state.
    """
    device = engine.device
    try:
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            _compute(engine, phase, optim, processes)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        fitted = False
    else:
        fitted = True
    finally:
        # The exception has been released by now, and with it the tensors held by its frames.
        forget_gradients(engine.mixed_precision)
    if device.type == "cuda" or not fitted:  # a CPU has no cache, and garbage collection is slow
        free()
    return fitted


def _compute(engine: Engine, phase: Phase, optim: OptimSettings, processes: int) -> None:
    """Run a phase's second step, the first one with the optimizer's state in memory.

    An update with zero gradients comes first, since it allocates that state.
    """
    optimizer = engine.make_optimizer(optim)
    _update_nothing(optimizer)
    forget_gradients(engine.mixed_precision)
    rows = process_rows(phase, processes)
    micro_rows = min(rows, phase.micro_rows)
    generator, vocab_size = torch.Generator().manual_seed(0), engine.settings.known_vocab_size
    batch = random_batch(micro_rows, phase.seq_len, vocab_size, generator).to(engine.device)
    count = min(2, -(-rows // micro_rows))
    for number in range(count):
        last = number == count - 1
        total, _ = engine.loss(batch, last)
        engine.backward(total / batch.num_targets, last)
        del total
    engine.clip(phase.clip)


def _update_nothing(optimizer: torch.optim.Optimizer) -> None:
    """Run an update that allocates state and temporaries but leaves the weights unchanged."""
    set_lr(optimizer, 0.0)
    for group in optimizer.param_groups:
        for weight in group["params"]:
            weight.grad = torch.zeros_like(weight)
    optimizer.step()


def forget_gradients(mixed_precision: MixedPrecision) -> None:
    """Drop all gradients, including those that an interrupted micro-batch left in the model."""
    for model in (mixed_precision.master_model, mixed_precision.model):
        for weight in model.parameters():
            weight.grad = None


def random_batch(rows: int, seq_len: int, vocab_size: int, generator: torch.Generator) -> Batch:
    """Return rows of random ids with several documents per row."""
    device = generator.device
    shape = (rows, seq_len + 1)
    ids = torch.randint(0, vocab_size, shape, generator=generator, device=device)
    position_T = torch.arange(seq_len, device=device)
    documents_BT = (position_T * DOCUMENTS_IN_ROW // seq_len).expand(rows, -1)
    return Batch(ids[:, :-1].contiguous(), ids[:, 1:].contiguous(), documents_BT.contiguous())
