"""Measurements of a step that its loss and its clocks do not show, each at its own cadence."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

import torch

from yxanul.data.batches import IGNORE, Batch
from yxanul.model.count import count_parameters
from yxanul.monitor.config import Cadences
from yxanul.monitor.forward_pass import measure_confidence, measure_layers
from yxanul.monitor.sums import Measurement
from yxanul.monitor.trackers.tracker import Histogram
from yxanul.monitor.weights import (
    gradient_groups,
    measure_gradients,
    measure_histograms,
    measure_norm,
    measure_updates,
    measure_weights,
    weight_groups,
)
from yxanul.train.engine import Engine
from yxanul.train.memory import free, is_out_of_memory

Found = TypeVar("Found")

PADDED = ("embedding.tokens", "head")
"""Weights whose last rows may be padding of the vocabulary."""
LEAK_TOKENS = 256
"""Length of the row by which a look at later tokens is found."""


class Probes:
    """Measures gradients, weights, updates and forward passes around an update.

    Nothing that is measured changes what is trained. What is measured on the device is moved to the
    host at once, after the update. A measurement that runs out of memory is left out, on all ranks.
    """

    def __init__(self, every: Cadences):
        self._every = every
        self._due: set[str] = set()
        self._first: Measurement | None = None
        self._measured: list[Measurement] = []
        self._weights: dict[str, torch.Tensor] = {}

    def after_first_backward(self, engine: Engine, batch: Batch, step: int) -> None:
        """Measure the gradients of the first of several micro-batches, for the noise scale."""
        self._first = None
        if "gradients" in self._due_at(step) and (gradients := _gradients(engine)):
            num_targets = (batch.targets_BT != IGNORE).sum()
            self._first = _in_memory(engine, lambda: measure_norm(gradients, num_targets))

    def before_update(self, engine: Engine, batch: Batch, step: int) -> None:
        """Measure what is due at `step`: its gradients before clipping, its first micro-batch."""
        self._due = self._due_at(step)
        self._measured, self._weights = [], {}
        if self._first is not None:
            self._measured, self._first = [self._first], None
        if not self._due:
            return
        gradients, depth = _gradients(engine), engine.settings.depth
        as_one, by_group = "gradients" in self._due, "weights" in self._due
        if gradients and (as_one or by_group):
            self._add(engine, lambda: measure_gradients(gradients, depth, as_one, by_group))
        if gradients and "histograms" in self._due:
            self._add(
                engine, lambda: measure_histograms("gradients", gradients, depth, gradient_groups)
            )
        self._look_forward(engine, batch)
        if by_group:
            self._weights = _in_memory(engine, lambda: _copied(engine)) or {}

    def after_update(
        self, engine: Engine, applied: bool
    ) -> tuple[dict[str, float], dict[str, Histogram]]:
        """Measure the weights, and their change if the update was applied; return all metrics and
        histograms of the step."""
        if not self._due:
            return {}, {}
        depth, due = engine.settings.depth, self._due & {"weights", "histograms"}
        weights = engine.named_weights() if due else {}
        in_fp8 = engine.mixed_precision.precision == "fp8"
        apart = dict(_apart(engine)) if weights else {}
        if weights and "weights" in due:
            self._add(engine, lambda: measure_weights(apart, depth, in_fp8))
        if weights and "histograms" in due:
            self._add(engine, lambda: measure_histograms("weights", apart, depth, weight_groups))
        if self._weights and applied:
            self._add(engine, lambda: measure_updates(self._weights, weights, depth))
        measured, self._measured, self._weights = self._measured, [], {}
        found = finished(measured, engine).items()
        metrics: dict[str, float] = {
            name: one for name, one in found if not isinstance(one, Histogram)
        }
        return metrics, {name: one for name, one in found if isinstance(one, Histogram)}

    def _due_at(self, step: int) -> set[str]:
        return {name for name, steps in self._every if steps and step % steps == 0}

    def _look_forward(self, engine: Engine, batch: Batch) -> None:
        confidence = [name in self._due for name in ("confidence", "histograms")]
        layers = [name in self._due for name in ("activations", "attention")]
        if not any(confidence + layers):
            return
        ids, targets, documents = batch.ids_BT, batch.targets_BT, batch.documents_BT
        with engine.observed() as model:
            if any(confidence):
                self._add(
                    engine, lambda: measure_confidence(model, ids, targets, documents, *confidence)
                )
            if any(layers):
                self._add(engine, lambda: measure_layers(model, ids, documents, *layers))

    def _add(self, engine: Engine, measure: Callable[[], Measurement]) -> None:
        if (measured := _in_memory(engine, measure)) is not None:
            self._measured.append(measured)


def _gradients(engine: Engine) -> dict[str, torch.Tensor]:
    weights = engine.named_weights().items()
    return {name: weight.grad for name, weight in weights if weight.grad is not None}


def finished(measured: list[Measurement], engine: Engine) -> dict[str, float | Histogram]:
    """Return what was measured by name, with a single transfer from the device."""
    if not measured:
        return {}
    own = torch.cat([one.values for one in measured]).tolist()
    ranks = engine.world.gather(own) if engine.is_sharded else [own]
    metrics, start = {}, 0
    for one in measured:
        end = start + len(one.values)
        metrics |= one.finish([values[start:end] for values in ranks])
        start = end
    return metrics


def _apart(engine: Engine) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield the weights by name, with the padding of the vocabulary apart."""
    for name, weight in engine.named_weights().items():
        if name in PADDED:
            real = max(0, engine.settings.known_vocab_size - engine.first_row(name))
            yield name, weight[:real]
            yield f"padding of {name}", weight[real:]
        else:
            yield name, weight


def _copied(engine: Engine) -> dict[str, torch.Tensor]:
    """Return a copy of the weights in the host's memory: the update may need the device's."""
    weights = engine.named_weights().items()
    return {name: weight.detach().to("cpu", copy=True) for name, weight in weights}


def _in_memory(engine: Engine, measure: Callable[[], Found]) -> Found | None:
    """Return what is measured without collectives; None if a rank runs out of memory."""
    found = None
    try:
        found = measure()
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        free()
    return None if engine.world.any(found is None) else found


def first_metrics(engine: Engine) -> dict[str, float]:
    """Return the metrics of a model that are logged once."""
    weights = engine.mixed_precision.master_model.parameters()
    num_parameters = count_parameters(engine.settings)
    num_frozen = sum(weight.numel() for weight in weights if not weight.requires_grad)
    return {
        "model/num_parameters": num_parameters,
        "model/num_trainable": num_parameters - num_frozen,
        "fp8/enabled": float(engine.mixed_precision.precision == "fp8"),
    }


@torch.no_grad()
def future_leak(engine: Engine, seq_len: int) -> dict[str, float]:
    """Return how much the hidden states of a row change with its last token: 0 but for a leak.

    All ranks must call it, since a sharded model has to be gathered; only rank 0 measures.
    """
    with engine.eval_weights() as model:
        if not engine.world.is_main or engine.mixed_precision.precision == "fp8":
            return {}
        length, vocab_size = min(seq_len, LEAK_TOKENS), model.settings.known_vocab_size
        if length < 2:
            return {}
        ids_BT = torch.arange(length, device=engine.device).unsqueeze(0) % vocab_size
        before_BTD = model.hidden(ids_BT)[:, :-1].float()
        ids_BT[0, -1] = (ids_BT[0, -1] + 1) % vocab_size
        after_BTD = model.hidden(ids_BT)[:, :-1].float()
        change, size = (after_BTD - before_BTD).abs().amax(), before_BTD.abs().mean()
        return {"model/future_leak": float(change / size.clamp(min=1e-9))}
