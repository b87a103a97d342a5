"""What probes measure, against naive computations in float64."""

import copy
import json
import math
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from train.parallel.runs import Run, make_trainer, outcome
from yxanul.base.errors import YxanulError
from yxanul.base.run_folder import RunFolder
from yxanul.data.batches import Batch
from yxanul.model.blocks.rope import rotate
from yxanul.model.compile import compile_unsupported_reason
from yxanul.monitor import sums
from yxanul.monitor.config import Cadences, MonitorSettings
from yxanul.monitor.sums import SIGNED_EDGES, histogram_counts
from yxanul.monitor.trackers.jsonl import JsonlTracker
from yxanul.monitor.weights import measure_weights
from yxanul.train.parallel.world import World
from yxanul.train.probes import Probes
from yxanul.train.trainer import Callback

ALWAYS = Cadences(**dict.fromkeys(Cadences.model_fields, 1))
NEVER = Cadences(**dict.fromkeys(Cadences.model_fields))
SINGLE = Run(strategy="auto", phases=({"rows": 6, "micro_rows": 2, "clip": 0.01},))


class Measured(Callback):
    """Measures every step, and keeps what it was measured of."""

    def __init__(self, every=ALWAYS):
        self.probes = Probes(every)
        self.steps, self.histograms, self.seen = [], [], []

    def after_first_backward(self, trainer, batch, num_targets):
        self.probes.after_first_backward(trainer.engine, batch, trainer.progress.step + 1)

    def before_update(self, trainer, batch):
        weights = trainer.engine.trained()
        before = {name: weight.detach().clone() for name, weight in weights.items()}
        gradients = {name: weight.grad.clone() for name, weight in weights.items()}
        model = copy.deepcopy(trainer.engine.mixed_precision.model)
        self.seen.append((batch, gradients, before, model))
        self.probes.before_update(trainer.engine, batch, trainer.progress.step + 1)

    def after_step(self, trainer, report):
        metrics, histograms = self.probes.after_update(trainer.engine, report.applied)
        self.steps.append(metrics)
        self.histograms.append(histograms)


def measured(run, steps=2, every=ALWAYS):
    """Train some steps; return the trainer and its callback."""
    trainer, callback = make_trainer(World(), run), Measured(every)
    trainer.callbacks = [callback]
    for _ in range(steps):
        callback.after_step(trainer, trainer.step())
    return trainer, callback


def joined(tensors):
    return torch.cat([tensor.double().flatten() for tensor in tensors])


def figures(values):
    return {
        "mean": values.mean(),
        "std": values.std(correction=0),
        "max": values.max(),
        "min": values.min(),
    }


def group(tensors, name):
    """Return the tensors of a group, by what it is called."""
    parts = {
        "embedding": ("embedding.",),
        "attention": (".attention.qkv", ".attention.output"),
        "ffn": (".ffn.",),
        "norms": (".gain",),
        "head": ("head",),
        "first": ("blocks.0.",),
        "middle": ("blocks.1.",),
        "last": ("blocks.2.",),
    }[name]
    is_layer = name in ("first", "middle", "last")
    return [
        tensor
        for key, tensor in tensors.items()
        if any(part in key for part in parts) and not (is_layer and tensor.ndim == 1)
    ]


MODEL = {"depth": 3, "vocab_size": 18, "head": "untied", "qk_norm": True}
GROUPS = ("embedding", "attention", "ffn", "norms", "head", "first", "middle", "last")
KINDS = {
    "whole": replace(SINGLE, phases=({"rows": 6, "micro_rows": 6},)),
    "accumulated": SINGLE,
    "bf16": replace(SINGLE, precision="bf16"),
    "fp16": replace(SINGLE, precision="fp16"),
    "muon": replace(SINGLE, optimizer="muon"),
    "adafactor": replace(SINGLE, optimizer="adafactor"),
    "lion": replace(SINGLE, optimizer="lion"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_and_updates_are_those_of_one_vector(kind):
    trainer, callback = measured(replace(KINDS[kind], model=MODEL))
    weights = [before for _, _, before, _ in callback.seen[1:]]
    weights.append({name: weight.detach() for name, weight in trainer.engine.trained().items()})
    for metrics, (_, gradients, before, _), after in zip(
        callback.steps, callback.seen, weights, strict=True
    ):
        values = joined(gradients.values())
        for name, value in figures(values).items():
            assert metrics[f"optim/gradient_{name}"] == pytest.approx(float(value), rel=1e-9)
        assert metrics["optim/num_zeros"] == (values == 0).sum()
        assert metrics["optim/num_nans"] == metrics["optim/num_infs"] == 0
        for name in GROUPS:
            norm = joined(group(gradients, name)).norm()
            assert metrics[f"gradient_norm/{name}"] == pytest.approx(float(norm), rel=1e-9)
            old, new = joined(group(before, name)), joined(group(after, name))
            ratio = (new - old).norm() / old.norm()
            assert ratio > 0
            assert metrics[f"update_ratio/{name}"] == pytest.approx(float(ratio), rel=1e-5)


@pytest.mark.parametrize("kind", ["accumulated", "bf16"])
def test_the_first_micro_batch_is_measured_by_itself(kind):
    run = replace(KINDS[kind], model=MODEL, ignored=1)
    _, callback = measured(run, steps=1)
    twin = make_trainer(World(), run)
    batches, _ = twin.fetch(twin.plan.phases[0])
    num_targets = sum(batch.num_targets for batch in batches)
    total, _ = twin.engine.loss(batches[0], last=False)
    twin.engine.backward(total / num_targets, last=False)
    norm = joined(weight.grad for weight in twin.engine.trained().values()).norm()
    metrics = callback.steps[0]
    assert metrics["micro_batch/gradient_norm"] == pytest.approx(float(norm), rel=1e-6)
    assert metrics["micro_batch/num_targets"] == batches[0].num_targets < num_targets


def test_one_micro_batch_has_no_noise_scale():
    _, callback = measured(KINDS["whole"])
    assert "micro_batch/gradient_norm" not in callback.steps[0]


def test_a_token_that_was_not_seen_has_a_gradient_of_zeros():
    _, callback = measured(replace(SINGLE, model=MODEL))
    gradients = callback.seen[0][1]
    rows = gradients["embedding.tokens"]
    assert callback.steps[0]["optim/num_zeros"] >= (rows.abs().sum(1) == 0).sum() * rows.shape[1]


def test_weights_without_the_padding_of_the_vocabulary():
    trainer, callback = measured(replace(SINGLE, model=MODEL), steps=1)
    weights = {name: weight.detach() for name, weight in trainer.engine.trained().items()}
    metrics = callback.steps[0]
    for name, value in figures(joined(weights.values())).items():
        assert metrics[f"weights/global_{name}"] == pytest.approx(float(value), rel=1e-9)
    assert len(weights["embedding.tokens"]) == 64
    weights["embedding.tokens"] = weights["embedding.tokens"][:18]
    for name in ("embedding", "first", "middle", "last", "final_norm"):
        parts = [weights["norm.gain"]] if name == "final_norm" else group(weights, name)
        values = figures(joined(parts))
        for key in ("mean", "std"):
            value = pytest.approx(float(values[key]), rel=1e-6, abs=1e-9)
            assert metrics[f"weights/{name}/{key}"] == value
        assert metrics.get(f"weights/{name}/dead_ratio") == (None if name == "final_norm" else 0)


def test_rows_are_dead_by_their_norm():
    trainer = make_trainer(World(), replace(SINGLE, model=MODEL))
    weights = trainer.engine.trained()
    with torch.no_grad():
        weights["blocks.0.ffn.down.weight"][:4] = 1e-9
        weights["embedding.tokens"][5:8] = 0.0
    probes = Probes(NEVER.model_copy(update={"weights": 1}))
    probes.before_update(trainer.engine, some_batch(trainer), 1)
    metrics, _ = probes.after_update(trainer.engine, applied=False)
    rows = sum(len(part) for part in group(weights, "first"))
    assert metrics["weights/first/dead_ratio"] == pytest.approx(4 / rows)
    assert metrics["weights/embedding/dead_ratio"] == pytest.approx(3 / 18)  # padding is not
    assert not any(name.startswith("update_ratio/") for name in metrics)


def test_layers_in_fp8_have_a_scale():
    trainer = make_trainer(World(), replace(SINGLE, model=MODEL))
    weights = {name: weight.detach() for name, weight in trainer.engine.trained().items()}
    measurement = measure_weights(weights, depth=3, in_fp8=True)
    metrics = measurement.finish([measurement.values.tolist()])
    for name in ("first", "middle", "last"):
        amax = float(joined(group(weights, name)).abs().max())
        assert metrics[f"fp8/amax/{name}"] == pytest.approx(amax)
        assert metrics[f"fp8/scale/{name}"] == pytest.approx(448 / amax)
    assert not any(name.startswith("fp8/") for name in measured(SINGLE, 1)[1].steps[0])


def some_batch(trainer):
    batches, _ = trainer.fetch(trainer.plan.phases[0])
    return batches[-1]


SAMPLES = {
    "small": replace(SINGLE, ignored=2),
    "large": Run("auto", phases=({"rows": 48, "micro_rows": 48, "seq_len": 16},), ignored=3),
    "capped": replace(SINGLE, model={"logit_soft_cap": 0.5, "vocab_size": 18}),
    "few tokens": replace(SINGLE, model={"vocab_size": 16, "head": "untied"}),
}


@pytest.mark.parametrize("name", SAMPLES)
def test_confidence_on_a_sample_of_positions(name):
    _, callback = measured(SAMPLES[name])
    for metrics, (batch, _, _, model) in zip(callback.steps, callback.seen, strict=True):
        settings, rows = model.settings, -(-256 // batch.ids_BT.shape[1])
        with torch.no_grad():
            x = model.hidden(batch.ids_BT[:rows]).double().flatten(0, 1)
        targets = batch.targets_BT[:rows].flatten()
        table = (model.embedding.tokens if model.head is None else model.head).detach()
        logits = x @ table[: settings.known_vocab_size].double().T
        chosen = [
            i
            for i in {round(float(i)) for i in torch.linspace(0, len(x) - 1, min(256, len(x)))}
            if targets[i] >= 0
        ]
        logits, targets = logits[chosen], targets[chosen]
        cap = settings.logit_soft_cap
        p = (logits if cap is None else cap * torch.tanh(logits / cap)).softmax(-1)
        wanted = {
            "train/accuracy": sum(row.argmax() == t for row, t in zip(p, targets, strict=True))
            / len(p),
            "train/entropy": -sum((row * row.log()).sum() for row in p) / len(p),
            "train/top5_confidence": sum(row.sort().values[-5:].sum() for row in p) / len(p),
            "logits/max": logits.max(),
            "logits/logsumexp_mean": logits.exp().sum(-1).log().mean(),
        }
        for key, value in wanted.items():
            assert metrics[key] == pytest.approx(float(value), rel=1e-5), key


LAYERS = {
    "plain": {"ffn": "relu2", "depth": 3},
    "gated": {"ffn": "swiglu", "qk_norm": True, "num_kv_heads": 1},
    "windows": {"ffn": "gelu", "layer_pattern": "GL", "window": 3, "depth": 4},
    "documents": {
        "ffn": "swiglu",
        "document_masking": True,
        "layer_pattern": "LG",
        "window": 4,
        "post_norm": True,
    },
}


def naive_layers(model, ids, documents):
    """Return the metrics of all layers, by the formulas, one query after the other."""
    settings, metrics, rms = model.settings, {}, []
    masked = documents if settings.document_masking else torch.zeros_like(documents)
    positions, context = model.forward_context(ids, documents, None)
    x = model.embedding(ids, positions)
    for layer, block in enumerate(model.layers()):
        entropy, largest = naive_attention(block, x, masked, context, settings)
        metrics |= {f"attention_logit_max/{layer}": largest}
        metrics |= {f"attention_entropy{key}/{layer}": value for key, value in entropy.items()}
        middle = x + block.attention_post_norm(block.attention(block.attention_norm(x), context))
        units = naive_units(block.ffn, block.ffn_norm(middle), settings.ffn).double()
        limit = 1e-6 if settings.ffn == "relu2" else 1e-3 * units.square().mean().sqrt()
        metrics[f"dead_neurons/{layer}"] = (units.abs().amax((0, 1)) < limit).double().mean()
        x = block(x, context)
        rms.append(x.double().square().mean().sqrt())
        metrics[f"activations/{layer}/rms"] = rms[-1] / rms[0]
        for label in [
            name for name, at in (("first", 0), ("last", -1)) if layer == at % settings.depth
        ]:
            for key, value in figures(x.double()).items():
                metrics[f"activations/{label}/{key}"] = value
    return metrics


def naive_units(ffn, x, kind):
    if kind == "relu2":
        return ffn.up(x).relu().square()
    if kind == "gelu":
        return torch.nn.functional.gelu(ffn.up(x), approximate="tanh")
    gate, up = ffn.gate_up(x).chunk(2, -1)
    return torch.nn.functional.silu(gate) * up


def naive_attention(block, x, documents, context, settings):
    """Return the entropies of a layer's attention, and its largest score."""
    attention = block.attention
    heads = attention.qkv(block.attention_norm(x)).unflatten(-1, (-1, settings.head_width))
    q, k, _ = heads.split(attention.heads, dim=2)
    rope = context.ropes[attention.kind]
    q, k = rotate(attention.q_norm(q), rope).double(), rotate(attention.k_norm(k), rope).double()
    k = k.repeat_interleave(settings.num_heads // settings.num_kv_heads, 2)
    window = settings.window if attention.kind == "L" else None
    values, relative, largest = [], [], 0.0
    for row in range(len(x)):
        for i in range(x.shape[1]):
            keys = [
                j
                for j in range(i + 1)
                if documents[row, i] == documents[row, j] and (window is None or i - j < window)
            ]
            for head in range(settings.num_heads):
                scores = k[row, keys, head] @ q[row, i, head] * attention.scale
                largest = max(largest, float(scores.abs().max()))
                a = scores.softmax(0)
                if len(keys) > 1:
                    values.append(float(-(a * a.log()).sum()))
                    relative.append(values[-1] / math.log(len(keys)))
    mean = {"": sum(values) / len(values), "_normalized": sum(relative) / len(relative)}
    return mean, largest


@pytest.mark.parametrize("name", LAYERS)
def test_activations_and_attention_by_the_formulas(name):
    run = replace(SINGLE, model={"init_std": 0.4, **LAYERS[name]})
    trainer = make_trainer(World(), run)
    model = trainer.engine.mixed_precision.model
    batch = some_batch(trainer)
    documents = (torch.arange(batch.ids_BT.numel()).view_as(batch.ids_BT) % 8) // 3
    batch = replace(batch, documents_BT=documents)
    with torch.no_grad():
        for block in model.layers():
            (block.ffn.gate_up if run.model["ffn"] == "swiglu" else block.ffn.up).weight[1] = 0.0
    probes = Probes(NEVER.model_copy(update={"activations": 1, "attention": 1}))
    probes.before_update(trainer.engine, batch, 1)
    metrics, _ = probes.after_update(trainer.engine, applied=True)
    with torch.no_grad():
        wanted = naive_layers(model, batch.ids_BT[:4], documents[:4])
    assert metrics.keys() == wanted.keys()
    for key, value in wanted.items():
        assert metrics[key] == pytest.approx(float(value), rel=1e-4, abs=1e-7), key
    assert all(0 < metrics[f"dead_neurons/{layer}"] < 1 for layer in range(model.settings.depth))


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_nothing_that_is_measured_changes_the_training(precision):
    """Not a bit of the weights and of the optimizer's state; nor a random state."""
    run = replace(SINGLE, precision=precision, model=MODEL, ema=True)
    results = []
    for every in (ALWAYS, NEVER):
        torch.manual_seed(3)
        trainer, callback = measured(run, steps=4, every=every)
        assert all(map(bool, callback.steps)) == (every is ALWAYS)
        results.append((outcome(trainer, []), torch.get_rng_state()))
    (one, random), (other, other_random) = results
    assert torch.equal(random, other_random)
    assert one.progress == other.progress
    for name in ("weights", "mean", "optimizer_state"):
        ours, theirs = getattr(one, name), getattr(other, name)
        assert all(ours[key].tobytes() == theirs[key].tobytes() for key in theirs)


def test_no_hook_and_no_gradient_is_left():
    trainer, _ = measured(SINGLE, steps=1)
    model = trainer.engine.mixed_precision.model
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not any(one._forward_hooks or one._forward_pre_hooks for one in model.modules())


def test_hooks_are_removed_from_a_pass_that_fails():
    trainer = make_trainer(World(), SINGLE)
    model, probes = trainer.engine.mixed_precision.model, Probes(ALWAYS)
    too_long = Batch(*(torch.zeros(1, 64, dtype=torch.int64) for _ in range(3)))
    with pytest.raises(YxanulError, match="max_seq_len"):
        probes.before_update(trainer.engine, too_long, 1)
    assert not any(one._forward_hooks or one._forward_pre_hooks for one in model.modules())


def test_histograms_count_every_element():
    trainer, callback = measured(replace(SINGLE, model=MODEL), steps=1)
    found, (batch, gradients, _, model) = callback.histograms[0], callback.seen[0]
    weights = {name: weight.detach() for name, weight in trainer.engine.trained().items()}
    weights["embedding.tokens"] = weights["embedding.tokens"][:18]
    for kind, tensors, names in (
        ("gradients", gradients, ("embedding", "attention", "ffn", "norms", "head", "first")),
        ("weights", weights, ("embedding", "first", "middle", "last")),
    ):
        for name in names:
            histogram = found[f"histogram/{kind}/{name}"]
            values = joined(group(tensors, name)).numpy()
            counts, _ = np.histogram(values, np.array(histogram.edges))
            assert sum(histogram.counts) == len(values)
            # an edge belongs to the bin below it, not above
            assert np.abs(counts - np.array(histogram.counts)).max() <= (values == 0).sum() + 1
    with torch.no_grad():
        top = model.logits(model.hidden(batch.ids_BT)).softmax(-1).amax(-1).flatten()
    counts, edges = found["histogram/confidence"]
    assert counts == np.histogram(top.numpy(), np.array(edges))[0].tolist()


def test_what_lies_beyond_the_edges_is_in_the_outermost_bins():
    values = torch.tensor([-1e9, -1.0, 0.0, 1e-12, 1.0, 1e9, math.nan, math.inf])
    counts = histogram_counts([values], SIGNED_EDGES)
    assert (counts[0], counts[-1], counts.sum()) == (1, 1, 6)
    assert counts[len(counts) // 2] == 2  # zero, and what is nearly so


class Transfers(TorchDispatchMode):
    """Counts operations whose result the host waits for."""

    def __init__(self):
        super().__init__()
        self.waits = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if function.__name__.split(".")[0] in ("_local_scalar_dense", "nonzero", "is_nonzero"):
            self.waits.append(function.__name__)
        return function(*args, **(kwargs or {}))


def test_a_record_is_moved_to_the_host_at_once(monkeypatch):
    monkeypatch.setattr(sums, "FREE_TO_READ", ())
    moved, as_list = [], torch.Tensor.tolist
    monkeypatch.setattr(torch.Tensor, "tolist", lambda t: moved.append(len(t)) or as_list(t))
    callback = Measured()
    trainer = make_trainer(World(), SINGLE)
    batch = some_batch(trainer)
    (loss, _) = trainer.engine.loss(batch)
    trainer.engine.backward(loss, last=True)
    with Transfers() as transfers:
        callback.probes.before_update(trainer.engine, batch, 1)
        metrics, _ = callback.probes.after_update(trainer.engine, applied=True)
    assert transfers.waits == [] and len(moved) == 1 and len(metrics) > 40


def test_gradients_that_are_not_finite_are_counted_and_null(tmp_path):
    trainer, probes = make_trainer(World(), SINGLE), Probes(ALWAYS)
    weights = trainer.engine.trained()
    for weight in weights.values():
        weight.grad = torch.ones_like(weight)
    weights["norm.gain"].grad[:5] = math.nan
    weights["embedding.tokens"].grad[0, :3] = math.inf
    weights["embedding.tokens"].grad[1, :2] = -math.inf
    weights["embedding.tokens"].grad[2, :7] = 0.0
    probes.before_update(trainer.engine, some_batch(trainer), 1)
    metrics, histograms = probes.after_update(trainer.engine, applied=False)
    assert sum(histograms["histogram/gradients/norms"].counts) == 5 * 32 - 5
    counts = [metrics[f"optim/num_{name}"] for name in ("nans", "infs", "zeros")]
    assert counts == [5, 5, 7]
    JsonlTracker(RunFolder(tmp_path)).log(1, metrics)
    (line,) = map(json.loads, (tmp_path / "metrics.jsonl").read_text().splitlines())
    for name in ("optim/gradient_mean", "optim/gradient_std", "optim/gradient_max"):
        assert line[name] is None
    assert line["gradient_norm/norms"] is None and line["gradient_norm/attention"] > 0
    assert not any(name.startswith("update_ratio/") for name in line)


def test_a_step_without_targets_has_no_confidence():
    trainer, probes = make_trainer(World(), SINGLE), Probes(ALWAYS)
    probes.before_update(trainer.engine, some_batch(trainer).without_targets(), 1)
    metrics, _ = probes.after_update(trainer.engine, applied=True)
    assert "train/accuracy" not in metrics and "attention_entropy/0" in metrics


def test_each_group_has_its_cadence_and_can_be_switched_off():
    every = Cadences(gradients=2, confidence=3, weights=None, activations=4, attention=None)
    _, callback = measured(SINGLE, steps=4, every=every)
    kinds = [{name.split("/")[0] for name in metrics} for metrics in callback.steps]
    layers = {"activations", "dead_neurons"}
    gradients = {"optim", "micro_batch"}
    assert kinds == [set(), gradients, {"train", "logits"}, gradients | layers]


def test_histograms_are_measured_for_trackers_that_draw_them():
    assert MonitorSettings().cadences.histograms is None
    assert MonitorSettings(trackers=("jsonl", "tensorboard")).cadences.histograms == 500


def test_a_layer_that_never_fires_is_seen():
    run = replace(SINGLE, model={"ffn": "relu2"})
    trainer, probes = make_trainer(World(), run), Probes(ALWAYS)
    model = trainer.engine.mixed_precision.model
    with torch.no_grad():
        model.layers()[1].ffn.up.weight.zero_()
    probes.before_update(trainer.engine, some_batch(trainer), 1)
    metrics, _ = probes.after_update(trainer.engine, applied=True)
    assert metrics["dead_neurons/1"] == 1 and metrics["dead_neurons/0"] < 0.1


@pytest.mark.slow
def test_hooks_do_not_recompile_what_is_trained():
    import torch._dynamo.utils

    if reason := compile_unsupported_reason("cpu"):  # which compiles a function, but only once
        pytest.skip(reason)

    def graphs(every):
        torch._dynamo.reset()
        torch._dynamo.utils.counters.clear()
        trainer, _ = measured(replace(SINGLE, compile=True), steps=3, every=every)
        weights = joined(trainer.engine.trained().values()).detach()
        return weights, dict(torch._dynamo.utils.counters["stats"])

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the compiler's own parts about each other
        (weights, counts), (same_weights, same_counts) = graphs(ALWAYS), graphs(NEVER)
    assert counts == same_counts and counts["unique_graphs"] > 0
    assert torch.equal(weights, same_weights)
