"""Time a training step of ours against the plain one, on this machine, alternating.

Same weights, same batch, same optimizer. "plain" is what a short PyTorch script does: autocast,
all logits at once, `F.cross_entropy`, gradients straight into fp32 weights. Rounds go A B B A, so
that a machine that slows down slows both; the ratio of each pair of rounds is reported, with the
first losses, which have to agree. Run it by `make bench`; it writes benchmarks/results/.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path

import torch
import torch.nn.functional as F

from yxanul.model.config import ModelSettings
from yxanul.model.language_model import LanguageModel
from yxanul.model.roles import parameter_roles
from yxanul.optim.build import build_optimizer
from yxanul.optim.config import OptimSettings
from yxanul.stages.environment import describe_environment
from yxanul.train.precision.twin import Twin

RESULTS = Path(__file__).parent / "results"


def make_model(preset: str, vocab_size: int) -> LanguageModel:
    """Return a model with fixed weights."""
    model = LanguageModel(ModelSettings.model_validate({"preset": preset}).resolved(vocab_size))
    model.init_weights(torch.Generator().manual_seed(0))
    return model


def ours(model: LanguageModel, precision: str, ids: torch.Tensor, targets: torch.Tensor):
    """Return a function that does one step as the trainer does, and returns its loss."""
    twin = Twin(model, precision)
    optimizer = make_optimizer(model)

    def step() -> float:
        loss = twin.model.loss(ids, targets).total / targets.numel()
        loss.backward()
        twin.collect()
        optimizer.step()
        twin.refresh()
        optimizer.zero_grad()
        return float(loss.detach())

    return step


def plain(model: LanguageModel, precision: str, ids: torch.Tensor, targets: torch.Tensor):
    """Return a function that does one step as a short script does."""
    optimizer = make_optimizer(model)
    autocast = (
        torch.autocast("cpu", torch.bfloat16) if precision == "bf16" else contextlib.nullcontext()
    )

    def step() -> float:
        with autocast:
            logits = model.hidden(ids) @ model.embedding.tokens.T
            logits = logits[..., : model.settings.num_tokens]
        loss = F.cross_entropy(logits.float().flatten(0, 1), targets.flatten())
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return float(loss.detach())

    return step


def make_optimizer(model: LanguageModel) -> torch.optim.Optimizer:
    """Return AdamW, the same for both."""
    settings = OptimSettings(name="adamw", peak_rate=1e-4)
    return build_optimizer(model.named_parameters(), parameter_roles(model), settings)


def seconds(step: Callable[[], float], repeats: int) -> float:
    """Return the median time of a step."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        step()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def compare(preset: str, vocab_size: int, precision: str, options: argparse.Namespace) -> dict:
    """Time both in alternation and return the figures."""
    shape = (options.tokens // options.seq_len, options.seq_len)
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(0, vocab_size, shape, generator=generator)
    targets = torch.randint(0, vocab_size, shape, generator=generator)
    steps = {
        make.__name__: make(make_model(preset, vocab_size), precision, ids, targets)
        for make in (ours, plain)
    }
    first = {name: step() for name, step in steps.items()}
    times: dict[str, list[float]] = {name: [] for name in steps}
    for round_number in range(options.rounds):
        order = list(steps) if round_number % 2 == 0 else list(reversed(steps))
        for name in order:
            times[name].append(seconds(steps[name], options.repeats))
    ratios = [b / a for a, b in zip(times["ours"], times["plain"], strict=True)]
    speed = {name: round(options.tokens / min(values)) for name, values in times.items()}
    return {
        "preset": preset,
        "vocab_size": vocab_size,
        "precision": precision,
        "shape": list(shape),
        "tokens_per_second": speed,
        "ratio_median": round(statistics.median(ratios), 3),
        "ratio_range": [round(min(ratios), 3), round(max(ratios), 3)],
        "first_loss": first,
    }


def main() -> None:
    """Run all comparisons and write them down."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tokens", type=int, default=4096, help="tokens a step")
    parser.add_argument("--seq-len", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=4, help="rounds of each, alternating")
    parser.add_argument("--repeats", type=int, default=4, help="steps a round")
    options = parser.parse_args()
    rows = []
    for preset, vocab_size in (("micro", 4096), ("micro", 50257)):
        for precision in ("fp32", "bf16"):
            row = compare(preset, vocab_size, precision, options)
            rows.append(row)
            low, high = row["ratio_range"]
            print(
                f"{preset} V={vocab_size} {precision}:"
                f" {row['tokens_per_second']['ours']:,} tokens/s,"
                f" {row['ratio_median']:.2f} x plain ({low:.2f} to {high:.2f})",
                flush=True,
            )
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{date.today()}-train-step.json"
    path.write_text(json.dumps({"machine": describe_environment(), "rows": rows}, indent=2) + "\n")
    print(f"written to {path}")


if __name__ == "__main__":
    main()
