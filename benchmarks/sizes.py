"""Size benchmark: what held-out loss each preset reaches with how many tokens, and the law that
`model: {preset: auto}` chooses by.

    python benchmarks/sizes.py --work FOLDER           # hours on two cores; resumes
    python benchmarks/sizes.py --work FOLDER --report  # the law of the runs done so far

Every job trains one preset on one text with one budget in tokens, with the recipe that ships for
this text (quickstart's first stage, or own-text) and one thread. The law is Chinchilla's,
L = E + A / N^alpha + B / D^beta (Hoffmann et al. 2022): N parameters without embeddings, D tokens.
A and beta are the same for all texts, E is the text's own. Runs of minutes on a CPU cannot tell how
the law goes on, so two facts of Hoffmann et al. are put in: alpha, and 20 tokens a parameter as the
optimum for ANCHOR, which gives B. The table of regrets says how far the preset that the law chooses
is from the best one, for budgets that the runs cover.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch.nn.functional import huber_loss

from harness import report
from harness.texts import Prepared, prepare, stories, wiki
from yxanul.data.manifest import read_manifest
from yxanul.model.config import ModelSettings
from yxanul.model.count import block_parameters
from yxanul.model.scaling_law import SCALING_LAW
from yxanul.model.zoo import AUTO_PRESETS
from yxanul.recipe import load_with_preset
from yxanul.stages.measure import Candidate, best_preset, measure_speed

PRESETS = AUTO_PRESETS[:5]
ALPHA = 0.34
ANCHOR = 70e6, 1.4e9
"""Parameters and tokens: the optimum of the law for a compute of 6 N D."""
TOKENS = (250_000, 500_000, 1_000_000, 2_000_000, 4_000_000)
FITTED_TEXTS = ("tinystories", "wiki")
"""Real texts: the loss of text that programs wrote falls to what their tables hold."""
NEAR = 1.02
"""A run stands for budgets from 1/NEAR to NEAR times its tokens."""
STARTS = [[3.5, math.log(beta)] for beta in (0.3, 0.45, 0.6)]
"""Where the fit starts: log A, log beta."""
LEAST_TOKENS = 1_000_000
"""Runs on fewer tokens are left out of the fit: their loss falls faster than a power of the tokens,
and then the smallest preset is the best in any case."""


@dataclass(frozen=True)
class Job:
    """One run."""

    text: str
    preset: str
    tokens: int
    seed: int

    @property
    def key(self) -> str:
        """Name of the job's files."""
        return f"{self.text}-{self.preset}-{self.tokens}-{self.seed}"


def recipe_of(text: str, folder: Path, shared: Path) -> dict[str, Any]:
    """Return the recipe of a text: the shipped one's tokenizer, batch, rates and curriculum."""
    curriculum = [{"seq_len": 64, "share": 0.2}, {"seq_len": 256, "share": 0.8}]
    optim: dict[str, Any] = {"lr_scale_by_role": {"embedding": 3.0}}
    own: dict[str, Any] = {"extends": "base", "optim": optim}
    if text == "synthetic":
        source = {"kind": "builtin", "domain": "stories", "documents": 9000}
        own |= {"tokenizer": {"kind": "bpe", "vocab_size": 2048, "sample_bytes": 1000000}}
        own |= {"optim": {"grad_clip": 2.0} | optim, "train": {"batch_tokens": 1024}}
    elif text == "tinystories":
        source = stories(shared, folder)["stories"]
    else:
        source = wiki(shared, folder)["wiki"]
    train = {"precision": "auto", "checkpoint": {"every_steps": None, "keep": 1}}
    stage = {"name": "language", "mix": {text: 1}, "budget": {"steps": 1}}
    return own | {
        "data": {"sources": {text: source}, "folder": str(folder / "shards")},
        "train": own.get("train", {}) | train,
        "stages": [stage | {"curriculum": curriculum, "gate": {"default_rules": False}}],
        "eval": {"every_steps": 10**9},
        "monitor": {"alerts": {"all": "off"}},
    }


def train(job: Job, ready: Prepared, options: argparse.Namespace) -> dict[str, Any]:
    """Train one job; return its result."""
    budget = f"stages.0.budget={{tokens: {job.tokens}}}"
    given = (f"model.preset={job.preset}", f"seed={job.seed}", budget)
    stage = ready.train(ready.recipe.parent / job.key, given, options.threads or 1)
    figures = ("bits_per_byte", "loss")
    found = {name: stage["at_end"][f"val/{job.text}/{name}"] for name in figures}
    tokens = read_manifest(ready.shards / job.text).splits["train"].tokens
    return asdict(job) | found | {"text_tokens": tokens, "seconds": stage["seconds"]}


def jobs(options: argparse.Namespace) -> Iterator[Job]:
    """Yield the jobs, the short ones first."""
    for tokens in options.tokens:
        for preset in options.presets:
            for text in options.texts:
                for seed in options.seeds:
                    yield Job(text, preset, tokens, seed)


def fit(runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Fit the law to the runs by the Huber loss of log(loss), as Hoffmann et al. do."""
    used = [run for run in runs if run["text"] in FITTED_TEXTS and run["tokens"] >= LEAST_TOKENS]
    texts = sorted({run["text"] for run in used})
    text = torch.tensor([texts.index(run["text"]) for run in used])
    log_n = torch.tensor([math.log(parameters(run["preset"])) for run in used]).double()
    log_d = torch.tensor([math.log(run["tokens"]) for run in used]).double()
    loss = torch.tensor([run["loss"] for run in used]).double()

    def predicted(found: torch.Tensor) -> torch.Tensor:
        e, (a, log_beta) = found[:-2].exp()[text], found[-2:]
        size = (a - ALPHA * log_n).exp()
        return e + size + (log_b(a, log_beta) - log_beta.exp() * log_d).exp()

    def error(found: torch.Tensor) -> torch.Tensor:
        return huber_loss(predicted(found).log(), loss.log(), delta=1e-3, reduction="sum")

    found = [_lowest(error, [0.0] * len(texts) + start) for start in STARTS]
    best = min(found, key=lambda one: error(one).item())
    *e, a, beta = best.exp().tolist()
    return {
        "E": dict(zip(texts, e, strict=True)),
        "A": a,
        "alpha": ALPHA,
        "B": log_b(best[-2], best[-1]).exp().item(),
        "beta": beta,
        "largest_residual": (predicted(best) / loss - 1).abs().max().item(),
        "runs": len(used),
    }


def log_b(log_a: torch.Tensor, log_beta: torch.Tensor) -> torch.Tensor:
    """Return log B such that both terms fall at the same rate at the anchor: alpha A / N^alpha =
    beta B / D^beta."""
    log_n, log_d = map(math.log, ANCHOR)
    return math.log(ALPHA) + log_a - ALPHA * log_n - log_beta + log_beta.exp() * log_d


def _lowest(error: Callable[[torch.Tensor], torch.Tensor], start: list[float]) -> torch.Tensor:
    found = torch.tensor(start, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [found],
        max_iter=3000,
        tolerance_grad=1e-10,
        tolerance_change=1e-13,
        line_search_fn="strong_wolfe",
    )

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        value = 1000 * error(found)
        value.backward()
        return value

    optimizer.step(closure)
    return found.detach()


def parameters(preset: str) -> int:
    """Return the parameters of a preset without embeddings."""
    shape = ModelSettings.model_validate({"preset": preset}).resolved(None)
    return block_parameters(shape)


def regrets(
    runs: Sequence[dict[str, Any]], speeds: Mapping[str, float], minutes: Sequence[float]
) -> list[dict[str, Any]]:
    """Return, by text and budget, the presets' bits per byte (interpolated in log tokens between
    runs; None outside of them) and how far the law's choice is from the best."""
    rows = []
    sizes = {run["text"]: run.get("text_tokens", math.inf) for run in runs}
    for text, size in sorted(sizes.items()):
        for budget in minutes:
            tokens = {preset: 60 * budget * speed for preset, speed in speeds.items()}
            bits = {preset: _bits(runs, text, preset, tokens[preset]) for preset in tokens}
            law = {p: SCALING_LAW.loss(parameters(p), tokens[p], size) for p in tokens}
            chosen = best_preset([Candidate(p, round(tokens[p]), 0.0, law[p]) for p in law])
            reached, known = bits[chosen], [b for b in bits.values() if b is not None]
            regret = None if reached is None else reached / min(known) - 1
            row = {"text": text, "minutes": budget, "chosen": chosen, "regret": regret}
            rows.append(row | {"bits_per_byte": bits})
    return rows


def _bits(runs: Sequence[dict[str, Any]], text: str, preset: str, tokens: float) -> float | None:
    points = sorted(
        (math.log(run["tokens"]), run["bits_per_byte"])
        for run in runs
        if (run["text"], run["preset"]) == (text, preset)
    )
    at = math.log(tokens)
    for x, y in points:
        if abs(at - x) < math.log(NEAR):
            return y
    for (x, y), (next_x, next_y) in pairwise(points):
        if x <= at <= next_x:
            return y + (next_y - y) * (at - x) / (next_x - x)
    return None


def speeds_here() -> dict[str, float]:
    """Return the tokens per second of each preset in the recipe own-text on this machine."""
    found = {}
    for preset in PRESETS:
        recipe = load_with_preset("own-text", [], None, preset)
        shape = recipe.model.resolved(None)
        measure_speed(recipe, shape)  # a first time, to warm up
        found[preset] = measure_speed(recipe, shape)
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Do the jobs that are not done yet, and fit the law."""
    parser = report.make_parser(__doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--shared", type=Path, default=report.SHARED)
    parser.add_argument("--texts", nargs="+", default=["synthetic", "tinystories", "wiki"])
    parser.add_argument("--presets", nargs="+", default=list(PRESETS))
    parser.add_argument("--tokens", type=int, nargs="+", default=list(TOKENS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--speeds", type=Path, help="only write this machine's speeds to FILE")
    parser.add_argument("--with-speeds", type=Path, nargs="*", default=[], help="such files")
    parser.add_argument("--minutes", type=float, nargs="+", default=[2, 5, 15])
    parser.add_argument("--report", action="store_true", help="train nothing")
    options = parser.parse_args(arguments)
    if options.speeds is not None:
        machine = report.describe_machine(options.threads)
        told = {"machine": machine, "tokens_per_second": speeds_here()}
        options.speeds.write_text(json.dumps(told, indent=2))
        return
    results, ready = options.work / "results", {}
    for job in () if options.report else jobs(options):
        if job.text not in ready:
            folder = options.work / job.text
            ready[job.text] = prepare(folder, recipe_of(job.text, folder, options.shared))
        do = partial(train, job, ready[job.text], options)
        found = report.kept(results / f"{job.key}.json", do)
        report.say(f"{job.key}: {found['bits_per_byte']:.4f}, {found['seconds']} s")
    runs = [json.loads(path.read_text()) for path in sorted(results.glob("*.json"))]
    law, machines = fit(runs), [json.loads(path.read_text()) for path in options.with_speeds]
    for one in machines:
        one["regrets"] = regrets(runs, one["tokens_per_second"], options.minutes)
        report.show_table(
            f"choice on {one['machine']['processor']}",
            ["text", "minutes", "chosen", "regret", *PRESETS],
            [
                [*map(str, (row["text"], row["minutes"], row["chosen"])), _share(row["regret"])]
                + [f"{bits:.3f}" if bits else "" for bits in row["bits_per_byte"].values()]
                for row in one["regrets"]
            ],
        )
    report.say(json.dumps(law))
    report.write_results(options, "sizes", {"law": law, "runs": runs, "choices": machines})


def _share(number: float | None) -> str:
    return "" if number is None else f"{100 * number:.1f} %"


if __name__ == "__main__":
    main()
