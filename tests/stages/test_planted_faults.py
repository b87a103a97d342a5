"""Faults planted in small runs: the alert that names the fault comes first."""

import math
import mmap
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from running import alerts_of, call
from yxanul.data.batches import IGNORE, BatchLoader
from yxanul.data.manifest import read_manifest
from yxanul.data.shards import Shards
from yxanul.model.attention.mask import MaskSpec
from yxanul.monitor.alerts.table import TIMED
from yxanul.train.engine import Engine
from yxanul.train.trainer import Trainer

TEXT = Path(__file__).resolve().parents[2] / "docs"
RECIPE = f"""
seed: 3
tokenizer: {{kind: bpe, vocab_size: 512}}
data:
  sources: {{docs: {{kind: text, path: {TEXT}}}}}
  validation_fraction: 0.05
  overlap_prepare: false
  workers: 1
model: {{width: 32, depth: 2, num_heads: 2, num_kv_heads: 1, ffn_width: 64, max_seq_len: 64}}
optim: {{name: adamw, peak_lr: 3e-3, schedule: {{name: constant, warmup_steps: 20}}}}
train: {{precision: fp32, batch_tokens: 512}}
stages:
  - name: one
    mix: {{docs: 1.0}}
    budget: {{steps: 260}}
    curriculum: [{{seq_len: 64}}]
    gate: {{default_rules: false}}
monitor: {{every: {{weights: 20, activations: 40, attention: 40}}}}
eval: {{every_steps: 65, max_tokens: 4096, sample_prompts: []}}
"""


@pytest.fixture
def train(recipe, prepared, tmp_path):
    """A function that trains a copy of the prepared folder and returns its alerts by name."""

    def trained(*overrides, timed=()):
        out = shutil.copytree(prepared, tmp_path / "run")
        said = call("train", recipe, *overrides, "--out", out)
        assert said.code == 0, said.err
        # How busy the machine is decides about the others.
        return [one for one in alerts_of(out) if one["name"] not in TIMED or one["name"] in timed]

    return trained


def steps(count):
    return f"stages.0.budget.steps={count}"


def changed_loads(monkeypatch, change):
    """Change every batch that is loaded for training: `change(batch, number)`."""
    load, numbers = BatchLoader.load, iter(range(10**9))

    def changed(loader, rows, seq_len):
        return change(load(loader, rows, seq_len), next(numbers))

    monkeypatch.setattr(BatchLoader, "load", changed)


def test_a_healthy_run_raises_nothing(train):
    assert train() == []


def test_targets_that_are_not_shifted(train, monkeypatch):
    changed_loads(monkeypatch, lambda batch, _: replace(batch, targets_BT=batch.ids_BT.clone()))
    first, *_ = train(steps(30))
    assert first["name"] == "too_good" and first["step"] == 1


def test_a_model_that_is_given_its_targets(train, monkeypatch):
    loss = Engine.loss

    def leaking(engine, batch, last=True):
        return loss(engine, replace(batch, ids_BT=batch.targets_BT.clamp(min=0)), last)

    monkeypatch.setattr(Engine, "loss", leaking)
    first, *_ = train(steps(100))
    assert first["name"] == "too_good" and "entropy" in first["seen"]


def test_a_mask_that_lets_the_future_in(train, monkeypatch):
    masked = MaskSpec.mask

    def open_mask(spec, queries, keys, device):
        return torch.ones_like(masked(spec, queries, keys, device))

    monkeypatch.setattr(MaskSpec, "mask", open_mask)
    first, *_ = train(steps(30), "train.attention=reference")
    assert first["name"] == "too_good" and first["step"] == 1


def zeroed(monkeypatch, part):
    """Set weights to zero after every update."""
    step = Engine.step

    def stepped(engine):
        step(engine)
        for name, weight in engine.mixed_precision.master_model.named_parameters():
            if name.startswith(part):
                weight.data.zero_()

    monkeypatch.setattr(Engine, "step", stepped)


def test_a_dead_layer(train, monkeypatch):
    zeroed(monkeypatch, "blocks.1.ffn")
    first, *_ = train(steps(130))
    assert first["name"] == "dead_units"


@pytest.mark.slow
def test_a_learning_rate_ten_times_too_high(train):
    first, *_ = train("optim.peak_lr=3e-2")
    assert "optim.peak_lr=0.015" in first["advice"]


def test_a_frozen_group(train, monkeypatch):
    step = Engine.step

    def stepped(engine):
        kept = {
            name: weight.detach().clone()
            for name, weight in engine.mixed_precision.master_model.named_parameters()
            if "attention" in name
        }
        step(engine)
        for name, weight in engine.mixed_precision.master_model.named_parameters():
            if name in kept:
                weight.data.copy_(kept[name])

    monkeypatch.setattr(Engine, "step", stepped)
    first, *_ = train(steps(60))
    assert first["name"] == "frozen_group" and "attention" in first["seen"]


def slow(monkeypatch, seconds):
    """Let the trainer's clock run while a batch is loaded."""
    from yxanul.base.clock import Stopwatch

    lap = Stopwatch.lap

    def lapped(watch, name):
        lap(watch, name)
        if name == "data":
            watch.laps[name] += seconds

    monkeypatch.setattr(Stopwatch, "lap", lapped)


@pytest.mark.slow
def test_a_starved_loader(train, monkeypatch):
    slow(monkeypatch, 10.0)
    first, *_ = train(steps(130), timed=("starvation",))
    assert first["name"] == "starvation"


@pytest.mark.slow
def test_a_memory_leak(train, monkeypatch):
    kept, fetch = [], Trainer.fetch

    def leaking(trainer, phase):
        kept.append(mmap.mmap(-1, 2**21))  # of the system: earlier tests left free memory here
        kept[-1].write(bytes(2**21))
        return fetch(trainer, phase)

    monkeypatch.setattr(Trainer, "fetch", leaking)
    first, *_ = train(timed=("memory_leak",))
    assert first["name"] == "memory_leak"


def test_duplicated_batches(train, monkeypatch):
    kept = {}

    def repeated(batch, number):
        return kept.setdefault(number // 4, batch)

    changed_loads(monkeypatch, repeated)
    first, *_ = train(steps(30))
    assert first["name"] == "duplicated_batches"


def test_a_weight_that_is_not_a_number(train, monkeypatch):
    calls, backward = iter(range(10**9)), Engine.backward

    def spoiled(engine, loss, last):
        backward(engine, loss * (math.nan if 40 <= next(calls) < 43 else 1.0), last)

    monkeypatch.setattr(Engine, "backward", spoiled)
    alerts = train(steps(60))
    assert [alert["name"] for alert in alerts] == ["not_finite"]


@pytest.mark.slow
def test_text_of_another_tokenizer(train, monkeypatch):
    order = torch.randperm(512, generator=torch.Generator().manual_seed(1))

    def recoded(batch, _):
        targets = torch.where(batch.targets_BT >= 0, order[batch.targets_BT.clamp(min=0)], IGNORE)
        return replace(batch, ids_BT=order[batch.ids_BT], targets_BT=targets)

    changed_loads(monkeypatch, recoded)
    first, *_ = train()
    assert first["name"] == "wrong_tokenizer"


def test_held_out_text_in_training(train, prepared, monkeypatch):
    """Every tenth batch is held-out text."""
    folder = prepared / "data" / "docs"
    shards = Shards(folder, read_manifest(folder), "validation")
    stream = np.concatenate([shards.document(n) for n in range(shards.num_documents)])
    rows = torch.from_numpy(stream[: len(stream) // 64 * 64 + 1].astype(np.int64))

    def contaminated(batch, number):
        if number % 10:
            return batch
        at = number * 8 * 64 % (len(rows) - 8 * 64)
        piece = rows[at : at + 8 * 64 + 1]
        return replace(batch, ids_BT=piece[:-1].view(8, 64), targets_BT=piece[1:].view(8, 64))

    changed_loads(monkeypatch, contaminated)
    first, *_ = train(steps(130))
    assert first["name"] == "held_out_in_training"
