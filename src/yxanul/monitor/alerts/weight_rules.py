"""Alert rules over gradients, weights, updates and activations."""

from __future__ import annotations

import math
from collections.abc import Iterator

from yxanul.monitor.alerts.history import History, Metrics

SETTLING_STEPS = 200
LARGEST_GRADIENT, SMALLEST_GRADIENT = 100.0, 1e-6
SMALLEST_FIRST, LARGEST_RATIO = 1e-7, 100.0
DEAD_SHARE = 0.1
LOWEST_ENTROPY, ENTROPY_FALL, ENTROPY_STEP = 0.05, 0.25, 500
LARGEST_SCORE = 1e3
ROLES = {"embedding": "embedding", "head": "embedding", "norms": "norm"}
"""Roles of groups of weights; those of the others are matrices."""
LARGEST_LOGSUMEXP, LOGSUMEXP_GROWTH = 100.0, 10.0
LASTING_STEPS = 100
SMALLEST_RATIO, RATIO, GAIN_RATIO, USUAL_LR, END_OF_RATE = 1e-5, 0.1, 1.7, 3e-3, 0.2
LARGEST_CLIP_RATE, FAR_ABOVE = 0.2, 10.0


def dead_units(metrics: Metrics, history: History) -> str | None:
    """Look for more than 10 % of a layer's neurons that never fire, or of its rows of weights that
    are zero."""
    shares = {
        name: value
        for name, value in metrics.items()
        if name.startswith("dead_neurons/") or name.endswith("/dead_ratio")
    }
    if not shares or history.step < LASTING_STEPS // 2:  # weights may start at zero
        return None
    name = max(shares, key=lambda name: shares[name])
    if shares[name] <= DEAD_SHARE:
        return ""
    what = "neurons" if name.startswith("dead_neurons/") else "rows of weights"
    return f"{shares[name]:.0%} of the {what} are dead ({name})"


def frozen_group(metrics: Metrics, history: History) -> str | None:
    """Look for weights that an applied update has not changed, or that have no gradient."""
    # At its end the learning rate may be too small to change a weight near 1 in fp32.
    updates = [] if _is_end(metrics, history) else [*_named(metrics, "update_ratio/")]
    groups = [*updates, *_named(metrics, "gradient_norm/")]
    if not groups or metrics.get("optim/skipped") or history.step < 2:
        return None
    frozen = [name for name, value in groups if value == 0 and _should_learn(name, metrics)]
    return f"{', '.join(frozen)}: zero" if frozen else ""


def explosion(metrics: Metrics, history: History) -> str | None:
    """Look for a gradient above 100."""
    largest = _largest_gradient(metrics)
    if largest is None or "optim/gradient_max" not in metrics:
        return None
    return f"a gradient of {largest:.3g}" if LARGEST_GRADIENT < largest < math.inf else ""


def vanishing(metrics: Metrics, history: History) -> str | None:
    """Look for all gradients being below 1e-6."""
    largest = _largest_gradient(metrics)
    if largest is None:
        return None
    return f"no gradient above {largest:.3g}" if largest < SMALLEST_GRADIENT else ""


def gradient_ratio(metrics: Metrics, history: History) -> str | None:
    """Look for a gradient norm below 1e-7 in the first layer, 100 times as large in the last."""
    first, last = (metrics.get(f"gradient_norm/{layer}") for layer in ("first", "last"))
    if first is None or last is None:
        return None
    if first < SMALLEST_FIRST and last > LARGEST_RATIO * first:
        return f"a gradient norm of {first:.2g} in the first layer, {last:.2g} in the last"
    return ""


def attention_entropy(metrics: Metrics, history: History) -> str | None:
    """Look for a layer whose normalized attention entropy is below 0.05, or has fallen to a quarter
    of its value 500 updates after a change."""
    entropies = dict(_named(metrics, "attention_entropy_normalized/"))
    if not entropies:
        return None
    for name, value in entropies.items():
        is_settled = history.num_steps >= ENTROPY_STEP
        before = history.first.setdefault(name, value) if is_settled else value
        if value < max(LOWEST_ENTROPY, ENTROPY_FALL * before):
            return f"{name} is {value:.3f}, and was {before:.3f}"
    return ""


def attention_logits(metrics: Metrics, history: History) -> str | None:
    """Look for an attention score above 1,000."""
    scores = dict(_named(metrics, "attention_logit_max/"))
    if not scores:
        return None
    name = max(scores, key=lambda name: scores[name])
    return f"{name} is {scores[name]:,.0f}" if scores[name] > LARGEST_SCORE else ""


def output_logits(metrics: Metrics, history: History) -> str | None:
    """Look for a mean log-sum-exp of the output logits above 100 or ten times its first value."""
    value = metrics.get("logits/logsumexp_mean")
    if value is None:
        return None
    first = history.first.setdefault("logits/logsumexp_mean", value)
    limit = min(LARGEST_LOGSUMEXP, LOGSUMEXP_GROWTH * max(1.0, abs(first)))
    return f"logits/logsumexp_mean is {value:.1f}" if abs(value) > limit else ""


def update_ratio(metrics: Metrics, history: History) -> str | None:
    """Look for updates below 1e-5 or above 0.1 of their weights for 100 updates; of the gains of
    norms, only above 1.7 times the usual learning rate.

    Small healthy models pass the usual limit of 1e-2 (0.01 to 0.05 at width 32). A rate ten times
    too high hardly changes the ratio of matrices, as they grow with it, but that of the gains of
    norms, which stay near 1: it is half the learning rate.
    """
    ratios = dict(_named(metrics, "update_ratio/"))
    if not ratios or metrics.get("optim/skipped"):
        return None
    gains = 0.0, GAIN_RATIO * history.facts.get("optim/usual_lr", USUAL_LR)
    others = 0.0 if _is_end(metrics, history) else SMALLEST_RATIO, RATIO
    found = ""
    for name, ratio in ratios.items():
        smallest, largest = gains if name == "update_ratio/norms" else others
        if smallest <= ratio <= largest or ratio == 0:  # zero: see frozen_group
            history.bad_since.pop(name, None)
        elif history.step - history.bad_since.setdefault(name, history.step) >= LASTING_STEPS:
            found = found or f"{name} is {ratio:.2g}, and has been so for 100 updates"
    return found


def clip_rate(metrics: Metrics, history: History) -> str | None:
    """Look for more than a fifth of the updates being clipped, 200 updates after a change, and a
    usual norm of more than ten times the limit.

    Up to 40 % of the updates of small healthy runs are clipped at 1.0, and all at the 0.3 of some
    published curricula: an optimizer that divides by the gradient's size does not mind.
    """
    rate, limit = metrics.get("optim/clip_rate"), metrics.get("curriculum/clip")
    if rate is None or limit is None or history.num_steps < SETTLING_STEPS:
        return None
    norm = history.norms.median
    if rate <= LARGEST_CLIP_RATE or norm <= FAR_ABOVE * limit:
        return ""
    return f"{rate:.0%} of the last updates were clipped, from a norm of {norm:.3g} to {limit:g}"


def _is_end(metrics: Metrics, history: History) -> bool:
    """Return whether the learning rate has nearly fallen to its end."""
    return metrics.get("optim/learning_rate", 1.0) < END_OF_RATE * history.highest_lr


def _named(metrics: Metrics, prefix: str) -> Iterator[tuple[str, float]]:
    return ((name, value) for name, value in metrics.items() if name.startswith(prefix))


def _should_learn(name: str, metrics: Metrics) -> bool:
    """Return whether a group has a learning rate."""
    role = ROLES.get(name.partition("/")[2], "matrix")
    return metrics.get(f"optim/learning_rate/{role}", 1.0) > 0


def _largest_gradient(metrics: Metrics) -> float | None:
    """Return the largest gradient if it was logged, else the norm, which is an upper bound."""
    largest = metrics.get("optim/gradient_max", metrics.get("optim/gradient_norm"))
    if largest is None:
        return None
    return max(abs(largest), abs(metrics.get("optim/gradient_min", 0.0)))
