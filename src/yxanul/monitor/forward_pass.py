"""Metrics of extra forward passes without gradients: confidence, activations, attention.

They run eagerly on rows of a micro-batch, and change nothing that is trained.

Letters: B batch, T time (queries), S keys, D width, V vocabulary, H query heads, G key and value
heads, K head width, N sampled positions, F feed-forward width.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from yxanul.model.attention.backend import AttentionContext
from yxanul.model.attention.mask import MaskSpec
from yxanul.model.blocks.attention import Attention
from yxanul.model.context import ForwardContext
from yxanul.model.language_model import LanguageModel
from yxanul.model.loss import IGNORE, capped
from yxanul.monitor.sums import FIGURES, SHARE_EDGES, Measurement, histogram_counts, sums_of
from yxanul.monitor.trackers.tracker import Histogram

SAMPLE = 256
"""Positions of the confidence sample, at most."""
SAMPLE_CHUNK = 128
"""Positions whose logits exist at a time."""
MIN_ROWS, MIN_TOKENS = 4, 2048
"""Rows, or tokens of more rows, of the pass that measures activations and attention."""
SCORES = 2**24
"""Attention scores that exist at a time."""
DEAD_RELU, DEAD_GATE = 1e-6, 1e-3
"""A unit is dead if its largest output is below this: absolute for squared ReLU; as a share of the
layer's RMS for the others, which are never exactly zero."""
ATTENTION = ("attention_entropy", "attention_entropy_normalized", "attention_logit_max")


@torch.no_grad()
def measure_confidence(
    model: LanguageModel,
    ids_BT: Tensor,
    targets_BT: Tensor,
    documents_BT: Tensor | None,
    figures: bool = True,
    histogram: bool = False,
) -> Measurement:
    """Measure the predictions at evenly spaced positions of the first rows, of which those without
    a target do not count: their figures, and a histogram of the largest probability."""
    rows = -(-SAMPLE // targets_BT.shape[1])
    ids_BT, targets_N = ids_BT[:rows], targets_BT[:rows].flatten()
    hidden = model.hidden(ids_BT, None if documents_BT is None else documents_BT[:rows])
    last, size = len(targets_N) - 1, min(SAMPLE, len(targets_N))
    chosen_N = torch.linspace(0, last, size, device=ids_BT.device).round().long()
    hidden_ND, targets_N = hidden.flatten(0, 1)[chosen_N], targets_N[chosen_N]
    sums = torch.zeros(5, dtype=torch.float64, device=targets_N.device)
    largest = sums.new_full((1,), -torch.inf)
    counts = sums.new_zeros(len(SHARE_EDGES) - 1)
    for x_ND, target_N in zip(
        hidden_ND.split(SAMPLE_CHUNK), targets_N.split(SAMPLE_CHUNK), strict=True
    ):
        logits_NV, counts_N = model.uncapped_logits(x_ND), target_N != IGNORE
        log_p_NV = capped(logits_NV, model.settings.logit_soft_cap).log_softmax(-1)
        p_NV = log_p_NV.exp()
        of_positions = (
            torch.ones_like(target_N),
            p_NV.argmax(-1) == target_N,
            -(p_NV * log_p_NV).sum(-1),
            p_NV.topk(min(5, p_NV.shape[-1])).values.sum(-1),
            logits_NV.logsumexp(-1),
        )
        sums += torch.stack([(one * counts_N).sum(dtype=torch.float64) for one in of_positions])
        counted = logits_NV.amax(-1).masked_fill(~counts_N, -torch.inf)
        largest = torch.maximum(largest, counted.max())
        if histogram:
            top_N = p_NV.amax(-1).masked_fill(~counts_N, torch.nan)
            counts += histogram_counts([top_N], SHARE_EDGES)

    def finish(ranks: list[list[float]]) -> dict[str, float | Histogram]:
        (*values,), counts = ranks[0][:6], ranks[0][6:]
        if not values[0]:  # a rank without rows
            return {}
        shown = {"histogram/confidence": Histogram(counts, SHARE_EDGES)} if histogram else {}
        return shown | (_confidence(*values) if figures else {})

    return Measurement(torch.cat([sums, largest, counts]), finish)


def _confidence(
    count: float, right: float, entropy: float, top5: float, log_sum: float, largest: float
) -> dict[str, float]:
    return {
        "train/accuracy": right / count,
        "train/entropy": entropy / count,
        "train/top5_confidence": top5 / count,
        "logits/logsumexp_mean": log_sum / count,
        "logits/max": largest,
    }


@torch.no_grad()
def measure_layers(
    model: LanguageModel,
    ids_BT: Tensor,
    documents_BT: Tensor | None,
    activations: bool = True,
    attention: bool = True,
) -> Measurement:
    """Measure the activations and the attention of every layer on the first rows."""
    found: list[dict[str, Tensor]] = [{} for _ in model.layers()]
    handles = []
    for layer, block in zip(found, model.layers(), strict=True):
        if activations:
            handles.append(block.register_forward_hook(partial(_see_output, layer)))
            see_units = partial(_see_units, layer, model.settings.ffn)
            handles.append(block.ffn.down.register_forward_pre_hook(see_units))
        if attention:
            handles.append(block.attention.register_forward_pre_hook(partial(_see_scores, layer)))
    try:
        rows = max(MIN_ROWS, MIN_TOKENS // ids_BT.shape[1])
        documents_BT = None if documents_BT is None else documents_BT[:rows]
        model.hidden(ids_BT[:rows], documents_BT)
    finally:
        for handle in handles:
            handle.remove()
    values = torch.stack([value.double() for layer in found for value in layer.values()])
    keys = [list(layer) for layer in found]

    def finish(ranks: list[list[float]]) -> dict[str, float]:
        left = iter(ranks[0])
        return _named([{key: next(left) for key in layer} for layer in keys])

    return Measurement(values, finish)


def _named(layers: list[dict[str, float]]) -> dict[str, float]:
    """Return the metrics of all layers by name."""
    metrics = {}
    for number, layer in enumerate(layers):
        if "rms" in layer:
            metrics[f"activations/{number}/rms"] = layer["rms"] / layers[0]["rms"]
        for key in ("dead_neurons", *ATTENTION):
            if key in layer:
                metrics[f"{key}/{number}"] = layer[key]
    if "rms" in layers[0]:
        for label, layer in (("first", layers[0]), ("last", layers[-1])):
            metrics |= {f"activations/{label}/{key}": layer[key] for key in FIGURES}
    return metrics


def _see_output(found: dict[str, Tensor], block: nn.Module, inputs: Any, x_BTD: Tensor) -> None:
    """Measure the residual stream after a layer."""
    length, total, squares, found["max"], found["min"] = sums_of([x_BTD])[:5]
    found["mean"], mean_square = total / length, squares / length
    found["std"] = (mean_square - found["mean"].square()).clamp(min=0).sqrt()
    found["rms"] = mean_square.sqrt()


def _see_units(found: dict[str, Tensor], ffn: str, down: nn.Module, inputs: tuple[Tensor]) -> None:
    """Measure the share of dead units: inputs of the down projection."""
    (x_BTF,) = inputs
    length, _, squares = sums_of([x_BTF])[:3]
    limit = DEAD_RELU if ffn == "relu2" else DEAD_GATE * (squares / length).sqrt()
    largest_F = torch.maximum(x_BTF.amax((0, 1)), -x_BTF.amin((0, 1)))
    found["dead_neurons"] = (largest_F < limit).double().mean()


def _see_scores(
    found: dict[str, Tensor], attention: nn.Module, inputs: tuple[Tensor, ForwardContext]
) -> tuple[Tensor, ForwardContext]:
    """Return the inputs of a layer's attention, with a context that also measures its scores."""
    x_BTD, context = inputs
    kind = cast(Attention, attention).kind
    observed: Any = {
        kind: ObservedAttention(cast(AttentionContext, context.attention[kind]), found)
    }
    return x_BTD, replace(context, attention=observed)


class ObservedAttention(NamedTuple):
    """Attention whose scores are measured before it is computed as usual."""

    context: AttentionContext
    found: dict[str, Tensor]

    def attend(self, q_BTHK: Tensor, k_BTGK: Tensor, v_BTGK: Tensor, scale: float) -> Tensor:
        """Return softmax(scale q k^T) v, BTHK."""
        figures = score_figures(q_BTHK, k_BTGK, self.context.mask_spec, scale)
        self.found.update(zip(ATTENTION, figures, strict=True))
        return self.context.attend(q_BTHK, k_BTGK, v_BTGK, scale)


def score_figures(
    q_BTHK: Tensor, k_BTGK: Tensor, mask_spec: MaskSpec, scale: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the mean entropy of the attention, in nats and as a share of ln(visible keys), over
    the queries that see more than one key, and the largest absolute score; computed in fp32."""
    (batch, length, heads, _), device = q_BTHK.shape, q_BTHK.device
    q_BTGRK = q_BTHK.float().unflatten(2, (k_BTGK.shape[2], -1))
    sums = torch.zeros(3, dtype=torch.float64, device=device)
    largest = torch.zeros((), device=device)
    step = max(1, SCORES // (batch * heads * length))
    for start in range(0, length, step):
        queries = slice(start, min(start + step, length))
        mask = mask_spec.mask(queries, slice(0, length), device)
        mask = mask if mask.ndim == 2 else mask.unsqueeze(1)
        scores = torch.einsum("btgrk,bsgk->bgrts", q_BTGRK[:, queries], k_BTGK.float()) * scale
        largest = torch.maximum(largest, scores.masked_fill(~mask, 0.0).abs().max())
        log_share = scores.masked_fill(~mask, -torch.inf).log_softmax(-1)
        entropy = -(log_share.exp() * log_share.masked_fill(~mask, 0.0)).sum(-1)
        visible = mask.sum(-1).expand_as(entropy)
        entropy = entropy * (visible > 1)
        relative = entropy / visible.clamp(min=2).log()
        sums += torch.stack(
            [one.sum(dtype=torch.float64) for one in (entropy, relative, visible > 1)]
        )
    return sums[0] / sums[2], sums[1] / sums[2], largest
