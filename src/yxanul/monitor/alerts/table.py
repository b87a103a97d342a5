"""The alert rules: what each looks for, the likely cause, and what to try."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from yxanul.monitor.alerts import loss_rules, machine_rules, weight_rules
from yxanul.monitor.alerts.history import History, Metrics

Check = Callable[[Metrics, History], str | None]
"""Returns what a rule has seen, "" if all is well, None if the record lacks what it reads."""


@dataclass(frozen=True)
class AlertRule:
    """Condition and texts of an alert."""

    severity: Literal["warn", "error"]
    """error: what is trained from here on is probably lost."""
    check: Check
    cause: str
    advice: str
    """What to try; names in braces are keys and values to paste, made from the recipe's, or the
    step; RUN stands for the run's folder."""
    silences: tuple[str, ...] = ()
    """Alerts that follow from the same cause: they are not raised beside this one."""


_RATE = "{lower_lr}, or {longer_warmup}"
ALERTS: dict[str, AlertRule] = {
    "not_finite": AlertRule(
        "error",
        loss_rules.not_finite,
        "a learning rate that is too high, overflow in low precision, or damaged weights",
        "{lower_lr}, or train.precision=fp32",
        silences=(
            *("loss_spike", "spike_stays", "gradient_explosion", "gradient_vanishing"),
            *(
                "frozen_group",
                "clip_rate",
                "plateau",
                "wrong_tokenizer",
                "train_validation_gap",
            ),
            *("output_logits", "attention_entropy", "attention_logits", "update_ratio"),
        ),
    ),
    "duplicated_batches": AlertRule(
        "error",
        loss_rules.duplicated_batches,
        "a loader that repeats itself: the model memorizes a few batches",
        "`yxanul data show RUN --step {step}` for the rows of both updates",
        silences=("too_good", "train_validation_gap", "plateau", "loss_spike", "spike_stays"),
    ),
    "held_out_in_training": AlertRule(
        "error",
        loss_rules.held_out_in_training,
        "held-out documents, or copies of them, in the training text: scores are too good",
        "`yxanul data verify RUN`, and data.deduplicate={{near: {{}}}} in a new run",
        silences=("train_validation_gap",),
    ),
    "too_good": AlertRule(
        "error",
        loss_rules.too_good,
        "targets that the model can see: labels not shifted, or a mask that lets the future in",
        "`yxanul data show RUN --step {step}`, train.attention=reference, and no custom masks",
        silences=(
            *("train_validation_gap", "wrong_tokenizer", "gradient_vanishing", "plateau"),
            *("output_logits", "attention_entropy"),
        ),
    ),
    "wrong_tokenizer": AlertRule(
        "error",
        loss_rules.wrong_tokenizer,
        "text encoded with another tokenizer, or a tokenizer made for other text",
        "`yxanul tokenizer compare`, or tokenizer={{kind: bpe, vocab_size: 4096}} in a new run",
        silences=("train_validation_gap",),
    ),
    "loss_spike": AlertRule(
        "warn",
        loss_rules.loss_spike,
        "a batch of unusual text, or a learning rate at the edge of stability",
        "monitor.alerts.loss_spike=skip, {lower_lr}, or `yxanul data show RUN --step {step}`",
        silences=("gradient_explosion", "train_validation_gap", "clip_rate"),
    ),
    "spike_stays": AlertRule(
        "error",
        loss_rules.spike_stays,
        "weights that a spike has damaged",
        "monitor.alerts.spike_stays=rollback, with monitor.alerts.loss_spike=skip and {lower_lr}",
        silences=("plateau", "train_validation_gap"),
    ),
    "frequent_spikes": AlertRule(
        "warn",
        loss_rules.frequent_spikes,
        "a learning rate at the edge of stability",
        f"{_RATE}, or model.qk_norm=true in a new run",
    ),
    "gradient_explosion": AlertRule(
        "error",
        weight_rules.explosion,
        "a learning rate that is too high, or a broken batch",
        f"{{clip}}, {_RATE}",
        silences=("clip_rate", "update_ratio"),
    ),
    "dead_units": AlertRule(
        "warn",
        weight_rules.dead_units,
        "a learning rate that is too high, or an initialization that is too small",
        "{lower_lr}, or {larger_init} in a new run",
        silences=(*("frozen_group", "gradient_ratio", "gradient_vanishing", "update_ratio"),),
    ),
    "frozen_group": AlertRule(
        "error",
        weight_rules.frozen_group,
        "weights that are detached from the loss, without gradient, or with a learning rate of 0",
        "optim.lr_scale_by_role={{}}, and a look at what was frozen",
        silences=(*("gradient_ratio", "gradient_vanishing", "update_ratio", "plateau"),),
    ),
    "gradient_vanishing": AlertRule(
        "error",
        weight_rules.vanishing,
        "parameters disconnected from the loss, or saturated units",
        "{larger_init} in a new run",
        silences=("gradient_ratio", "update_ratio", "plateau"),
    ),
    "gradient_ratio": AlertRule(
        "warn",
        weight_rules.gradient_ratio,
        "a first layer that is cut off: initialization or residual scale",
        "{larger_init} in a new run",
    ),
    "attention_logits": AlertRule(
        "warn",
        weight_rules.attention_logits,
        "queries and keys that grow without bound (runs above 10,000 diverge: Wortsman 2023)",
        "{lower_lr}, or model.qk_norm=true in a new run",
        silences=("attention_entropy",),
    ),
    "attention_entropy": AlertRule(
        "warn",
        weight_rules.attention_entropy,
        "attention that has collapsed to single tokens, which precedes divergence (Zhai 2023)",
        "{lower_lr}, or model.qk_norm=true in a new run",
    ),
    "output_logits": AlertRule(
        "warn",
        weight_rules.output_logits,
        "logits that drift, as cross-entropy does not fix their level",
        "{lower_lr}, or model.z_loss=1e-4 in a new run",
    ),
    "update_ratio": AlertRule(
        "warn",
        weight_rules.update_ratio,
        "a learning rate that does not suit these weights",
        "{lower_lr} if it is too large, {higher_lr} if it is too small",
    ),
    "clip_rate": AlertRule(
        "warn",
        weight_rules.clip_rate,
        "a limit below the usual gradient norm: the clip sets the learning rate",
        "{higher_clip}, or {lower_lr}",
    ),
    "plateau": AlertRule(
        "warn",
        loss_rules.plateau,
        "a learning rate that is too high or too low, or a model at capacity",
        "{lower_lr}, optim.schedule.name=cosine, or a larger model.preset in a new run",
    ),
    "train_validation_gap": AlertRule(
        "warn",
        loss_rules.gap,
        "overfitting, or held-out text of another kind",
        "more text, a smaller budget, or {weight_decay}",
    ),
    "starvation": AlertRule(
        "warn",
        machine_rules.starvation,
        "a disk or an encoder that is slower than the model",
        "`yxanul prepare` before training, data.overlap_prepare=false, or a local data.folder",
        silences=("throughput_fall",),
    ),
    "memory_leak": AlertRule(
        "error",
        machine_rules.memory_leak,
        "tensors or lists that are kept from update to update",
        "a stop (Ctrl-C) and the same command again, and a look at own callbacks",
    ),
    "throughput_fall": AlertRule(
        "warn",
        machine_rules.throughput_fall,
        "another program on the machine, heat, or recompilation",
        "a look at the machine (top, nvidia-smi), or train.compile=false",
    ),
}
"""Alert rules by name, the likeliest cause first."""
TIMED = ("starvation", "memory_leak", "throughput_fall")
"""Alerts about the machine: another process, as after a resume, looks afresh."""
