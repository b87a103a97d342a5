"""Statistics of gradients, weights and updates, by groups of parameters.

Tensors are given by the name of their parameter; a sharded rank gives its rows of each.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence

import torch
from torch import Tensor

from yxanul.monitor.histograms import SIGNED_EDGES, histogram_counts
from yxanul.monitor.noise_scale import MICRO_BATCH
from yxanul.monitor.sums import FIGURES, NUM_SUMS, Measurement, Sums, sums_of
from yxanul.monitor.trackers.tracker import Histogram

Tensors = Mapping[str, Tensor]
LAYERS = ("first", "middle", "last")
COUNTS = ("zeros", "infs", "nans")

DEAD_NORM = 1e-6
"""L2 norm below which a row of a matrix is dead."""


E4M3_MAX = 448.0
"""Largest number of fp8's format for weights and activations."""


def update_groups(name: str, depth: int) -> list[str]:
    """Return a parameter's groups for gradient norms and update ratios: its kind (embedding,
    attention, ffn, norms or head), and for a matrix the first, middle or last layer."""
    if name.endswith(".gain"):
        return ["norms"]
    first, *rest = name.split(".")
    return [rest[1] if first == "blocks" else first, *_layers(name, depth)]


def weight_groups(name: str, depth: int) -> list[str]:
    """Return a parameter's groups for statistics of weights: embedding, final_norm, or the first,
    middle or last layer (all its matrices)."""
    if name == "norm.gain":
        return ["final_norm"]
    if name.startswith("embedding."):
        return ["embedding"]
    return [] if name.endswith(".gain") else _layers(name, depth)


def _layers(name: str, depth: int) -> list[str]:
    layers = zip(LAYERS, (0, depth // 2, depth - 1), strict=True)
    return [label for label, layer in layers if name.startswith(f"blocks.{layer}.")]


def measure_gradients(
    gradients: Tensors, depth: int, as_one: bool = True, by_group: bool = True
) -> Measurement:
    """Measure all gradients as one vector, and the norms of groups."""
    names = list(gradients)

    def finish(ranks: list[list[float]]) -> dict[str, float]:
        sums, metrics = _sums_by_name(names, ranks), {}
        if as_one:
            total = Sums.combined(sums.values())
            metrics = {f"optim/gradient_{key}": getattr(total, key) for key in FIGURES}
            metrics |= {f"optim/num_{key}": getattr(total, key) for key in COUNTS}
        for group, members in _groups(names, depth, update_groups) if by_group else ():
            norm = Sums.combined(sums[name] for name in members).norm
            metrics[f"gradient_norm/{group}"] = norm
        return metrics

    return Measurement(torch.cat([sums_of(gradients[name]) for name in names]), finish)


def measure_norm(gradients: Tensors, num_targets: Tensor) -> Measurement:
    """Measure the norm of a micro-batch's gradients beside its number of targets."""
    squares = sum(_squared_norm(gradient) for gradient in gradients.values())

    def finish(ranks: list[list[float]]) -> dict[str, float]:
        return dict(zip(MICRO_BATCH, ranks[0], strict=True))

    return Measurement(torch.stack([torch.as_tensor(squares).sqrt(), num_targets.double()]), finish)


def measure_weights(weights: Tensors, depth: int, in_fp8: bool = False) -> Measurement:
    """Measure all weights as one vector, and groups of them; for fp8 also the scales of layers."""
    names = list(weights)

    def finish(ranks: list[list[float]]) -> dict[str, float]:
        sums = _sums_by_name(names, ranks)
        total = Sums.combined(sums.values())
        metrics = {f"weights/global_{key}": getattr(total, key) for key in FIGURES}
        num_dead = dict(zip(names, _added(ranks)[len(names) * NUM_SUMS :], strict=True))
        for group, members in _groups(names, depth, weight_groups):
            part = Sums.combined(sums[name] for name in members)
            metrics |= {f"weights/{group}/mean": part.mean, f"weights/{group}/std": part.std}
            matrices = [name for name in members if weights[name].ndim == 2]
            if matrices:
                num_rows = sum(sums[name].count / weights[name].shape[1] for name in matrices)
                dead = sum(num_dead[name] for name in matrices)
                metrics[f"weights/{group}/dead_ratio"] = dead / num_rows
            if in_fp8 and group in LAYERS:
                amax = max(abs(part.max), abs(part.min))
                metrics |= {f"fp8/amax/{group}": amax, f"fp8/scale/{group}": E4M3_MAX / amax}
        return metrics

    sums, dead = zip(*((sums_of(w), _num_dead_rows(w)) for w in weights.values()), strict=True)
    return Measurement(torch.cat([*sums, torch.stack(dead)]), finish)


def measure_updates(before: Tensors, after: Tensors, depth: int) -> Measurement:
    """Measure norm(after - before) / norm(before) by group; overwrites `before`."""
    names = list(before)
    old = [_squared_norm(before[name]) for name in names]
    change = [_squared_norm(before[name].sub_(after[name].detach())) for name in names]

    def finish(ranks: list[list[float]]) -> dict[str, float]:
        squares, metrics = _added(ranks), {}
        old = dict(zip(names, squares, strict=False))
        change = dict(zip(names, squares[len(names) :], strict=True))
        for group, members in _groups(names, depth, update_groups):
            norm = math.sqrt(sum(old[name] for name in members))
            if norm:  # weights may start at zero
                update = math.sqrt(sum(change[name] for name in members))
                metrics[f"update_ratio/{group}"] = update / norm
        return metrics

    return Measurement(torch.stack(old + change), finish)


def measure_histograms(
    name: str, tensors: Tensors, depth: int, groups_of: Callable[[str, int], Iterable[str]]
) -> Measurement:
    """Measure the histogram of each group of tensors, named after them."""
    groups = dict(_groups(tensors, depth, groups_of))
    by_name = {
        key: histogram_counts(tensors[key], SIGNED_EDGES)
        for key in {key for members in groups.values() for key in members}
    }
    counts = [sum(by_name[key] for key in members) for members in groups.values()]

    def finish(ranks: list[list[float]]) -> dict[str, float | Histogram]:
        added, size = _added(ranks), len(SIGNED_EDGES) - 1
        return {
            f"histogram/{name}/{group}": Histogram(added[i * size : (i + 1) * size], SIGNED_EDGES)
            for i, group in enumerate(groups)
        }

    return Measurement(torch.cat(counts), finish)


def _squared_norm(weight: Tensor) -> Tensor:
    return torch.linalg.vector_norm(weight, dtype=torch.float64).square()


def _num_dead_rows(weight: Tensor) -> Tensor:
    """Return the number of rows with a norm below `DEAD_NORM`; 0 for a vector."""
    if weight.ndim < 2:
        return torch.zeros((), dtype=torch.float64, device=weight.device)
    return (torch.linalg.vector_norm(weight.detach(), dim=1) < DEAD_NORM).sum().double()


def _sums_by_name(names: Sequence[str], ranks: Sequence[Sequence[float]]) -> dict[str, Sums]:
    """Return the sums of each parameter over all ranks: the first values of each rank."""
    starts = range(0, len(names) * NUM_SUMS, NUM_SUMS)
    return {
        name: Sums.combined(Sums(*rank[start : start + NUM_SUMS]) for rank in ranks)
        for name, start in zip(names, starts, strict=True)
    }


def _added(ranks: Sequence[Sequence[float]]) -> list[float]:
    return [sum(column) for column in zip(*ranks, strict=True)]


def _groups(
    names: Iterable[str], depth: int, groups_of: Callable[[str, int], Iterable[str]]
) -> Iterable[tuple[str, list[str]]]:
    """Return each group with the names of its parameters."""
    members: dict[str, list[str]] = defaultdict(list)
    for name in names:
        for group in groups_of(name, depth):
            members[group].append(name)
    return members.items()
