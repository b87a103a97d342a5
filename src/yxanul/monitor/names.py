"""Every metric by name, with its definition: the table of docs/metrics.md. Imports no torch."""

from __future__ import annotations

STEP_METRICS: dict[str, str] = {
    "train/loss": "mean over the step's target tokens, nats",
    "train/perplexity": "exp of the loss",
    "train/loss_median": "median of the last 50 losses, including this one",
    "train/loss_std": "standard deviation of the last 50 losses",
    "train/loss_outlier": "1 if the loss is above median + 2 std of the 50 before it",
    "optim/learning_rate": "peak_lr times schedule times the phase's scale",
    "optim/learning_rate/matrix": "learning rate of the matrices (muon: from muon_lr)",
    "optim/learning_rate/embedding": "learning rate of the embeddings",
    "optim/learning_rate/norm": "learning rate of the norms",
    "optim/gradient_norm": "global gradient norm before clipping",
    "optim/gradient_norm_after_clip": "global gradient norm after clipping",
    "optim/clip_rate": "share of the last 100 updates that were clipped",
    "optim/skipped": "1 if the update was skipped: non-finite or an outlier",
    "optim/skipped_outlier": "1 if the update was skipped although all values were finite",
    "optim/skipped_excused": "1 if fp16 lowered its loss scale instead of applying the update",
    "optim/skipped_updates": "skipped updates so far, all stages",
    "perf/tokens_per_second": "target tokens of the step per second of wall time",
    "perf/samples_per_second": "rows of the step per second of wall time",
    "perf/data_time": "seconds spent waiting for batches",
    "perf/forward_time": "seconds in the forward passes",
    "perf/backward_time": "seconds in the backward passes",
    "perf/metrics_time": "seconds measuring gradients and extra forward passes (on a GPU, which"
    " works on, mostly launching them)",
    "perf/optimizer_time": "seconds in clipping and the update",
    "perf/total_step_time": "seconds from the batches to the update: without trackers, evaluation"
    " and checkpoints",
    "perf/data_wait_share": "data_time over total_step_time",
    "perf/seconds_left": "seconds to the end of the stage, at the median speed of 50 steps",
    "perf/mfu": "model FLOPs per second of wall time, as a share of the device's peak",
    "memory/allocated_gb": "GiB in use (on a CPU: resident memory of the process)",
    "memory/max_allocated_gb": "peak of allocated_gb so far",
    "memory/reserved_gb": "GiB reserved by torch (on a CPU: the process's address space)",
    "memory/forward_delta_gb": "GiB that a forward pass of the step adds at its peak (on a CPU:"
    " resident memory after it less that before)",
    "data/batch_size": "rows of the step",
    "data/sequence_length": "tokens per row",
    "data/actual_tokens": "target tokens of the step",
    "data/padding_ratio": "share of the step's positions without a target",
    "data/tokens_seen": "target tokens so far, all stages",
    "data/chinchilla_multiple": "tokens_seen over 20 parameters",
    "curriculum/phase": "index of the phase",
    "curriculum/lr_scale": "the phase's factor on the learning rate",
    "curriculum/clip": "the phase's maximum gradient norm",
}
"""Descriptions of all metrics of a step; curriculum/clip is only logged if there is one."""
BATCH_METRICS = {
    "data/unigram_entropy": "entropy of the step's target tokens by their frequency, nats",
    "data/target_is_input": "share of the targets that equal the token at their own position",
    "data/checksum": "CRC-32 of the step's token ids (the first process's rows)",
    "data/repeated_rows": "share of the rows that are copies of others; not below 32 tokens a row",
    "data/held_out_seen": "share of a sample of held-out passages of 32 tokens that batches have"
    " held so far",
    "data/epochs": "whole passes over the source that was read most",
    "curriculum/stage": "index of the stage",
    "curriculum/attempt": "how often the stage was extended or rolled back before",
}
START_METRICS = {
    "model/vocab_size": "size of the vocabulary",
    "model/future_leak": "largest change of a hidden state when a later token changes, over their"
    " size; not with fp8, whose scales depend on all tokens",
    "optim/usual_lr": "usual peak_lr of the optimizer at the model's width",
    "model/from_scratch": "1 if the stage begins with random weights",
    "data/synthetic": "1 if programs wrote some of the stage's text",
}
EVALUATION_METRICS = {
    "val/mix_loss": "held-out loss of the mix that is trained on: comparable with train/loss",
    "val/bytes_per_token": "bytes of a held-out token",
}
GRADIENT_METRICS = {
    "optim/gradient_mean": "mean of all elements of all gradients, before clipping",
    "optim/gradient_std": "their standard deviation",
    "optim/gradient_max": "the largest of them",
    "optim/gradient_min": "the smallest of them",
    "optim/num_zeros": "how many are exactly 0: those of tokens that the step has not seen, and the"
    " padding of the vocabulary, among them",
    "optim/num_infs": "how many are infinite",
    "optim/num_nans": "how many are NaN",
    "optim/gradient_noise_scale": "tr(S) / norm(G)^2 in tokens, from the first micro-batch against"
    " the step, both terms smoothed by 0.99; absent with one micro-batch a step, and with fsdp",
}
FIRST_METRICS = {
    "model/num_parameters": "parameters, without the padding of the vocabulary",
    "model/num_trainable": "those that are trained",
    "fp8/enabled": "1 if the projections are computed in fp8",
}
STAGE_METRICS = {
    "epoch/number": "number of the stage, from 1",
    "epoch/avg_loss": "mean loss over its target tokens, nats",
    "epoch/avg_tokens_per_second": "target tokens per second of its steps (since the last resume)",
    "epoch/total_tokens": "its target tokens",
    "epoch/total_steps": "its steps",
    "epoch/learning_rate_end": "learning rate of its last step",
    "epoch/val_loss": "val/loss at its end",
    "epoch/val_perplexity": "val/perplexity at its end",
    "epoch/train_val_gap": "val/loss less the mean of its last 100 training losses",
}
TASK_METRICS = {"perf/task_share": "share of the stage's time that tasks have taken so far"}
CONFIDENCE_METRICS = {
    "train/accuracy": "share of the targets that have the largest probability",
    "train/entropy": "mean entropy of the predictions, nats",
    "train/top5_confidence": "mean sum of the five largest probabilities",
    "logits/max": "largest output logit, before soft-capping",
    "logits/logsumexp_mean": "mean log-sum-exp of the output logits, before soft-capping",
}
WEIGHT_METRICS = {
    "gradient_norm/{group}": "norm of the group's gradients, before clipping",
    "update_ratio/{group}": "norm of the update over that of the weights before it; absent if the"
    " update was skipped or the weights were 0",
    "weights/global_mean": "mean of all stored weights, after the update",
    "weights/global_std": "their standard deviation",
    "weights/global_max": "the largest of them",
    "weights/global_min": "the smallest of them",
    "weights/{part}/mean": "mean of the part's weights, without the padding of the vocabulary",
    "weights/{part}/std": "their standard deviation",
    "weights/{part}/dead_ratio": "share of the rows of its matrices with a norm below 1e-6",
    "fp8/amax/{part}": "with fp8: largest absolute weight of the first, middle or last layer",
    "fp8/scale/{part}": "with fp8: 448 / amax, the scale to e4m3",
}
ACTIVATION_METRICS = {
    "activations/first/{figure}": "mean, std, max and min of the residual stream after the first"
    " layer",
    "activations/last/{figure}": "the same after the last layer",
    "activations/{layer}/rms": "RMS of the residual stream after a layer, over that after layer 0",
    "dead_neurons/{layer}": "share of the FFN units whose largest absolute output is below 1e-6"
    " (relu2), or below 1e-3 of the RMS of the layer's units (other kinds)",
}
ATTENTION_METRICS = {
    "attention_entropy/{layer}": "mean entropy of the attention over heads and queries, nats;"
    " queries that see one key only do not count",
    "attention_entropy_normalized/{layer}": "the same, each divided by ln(visible keys): 0 to 1",
    "attention_logit_max/{layer}": "largest absolute attention score, before the softmax",
}

METRICS = {
    "at the first step": FIRST_METRICS,
    "at every step": STEP_METRICS | BATCH_METRICS,
    "at a stage's first step": START_METRICS,
    "at an evaluation": EVALUATION_METRICS,
    "`monitor.every.gradients`": GRADIENT_METRICS,
    "`monitor.every.confidence`": CONFIDENCE_METRICS,
    "`monitor.every.weights`": WEIGHT_METRICS,
    "`monitor.every.activations`": ACTIVATION_METRICS,
    "`monitor.every.attention`": ATTENTION_METRICS,
    "when a task is evaluated": TASK_METRICS,
    "at the end of a stage": STAGE_METRICS,
}
"""Definitions by name, by when they are measured; {words in braces} stand for several."""

PLACEHOLDERS = {
    "group": "embedding|attention|ffn|norms|head|first|middle|last",
    "part": "embedding|first|middle|last|final_norm",
    "figure": "mean|std|max|min",
    "layer": "[0-9]+",
}
"""Regular expressions of what stands for the words in braces."""
