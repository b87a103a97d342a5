"""Alert rules over losses and batches."""

from __future__ import annotations

import math

from yxanul.monitor.alerts.history import BATCHES, LASTING_STEPS, SPIKE_WINDOW, History, Metrics
from yxanul.monitor.rolling import Rolling

FINITE = ("train/loss", "optim/gradient_norm", "optim/num_nans", "optim/num_infs")
START_SHARE = 0.5
COPIED_TARGETS, FUTURE_LEAK = 0.9, 1e-4
BYTES_PER_TOKEN, LARGE_VOCABULARY, OVERFIT_EPOCHS = 1.5, 1000, 3
REPEATED_ROWS = 0.1
SPIKE_SHARE, LEAST_SPIKES = 1e-3, 5
PATIENCE_STEPS, LEAST_PROGRESS, END_OF_RATE = 1000, 1e-3, 0.2
AVERAGED, LARGEST_GAP = 100, 1.0


def not_finite(metrics: Metrics, history: History) -> str | None:
    """Look for NaN or infinity, other than where fp16 lowers its loss scale."""
    if metrics.get("optim/skipped_excused"):
        return None
    domains = [name for name in metrics if name.startswith("val/") and name.endswith("/loss")]
    present = [*(name for name in FINITE if name in metrics), *domains]
    for name in present:
        value = metrics[name]
        if not math.isfinite(value) or (name.startswith("optim/num_") and value > 0):
            skipped = "" if name.startswith("val/") else ", so the update was skipped"
            return f"{name} is {value:g}{skipped}"
    return "" if present else None


def too_good(metrics: Metrics, history: History) -> str | None:
    """Look for targets equal to the inputs, predictions that change with later tokens, a loss below
    half the entropy of single tokens in the first 100 updates (50 on synthetic text), or, with a
    vocabulary of at least 1,000, below 0.5 nats (0.1) on text that is read for the first time.

    An honest model learns the frequencies of tokens first: from random weights it needs more
    updates to halve the entropy of the tokens it is asked for. (Being below that entropy within 50
    updates, the usual rule, happens by update 20 on simple text.) Below 0.5 nats a token in the
    first epoch is beyond natural text; text that is read again may be memorized.
    """
    loss, entropy = metrics.get("train/loss"), metrics.get("data/unigram_entropy", 0.0)
    if loss is None:
        return None
    copied = metrics.get("data/target_is_input", 0.0)
    if copied > COPIED_TARGETS:
        return f"{copied:.0%} of the targets equal the token at their own position"
    leak = metrics.get("model/future_leak", 0.0)
    if leak > FUTURE_LEAK:
        return f"hidden states change by {leak:.2%} with tokens that come after them"
    start_steps, lowest = (50, 0.1) if history.facts.get("data/synthetic") else (100, 0.5)
    is_start = history.step <= start_steps and history.facts.get("model/from_scratch")
    if is_start and loss < START_SHARE * entropy:
        return (
            f"a loss of {loss:.3f} after {history.step} updates, less than half the entropy of"
            f" single tokens ({entropy:.2f})"
        )
    is_subword = history.facts.get("model/vocab_size", 0) >= LARGE_VOCABULARY
    if loss < lowest and is_subword and metrics.get("data/epochs", 1.0) < 1:
        return f"a loss of {loss:.3f} nats a token on text that is read for the first time"
    return ""


def held_out_in_training(metrics: Metrics, history: History) -> str | None:
    """Look for more than 2 % of the 32-grams of held-out text in the batches, 60 % of synthetic
    text.

    In a whole epoch stories, articles, web pages and school mathematics had none, and the built-in
    stories, which repeat themselves, had 28 %.
    """
    seen = metrics.get("data/held_out_seen")
    if seen is None:
        return None
    if seen <= (0.6 if history.facts.get("data/synthetic") else 0.02):
        return ""
    return f"{seen:.0%} of the 32-grams of held-out text have been in training batches"


def wrong_tokenizer(metrics: Metrics, history: History) -> str | None:
    """Look for held-out text that is predicted worse than chance and 1 nat worse than the training
    text, or has less than 1.5 bytes a token with a vocabulary of at least 1,000."""
    loss = metrics.get("val/mix_loss", metrics.get("val/loss"))
    vocab_size = history.facts.get("model/vocab_size")
    if loss is None or vocab_size is None:
        return None
    length = metrics.get("val/bytes_per_token", math.inf)
    if vocab_size >= LARGE_VOCABULARY and length < BYTES_PER_TOKEN:
        return f"{length:.2f} bytes a token, with a vocabulary of {vocab_size:,.0f}"
    chance, training = math.log(vocab_size), history.level(AVERAGED).mean
    is_new = history.facts.get("data/epochs", 0.0) < OVERFIT_EPOCHS  # else it may be overfitting
    if is_new and loss > chance and loss - training > LARGEST_GAP:
        return (
            f"a held-out loss of {loss:.2f}, worse than chance ({chance:.2f}), while the training"
            f" loss is {training:.2f}"
        )
    return ""


def duplicated_batches(metrics: Metrics, history: History) -> str | None:
    """Look for a batch equal to one of the last 50, unless an epoch is that short, or one of which
    more than a tenth of the rows are copies of others, in the first epoch."""
    checksum, epochs = metrics.get("data/checksum"), metrics.get("data/epochs", 0.0)
    if checksum is None or (epochs and BATCHES * (epochs + 1) >= history.step):
        return None
    copies = 0.0 if epochs else metrics.get("data/repeated_rows", 0.0)
    if copies > REPEATED_ROWS:
        return f"{copies:.0%} of the rows are copies of others in the batch"
    last = list(history.batches)
    if checksum not in last:
        return ""
    return f"the batch is the same as {last[::-1].index(checksum) + 1} updates ago"


def loss_spike(metrics: Metrics, history: History) -> str | None:
    """Look for a loss above mean + 6 standard deviations of the last 128 (`monitor.spikes`), or an
    update that was skipped for such a gradient norm."""
    loss = metrics.get("train/loss")
    if loss is None or math.isnan(loss):
        return None
    if history.is_spike(loss):
        return f"a loss of {loss:.3f}, after a median of {history.level(BATCHES).median:.3f}"
    if metrics.get("optim/skipped_spike"):
        return f"a gradient norm of {metrics['optim/gradient_norm']:.3g}; the update was skipped"
    return ""


def spike_stays(metrics: Metrics, history: History) -> str | None:
    """Look for a median loss 2 standard deviations above its level before a spike, 100 updates
    later."""
    spike = history.spike
    if spike is None or "train/loss" not in metrics:
        return None if spike else ""
    if history.step < spike.step + LASTING_STEPS:
        return None
    median = history.level(BATCHES).median
    return f"a median loss of {median:.3f}, {spike.level:.3f} before a spike at step {spike.step}"


def frequent_spikes(metrics: Metrics, history: History) -> str | None:
    """Look for at least five spikes, and in more than 0.1 % of 10,000 updates."""
    if "train/loss" not in metrics:
        return None
    count, steps = len(history.spikes), min(SPIKE_WINDOW, history.step)
    if count < LEAST_SPIKES or count <= SPIKE_SHARE * steps:
        return ""
    return f"{count} spikes in the last {steps:,} updates"


def plateau(metrics: Metrics, history: History) -> str | None:
    """Look for no better median loss in 1,000 updates, while the learning rate is not at its end.

    Once in 50 updates: medians of so many losses take time.
    """
    losses, lr = history.losses, metrics.get("optim/learning_rate", math.inf)
    is_due = len(losses) == 2 * PATIENCE_STEPS and history.step % 50 == 0
    if "train/loss" not in metrics or not is_due or lr < END_OF_RATE * history.highest_lr:
        return None
    values = list(losses)
    before, after = (
        Rolling(PATIENCE_STEPS, half).median
        for half in (values[:PATIENCE_STEPS], values[PATIENCE_STEPS:])
    )
    if after < before - LEAST_PROGRESS:
        return ""
    return f"a median loss of {after:.4f} over the last 1,000 updates, {before:.4f} before"


def gap(metrics: Metrics, history: History) -> str | None:
    """Look for a held-out loss of the mix more than 1 nat above the last 100 training losses."""
    loss = metrics.get("val/mix_loss", metrics.get("val/loss"))
    if loss is None or history.num_steps < BATCHES:
        return None
    difference = loss - history.level(AVERAGED).mean
    if not difference > LARGEST_GAP:
        return ""
    return f"the held-out loss is {difference:.2f} nats above the training loss"
