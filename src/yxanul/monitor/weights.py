"""Statistics of gradients, weights and updates, by groups of parameters.

Tensors are given by the name of their parameter; a sharded rank gives its rows of each.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar

import torch
from torch import Tensor

from yxanul.monitor.metrics import MICRO_BATCH
from yxanul.monitor.sums import (
    FIGURES,
    NUM_SUMS,
    SIGNED_EDGES,
    Measurement,
    Sums,
    histogram_counts,
    pieces,
    sums_of,
)
from yxanul.monitor.trackers.tracker import Histogram

T = TypeVar("T")
Tensors = Mapping[str, Tensor]
Groups = tuple[str, ...]
GroupsOf = Callable[[str, int], Iterable[str]]
"""Returns a parameter's groups, by its name and the depth of the model."""
LAYERS = ("first", "middle", "last")
COUNTS = ("zeros", "infs", "nans")

DEAD_NORM = 1e-6
"""L2 norm below which a row of a matrix is dead."""


E4M3_MAX = 448.0
"""Largest number of fp8's format for weights and activations."""


def gradient_groups(name: str, depth: int) -> list[str]:
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
    alike = _tensors_by_groups(gradients, depth, gradient_groups)

    def finish(ranks: list[list[float]]) -> dict[str, float]:
        sums, metrics = _sums_by_key(list(alike), ranks), {}
        if as_one:
            total = Sums.combined(sums.values())
            metrics = {f"optim/gradient_{key}": getattr(total, key) for key in FIGURES}
            metrics |= {f"optim/num_{key}": getattr(total, key) for key in COUNTS}
        if by_group:
            for group, members in _by_group(sums).items():
                metrics[f"gradient_norm/{group}"] = Sums.combined(members).norm
        return metrics

    return Measurement(torch.cat([sums_of(tensors) for tensors in alike.values()]), finish)


def measure_norm(gradients: Tensors, num_targets: Tensor) -> Measurement:
    """Measure the norm of a micro-batch's gradients, and pass on its number of targets."""
    norm = _squared_norm(list(gradients.values())).sqrt()

    def finish(ranks: list[list[float]]) -> dict[str, float]:
        return dict(zip(MICRO_BATCH, ranks[0], strict=True))

    return Measurement(torch.stack([norm, num_targets.double()]), finish)


def measure_weights(weights: Tensors, depth: int, in_fp8: bool = False) -> Measurement:
    """Measure all weights as one vector, and groups of them; for fp8 also the scales of layers."""
    alike = _tensors_by_groups(weights, depth, weight_groups)

    def finish(ranks: list[list[float]]) -> dict[str, float]:
        sums, added = _sums_by_key(list(alike), ranks), _added(ranks)
        total = Sums.combined(sums.values())
        metrics = {f"weights/global_{key}": getattr(total, key) for key in FIGURES}
        counts = added[len(alike) * NUM_SUMS :]
        rows = zip(counts[::2], counts[1::2], strict=True)
        for group, members in _by_group(sums).items():
            part = Sums.combined(members)
            metrics |= {f"weights/{group}/mean": part.mean, f"weights/{group}/std": part.std}
            if in_fp8 and group in LAYERS:
                amax = max(abs(part.max), abs(part.min))
                metrics |= {f"fp8/amax/{group}": amax, f"fp8/scale/{group}": E4M3_MAX / amax}
        for group, members in _by_group(dict(zip(alike, rows, strict=True))).items():
            num_rows, num_dead = _added(members)
            if num_rows:
                metrics[f"weights/{group}/dead_ratio"] = num_dead / num_rows
        return metrics

    sums = [sums_of(tensors) for tensors in alike.values()]
    return Measurement(torch.cat([*sums, *map(_rows, alike.values())]), finish)


def measure_updates(before: Tensors, after: Tensors, depth: int) -> Measurement:
    """Measure norm(after - before) / norm(before) by group; `before` may be on another device."""
    names, old, change = list(before), [], []
    for name in names:
        now = after[name].detach()
        then = before[name].to(now.device)
        old.append(_squared_norm([then]))
        change.append(_squared_norm([then - now]))

    def finish(ranks: list[list[float]]) -> dict[str, float]:
        squares, metrics = _added(ranks), {}
        members: dict[str, list[Sequence[float]]] = defaultdict(list)
        for name, *pair in zip(names, squares[: len(names)], squares[len(names) :], strict=True):
            for group in gradient_groups(name, depth):
                members[group].append(pair)
        for group, pairs in members.items():
            weights, update = map(math.sqrt, _added(pairs))
            if weights:  # they may start at zero
                metrics[f"update_ratio/{group}"] = update / weights
        return metrics

    return Measurement(torch.stack(old + change), finish)


def measure_histograms(name: str, tensors: Tensors, depth: int, groups_of: GroupsOf) -> Measurement:
    """Measure the histogram of each group of tensors, named after them."""
    alike = {key: one for key, one in _tensors_by_groups(tensors, depth, groups_of).items() if key}
    counts = [histogram_counts(one, SIGNED_EDGES) for one in alike.values()]

    def finish(ranks: list[list[float]]) -> dict[str, float | Histogram]:
        added, size = _added(ranks), len(SIGNED_EDGES) - 1
        parts = [added[start : start + size] for start in range(0, len(added), size)]
        return {
            f"histogram/{name}/{group}": Histogram(_added(members), SIGNED_EDGES)
            for group, members in _by_group(dict(zip(alike, parts, strict=True))).items()
        }

    return Measurement(torch.cat(counts), finish)


def _squared_norm(tensors: Sequence[Tensor]) -> Tensor:
    """Return the sum of the squares of all elements, in float64."""
    squares = torch.zeros((), dtype=torch.float64, device=tensors[0].device)
    for piece in pieces(tensors):
        wide = piece.double()
        squares += wide.dot(wide)
    return squares


def _rows(tensors: Sequence[Tensor]) -> Tensor:
    """Return the number of rows of matrices, and of those with a norm below `DEAD_NORM`."""
    matrices = [one.detach() for one in tensors if one.ndim == 2]
    dead = [(torch.linalg.vector_norm(one, dim=1) < DEAD_NORM).sum() for one in matrices]
    rows = torch.zeros(2, dtype=torch.float64, device=tensors[0].device)
    if dead:
        rows[0], rows[1] = sum(map(len, matrices)), torch.stack(dead).sum()
    return rows


def _tensors_by_groups(
    tensors: Tensors, depth: int, groups_of: GroupsOf
) -> dict[Groups, list[Tensor]]:
    """Return the tensors that are in the same groups together."""
    alike: dict[Groups, list[Tensor]] = defaultdict(list)
    for name, tensor in tensors.items():
        alike[tuple(groups_of(name, depth))].append(tensor)
    return alike


def _by_group(values: Mapping[Groups, T]) -> dict[str, list[T]]:
    """Return the values of each group."""
    members: dict[str, list[T]] = defaultdict(list)
    for groups, value in values.items():
        for group in groups:
            members[group].append(value)
    return members


def _sums_by_key(keys: Sequence[Groups], ranks: Sequence[Sequence[float]]) -> dict[Groups, Sums]:
    """Return sums over all ranks; the values of each rank begin with them, `NUM_SUMS` a key."""
    starts = range(0, len(keys) * NUM_SUMS, NUM_SUMS)
    return {
        key: Sums.combined(Sums(*rank[start : start + NUM_SUMS]) for rank in ranks)
        for key, start in zip(keys, starts, strict=True)
    }


def _added(rows: Sequence[Sequence[float]]) -> list[float]:
    return [sum(column) for column in zip(*rows, strict=True)]
